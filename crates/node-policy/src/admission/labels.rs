//! Node selectors and required node affinity. Preferences are a scheduler's business.
//!
//! Source: `k8s.io/component-helpers/scheduling/corev1/nodeaffinity`.

use super::AdmittingNode;
use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm, PodSpec};

/// Whether the node is one that the pod asks for.
pub(super) fn match_node(spec: &PodSpec, node: &AdmittingNode) -> bool {
    let is_selected = spec
        .node_selector
        .iter()
        .flatten()
        .all(|(key, value)| node.labels.get(key) == Some(value));
    let required = spec
        .affinity
        .as_ref()
        .and_then(|affinity| affinity.node_affinity.as_ref())
        .and_then(|affinity| {
            affinity
                .required_during_scheduling_ignored_during_execution
                .as_ref()
        });
    // one of the terms is enough
    is_selected
        && required.is_none_or(|required| {
            let mut terms = required.node_selector_terms.iter();
            terms.any(|term| matches(term, node))
        })
}

/// A term that asks for nothing selects nothing.
fn matches(term: &NodeSelectorTerm, node: &AdmittingNode) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    if expressions.is_empty() && fields.is_empty() {
        return false;
    }
    let of_label = |asked: &NodeSelectorRequirement| {
        let value = node.labels.get(&asked.key).map(String::as_str);
        holds(asked, value)
    };
    let of_field = |asked: &NodeSelectorRequirement| {
        let value = (asked.key == "metadata.name").then_some(node.name.as_str());
        holds(asked, value)
    };
    expressions.iter().all(of_label) && fields.iter().all(of_field)
}

/// An operator that does not exist, or has the wrong number of values, holds for no node.
fn holds(asked: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = asked.values.as_deref().unwrap_or_default();
    let is_one = value.is_some_and(|value| values.iter().any(|v| v == value));
    let compared = || match (value?.parse::<i64>(), values) {
        (Ok(value), [bound]) => Some(value.cmp(&bound.parse::<i64>().ok()?)),
        _ => None,
    };
    match asked.operator.as_str() {
        "In" => is_one,
        "NotIn" => !values.is_empty() && !is_one,
        "Exists" => values.is_empty() && value.is_some(),
        "DoesNotExist" => values.is_empty() && value.is_none(),
        "Gt" => compared().is_some_and(std::cmp::Ordering::is_gt),
        "Lt" => compared().is_some_and(std::cmp::Ordering::is_lt),
        _ => false,
    }
}
