//! What is done now and then: rotated logs compressed and dropped, what broken pulls left deleted, memory given back.

use super::images;
use super::parts::Parts;
use pod_worker::Board;
use std::sync::Arc;
use std::time::Duration;

/// As a kubelet's `containerLogMonitorInterval`.
const LOGS_EVERY: Duration = Duration::from_secs(10);
/// Layers of broken pulls are looked for once in so many rounds.
const IMAGES_EVERY: u32 = 360;
/// Nothing has changed for so long: what the last change needed is not needed soon again.
const QUIET: Duration = Duration::from_secs(5);
/// Pods come in bursts.
const SHARES_AFTER: Duration = Duration::from_secs(1);

/// Runs as long as the agent.
pub(crate) async fn run(parts: Arc<Parts>, max_files: u32) {
    let mut round = 0u32;
    loop {
        tokio::time::sleep(LOGS_EVERY).await;
        let theirs = Arc::clone(&parts);
        let tidied = tokio::task::spawn_blocking(move || tidy_logs(&theirs, max_files));
        if tidied.await.is_err() {
            tracing::error!("tidying logs broke off");
        }
        round = round.wrapping_add(1);
        if round.is_multiple_of(IMAGES_EVERY) {
            images::sweep(&parts).await;
        }
    }
}

fn tidy_logs(parts: &Parts, max_files: u32) {
    for view in parts.board.pods() {
        let logs = parts.paths.logs_of_pod(view.pod.name(), view.pod.uid());
        for (key, ..) in parts
            .host
            .running()
            .iter()
            .filter(|(key, ..)| key.pod == *view.pod.uid())
        {
            let directory = logs.join(key.name.as_str());
            if let Err(error) = container_logs::housekeep(&directory, key.attempt.0, max_files) {
                tracing::warn!(container = %key, error = &error as &dyn std::error::Error, "rotated logs are not tidied");
            }
        }
    }
}

/// Keeps the shares of the two QoS tiers right while pods come and go; a moment late is early enough.
pub(crate) async fn keep_shares(parts: Arc<Parts>) {
    let mut changes = parts.board.changes();
    let mut set = None;
    loop {
        let pods = parts.board.pods();
        let shares =
            node_policy::tier_shares(pods.iter().map(|view| (view.pod.spec(), view.pod.qos())));
        if set != Some(shares) {
            let theirs = Arc::clone(&parts);
            match tokio::task::spawn_blocking(move || theirs.cgroups.set_tier_shares(shares)).await
            {
                Ok(Ok(())) => set = Some(shares),
                Ok(Err(error)) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "shares of the QoS tiers are not set"
                ),
                Err(_) => return,
            }
        }
        if changes.changed().await.is_err() {
            return;
        }
        tokio::time::sleep(SHARES_AFTER).await;
    }
}

/// Gives memory back whenever the node has come to rest: the free pages of the heap, and those of the program that only a start, a pull or
/// the agent's own beginning needed.
pub(crate) async fn keep_small(board: Board) {
    let mut changes = board.changes();
    loop {
        while tokio::time::timeout(QUIET, changes.changed())
            .await
            .is_ok_and(|changed| changed.is_ok())
        {}
        let done = tokio::task::spawn_blocking(|| {
            linux_sys::memory::trim();
            linux_sys::memory::forget_file_pages()
        });
        match done.await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::debug!(
                error = &error as &dyn std::error::Error,
                "pages of the program stay"
            ),
            Err(_) => return,
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}
