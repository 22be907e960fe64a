//! What everybody else may read: the pods with their latest status, events, and each pod's timeline.
//!
//! One writer (the worker), many readers. A reader gets clones of `Arc`s, never a lock that it holds on to. [`Board::changes`] is
//! level-triggered: a new number means "look again".

use k8s_openapi::api::core::v1::PodStatus;
use pod_model::{
    AdmittedPod, ContainerName, ContainerRole, EventType, MonoTime, Now, PodName, PodUid, Reason,
};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// No pod's timeline grows longer; the oldest entries after the first ones go.
const TIMELINE_ENTRIES: usize = 256;
/// The first entries tell of the start and always stay.
const TIMELINE_KEPT: usize = 64;
const EVENTS: usize = 1024;

/// A pod and what is known of it.
#[derive(Debug, Clone)]
pub struct PodView {
    pub pod: AdmittedPod,
    pub status: Arc<PodStatus>,
    /// Since when it is being deleted, and how long it may take.
    pub deleting: Option<(Now, Duration)>,
    pub seen: Now,
}

/// One event, counted like the kubelet's: the same text about the same container of the same pod again is one more `count`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventView {
    pub pod: PodName,
    pub uid: PodUid,
    pub container: Option<ContainerName>,
    /// What the container is; `None`: the event is about the pod.
    pub role: Option<ContainerRole>,
    pub kind: EventType,
    pub reason: String,
    pub message: String,
    pub first: Now,
    pub last: Now,
    pub count: u32,
}

/// One line of `explain`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimelineEntry {
    pub at: Now,
    /// How long it took, if it is something that takes time; `at` is its end.
    pub took: Option<Duration>,
    pub container: Option<String>,
    pub what: String,
    pub detail: String,
}

#[derive(Default)]
struct Inner {
    pods: BTreeMap<PodUid, PodView>,
    events: VecDeque<EventView>,
    timelines: BTreeMap<PodUid, VecDeque<TimelineEntry>>,
}

#[derive(Clone)]
pub struct Board {
    inner: Arc<Mutex<Inner>>,
    changes: Arc<watch::Sender<u64>>,
}

impl Default for Board {
    fn default() -> Self {
        Self {
            inner: Arc::default(),
            changes: Arc::new(watch::Sender::new(0)),
        }
    }
}

impl Board {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn changed(&self) {
        self.changes.send_modify(|n| *n += 1);
    }

    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
    /// All pods, by uid.
    pub fn pods(&self) -> Vec<PodView> {
        self.lock().pods.values().cloned().collect()
    }
    pub fn pod(&self, uid: &PodUid) -> Option<PodView> {
        self.lock().pods.get(uid).cloned()
    }
    /// Oldest first.
    pub fn events(&self) -> Vec<EventView> {
        self.lock().events.iter().cloned().collect()
    }
    pub fn timeline(&self, uid: &PodUid) -> Vec<TimelineEntry> {
        self.lock()
            .timelines
            .get(uid)
            .map(|t| t.iter().cloned().collect())
            .unwrap_or_default()
    }

    pub(crate) fn add_pod(&self, pod: AdmittedPod, seen: Now) {
        let uid = pod.uid().clone();
        self.lock().pods.entry(uid).or_insert_with(|| PodView {
            pod,
            status: Arc::default(),
            deleting: None,
            seen,
        });
        self.changed();
    }
    /// The pod's spec is another one now.
    pub(crate) fn set_pod(&self, pod: AdmittedPod) {
        if let Some(view) = self.lock().pods.get_mut(pod.uid()) {
            view.pod = pod;
        }
        self.changed();
    }
    pub(crate) fn set_status(&self, uid: &PodUid, status: Arc<PodStatus>) {
        if let Some(view) = self.lock().pods.get_mut(uid) {
            view.status = status;
        }
        self.changed();
    }
    /// `Some`: since when it is on its way out, and how long it may take. Told again, the first time stays.
    pub(crate) fn set_deleting(&self, uid: &PodUid, deleting: Option<(Now, Duration)>) {
        if let Some(view) = self.lock().pods.get_mut(uid) {
            view.deleting = match (view.deleting, deleting) {
                (Some((since, _)), Some((_, grace))) => Some((since, grace)),
                (_, deleting) => deleting,
            };
        }
        self.changed();
    }
    pub(crate) fn remove_pod(&self, uid: &PodUid) {
        {
            let mut inner = self.lock();
            inner.pods.remove(uid);
            inner.timelines.remove(uid);
        }
        self.changed();
    }

    /// Notes an event. Public, because other parts of the node have something to tell of a pod too (a manifest that does not parse).
    pub fn note_event(
        &self,
        uid: &PodUid,
        pod: &PodName,
        role: Option<ContainerRole>,
        reason: &Reason,
        now: Now,
    ) {
        {
            let mut inner = self.lock();
            let same = |e: &EventView| {
                e.uid == *uid
                    && e.container == reason.container
                    && e.reason == reason.reason
                    && e.message == reason.message
            };
            if let Some(at) = inner.events.iter().rposition(same) {
                if let Some(mut event) = inner.events.remove(at) {
                    event.count = event.count.saturating_add(1);
                    event.last = now;
                    inner.events.push_back(event);
                }
            } else {
                if inner.events.len() == EVENTS {
                    inner.events.pop_front();
                }
                inner.events.push_back(EventView {
                    pod: pod.clone(),
                    uid: uid.clone(),
                    container: reason.container.clone(),
                    role,
                    kind: reason.kind,
                    reason: reason.reason.to_owned(),
                    message: reason.message.clone(),
                    first: now,
                    last: now,
                    count: 1,
                });
            }
        }
        self.changed();
    }

    /// A line of `explain`. Public, because what probes find is told by who probes. A pod that is gone has no timeline any more.
    pub fn note(&self, uid: &PodUid, entry: TimelineEntry) {
        let mut inner = self.lock();
        if !inner.pods.contains_key(uid) {
            return;
        }
        let timeline = inner.timelines.entry(uid.clone()).or_default();
        if timeline.len() == TIMELINE_ENTRIES {
            timeline.remove(TIMELINE_KEPT);
        }
        timeline.push_back(entry);
    }
}

/// The point in time `took` before `at`.
pub fn began(at: MonoTime, took: Duration) -> MonoTime {
    MonoTime(at.0.saturating_sub(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX)))
}
