//! What a probe of the manifest asks for, with every default filled in.

use crate::answer::{Answer, ErrorResult};
use crate::http::{Asker, HttpGet};
use crate::{dial, grpc};
use k8s_openapi::api::core::v1::{Container, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use pod_model::ContainerKey;
use pod_model::probe::ProbeKind;
use std::time::Duration;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) initial_delay: Duration,
    pub(crate) period: Duration,
    pub(crate) timeout: Duration,
    pub(crate) successes: u32,
    pub(crate) failures: u32,
    pub(crate) check: Check,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Check {
    Http(Box<HttpGet>),
    Tcp {
        host: String,
        port: u16,
    },
    Grpc {
        host: String,
        port: u16,
        service: String,
    },
    Exec {
        command: Vec<String>,
    },
    /// It cannot be carried out; each try says why.
    Impossible(String),
}

/// The probe of one kind that a container has.
pub(crate) fn probe_of(container: &Container, kind: ProbeKind) -> Option<&Probe> {
    match kind {
        ProbeKind::Startup => container.startup_probe.as_ref(),
        ProbeKind::Readiness => container.readiness_probe.as_ref(),
        ProbeKind::Liveness => container.liveness_probe.as_ref(),
    }
}

impl Plan {
    /// `address` is the pod's, as the host reaches it.
    pub(crate) fn new(probe: &Probe, container: &Container, address: &str) -> Self {
        let given = |value: Option<i32>| value.and_then(|v| u32::try_from(v).ok());
        let seconds = |value, default| {
            Duration::from_secs(given(value).filter(|v| *v > 0).unwrap_or(default).into())
        };
        let times = |value, default| given(value).filter(|v| *v > 0).unwrap_or(default);
        Self {
            initial_delay: seconds(probe.initial_delay_seconds, 0),
            period: seconds(probe.period_seconds, 10),
            timeout: seconds(probe.timeout_seconds, 1),
            successes: times(probe.success_threshold, 1),
            failures: times(probe.failure_threshold, 3),
            check: check_of(probe, container, address).unwrap_or_else(Check::Impossible),
        }
    }
}

fn check_of(probe: &Probe, container: &Container, address: &str) -> Result<Check, String> {
    let or_pod = |host: Option<&str>| {
        host.filter(|host| !host.is_empty())
            .unwrap_or(address)
            .to_owned()
    };
    if let Some(exec) = &probe.exec {
        return Ok(Check::Exec {
            command: exec.command.clone().unwrap_or_default(),
        });
    }
    if let Some(get) = &probe.http_get {
        let get = HttpGet::new(get, container, address, Asker::Probe)?;
        return Ok(Check::Http(Box::new(get)));
    }
    if let Some(tcp) = &probe.tcp_socket {
        return Ok(Check::Tcp {
            host: or_pod(tcp.host.as_deref()),
            port: port(&tcp.port, container)?,
        });
    }
    if let Some(grpc) = &probe.grpc {
        return Ok(Check::Grpc {
            host: address.to_owned(),
            port: in_range(grpc.port)?,
            service: grpc.service.clone().unwrap_or_default(),
        });
    }
    Err(format!(
        "missing probe handler for container {}",
        container.name
    ))
}

/// The number of a port that is given by number or by the name of one of the container's ports. A name that none of them has is read as a
/// number, as a kubelet does last; its words are Go's.
pub(crate) fn port(port: &IntOrString, container: &Container) -> Result<u16, String> {
    match port {
        IntOrString::Int(number) => in_range(*number),
        IntOrString::String(name) => {
            let named = container
                .ports
                .iter()
                .flatten()
                .find(|port| port.name.as_deref() == Some(name));
            match named {
                Some(port) => in_range(port.container_port),
                None => match name.parse() {
                    Ok(number) => in_range(number),
                    Err(_) => Err(format!("strconv.Atoi: parsing {name:?}: invalid syntax")),
                },
            }
        }
    }
}

fn in_range(number: i32) -> Result<u16, String> {
    u16::try_from(number)
        .ok()
        .filter(|number| *number > 0)
        .ok_or_else(|| format!("invalid port number: {number}"))
}

impl Check {
    /// One try, no longer than `at_most`. The rarer ones are boxed: what a try takes in memory is what the largest of its kinds takes.
    pub(crate) async fn run<E: crate::Exec>(
        &self,
        key: &ContainerKey,
        exec: &E,
        at_most: Duration,
    ) -> Answer {
        match self {
            Check::Http(get) => get.check(at_most).await,
            Check::Tcp { host, port } => dial::check(host, *port, at_most).await,
            Check::Grpc {
                host,
                port,
                service,
            } => Box::pin(grpc::check(host, *port, service, at_most)).await,
            Check::Exec { command } => {
                let ran = Box::pin(exec.exec(key, command, at_most)).await;
                crate::exec::judge(ran, command, at_most)
            }
            Check::Impossible(why) => Answer::Error(ErrorResult::Unknown, why.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::{
        ContainerPort, ExecAction, GRPCAction, HTTPGetAction, TCPSocketAction,
    };

    fn container() -> Container {
        Container {
            name: "c".into(),
            ports: Some(vec![ContainerPort {
                name: Some("web".into()),
                container_port: 8080,
                ..ContainerPort::default()
            }]),
            ..Container::default()
        }
    }

    fn plan(probe: &Probe) -> Plan {
        Plan::new(probe, &container(), "10.0.0.7")
    }

    #[test]
    fn what_a_probe_leaves_out_has_the_defaults_of_the_api() {
        let s = Duration::from_secs;
        let bare = plan(&Probe::default());
        let times = (bare.initial_delay, bare.period, bare.timeout);
        assert_eq!(times, (s(0), s(10), s(1)));
        assert_eq!((bare.successes, bare.failures), (1, 3));
        let given = plan(&Probe {
            initial_delay_seconds: Some(5),
            period_seconds: Some(2),
            timeout_seconds: Some(3),
            success_threshold: Some(4),
            failure_threshold: Some(6),
            ..Probe::default()
        });
        let times = (given.initial_delay, given.period, given.timeout);
        assert_eq!(times, (s(5), s(2), s(3)));
        assert_eq!((given.successes, given.failures), (4, 6));
    }

    #[test]
    fn a_port_may_be_named_and_the_host_is_the_pods() {
        let tcp = |port, host: Option<&str>| {
            plan(&Probe {
                tcp_socket: Some(TCPSocketAction {
                    port,
                    host: host.map(Into::into),
                }),
                ..Probe::default()
            })
            .check
        };
        let expected = |host: &str, port| Check::Tcp {
            host: host.into(),
            port,
        };
        let named = |name: &str| IntOrString::String(name.into());
        assert_eq!(tcp(named("web"), None), expected("10.0.0.7", 8080));
        assert_eq!(tcp(IntOrString::Int(1), Some("a")), expected("a", 1));
        assert_eq!(tcp(named("81"), None), expected("10.0.0.7", 81));
        let impossible = |why: &str| Check::Impossible(why.into());
        assert_eq!(
            tcp(named("x"), None),
            impossible("strconv.Atoi: parsing \"x\": invalid syntax")
        );
        assert_eq!(
            tcp(IntOrString::Int(70_000), None),
            impossible("invalid port number: 70000")
        );
    }

    #[test]
    fn each_handler_becomes_a_check() {
        let grpc = Probe {
            grpc: Some(GRPCAction {
                port: 9,
                service: Some("s".into()),
            }),
            ..Probe::default()
        };
        let expected = Check::Grpc {
            host: "10.0.0.7".into(),
            port: 9,
            service: "s".into(),
        };
        assert_eq!(plan(&grpc).check, expected);
        let exec = Probe {
            exec: Some(ExecAction {
                command: Some(vec!["true".into()]),
            }),
            ..Probe::default()
        };
        let expected = Check::Exec {
            command: vec!["true".into()],
        };
        assert_eq!(plan(&exec).check, expected);
        let http = Probe {
            http_get: Some(HTTPGetAction {
                port: IntOrString::String("web".into()),
                path: Some("/healthz".into()),
                ..HTTPGetAction::default()
            }),
            ..Probe::default()
        };
        assert!(matches!(plan(&http).check, Check::Http(_)));
        let none = Check::Impossible("missing probe handler for container c".into());
        assert_eq!(plan(&Probe::default()).check, none);
    }
}
