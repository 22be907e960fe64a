//! `/containerLogs/{namespace}/{pod}/{container}`: parameters, choices and error texts of a kubelet.

mod attempt;
mod follow;
mod options;

use crate::answer;
use crate::node::{Node, PodView};
use crate::state::App;
use attempt::{choose, is_over};
use axum::extract::{Path, Query, State};
use axum::response::Response;
use container_logs::{ReadError, Reader};
use http::StatusCode;
use options::LogOptions;
use pod_model::ContainerName;
use std::path::PathBuf;
use std::time::SystemTime;
use tokio::sync::mpsc;

pub(crate) async fn container_logs<N: Node>(
    State(app): State<App<N>>,
    Path((namespace, pod, container)): Path<(String, String, String)>,
    Query(query): Query<Vec<(String, String)>>,
) -> Response {
    let options = match LogOptions::parse(&query, SystemTime::now()) {
        Ok(options) => options,
        Err(reason) => {
            let body = serde_json::json!({ "message": "Invalid request.", "reason": reason });
            return answer::text(StatusCode::UNPROCESSABLE_ENTITY, body.to_string());
        }
    };
    let Some(view) = app.pod(&namespace, &pod) else {
        return answer::text(StatusCode::NOT_FOUND, "pod does not exist");
    };
    let known = ContainerName::new(&container)
        .ok()
        .filter(|name| view.pod.container(name).is_some());
    let Some(container) = known else {
        return answer::text(StatusCode::NOT_FOUND, "container not found in pod");
    };
    let attempt = match choose(&view, &container, options.previous) {
        Ok(attempt) => attempt,
        Err(message) => return answer::text(StatusCode::BAD_REQUEST, message),
    };
    let path = log_path(&app.node.info().pod_logs, &view, &container, attempt);
    let opened = {
        let (path, read) = (path.clone(), options.read.clone());
        tokio::task::spawn_blocking(move || Reader::open(&path, read)).await
    };
    let reader = match opened {
        Ok(Ok(reader)) => Some(reader),
        // A container that has only just been made: its log is made with its first line.
        Ok(Err(ReadError::Missing { .. })) => None,
        Ok(Err(error)) => {
            let cause = std::error::Error::source(&error).map(|e| format!(": {e}"));
            return answer::text(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("{error}{}", cause.unwrap_or_default()),
            );
        }
        Err(error) => {
            return answer::text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string());
        }
    };
    let (send, receive) = mpsc::channel(2);
    let follow = options.follow && !options.previous;
    let uid = view.pod.uid().clone();
    tokio::spawn(follow::copy(
        follow::Source {
            path,
            options: options.read,
            reader,
        },
        follow,
        app.clone(),
        move |app| {
            let now = app.node.pods().into_iter().find(|v| *v.pod.uid() == uid);
            now.is_none_or(|view| is_over(&view, &container, attempt))
        },
        send,
    ));
    answer::stream("text/plain; charset=utf-8", receive)
}

/// `<pod logs>/<namespace>_<name>_<uid>/<container>/<attempt>.log`.
fn log_path(
    pod_logs: &std::path::Path,
    view: &PodView,
    container: &ContainerName,
    attempt: u32,
) -> PathBuf {
    let name = view.pod.name();
    pod_logs
        .join(format!(
            "{}_{}_{}",
            name.namespace,
            name.name,
            view.pod.uid()
        ))
        .join(container.as_str())
        .join(format!("{attempt}.log"))
}
