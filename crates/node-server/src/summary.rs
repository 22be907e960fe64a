//! Use of resources as JSON: the kubelet's `/stats/summary`, and sums for `coracle top`.

use crate::answer;
use crate::node::{ContainerUsage, Node, NodeUsage};
use crate::state::App;
use crate::view::timestamp;
use crate::wire::{ContainerStats, PodStats, Stats};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use pod_model::WallTime;
use serde_json::{Value, json};

pub(crate) async fn stats<N: Node>(State(app): State<App<N>>) -> Response {
    let usage = match app.node.usage().await {
        Ok(usage) => usage,
        Err(e) => return e.into_response(),
    };
    answer::json(&Stats {
        at: usage.at.0,
        cpu_ns: usage.cpu_ns,
        memory_working_set_bytes: usage.memory_working_set_bytes,
        memory_total_bytes: usage.memory_total_bytes,
        pods: usage
            .pods
            .into_iter()
            .map(|pod| PodStats {
                namespace: pod.namespace,
                name: pod.name,
                cpu_ns: pod.total.cpu_ns,
                memory_working_set_bytes: pod.total.memory_working_set_bytes,
                containers: pod
                    .containers
                    .into_iter()
                    .map(|c| ContainerStats {
                        name: c.name,
                        cpu_ns: c.cpu_ns,
                        memory_working_set_bytes: c.memory_working_set_bytes,
                    })
                    .collect(),
            })
            .collect(),
    })
}

pub(crate) async fn summary<N: Node>(State(app): State<App<N>>) -> Response {
    match app.node.usage().await {
        Ok(usage) => {
            let info = app.node.info();
            answer::json(&summary_of(&usage, &info.node_name, info.started_at))
        }
        Err(e) => e.into_response(),
    }
}

/// What is here of `stats/v1alpha1` Summary: CPU and memory of the node, pods and containers. What is not measured is absent.
fn summary_of(usage: &NodeUsage, node_name: &str, started: WallTime) -> Value {
    let at = timestamp(usage.at).to_string();
    let available = usage
        .memory_total_bytes
        .saturating_sub(usage.memory_working_set_bytes);
    let pods: Vec<_> = usage
        .pods
        .iter()
        .map(|pod| {
            let containers: Vec<_> = pod
                .containers
                .iter()
                .map(|container| {
                    let mut value = use_of(container, &at);
                    value["name"] = json!(container.name);
                    value["startTime"] = json!(timestamp(container.started_at).to_string());
                    value
                })
                .collect();
            let mut value = use_of(&pod.total, &at);
            value["podRef"] = json!({
                "name": pod.name, "namespace": pod.namespace, "uid": pod.uid.as_str(),
            });
            value["startTime"] = json!(timestamp(pod.total.started_at).to_string());
            value["process_stats"] = json!({ "process_count": pod.total.processes });
            value["containers"] = Value::Array(containers);
            value
        })
        .collect();
    json!({
        "node": {
            "nodeName": node_name,
            "startTime": timestamp(started).to_string(),
            "cpu": { "time": at, "usageCoreNanoSeconds": usage.cpu_ns },
            "memory": {
                "time": at,
                "availableBytes": available,
                "usageBytes": usage.memory_usage_bytes,
                "workingSetBytes": usage.memory_working_set_bytes,
            },
            "swap": { "time": at, "swapUsageBytes": usage.swap_bytes },
        },
        "pods": pods,
    })
}

fn use_of(usage: &ContainerUsage, at: &str) -> Value {
    json!({
        "cpu": { "time": at, "usageCoreNanoSeconds": usage.cpu_ns },
        "memory": {
            "time": at,
            "usageBytes": usage.memory_usage_bytes,
            "workingSetBytes": usage.memory_working_set_bytes,
            "rssBytes": usage.memory_rss_bytes,
            "pageFaults": usage.page_faults,
            "majorPageFaults": usage.major_page_faults,
        },
        "swap": { "time": at, "swapUsageBytes": usage.swap_bytes },
    })
}
