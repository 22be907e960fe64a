//! Where two specs differ, as the API server understands it (`apiequality.Semantic`): an empty list is as good as none, a quantity is
//! its amount and not its spelling, and what the API's types cannot tell from its absence is nothing.

use crate::field_path::FieldPath;
use k8s_openapi::api::core::v1::PodSpec;
use pod_model::Quantity;
use serde_json::Value;
use std::collections::BTreeSet;

/// Fields whose value is a quantity, or a map of quantities.
const QUANTITIES: [&str; 4] = ["limits", "requests", "sizeLimit", "divisor"];
/// Fields that are maps of data.
const MAPS: [&str; 4] = ["limits", "requests", "nodeSelector", "matchLabels"];
/// Booleans and numbers that are no pointers in the API's types.
const PLAIN: [&str; 9] = [
    "hostNetwork",
    "hostPID",
    "hostIPC",
    "stdin",
    "stdinOnce",
    "tty",
    "readOnly",
    "hostPort",
    "initialDelaySeconds",
];

/// The paths of the fields that differ, the deepest that tell it, in the order of their names.
pub(super) fn differences(before: &PodSpec, after: &PodSpec, path: &FieldPath<'_>) -> Vec<String> {
    let value = |spec: &PodSpec| serde_json::to_value(spec).unwrap_or_default();
    let mut found = Vec::new();
    compare("spec", &value(before), &value(after), path, &mut found);
    found
}

/// `key` is the nearest field's name: that of a map for what is in it.
fn compare(
    key: &str,
    before: &Value,
    after: &Value,
    path: &FieldPath<'_>,
    found: &mut Vec<String>,
) {
    match (before, after) {
        (Value::Object(old), Value::Object(new)) => {
            let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for name in names {
                let of = |map: &serde_json::Map<String, Value>| {
                    map.get(name).cloned().unwrap_or_default()
                };
                let (field, path) = if MAPS.contains(&key) {
                    (key, path.map_key(name))
                } else {
                    (name.as_str(), path.key(name))
                };
                compare(field, &of(old), &of(new), &path, found);
            }
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            for (index, (old, new)) in old.iter().zip(new).enumerate() {
                compare(key, old, new, &path.index(index), found);
            }
        }
        _ if is_same(key, before, after) => {}
        _ => found.push(path.to_string()),
    }
}

fn is_same(key: &str, before: &Value, after: &Value) -> bool {
    let amount = |value: &Value| Quantity::parse(value.as_str()?).ok();
    before == after
        || (is_nothing(key, before) && is_nothing(key, after))
        || (QUANTITIES.contains(&key)
            && amount(before).is_some()
            && amount(before) == amount(after))
}

fn is_nothing(key: &str, value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty() && MAPS.contains(&key),
        Value::Bool(yes) => !yes && PLAIN.contains(&key),
        Value::Number(number) => number.as_i64() == Some(0) && PLAIN.contains(&key),
    }
}
