//! Fills in what a manifest leaves out, as the API server does. Source: `pkg/apis/core/v1/defaults.go`.

use k8s_openapi::api::core::v1::{
    Container, EmptyDirVolumeSource, EphemeralContainer, HTTPGetAction, Pod, PodSpec, Probe, Volume,
};

pub(crate) fn fill_in(pod: &mut Pod) {
    default_text(&mut pod.metadata.namespace, "default");
    pod.status = None;
    let spec = pod.spec.get_or_insert_default();
    default_text(&mut spec.restart_policy, "Always");
    default_text(&mut spec.dns_policy, "ClusterFirst");
    default_text(&mut spec.scheduler_name, "default-scheduler");
    spec.termination_grace_period_seconds.get_or_insert(30);
    spec.enable_service_links.get_or_insert(true);
    spec.security_context.get_or_insert_default();
    let host_network = spec.host_network == Some(true);
    for container in containers_mut(spec) {
        container_defaults(container, host_network);
    }
    for volume in spec.volumes.iter_mut().flatten() {
        volume_defaults(volume);
    }
}

fn containers_mut(spec: &mut PodSpec) -> impl Iterator<Item = &mut Container> {
    spec.init_containers
        .iter_mut()
        .flatten()
        .chain(&mut spec.containers)
}

fn container_defaults(container: &mut Container, host_network: bool) {
    if container
        .image_pull_policy
        .as_deref()
        .unwrap_or_default()
        .is_empty()
    {
        let image = container.image.as_deref().unwrap_or_default();
        container.image_pull_policy = Some(pull_policy(image).to_owned());
    }
    default_text(
        &mut container.termination_message_path,
        "/dev/termination-log",
    );
    default_text(&mut container.termination_message_policy, "File");
    for port in container.ports.iter_mut().flatten() {
        default_text(&mut port.protocol, "TCP");
        if host_network && port.host_port.unwrap_or(0) == 0 {
            port.host_port = Some(port.container_port);
        }
    }
    let probes = [
        &mut container.liveness_probe,
        &mut container.readiness_probe,
        &mut container.startup_probe,
    ];
    for probe in probes.into_iter().flatten() {
        probe_defaults(probe);
    }
    if let Some(lifecycle) = &mut container.lifecycle {
        for hook in [&mut lifecycle.post_start, &mut lifecycle.pre_stop] {
            if let Some(get) = hook.as_mut().and_then(|hook| hook.http_get.as_mut()) {
                http_get_defaults(get);
            }
        }
    }
    let resources = container.resources.get_or_insert_default();
    if let Some(limits) = &resources.limits {
        let requests = resources.requests.get_or_insert_default();
        for (name, quantity) in limits {
            if !requests.contains_key(name) {
                requests.insert(name.clone(), quantity.clone());
            }
        }
    }
    for variable in container.env.iter_mut().flatten() {
        let field = variable
            .value_from
            .as_mut()
            .and_then(|s| s.field_ref.as_mut());
        if let Some(field) = field {
            default_text(&mut field.api_version, "v1");
        }
    }
}

pub(crate) fn ephemeral(container: &mut EphemeralContainer) {
    let policy = container.image_pull_policy.as_deref().unwrap_or_default();
    if policy.is_empty() {
        let image = container.image.as_deref().unwrap_or_default();
        container.image_pull_policy = Some(pull_policy(image).to_owned());
    }
    default_text(
        &mut container.termination_message_path,
        "/dev/termination-log",
    );
    default_text(&mut container.termination_message_policy, "File");
    for variable in container.env.iter_mut().flatten() {
        let source = variable.value_from.as_mut();
        if let Some(field) = source.and_then(|source| source.field_ref.as_mut()) {
            default_text(&mut field.api_version, "v1");
        }
    }
}

/// A zero is nothing said, as in the API server.
fn probe_defaults(probe: &mut Probe) {
    for (field, value) in [
        (&mut probe.timeout_seconds, 1),
        (&mut probe.period_seconds, 10),
        (&mut probe.success_threshold, 1),
        (&mut probe.failure_threshold, 3),
    ] {
        if field.unwrap_or(0) == 0 {
            *field = Some(value);
        }
    }
    if let Some(get) = &mut probe.http_get {
        http_get_defaults(get);
    }
    if let Some(grpc) = &mut probe.grpc {
        grpc.service.get_or_insert_default();
    }
}

fn http_get_defaults(get: &mut HTTPGetAction) {
    default_text(&mut get.path, "/");
    default_text(&mut get.scheme, "HTTP");
}

/// `Always` for the tag `latest`, said or implied; what has another tag or a digest stays as it is once it is here.
pub(crate) fn pull_policy(image: &str) -> &'static str {
    if image.contains('@') {
        return "IfNotPresent";
    }
    let last = image.rsplit('/').next().unwrap_or(image);
    match last.split_once(':') {
        None | Some((_, "latest")) => "Always",
        Some(_) => "IfNotPresent",
    }
}

fn volume_defaults(volume: &mut Volume) {
    if let Some(host) = &mut volume.host_path {
        host.type_.get_or_insert_default();
    }
    let only_a_name = Volume {
        name: volume.name.clone(),
        ..Volume::default()
    };
    if *volume == only_a_name {
        volume.empty_dir = Some(EmptyDirVolumeSource::default());
    }
}

fn default_text(field: &mut Option<String>, value: &str) {
    if field.as_deref().unwrap_or_default().is_empty() {
        *field = Some(value.to_owned());
    }
}
