//! The containers of a description.

use super::{date, probes};
use k8s_openapi::api::core::v1::{Container, ContainerState, ContainerStatus, EnvVar};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use std::collections::BTreeMap;
use std::fmt::Write;

pub(super) fn describe(
    out: &mut String,
    heading: &str,
    containers: &[Container],
    statuses: &[ContainerStatus],
) {
    let _ = writeln!(out, "{heading}:");
    for container in containers {
        let status = statuses.iter().find(|s| s.name == container.name);
        one(out, container, status);
    }
}

fn one(out: &mut String, container: &Container, status: Option<&ContainerStatus>) {
    let _ = writeln!(out, "  {}:", container.name);
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(out, "    {name}:\t{value}");
    };
    if let Some(status) = status {
        line(
            "Container ID",
            status.container_id.as_deref().unwrap_or_default(),
        );
    }
    line("Image", container.image.as_deref().unwrap_or_default());
    if let Some(status) = status {
        line("Image ID", &status.image_id);
    }
    let ports = container.ports.as_deref().unwrap_or_default();
    let list = |port: &dyn Fn(usize) -> i32| {
        let each = ports.iter().enumerate().map(|(index, p)| {
            let protocol = p.protocol.as_deref().unwrap_or("TCP");
            format!("{}/{protocol}", port(index))
        });
        each.collect::<Vec<_>>().join(", ")
    };
    let own = list(&|index| ports[index].container_port);
    let host = list(&|index| ports[index].host_port.unwrap_or(0));
    for (name, text) in [("Port", own), ("Host Port", host)] {
        if ports.len() > 1 {
            line(&format!("{name}s"), &text);
        } else {
            line(name, if text.is_empty() { "<none>" } else { &text });
        }
    }
    let seccomp = container
        .security_context
        .as_ref()
        .and_then(|c| c.seccomp_profile.as_ref());
    if let Some(profile) = seccomp {
        line("SeccompProfile", &profile.type_);
    }
    for (name, words) in [("Command", &container.command), ("Args", &container.args)] {
        let words = words.as_deref().unwrap_or_default();
        if !words.is_empty() {
            let _ = writeln!(out, "    {name}:");
        }
        for word in words {
            // kubectl indents the further lines of a word under its first.
            for text in word.trim_end_matches('\n').split('\n') {
                let _ = writeln!(out, "      {text}");
            }
        }
    }
    if let Some(status) = status {
        state(out, "State", status.state.as_ref());
        if status
            .last_state
            .as_ref()
            .is_some_and(|s| s.terminated.is_some())
        {
            state(out, "Last State", status.last_state.as_ref());
        }
        let ready = if status.ready { "True" } else { "False" };
        let _ = writeln!(out, "    Ready:\t{ready}");
        let _ = writeln!(out, "    Restart Count:\t{}", status.restart_count);
    }
    if let Some(resources) = &container.resources {
        quantities(out, "Limits", resources.limits.as_ref());
        quantities(out, "Requests", resources.requests.as_ref());
    }
    probes::describe(out, container);
    environment(out, container.env.as_deref().unwrap_or_default());
    mounts(out, container);
}

fn state(out: &mut String, name: &str, state: Option<&ContainerState>) {
    let state = state.cloned().unwrap_or_default();
    let mut lines = Vec::new();
    let word = if let Some(running) = state.running {
        if let Some(started) = &running.started_at {
            lines.push(("Started", date(started)));
        }
        "Running"
    } else if let Some(terminated) = state.terminated {
        for (name, text) in [
            ("Reason", terminated.reason),
            ("Message", terminated.message),
        ] {
            if let Some(text) = text.filter(|t| !t.is_empty()) {
                lines.push((name, text));
            }
        }
        lines.push(("Exit Code", terminated.exit_code.to_string()));
        if let Some(signal) = terminated.signal.filter(|s| *s > 0) {
            lines.push(("Signal", signal.to_string()));
        }
        for (name, time) in [
            ("Started", terminated.started_at),
            ("Finished", terminated.finished_at),
        ] {
            let time = time.as_ref().map(date);
            lines.push((name, time.unwrap_or_else(|| "<unknown>".to_owned())));
        }
        "Terminated"
    } else {
        if let Some(reason) = state
            .waiting
            .and_then(|w| w.reason)
            .filter(|r| !r.is_empty())
        {
            lines.push(("Reason", reason));
        }
        "Waiting"
    };
    let _ = writeln!(out, "    {name}:\t{word}");
    for (name, value) in lines {
        let _ = writeln!(out, "      {name}:\t{value}");
    }
}

fn quantities(out: &mut String, name: &str, list: Option<&BTreeMap<String, Quantity>>) {
    let list = list.filter(|l| !l.is_empty());
    if list.is_some() {
        let _ = writeln!(out, "    {name}:");
    }
    for (resource, quantity) in list.into_iter().flatten() {
        let _ = writeln!(out, "      {resource}:\t{}", quantity.0);
    }
}

fn environment(out: &mut String, env: &[EnvVar]) {
    if env.is_empty() {
        out.push_str("    Environment:\t<none>\n");
        return;
    }
    out.push_str("    Environment:\n");
    for var in env {
        let field = var.value_from.as_ref().and_then(|v| v.field_ref.as_ref());
        let resource = var
            .value_from
            .as_ref()
            .and_then(|v| v.resource_field_ref.as_ref());
        let value = if let Some(field) = field {
            let version = field.api_version.as_deref().unwrap_or("v1");
            format!(" ({version}:{})", field.field_path)
        } else if let Some(resource) = resource {
            let container = resource.container_name.as_deref().unwrap_or_default();
            format!(" ({container}:{})", resource.resource)
        } else {
            var.value.clone().unwrap_or_default()
        };
        for (index, text) in value.split('\n').enumerate() {
            let name = if index == 0 {
                format!("{}:", var.name)
            } else {
                String::new()
            };
            let _ = writeln!(out, "      {name}\t{text}");
        }
    }
}

fn mounts(out: &mut String, container: &Container) {
    let mut mounts = container.volume_mounts.clone().unwrap_or_default();
    if mounts.is_empty() {
        out.push_str("    Mounts:\t<none>\n");
        return;
    }
    mounts.sort_by(|a, b| a.mount_path.cmp(&b.mount_path));
    out.push_str("    Mounts:\n");
    for mount in mounts {
        let mut flags = if mount.read_only == Some(true) {
            "ro"
        } else {
            "rw"
        }
        .to_owned();
        if let Some(sub) = mount.sub_path.filter(|s| !s.is_empty()) {
            let _ = write!(flags, ",path=\"{sub}\"");
        }
        let _ = writeln!(
            out,
            "      {} from {} ({flags})",
            mount.mount_path, mount.name
        );
    }
}
