//! The node's pods and events as `v1` objects.

use crate::node::{NodeEvent, PodView};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use pod_model::WallTime;

pub(crate) fn timestamp(at: WallTime) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(at.0)).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Whole seconds, as the API has them.
fn time(at: WallTime) -> Time {
    let seconds = at.0.div_euclid(1_000_000_000);
    Time(Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH))
}

/// The pod as an API server would show it: with its status, its times, and its node.
pub fn pod_of(view: &PodView, node_name: &str) -> Pod {
    let mut pod = view.pod.pod().clone();
    let metadata = &mut pod.metadata;
    metadata
        .creation_timestamp
        .get_or_insert_with(|| time(view.seen));
    if let Some((since, grace)) = view.deleting {
        let seconds = i64::try_from(grace.as_secs()).unwrap_or(i64::MAX);
        let ends = since
            .0
            .saturating_add(seconds.saturating_mul(1_000_000_000));
        metadata.deletion_timestamp = Some(time(WallTime(ends)));
        metadata.deletion_grace_period_seconds = Some(seconds);
    }
    if let Some(spec) = &mut pod.spec {
        spec.node_name.get_or_insert_with(|| node_name.to_owned());
    }
    pod.status = Some((*view.status).clone());
    pod
}

/// The event as the kubelet would have written it to an API server.
pub fn event_of(event: &NodeEvent, node_name: &str) -> Event {
    Event {
        metadata: ObjectMeta {
            // Named as client-go names them: the object and a number that is its own.
            name: Some(format!("{}.{:x}", event.pod, event.first.0)),
            namespace: Some(event.namespace.clone()),
            creation_timestamp: Some(time(event.first)),
            ..ObjectMeta::default()
        },
        involved_object: ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            namespace: Some(event.namespace.clone()),
            name: Some(event.pod.clone()),
            uid: Some(event.uid.to_string()),
            field_path: event.field_path.clone(),
            ..ObjectReference::default()
        },
        reason: Some(event.reason.clone()),
        message: Some(event.message.clone()),
        type_: Some(event.kind.to_owned()),
        count: i32::try_from(event.count).ok(),
        first_timestamp: Some(time(event.first)),
        last_timestamp: Some(time(event.last)),
        reporting_component: Some("kubelet".to_owned()),
        reporting_instance: Some(node_name.to_owned()),
        source: Some(EventSource {
            component: Some("kubelet".to_owned()),
            host: Some(node_name.to_owned()),
        }),
        ..Event::default()
    }
}
