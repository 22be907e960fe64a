//! `/metrics/resource`: what metrics-server and `kubectl top` read. Its names are stable, its samples bear the time of the reading, and
//! a container whose use is not known is left out: metrics-server drops a whole pod for one zero.

use crate::metrics::text;
use crate::node::{ContainerUsage, Node, NodeUsage};
use crate::state::App;
use axum::extract::State;
use axum::response::Response;
use telemetry::metrics::{Description, Kind, Stability, Text};

const fn stable(name: &'static str, help: &'static str) -> Description {
    Description {
        name,
        help,
        stability: Stability::Stable,
    }
}

const CONTAINER_CPU: Description = stable(
    "container_cpu_usage_seconds_total",
    "Cumulative cpu time consumed by the container in core-seconds",
);
const CONTAINER_MEMORY: Description = stable(
    "container_memory_working_set_bytes",
    "Current working set of the container in bytes",
);
const CONTAINER_START: Description = stable(
    "container_start_time_seconds",
    "Start time of the container since unix epoch in seconds",
);
const CONTAINER_SWAP: Description = Description::alpha(
    "container_swap_usage_bytes",
    "Current amount of the container swap usage in bytes. Reported only on non-windows systems",
);
const NODE_CPU: Description = stable(
    "node_cpu_usage_seconds_total",
    "Cumulative cpu time consumed by the node in core-seconds",
);
const NODE_MEMORY: Description = stable(
    "node_memory_working_set_bytes",
    "Current working set of the node in bytes",
);
const NODE_SWAP: Description = Description::alpha(
    "node_swap_usage_bytes",
    "Current swap usage of the node in bytes. Reported only on non-windows systems",
);
const POD_CPU: Description = stable(
    "pod_cpu_usage_seconds_total",
    "Cumulative cpu time consumed by the pod in core-seconds",
);
const POD_MEMORY: Description = stable(
    "pod_memory_working_set_bytes",
    "Current working set of the pod in bytes",
);
const POD_SWAP: Description = Description::alpha(
    "pod_swap_usage_bytes",
    "Current amount of the pod swap usage in bytes. Reported only on non-windows systems",
);
const ERROR: Description = stable(
    "resource_scrape_error",
    "1 if there was an error while getting container metrics, 0 otherwise",
);

pub(crate) async fn metrics<N: Node>(State(app): State<App<N>>) -> Response {
    let usage = app.node.usage().await;
    if let Err(error) = &usage {
        tracing::warn!(%error, "cannot read what pods use");
    }
    let mut out = Text::new();
    write(usage.ok().as_ref(), &mut out);
    text(out)
}

fn write(usage: Option<&NodeUsage>, out: &mut Text) {
    let failed = usage.is_none_or(|u| u.incomplete);
    if let Some(usage) = usage {
        write_usage(usage, out);
    }
    out.begin(&ERROR, Kind::Gauge);
    out.sample(ERROR.name, &[], f64::from(u8::from(failed)), None);
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

fn write_usage(usage: &NodeUsage, out: &mut Text) {
    let at = usage.at.0.div_euclid(1_000_000);
    let containers: Vec<_> = usage
        .pods
        .iter()
        .flat_map(|pod| {
            pod.containers.iter().map(move |container| {
                let labels = [
                    ("container", container.name.as_str()),
                    ("namespace", pod.namespace.as_str()),
                    ("pod", pod.name.as_str()),
                ];
                (labels, container)
            })
        })
        .filter(|(_, container)| container.memory_working_set_bytes > 0)
        .collect();
    // A pod of which nothing runs uses nothing: a kubelet has no samples of it.
    let pods: Vec<_> = usage
        .pods
        .iter()
        .filter(|pod| pod.total.memory_working_set_bytes > 0)
        .collect();
    let of_containers =
        |out: &mut Text, what: &Description, kind, value: fn(&ContainerUsage) -> f64, at| {
            if !containers.is_empty() {
                out.begin(what, kind);
            }
            for (labels, container) in &containers {
                out.sample(what.name, labels, value(container), at);
            }
        };
    let of_pods = |out: &mut Text, what: &Description, kind, value: fn(&ContainerUsage) -> f64| {
        if !pods.is_empty() {
            out.begin(what, kind);
        }
        for pod in &pods {
            let labels = [
                ("namespace", pod.namespace.as_str()),
                ("pod", pod.name.as_str()),
            ];
            out.sample(what.name, &labels, value(&pod.total), Some(at));
        }
    };
    let cpu: fn(&ContainerUsage) -> f64 = |c| seconds(c.cpu_ns);
    let memory: fn(&ContainerUsage) -> f64 = |c| c.memory_working_set_bytes as f64;
    let swap: fn(&ContainerUsage) -> f64 = |c| c.swap_bytes as f64;
    let start: fn(&ContainerUsage) -> f64 = |c| c.started_at.0 as f64 / 1e9;
    let one = |out: &mut Text, what: &Description, kind, value| {
        out.begin(what, kind);
        out.sample(what.name, &[], value, Some(at));
    };
    of_containers(out, &CONTAINER_CPU, Kind::Counter, cpu, Some(at));
    of_containers(out, &CONTAINER_MEMORY, Kind::Gauge, memory, Some(at));
    of_containers(out, &CONTAINER_START, Kind::Gauge, start, None);
    of_containers(out, &CONTAINER_SWAP, Kind::Gauge, swap, Some(at));
    one(out, &NODE_CPU, Kind::Counter, seconds(usage.cpu_ns));
    one(
        out,
        &NODE_MEMORY,
        Kind::Gauge,
        usage.memory_working_set_bytes as f64,
    );
    one(out, &NODE_SWAP, Kind::Gauge, usage.swap_bytes as f64);
    of_pods(out, &POD_CPU, Kind::Counter, cpu);
    of_pods(out, &POD_MEMORY, Kind::Gauge, memory);
    of_pods(out, &POD_SWAP, Kind::Gauge, swap);
}
