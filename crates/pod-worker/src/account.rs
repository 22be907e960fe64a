//! What is counted and timed of the pods' lives, as a kubelet's metrics have it.
//!
//! ```text
//!  seen ──► first action ──► … all actions answered          ──► phase Running
//!    └── began ──┘              └── one piece of work ──┘             │
//!    └────────────────────────── runs ────────────────────────────────┘
//! ```
//!
//! A piece of work is the time in which at least one action of a pod is under way: what a kubelet's `syncPod` takes.

use pod_lifecycle::{EndReason, Tally};
use pod_model::{Action, ContainerKey, ContainerRole, Fact, MonoTime, Outcome, PodUid};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Told of everything that is worth a number. Called from the loop: counts and returns.
pub trait Account: Send + 'static {
    /// An action was answered; `role` is that of the container that it starts, if it starts one.
    fn answered(&self, fact: &Fact, role: Option<ContainerRole>, took: Duration);
    /// The first action of a new pod went out.
    fn began(&self, since_seen: Duration);
    /// A piece of work is done; `operation` is `create`, `sync` or `kill`.
    fn worked(&self, operation: &'static str, took: Duration);
    /// A new pod is Running for the first time; how much of the time since it was seen went into pulls and init containers.
    fn runs(&self, since_seen: Duration, pulls_and_init: Duration);
    fn ended(&self, role: ContainerRole, code: i32, reason: EndReason);
    /// A pod was deleted and wanted again with the same uid.
    fn came_back(&self);
    /// The node did not take a pod on, or ends one for another.
    fn judged(&self, tally: Tally);
}

/// Counts nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoAccount;

impl Account for NoAccount {
    fn answered(&self, _: &Fact, _: Option<ContainerRole>, _: Duration) {}
    fn began(&self, _: Duration) {}
    fn worked(&self, _: &'static str, _: Duration) {}
    fn runs(&self, _: Duration, _: Duration) {}
    fn ended(&self, _: ContainerRole, _: i32, _: EndReason) {}
    fn came_back(&self) {}
    fn judged(&self, _: Tally) {}
}

/// The times of all pods that are known.
#[derive(Debug, Default)]
pub(crate) struct Books {
    pages: BTreeMap<PodUid, Page>,
    going: BTreeSet<PodUid>,
}

#[derive(Debug, Default)]
struct Page {
    /// Until it runs; `None` also for a pod of an earlier agent.
    starts: Option<Start>,
    has_begun: bool,
    under_way: u32,
    work: Option<(MonoTime, &'static str)>,
}

#[derive(Debug)]
struct Start {
    seen: MonoTime,
    first_pull: Option<MonoTime>,
    last_pull: MonoTime,
    init: Duration,
    init_since: BTreeMap<ContainerKey, MonoTime>,
}

impl Books {
    /// A pod that was not known is wanted.
    pub(crate) fn seen(&mut self, uid: &PodUid, at: MonoTime) {
        let start = Start {
            seen: at,
            first_pull: None,
            last_pull: at,
            init: Duration::ZERO,
            init_since: BTreeMap::new(),
        };
        let page = Page {
            starts: Some(start),
            ..Page::default()
        };
        self.pages.insert(uid.clone(), page);
    }

    /// The time since the pod was seen, if this is its first action.
    pub(crate) fn issued(&mut self, action: &Action, now: MonoTime) -> Option<Duration> {
        let page = self.pages.entry(action.pod().clone()).or_default();
        let is_first = !std::mem::replace(&mut page.has_begun, true);
        let seen = page.starts.as_ref().map(|start| start.seen);
        let ends = matches!(
            action,
            Action::Stop { .. } | Action::Kill { .. } | Action::Undo { .. } | Action::Forget { .. }
        );
        page.under_way += 1;
        let operation = match seen {
            _ if ends => "kill",
            Some(_) if is_first => "create",
            _ => "sync",
        };
        let work = page.work.get_or_insert((now, operation));
        if ends {
            work.1 = operation;
        }
        seen.filter(|_| is_first).map(|seen| now.since(seen))
    }

    /// The piece of work that this answer ends.
    pub(crate) fn answered(
        &mut self,
        fact: &Fact,
        is_init: bool,
    ) -> Option<(&'static str, Duration)> {
        let page = self.pages.get_mut(fact.key.pod())?;
        let at = fact.at.mono;
        if let Some(start) = &mut page.starts {
            match (&fact.key, &fact.outcome) {
                (_, Ok(Outcome::Image(image))) if !image.was_present => {
                    let began = crate::board::began(at, image.pull);
                    start.first_pull = Some(start.first_pull.map_or(began, |f| f.min(began)));
                    start.last_pull = start.last_pull.max(at);
                }
                (Action::Start { container, .. }, Ok(_)) if is_init => {
                    start.init_since.insert(container.clone(), at);
                }
                _ => {}
            }
        }
        page.under_way = page.under_way.saturating_sub(1);
        if page.under_way > 0 {
            return None;
        }
        let (since, operation) = page.work.take()?;
        Some((operation, at.since(since)))
    }

    pub(crate) fn exited(&mut self, key: &ContainerKey, at: MonoTime) {
        let start = self.pages.get_mut(&key.pod).and_then(|p| p.starts.as_mut());
        if let Some(start) = start
            && let Some(since) = start.init_since.remove(key)
        {
            start.init += at.since(since);
        }
    }

    /// The times of a start that is over, told once: since the pod was seen, and what of it was pulls and init containers.
    pub(crate) fn running(&mut self, uid: &PodUid, now: MonoTime) -> Option<(Duration, Duration)> {
        let start = self.pages.get_mut(uid)?.starts.take()?;
        let pulls = start
            .first_pull
            .map_or(Duration::ZERO, |first| start.last_pull.since(first));
        Some((now.since(start.seen), pulls + start.init))
    }

    /// It has ended without ever running.
    pub(crate) fn is_over(&mut self, uid: &PodUid) {
        if let Some(page) = self.pages.get_mut(uid) {
            page.starts = None;
        }
    }

    /// What its record says of the pod now; `None`: it is gone. True: it came back.
    pub(crate) fn recorded(&mut self, uid: &PodUid, deleted: Option<bool>, now: MonoTime) -> bool {
        match deleted {
            Some(true) => {
                self.going.insert(uid.clone());
                false
            }
            Some(false) => {
                let came_back = self.going.remove(uid);
                if came_back {
                    self.seen(uid, now);
                }
                came_back
            }
            None => {
                self.going.remove(uid);
                self.pages.remove(uid);
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pod_model::{Attempt, ContainerName, ImageFact, Now, SandboxPart, Seq};

    fn at(ms: u64) -> MonoTime {
        MonoTime(ms * 1_000_000)
    }
    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }
    fn uid() -> PodUid {
        PodUid::new("u").unwrap()
    }
    fn fact(key: &Action, outcome: Outcome, ms: u64) -> Fact {
        Fact {
            key: key.clone(),
            outcome: Ok(outcome),
            at: Now {
                mono: at(ms),
                ..Now::default()
            },
            seq: Seq::default(),
            spans: Vec::new(),
        }
    }

    #[test]
    fn a_start_is_timed_from_seen_to_running_without_pulls_and_init_containers() {
        let (mut books, pod) = (Books::default(), uid());
        let name = ContainerName::new("init").unwrap();
        let init = ContainerKey::new(pod.clone(), name.clone(), Attempt::FIRST);
        let cgroup = Action::Prepare {
            pod: pod.clone(),
            part: SandboxPart::Cgroup,
        };
        let image = Action::EnsureImage {
            pod: pod.clone(),
            container: name,
            try_number: 0,
        };
        let start = Action::Start {
            container: init.clone(),
            image_id: String::new(),
        };
        let pulled = Outcome::Image(ImageFact {
            id: String::new(),
            repo_digest: String::new(),
            was_present: false,
            size_bytes: 0,
            pull: ms(40),
        });
        books.seen(&pod, at(100));
        assert_eq!(books.issued(&cgroup, at(103)), Some(ms(3)));
        assert_eq!(books.issued(&image, at(104)), None, "the first only");
        assert_eq!(
            books.answered(&fact(&cgroup, Outcome::Done, 105), false),
            None
        );
        assert_eq!(
            books.answered(&fact(&image, pulled, 150), false),
            Some(("create", ms(47))),
            "when nothing is under way any more"
        );
        books.issued(&start, at(151));
        let work = books.answered(&fact(&start, Outcome::Done, 155), true);
        assert_eq!(work, Some(("sync", ms(4))));
        books.exited(&init, at(175));
        assert_eq!(books.running(&pod, at(200)), Some((ms(100), ms(40 + 20))));
        assert_eq!(books.running(&pod, at(300)), None, "told once");
    }

    #[test]
    fn a_pod_of_an_earlier_agent_only_works() {
        let (mut books, pod) = (Books::default(), uid());
        let forget = Action::Forget { pod: pod.clone() };
        assert_eq!(books.issued(&forget, at(10)), None);
        let work = books.answered(&fact(&forget, Outcome::Done, 12), false);
        assert_eq!(work, Some(("kill", ms(2))));
        assert_eq!(books.running(&pod, at(20)), None);
    }

    #[test]
    fn who_is_wanted_again_before_he_is_gone_has_come_back() {
        let (mut books, pod) = (Books::default(), uid());
        books.seen(&pod, at(0));
        assert!(!books.recorded(&pod, Some(false), at(1)));
        assert!(!books.recorded(&pod, Some(true), at(2)));
        assert!(books.recorded(&pod, Some(false), at(3)));
        assert!(!books.recorded(&pod, Some(false), at(4)), "told once");
        assert!(!books.recorded(&pod, Some(true), at(5)));
        assert!(!books.recorded(&pod, None, at(6)));
        assert!(!books.recorded(&pod, Some(false), at(7)), "it was gone");
    }
}
