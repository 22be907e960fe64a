//! What a pod asks of its node: `nodeSelector` and the required part of `affinity.nodeAffinity`.

use super::names;
use crate::field_path::{FieldPath, Findings};
use k8s_openapi::api::core::v1::{NodeSelector, NodeSelectorRequirement, PodSpec};

pub(super) fn check(spec: &PodSpec, path: &FieldPath<'_>, findings: &mut Findings) {
    let selector = path.key("nodeSelector");
    for (key, value) in spec.node_selector.iter().flatten() {
        if let Some(wrong) = names::qualified_name(key) {
            findings.invalid(&selector, key, wrong);
        }
        if let Some(wrong) = names::label_value(value) {
            findings.invalid(&selector.map_key(key), value, wrong);
        }
    }
    let affinity = spec.affinity.as_ref();
    let affinity = affinity.and_then(|affinity| affinity.node_affinity.as_ref());
    let required = affinity.and_then(|a| {
        a.required_during_scheduling_ignored_during_execution
            .as_ref()
    });
    if let Some(required) = required {
        let path = path.key("affinity");
        let path = path.key("nodeAffinity");
        let path = path.key("requiredDuringSchedulingIgnoredDuringExecution");
        terms(required, &path.key("nodeSelectorTerms"), findings);
    }
}

fn terms(required: &NodeSelector, path: &FieldPath<'_>, findings: &mut Findings) {
    if required.node_selector_terms.is_empty() {
        findings.required(path, "must have at least one node selector term");
    }
    for (index, term) in required.node_selector_terms.iter().enumerate() {
        let path = path.index(index);
        let list = path.key("matchExpressions");
        let expressions = term.match_expressions.iter().flatten();
        for (index, asked) in expressions.enumerate() {
            expression(asked, &list.index(index), findings);
        }
        let list = path.key("matchFields");
        for (index, asked) in term.match_fields.iter().flatten().enumerate() {
            field(asked, &list.index(index), findings);
        }
    }
}

fn expression(asked: &NodeSelectorRequirement, path: &FieldPath<'_>, findings: &mut Findings) {
    let values = asked.values.as_deref().unwrap_or_default();
    let list = path.key("values");
    match asked.operator.as_str() {
        "In" | "NotIn" if values.is_empty() => {
            findings.required(
                &list,
                "must be specified when `operator` is 'In' or 'NotIn'",
            );
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => findings.forbidden(
            &list,
            "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
        ),
        "Gt" | "Lt" if values.len() != 1 => findings.required(
            &list,
            "must be specified single value when `operator` is 'Lt' or 'Gt'",
        ),
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
        other => findings.invalid(&path.key("operator"), other, NO_OPERATOR),
    }
    if let Some(wrong) = names::qualified_name(&asked.key) {
        findings.invalid(&path.key("key"), &asked.key, wrong);
    }
    for (index, value) in values.iter().enumerate() {
        if let Some(wrong) = names::label_value(value) {
            findings.invalid(&list.index(index), value, wrong);
        }
    }
}

const NO_OPERATOR: &str = "not a valid selector operator";

fn field(asked: &NodeSelectorRequirement, path: &FieldPath<'_>, findings: &mut Findings) {
    let values = asked.values.as_deref().unwrap_or_default();
    let list = path.key("values");
    match asked.operator.as_str() {
        "In" | "NotIn" if values.len() != 1 => findings.required(
            &list,
            "must be only one value when `operator` is 'In' or 'NotIn' for node field selector",
        ),
        "In" | "NotIn" => {}
        other => findings.invalid(&path.key("operator"), other, NO_OPERATOR),
    }
    if asked.key != "metadata.name" {
        findings.invalid(
            &path.key("key"),
            &asked.key,
            "not a valid field selector key",
        );
        return;
    }
    for (index, value) in values.iter().enumerate() {
        if let Some(wrong) = names::dns_subdomain(value) {
            findings.invalid(&list.index(index), value, wrong);
        }
    }
}
