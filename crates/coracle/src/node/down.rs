//! `coracle down`: every pod stopped, then the keeper, then everything that the node made outside its root directory.

use super::outcome::chain;
use super::parts::Parts;
use node_server::NodeError;
use node_server::wire::DownProgress;
use pod_worker::{Command, Inputs, PodView};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// How long is waited beyond the longest grace period of any pod.
const SLACK: Duration = Duration::from_secs(60);

pub(crate) async fn down(
    parts: &Arc<Parts>,
    inputs: &Inputs,
    tell: mpsc::Sender<DownProgress>,
) -> Result<(), NodeError> {
    let stopped = || NodeError::Internal("the pod worker has stopped".to_owned());
    let mut changes = parts.board.changes();
    let mut left: BTreeMap<_, PodView> = parts
        .board
        .pods()
        .into_iter()
        .map(|view| (view.pod.uid().clone(), view))
        .collect();
    let longest = left
        .values()
        .map(|view| view.pod.grace_period())
        .max()
        .unwrap_or(Duration::ZERO);
    for (uid, view) in &left {
        inputs
            .send(Command::Deleted {
                uid: uid.clone(),
                grace: None,
            })
            .map_err(|_| stopped())?;
        let (namespace, pod) = (
            view.pod.name().namespace.clone(),
            view.pod.name().name.clone(),
        );
        // who asked may have left; the node goes down all the same
        let _ = tell.send(DownProgress::Stopping { namespace, pod }).await;
    }
    let (empty, is_empty) = oneshot::channel();
    inputs
        .send(Command::WhenEmpty(empty))
        .map_err(|_| stopped())?;
    let mut is_empty = std::pin::pin!(is_empty);
    let deadline = tokio::time::sleep(longest + SLACK);
    let mut deadline = std::pin::pin!(deadline);
    loop {
        // a oneshot, a watch and a sleep: all may be dropped and polled again
        let is_done = tokio::select! {
            answer = &mut is_empty => answer.is_ok(),
            _ = changes.changed() => false,
            () = &mut deadline => return Err(NodeError::Unavailable(still_there(&left))),
        };
        let now = parts.board.pods();
        let gone: Vec<_> = left
            .keys()
            .filter(|uid| !now.iter().any(|view| view.pod.uid() == *uid))
            .cloned()
            .collect();
        for uid in gone {
            if let Some(view) = left.remove(&uid) {
                let (namespace, pod) = (
                    view.pod.name().namespace.clone(),
                    view.pod.name().name.clone(),
                );
                let _ = tell.send(DownProgress::Stopped { namespace, pod }).await;
            }
        }
        if is_done {
            break;
        }
    }
    parts
        .host
        .shut_down_keeper()
        .await
        .map_err(|e| NodeError::Unavailable(chain(&e)))?;
    let theirs = Arc::clone(parts);
    let removed = tokio::task::spawn_blocking(move || remove_node(&theirs));
    removed
        .await
        .map_err(|e| NodeError::Internal(e.to_string()))?
}

fn still_there(left: &BTreeMap<pod_model::PodUid, PodView>) -> String {
    let names: Vec<_> = left
        .values()
        .map(|view| view.pod.name().to_string())
        .collect();
    format!("pods do not end: {}", names.join(", "))
}

/// Network and cgroups. Goes on after an error, and tells all of them.
fn remove_node(parts: &Parts) -> Result<(), NodeError> {
    let mut errors = Vec::new();
    if let Err(all) = parts.network.remove_everything() {
        errors.extend(all.iter().map(|e| chain(e)));
    }
    for removed in [
        parts.cgroups.remove_service(&parts.keeper_cgroup),
        parts.cgroups.remove_all(),
    ] {
        if let Err(error) = removed {
            errors.push(chain(&error));
        }
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(NodeError::Internal(errors.join("; ")))
    }
}
