//! `lifecycle.postStart` and `lifecycle.preStop`.

use super::command;
use super::outcome::{DONE, Spans, node_failure};
use super::parts::Parts;
use k8s_openapi::api::core::v1::{Container, LifecycleHandler};
use pod_model::{AdmittedPod, ContainerKey, Failure, FailureReason, Fault, Outcome, Reason};
use pod_probes::{Asker, GetError, HttpGet, Ran};
use pod_worker::Line;
use std::sync::Arc;
use std::time::{Duration, Instant};

type Answer = Result<Outcome, Failure>;

/// A hook has no end of its own; the core breaks it off.
const NO_END: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hook {
    PostStart,
    PreStop,
}

impl Hook {
    fn of(self, container: &Container) -> Option<&LifecycleHandler> {
        let lifecycle = container.lifecycle.as_ref()?;
        match self {
            Hook::PostStart => lifecycle.post_start.as_ref(),
            Hook::PreStop => lifecycle.pre_stop.as_ref(),
        }
    }
    /// As `explain` names it.
    fn name(self) -> &'static str {
        match self {
            Hook::PostStart => "postStart hook",
            Hook::PreStop => "preStop hook",
        }
    }
    fn reason(self) -> FailureReason {
        match self {
            Hook::PostStart => FailureReason::FailedPostStartHook,
            Hook::PreStop => FailureReason::FailedPreStopHook,
        }
    }
}

/// Carries it out, until it ends or is broken off.
pub(crate) async fn run(
    parts: &Arc<Parts>,
    pod: Option<&AdmittedPod>,
    key: &ContainerKey,
    hook: Hook,
    line: &mut Line,
    spans: &mut Spans,
) -> Answer {
    let spec = pod.and_then(|pod| Some((pod, pod.container(&key.name)?.1)));
    let Some((pod, container)) = spec else {
        return Err(node_failure(
            hook.reason(),
            format!("the pod has no container {}", key.name),
        ));
    };
    let Some(handler) = hook.of(container) else {
        return DONE;
    };
    let begun = Instant::now();
    // what is dropped here is broken off: a command is killed with all that it started, a connection is closed
    let ended = tokio::select! {
        ended = carry_out(parts, pod, container, key, handler) => ended,
        () = line.cancelled() => Err("it was broken off before its end".to_owned()),
    };
    spans.push((hook.name().to_owned(), begun.elapsed()));
    match ended {
        Ok(()) => DONE,
        Err(error) => Err(Failure {
            reason: hook.reason(),
            message: format!(
                "{} for Container {:?} in Pod {:?} failed - error: {error}",
                named(handler),
                container.name,
                pod.name().to_string(),
            ),
            fault: Fault::Workload,
            retry: false,
            retry_after: None,
        }),
    }
}

async fn carry_out(
    parts: &Arc<Parts>,
    pod: &AdmittedPod,
    container: &Container,
    key: &ContainerKey,
    handler: &LifecycleHandler,
) -> Result<(), String> {
    if let Some(exec) = &handler.exec {
        let argv = exec.command.clone().unwrap_or_default();
        return match command::run(parts, pod, key, &argv, None).await {
            Ran::Ended { code: 0, .. } => Ok(()),
            Ran::Ended { code, output } => Err(format!(
                "command '{}' exited with {code}: {}",
                argv.join(" "),
                String::from_utf8_lossy(&output)
            )),
            Ran::TimedOut => Err(pod_probes::timed_out(&argv, NO_END)),
            Ran::Failed(why) => Err(why),
        };
    }
    if let Some(action) = &handler.http_get {
        let address = address(parts, pod);
        let get = HttpGet::new(action, container, &address, Asker::Hook)?;
        // As a kubelet: whatever the server answers, it has been told. One that turns out to speak no TLS is told without.
        let sent = match get.send(NO_END).await {
            Err(GetError::NotTls(_)) => {
                let sent = get.without_tls().send(NO_END).await;
                if sent.is_ok() {
                    tell_fallback(parts, pod, &get.authority());
                }
                sent
            }
            sent => sent,
        };
        return match sent {
            Ok(_) | Err(GetError::Body(_)) => Ok(()),
            Err(error) => Err(error.to_string()),
        };
    }
    if let Some(sleep) = &handler.sleep {
        let seconds = u64::try_from(sleep.seconds).unwrap_or(0);
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        return Ok(());
    }
    Err("missing hook handler".to_owned())
}

/// Counted, and told of the pod, not of the container: as a kubelet does.
fn tell_fallback(parts: &Parts, pod: &AdmittedPod, host: &str) {
    parts.metrics.observe_hook_fallback();
    let message = format!(
        "request to HTTPS lifecycle hook {host} got HTTP response, retry with HTTP succeeded"
    );
    let reason = Reason::warning("LifecycleHTTPFallback", message);
    let now = (parts.now)();
    parts
        .board
        .note_event(pod.uid(), pod.name(), None, &reason, now);
}

fn named(handler: &LifecycleHandler) -> String {
    if let Some(exec) = &handler.exec {
        let argv = exec.command.as_deref().unwrap_or_default();
        return format!("Exec lifecycle hook ([{}])", argv.join(" "));
    }
    if let Some(get) = &handler.http_get {
        let path = get.path.as_deref().unwrap_or_default();
        return format!("HTTP lifecycle hook ({path})");
    }
    let seconds = handler.sleep.as_ref().map_or(0, |sleep| sleep.seconds);
    format!("Sleep lifecycle hook ({seconds})")
}

/// Where the pod is reached from this machine.
fn address(parts: &Parts, pod: &AdmittedPod) -> String {
    let sandbox = parts.network.sandbox(pod.uid());
    let own = sandbox.and_then(|sandbox| sandbox.addresses.first().copied());
    let address = if pod.host_network() {
        parts.node.host_ips.first().copied()
    } else {
        own
    };
    address.map_or_else(|| "127.0.0.1".to_owned(), |address| address.to_string())
}
