//! DNS, host aliases and ports of the host.

use super::{names, one_of};
use crate::field_path::{FieldPath, Findings};
use k8s_openapi::api::core::v1::{Container, PodDNSConfig, PodSpec};
use std::collections::BTreeSet;

const MAX_NAMESERVERS: usize = 3;
const MAX_SEARCHES: usize = 32;
const MAX_SEARCH_BYTES: usize = 2048;

pub(super) fn dns(spec: &PodSpec, path: &FieldPath<'_>, findings: &mut Findings) {
    let policy = spec.dns_policy.as_deref();
    one_of(
        policy,
        &["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"],
        &path.key("dnsPolicy"),
        findings,
    );
    let path = path.key("dnsConfig");
    match &spec.dns_config {
        Some(config) => dns_config(config, policy == Some("None"), &path, findings),
        None if policy == Some("None") => {
            findings.required(&path, "must provide `dnsConfig` when `dnsPolicy` is None")
        }
        None => {}
    }
}

fn dns_config(
    config: &PodDNSConfig,
    needs_a_server: bool,
    path: &FieldPath<'_>,
    findings: &mut Findings,
) {
    let servers = config.nameservers.as_deref().unwrap_or_default();
    let key = path.key("nameservers");
    if servers.is_empty() && needs_a_server {
        findings.required(
            &key,
            "must provide at least one DNS nameserver when `dnsPolicy` is None",
        );
    }
    if servers.len() > MAX_NAMESERVERS {
        findings.invalid(&key, servers, "must not have more than 3 nameservers");
    }
    for (index, server) in servers.iter().enumerate() {
        if let Some(wrong) = names::ip(server) {
            findings.invalid(&key.index(index), server, wrong);
        }
    }
    let searches = config.searches.as_deref().unwrap_or_default();
    let key = path.key("searches");
    if searches.len() > MAX_SEARCHES {
        findings.invalid(&key, searches, "must not have more than 32 search paths");
    }
    let bytes: usize = searches.iter().map(|s| s.len() + 1).sum();
    if bytes > MAX_SEARCH_BYTES + 1 {
        findings.invalid(
            &key,
            searches,
            "must not have more than 2048 characters (including spaces) in the search list",
        );
    }
    for (index, search) in searches.iter().enumerate() {
        if let Some(wrong) = names::search_domain(search) {
            findings.invalid(&key.index(index), search, wrong);
        }
    }
    let key = path.key("options");
    for (index, option) in config.options.iter().flatten().enumerate() {
        let path = key.index(index);
        let name = option.name.as_deref().unwrap_or_default();
        if name.is_empty() {
            findings.required(&path.key("name"), "");
        }
        // Stricter than upstream: these become words of one line of resolv.conf.
        for (key, word) in [
            ("name", name),
            ("value", option.value.as_deref().unwrap_or_default()),
        ] {
            if word.contains(|c: char| c.is_whitespace() || c.is_control()) {
                findings.invalid(&path.key(key), word, "must be one word");
            }
        }
    }
}

pub(super) fn host_aliases(spec: &PodSpec, path: &FieldPath<'_>, findings: &mut Findings) {
    let path = path.key("hostAliases");
    for (index, alias) in spec.host_aliases.iter().flatten().enumerate() {
        let path = path.index(index);
        if let Some(wrong) = names::ip(&alias.ip) {
            findings.invalid(&path.key("ip"), &alias.ip, wrong);
        }
        let key = path.key("hostnames");
        for (index, name) in alias.hostnames.iter().flatten().enumerate() {
            if let Some(wrong) = names::dns_subdomain(name) {
                findings.invalid(&key.index(index), name, wrong);
            }
        }
    }
}

/// The ports of one container.
pub(super) fn ports(container: &Container, path: &FieldPath<'_>, findings: &mut Findings) {
    let path = path.key("ports");
    let mut seen = BTreeSet::new();
    for (index, port) in container.ports.iter().flatten().enumerate() {
        let path = path.index(index);
        if let Some(name) = port.name.as_deref().filter(|n| !n.is_empty()) {
            if let Some(wrong) = names::port_name(name) {
                findings.invalid(&path.key("name"), name, wrong);
            } else if !seen.insert(name) {
                findings.duplicate(&path.key("name"), name);
            }
        }
        match port.container_port {
            0 => findings.required(&path.key("containerPort"), ""),
            number => port_number(number, &path.key("containerPort"), findings),
        }
        if let Some(number) = port.host_port.filter(|n| *n != 0) {
            port_number(number, &path.key("hostPort"), findings);
        }
        if let Some(address) = port.host_ip.as_deref().filter(|a| !a.is_empty()) {
            let key = path.key("hostIP");
            if let Some(wrong) = names::ip(address) {
                findings.invalid(&key, address, wrong);
            } else if address.contains(':') {
                findings.say(
                    &key,
                    "IPv6 addresses of the host are not supported by this node",
                );
            }
        }
        one_of(
            port.protocol.as_deref(),
            &["SCTP", "TCP", "UDP"],
            &path.key("protocol"),
            findings,
        );
    }
}

fn port_number(number: i32, path: &FieldPath<'_>, findings: &mut Findings) {
    if !(1..=65535).contains(&number) {
        findings.invalid(path, number, "must be between 1 and 65535, inclusive");
    }
}

/// Ports of the host over all containers: none twice, and under `hostNetwork` the same inside and outside. Init containers run alone, so
/// only the main ones can be in each other's way.
pub(super) fn host_ports(spec: &PodSpec, path: &FieldPath<'_>, findings: &mut Findings) {
    let init = spec.init_containers.as_deref().unwrap_or_default();
    for (list, containers) in [("initContainers", init), ("containers", &spec.containers)] {
        let path = path.key(list);
        let mut taken = BTreeSet::new();
        for (index, container) in containers.iter().enumerate() {
            if list == "initContainers" {
                taken.clear();
            }
            let path = path.index(index);
            let path = path.key("ports");
            for (index, port) in container.ports.iter().flatten().enumerate() {
                let path = path.index(index);
                let Some(number) = port.host_port.filter(|n| *n != 0) else {
                    continue;
                };
                if spec.host_network == Some(true) && number != port.container_port {
                    findings.invalid(
                        &path.key("containerPort"),
                        port.container_port,
                        "must match `hostPort` when `hostNetwork` is true",
                    );
                }
                let protocol = port.protocol.as_deref().unwrap_or_default();
                let address = port.host_ip.as_deref().unwrap_or_default();
                let binding = format!("{protocol}/{address}/{number}");
                if !taken.insert(binding.clone()) {
                    findings.duplicate(&path.key("hostPort"), binding);
                }
            }
        }
    }
}
