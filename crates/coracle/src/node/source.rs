//! From snapshots of the manifest directory to commands for the worker.
//!
//! Level-triggered: every snapshot is compared with what was told before; whatever differs becomes a command. The worker may have pods
//! that an earlier agent recorded: each is confirmed or given up by the first snapshot that can judge it. A manifest that kept its uid
//! changes its pod, within what the API server lets be changed; what may not be is a problem of the manifest, and the pod stays as it was
//! told last, or recorded. Problems are said once, in the log and as an event of the pods they concern, and again when they change.

use manifest_source::{Problem, Snapshot, SourcedPod, Verdict};
use pod_lifecycle::Input;
use pod_model::{AdmittedPod, FieldError, Now, PodUid, Reason};
use pod_worker::{Board, Command, Inputs, Stopped};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::watch;

/// Follows the source until it ends, the worker ends, or `end` says so.
pub(crate) async fn follow(
    mut snapshots: watch::Receiver<Arc<Snapshot>>,
    board: Board,
    inputs: Inputs,
    now: fn() -> Now,
    mut end: watch::Receiver<bool>,
) {
    // what was given up already is nothing to compare with: what comes after it is another pod
    let recorded = board.pods().into_iter();
    let recorded = recorded.filter(|view| view.deleting.is_none());
    let mut follower = Follower {
        told: recorded
            .map(|view| (view.pod.uid().clone(), Told::from_record(view.pod)))
            .collect(),
        inputs,
        was_ready: false,
        said: BTreeSet::new(),
    };
    loop {
        let snapshot = Arc::clone(&snapshots.borrow_and_update());
        if follower.apply(&snapshot, now()).is_err() {
            return;
        }
        follower.tell(&snapshot, &board, now());
        // all arms only wait for a value to change, and read it anew afterwards
        tokio::select! {
            changed = snapshots.changed() => if changed.is_err() { return },
            _ = end.wait_for(|end| *end) => return,
        }
    }
}

struct Told {
    /// As it was told, or recorded.
    pod: AdmittedPod,
    /// It has been told to the worker by this agent.
    is_confirmed: bool,
    /// What the source said last.
    judged: Option<AdmittedPod>,
    /// What of that may not be changed.
    refused: Vec<FieldError>,
}

impl Told {
    fn from_record(pod: AdmittedPod) -> Self {
        Self {
            pod,
            is_confirmed: false,
            judged: None,
            refused: Vec::new(),
        }
    }

    /// Takes in what the source says of the pod; whether it is to be told.
    fn take(&mut self, wanted: &AdmittedPod) -> bool {
        if self.judged.as_ref() == Some(wanted) {
            return !self.is_confirmed;
        }
        self.judged = Some(wanted.clone());
        match manifest_source::updated(&self.pod, wanted) {
            Ok(pod) => {
                self.refused.clear();
                let is_changed = pod != self.pod;
                self.pod = pod;
                is_changed || !self.is_confirmed
            }
            Err(errors) => {
                self.refused = errors;
                !self.is_confirmed
            }
        }
    }
}

struct Follower {
    told: BTreeMap<PodUid, Told>,
    inputs: Inputs,
    was_ready: bool,
    said: BTreeSet<String>,
}

impl Follower {
    fn apply(&mut self, snapshot: &Snapshot, now: Now) -> Result<(), Stopped> {
        let judged: Vec<(PodUid, Verdict)> = self
            .told
            .iter()
            .map(|(uid, told)| (uid.clone(), snapshot.verdict(&told.pod)))
            .collect();
        for (uid, verdict) in judged {
            match verdict {
                Verdict::Gone => {
                    self.told.remove(&uid);
                    self.inputs.send(Command::Deleted { uid, grace: None })?;
                }
                // a source that cannot be read at all confirms nothing; the worker waits for it
                Verdict::Undecided if snapshot.ready => self.confirm(&uid, now)?,
                // the wanted ones are told below, as they are wanted
                Verdict::Undecided | Verdict::Wanted => {}
            }
        }
        for sourced in snapshot.pods.values() {
            self.want(&sourced.pod, now)?;
        }
        if snapshot.ready != self.was_ready {
            if snapshot.ready {
                tracing::info!(pods = snapshot.pods.len(), "manifests read");
                self.inputs.observe(Input::SourcesReady)?;
            } else {
                tracing::warn!("the manifest directory cannot be read; pods stay as they are");
            }
            self.was_ready = snapshot.ready;
        }
        Ok(())
    }

    fn want(&mut self, wanted: &AdmittedPod, now: Now) -> Result<(), Stopped> {
        let uid = wanted.uid();
        let told = self
            .told
            .entry(uid.clone())
            .or_insert_with(|| Told::from_record(wanted.clone()));
        if !told.take(wanted) {
            return Ok(());
        }
        told.is_confirmed = true;
        self.inputs.send(Command::Desired {
            pod: told.pod.clone(),
            seen: now,
        })
    }

    fn confirm(&mut self, uid: &PodUid, now: Now) -> Result<(), Stopped> {
        match self.told.get_mut(uid) {
            Some(told) if !told.is_confirmed => {
                told.is_confirmed = true;
                self.inputs.send(Command::Desired {
                    pod: told.pod.clone(),
                    seen: now,
                })
            }
            _ => Ok(()),
        }
    }

    /// Says the problems that were not said before.
    fn tell(&mut self, snapshot: &Snapshot, board: &Board, now: Now) {
        let mut standing = BTreeSet::new();
        for problem in &snapshot.problems {
            let text = problem.to_string();
            if !self.said.contains(&text) {
                tracing::warn!("{text}");
                note(problem, &text, board, now);
            }
            standing.insert(text);
        }
        for sourced in snapshot.pods.values() {
            let uid = sourced.pod.uid();
            let Some(told) = self.told.get(uid).filter(|told| !told.refused.is_empty()) else {
                continue;
            };
            let text = refusal(sourced, &told.refused);
            if !self.said.contains(&text) {
                tracing::warn!(pod.uid = %uid, "{text}");
                let reason = Reason::warning("InvalidManifest", &text);
                board.note_event(uid, told.pod.name(), None, &reason, now);
            }
            standing.insert(text);
        }
        self.said = standing;
    }
}

/// What may not be changed of a pod, as the API server lists it.
fn refusal(sourced: &SourcedPod, errors: &[FieldError]) -> String {
    let (file, name) = (sourced.file.display(), sourced.pod.name());
    let invalid = super::debug::invalid(&name.name, errors);
    format!("{file}: {invalid}")
}

fn note(problem: &Problem, text: &str, board: &Board, now: Now) {
    let reason = Reason::warning("InvalidManifest", text);
    for view in board.pods() {
        if manifest_source::manifest_file(&view.pod) == Some(&problem.file) {
            board.note_event(view.pod.uid(), view.pod.name(), None, &reason, now);
        }
    }
}
