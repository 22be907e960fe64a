//! Printing: stdout for what was asked, stderr for what there is to say about it.

use crate::error::ClientError;
use serde::Serialize;
use serde_json::Value;
use std::io::{self, Write};

pub(crate) fn print(text: &str) -> Result<(), ClientError> {
    print_bytes(text.as_bytes())
}

pub(crate) fn print_bytes(bytes: &[u8]) -> Result<(), ClientError> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()?;
    Ok(())
}

/// A line on stderr. A stderr that is closed is nobody who could be told so.
pub(crate) fn complain(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// As kubectl's `-o json`: four spaces, keys in order.
pub(crate) fn json(value: &Value) -> Result<String, ClientError> {
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
    sorted(value)
        .serialize(&mut serializer)
        .map_err(|e| ClientError::Said(e.to_string()))?;
    out.push(b'\n');
    String::from_utf8(out).map_err(|e| ClientError::Said(e.to_string()))
}

/// As kubectl's `-o yaml`: keys in order, lists not indented.
pub(crate) fn yaml(value: &Value) -> Result<String, ClientError> {
    let options = serde_saphyr::ser_options! {
        folded_wrap_chars: usize::MAX,
        compact_list_indent: true,
    };
    let mut out = String::new();
    serde_saphyr::to_fmt_writer_with_options(&mut out, &sorted(value), options)
        .map_err(|e| ClientError::Said(e.to_string()))?;
    if !out.ends_with('\n') {
        out.push('\n');
    }
    Ok(out)
}

/// Keys in order, however this program's JSON maps are built.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| key.as_str());
            entries
                .into_iter()
                .map(|(key, value)| (key.clone(), sorted(value)))
                .collect()
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn objects_are_written_as_kubectl_writes_them() {
        let value = json!({
            "metadata": { "name": "a", "labels": { "b": "true", "a": "1" } },
            "kind": "Pod",
            "apiVersion": "v1",
            "spec": { "containers": [{ "name": "x", "args": ["-c", "a\nb\n"] }], "volumes": [], "z": null },
        });
        assert_eq!(
            yaml(&value).unwrap(),
            "apiVersion: v1\nkind: Pod\nmetadata:\n  labels:\n    a: \"1\"\n    b: \"true\"\n  name: a\nspec:\n  containers:\n  - args:\n    - -c\n    - |\n      a\n      b\n    name: x\n  volumes: []\n  z: null\n"
        );
        let json = json(&value).unwrap();
        assert!(json.starts_with("{\n    \"apiVersion\": \"v1\",\n    \"kind\": \"Pod\",\n    \"metadata\": {\n        \"labels\": {\n            \"a\": \"1\""), "{json}");
    }
}
