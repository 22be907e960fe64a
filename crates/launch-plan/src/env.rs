//! The environment: defaults of the runtime, the image's, the pod's, `HOME`; each name once, the later value at the earlier place.

use crate::error::PlanError;
use crate::expansion::{expand, unresolved};
use crate::facts::{ImageConfig, NodeFacts, SandboxFacts};
use k8s_openapi::api::core::v1::{
    Container, EnvVar, ObjectFieldSelector, PodSpec, ResourceFieldSelector,
};
use node_policy::{Resource, container_limit, container_request};
use pod_model::{AdmittedPod, Quantity};
use std::collections::BTreeMap;

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The pod's own variables, resolved, in order. They alone are what `$(VAR)` refers to.
#[derive(Debug, Default)]
pub(crate) struct PodEnv {
    variables: Vec<(String, String)>,
}

impl PodEnv {
    /// As the kubelet's `makeEnvironmentVariables`: a value refers to what stands before it.
    pub(crate) fn resolve(
        pod: &AdmittedPod,
        container: &Container,
        node: &NodeFacts,
        sandbox: &SandboxFacts,
    ) -> Result<Self, PlanError> {
        let mut env = PodEnv::default();
        if container.env_from.as_ref().is_some_and(|e| !e.is_empty()) {
            return Err(PlanError::EnvSource {
                name: "envFrom".to_owned(),
                what: "this node has no ConfigMaps and Secrets yet".to_owned(),
            });
        }
        for variable in container.env.iter().flatten() {
            check_name(&variable.name)?;
            let value = match &variable.value_from {
                None => {
                    let text = variable.value.as_deref().unwrap_or_default();
                    expand(text, |name| env.mapped(name))
                }
                Some(_) => value_from(variable, pod, container, node, sandbox).map_err(|what| {
                    PlanError::EnvSource {
                        name: variable.name.clone(),
                        what,
                    }
                })?,
            };
            if value.contains('\0') {
                return Err(PlanError::BadEnv {
                    name: variable.name.clone(),
                    rule: "has a NUL byte in its value",
                });
            }
            env.variables.push((variable.name.clone(), value));
        }
        Ok(env)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.variables
            .iter()
            .rev()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    }

    /// For commands and values: an unknown name stays a reference.
    pub(crate) fn mapped(&self, name: &str) -> String {
        self.get(name)
            .map_or_else(|| unresolved(name), str::to_owned)
    }
}

fn check_name(name: &str) -> Result<(), PlanError> {
    let rule = if name.is_empty() {
        "has no name"
    } else if name.contains('=') {
        "has '=' in its name"
    } else if !name.bytes().all(|b| (0x20..0x7f).contains(&b)) {
        "has a name that is not printable ASCII"
    } else {
        return Ok(());
    };
    Err(PlanError::BadEnv {
        name: name.to_owned(),
        rule,
    })
}

/// The whole environment of the process.
pub(crate) fn environment(
    image: &ImageConfig,
    pod: &PodEnv,
    hostname: &str,
    home: &str,
    terminal: bool,
) -> Result<Vec<String>, PlanError> {
    let mut all: Vec<(&str, &str)> = vec![("PATH", DEFAULT_PATH)];
    if terminal {
        all.push(("TERM", "xterm"));
    }
    all.push(("HOSTNAME", hostname));
    for entry in &image.env {
        let (name, value) = entry
            .split_once('=')
            .filter(|(name, _)| !name.is_empty() && !entry.contains('\0'))
            .ok_or_else(|| PlanError::BadImageEnv {
                entry: entry.chars().take(200).collect(),
            })?;
        all.push((name, value));
    }
    all.extend(pod.variables.iter().map(|(n, v)| (n.as_str(), v.as_str())));

    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    let mut unique: Vec<(&str, &str)> = Vec::with_capacity(all.len() + 1);
    for (name, value) in all {
        match places.get(name) {
            Some(at) => unique[*at].1 = value,
            None => {
                places.insert(name, unique.len());
                unique.push((name, value));
            }
        }
    }
    match places.get("HOME") {
        None => unique.push(("HOME", home)),
        Some(at) if unique[*at].1.is_empty() => unique[*at].1 = home,
        // CVE-2026-15809: a line break in HOME became a line of a passwd file
        Some(at) if unique[*at].1.contains(['\n', '\r']) => {
            return Err(PlanError::BadEnv {
                name: "HOME".to_owned(),
                rule: "has a line break in its value",
            });
        }
        Some(_) => {}
    }
    Ok(unique
        .into_iter()
        .map(|(n, v)| format!("{n}={v}"))
        .collect())
}

fn value_from(
    variable: &EnvVar,
    pod: &AdmittedPod,
    container: &Container,
    node: &NodeFacts,
    sandbox: &SandboxFacts,
) -> Result<String, String> {
    let Some(source) = &variable.value_from else {
        return Ok(String::new());
    };
    if let Some(field) = &source.field_ref {
        return field_value(field, pod, node, sandbox);
    }
    if let Some(resource) = &source.resource_field_ref {
        return resource_value(resource, pod.spec(), container, node);
    }
    Err(
        "its source is neither a fieldRef nor a resourceFieldRef; this node has no others yet"
            .to_owned(),
    )
}

/// The fields that `valueFrom.fieldRef` may name.
fn field_value(
    field: &ObjectFieldSelector,
    pod: &AdmittedPod,
    node: &NodeFacts,
    sandbox: &SandboxFacts,
) -> Result<String, String> {
    let meta = &pod.pod().metadata;
    let list = |ips: &[std::net::IpAddr]| {
        ips.iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(",")
    };
    let first = |ips: &[std::net::IpAddr]| ips.first().map(ToString::to_string).unwrap_or_default();
    let path = field.field_path.as_str();
    if let Some((map, key)) = subscript(path) {
        let entries = match map {
            "metadata.labels" => meta.labels.as_ref(),
            "metadata.annotations" => meta.annotations.as_ref(),
            _ => return Err(format!("unsupported fieldPath: {path}")),
        };
        return Ok(entries
            .and_then(|e| e.get(key))
            .cloned()
            .unwrap_or_default());
    }
    Ok(match path {
        "metadata.name" => pod.name().name.clone(),
        "metadata.namespace" => pod.name().namespace.clone(),
        "metadata.uid" => pod.uid().to_string(),
        "spec.nodeName" => node.node_name.clone(),
        "spec.serviceAccountName" => pod.spec().service_account_name.clone().unwrap_or_default(),
        "status.hostIP" => first(&node.host_ips),
        "status.hostIPs" => list(&node.host_ips),
        "status.podIP" => first(&sandbox.pod_ips),
        "status.podIPs" => list(&sandbox.pod_ips),
        other => return Err(format!("unsupported fieldPath: {other}")),
    })
}

/// `metadata.labels['key']` → the two parts.
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (map, rest) = path.split_once("['")?;
    Some((map, rest.strip_suffix("']")?))
}

/// As the kubelet's `ExtractContainerResourceValue`: a missing limit is what the node can give, a missing request is 0; rounded up to
/// whole divisors.
fn resource_value(
    selector: &ResourceFieldSelector,
    spec: &PodSpec,
    container: &Container,
    node: &NodeFacts,
) -> Result<String, String> {
    let container = match selector.container_name.as_deref().filter(|n| !n.is_empty()) {
        None => container,
        Some(name) => spec
            .containers
            .iter()
            .chain(spec.init_containers.iter().flatten())
            .find(|c| c.name == name)
            .ok_or_else(|| format!("container {name} not found"))?,
    };
    let whole = |units: u64| Quantity::from_milli(i128::from(units) * 1000);
    let ephemeral = |limits: bool| {
        let resources = container.resources.as_ref()?;
        let list = if limits {
            resources.limits.as_ref()
        } else {
            resources.requests.as_ref()
        };
        Quantity::parse(&list?.get("ephemeral-storage")?.0).ok()
    };
    let (amount, is_cpu) = match selector.resource.as_str() {
        "limits.cpu" => (
            container_limit(container, Resource::Cpu)
                .unwrap_or(Quantity::from_milli(node.allocatable_cpu_millis.into())),
            true,
        ),
        "requests.cpu" => (
            container_request(container, Resource::Cpu).unwrap_or_default(),
            true,
        ),
        "limits.memory" => (
            container_limit(container, Resource::Memory)
                .unwrap_or(whole(node.allocatable_memory_bytes)),
            false,
        ),
        "requests.memory" => (
            container_request(container, Resource::Memory).unwrap_or_default(),
            false,
        ),
        "limits.ephemeral-storage" => (
            ephemeral(true).unwrap_or(whole(node.allocatable_ephemeral_bytes)),
            false,
        ),
        "requests.ephemeral-storage" => (ephemeral(false).unwrap_or_default(), false),
        other => return Err(format!("unsupported container resource : {other}")),
    };
    let divisor = match &selector.divisor {
        None => whole(1),
        Some(text) => Quantity::parse(&text.0).map_err(|e| e.to_string())?,
    };
    // cpu divides by millicores, the others by whole units; no divisor and 0 are 1
    let unit = |q: Quantity| if is_cpu { q.milli() } else { q.value() };
    let divisor = match unit(divisor) {
        d if d <= 0 => unit(whole(1)),
        d => d,
    };
    let amount = unit(amount);
    Ok((amount.div_euclid(divisor) + i128::from(amount.rem_euclid(divisor) != 0)).to_string())
}
