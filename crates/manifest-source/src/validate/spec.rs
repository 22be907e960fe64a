//! The pod's own fields; containers, volumes, names and security have files of their own.

use super::{
    container, handlers, names, network, node_choice, not_negative, one_of, os, security, volumes,
};
use crate::field_path::{FieldPath, Findings};
use k8s_openapi::api::core::v1::{Container, PodSpec};
use std::collections::BTreeSet;

pub(super) fn check(
    spec: &PodSpec,
    node_name: &str,
    path: &FieldPath<'_>,
    findings: &mut Findings,
) {
    one_of(
        spec.restart_policy.as_deref(),
        &["Always", "OnFailure", "Never"],
        &path.key("restartPolicy"),
        findings,
    );
    not_negative(
        spec.termination_grace_period_seconds,
        &path.key("terminationGracePeriodSeconds"),
        findings,
    );
    if let Some(given) = spec.node_name.as_deref()
        && !given.is_empty()
        && given != node_name
    {
        let detail = format!("this node is {node_name:?}");
        findings.invalid(&path.key("nodeName"), given, &detail);
    }
    if spec.share_process_namespace == Some(true) && spec.host_pid == Some(true) {
        findings.invalid(
            &path.key("shareProcessNamespace"),
            true,
            "ShareProcessNamespace and HostPID cannot both be enabled",
        );
    }
    for (key, name) in [("hostname", &spec.hostname), ("subdomain", &spec.subdomain)] {
        if let Some(name) = name.as_deref().filter(|n| !n.is_empty())
            && let Some(wrong) = names::dns_label(name)
        {
            findings.invalid(&path.key(key), name, wrong);
        }
    }
    if let Some(seconds) = spec.active_deadline_seconds
        && !(1..=i64::from(i32::MAX)).contains(&seconds)
    {
        let detail = "must be between 1 and 2147483647, inclusive";
        findings.invalid(&path.key("activeDeadlineSeconds"), seconds, detail);
    }
    let gates = path.key("readinessGates");
    for (index, gate) in spec.readiness_gates.iter().flatten().enumerate() {
        if let Some(wrong) = names::qualified_name(&gate.condition_type) {
            let path = gates.index(index);
            findings.invalid(&path.key("conditionType"), &gate.condition_type, wrong);
        }
    }
    node_choice::check(spec, path, findings);
    os::check(spec, path, findings);
    network::dns(spec, path, findings);
    network::host_aliases(spec, path, findings);
    if let Some(context) = &spec.security_context {
        security::pod(context, &path.key("securityContext"), findings);
        security::sysctls(spec, &path.key("securityContext"), findings);
    }
    let volumes = volumes::check(spec, &path.key("volumes"), findings);
    containers(spec, &volumes, path, findings);
    network::host_ports(spec, path, findings);
}

fn containers(
    spec: &PodSpec,
    volumes: &BTreeSet<&str>,
    path: &FieldPath<'_>,
    findings: &mut Findings,
) {
    if spec.containers.is_empty() {
        findings.required(&path.key("containers"), "");
    }
    let init = spec.init_containers.as_deref().unwrap_or_default();
    let all: BTreeSet<&str> = init
        .iter()
        .chain(&spec.containers)
        .map(|c| c.name.as_str())
        .collect();
    let surroundings = container::Surroundings {
        volumes,
        containers: &all,
    };
    let mut seen = BTreeSet::new();
    for (list, containers) in [("initContainers", init), ("containers", &spec.containers)] {
        let path = path.key(list);
        for (index, container) in containers.iter().enumerate() {
            let path = path.index(index);
            if !container.name.is_empty() && !seen.insert(container.name.as_str()) {
                findings.duplicate(&path.key("name"), &container.name);
            }
            container::check(container, &surroundings, &path, findings);
            let is_init = list == "initContainers";
            restart_policy(container, &path, findings);
            let is_sidecar = container.restart_policy.as_deref() == Some("Always");
            handlers::check(container, is_init && !is_sidecar, spec, &path, findings);
        }
    }
}

/// What a container says of its own restarts.
fn restart_policy(container: &Container, path: &FieldPath<'_>, findings: &mut Findings) {
    let policy = container.restart_policy.as_deref();
    let key = path.key("restartPolicy");
    one_of(policy, &["Always", "Never", "OnFailure"], &key, findings);
    let rules = container
        .restart_policy_rules
        .as_deref()
        .unwrap_or_default();
    if policy.is_none() && !rules.is_empty() {
        findings.required(
            &key,
            "must specify restartPolicy when restart rules are used",
        );
    }
    let list = path.key("restartPolicyRules");
    at_most(rules.len(), 20, &list, findings);
    for (index, rule) in rules.iter().enumerate() {
        let path = list.index(index);
        one_of(
            Some(&rule.action),
            &["Restart", "RestartAllContainers"],
            &path.key("action"),
            findings,
        );
        let key = path.key("exitCodes");
        let Some(codes) = &rule.exit_codes else {
            findings.required(&key, "must be specified");
            continue;
        };
        let operator = Some(codes.operator.as_str());
        one_of(operator, &["In", "NotIn"], &key.key("operator"), findings);
        let values = codes.values.as_ref().map_or(0, Vec::len);
        at_most(values, 255, &key.key("values"), findings);
    }
}

fn at_most(count: usize, most: usize, path: &FieldPath<'_>, findings: &mut Findings) {
    if count > most {
        let detail = format!("Too many: {count}: must have at most {most} items");
        findings.say(path, detail);
    }
}
