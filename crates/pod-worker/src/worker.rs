//! The loop.

use crate::account::{Account, Books};
use crate::board::{Board, TimelineEntry};
use crate::command::{Change, Command, Inputs};
use crate::ports::{Clock, Done, Executor, Line, NoProbes, Probes, Records, Word};
use futures_util::FutureExt;
use pod_lifecycle::{EndReason, Input, NodeCore};
use pod_model::{
    Action, AdmittedPod, ContainerName, ContainerRole, ExitCause, ExitSeen, Fact, Failure,
    FailureReason, Fault, FieldError, MonoTime, Now, PodUid, Reason, Seq, WallTime,
};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// Version of the record's bytes: the JSON of a `pod_lifecycle::PodRecord`.
pub const RECORD_VERSION: u32 = 1;

/// How often everything is looked at anew though nothing was heard: the safety net behind the events.
const RESYNC: Duration = Duration::from_secs(60);

/// Called when a full listing is due; it answers by [`Inputs::observe`] with [`Input::Observed`].
pub type Look = Box<dyn Fn() + Send>;

pub struct Worker<E, R, C> {
    core: NodeCore,
    executor: Arc<E>,
    records: R,
    clock: C,
    board: Board,
    look: Look,
    account: Box<dyn Account>,
    books: Books,
    probes: Box<dyn Probes>,
    /// Pods that have or had targets.
    tended: BTreeSet<PodUid>,
    /// What is being carried out: how to speak to it, and since when.
    running: BTreeMap<Action, (watch::Sender<Word>, Now)>,
    inputs: Inputs,
    inbox: mpsc::UnboundedReceiver<Command>,
    facts: mpsc::UnboundedSender<Fact>,
    answers: mpsc::UnboundedReceiver<Fact>,
    waiting_for_empty: Vec<oneshot::Sender<()>>,
}

impl<E: Executor, R: Records, C: Clock> Worker<E, R, C> {
    /// Builds; nothing runs before [`Self::run`]. `core` may have been restored from records already.
    pub fn new(
        mut core: NodeCore,
        executor: Arc<E>,
        records: R,
        clock: C,
        board: Board,
        look: Look,
        account: Box<dyn Account>,
    ) -> Self {
        let (sender, inbox) = mpsc::unbounded_channel();
        let (facts, answers) = mpsc::unbounded_channel();
        for uid in core.uids() {
            if let (Some(pod), Some(record)) = (core.pod(uid), core.record(uid)) {
                board.add_pod(pod.clone(), record.first_seen);
                let leaving = record.deleted.then(|| (clock.now(), pod.grace_period()));
                board.set_deleting(uid, leaving);
            }
        }
        // whoever reads pods before the loop runs sees what the last agent said of them, and not nothing
        while let Some(update) = core.poll_publish() {
            board.set_status(&update.uid, update.status);
        }
        Self {
            core,
            executor,
            records,
            clock,
            board,
            look,
            account,
            books: Books::default(),
            probes: Box::new(NoProbes),
            tended: BTreeSet::new(),
            running: BTreeMap::new(),
            inputs: Inputs::new(sender),
            inbox,
            facts,
            answers,
            waiting_for_empty: Vec::new(),
        }
    }

    pub fn inputs(&self) -> Inputs {
        self.inputs.clone()
    }

    /// Who probes. What it finds comes back by [`Self::inputs`].
    #[must_use]
    pub fn probing(mut self, probes: Box<dyn Probes>) -> Self {
        self.probes = probes;
        self
    }

    /// Runs for ever; the agent's end is its end.
    pub async fn run(mut self) {
        let mut next_look = tokio::time::Instant::now() + RESYNC;
        (self.look)();
        let restored: Vec<PodUid> = self.core.uids().cloned().collect();
        for uid in restored {
            self.tend(&uid);
        }
        loop {
            self.settle();
            let wake = self.core.next_wake().map(|at| self.instant(at));
            // Every arm is cancel-safe: receiving from a channel loses nothing when another arm wins, and a sleep has no state.
            tokio::select! {
                biased;
                Some(fact) = self.answers.recv() => self.take_fact(fact),
                Some(command) = self.inbox.recv() => self.take_command(command),
                () = sleep_until(wake) => self.core.handle(Input::Tick, self.clock.now()),
                () = tokio::time::sleep_until(next_look) => {
                    next_look = tokio::time::Instant::now() + RESYNC;
                    (self.look)();
                }
            }
            // What has arrived meanwhile is taken in before anything is written or issued.
            while let Ok(fact) = self.answers.try_recv() {
                self.take_fact(fact);
            }
            while let Ok(command) = self.inbox.try_recv() {
                self.take_command(command);
            }
        }
    }

    fn instant(&self, at: MonoTime) -> tokio::time::Instant {
        tokio::time::Instant::now() + at.since(self.clock.now().mono)
    }

    fn take_command(&mut self, command: Command) {
        let now = self.clock.now();
        match command {
            Command::Desired { pod, seen } => self.take_desired(pod, seen, now),
            Command::Changed {
                uid,
                change,
                answer,
            } => {
                if let Some(done) = self.change(&uid, change, now) {
                    // who asked may have left
                    let _ = answer.send(done);
                }
            }
            Command::Deleted { uid, grace } => self.take_deleted(uid, grace, now),
            Command::Input(input) => match *input {
                Input::Exit(seen) => self.take_exit(seen, now),
                other => self.core.handle(other, now),
            },
            Command::WhenEmpty(answer) => self.waiting_for_empty.push(answer),
        }
    }

    fn take_desired(&mut self, pod: AdmittedPod, seen: Now, now: Now) {
        let uid = pod.uid();
        let Some(known) = self.core.pod(uid) else {
            tracing::info!(pod.uid = %uid, pod = %pod.name(), "pod seen");
            self.board.add_pod(pod.clone(), seen);
            self.board.note(uid, entry(seen, None, None, "seen", ""));
            self.books.seen(uid, seen.mono);
            self.save_pod(&pod);
            self.core.handle(Input::Desired(pod), now);
            return;
        };
        // whoever comes after one that is on its way out has only its uid
        let pod = if self.is_leaving(uid) {
            pod
        } else {
            pod.with_ephemeral_of(known)
        };
        self.take_changed(pod, now);
    }

    fn is_leaving(&self, uid: &PodUid) -> bool {
        let record = self.core.record(uid);
        record.is_none_or(|record| record.deleted)
    }

    /// `None`: there is no such pod, or not for long.
    fn change(
        &mut self,
        uid: &PodUid,
        change: Change,
        now: Now,
    ) -> Option<Result<(), Vec<FieldError>>> {
        let pod = self.core.pod(uid).filter(|_| !self.is_leaving(uid))?;
        let changed = change.of(pod);
        Some(changed.map(|changed| self.take_changed(changed, now)))
    }

    /// A pod that is known is to be like this.
    fn take_changed(&mut self, pod: AdmittedPod, now: Now) {
        let uid = pod.uid().clone();
        self.core.handle(Input::Desired(pod), now);
        self.follow_pod(&uid);
    }

    fn save_pod(&mut self, pod: &AdmittedPod) {
        if let Err(error) = self.records.save_pod(pod) {
            tracing::error!(pod.uid = %pod.uid(), error = &error as &dyn std::error::Error, "a restart of the agent would forget the pod");
        }
    }

    fn take_deleted(&mut self, uid: PodUid, grace: Option<Duration>, now: Now) {
        if let Some(pod) = self.core.pod(&uid) {
            let period = grace.unwrap_or_else(|| pod.grace_period());
            tracing::info!(pod.uid = %uid, pod = %pod.name(), grace_seconds = period.as_secs(), "pod is to go");
            self.board.set_deleting(&uid, Some((now, period)));
            self.board.note(
                &uid,
                entry(
                    now,
                    None,
                    None,
                    "deletion",
                    &format!("grace {} s", period.as_secs()),
                ),
            );
        }
        self.core.handle(Input::Deleted { uid, grace }, now);
    }

    /// An exit that is told again, as after a restart of the agent, is no other one.
    fn take_exit(&mut self, seen: ExitSeen, now: Now) {
        let key = seen.container.clone();
        let ending = |worker: &Self| {
            let record = worker.core.record(&key.pod)?;
            let ending = record.container(&key.name)?.last_ending()?;
            (ending.attempt == key.attempt).then_some((ending.code, ending.reason))
        };
        let was_known = ending(self).is_some();
        if !was_known {
            self.note_exit(&seen, now);
            self.books.exited(&key, seen.exit.finished_mono);
        }
        self.core.handle(Input::Exit(seen), now);
        if let Some((code, reason)) = ending(self).filter(|_| !was_known)
            && let Some(role) = self.role(&key.pod, &key.name)
        {
            self.account.ended(role, code, reason);
        }
    }

    fn role(&self, uid: &PodUid, name: &ContainerName) -> Option<ContainerRole> {
        let pod = self.core.pod(uid)?;
        pod.container(name).map(|(role, _)| role)
    }

    fn note_exit(&self, seen: &ExitSeen, now: Now) {
        let detail = match (seen.exit.cause, seen.exit.signal) {
            (ExitCause::OomKilled, _) => format!("code {}, out of memory", seen.exit.code),
            (ExitCause::Unknown, _) => format!("code {}, nobody saw how", seen.exit.code),
            (ExitCause::Exited, Some(signal)) => {
                format!("code {}, signal {signal}", seen.exit.code)
            }
            (ExitCause::Exited, None) => format!("code {}", seen.exit.code),
        };
        let name = Some(seen.container.name.to_string());
        self.board.note(
            &seen.container.pod,
            entry(now, None, name, "exited", &detail),
        );
    }

    fn take_fact(&mut self, fact: Fact) {
        let now = self.clock.now();
        let uid = fact.key.pod();
        let container = container_of(&fact.key);
        // one after the other, and the last has just ended; only layers of an image come side by side
        let mut after: Duration = match &fact.key {
            Action::EnsureImage { .. } => Duration::ZERO,
            _ => fact.spans.iter().skip(1).map(|(_, took)| *took).sum(),
        };
        for (n, (span, took)) in fact.spans.iter().enumerate() {
            self.board.note(
                uid,
                entry(
                    earlier(fact.at, after),
                    Some(*took),
                    container.clone(),
                    span,
                    "",
                ),
            );
            let next = fact
                .spans
                .get(n + 1)
                .map_or(Duration::ZERO, |(_, took)| *took);
            after = after.saturating_sub(next);
        }
        // for `explain` the core has an event that says it
        if let Err(failure) = &fact.outcome {
            tracing::warn!(pod.uid = %uid, container, operation = fact.key.operation(), reason = %failure.reason, "{}", failure.message);
        }
        if let Some((_, since)) = self.running.remove(&fact.key) {
            let role = match &fact.key {
                Action::Start { container, .. } => self.role(uid, &container.name),
                _ => None,
            };
            self.account
                .answered(&fact, role, fact.at.mono.since(since.mono));
            if let Some((operation, took)) = self
                .books
                .answered(&fact, role == Some(ContainerRole::Init))
            {
                self.account.worked(operation, took);
            }
            if let (Some(role), Err(failure)) = (role, &fact.outcome)
                && failure.reason == FailureReason::RunContainerError
            {
                self.account.ended(role, 128, EndReason::StartError);
            }
        }
        self.core.handle(Input::Fact(fact), now);
    }

    /// Carries out what the core has decided: records first, then what everybody may see, then the actions.
    fn settle(&mut self) {
        let now = self.clock.now();
        while let Some(uid) = self.core.poll_record() {
            // before its record, which speaks of it
            self.follow_pod(&uid);
            self.persist(&uid);
            self.tend(&uid);
        }
        let mut readiness = Vec::new();
        while let Some(update) = self.core.poll_publish() {
            if !update.deleting {
                self.board.set_deleting(&update.uid, None);
            }
            match update.status.phase.as_deref() {
                Some("Running") => {
                    if let Some((since_seen, other)) = self.books.running(&update.uid, now.mono) {
                        self.account.runs(since_seen, other);
                    }
                }
                Some("Succeeded" | "Failed") => self.books.is_over(&update.uid),
                _ => {}
            }
            if let Some(before) = self.board.pod(&update.uid) {
                let changes = crate::readiness::changes(&before.status, &update.status);
                readiness.push((update.uid.clone(), changes));
            }
            self.board.set_status(&update.uid, update.status);
        }
        while let Some((uid, reason)) = self.core.poll_reason() {
            self.tell(&uid, &reason, now);
        }
        // after what made them so
        for (uid, changes) in readiness {
            for (container, what) in changes {
                self.board
                    .note(&uid, entry(now, None, Some(container), what, ""));
            }
        }
        while let Some(tally) = self.core.poll_tally() {
            self.account.judged(tally);
        }
        while let Some(action) = self.core.poll_action() {
            self.issue(action, now);
        }
        while let Some(action) = self.core.poll_pull() {
            self.say(&action, |word| word.may_pull = true);
        }
        while let Some(action) = self.core.poll_cancel() {
            self.say(&action, |word| word.is_cancelled = true);
        }
        while let Some(violation) = self.core.poll_violation() {
            tracing::error!(?violation, "the core broke one of its own rules");
        }
        if self.core.is_empty() {
            for answer in self.waiting_for_empty.drain(..) {
                // who asked may have left
                let _ = answer.send(());
            }
        }
    }

    fn tell(&self, uid: &PodUid, reason: &Reason, now: Now) {
        let Some(pod) = self.core.pod(uid) else {
            return;
        };
        let role = reason
            .container
            .as_ref()
            .and_then(|name| pod.container(name))
            .map(|(role, _)| role);
        if !only_repeats(reason) {
            let name = reason.container.as_ref().map(ToString::to_string);
            self.board
                .note(uid, entry(now, None, name, reason.reason, &reason.message));
        }
        self.board.note_event(uid, pod.name(), role, reason, now);
    }

    fn persist(&mut self, uid: &PodUid) {
        let record = self.core.record(uid);
        let deleted = record.map(|record| record.deleted);
        if self.books.recorded(uid, deleted, self.clock.now().mono) {
            self.account.came_back();
        }
        let Some(record) = record else {
            tracing::info!(pod.uid = %uid, "pod is gone");
            self.records.remove(uid);
            self.board.remove_pod(uid);
            return;
        };
        let saved = match serde_json::to_vec(record) {
            Ok(bytes) => self
                .records
                .save_record(uid, RECORD_VERSION, &bytes)
                .map_err(|e| Box::new(e) as Box<dyn std::error::Error>),
            Err(error) => Err(error.into()),
        };
        if let Err(error) = saved {
            tracing::error!(pod.uid = %uid, error = &*error, "the pod's record is not saved");
        }
    }

    /// The core has a changed pod: at once, or, of one that was on its way out when it was told, when it is taken on again.
    fn follow_pod(&mut self, uid: &PodUid) {
        let shown = self.board.pod(uid).map(|view| view.pod);
        if let (Some(shown), Some(pod)) = (shown, self.core.pod(uid).cloned())
            && shown != pod
        {
            tracing::info!(pod.uid = %uid, pod = %pod.name(), "pod changed");
            self.save_pod(&pod);
            self.board.set_pod(pod);
        }
    }

    /// Says what is to be probed of a pod whose record is another one now.
    fn tend(&mut self, uid: &PodUid) {
        let (Some(record), Some(pod)) = (self.core.record(uid), self.core.pod(uid)) else {
            if self.tended.remove(uid) {
                self.probes.forget(uid);
            }
            return;
        };
        let targets = pod_lifecycle::targets(record, pod);
        if !targets.is_empty() {
            self.tended.insert(uid.clone());
        }
        if self.tended.contains(uid) {
            self.probes.tend(pod, targets);
        }
    }

    fn issue(&mut self, action: Action, now: Now) {
        tracing::debug!(pod.uid = %action.pod(), operation = action.operation(), container = container_of(&action), "issued");
        if let Some(since_seen) = self.books.issued(&action, now.mono) {
            self.account.began(since_seen);
        }
        let (say, word) = watch::channel(Word::default());
        self.running.insert(action.clone(), (say, now));
        let line = Line {
            word,
            ask: self.inputs.clone(),
            action: action.clone(),
        };
        let pod = self.core.pod(action.pod()).cloned();
        let (executor, facts, clock) = (
            Arc::clone(&self.executor),
            self.facts.clone(),
            self.clock.clone(),
        );
        tokio::spawn(async move {
            // a defect in one pod's action is that action's failure, not the end of the node
            let done = AssertUnwindSafe(executor.run(action.clone(), pod, line))
                .catch_unwind()
                .await;
            let Done {
                outcome,
                seq,
                spans,
                ended_at,
            } = done.unwrap_or_else(|_| panicked(&action));
            let at = ended_at.unwrap_or_else(|| clock.now());
            // the worker outlives its tasks except at the very end
            let _ = facts.send(Fact {
                key: action,
                outcome,
                at,
                seq,
                spans,
            });
        });
    }

    fn say(&self, action: &Action, what: impl FnOnce(&mut Word)) {
        if let Some((say, _)) = self.running.get(action) {
            say.send_modify(what);
        }
    }
}

/// A kubelet says `Error: ErrImagePull` after the event that tells what happened: a timeline says it once.
fn only_repeats(reason: &Reason) -> bool {
    let word = reason.message.strip_prefix("Error: ");
    word.is_some_and(|word| !word.contains(' '))
}

/// `took` before `at`, on both clocks.
fn earlier(at: Now, took: Duration) -> Now {
    let wall = i64::try_from(took.as_nanos()).unwrap_or(i64::MAX);
    Now {
        mono: crate::board::began(at.mono, took),
        wall: WallTime(at.wall.0.saturating_sub(wall)),
    }
}

fn panicked(action: &Action) -> Done {
    let failure = Failure {
        reason: match action {
            Action::Prepare { .. } => FailureReason::FailedCreatePodSandBox,
            Action::EnsureImage { .. } => FailureReason::ErrImagePull,
            Action::Start { .. } => FailureReason::CreateContainerError,
            Action::PostStart { .. } => FailureReason::FailedPostStartHook,
            Action::PreStop { .. } => FailureReason::FailedPreStopHook,
            _ => FailureReason::FailedKillPod,
        },
        message: format!(
            "{} broke off: a defect of the agent, see its log",
            action.operation()
        ),
        fault: Fault::Node,
        retry: true,
        retry_after: None,
    };
    Done {
        outcome: Err(failure),
        seq: Seq::default(),
        spans: Vec::new(),
        ended_at: None,
    }
}

async fn sleep_until(wake: Option<tokio::time::Instant>) {
    match wake {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn container_of(action: &Action) -> Option<String> {
    match action {
        Action::EnsureImage { container, .. } => Some(container.to_string()),
        Action::Start { container, .. }
        | Action::PostStart { container }
        | Action::PreStop { container }
        | Action::Stop { container }
        | Action::Kill { container }
        | Action::Remove { container } => Some(container.name.to_string()),
        _ => None,
    }
}

fn entry(
    at: Now,
    took: Option<Duration>,
    container: Option<String>,
    what: &str,
    detail: &str,
) -> TimelineEntry {
    TimelineEntry {
        at,
        took,
        container,
        what: what.to_owned(),
        detail: detail.to_owned(),
    }
}
