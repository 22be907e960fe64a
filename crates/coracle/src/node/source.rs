//! From snapshots of the manifest directory to commands for the worker.
//!
//! Level-triggered: every snapshot is compared with what was told before; whatever differs becomes a command. The worker may have pods
//! that an earlier agent recorded: each is confirmed or given up by the first snapshot that can judge it. Problems are said once, in the
//! log and as an event of the pods they concern, and again when they change.

use manifest_source::{Problem, Snapshot, Verdict};
use pod_lifecycle::Input;
use pod_model::{AdmittedPod, Now, PodUid, Reason};
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
    let recorded = board.pods().into_iter().map(|view| {
        (
            view.pod.uid().clone(),
            Told {
                pod: view.pod,
                is_confirmed: false,
            },
        )
    });
    let mut follower = Follower {
        told: recorded.collect(),
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
    pod: AdmittedPod,
    /// It has been told to the worker by this agent.
    is_confirmed: bool,
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
                Verdict::Undecided if !snapshot.ready => {}
                Verdict::Wanted | Verdict::Undecided => self.confirm(&uid, now)?,
            }
        }
        for sourced in snapshot.pods.values() {
            let uid = sourced.pod.uid();
            if !self.told.contains_key(uid) {
                self.told.insert(
                    uid.clone(),
                    Told {
                        pod: sourced.pod.clone(),
                        is_confirmed: false,
                    },
                );
                self.confirm(uid, now)?;
            }
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
        self.said = standing;
    }
}

fn note(problem: &Problem, text: &str, board: &Board, now: Now) {
    let reason = Reason::warning("InvalidManifest", text);
    for view in board.pods() {
        if manifest_source::manifest_file(&view.pod) == Some(&problem.file) {
            board.note_event(view.pod.uid(), view.pod.name(), None, &reason, now);
        }
    }
}
