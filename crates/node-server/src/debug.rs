//! `POST /coracle/v1/ephemeralcontainers/NAMESPACE/POD`: one more container for a pod that runs, by which a person looks at it.

use crate::answer;
use crate::node::Node;
use crate::state::App;
use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::Value;

/// The body is a `v1` EphemeralContainer. Answers with what there is of it now, once the pod has it.
pub(crate) async fn add<N: Node>(
    State(app): State<App<N>>,
    Path((namespace, name)): Path<(String, String)>,
    Json(container): Json<Value>,
) -> Response {
    let Some(view) = app.pod(&namespace, &name) else {
        return answer::text(StatusCode::NOT_FOUND, format!("pods {name:?} not found"));
    };
    let uid = view.pod.uid().clone();
    match app.node.add_ephemeral_container(uid, container).await {
        Ok(()) => answer::json(&Value::Null),
        Err(error) => error.into_response(),
    }
}
