//! `/metrics`: what was counted, and what the pods' status says at this moment.

use crate::node::{Node, NodeInfo, PodView};
use crate::state::App;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header;
use k8s_openapi::api::core::v1::ContainerStatus;
use std::collections::BTreeMap;
use telemetry::ProcessMetrics;
use telemetry::metrics::{Description, Kind, Text};

const BUILD_INFO: Description = Description::alpha(
    "kubernetes_build_info",
    "A metric with a constant '1' value labeled by major, minor, git version, git commit, git tree state, build date, Go version, and compiler from which Kubernetes was built, and platform on which it is running.",
);
const ACTIVE_PODS: Description = Description::alpha(
    "kubelet_active_pods",
    "The number of pods the kubelet considers active and which are being considered when admitting new pods. static is true if the pod is not from the apiserver.",
);
const CGROUP_VERSION: Description =
    Description::alpha("kubelet_cgroup_version", "cgroup version on the hosts.");
const DESIRED_PODS: Description = Description::alpha(
    "kubelet_desired_pods",
    "The number of pods the kubelet is being instructed to run. static is true if the pod is not from the apiserver.",
);
const MIRROR_PODS: Description = Description::alpha(
    "kubelet_mirror_pods",
    "The number of mirror pods the kubelet will try to create (one per admitted static pod)",
);
const NODE_NAME: Description = Description::alpha(
    "kubelet_node_name",
    "The node's name. The count is always 1.",
);
const RUNNING_CONTAINERS: Description = Description::alpha(
    "kubelet_running_containers",
    "Number of containers currently running",
);
const RUNNING_PODS: Description = Description::alpha(
    "kubelet_running_pods",
    "Number of pods that have a running pod sandbox",
);
const WORKING_PODS: Description = Description::alpha(
    "kubelet_working_pods",
    "Number of pods the kubelet is actually running, broken down by lifecycle phase, whether the pod is desired, orphaned, or runtime only (also orphaned), and whether the pod is static. An orphaned pod has been removed from local configuration or force deleted in the API and consumes resources that are not otherwise visible.",
);
const VOLUMES: Description = Description::alpha(
    "volume_manager_total_volumes",
    "Number of volumes in Volume Manager",
);

pub(crate) async fn metrics<N: Node>(State(app): State<App<N>>) -> Response {
    let (info, pods) = (app.node.info(), app.node.pods());
    let process = tokio::task::spawn_blocking(ProcessMetrics::read).await;
    let mut out = Text::new();
    write_node(&info, &pods, &mut out);
    app.metrics.write(&mut out);
    if let Ok(Some(process)) = process {
        process.write(&mut out);
    }
    text(out)
}

/// What was counted of each probe of each container.
pub(crate) async fn probes<N: Node>(State(app): State<App<N>>) -> Response {
    let mut out = Text::new();
    app.metrics.write_probes(&mut out);
    text(out)
}

pub(crate) fn text(out: Text) -> Response {
    ([(header::CONTENT_TYPE, Text::CONTENT_TYPE)], out.finish()).into_response()
}

fn write_node(info: &NodeInfo, pods: &[PodView], out: &mut Text) {
    let gauge = |out: &mut Text, what: &Description, samples: &[(&[(&str, &str)], usize)]| {
        out.begin(what, Kind::Gauge);
        for (labels, value) in samples {
            out.sample(what.name, labels, *value as f64, None);
        }
    };
    let minor = info.kubelet_version.split('.').nth(1).unwrap_or("");
    let platform = format!("linux/{}", go_architecture());
    let build: &[(&str, &str)] = &[
        ("compiler", "rustc"),
        ("git_commit", &info.git_commit),
        ("git_version", &info.kubelet_version),
        ("major", "1"),
        ("minor", minor),
        ("platform", &platform),
    ];
    let is_terminal =
        |view: &&PodView| matches!(view.status.phase.as_deref(), Some("Succeeded" | "Failed"));
    let (of_files, of_server): (Vec<_>, Vec<_>) = pods.iter().partition(is_static);
    let count = |views: &[&PodView], wanted: &dyn Fn(&&PodView) -> bool| {
        views.iter().copied().filter(|v| wanted(v)).count()
    };
    let is_desired = |view: &&PodView| view.deleting.is_none();
    let is_active = |view: &&PodView| !is_terminal(view);
    let by_source = |wanted: &dyn Fn(&&PodView) -> bool| {
        [
            ([("static", "")], count(&of_server, wanted)),
            ([("static", "true")], count(&of_files, wanted)),
        ]
    };
    let with_source = |out: &mut Text, what: &Description, wanted: &dyn Fn(&&PodView) -> bool| {
        let [a, b] = by_source(wanted);
        gauge(out, what, &[(&a.0, a.1), (&b.0, b.1)]);
    };
    gauge(out, &BUILD_INFO, &[(build, 1)]);
    with_source(out, &ACTIVE_PODS, &is_active);
    gauge(out, &CGROUP_VERSION, &[(&[], info.cgroup_version.into())]);
    with_source(out, &DESIRED_PODS, &is_desired);
    gauge(out, &MIRROR_PODS, &[(&[], 0)]);
    gauge(out, &NODE_NAME, &[(&[("node", &info.node_name)], 1)]);

    let mut containers = BTreeMap::from([
        ("created", 0),
        ("exited", 0),
        ("running", 0),
        ("unknown", 0),
    ]);
    let mut running_pods = 0;
    for view in pods {
        let states: Vec<_> = statuses(view).map(state_of).collect();
        running_pods += usize::from(states.contains(&"running"));
        for state in states {
            *containers.entry(state).or_insert(0) += 1;
        }
    }
    out.begin(&RUNNING_CONTAINERS, Kind::Gauge);
    for (state, number) in containers.into_iter().filter(|(_, n)| *n > 0) {
        let labels = [("container_state", state)];
        out.sample(RUNNING_CONTAINERS.name, &labels, f64::from(number), None);
    }
    gauge(out, &RUNNING_PODS, &[(&[], running_pods)]);

    let mut working = BTreeMap::new();
    for view in pods {
        let lifecycle = match (&view.deleting, is_terminal(&view)) {
            (Some(_), _) => "terminating",
            (None, true) => "terminated",
            (None, false) => "sync",
        };
        let config = if view.deleting.is_some() {
            "orphan"
        } else {
            "desired"
        };
        let is_static = if is_static(&view) { "true" } else { "" };
        *working.entry((config, lifecycle, is_static)).or_insert(0) += 1;
    }
    out.begin(&WORKING_PODS, Kind::Gauge);
    for ((config, lifecycle, of_file), number) in working {
        let labels = [
            ("config", config),
            ("lifecycle", lifecycle),
            ("static", of_file),
        ];
        out.sample(WORKING_PODS.name, &labels, f64::from(number), None);
    }

    let mut volumes = BTreeMap::new();
    for view in pods {
        let is_mounted = statuses(view).any(|c| state_of(c) == "running");
        for volume in view.pod.spec().volumes.iter().flatten() {
            let plugin = if volume.empty_dir.is_some() {
                "kubernetes.io/empty-dir"
            } else if volume.host_path.is_some() {
                "kubernetes.io/host-path"
            } else {
                "kubernetes.io/other"
            };
            *volumes
                .entry((plugin, "desired_state_of_world"))
                .or_insert(0) += 1;
            if is_mounted {
                *volumes
                    .entry((plugin, "actual_state_of_world"))
                    .or_insert(0) += 1;
            }
        }
    }
    out.begin(&VOLUMES, Kind::Gauge);
    for ((plugin, state), number) in volumes {
        let labels = [("plugin_name", plugin), ("state", state)];
        out.sample(VOLUMES.name, &labels, f64::from(number), None);
    }
}

fn statuses(view: &PodView) -> impl Iterator<Item = &ContainerStatus> {
    let status = &view.status;
    status
        .container_statuses
        .iter()
        .flatten()
        .chain(status.init_container_statuses.iter().flatten())
}

fn state_of(container: &ContainerStatus) -> &'static str {
    match &container.state {
        Some(state) if state.running.is_some() => "running",
        Some(state) if state.terminated.is_some() => "exited",
        Some(state) if state.waiting.is_some() => "created",
        _ => "unknown",
    }
}

fn is_static(view: &&PodView) -> bool {
    view.pod
        .pod()
        .metadata
        .annotations
        .as_ref()
        .and_then(|a| a.get("kubernetes.io/config.source"))
        .is_none_or(|source| source != "api")
}

/// The machine's architecture by its name in Go and in images.
fn go_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
