//! What really happened, kept apart from what the core believes; and the naive rules that what the core does is measured with.
//!
//! A life is one stay of a pod on the node, from its first action to its forgetting. Its containers have attempts, and an attempt
//! has what the kernel knows of it. Nothing here reads a record of the core.

use crate::history::{ContainerPlan, PodPlan};
use crate::world::image_id;
use pod_model::{ContainerKey, ContainerName, MonoTime, PodUid, ProbeKind, WallTime};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Ran longer than this: its crashes are forgotten. A kubelet's `2 * MaxContainerBackOff`.
const FORGET_AFTER: Duration = Duration::from_secs(600);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) code: i32,
    pub(crate) at: MonoTime,
    /// Nobody can know the code.
    pub(crate) unknown: bool,
}

/// One attempt, as the kernel knows it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Attempt {
    /// Its program was executed.
    pub(crate) executed: bool,
    /// When it was.
    pub(crate) started: MonoTime,
    pub(crate) boot: u32,
    /// How often all containers of its pod had begun again before it.
    pub(crate) round: u32,
    /// The core knows how it ended, and whether all begin again for that.
    pub(crate) is_judged: bool,
    pub(crate) end: Option<End>,
    /// It is gone, and with it every trace.
    pub(crate) vanished: bool,
    /// Its `postStart` was carried out.
    pub(crate) hooked: bool,
    /// Its `preStop` was begun.
    pub(crate) pre_stopped: bool,
    /// What the core was told of it, and what of that was written down.
    pub(crate) known: Known,
    written: Known,
    /// A probe or its `postStart` was told to have failed: it is ended for that.
    pub(crate) failed: bool,
    /// A probe was: it is started again by every policy but `Never`.
    pub(crate) sick: bool,
    /// It was told to stop.
    pub(crate) told: bool,
    pub(crate) killed: bool,
    /// It has to be told to stop before it is killed: there is time for that.
    pub(crate) has_to_be_told: bool,
    /// It ran when its pod was to go, and has to be killed when its time is over.
    pub(crate) has_to_go: bool,
}

/// What was said of an attempt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Known {
    /// Its startup probe has passed.
    pub(crate) passed: bool,
    /// What its readiness probe said last.
    pub(crate) fit: bool,
    /// That it was made.
    pub(crate) made: bool,
}

/// Whether something has to be so, or only may be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Holds {
    #[default]
    No,
    Maybe,
    Yes,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct ContainerTruth {
    pub(crate) attempts: BTreeMap<u32, Attempt>,
    back_off: NaiveBackOff,
    /// The newest attempt whose start was issued.
    issued: Option<u32>,
    /// The image that the core was told last, how often it was another one, and that number when each attempt was issued.
    told_image: Option<String>,
    changes: u32,
    changes_at: BTreeMap<u32, u32>,
}

/// A start that the core wants.
pub(crate) struct Start<'a> {
    pub(crate) key: &'a ContainerKey,
    pub(crate) image_id: &'a str,
    pub(crate) now: MonoTime,
    pub(crate) boot: u32,
    /// The longest back-off.
    pub(crate) longest: Duration,
}

/// The wait before the next start: none, then 10 s, and each time twice as much.
#[derive(Debug, Clone, Default)]
struct NaiveBackOff {
    delay: Duration,
    /// What it is about: another image is not backed off from.
    image_id: String,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Life {
    pub(crate) containers: BTreeMap<ContainerName, ContainerTruth>,
    /// A source has named it to an agent.
    pub(crate) told: bool,
    /// How often all containers have begun again.
    pub(crate) round: u32,
    /// All containers have to end, and then begin again.
    pub(crate) restarts_all: bool,
    /// Starts that were on their way when that was decided.
    pub(crate) old_starts: BTreeSet<ContainerKey>,
    /// Something was done for it.
    pub(crate) begun: bool,
    /// What tells its record from that of another life.
    pub(crate) first_seen: WallTime,
    /// The core was told that it is to go, or that nobody wants it.
    pub(crate) deleted: bool,
    /// What runs may be killed from then on.
    pub(crate) kill_from: Option<MonoTime>,
    /// When it was to go it was ending by itself, and had its time from then on.
    pub(crate) ends_itself: bool,
    /// The agent that was told that it is to go, and could stop it in time.
    pub(crate) deleted_to: Option<u32>,
    /// Its record was lost or is old: counts and times are not what they would have been.
    pub(crate) tainted: bool,
    /// It goes on with what another life of the pod did.
    unclear: bool,
    /// Attempts ended in ways that no program decides: its counts are not the plan's.
    pub(crate) disturbed: bool,
    /// The agent that was told last that it is to go.
    pub(crate) told_to_go: Option<u32>,
    /// It is said to fail for what it did.
    pub(crate) evicted: Holds,
    evicted_written: bool,
    /// It has to end to make room for another.
    pub(crate) preempted: Holds,
    /// The node did not take it on.
    pub(crate) rejected: bool,
    /// When its deadline began to count, in the world's time.
    pub(crate) active_from: Option<u64>,
    /// The shortest and the longest deadline that it had, in seconds.
    pub(crate) deadlines: Option<(u64, u64)>,
    /// What was compared with the reference: it is counted once.
    pub(crate) compared: bool,
    pub(crate) compared_with_plan: bool,
    /// It was once said to run.
    pub(crate) has_run: bool,
    /// The furthest phase that was shown.
    pub(crate) phase: u8,
    pub(crate) restarts: BTreeMap<String, i32>,
}

#[derive(Debug, Default)]
pub(crate) struct Truth {
    pub(crate) lives: BTreeMap<PodUid, Life>,
    /// The former life of each pod.
    pub(crate) over: BTreeMap<PodUid, Life>,
    pub(crate) boot: u32,
}

impl Truth {
    pub(crate) fn life(&mut self, uid: &PodUid) -> &mut Life {
        self.lives.entry(uid.clone()).or_default()
    }
    /// An agent finds a record of a life: perhaps of one that is over, and whose end was not written down.
    pub(crate) fn found(&mut self, uid: &PodUid, first_seen: WallTime) -> &mut Life {
        let newer = self.lives.get(uid);
        let is_unclear = newer.is_some_and(|life| life.begun || life.tainted);
        let is_other = self
            .lives
            .get(uid)
            .is_none_or(|l| l.first_seen != first_seen);
        if is_other
            && let Some(former) = self.over.remove(uid).filter(|l| l.first_seen == first_seen)
        {
            // of the life after it nothing was written
            let tainted = former.tainted || is_unclear;
            let unclear = former.unclear || is_unclear;
            let former = Life {
                tainted,
                unclear,
                ..former
            };
            self.lives.insert(uid.clone(), former);
        }
        self.life(uid)
    }
    /// An agent finds a pod whose record cannot be read: perhaps of a life that is over, and whose end was not written down.
    pub(crate) fn found_damaged(&mut self, uid: &PodUid) {
        let was_told = self.over.get(uid).is_some_and(|former| former.told);
        let life = self.life(uid);
        life.told |= was_told;
        life.tainted = true;
    }
    /// A new agent knows what was written down.
    pub(crate) fn agent_begins(&mut self) {
        for life in self.lives.values_mut() {
            if life.evicted == Holds::Yes && !life.evicted_written {
                life.evicted = Holds::Maybe;
            }
            // each is issued anew
            life.old_starts.clear();
            for container in life.containers.values_mut() {
                for attempt in container.attempts.values_mut() {
                    attempt.known = attempt.written;
                }
            }
        }
    }
    pub(crate) fn attempt(&mut self, key: &ContainerKey) -> &mut Attempt {
        let boot = self.boot;
        let life = self.life(&key.pod);
        let (round, restarts_all) = (life.round, life.restarts_all);
        let container = life.containers.entry(key.name.clone()).or_default();
        let failed = restarts_all || container.is_changed(key.attempt.0);
        container
            .attempts
            .entry(key.attempt.0)
            .or_insert_with(|| Attempt {
                boot,
                round,
                // it came too late, and is ended at once
                failed,
                ..Attempt::default()
            })
    }
    pub(crate) fn known_attempt(&self, key: &ContainerKey) -> Option<&Attempt> {
        let life = self.lives.get(&key.pod)?;
        life.containers.get(&key.name)?.attempts.get(&key.attempt.0)
    }
    pub(crate) fn ended(&mut self, key: &ContainerKey, end: End) {
        let attempt = self.attempt(key);
        attempt.end.get_or_insert(end);
        if end.unknown {
            self.life(&key.pod).disturbed = true;
        }
    }
    /// No process outlives the machine.
    pub(crate) fn rebooted(&mut self, at: MonoTime) {
        self.boot += 1;
        for life in self.lives.values_mut() {
            life.disturbed = true;
            life.kill_from = life.kill_from.map(|_| MonoTime(0));
            life.deleted_to = None;
            for container in life.containers.values_mut() {
                // the wait goes on by another clock
                container.back_off = NaiveBackOff::default();
                for attempt in container.attempts.values_mut().filter(|a| a.executed) {
                    attempt.end.get_or_insert(End {
                        code: 137,
                        at,
                        unknown: true,
                    });
                }
            }
        }
    }
}

/// A kubelet's rule: the rules of the container, then its policy, then the pod's.
pub(crate) fn restarts(policy: &str, container: &ContainerPlan, code: i32) -> bool {
    if container.sidecar {
        return true;
    }
    // it has done what it was for
    if container.init && code == 0 {
        return false;
    }
    if container.restarts_all_on(code) || container.is_restarted_on(code) {
        return true;
    }
    match container.policy(policy) {
        "Never" => false,
        "OnFailure" => code != 0,
        _ => true,
    }
}

impl Life {
    /// What the core knows by now is on disk.
    pub(crate) fn is_written(&mut self) {
        self.evicted_written = self.evicted == Holds::Yes;
        for container in self.containers.values_mut() {
            for attempt in container.attempts.values_mut() {
                attempt.written = attempt.known;
            }
        }
    }
    pub(crate) fn has_deadline(&mut self, seconds: Option<u64>) {
        let seconds = seconds.unwrap_or(u64::MAX);
        let (shortest, longest) = self.deadlines.unwrap_or((seconds, seconds));
        self.deadlines = Some((shortest.min(seconds), longest.max(seconds)));
    }
    pub(crate) fn attempts(&self, container: &str) -> impl Iterator<Item = &Attempt> {
        let truth = self
            .containers
            .iter()
            .find(|(name, _)| name.as_str() == container);
        truth
            .into_iter()
            .flat_map(|(_, truth)| truth.attempts.values())
    }
    /// Why this attempt must not be started now, if so.
    pub(crate) fn objection_to_start(
        &mut self,
        plan: &PodPlan,
        container: &ContainerPlan,
        start: &Start<'_>,
    ) -> Option<String> {
        let Start {
            key,
            image_id,
            now,
            boot,
            longest,
        } = *start;
        let objection = self.begin_round(plan, key);
        let objection = objection.or_else(|| self.init_objection(plan, container, boot));
        if objection.is_some() {
            return objection;
        }
        let (tainted, round) = (self.tainted, self.round);
        let rebooted = boot > 0;
        let truth = self.containers.entry(key.name.clone()).or_default();
        let number = key.attempt.0;
        let is_first_issue = truth.issued.is_none_or(|issued| number > issued);
        truth.issued = truth.issued.max(Some(number));
        truth.is_issued(number, image_id);
        if tainted || !is_first_issue {
            return None;
        }
        let before = truth.attempts.range(..number).next_back();
        let Some((before, attempt)) = before else {
            return (number > 0 && !rebooted)
                .then(|| format!("attempt {number} comes without the ones before"));
        };
        if before + 1 != number && !rebooted {
            return Some(format!("attempt {number} follows {before}"));
        }
        let Some(end) = attempt.end else {
            return Some(format!("attempt {before} has not ended"));
        };
        if attempt.boot != boot {
            return None;
        }
        let is_of_round = attempt.round == round;
        // it may have been ended to be started with another image
        let runs_once = container.init && !container.sidecar;
        let is_changed = !runs_once && truth.is_changed(*before);
        let is_other_image = truth.back_off.image_id != image_id;
        let is_restarted = !is_of_round
            || is_changed
            || restarts(&plan.policy, container, end.code)
            || attempt.is_ended_to_restart(&plan.policy, container);
        if !is_restarted {
            return Some(format!(
                "attempt {before} ended with {}, and the policy is {}",
                end.code, plan.policy
            ));
        }
        let first = Duration::from_secs(10).min(longest);
        let ran = if attempt.executed {
            end.at.since(attempt.started)
        } else {
            Duration::ZERO
        };
        // its end was seen later than it was
        let seems_to_have_run = now.since(attempt.started);
        let is_unsure = attempt.vanished && seems_to_have_run > FORGET_AFTER;
        let is_forgotten = ran > FORGET_AFTER || is_unsure || is_other_image;
        if (attempt.sick || is_changed) && is_of_round {
            // a kubelet starts it before it has seen its end, and counts from the end before
            let ends = truth.attempts.range(..before).rev();
            let mut ends = ends.filter_map(|(_, a)| Some((a.boot, a.end?.at)));
            let (of_boot, earlier) = ends.next()?;
            let delay = truth.back_off.delay;
            let from = if of_boot != boot {
                // by another clock, long ago
                MonoTime(0)
            } else if attempt.vanished || end.at >= earlier.plus(delay) {
                // of one that vanished the end is seen later than it was
                earlier
            } else {
                end.at
            };
            let objection = truth
                .back_off
                .objection(from, is_other_image, now, first, longest);
            truth.back_off.image_id = image_id.to_owned();
            return objection;
        }
        truth.back_off.image_id = image_id.to_owned();
        truth
            .back_off
            .objection(end.at, is_forgotten, now, first, longest)
    }

    /// The first start after all had to end begins a round. Why it must not, if so.
    fn begin_round(&mut self, plan: &PodPlan, key: &ContainerKey) -> Option<String> {
        if self.old_starts.remove(key) || !self.restarts_all {
            return None;
        }
        self.restarts_all = false;
        self.round += 1;
        let all = self.containers.iter();
        let mut all = all.filter(|(name, _)| !plan.is_ephemeral(name.as_str()));
        let (name, _) = all.find(|(_, truth)| truth.attempts.values().any(Attempt::lives))?;
        (!self.tainted).then(|| format!("{name} lives while all are to begin again"))
    }

    /// Init containers before this one that have not succeeded in this boot, since all began again.
    fn init_objection(
        &self,
        plan: &PodPlan,
        container: &ContainerPlan,
        boot: u32,
    ) -> Option<String> {
        if self.unclear {
            return None;
        }
        let is_new = |a: &Attempt| a.boot == boot && (a.round == self.round || self.tainted);
        let inits = plan.containers.iter().filter(|c| c.init);
        let before = inits.take_while(|c| !container.init || c.name != container.name);
        for init in before {
            let attempts = self
                .containers
                .iter()
                .find(|(name, _)| name.as_str() == init.name)
                .map(|(_, truth)| &truth.attempts);
            let has_succeeded = attempts
                .into_iter()
                .flat_map(BTreeMap::values)
                .any(|a| is_new(a) && a.end.is_some_and(|end| end.code == 0));
            // started once is enough; of a lost record nobody can tell
            let has_started = || {
                self.tainted
                    || self
                        .attempts(&init.name)
                        .any(|a| is_new(a) && a.executed && a.has_started(init))
            };
            let is_done = if init.sidecar {
                has_started()
            } else {
                has_succeeded
            };
            if !is_done {
                return Some(format!("init container {} has not succeeded", init.name));
            }
        }
        None
    }
}

impl ContainerTruth {
    /// Its image has been another one since this attempt was issued.
    pub(crate) fn is_changed(&self, attempt: u32) -> bool {
        let at = self.changes_at.get(&attempt);
        at.is_some_and(|at| *at != self.changes)
    }
    /// It may have waited for its turn since before the newest change.
    fn is_issued(&mut self, attempt: u32, with: &str) {
        let told = self.told_image.as_deref().map(image_id);
        let is_newest = told.is_none_or(|told| told == with);
        let changes = if is_newest { self.changes } else { u32::MAX };
        self.changes_at.insert(attempt, changes);
    }
    /// The core is told what image it is to have. Whether that is another one.
    pub(crate) fn is_told_image(&mut self, image: &str) -> bool {
        let before = self.told_image.replace(image.to_owned());
        let is_changed = before.is_some_and(|before| before != image);
        self.changes += u32::from(is_changed);
        if is_changed {
            for attempt in self.attempts.values_mut() {
                attempt.failed = true;
            }
        }
        is_changed
    }
}

impl Attempt {
    /// As its plan says it: what may be told of it, and what may follow it.
    pub(crate) fn has_started(&self, plan: &ContainerPlan) -> bool {
        let probed = plan.probes.contains(&ProbeKind::Startup);
        (self.hooked || !plan.post_start) && (self.known.passed || !probed)
    }
    /// A probe has ended it, and it is started again, whatever its exit code.
    pub(crate) fn is_ended_to_restart(&self, policy: &str, plan: &ContainerPlan) -> bool {
        self.sick && plan.policy(policy) != "Never"
    }
    /// It is in some record, whatever becomes of it.
    pub(crate) fn is_recorded(&mut self) {
        self.known.made = true;
        self.written.made = true;
    }
    /// Somebody can know that there was this attempt: not of one that is gone without a trace before its start was told.
    pub(crate) fn counts(&self) -> bool {
        (self.executed || self.end.is_some()) && (self.known.made || !self.vanished)
    }
    pub(crate) fn lives(&self) -> bool {
        self.executed && self.end.is_none() && !self.vanished
    }
}

impl NaiveBackOff {
    fn objection(
        &mut self,
        ended: MonoTime,
        is_forgotten: bool,
        now: MonoTime,
        first: Duration,
        longest: Duration,
    ) -> Option<String> {
        let delay = if is_forgotten {
            Duration::ZERO
        } else {
            self.delay
        };
        self.delay = if delay.is_zero() {
            first
        } else {
            (delay * 2).min(longest)
        };
        (now < ended.plus(delay)).then(|| {
            format!(
                "started {:?} after its end, instead of {delay:?}",
                now.since(ended)
            )
        })
    }
}
