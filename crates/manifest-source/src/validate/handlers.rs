//! Probes and hooks: what is asked, of whom, how often.

use super::{names, not_negative};
use crate::field_path::{FieldPath, Findings};
use k8s_openapi::api::core::v1::{
    Container, ExecAction, GRPCAction, HTTPGetAction, Lifecycle, LifecycleHandler, PodSpec, Probe,
    SleepAction, TCPSocketAction,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::collections::BTreeSet;

const ONLY_SIDECARS: &str = "may not be set for init containers without restartPolicy=Always";
const PORT_RANGE: &str = "must be between 1 and 65535, inclusive";

/// Beside them, real-time signals: `SIGRTMIN`, `SIGRTMIN+1` to `SIGRTMAX`.
const SIGNALS: [&str; 34] = [
    "SIGABRT",
    "SIGALRM",
    "SIGBUS",
    "SIGCHLD",
    "SIGCLD",
    "SIGCONT",
    "SIGFPE",
    "SIGHUP",
    "SIGILL",
    "SIGINT",
    "SIGIO",
    "SIGIOT",
    "SIGKILL",
    "SIGPIPE",
    "SIGPOLL",
    "SIGPROF",
    "SIGPWR",
    "SIGQUIT",
    "SIGSEGV",
    "SIGSTKFLT",
    "SIGSTOP",
    "SIGSYS",
    "SIGTERM",
    "SIGTRAP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGUSR1",
    "SIGUSR2",
    "SIGVTALRM",
    "SIGWINCH",
    "SIGXCPU",
    "SIGXFSZ",
];

fn is_signal(name: &str) -> bool {
    let real_time = |base: &str, sign: char, most: u8| {
        let rest = name.strip_prefix(base)?;
        let number = rest.strip_prefix(sign).and_then(|n| n.parse().ok());
        Some(rest.is_empty() || number.is_some_and(|n: u8| (1..=most).contains(&n)))
    };
    SIGNALS.contains(&name)
        || real_time("SIGRTMIN", '+', 15) == Some(true)
        || real_time("SIGRTMAX", '-', 14) == Some(true)
}

/// `is_plain_init`: an init container that has to end, so that nothing can be asked of it.
pub(super) fn check(
    container: &Container,
    is_plain_init: bool,
    spec: &PodSpec,
    path: &FieldPath<'_>,
    findings: &mut Findings,
) {
    let probes = [
        ("livenessProbe", &container.liveness_probe),
        ("readinessProbe", &container.readiness_probe),
        ("startupProbe", &container.startup_probe),
    ];
    if is_plain_init {
        let set = probes.iter().filter(|(_, p)| p.is_some()).map(|(k, _)| *k);
        for key in container.lifecycle.iter().map(|_| "lifecycle").chain(set) {
            findings.forbidden(&path.key(key), ONLY_SIDECARS);
        }
        return;
    }
    let ports = container
        .ports
        .iter()
        .flatten()
        .filter_map(|port| port.name.as_deref())
        .collect();
    let handlers = Handlers {
        ports,
        grace: spec.termination_grace_period_seconds.unwrap_or(30),
        names_os: spec.os.is_some(),
    };
    if let Some(lifecycle) = &container.lifecycle {
        handlers.lifecycle(lifecycle, &path.key("lifecycle"), findings);
    }
    for (key, probe) in probes {
        if let Some(probe) = probe {
            handlers.probe(key, probe, &path.key(key), findings);
        }
    }
}

/// What handlers of one container may refer to.
struct Handlers<'c> {
    ports: BTreeSet<&'c str>,
    /// The pod's, in seconds.
    grace: i64,
    /// Whether the pod says for which system it is.
    names_os: bool,
}

/// Every kind of handler that there is; a probe has no sleep, a hook no grpc.
#[derive(Default)]
struct Handler<'c> {
    exec: Option<&'c ExecAction>,
    http_get: Option<&'c HTTPGetAction>,
    tcp_socket: Option<&'c TCPSocketAction>,
    grpc: Option<&'c GRPCAction>,
    sleep: Option<&'c SleepAction>,
}

impl Handlers<'_> {
    fn probe(&self, kind: &str, probe: &Probe, path: &FieldPath<'_>, findings: &mut Findings) {
        let handler = Handler {
            exec: probe.exec.as_ref(),
            http_get: probe.http_get.as_ref(),
            tcp_socket: probe.tcp_socket.as_ref(),
            grpc: probe.grpc.as_ref(),
            sleep: None,
        };
        self.handler(&handler, path, findings);
        for (key, value) in [
            ("initialDelaySeconds", probe.initial_delay_seconds),
            ("timeoutSeconds", probe.timeout_seconds),
            ("periodSeconds", probe.period_seconds),
            ("successThreshold", probe.success_threshold),
            ("failureThreshold", probe.failure_threshold),
        ] {
            not_negative(value.map(i64::from), &path.key(key), findings);
        }
        let key = path.key("terminationGracePeriodSeconds");
        let grace = probe.termination_grace_period_seconds;
        if let Some(grace) = grace.filter(|grace| *grace <= 0) {
            findings.invalid(&key, grace, "must be greater than 0");
        }
        if kind == "readinessProbe" {
            if let Some(grace) = grace {
                findings.invalid(&key, grace, "must not be set for readinessProbes");
            }
        } else if let Some(times) = probe.success_threshold.filter(|times| *times != 1) {
            findings.invalid(&path.key("successThreshold"), times, "must be 1");
        }
    }

    fn lifecycle(&self, lifecycle: &Lifecycle, path: &FieldPath<'_>, findings: &mut Findings) {
        for (key, hook) in [
            ("postStart", &lifecycle.post_start),
            ("preStop", &lifecycle.pre_stop),
        ] {
            if let Some(hook) = hook {
                self.hook(hook, &path.key(key), findings);
            }
        }
        if let Some(signal) = lifecycle.stop_signal.as_deref() {
            let key = path.key("stopSignal");
            if !self.names_os {
                let detail = "may not be set for containers with empty `spec.os.name`";
                findings.forbidden(&key, detail);
            } else if !is_signal(signal) {
                findings.unsupported(&key, signal, &SIGNALS);
            }
        }
    }

    fn hook(&self, hook: &LifecycleHandler, path: &FieldPath<'_>, findings: &mut Findings) {
        let handler = Handler {
            exec: hook.exec.as_ref(),
            http_get: hook.http_get.as_ref(),
            tcp_socket: None,
            grpc: None,
            sleep: hook.sleep.as_ref(),
        };
        self.handler(&handler, path, findings);
    }

    fn handler(&self, handler: &Handler<'_>, path: &FieldPath<'_>, findings: &mut Findings) {
        let mut given = 0;
        let mut first = |key: &str, findings: &mut Findings| {
            given += 1;
            if given > 1 {
                let path = path.key(key);
                findings.forbidden(&path, "may not specify more than 1 handler type");
            }
            given == 1
        };
        if let Some(exec) = handler.exec
            && first("exec", findings)
            && exec.command.iter().flatten().next().is_none()
        {
            let key = path.key("exec");
            findings.required(&key.key("command"), "");
        }
        if let Some(get) = handler.http_get
            && first("httpGet", findings)
        {
            self.http_get(get, &path.key("httpGet"), findings);
        }
        if let Some(tcp) = handler.tcp_socket
            && first("tcpSocket", findings)
        {
            let key = path.key("tcpSocket");
            self.port(&tcp.port, &key.key("port"), findings);
        }
        if let Some(grpc) = handler.grpc
            && first("grpc", findings)
        {
            let key = path.key("grpc");
            let port = IntOrString::Int(grpc.port);
            self.port(&port, &key.key("port"), findings);
        }
        if let Some(sleep) = handler.sleep
            && first("sleep", findings)
        {
            let grace = self.grace;
            if !(0..=grace).contains(&sleep.seconds) {
                let detail = format!(
                    "must be non-negative and less than terminationGracePeriodSeconds ({grace})"
                );
                findings.invalid(&path.key("sleep"), sleep.seconds, &detail);
            }
        }
        if given == 0 {
            findings.required(path, "must specify a handler type");
        }
    }

    fn http_get(&self, get: &HTTPGetAction, path: &FieldPath<'_>, findings: &mut Findings) {
        self.port(&get.port, &path.key("port"), findings);
        super::one_of(
            get.scheme.as_deref(),
            &["HTTP", "HTTPS"],
            &path.key("scheme"),
            findings,
        );
        // Stricter than upstream, where every try fails.
        if let Some(host) = get.host.as_deref()
            && host.contains(|c: char| c.is_whitespace() || "/?#@".contains(c))
        {
            let detail = "must be a host name or an IP address";
            findings.invalid(&path.key("host"), host, detail);
        }
        let key = path.key("httpHeaders");
        for header in get.http_headers.iter().flatten() {
            if let Some(wrong) = names::header_name(&header.name) {
                findings.invalid(&key, &header.name, wrong);
            } else if header.value.chars().any(|c| c.is_control() && c != '\t') {
                // Stricter than upstream, where every try fails.
                findings.invalid(&key, &header.value, "must not contain control characters");
            }
        }
    }

    fn port(&self, port: &IntOrString, path: &FieldPath<'_>, findings: &mut Findings) {
        match port {
            IntOrString::Int(number) => {
                if !(1..=65_535).contains(number) {
                    findings.invalid(path, number, PORT_RANGE);
                }
            }
            IntOrString::String(name) => {
                if let Some(wrong) = names::port_name(name) {
                    findings.invalid(path, name, wrong);
                } else if !self.ports.contains(name.as_str()) {
                    // Stricter than upstream, where every try fails.
                    findings.not_found(path, name);
                }
            }
        }
    }
}
