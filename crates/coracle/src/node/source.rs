//! From snapshots of the manifest directory to commands for the worker.
//!
//! Level-triggered: every snapshot is compared with the pods that the worker has; whatever differs becomes a command. Problems are said
//! once, in the log and as an event of the pod they concern, and again when they change.

use manifest_source::{Problem, Snapshot, Verdict};
use pod_model::{Now, Reason};
use pod_worker::{Board, Command, Inputs, PodView, Stopped};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::watch;

/// Follows the source until it or the worker ends.
pub(crate) async fn follow(mut snapshots: watch::Receiver<Arc<Snapshot>>, board: Board, inputs: Inputs, now: fn() -> Now) {
    let mut said = BTreeSet::new();
    let mut was_ready = None;
    loop {
        let snapshot = Arc::clone(&snapshots.borrow_and_update());
        if apply(&snapshot, &board.pods(), &inputs, now()).is_err() {
            return;
        }
        if was_ready != Some(snapshot.ready) {
            if snapshot.ready {
                tracing::info!(pods = snapshot.pods.len(), "manifests read");
            } else if was_ready.is_some() {
                tracing::warn!("the manifest directory cannot be read; pods stay as they are");
            }
            was_ready = Some(snapshot.ready);
        }
        said = tell(&snapshot, said, &board, now());
        // cancel-safe and lossless: the value is read anew after every change
        if snapshots.changed().await.is_err() {
            return;
        }
    }
}

fn apply(snapshot: &Snapshot, known: &[PodView], inputs: &Inputs, now: Now) -> Result<(), Stopped> {
    for view in known {
        if view.deleting.is_none() && snapshot.verdict(&view.pod) == Verdict::Gone {
            inputs.send(Command::Deleted { uid: view.pod.uid().clone(), grace: None })?;
        }
    }
    for sourced in snapshot.pods.values() {
        let is_known = known.iter().any(|view| view.pod.uid() == sourced.pod.uid());
        if !is_known {
            inputs.send(Command::Desired { pod: sourced.pod.clone(), seen: now })?;
        }
    }
    Ok(())
}

/// Says the problems that were not said before; answers with those that stand now.
fn tell(snapshot: &Snapshot, said: BTreeSet<String>, board: &Board, now: Now) -> BTreeSet<String> {
    let mut standing = BTreeSet::new();
    for problem in &snapshot.problems {
        let text = problem.to_string();
        if !said.contains(&text) {
            tracing::warn!("{text}");
            note(problem, &text, board, now);
        }
        standing.insert(text);
    }
    standing
}

fn note(problem: &Problem, text: &str, board: &Board, now: Now) {
    let reason = Reason::warning("InvalidManifest", text);
    for view in board.pods() {
        if manifest_source::manifest_file(&view.pod) == Some(&problem.file) {
            board.note_event(view.pod.uid(), view.pod.name(), false, &reason, now);
        }
    }
}
