//! Images, and the end of everything: deeds that tell how they go, one JSON object a line.

use crate::answer;
use crate::node::{Node, NodeError};
use crate::state::App;
use crate::wire::{DownProgress, ImageProgress, Removed};
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use tokio::sync::mpsc;

#[derive(Deserialize)]
pub(crate) struct NameQuery {
    name: String,
}

#[derive(Deserialize)]
pub(crate) struct PathQuery {
    path: PathBuf,
}

pub(crate) async fn list<N: Node>(State(app): State<App<N>>) -> Response {
    match app.node.images().await {
        Ok(rows) => answer::json(&rows),
        Err(e) => e.into_response(),
    }
}

pub(crate) async fn remove<N: Node>(
    State(app): State<App<N>>,
    Query(query): Query<NameQuery>,
) -> Response {
    match app.node.remove_image(query.name).await {
        Ok(removed) => answer::json(&Removed { removed }),
        Err(e) => e.into_response(),
    }
}

pub(crate) async fn pull<N: Node>(
    State(app): State<App<N>>,
    Query(query): Query<NameQuery>,
) -> Response {
    if query.name.is_empty() {
        return answer::text(StatusCode::BAD_REQUEST, "an image name is missing");
    }
    deed(move |tell| async move {
        match app.node.pull_image(query.name, tell).await {
            Ok(()) => ImageProgress::Pulled,
            Err(e) => failed(&e),
        }
    })
}

pub(crate) async fn load<N: Node>(
    State(app): State<App<N>>,
    Query(query): Query<PathQuery>,
) -> Response {
    if !query.path.is_absolute() {
        return answer::text(
            StatusCode::BAD_REQUEST,
            "the archive's path must be absolute",
        );
    }
    deed(move |tell| async move {
        match app.node.load_images(query.path, tell).await {
            Ok(names) => ImageProgress::Loaded { names },
            Err(e) => failed(&e),
        }
    })
}

pub(crate) async fn down<N: Node>(State(app): State<App<N>>) -> Response {
    // Begun, it goes on to its end whether somebody looks on or not.
    let (tell, mut told) = mpsc::channel(64);
    let (send, receive) = mpsc::channel(64);
    tokio::spawn(async move {
        let deed = tokio::spawn({
            let node = app.node.clone();
            async move { node.down(tell).await }
        });
        while let Some(line) = told.recv().await {
            let _ = send.send(answer::json_line(&line)).await;
        }
        let last = match deed.await {
            Ok(Ok(())) => DownProgress::Done,
            Ok(Err(e)) => DownProgress::Failed {
                message: e.to_string(),
            },
            Err(e) => DownProgress::Failed {
                message: format!("stopping was broken off: {e}"),
            },
        };
        let _ = send.send(answer::json_line(&last)).await;
    });
    answer::stream("application/json", receive)
}

fn failed(error: &NodeError) -> ImageProgress {
    ImageProgress::Failed {
        message: error.to_string(),
    }
}

/// Runs a deed and sends what it tells, and last what it ended with; breaks it off when the client leaves.
fn deed<L, F, D>(begin: F) -> Response
where
    L: Serialize + Send + 'static,
    F: FnOnce(mpsc::Sender<L>) -> D + Send + 'static,
    D: Future<Output = L> + Send + 'static,
{
    let (tell, mut told) = mpsc::channel(64);
    let (send, receive) = mpsc::channel(16);
    tokio::spawn(async move {
        let mut deed = std::pin::pin!(begin(tell));
        let last = loop {
            tokio::select! {
                biased;
                Some(line) = told.recv() => {
                    if send.send(answer::json_line(&line)).await.is_err() {
                        return;
                    }
                }
                last = &mut deed => break last,
                () = send.closed() => return,
            }
        };
        while let Ok(line) = told.try_recv() {
            let _ = send.send(answer::json_line(&line)).await;
        }
        let _ = send.send(answer::json_line(&last)).await;
    });
    answer::stream("application/json", receive)
}
