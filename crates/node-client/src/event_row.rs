//! An event as one row of a table, and among the events of a description.

use crate::age;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;

pub(crate) const HEADINGS: [&str; 5] = ["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"];
pub(crate) const WIDE_HEADINGS: [&str; 10] = [
    "LAST SEEN",
    "TYPE",
    "REASON",
    "OBJECT",
    "SUBOBJECT",
    "SOURCE",
    "MESSAGE",
    "FIRST SEEN",
    "COUNT",
    "NAME",
];

fn text(field: Option<&String>) -> String {
    field.cloned().unwrap_or_default()
}

pub(crate) fn row(event: &Event, wide: bool, now: Timestamp) -> Vec<String> {
    let object = &event.involved_object;
    let kind = object.kind.as_deref().unwrap_or_default().to_lowercase();
    let mut row = vec![
        age::since(event.last_timestamp.as_ref(), now),
        text(event.type_.as_ref()),
        text(event.reason.as_ref()),
        format!("{kind}/{}", object.name.as_deref().unwrap_or_default()),
    ];
    let message = event.message.as_deref().unwrap_or_default();
    let message = message.trim().to_owned();
    if wide {
        let source = event.source.clone().unwrap_or_default();
        let source: Vec<_> = [source.component, source.host]
            .into_iter()
            .flatten()
            .collect();
        row.extend([
            text(object.field_path.as_ref()),
            source.join(", "),
            message,
            age::since(event.first_timestamp.as_ref(), now),
            event.count.unwrap_or(1).max(1).to_string(),
            text(event.metadata.name.as_ref()),
        ]);
    } else {
        row.push(message);
    }
    row
}

/// Type, reason, age, source and message, with tabs between.
pub(crate) fn described(event: &Event, now: Timestamp) -> String {
    let count = event.count.unwrap_or(1);
    let first = age::since(event.first_timestamp.as_ref(), now);
    let interval = if count > 1 {
        let last = age::since(event.last_timestamp.as_ref(), now);
        format!("{last} (x{count} over {first})")
    } else {
        first
    };
    let source = event.source.as_ref().and_then(|s| s.component.as_deref());
    format!(
        "{}\t{}\t{interval}\t{}\t{}",
        event.type_.as_deref().unwrap_or_default(),
        event.reason.as_deref().unwrap_or_default(),
        source.unwrap_or_default(),
        event.message.as_deref().unwrap_or_default().trim(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn events_are_rows() {
        let event: Event = serde_json::from_value(json!({
            "metadata": { "name": "p.1", "namespace": "default" },
            "involvedObject": { "kind": "Pod", "name": "p", "fieldPath": "spec.containers{a}" },
            "type": "Warning", "reason": "BackOff", "message": "Back-off restarting\n", "count": 3,
            "firstTimestamp": "2026-11-21T09:50:00Z", "lastTimestamp": "2026-11-21T09:59:00Z",
            "source": { "component": "kubelet", "host": "n" },
        }))
        .unwrap();
        let now = "2026-11-21T10:00:00Z".parse().unwrap();
        assert_eq!(
            row(&event, false, now),
            ["60s", "Warning", "BackOff", "pod/p", "Back-off restarting"]
        );
        assert_eq!(row(&event, true, now).len(), WIDE_HEADINGS.len());
        assert_eq!(
            described(&event, now),
            "Warning\tBackOff\t60s (x3 over 10m)\tkubelet\tBack-off restarting"
        );
    }
}
