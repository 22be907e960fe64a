//! The task.

use crate::answer::{Answer, ErrorResult, TRIES};
use crate::count::Counter;
use crate::exec::Exec;
use crate::plan::{Plan, probe_of};
use crate::schedule::{Id, Schedule, first_wait, following};
use futures_util::StreamExt;
use futures_util::future::{AbortHandle, Abortable};
use futures_util::stream::FuturesUnordered;
use pod_model::probe::{ProbeFailed, ProbeKind, ProbeTarget, Probed};
use pod_model::{AdmittedPod, ContainerKey, MonoTime, Now, PodName, PodUid};
use std::collections::HashMap;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// One probe, by the names that a person knows.
#[derive(Debug, Clone, Copy)]
pub struct Named<'a> {
    pub container: &'a ContainerKey,
    pub pod: &'a PodName,
    pub kind: ProbeKind,
}

/// The `result` of `prober_probe_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TryResult {
    Successful,
    Failed,
}

/// What is told.
#[derive(Debug)]
pub enum Said<'a> {
    /// By its thresholds, the answer is another one now.
    Probed(Probed),
    /// One try failed.
    Failed(ProbeFailed),
    /// One try succeeded, with something that a person should know.
    Warned(Named<'a>, &'a str),
    /// Nothing was learned: the result, and why.
    Errored(Named<'a>, ErrorResult, &'a str),
    /// A try that counts.
    Tried {
        named: Named<'a>,
        result: TryResult,
        took: Duration,
        /// Of this attempt, by this agent.
        is_first: bool,
    },
    /// The pod of this probe is gone. Between attempts of a container its probes rest, and nothing is told.
    Gone(Named<'a>),
}

/// Hears what the probes say. Called on the task of all probes: it must not wait.
pub trait Listen: Send + Sync + 'static {
    fn hear(&self, said: Said<'_>);
}

enum Word {
    Tend(AdmittedPod, Vec<ProbeTarget>),
    Forget(PodUid),
}

/// Says what is to be probed.
#[derive(Clone)]
pub struct Probes(mpsc::UnboundedSender<Word>);

impl Probes {
    /// From now on these are the pod's targets, and no others.
    pub fn tend(&self, pod: &AdmittedPod, targets: Vec<ProbeTarget>) {
        // the prober ends with the agent
        let _ = self.0.send(Word::Tend(pod.clone(), targets));
    }
    /// The pod is gone.
    pub fn forget(&self, pod: &PodUid) {
        let _ = self.0.send(Word::Forget(pod.clone()));
    }
}

/// One probe of one attempt.
struct Probing {
    pod: PodName,
    container: ContainerKey,
    kind: ProbeKind,
    pod_ip: Option<String>,
    plan: Arc<Plan>,
    counter: Counter,
    is_tried: bool,
    /// The try that is under way.
    running: Option<AbortHandle>,
}

impl Probing {
    fn named(&self) -> Named<'_> {
        Named {
            container: &self.container,
            pod: &self.pod,
            kind: self.kind,
        }
    }
    fn is(&self, target: &ProbeTarget) -> bool {
        self.kind == target.kind
            && self.container == target.container
            && self.pod_ip == target.pod_ip
    }
}

/// A try has ended.
struct Ended {
    id: Id,
    due: Instant,
    answer: Answer,
    took: Duration,
}

type Try = Abortable<Pin<Box<dyn Future<Output = Ended> + Send>>>;

/// The task of all probes.
pub struct Prober<E, L> {
    exec: Arc<E>,
    listener: L,
    now: fn() -> Now,
    /// When this agent began to probe: containers that are older get their first try with a jitter.
    begun: MonoTime,
    /// Where pods on the host's network are reached.
    host_address: String,
    inbox: mpsc::UnboundedReceiver<Word>,
    last_id: Id,
    all: HashMap<Id, Probing>,
    of_pod: HashMap<PodUid, Vec<Id>>,
    /// What was ever probed of a pod, an attempt of each.
    seen: HashMap<PodUid, Vec<(ContainerKey, PodName, ProbeKind)>>,
    schedule: Schedule,
    running: FuturesUnordered<Try>,
    spread: RandomState,
}

impl<E: Exec, L: Listen> Prober<E, L> {
    /// Builds; nothing is probed before [`Self::run`].
    pub fn new(
        exec: Arc<E>,
        listener: L,
        host_address: String,
        now: fn() -> Now,
    ) -> (Self, Probes) {
        let (sender, inbox) = mpsc::unbounded_channel();
        let prober = Self {
            exec,
            listener,
            now,
            begun: now().mono,
            host_address,
            inbox,
            last_id: 0,
            all: HashMap::new(),
            of_pod: HashMap::new(),
            seen: HashMap::new(),
            schedule: Schedule::default(),
            running: FuturesUnordered::new(),
            spread: RandomState::new(),
        };
        (prober, Probes(sender))
    }

    /// Runs until every [`Probes`] is gone.
    pub async fn run(mut self) {
        loop {
            self.begin_due();
            let next = self.schedule.next();
            // Every arm is cancel-safe: a channel and a stream lose nothing when another arm wins, and a sleep has no state.
            tokio::select! {
                biased;
                word = self.inbox.recv() => match word {
                    Some(Word::Tend(pod, targets)) => self.tend(&pod, targets),
                    Some(Word::Forget(uid)) => self.forget(&uid),
                    None => return,
                },
                Some(ended) = self.running.next() => {
                    // an error: it was broken off
                    if let Ok(ended) = ended {
                        self.take(ended);
                    }
                }
                () = sleep_until(next) => {}
            }
        }
    }

    fn tend(&mut self, pod: &AdmittedPod, targets: Vec<ProbeTarget>) {
        let had = self.of_pod.remove(pod.uid()).unwrap_or_default();
        let mut kept = Vec::new();
        let mut new = targets;
        for id in had {
            let place = self
                .all
                .get(&id)
                .and_then(|probing| new.iter().position(|target| probing.is(target)));
            match place {
                Some(place) => {
                    new.swap_remove(place);
                    kept.push(id);
                }
                None => self.end(id),
            }
        }
        for target in new {
            kept.extend(self.begin(pod, target));
        }
        if !kept.is_empty() {
            self.of_pod.insert(pod.uid().clone(), kept);
        }
    }

    fn forget(&mut self, uid: &PodUid) {
        for id in self.of_pod.remove(uid).unwrap_or_default() {
            self.end(id);
        }
        for (container, pod, kind) in self.seen.remove(uid).unwrap_or_default() {
            let (container, pod) = (&container, &pod);
            self.listener.hear(Said::Gone(Named {
                container,
                pod,
                kind,
            }));
        }
    }

    fn note(&mut self, pod: &PodName, container: &ContainerKey, kind: ProbeKind) {
        let seen = self.seen.entry(container.pod.clone()).or_default();
        let is_known = |(known, _, k): &(ContainerKey, PodName, ProbeKind)| {
            known.name == container.name && *k == kind
        };
        if !seen.iter().any(is_known) {
            seen.push((container.clone(), pod.clone(), kind));
        }
    }

    fn begin(&mut self, pod: &AdmittedPod, target: ProbeTarget) -> Option<Id> {
        let (_, container) = pod.container(&target.container.name)?;
        let probe = probe_of(container, target.kind)?;
        let address = target.pod_ip.as_deref().unwrap_or(&self.host_address);
        let plan = Plan::new(probe, container, address);
        let counter = Counter::new(
            plan.successes,
            plan.failures,
            target.kind != ProbeKind::Readiness,
            target.healthy,
        );
        self.last_id += 1;
        let id = self.last_id;
        if !counter.is_over() {
            let now = (self.now)();
            let age = now.mono.since(target.started);
            let is_older = target.started < self.begun;
            let share =
                is_older.then(|| share(self.spread.hash_one((&target.container, target.kind))));
            let wait = first_wait(plan.initial_delay, plan.period, age, share);
            self.schedule.set(id, Instant::now() + wait);
        }
        self.note(pod.name(), &target.container, target.kind);
        let probing = Probing {
            pod: pod.name().clone(),
            container: target.container,
            kind: target.kind,
            pod_ip: target.pod_ip,
            plan: Arc::new(plan),
            counter,
            is_tried: false,
            running: None,
        };
        self.all.insert(id, probing);
        Some(id)
    }

    fn end(&mut self, id: Id) {
        self.schedule.remove(id);
        if let Some(running) = self.all.remove(&id).and_then(|probing| probing.running) {
            running.abort();
        }
    }

    fn begin_due(&mut self) {
        let now = Instant::now();
        while let Some((id, due)) = self.schedule.pop(now) {
            let Some(probing) = self.all.get_mut(&id) else {
                continue;
            };
            let (exec, plan) = (Arc::clone(&self.exec), Arc::clone(&probing.plan));
            let key = probing.container.clone();
            let one: Pin<Box<dyn Future<Output = Ended> + Send>> = Box::pin(async move {
                let begun = Instant::now();
                let mut answer = plan.check.run(&key, &*exec, plan.timeout).await;
                for _ in 1..TRIES {
                    if !matches!(answer, Answer::Error(..)) {
                        break;
                    }
                    answer = plan.check.run(&key, &*exec, plan.timeout).await;
                }
                Ended {
                    id,
                    due,
                    answer,
                    took: begun.elapsed(),
                }
            });
            let (handle, registration) = AbortHandle::new_pair();
            probing.running = Some(handle);
            self.running.push(Abortable::new(one, registration));
        }
    }

    fn take(&mut self, ended: Ended) {
        let Ended {
            id,
            due,
            answer,
            took,
        } = ended;
        let Some(probing) = self.all.get_mut(&id) else {
            return;
        };
        probing.running = None;
        if let Some(healthy) = heard(probing, &answer, took, &self.listener)
            && let Some(healthy) = probing.counter.count(healthy)
        {
            let message = match answer {
                Answer::Success => String::new(),
                Answer::Warning(text) | Answer::Failure(text) | Answer::Error(_, text) => text,
            };
            self.listener.hear(Said::Probed(Probed {
                container: probing.container.clone(),
                kind: probing.kind,
                healthy,
                message,
            }));
        }
        if !probing.counter.is_over() {
            let next = following(due, probing.plan.period, Instant::now());
            self.schedule.set(id, self.schedule.on_grid(next));
        }
    }
}

/// Tells of one try; what it says of the container, if it says something.
fn heard(
    probing: &mut Probing,
    answer: &Answer,
    took: Duration,
    listener: &impl Listen,
) -> Option<bool> {
    let is_first = !std::mem::replace(&mut probing.is_tried, true);
    let named = probing.named();
    let result = match answer {
        Answer::Success => TryResult::Successful,
        Answer::Warning(text) => {
            listener.hear(Said::Warned(named, text));
            TryResult::Successful
        }
        Answer::Failure(text) => {
            listener.hear(Said::Failed(ProbeFailed {
                container: probing.container.clone(),
                kind: probing.kind,
                message: text.clone(),
            }));
            TryResult::Failed
        }
        Answer::Error(result, text) => {
            listener.hear(Said::Errored(named, *result, text));
            return None;
        }
    };
    listener.hear(Said::Tried {
        named,
        result,
        took,
        is_first,
    });
    Some(result == TryResult::Successful)
}

/// A number between 0 and 1 of a random one.
fn share(random: u64) -> f64 {
    f64::from((random >> 32) as u32) / f64::from(u32::MAX)
}

async fn sleep_until(next: Option<Instant>) {
    match next {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
