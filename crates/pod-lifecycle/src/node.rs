//! All pods of the node: who is stepped when, what waits for whom, and the queues between the core and its driver.

mod admission;
mod kernel;

use crate::check::{Violation, check};
use crate::dispatch::Dispatcher;
use crate::step::{Context, Event, Look, Step, step};
use crate::view::comes_from_api;
use crate::{
    Admission, Input, PodRecord, Settings, Stage, StatusUpdate, Tally, WhyTerminating, status,
};
use node_policy::admission::Requests;
use pod_model::{
    Action, AdmittedPod, ContainerKey, MonoTime, Now, ObservedContainer, PodName, PodUid, Reason,
    Seq,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug)]
struct Entry {
    record: PodRecord,
    /// `None`: known only from the kernel.
    pod: Option<AdmittedPod>,
    /// A source has named it since this agent started.
    confirmed: bool,
    /// Wanted again while it goes away.
    after: Option<AdmittedPod>,
    wake: Option<MonoTime>,
    published: Option<StatusUpdate>,
    /// What the pod asks for; nothing of one that is known only from the kernel.
    asks: Requests,
    /// It is a part of [`NodeCore::held`].
    is_counted: bool,
}

impl Entry {
    fn new(record: PodRecord, pod: Option<AdmittedPod>, confirmed: bool) -> Self {
        Self {
            record,
            asks: pod.as_ref().map(Requests::of).unwrap_or_default(),
            pod,
            confirmed,
            after: None,
            wake: None,
            published: None,
            is_counted: false,
        }
    }
}

/// What decides about one pod: [`step()`], or in the simulator something that is wrong on purpose.
pub type Decide = fn(PodRecord, Option<&AdmittedPod>, &Event<'_>, Context<'_>, now: Now) -> Step;

/// The decisions of a whole node. No I/O: the driver calls [`handle`](Self::handle), then drains the `poll_*` queues in the order
/// records, statuses, reasons, actions, and calls again when something happens or [`next_wake`](Self::next_wake) has come.
#[derive(Debug)]
pub struct NodeCore {
    decide: Decide,
    settings: Settings,
    entries: BTreeMap<PodUid, Entry>,
    /// What the pods together ask for that hold resources of the node.
    held: Requests,
    /// The pods of one name, in the order in which they may have it.
    names: BTreeMap<PodName, Vec<PodUid>>,
    wakes: BTreeSet<(MonoTime, PodUid)>,
    dispatcher: Dispatcher,
    records: BTreeSet<PodUid>,
    statuses: BTreeSet<PodUid>,
    reasons: VecDeque<(PodUid, Reason)>,
    tallies: VecDeque<Tally>,
    violations: VecDeque<Violation>,
    looked: bool,
    /// The newest look.
    last_look: Seq,
    sources_ready: bool,
    /// Containers of pods that nobody knows (yet).
    unclaimed: BTreeMap<PodUid, (Seq, BTreeMap<ContainerKey, ObservedContainer>)>,
    leftovers: BTreeSet<PodUid>,
    /// Pods forgotten since the newest look, and when: an older look may still show them.
    forgotten: BTreeMap<PodUid, Seq>,
}

impl NodeCore {
    pub fn new(settings: Settings) -> Self {
        Self::deciding_by(step, settings)
    }

    /// With another function in the place of [`step()`]: for tests of tests, which have to notice it.
    pub fn deciding_by(decide: Decide, settings: Settings) -> Self {
        Self {
            decide,
            dispatcher: Dispatcher::new(settings.kernel_slots, settings.max_parallel_image_pulls),
            settings,
            entries: BTreeMap::new(),
            held: Requests::default(),
            names: BTreeMap::new(),
            wakes: BTreeSet::new(),
            records: BTreeSet::new(),
            statuses: BTreeSet::new(),
            reasons: VecDeque::new(),
            tallies: VecDeque::new(),
            violations: VecDeque::new(),
            looked: false,
            last_look: Seq::default(),
            sources_ready: false,
            unclaimed: BTreeMap::new(),
            leftovers: BTreeSet::new(),
            forgotten: BTreeMap::new(),
        }
    }

    /// Takes over what an earlier agent left, once, before any other input. Records of an earlier boot go through
    /// [`PodRecord::rebooted`] first. What was in flight is issued again, after the first look.
    pub fn restore(&mut self, pods: Vec<(PodRecord, AdmittedPod)>, now: Now) {
        let mut pods: Vec<_> = pods
            .into_iter()
            .map(|(record, pod)| (record.restarted(), pod))
            .collect();
        // of two pods with one name the one that was begun has it; the other waited
        pods.sort_by_key(|(record, _)| {
            (
                record.start_time.is_none(),
                record.first_seen.wall,
                record.uid.clone(),
            )
        });
        let mut uids = Vec::new();
        for (mut record, pod) in pods {
            if record.uid != *pod.uid() || record.forgotten {
                continue;
            }
            record.fit(&pod);
            uids.push(record.uid.clone());
            self.insert(record, Some(pod), false);
        }
        self.prune_room_makers();
        for uid in uids {
            // what was made of it for this boot is what the next agent has to find
            self.records.insert(uid.clone());
            self.statuses.insert(uid.clone());
            self.step(&uid, &Event::Wake, now);
        }
        self.ask_for_room_again(now);
    }

    pub fn handle(&mut self, input: Input, now: Now) {
        match input {
            Input::Desired(pod) => self.desired(pod, now),
            Input::Deleted { uid, grace } => self.delete(&uid, WhyTerminating::Deleted, grace, now),
            Input::Evicted { uid, message } => self.evict(&uid, &message, now),
            Input::Fact(fact) => {
                if self.dispatcher.answered(&fact.key) {
                    self.step(&fact.key.pod().clone(), &Event::Fact(&fact), now);
                }
            }
            Input::Exit(seen) => self.exit(&seen, now),
            Input::Probed(probed) => {
                self.step(&probed.container.pod.clone(), &Event::Probed(&probed), now)
            }
            Input::ProbeFailed(failed) => self.step(
                &failed.container.pod.clone(),
                &Event::ProbeFailed(&failed),
                now,
            ),
            Input::Observed(observed) => self.observed(&observed, now),
            Input::SourcesReady => self.sources_are_ready(now),
            Input::Leftovers(uids) => self.found(uids, now),
            Input::ImagesCame => {
                for uid in self.entries.keys().cloned().collect::<Vec<_>>() {
                    self.step(&uid, &Event::ImagesCame, now);
                }
            }
            Input::PullWanted(action) => self.pull_wanted(action, now),
            Input::Tick => {}
        }
        self.wake_up(now);
    }

    fn desired(&mut self, pod: AdmittedPod, now: Now) {
        let uid = pod.uid().clone();
        match self.entries.get_mut(&uid) {
            Some(entry) if entry.record.deleted => entry.after = Some(pod),
            Some(entry) => {
                entry.confirmed = true;
                if entry.pod.as_ref() != Some(&pod) {
                    entry.record.fit(&pod);
                    if std::mem::take(&mut entry.is_counted) {
                        self.held.remove(entry.asks);
                    }
                    entry.asks = Requests::of(&pod);
                    entry.pod = Some(pod);
                    self.count(&uid);
                    self.statuses.insert(uid.clone());
                    self.step(&uid, &Event::Wake, now);
                }
            }
            None => {
                let record = PodRecord::new(&pod, now);
                self.admit(record, pod, now);
            }
        }
    }

    /// A pod that was not known: what the kernel shows of it was of an agent whose record is lost.
    fn admit(&mut self, mut record: PodRecord, pod: AdmittedPod, now: Now) {
        let uid = pod.uid().clone();
        if self.leftovers.remove(&uid) || self.unclaimed.contains_key(&uid) {
            record.sandbox_was_found();
        }
        // what was seen before is about a former pod of this uid, or in the newest look
        let ended = self.forgotten.get(&uid).copied().unwrap_or_default();
        record.born = ended.max(self.last_look);
        // a container was once taken on; anything else may be of a former pod of this uid
        let waits_for_verdict = !self.unclaimed.contains_key(&uid);
        if !waits_for_verdict {
            record.admission = Admission::default();
        }
        self.insert(record, Some(pod), true);
        self.records.insert(uid.clone());
        self.statuses.insert(uid.clone());
        match self.unclaimed.remove(&uid) {
            Some((as_of, containers)) => {
                let look = Look {
                    as_of,
                    containers: containers.iter().collect(),
                };
                self.step(&uid, &Event::Look(look), now);
            }
            None if waits_for_verdict && self.looked => self.judge(&uid, now),
            None => self.step(&uid, &Event::Wake, now),
        }
    }

    fn insert(&mut self, record: PodRecord, pod: Option<AdmittedPod>, confirmed: bool) {
        let uid = record.uid.clone();
        if let Some(pod) = &pod {
            self.names
                .entry(pod.name().clone())
                .or_default()
                .push(uid.clone());
        }
        let entry = Entry::new(record, pod, confirmed);
        self.entries.insert(uid.clone(), entry);
        self.count(&uid);
    }

    fn delete(&mut self, uid: &PodUid, why: WhyTerminating, grace: Option<Duration>, now: Now) {
        let Some(entry) = self.entries.get_mut(uid) else {
            return;
        };
        entry.after = None;
        let withdrawn = self.dispatcher.withdraw(uid);
        self.statuses.insert(uid.clone());
        self.step(
            uid,
            &Event::Delete {
                why,
                grace,
                withdrawn: &withdrawn,
            },
            now,
        );
    }

    fn evict(&mut self, uid: &PodUid, message: &str, now: Now) {
        let is_ending = |entry: &Entry| !entry.record.stage.is_before_termination();
        if self.entries.get(uid).is_none_or(is_ending) {
            return;
        }
        let withdrawn = self.dispatcher.withdraw(uid);
        let event = Event::Evict {
            message,
            withdrawn: &withdrawn,
        };
        self.step(uid, &event, now);
    }

    fn pull_wanted(&mut self, action: Action, now: Now) {
        let Action::EnsureImage { pod, container, .. } = &action else {
            return;
        };
        let is_awaited = self
            .entries
            .get(pod)
            .is_some_and(|entry| entry.record.in_flight.contains(&action));
        if is_awaited {
            self.step(&pod.clone(), &Event::PullBegins(&container.clone()), now);
        }
        // also for one that was abandoned: its executor waits for the turn, and will answer. One that has answered waits for nothing,
        // and would hold its turn for ever: the wish may come after the answer
        if is_awaited || self.dispatcher.is_abandoned(&action) {
            self.dispatcher.want_pull(action);
        }
    }

    /// Each pod once: whatever a step wishes for, this comes to an end.
    fn wake_up(&mut self, now: Now) {
        let is_due = |(at, _): &&(MonoTime, PodUid)| *at <= now.mono;
        let due = self.wakes.iter().take_while(is_due);
        for uid in due.map(|(_, uid)| uid.clone()).collect::<Vec<_>>() {
            self.step(&uid, &Event::Wake, now);
        }
    }

    /// Whether an earlier pod of the same name is still there. Pods of an API server may overlap, as with a kubelet.
    fn is_held(&self, entry: &Entry) -> bool {
        let Some(pod) = entry.pod.as_ref().filter(|pod| !comes_from_api(pod)) else {
            return false;
        };
        self.names
            .get(pod.name())
            .and_then(|uids| uids.first())
            .is_some_and(|first| *first != entry.record.uid)
    }

    fn step(&mut self, uid: &PodUid, event: &Event<'_>, now: Now) {
        let Some(entry) = self.entries.get(uid) else {
            return;
        };
        let context = Context {
            settings: &self.settings,
            held: self.is_held(entry),
            looked: self.looked,
        };
        let done = (self.decide)(
            entry.record.clone(),
            entry.pod.as_ref(),
            event,
            context,
            now,
        );
        if self.settings.check {
            self.violations.extend(check(
                &entry.record,
                entry.pod.as_ref(),
                event,
                context,
                &done,
            ));
        }
        let Some(entry) = self.entries.get_mut(uid) else {
            return;
        };
        let ends_now = entry.record.stage.is_before_termination()
            && !done.record.stage.is_before_termination();
        if let Some(old) = entry.wake.take() {
            self.wakes.remove(&(old, uid.clone()));
        }
        if let Some(wake) = done.next_wake {
            entry.wake = Some(wake);
            self.wakes.insert((wake, uid.clone()));
        }
        let was = entry.record.stage.rank();
        if entry.record != done.record {
            entry.record = done.record;
            self.records.insert(uid.clone());
            self.statuses.insert(uid.clone());
        }
        self.reasons
            .extend(done.reasons.into_iter().map(|reason| (uid.clone(), reason)));
        for action in done.abandoned {
            self.dispatcher.cancel(action);
        }
        for action in done.actions {
            self.dispatcher.issue(action);
        }
        let over = Stage::CleaningUp.rank();
        let has_ended = was < over && entry.record.stage.rank() >= over;
        let is_forgotten = entry.record.forgotten;
        self.count(uid);
        if has_ended {
            self.made_room(uid, now);
        }
        if is_forgotten {
            self.remove(uid, now);
        } else if ends_now {
            self.take_back(uid, now);
        }
    }

    /// The pod ends: what would build it up and waits for a slot does not begin any more.
    fn take_back(&mut self, uid: &PodUid, now: Now) {
        let withdrawn = self.dispatcher.withdraw(uid);
        if !withdrawn.is_empty() {
            self.step(uid, &Event::Withdrawn(&withdrawn), now);
        }
    }

    /// The pod is gone. Who waited for its name, or its uid, may begin.
    fn remove(&mut self, uid: &PodUid, now: Now) {
        let Some(entry) = self.entries.remove(uid) else {
            return;
        };
        if let Some(wake) = entry.wake {
            self.wakes.remove(&(wake, uid.clone()));
        }
        if entry.is_counted {
            self.held.remove(entry.asks);
        }
        self.statuses.remove(uid);
        self.records.insert(uid.clone());
        self.forgotten.insert(uid.clone(), entry.record.seq);
        let mut next = None;
        if let Some(pod) = &entry.pod
            && let Some(uids) = self.names.get_mut(pod.name())
        {
            uids.retain(|other| other != uid);
            next = uids.first().cloned();
            if uids.is_empty() {
                self.names.remove(pod.name());
            }
        }
        if let Some(pod) = entry.after {
            let record = PodRecord::new(&pod, now);
            self.admit(record, pod, now);
        }
        if let Some(next) = next {
            self.step(&next, &Event::Wake, now);
        }
    }

    /// The next pod whose record changed. Write [`record`](Self::record) down before the actions polled after this are carried out;
    /// if it has none any more, remove what was written.
    pub fn poll_record(&mut self) -> Option<PodUid> {
        self.records.pop_first()
    }
    /// The next status that differs from the last one told. Only the latest of a pod is ever told.
    pub fn poll_publish(&mut self) -> Option<StatusUpdate> {
        while let Some(uid) = self.statuses.pop_first() {
            let Some(entry) = self.entries.get_mut(&uid) else {
                continue;
            };
            let Some(pod) = &entry.pod else { continue };
            let update = StatusUpdate {
                status: Arc::new(status(&entry.record, pod, &self.settings)),
                deleting: entry.record.deleted,
                released: matches!(entry.record.stage, Stage::Finished),
                uid,
            };
            if entry.published.as_ref() != Some(&update) {
                entry.published = Some(update.clone());
                return Some(update);
            }
        }
        None
    }
    /// The next thing to tell people: a Kubernetes event.
    pub fn poll_reason(&mut self) -> Option<(PodUid, Reason)> {
        self.reasons.pop_front()
    }
    /// The next action to carry out. Each has to be answered by exactly one [`Input::Fact`], however late.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.dispatcher.next_action()
    }
    /// The next action, carried out already, that nobody waits for any more. It may be broken off, and has to be answered all the same.
    pub fn poll_cancel(&mut self) -> Option<Action> {
        self.dispatcher.next_cancelled()
    }
    /// The next pull that may begin, of those that were asked for by [`Input::PullWanted`].
    pub fn poll_pull(&mut self) -> Option<Action> {
        self.dispatcher.next_pull()
    }
    /// The next thing to count.
    pub fn poll_tally(&mut self) -> Option<Tally> {
        self.tallies.pop_front()
    }
    /// What [`check`] found, if [`Settings::check`] is on. Every one is a defect of this crate.
    pub fn poll_violation(&mut self) -> Option<Violation> {
        self.violations.pop_front()
    }
    /// When to send [`Input::Tick`] if nothing else happens.
    pub fn next_wake(&self) -> Option<MonoTime> {
        self.wakes.first().map(|(at, _)| *at)
    }

    /// What is remembered of the pod; `None` if it is not known.
    pub fn record(&self, uid: &PodUid) -> Option<&PodRecord> {
        self.entries.get(uid).map(|entry| &entry.record)
    }
    /// The desired pod; `None` if it is not known, or known only from the kernel.
    pub fn pod(&self, uid: &PodUid) -> Option<&AdmittedPod> {
        self.entries.get(uid).and_then(|entry| entry.pod.as_ref())
    }
    /// Every pod that is known.
    pub fn uids(&self) -> impl Iterator<Item = &PodUid> {
        self.entries.keys()
    }
    /// No pod is left, not even one that is going.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}
