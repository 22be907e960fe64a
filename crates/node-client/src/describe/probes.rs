//! The probes of a container's description, each on a line.

use k8s_openapi::api::core::v1::{Container, HTTPGetAction, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::fmt::Write;

pub(super) fn describe(out: &mut String, container: &Container) {
    for (name, probe) in [
        ("Liveness", &container.liveness_probe),
        ("Readiness", &container.readiness_probe),
        ("Startup", &container.startup_probe),
    ] {
        if let Some(probe) = probe {
            let _ = writeln!(out, "    {name}:\t{} {}", handler(probe), times(probe));
        }
    }
}

/// What a manifest leaves out has the API's defaults, as a pod of an API server would have them.
fn times(probe: &Probe) -> String {
    let or = |value: Option<i32>, default| value.filter(|value| *value != 0).unwrap_or(default);
    format!(
        "delay={}s timeout={}s period={}s #success={} #failure={}",
        or(probe.initial_delay_seconds, 0),
        or(probe.timeout_seconds, 1),
        or(probe.period_seconds, 10),
        or(probe.success_threshold, 1),
        or(probe.failure_threshold, 3),
    )
}

fn handler(probe: &Probe) -> String {
    if let Some(exec) = &probe.exec {
        let command = exec.command.as_deref().unwrap_or_default();
        format!("exec [{}]", command.join(" "))
    } else if let Some(get) = &probe.http_get {
        format!("http-get {}", url(get))
    } else if let Some(tcp) = &probe.tcp_socket {
        let host = tcp.host.as_deref().unwrap_or_default();
        format!("tcp-socket {host}:{}", port(&tcp.port))
    } else if let Some(grpc) = &probe.grpc {
        let service = grpc.service.as_deref().unwrap_or_default();
        format!("grpc <pod>:{} {service}", grpc.port)
    } else {
        "unknown".to_owned()
    }
}

fn url(get: &HTTPGetAction) -> String {
    let scheme = get.scheme.as_deref().filter(|scheme| !scheme.is_empty());
    let scheme = scheme.unwrap_or("HTTP").to_lowercase();
    let host = get.host.as_deref().unwrap_or_default();
    let brackets = if host.contains(':') {
        ("[", "]")
    } else {
        ("", "")
    };
    let path = get.path.as_deref().filter(|path| !path.is_empty());
    let path = escaped(path.unwrap_or("/"));
    let slash = if path.starts_with('/') { "" } else { "/" };
    format!(
        "{scheme}://{}{host}{}:{}{slash}{path}",
        brackets.0,
        brackets.1,
        port(&get.port)
    )
}

/// As Go writes the path of a URL: what may stand in a path stays, a query's `?` does not.
fn escaped(path: &str) -> String {
    let mut out = String::new();
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@".contains(&byte) {
            out.push(byte.into());
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

fn port(port: &IntOrString) -> String {
    match port {
        IntOrString::Int(number) => number.to_string(),
        IntOrString::String(name) => name.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(probe: serde_json::Value, expected: &str) {
        let container = json!({"name": "c", "livenessProbe": probe});
        let mut out = String::new();
        describe(&mut out, &serde_json::from_value(container).unwrap());
        assert_eq!(out, format!("    Liveness:\t{expected}\n"));
    }

    #[test]
    fn a_probe_is_one_line_as_kubectls() {
        let times = "delay=0s timeout=1s period=10s #success=1 #failure=3";
        let own = json!({
            "exec": {"command": ["cat", "/tmp/healthy"]},
            "initialDelaySeconds": 5, "timeoutSeconds": 2, "periodSeconds": 3, "successThreshold": 4, "failureThreshold": 6,
        });
        check(
            own,
            "exec [cat /tmp/healthy] delay=5s timeout=2s period=3s #success=4 #failure=6",
        );
        for (probe, handler) in [
            (
                json!({"httpGet": {"path": "/healthz", "port": 8080}}),
                "http-get http://:8080/healthz",
            ),
            (
                json!({"httpGet": {"path": "a?b=c", "port": "web", "scheme": "HTTPS", "host": "::1"}}),
                "http-get https://[::1]:web/a%3Fb=c",
            ),
            (json!({"httpGet": {"port": 80}}), "http-get http://:80/"),
            (json!({"tcpSocket": {"port": 5}}), "tcp-socket :5"),
            (
                json!({"tcpSocket": {"port": "db", "host": "h"}}),
                "tcp-socket h:db",
            ),
            (
                json!({"grpc": {"port": 9, "service": "s"}}),
                "grpc <pod>:9 s",
            ),
            (json!({"grpc": {"port": 9}}), "grpc <pod>:9 "),
            (json!({}), "unknown"),
        ] {
            check(probe, &format!("{handler} {times}"));
        }
    }
}
