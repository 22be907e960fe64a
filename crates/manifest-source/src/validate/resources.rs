//! Requests, limits and references to them.

use crate::field_path::{FieldPath, Findings};
use k8s_openapi::api::core::v1::{ResourceFieldSelector, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource;
use pod_model::Quantity;
use std::collections::{BTreeMap, BTreeSet};

const REFERENCES: [&str; 6] = [
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];
const BYTE_DIVISORS: [&str; 13] = [
    "1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei",
];

type Amounts = BTreeMap<String, resource::Quantity>;

pub(super) fn check(
    resources: &ResourceRequirements,
    path: &FieldPath<'_>,
    findings: &mut Findings,
) {
    let limits = amounts(resources.limits.as_ref(), "limits", path, findings);
    let requests = amounts(resources.requests.as_ref(), "requests", path, findings);
    let key = path.key("requests");
    for (name, (text, request)) in &requests {
        if let Some((limit_text, limit)) = limits.get(name)
            && request > limit
        {
            let detail = format!("must be less than or equal to {name} limit of {limit_text}");
            findings.invalid(&key.map_key(name), text, &detail);
        }
    }
}

fn amounts<'r>(
    given: Option<&'r Amounts>,
    list: &str,
    path: &FieldPath<'_>,
    findings: &mut Findings,
) -> BTreeMap<&'r str, (&'r str, Quantity)> {
    let path = path.key(list);
    let mut parsed = BTreeMap::new();
    for (name, text) in given.into_iter().flatten() {
        let key = path.map_key(name);
        match name.as_str() {
            "cpu" | "memory" | "ephemeral-storage" => {}
            _ => findings.unsupported(&key, name, &["cpu", "memory", "ephemeral-storage"]),
        }
        match Quantity::parse(&text.0) {
            Err(e) => findings.invalid(&key, &text.0, &e.to_string()),
            Ok(quantity) if quantity.milli() < 0 => {
                findings.invalid(&key, &text.0, "must be greater than or equal to 0");
            }
            // Stricter than upstream, which only warns: `128m` of memory is an eighth of a byte, and nobody means it.
            Ok(quantity) if name == "memory" && quantity.milli() % 1000 != 0 => {
                findings.invalid(&key, &text.0, "fractional byte value, must be an integer");
            }
            Ok(quantity) => {
                parsed.insert(name.as_str(), (text.0.as_str(), quantity));
            }
        }
    }
    parsed
}

/// `valueFrom.resourceFieldRef` of a variable.
pub(super) fn reference(
    selector: &ResourceFieldSelector,
    containers: &BTreeSet<&str>,
    path: &FieldPath<'_>,
    findings: &mut Findings,
) {
    if let Some(name) = selector.container_name.as_deref().filter(|n| !n.is_empty())
        && !containers.contains(name)
    {
        // Stricter than upstream, where the container fails with CreateContainerConfigError.
        findings.not_found(&path.key("containerName"), name);
    }
    let key = path.key("resource");
    match selector.resource.as_str() {
        "" => findings.required(&key, ""),
        name if REFERENCES.contains(&name) => {}
        name => findings.unsupported(&key, name, &REFERENCES),
    }
    if let Some(divisor) = &selector.divisor {
        divisor_of(
            &selector.resource,
            &divisor.0,
            &path.key("divisor"),
            findings,
        );
    }
}

fn divisor_of(resource: &str, text: &str, path: &FieldPath<'_>, findings: &mut Findings) {
    let Ok(divisor) = Quantity::parse(text) else {
        findings.invalid(path, text, "must be a quantity");
        return;
    };
    let is = |supported: &[&str]| {
        divisor.milli() == 0
            || supported
                .iter()
                .any(|s| Quantity::parse(s).is_ok_and(|q| q == divisor))
    };
    if resource.ends_with(".cpu") && !is(&["1m", "1"]) {
        findings.invalid(
            path,
            text,
            "only divisor's values 1m and 1 are supported with the cpu resource",
        );
    }
    let bytes = match resource.split_once('.') {
        Some((_, "memory")) => "memory",
        Some((_, "ephemeral-storage")) => "local ephemeral storage",
        _ => return,
    };
    if !is(&BYTE_DIVISORS) {
        let list = BYTE_DIVISORS.join(", ");
        let detail =
            format!("only divisor's values {list} are supported with the {bytes} resource");
        findings.invalid(path, text, &detail);
    }
}
