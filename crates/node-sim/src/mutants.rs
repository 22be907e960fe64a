//! Decisions that are wrong on purpose. Each takes the place of [`step()`], calls it, and spoils what goes in or comes out, as a defect of
//! the core would. A simulator that does not notice one of them proves nothing about the defect that it stands for.

use k8s_openapi::api::core::v1::PodSpec;
use pod_lifecycle::{
    Admission, ContainerState, Context, CrashBackOff, Decide, Event, Look, PartState, Phase,
    PodRecord, Retry, Stage, Step, StopStep, step,
};
use pod_model::{Action, AdmittedPod, ContainerRole, MonoTime, Now, Outcome, ProbeKind, Seq};
use std::collections::BTreeSet;
use std::time::Duration;

pub struct Mutant {
    pub name: &'static str,
    pub what: &'static str,
    pub decide: Decide,
}

/// Declares mutants: a name, what is wrong, and a function of `step`'s arguments.
macro_rules! mutants {
    ($($name:ident, $what:literal, |$record:ident, $pod:ident, $event:ident, $context:ident, $now:ident| $body:expr;)*) => {
        /// All of them.
        pub fn mutants() -> Vec<Mutant> {
            vec![$(Mutant { name: stringify!($name), what: $what, decide: $name }),*]
        }
        $(
            #[allow(unused_mut, reason = "most mutants spoil one argument")]
            fn $name(
                mut $record: PodRecord,
                $pod: Option<&AdmittedPod>,
                $event: &Event<'_>,
                mut $context: Context<'_>,
                $now: Now,
            ) -> Step {
                $body
            }
        )*
    };
}

/// What `step` says, changed.
fn but(mut step: Step, change: impl FnOnce(&mut Step)) -> Step {
    change(&mut step);
    step
}

/// Takes back what was issued, as if it had never been thought of.
fn not_issued(step: &mut Step, which: impl Fn(&Action) -> bool) {
    for action in step.actions.iter().filter(|action| which(action)) {
        step.record.in_flight.remove(action);
    }
    step.actions.retain(|action| !which(action));
}

/// The pod with something else in its spec.
fn changed(pod: Option<&AdmittedPod>, change: impl FnOnce(&mut PodSpec)) -> Option<AdmittedPod> {
    let pod = pod?;
    let mut manifest = pod.pod().clone();
    manifest.spec.as_mut().map(change);
    AdmittedPod::from_validated(manifest, pod.qos()).ok()
}

mutants! {
    skips_kills, "nothing is ever killed", |record, pod, event, context, now|
        but(step(record, pod, event, context, now), |done| {
            not_issued(done, |action| matches!(action, Action::Kill { .. }));
        });
    skips_stop_signals, "what is to stop is not told, only killed at its deadline", |record, pod, event, context, now|
        but(step(record, pod, event, context, now), |done| {
            not_issued(done, |action| matches!(action, Action::Stop { .. }));
        });
    kills_at_once, "no grace is granted", |record, pod, event, context, now|
        but(step(record, pod, event, context, now), |done| {
            if let Stage::Terminating(terminating) = &mut done.record.stage
                && terminating.deadline > now.mono
            {
                terminating.deadline = now.mono;
                done.next_wake = Some(now.mono);
            }
        });
    believes_stale_looks, "a look from before the last action proves an absence", |record, pod, event, context, now| {
        let event = match event {
            Event::Look(look) => Event::Look(Look { as_of: Seq(u64::MAX), containers: look.containers.clone() }),
            other => other.clone(),
        };
        step(record, pod, &event, context, now)
    };
    drops_the_crash_back_off, "a container that crashes is started again at once", |record, pod, event, context, now| {
        for container in &mut record.containers {
            container.crash = CrashBackOff::default();
        }
        step(record, pod, event, context, now)
    };
    drops_retries_of_the_sandbox, "a part that could not be made is made again at once", |record, pod, event, context, now|
        but(step(record, pod, event, context, now), |done| {
            let parts = [&mut done.record.sandbox.cgroup, &mut done.record.sandbox.network, &mut done.record.sandbox.volumes];
            for part in parts {
                if let PartState::Preparing { retry } | PartState::Undoing { retry } = part {
                    if retry.at.is_some() {
                        done.next_wake = Some(now.mono);
                    }
                    *retry = Retry::default();
                }
            }
        });
    forgets_keys_in_flight, "what is in flight is forgotten", |record, pod, event, context, now|
        but(step(record, pod, event, context, now), |done| {
            done.record.in_flight.clear();
        });
    forgets_a_start_in_flight, "a start in flight is forgotten once something else happens", |record, pod, event, context, now| {
        if !matches!(event, Event::Fact(_)) {
            for container in &mut record.containers {
                if let ContainerState::Creating { .. } = container.state {
                    container.state = ContainerState::Waiting;
                }
            }
            record.in_flight.retain(|action| !matches!(action, Action::Start { .. }));
        }
        step(record, pod, event, context, now)
    };
    forgets_to_wake, "nobody looks again at what waits", |record, pod, event, context, now|
        but(step(record, pod, event, context, now), |done| done.next_wake = None);
    uses_attempts_twice, "the number of an attempt is used again", |record, pod, event, context, now|
        but(step(record, pod, event, context, now), |done| {
            for container in &mut done.record.containers {
                if let Some(made) = &container.made {
                    container.next = made.attempt;
                }
            }
        });
    skips_init_containers, "init containers are taken for done as soon as they run", |record, pod, event, context, now| {
        for container in &mut record.containers {
            container.succeeded |= container.state.running().is_some();
        }
        step(record, pod, event, context, now)
    };
    does_not_look_first, "what may run already is started before the first look", |record, pod, event, context, now| {
        context.looked = true;
        step(record, pod, event, context, now)
    };
    leaves_remains, "dead attempts are not removed", |record, pod, event, context, now| {
        record.remains.retain(|remains| remains.alive);
        but(step(record, pod, event, context, now), |done| {
            not_issued(done, |action| matches!(action, Action::Remove { .. }));
            done.record.remains.retain(|remains| remains.alive);
        })
    };
    leaves_volumes, "volumes are taken for undone", |record, pod, event, context, now|
        but(step(record, pod, event, context, now), |done| {
            if let PartState::Undoing { .. } = done.record.sandbox.volumes {
                done.record.sandbox.volumes = PartState::Absent;
                not_issued(done, |action| matches!(action, Action::Undo { part: pod_model::SandboxPart::Volumes, .. }));
                done.next_wake = Some(now.mono);
            }
        });
    undoes_under_processes, "a sandbox is undone as soon as its containers are told to stop", |record, pod, event, context, now| {
        if let Stage::Terminating(_) = record.stage {
            for container in &mut record.containers {
                if let ContainerState::Stopping { .. } = container.state {
                    container.state = ContainerState::Down;
                }
            }
        }
        step(record, pod, event, context, now)
    };
    ignores_the_name, "a pod does not wait for the one that has its name", |record, pod, event, context, now| {
        context.held = false;
        step(record, pod, event, context, now)
    };
    forgets_deletions, "a deletion is forgotten once the pod is being cleaned up", |record, pod, event, context, now|
        but(step(record, pod, event, context, now), |done| {
            if matches!(done.record.stage, Stage::CleaningUp | Stage::Finished) {
                done.record.deleted = false;
            }
        });
    takes_every_end_for_success, "how a container ended is written down as 0", |record, pod, event, context, now|
        but(step(record, pod, event, context, now), |done| {
            for ending in done.record.containers.iter_mut().flat_map(|c| &mut c.endings) {
                ending.code = 0;
            }
        });
    ignores_exits_of_starting_containers, "an exit that overtakes the answer to its start is not believed", |record, pod, event, context, now| {
        let overtakes = matches!(event, Event::Exit(seen) if record.container(&seen.container.name)
            .is_some_and(|c| matches!(c.state, ContainerState::Creating { .. })));
        let wake = Event::Wake;
        step(record, pod, if overtakes { &wake } else { event }, context, now)
    };
    says_failed_for_running, "a pod whose container crashed once is said to have failed", |record, pod, event, context, now|
        but(step(record, pod, event, context, now), |done| {
            let crashed = done.record.containers.iter().any(|c| c.last_ending().is_some_and(|e| e.code != 0));
            if crashed {
                done.record.phase = Phase::Failed;
            }
        });
    shows_too_few_restarts, "a restart is not counted after the second", |record, pod, event, context, now|
        but(step(record, pod, event, context, now), |done| {
            for container in &mut done.record.containers {
                if let Some(made) = container.made.as_mut().filter(|made| made.attempt.0 > 2) {
                    made.attempt.0 = 2;
                }
            }
        });
    skips_pre_stop, "a stop signal does not wait for its hook", |record, pod, event, context, now|
        but(step(record, pod, event, context, now), |done| {
            for container in &mut done.record.containers {
                if let ContainerState::Stopping { stop, .. } = &mut container.state && stop.step == StopStep::Hook {
                    stop.step = StopStep::Turn;
                    done.next_wake = Some(now.mono);
                }
            }
            not_issued(done, |action| matches!(action, Action::PreStop { .. }));
        });
    stops_sidecars_at_once, "a sidecar does not wait for its turn to stop", |record, pod, event, context, now|
        but(step(record, pod, event, context, now), |done| {
            for container in &mut done.record.containers {
                if let ContainerState::Stopping { stop, .. } = &mut container.state && stop.step == StopStep::Turn {
                    stop.step = StopStep::Signal;
                    done.next_wake = Some(now.mono);
                }
            }
        });
    skips_post_start, "a container is taken for running before its postStart", |record, pod, event, context, now|
        but(step(record, pod, event, context, now), |done| {
            for container in &mut done.record.containers {
                if let ContainerState::Up(live) = &mut container.state {
                    live.hooked = true;
                }
            }
            not_issued(done, |action| matches!(action, Action::PostStart { .. }));
        });
    runs_post_start_twice, "a postStart that is over is run again", |record, pod, event, context, now| {
        if !matches!(event, Event::Fact(_)) {
            for container in &mut record.containers {
                if let ContainerState::Up(live) = &mut container.state
                    && pod.and_then(|pod| pod.container(&container.name))
                        .is_some_and(|(_, c)| c.lifecycle.as_ref().is_some_and(|l| l.post_start.is_some()))
                {
                    live.hooked = false;
                }
            }
        }
        step(record, pod, event, context, now)
    };
    takes_what_runs_for_started, "a startup probe is not waited for", |record, pod, event, context, now|
        but(step(record, pod, event, context, now), |done| {
            for container in &mut done.record.containers {
                if let ContainerState::Up(live) = &mut container.state {
                    live.started = true;
                }
            }
        });
    takes_what_runs_for_ready, "a readiness probe is not waited for", |record, pod, event, context, now|
        but(step(record, pod, event, context, now), |done| {
            for container in &mut done.record.containers {
                if let ContainerState::Up(live) = &mut container.state {
                    live.ready = true;
                }
            }
        });
    ignores_liveness, "a container that fails its liveness probe lives on", |record, pod, event, context, now| {
        let wake = Event::Wake;
        let fails = matches!(event, Event::Probed(probed) if !probed.healthy);
        step(record, pod, if fails { &wake } else { event }, context, now)
    };
    ends_with_its_sidecars, "a sidecar that ends is not started again", |record, pod, event, context, now| {
        for container in &mut record.containers {
            let is_sidecar = pod.and_then(|pod| pod.container(&container.name))
                .is_some_and(|(role, _)| role == ContainerRole::Sidecar);
            if is_sidecar && container.state == ContainerState::Down {
                container.refused.at = Some(MonoTime(u64::MAX));
            }
        }
        step(record, pod, event, context, now)
    };
    ignores_policies_of_containers, "a container's own restart policy and rules are not looked at", |record, pod, event, context, now| {
        let without = changed(pod, |spec| {
            for container in &mut spec.containers {
                container.restart_policy = None;
            }
        });
        step(record, without.as_ref(), event, context, now)
    };
    retries_pulls_at_once, "a registry that fails is asked again at once", |record, pod, event, context, now|
        but(step(record, pod, event, context, now), |done| {
            for container in &mut done.record.containers {
                if container.image.retry.at.take().is_some() {
                    done.next_wake = Some(now.mono.plus(Duration::from_millis(10)));
                }
            }
        });
    forgets_the_deadline, "a pod goes on past its activeDeadlineSeconds", |record, pod, event, context, now| {
        let without = changed(pod, |spec| spec.active_deadline_seconds = None);
        step(record, without.as_ref(), event, context, now)
    };
    believes_probes_of_former_attempts, "what a probe said of an attempt is taken for the next one's", |record, pod, event, context, now| {
        let live = |name| record.container(name).and_then(|c| c.state.live_attempt());
        let mut probed = match event {
            Event::Probed(probed) => (*probed).clone(),
            _ => return step(record, pod, event, context, now),
        };
        probed.container.attempt = live(&probed.container.name).unwrap_or(probed.container.attempt);
        step(record, pod, &Event::Probed(&probed), context, now)
    };
    flaps_at_restore, "the next agent takes what was ready for unready", |record, pod, event, context, now| {
        if !context.looked {
            for container in &mut record.containers {
                if let ContainerState::Up(live) = &mut container.state {
                    live.ready = false;
                }
            }
        }
        step(record, pod, event, context, now)
    };
    counts_sidecars_into_the_phase, "a pod fails with its sidecar", |record, pod, event, context, now|
        but(step(record, pod, event, context, now), |done| {
            let is_over = matches!(done.record.stage, Stage::CleaningUp | Stage::Finished);
            let mut containers = done.record.containers.iter();
            let failed = containers.any(|c| {
                let is_sidecar = pod.and_then(|pod| pod.container(&c.name))
                    .is_some_and(|(role, _)| role == ContainerRole::Sidecar);
                is_sidecar && c.last_ending().is_some_and(|e| e.code != 0)
            });
            if is_over && failed {
                done.record.phase = Phase::Failed;
            }
        });
    forgets_the_shorter_grace, "a pod that goes is not hurried", |record, pod, event, context, now| {
        let before = match &record.stage {
            Stage::Terminating(terminating) => Some(terminating.clone()),
            _ => None,
        };
        let wake = Event::Wake;
        let is_hurried = before.is_some() && matches!(event, Event::Delete { .. });
        record.deleted |= is_hurried;
        step(record, pod, if is_hurried { &wake } else { event }, context, now)
    };
    restarts_against_a_rule, "a container with a policy of its own is always started again", |record, pod, event, context, now| {
        let always = changed(pod, |spec| {
            for container in &mut spec.containers {
                if container.restart_policy.is_some() {
                    container.restart_policy = Some("Always".to_owned());
                }
            }
        });
        step(record, always.as_ref(), event, context, now)
    };
    ignores_startup_failures, "a container that fails its startup probe lives on", |record, pod, event, context, now| {
        let wake = Event::Wake;
        let fails = matches!(event, Event::Probed(probed) if probed.kind == ProbeKind::Startup && !probed.healthy);
        step(record, pod, if fails { &wake } else { event }, context, now)
    };
    stays_ready, "what was ready once stays ready", |record, pod, event, context, now| {
        let wake = Event::Wake;
        let falls = matches!(event, Event::Probed(probed) if probed.kind == ProbeKind::Readiness && !probed.healthy);
        step(record, pod, if falls { &wake } else { event }, context, now)
    };
    ignores_the_gate, "a pod is ready with its containers, whatever its gate says", |record, pod, event, context, now|
        but(step(record, pod, event, context, now), |done| {
            done.record.conditions.ready = done.record.conditions.containers_ready;
        });
    says_initialized_too_soon, "a pod is said to be initialized as soon as its sandbox is made", |record, pod, event, context, now|
        but(step(record, pod, event, context, now), |done| {
            done.record.conditions.initialized.holds |= done.record.sandbox.is_ready();
        });
    ignores_evictions, "a pod that broke a limit goes on", |record, pod, event, context, now| {
        let wake = Event::Wake;
        let is_evicted = matches!(event, Event::Evict { .. });
        step(record, pod, if is_evicted { &wake } else { event }, context, now)
    };
    waits_for_what_was_withdrawn, "what was taken back from the queue is waited for", |record, pod, event, context, now| {
        let wake = Event::Wake;
        let is_withdrawn = matches!(event, Event::Withdrawn(_));
        step(record, pod, if is_withdrawn { &wake } else { event }, context, now)
    };
    forgets_why_it_ends, "a pod that broke a limit ends as if it had been deleted", |record, pod, event, context, now|
        but(step(record, pod, event, context, now), |done| {
            if let Stage::Terminating(_) = done.record.stage {
                done.record.evicted = None;
            }
        });
    restarts_all_but_init_containers, "when all containers begin again, init containers do not", |record, pod, event, context, now| {
        let was_restarting = record.restarting_all;
        but(step(record, pod, event, context, now), |done| {
            let begins = was_restarting && !done.record.restarting_all;
            for container in done.record.containers.iter_mut().filter(|_| begins) {
                let role = pod.and_then(|pod| pod.container(&container.name)).map(|(role, _)| role);
                let has_succeeded = container.last_ending().is_some_and(|e| e.code == 0);
                if role == Some(ContainerRole::Init) && has_succeeded {
                    container.state = ContainerState::Down;
                    container.succeeded = true;
                }
            }
        })
    };
    restarts_only_the_one, "a rule to restart all containers restarts its own", |record, pod, event, context, now| {
        let own = changed(pod, |spec| {
            let inits = spec.init_containers.iter_mut().flatten();
            let rules = inits.chain(&mut spec.containers).flat_map(|c| c.restart_policy_rules.iter_mut().flatten());
            for rule in rules {
                rule.action = "Restart".to_owned();
            }
        });
        step(record, own.as_ref(), event, context, now)
    };
    begins_rejected_pods, "what the node did not take on is begun", |record, pod, event, context, now| {
        let none = BTreeSet::new();
        let admitted = Event::Admitted { after: &none };
        let is_rejected = matches!(event, Event::Rejected(_));
        step(record, pod, if is_rejected { &admitted } else { event }, context, now)
    };
    forgets_rejections, "what was rejected is begun by the next agent", |record, pod, event, context, now| {
        if !context.looked && matches!(record.admission, Admission::Rejected(_)) && !record.deleted {
            record.admission = Admission::default();
            record.stage = Stage::Admitted;
        }
        step(record, pod, event, context, now)
    };
    preempts_without_waiting, "who needs room begins before it is there", |record, pod, event, context, now| {
        let none = BTreeSet::new();
        let at_once = Event::Admitted { after: &none };
        let is_admitted = matches!(event, Event::Admitted { .. });
        step(record, pod, if is_admitted { &at_once } else { event }, context, now)
    };
    ignores_preemption, "who is to make room goes on", |record, pod, event, context, now| {
        let wake = Event::Wake;
        let is_preempted = matches!(event, Event::Preempt { .. });
        step(record, pod, if is_preempted { &wake } else { event }, context, now)
    };
    starts_ephemeral_containers_twice, "an ephemeral container that ended is started again", |record, pod, event, context, now| {
        for container in &mut record.containers {
            let role = pod.and_then(|pod| pod.container(&container.name)).map(|(role, _)| role);
            if role == Some(ContainerRole::Ephemeral) && container.state == ContainerState::Down {
                container.state = ContainerState::Waiting;
            }
        }
        step(record, pod, event, context, now)
    };
    forgets_ephemeral_containers, "what is added to a pod is not started", |record, pod, event, context, now| {
        let without = changed(pod, |spec| spec.ephemeral_containers = None);
        step(record, without.as_ref(), event, context, now)
    };
    ignores_other_images, "what runs goes on with its former image", |record, pod, event, context, now| {
        for container in &mut record.containers {
            container.definition = None;
        }
        step(record, pod, event, context, now)
    };
    ignores_failed_post_starts, "a container whose postStart fails runs on", |record, pod, event, context, now| {
        let mut fact = match event {
            Event::Fact(fact) => (*fact).clone(),
            _ => return step(record, pod, event, context, now),
        };
        if let Action::PostStart { .. } = fact.key {
            fact.outcome = Ok(Outcome::Done);
        }
        step(record, pod, &Event::Fact(&fact), context, now)
    };
    waits_for_hooks_for_ever, "a preStop that hangs is not broken off", |record, pod, event, context, now| {
        for container in &mut record.containers {
            if let ContainerState::Stopping { stop, .. } = &mut container.state && stop.step == StopStep::Hook {
                stop.deadline = now.mono.plus(Duration::from_secs(60));
            }
        }
        if let Stage::Terminating(terminating) = &mut record.stage
            && record.containers.iter().any(|c| matches!(&c.state, ContainerState::Stopping { stop, .. } if stop.step == StopStep::Hook))
        {
            terminating.deadline = now.mono.plus(Duration::from_secs(60));
        }
        step(record, pod, event, context, now)
    };
}
