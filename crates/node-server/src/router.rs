//! Which paths there are, on which listener.

use crate::answer;
use crate::guard::{self, Names};
use crate::node::Node;
use crate::state::App;
use crate::view::{event_of, pod_of, timestamp};
use crate::wire::{Explanation, PREFIX, Step, Version};
use crate::{debug, exec, images, logs, metrics, resource, summary};
use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Path, Query, Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{any, delete, get, post};
use http::StatusCode;
use k8s_openapi::List;
use k8s_openapi::api::core::v1::{Container, Event, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc;

/// The longest body that means anything is one container.
const LONGEST_BODY: usize = 64 << 10;

/// The kubelet's API, to be read by whoever is on this machine.
pub(crate) fn public<N: Node>(app: App<N>) -> Router {
    let names = Names(app.node.info().node_name.into());
    kubelet_routes()
        .layer(middleware::from_fn_with_state(
            (app.clone(), "readonly"),
            count,
        ))
        .layer(middleware::from_fn_with_state(names, guard::check_host))
        .layer(DefaultBodyLimit::max(LONGEST_BODY))
        .with_state(app)
}

/// The same, and what people's commands need.
pub(crate) fn private<N: Node>(app: App<N>) -> Router {
    let own = Router::new()
        .route("/version", get(version::<N>))
        .route("/pods", get(watch_pods::<N>))
        .route("/events", get(watch_events::<N>))
        .route("/explain/{namespace}/{pod}", get(explain::<N>))
        .route("/stats", get(summary::stats::<N>))
        .route("/exec/{namespace}/{pod}/{container}", post(exec::exec::<N>))
        .route(
            "/ephemeralcontainers/{namespace}/{pod}",
            post(debug::add::<N>),
        )
        .route(
            "/images",
            get(images::list::<N>).merge(delete(images::remove::<N>)),
        )
        .route("/images/pull", post(images::pull::<N>))
        .route("/images/load", post(images::load::<N>))
        .route("/down", post(images::down::<N>));
    kubelet_routes()
        .nest(PREFIX, own)
        .layer(middleware::from_fn_with_state(
            (app.clone(), "readwrite"),
            count,
        ))
        .layer(DefaultBodyLimit::max(LONGEST_BODY))
        .with_state(app)
}

fn kubelet_routes<N: Node>() -> Router<App<N>> {
    Router::new()
        .route("/healthz", get(ok))
        .route("/healthz/ping", get(ok))
        .route("/healthz/log", get(ok))
        .route("/healthz/syncloop", get(ok))
        .route("/pods", get(pods::<N>))
        .route("/pods/", get(pods::<N>))
        .route("/runningpods", get(running_pods::<N>))
        .route("/runningpods/", get(running_pods::<N>))
        .route(
            "/containerLogs/{namespace}/{pod}/{container}",
            get(logs::container_logs::<N>),
        )
        .route("/metrics", get(metrics::metrics::<N>))
        .route("/metrics/probes", get(metrics::probes::<N>))
        .route("/metrics/resource", get(resource::metrics::<N>))
        .route(
            "/stats/summary",
            get(summary::summary::<N>).merge(post(summary::summary::<N>)),
        )
        .route("/configz", get(configz::<N>))
        .route("/exec/{*rest}", any(not_here))
        .route("/attach/{*rest}", any(not_here))
        .route("/run/{*rest}", any(not_here))
        .route("/portForward/{*rest}", any(not_here))
        .fallback(not_found)
}

async fn ok() -> &'static str {
    "ok"
}

async fn not_found() -> Response {
    answer::text(StatusCode::NOT_FOUND, "404 page not found")
}

async fn not_here() -> Response {
    answer::text(
        StatusCode::METHOD_NOT_ALLOWED,
        "Debug endpoints are disabled: this node runs commands only for people on its machine (coracle exec)",
    )
}

async fn count<N: Node>(
    State((app, server_type)): State<(App<N>, &'static str)>,
    path: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    let begun = Instant::now();
    let method = match request.method().as_str() {
        known @ ("GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS") => known,
        _ => "other",
    }
    .to_owned();
    let response = next.run(request).await;
    let path = path.as_ref().map_or("", |p| root_of(p.as_str()));
    let is_long = matches!(path, "containerLogs") || path.starts_with("coracle");
    let took = begun.elapsed();
    app.metrics
        .observe_request(&method, path, server_type, is_long, took);
    response
}

/// The part of a route that a kubelet labels requests with: the first word, of metrics and stats both.
fn root_of(route: &str) -> &str {
    let path = route.trim_start_matches('/');
    match path.split('/').next() {
        Some("metrics" | "stats") => path,
        Some("coracle") => path.split("/{").next().unwrap_or(path),
        Some(first) => first,
        None => path,
    }
}

fn all_pods<N: Node>(app: &App<N>) -> List<Pod> {
    let name = app.node.info().node_name;
    let mut items: Vec<_> = app
        .node
        .pods()
        .iter()
        .map(|view| pod_of(view, &name))
        .collect();
    items.sort_by(|a, b| {
        let key = |p: &Pod| (p.metadata.namespace.clone(), p.metadata.name.clone());
        key(a).cmp(&key(b))
    });
    List {
        items,
        ..List::default()
    }
}

fn all_events<N: Node>(app: &App<N>) -> List<Event> {
    let name = app.node.info().node_name;
    List {
        items: app
            .node
            .events()
            .iter()
            .map(|e| event_of(e, &name))
            .collect(),
        ..List::default()
    }
}

async fn pods<N: Node>(State(app): State<App<N>>) -> Response {
    answer::json(&all_pods(&app))
}

/// Pods of which a container runs, with little more than their names: what a runtime alone would know.
async fn running_pods<N: Node>(State(app): State<App<N>>) -> Response {
    let mut list = all_pods(&app);
    list.items.retain_mut(|pod| {
        let status = pod.status.take().unwrap_or_default();
        let containers: Vec<_> = status
            .container_statuses
            .into_iter()
            .flatten()
            .chain(status.init_container_statuses.into_iter().flatten())
            .filter(|c| c.state.as_ref().is_some_and(|s| s.running.is_some()))
            .map(|c| Container {
                name: c.name,
                image: Some(c.image),
                ..Container::default()
            })
            .collect();
        let has_running = !containers.is_empty();
        pod.metadata = ObjectMeta {
            name: pod.metadata.name.take(),
            namespace: pod.metadata.namespace.take(),
            uid: pod.metadata.uid.take(),
            ..ObjectMeta::default()
        };
        pod.spec = Some(PodSpec {
            containers,
            ..PodSpec::default()
        });
        has_running
    });
    answer::json(&list)
}

async fn configz<N: Node>(State(app): State<App<N>>) -> Response {
    answer::json(&serde_json::json!({ "kubeletconfig": app.node.configuration() }))
}

async fn version<N: Node>(State(app): State<App<N>>) -> Response {
    let info = app.node.info();
    answer::json(&Version {
        version: info.version,
        git_commit: info.git_commit,
        kubelet_version: info.kubelet_version,
        node_name: info.node_name,
        pid: std::process::id(),
        started_at: timestamp(info.started_at).to_string(),
    })
}

#[derive(Deserialize)]
struct WatchQuery {
    #[serde(default)]
    watch: bool,
}

async fn watch_pods<N: Node>(
    State(app): State<App<N>>,
    Query(query): Query<WatchQuery>,
) -> Response {
    if query.watch {
        watch(app, |app| answer::json_line(&all_pods(app)))
    } else {
        answer::json(&all_pods(&app))
    }
}

async fn watch_events<N: Node>(
    State(app): State<App<N>>,
    Query(query): Query<WatchQuery>,
) -> Response {
    if query.watch {
        watch(app, |app| answer::json_line(&all_events(app)))
    } else {
        answer::json(&all_events(&app))
    }
}

/// One whole list a line, a new one when something may have changed; changes while the client is slow are one.
fn watch<N: Node>(app: App<N>, list: fn(&App<N>) -> bytes::Bytes) -> Response {
    let (send, receive) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut changes = app.node.changes();
        let mut last = bytes::Bytes::new();
        loop {
            changes.mark_unchanged();
            let line = list(&app);
            if line != last {
                last = line.clone();
                if send.send(line).await.is_err() {
                    return;
                }
            }
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                () = send.closed() => return,
                () = app.ending.cancelled() => return,
            }
        }
    });
    answer::stream("application/json", receive)
}

async fn explain<N: Node>(
    State(app): State<App<N>>,
    Path((namespace, name)): Path<(Arc<str>, Arc<str>)>,
) -> Response {
    let Some(view) = app.pod(&namespace, &name) else {
        return answer::text(StatusCode::NOT_FOUND, format!("pods {name:?} not found"));
    };
    let steps = app.node.timeline(view.pod.uid());
    answer::json(&Explanation {
        namespace: namespace.to_string(),
        pod: name.to_string(),
        uid: view.pod.uid().to_string(),
        phase: view.status.phase.clone().unwrap_or_default(),
        steps: steps
            .into_iter()
            .map(|step| Step {
                at: timestamp(step.at).to_string(),
                took: step.took,
                container: step.container,
                what: step.what,
                detail: step.detail,
            })
            .collect(),
    })
}
