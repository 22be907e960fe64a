//! `describe pod`, in kubectl's layout.

mod containers;
mod probes;
mod volumes;

use crate::agent::{Agent, path};
use crate::command::Describe;
use crate::error::ClientError;
use crate::output::{self, complain};
use crate::select::{self, items, namespace_of};
use crate::{age, event_row, tabs};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, Pod, PodCondition, PodSpec, Toleration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use node_server::wire;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;

pub(crate) async fn run(agent: &Agent, wanted: Describe) -> Result<(), ClientError> {
    let namespace = &wanted.namespace.namespace;
    let pods = select::all_pods(agent).await?;
    let chosen: Vec<&Value> = if wanted.names.is_empty() {
        pods.iter()
            .filter(|p| namespace_of(p) == namespace)
            .collect()
    } else {
        let found = wanted
            .names
            .iter()
            .map(|name| select::find(&pods, namespace, name));
        found.collect::<Result<_, _>>()?
    };
    if chosen.is_empty() {
        complain(&format!("No resources found in {namespace} namespace."));
        return Ok(());
    }
    let list: Value = agent
        .get(&format!("{}{}", wire::PREFIX, path(&["events"], &[])))
        .await?;
    let events: Vec<Event> = items(list)
        .into_iter()
        .filter_map(|event| serde_json::from_value(event).ok())
        .collect();
    let mut texts = Vec::new();
    for pod in chosen {
        let pod = select::parse(pod)?;
        texts.push(describe(&pod, &events, Timestamp::now()));
    }
    output::print(&texts.join("\n\n"))
}

/// RFC 1123 with the zone as a number, as Go's `RFC1123Z`.
fn date(time: &Time) -> String {
    time.0.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string()
}

/// A line of `key:\tvalue`s under one heading.
fn multiline(
    out: &mut String,
    heading: &str,
    between: &str,
    map: Option<&BTreeMap<String, String>>,
) {
    let mut begin = format!("{heading}:");
    let entries = map.filter(|m| !m.is_empty());
    if entries.is_none() {
        let _ = writeln!(out, "{begin}\t<none>");
    }
    for (key, value) in entries.into_iter().flatten() {
        let value = value.replace(['\n', '\t'], " ");
        let _ = writeln!(out, "{begin}\t{key}{between}{value}");
        begin.clear();
    }
}

/// The whole description of a pod, out of its object and everybody's events.
pub(crate) fn describe(pod: &Pod, events: &[Event], now: Timestamp) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(out, "{name}:\t{value}");
    };
    let metadata = &pod.metadata;
    let spec = pod.spec.clone().unwrap_or_default();
    let status = pod.status.clone().unwrap_or_default();
    let phase = status.phase.as_deref().unwrap_or_default();
    line("Name", metadata.name.as_deref().unwrap_or_default());
    line(
        "Namespace",
        metadata.namespace.as_deref().unwrap_or_default(),
    );
    if let Some(priority) = spec.priority {
        line("Priority", &priority.to_string());
    }
    let filled = |text: &Option<String>| text.clone().filter(|t| !t.is_empty());
    if let Some(class) = filled(&spec.priority_class_name) {
        line("Priority Class Name", &class);
    }
    if let Some(class) = filled(&spec.runtime_class_name) {
        line("Runtime Class Name", &class);
    }
    if let Some(account) = filled(&spec.service_account_name) {
        line("Service Account", &account);
    }
    match filled(&spec.node_name) {
        Some(node) => {
            let address = status.host_ip.as_deref().unwrap_or_default();
            line("Node", &format!("{node}/{address}"));
        }
        None => line("Node", "<none>"),
    }
    if let Some(start) = &status.start_time {
        line("Start Time", &date(start));
    }
    multiline(&mut out, "Labels", "=", metadata.labels.as_ref());
    multiline(&mut out, "Annotations", ": ", metadata.annotations.as_ref());
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(out, "{name}:\t{value}");
    };
    match &metadata.deletion_timestamp {
        Some(deletion) if !matches!(phase, "Failed" | "Succeeded") => {
            let lasts = age::since(Some(deletion), now);
            line("Status", &format!("Terminating (lasts {lasts})"));
            let grace = metadata.deletion_grace_period_seconds.unwrap_or(0);
            line("Termination Grace Period", &format!("{grace}s"));
        }
        _ => line("Status", phase),
    }
    if let Some(reason) = filled(&status.reason) {
        line("Reason", &reason);
    }
    if let Some(message) = filled(&status.message) {
        line("Message", &message);
    }
    let seccomp = spec
        .security_context
        .as_ref()
        .and_then(|c| c.seccomp_profile.as_ref());
    if let Some(profile) = seccomp {
        line("SeccompProfile", &profile.type_);
        if let Some(file) = &profile.localhost_profile {
            line("LocalhostProfile", file);
        }
    }
    line("IP", status.pod_ip.as_deref().unwrap_or_default());
    match status.pod_ips.as_deref() {
        None | Some([]) => line("IPs", "<none>"),
        Some(ips) => {
            out.push_str("IPs:\n");
            for ip in ips {
                let _ = writeln!(out, "  IP:\t{}", ip.ip);
            }
        }
    }
    let init = spec.init_containers.as_deref().unwrap_or_default();
    if !init.is_empty() {
        let statuses = status
            .init_container_statuses
            .as_deref()
            .unwrap_or_default();
        containers::describe(&mut out, "Init Containers", init, statuses);
    }
    let statuses = status.container_statuses.as_deref().unwrap_or_default();
    containers::describe(&mut out, "Containers", &spec.containers, statuses);
    let conditions = status.conditions.as_deref().unwrap_or_default();
    readiness_gates(&mut out, &spec, conditions);
    if !conditions.is_empty() {
        out.push_str("Conditions:\n  Type\tStatus\n");
        for condition in conditions {
            let _ = writeln!(out, "  {} \t{} ", condition.type_, condition.status);
        }
    }
    volumes::describe(&mut out, spec.volumes.as_deref().unwrap_or_default());
    let qos = status.qos_class.as_deref().unwrap_or_default();
    let _ = writeln!(out, "QoS Class:\t{qos}");
    multiline(&mut out, "Node-Selectors", "=", spec.node_selector.as_ref());
    tolerations(&mut out, spec.tolerations.as_deref().unwrap_or_default());

    let uid = metadata.uid.as_deref();
    let mut own: Vec<&Event> = events
        .iter()
        .filter(|e| e.involved_object.uid.as_deref() == uid)
        .collect();
    own.sort_by(|a, b| a.last_timestamp.cmp(&b.last_timestamp));
    let body = tabs::align(&out, tabs::DESCRIPTION);
    let mut table = String::new();
    if own.is_empty() {
        // kubectl writes it with what is before; so its column is that of the tolerations.
        let _ = writeln!(out, "Events:\t<none>");
        return tabs::align(&out, tabs::DESCRIPTION);
    }
    table.push_str(
        "Events:\n  Type\tReason\tAge\tFrom\tMessage\n  ----\t------\t----\t----\t-------\n",
    );
    for event in own {
        let _ = writeln!(table, "  {}", event_row::described(event, now));
    }
    body + &tabs::align(&table, tabs::DESCRIPTION)
}

fn readiness_gates(out: &mut String, spec: &PodSpec, conditions: &[PodCondition]) {
    let gates = spec.readiness_gates.as_deref().unwrap_or_default();
    if !gates.is_empty() {
        out.push_str("Readiness Gates:\n  Type\tStatus\n");
    }
    for gate in gates {
        let condition = conditions.iter().find(|c| c.type_ == gate.condition_type);
        let status = condition.map_or("<none>", |condition| &condition.status);
        let _ = writeln!(out, "  {} \t{status} ", gate.condition_type);
    }
}

fn tolerations(out: &mut String, tolerations: &[Toleration]) {
    let mut begin = "Tolerations:";
    if tolerations.is_empty() {
        let _ = writeln!(out, "{begin}\t<none>");
    }
    for toleration in tolerations {
        let mut text = toleration.key.clone().unwrap_or_default();
        if let Some(value) = toleration.value.as_deref().filter(|v| !v.is_empty()) {
            let _ = write!(text, "={value}");
        }
        if let Some(effect) = toleration.effect.as_deref().filter(|e| !e.is_empty()) {
            let _ = write!(text, ":{effect}");
        }
        if toleration.operator.as_deref() == Some("Exists") {
            text.push_str(if text.is_empty() {
                "op=Exists"
            } else {
                " op=Exists"
            });
        }
        if let Some(seconds) = toleration.toleration_seconds {
            let _ = write!(text, " for {seconds}s");
        }
        let _ = writeln!(out, "{begin}\t{text}");
        begin = "";
    }
}

#[cfg(test)]
mod tests;
