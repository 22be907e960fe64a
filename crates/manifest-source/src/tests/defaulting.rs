//! What is filled in.

use super::{admitted, with_container, with_spec};
use pod_model::pod::image_pull_policy;
use pod_model::{ContainerRole, ImagePullPolicy, QosClass};

#[test]
fn the_defaults_of_a_pod_are_the_api_servers() {
    let pod = admitted(&with_spec(""));
    let spec = pod.spec();
    assert_eq!(pod.name().namespace, "default");
    assert_eq!(spec.restart_policy.as_deref(), Some("Always"));
    assert_eq!(spec.dns_policy.as_deref(), Some("ClusterFirst"));
    assert_eq!(spec.scheduler_name.as_deref(), Some("default-scheduler"));
    assert_eq!(spec.termination_grace_period_seconds, Some(30));
    assert_eq!(spec.enable_service_links, Some(true));
    assert!(spec.security_context.is_some());
    let container = &spec.containers[0];
    assert_eq!(
        container.termination_message_path.as_deref(),
        Some("/dev/termination-log")
    );
    assert_eq!(
        container.termination_message_policy.as_deref(),
        Some("File")
    );
    assert_eq!(pod.qos(), QosClass::BestEffort);
}

#[test]
fn the_pull_policy_follows_the_tag() {
    use ImagePullPolicy::{Always, IfNotPresent, Never};
    for (fields, policy) in [
        ("image: busybox", Always),
        ("image: busybox:latest", Always),
        ("image: busybox:1.36", IfNotPresent),
        ("image: registry:5000/busybox", Always),
        ("image: registry:5000/busybox:1", IfNotPresent),
        ("image: 'busybox@sha256:ab'", IfNotPresent),
        ("image: 'busybox:latest@sha256:ab'", IfNotPresent),
        ("image: busybox\n  imagePullPolicy: Never", Never),
        ("image: busybox\n  imagePullPolicy: ''", Always),
    ] {
        let pod = admitted(&with_spec(&format!("containers:\n- name: c\n  {fields}")));
        assert_eq!(
            image_pull_policy(&pod.spec().containers[0]),
            policy,
            "{fields}"
        );
    }
}

#[test]
fn requests_follow_limits_and_ports_are_tcp() {
    let pod = admitted(&with_container(
        "resources: {limits: {cpu: 1, memory: 1Gi}, requests: {cpu: 0.5}}\nports: [{containerPort: 80}]",
    ));
    let container = &pod.spec().containers[0];
    let requests = container
        .resources
        .as_ref()
        .and_then(|r| r.requests.clone())
        .unwrap_or_default();
    let requests: Vec<_> = requests
        .iter()
        .map(|(k, v)| (k.as_str(), v.0.as_str()))
        .collect();
    assert_eq!(requests, [("cpu", "0.5"), ("memory", "1Gi")]);
    let port = &container.ports.as_deref().unwrap_or_default()[0];
    assert_eq!(
        (port.protocol.as_deref(), port.host_port),
        (Some("TCP"), None)
    );
    assert_eq!(pod.qos(), QosClass::Burstable);
    let pod = admitted(&with_container(
        "resources: {limits: {cpu: 1, memory: 1Gi}}",
    ));
    assert_eq!(pod.qos(), QosClass::Guaranteed);
}

#[test]
fn on_the_hosts_network_a_port_is_the_hosts() {
    let pod = admitted(&with_spec(
        "hostNetwork: true\ncontainers: [{name: c, image: x, ports: [{containerPort: 80}]}]",
    ));
    assert_eq!(
        pod.spec().containers[0]
            .ports
            .as_deref()
            .unwrap_or_default()[0]
            .host_port,
        Some(80)
    );
}

#[test]
fn a_volume_of_no_type_is_an_empty_dir() {
    let pod = admitted(&with_spec(
        "volumes: [{name: v}, {name: h, hostPath: {path: /x}}]",
    ));
    let volumes = pod.spec().volumes.as_deref().unwrap_or_default();
    assert!(volumes[0].empty_dir.is_some());
    assert!(volumes[1].empty_dir.is_none());
    assert_eq!(
        volumes[1]
            .host_path
            .as_ref()
            .and_then(|h| h.type_.as_deref()),
        Some("")
    );
}

#[test]
fn containers_come_in_their_order_of_start() {
    let pod = admitted(&with_spec(
        "initContainers: [{name: b, image: x}, {name: a, image: x}]\ncontainers: [{name: d, image: x}, {name: c, image: x}]",
    ));
    let names: Vec<_> = pod
        .containers()
        .map(|(role, name, _)| (role, name.as_str()))
        .collect();
    use ContainerRole::{Init, Main};
    assert_eq!(names, [(Init, "b"), (Init, "a"), (Main, "d"), (Main, "c")]);
}
