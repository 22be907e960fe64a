//! Every `kubelet_*` metric that this agent counts, in one table, with the names, helps, labels and buckets of a kubelet.
//!
//! What has its value only at the moment of a scrape (pods and containers by state) is written by the server from the pods' status.
//! A metric of a kubelet that stands for nothing here (PLEG, device plugins, certificates) is left out, not written as zero: an alert
//! on it would never fire.

use crate::metrics::{
    Counter, DEFAULT_BUCKETS, Description, Family, Histogram, Metric, Stability, Text,
};
use std::time::Duration;

/// `podStartupDurationBuckets`.
const POD_START: &[f64] = &[
    0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 20.0, 30.0, 45.0, 60.0, 120.0, 180.0, 240.0,
    300.0, 360.0, 480.0, 600.0, 900.0, 1200.0, 1800.0, 2700.0, 3600.0,
];
/// From 5 ms by factors of 2.5; the bounds below are ours, a start takes 2 ms here.
const OPERATION: &[f64] = &[
    0.0005,
    0.001,
    0.002,
    0.005,
    0.0125,
    0.03125,
    0.078125,
    0.1953125,
    0.48828125,
    1.220703125,
    3.0517578125,
    7.62939453125,
    19.073486328125,
    47.6837158203125,
    119.20928955078125,
];
const IMAGE_PULL: &[f64] = &[
    1.0, 5.0, 10.0, 20.0, 30.0, 60.0, 180.0, 300.0, 600.0, 900.0, 1200.0, 1800.0, 2400.0, 3600.0,
];

/// The `container_type` of started containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerKind {
    Container,
    InitContainer,
    EphemeralContainer,
}

impl ContainerKind {
    pub fn as_str(self) -> &'static str {
        match self {
            ContainerKind::Container => "container",
            ContainerKind::InitContainer => "init_container",
            ContainerKind::EphemeralContainer => "ephemeral_container",
        }
    }
}

/// A node with many pods has many probes; each has a series as long as it is made.
const MOST_PROBES: usize = 8192;

/// Whose probe it is, as the labels of a kubelet's metrics say it.
#[derive(Debug, Clone, Copy)]
pub struct ProbeLabels<'a> {
    /// `Liveness`, `Readiness` or `Startup`.
    pub probe_type: &'a str,
    pub container: &'a str,
    pub pod: &'a str,
    pub namespace: &'a str,
    pub pod_uid: &'a str,
}

impl<'a> ProbeLabels<'a> {
    fn counted(self, result: &'a str) -> [&'a str; 6] {
        let Self {
            probe_type,
            container,
            pod,
            namespace,
            pod_uid,
        } = self;
        [probe_type, result, container, pod, namespace, pod_uid]
    }
    fn timed(self) -> [&'a str; 4] {
        [self.probe_type, self.container, self.pod, self.namespace]
    }
}

/// The counters of one node. Make one, share it in an `Arc`, call an `observe…` where the thing happens.
#[derive(Debug)]
pub struct NodeMetrics {
    admission_rejections: Metric<Family<Counter, 1>>,
    cgroups: Metric<Family<Histogram, 1>>,
    evictions: Metric<Family<Counter, 1>>,
    http_requests: Metric<Family<Counter, 4>>,
    http_duration: Metric<Family<Histogram, 4>>,
    hook_fallbacks: Metric<Counter>,
    image_pull: Metric<Family<Histogram, 1>>,
    pod_start: Metric<Histogram>,
    pod_start_sli: Metric<Family<Histogram, 1>>,
    pod_start_total: Metric<Family<Histogram, 1>>,
    pod_worker: Metric<Family<Histogram, 1>>,
    pod_worker_start: Metric<Histogram>,
    preemptions: Metric<Family<Counter, 1>>,
    probe_duration: Metric<Family<Histogram, 4>>,
    probes: Metric<Family<Counter, 6>>,
    restarted_pods: Metric<Family<Counter, 1>>,
    run_sandbox: Metric<Family<Histogram, 1>>,
    run_sandbox_errors: Metric<Family<Counter, 1>>,
    runtime_duration: Metric<Family<Histogram, 1>>,
    runtime_errors: Metric<Family<Counter, 1>>,
    runtime_operations: Metric<Family<Counter, 1>>,
    started_containers: Metric<Family<Counter, 1>>,
    started_container_errors: Metric<Family<Counter, 2>>,
    started_pods: Metric<Counter>,
    started_pod_errors: Metric<Counter>,
    terminated_containers: Metric<Family<Counter, 3>>,
}

fn counter() -> Counter {
    Counter::new()
}

fn metric<T: crate::metrics::Sample>(
    name: &'static str,
    help: &'static str,
    value: T,
) -> Metric<T> {
    Metric::new(Description::alpha(name, help), value)
}

impl Default for NodeMetrics {
    fn default() -> Self {
        Self::new()
    }
}

impl NodeMetrics {
    #[rustfmt::skip] // a table
    pub fn new() -> Self {
        Self {
            admission_rejections: metric(
                "kubelet_admission_rejections_total",
                "Cumulative number pod admission rejections by the Kubelet.",
                Family::new(["reason"], counter),
            ),
            preemptions: metric(
                "kubelet_preemptions",
                "Cumulative number of pod preemptions by preemption resource",
                Family::new(["preemption_signal"], counter),
            ),
            cgroups: metric(
                "kubelet_cgroup_manager_duration_seconds",
                "Duration in seconds for cgroup manager operations. Broken down by method.",
                Family::new(["operation_type"], || Histogram::new(OPERATION)),
            ),
            evictions: metric(
                "kubelet_evictions",
                "Cumulative number of pod evictions by eviction signal",
                Family::new(["eviction_signal"], counter),
            ),
            http_requests: metric(
                "kubelet_http_requests_total",
                "Number of the http requests received since the server started",
                Family::new(["method", "path", "server_type", "long_running"], counter),
            ),
            http_duration: metric(
                "kubelet_http_requests_duration_seconds",
                "Duration in seconds to serve http requests",
                Family::new(["method", "path", "server_type", "long_running"], || Histogram::new(DEFAULT_BUCKETS)),
            ),
            hook_fallbacks: metric(
                "kubelet_lifecycle_handler_http_fallbacks_total",
                "The number of times lifecycle handlers successfully fell back to http from https.",
                Counter::new(),
            ),
            image_pull: metric(
                "kubelet_image_pull_duration_seconds",
                "Duration in seconds to pull an image.",
                Family::new(["image_size_in_bytes"], || Histogram::new(IMAGE_PULL)),
            ),
            pod_start: metric(
                "kubelet_pod_start_duration_seconds",
                "Duration in seconds from kubelet seeing a pod for the first time to the pod starting to run",
                Histogram::new(POD_START),
            ),
            pod_start_sli: metric(
                "kubelet_pod_start_sli_duration_seconds",
                "Duration in seconds to start a pod, excluding time to pull images and run init containers, measured from pod creation timestamp to when all its containers are reported as started and observed via watch",
                Family::new(["first_with_network"], || Histogram::new(POD_START)),
            ),
            pod_start_total: metric(
                "kubelet_pod_start_total_duration_seconds",
                "Duration in seconds to start a pod since creation, including time to pull images and run init containers, measured from pod creation timestamp to when all its containers are reported as started and observed via watch",
                Family::new(["first_with_network"], || Histogram::new(POD_START)),
            ),
            pod_worker: metric(
                "kubelet_pod_worker_duration_seconds",
                "Duration in seconds to sync a single pod. Broken down by operation type: create, update, or sync",
                Family::new(["operation_type"], || Histogram::new(DEFAULT_BUCKETS)),
            ),
            pod_worker_start: metric(
                "kubelet_pod_worker_start_duration_seconds",
                "Duration in seconds from kubelet seeing a pod to starting a worker.",
                Histogram::new(DEFAULT_BUCKETS),
            ),
            probe_duration: metric(
                "prober_probe_duration_seconds",
                "Duration in seconds for a probe response.",
                Family::new(["probe_type", "container", "pod", "namespace"], || Histogram::new(DEFAULT_BUCKETS)).with_room(MOST_PROBES),
            ),
            probes: Metric::new(
                Description {
                    stability: Stability::Beta,
                    ..Description::alpha("prober_probe_total", "Cumulative number of a liveness, readiness or startup probe for a container by result.")
                },
                Family::new(["probe_type", "result", "container", "pod", "namespace", "pod_uid"], counter).with_room(MOST_PROBES),
            ),
            restarted_pods: metric(
                "kubelet_restarted_pods_total",
                "Number of pods that have been restarted because they were deleted and recreated with the same UID while the kubelet was watching them (common for static pods, extremely uncommon for API pods)",
                Family::new(["static"], counter),
            ),
            run_sandbox: metric(
                "kubelet_run_podsandbox_duration_seconds",
                "Duration in seconds of the run_podsandbox operations. Broken down by RuntimeClass.Handler.",
                Family::new(["runtime_handler"], || Histogram::new(OPERATION)),
            ),
            run_sandbox_errors: metric(
                "kubelet_run_podsandbox_errors_total",
                "Cumulative number of the run_podsandbox operation errors by RuntimeClass.Handler.",
                Family::new(["runtime_handler"], counter),
            ),
            runtime_duration: metric(
                "kubelet_runtime_operations_duration_seconds",
                "Duration in seconds of runtime operations. Broken down by operation type.",
                Family::new(["operation_type"], || Histogram::new(OPERATION)),
            ),
            runtime_errors: metric(
                "kubelet_runtime_operations_errors_total",
                "Cumulative number of runtime operation errors by operation type.",
                Family::new(["operation_type"], counter),
            ),
            runtime_operations: metric(
                "kubelet_runtime_operations_total",
                "Cumulative number of runtime operations by operation type.",
                Family::new(["operation_type"], counter),
            ),
            started_containers: metric(
                "kubelet_started_containers_total",
                "Cumulative number of containers started",
                Family::new(["container_type"], counter),
            ),
            started_container_errors: metric(
                "kubelet_started_containers_errors_total",
                "Cumulative number of errors when starting containers",
                Family::new(["container_type", "code"], counter),
            ),
            started_pods: metric(
                "kubelet_started_pods_total",
                "Cumulative number of pods started",
                Counter::new(),
            ),
            started_pod_errors: metric(
                "kubelet_started_pods_errors_total",
                "Cumulative number of errors when starting pods",
                Counter::new(),
            ),
            terminated_containers: metric(
                "kubelet_terminated_containers_total",
                "Cumulative number of container terminations.",
                Family::new(["container_type", "exit_code", "reason"], counter),
            ),
        }
    }

    /// An action on containers, sandboxes or images was carried out. `operation` as `Action::operation` of pod-model names it.
    pub fn observe_operation(&self, operation: &str, took: Duration, failed: bool) {
        self.runtime_operations.of([operation]).inc();
        self.runtime_duration.of([operation]).observe(took);
        if failed {
            self.runtime_errors.of([operation]).inc();
        }
    }
    /// A container was started, or was to be. `code` is the reason of the failure.
    pub fn observe_container_start(&self, kind: ContainerKind, failed: Option<&str>) {
        self.started_containers.of([kind.as_str()]).inc();
        if let Some(code) = failed {
            self.started_container_errors
                .of([kind.as_str(), code])
                .inc();
        }
    }
    /// A pod's sandbox was made, or was to be.
    pub fn observe_sandbox(&self, took: Duration, failed: bool) {
        self.started_pods.inc();
        // there is one handler, and it has no name
        self.run_sandbox.of([""]).observe(took);
        if failed {
            self.started_pod_errors.inc();
            self.run_sandbox_errors.of([""]).inc();
        }
    }
    /// A pod's cgroup was made or removed: `create` or `destroy`.
    pub fn observe_cgroup(&self, operation: &str, took: Duration) {
        self.cgroups.of([operation]).observe(took);
    }
    /// A container has ended; `reason` as its status says it.
    pub fn observe_container_end(&self, kind: ContainerKind, code: i32, reason: &str) {
        let code = code.to_string();
        self.terminated_containers
            .of([kind.as_str(), &code, reason])
            .inc();
    }
    /// All containers of a pod run for the first time: the time since it was seen, and how much of that went into pulls and init
    /// containers.
    pub fn observe_pod_running(&self, since_seen: Duration, pulls_and_init: Duration) {
        self.pod_start.observe(since_seen);
        self.pod_start_total.of(["false"]).observe(since_seen);
        self.pod_start_sli
            .of(["false"])
            .observe(since_seen.saturating_sub(pulls_and_init));
    }
    /// A piece of work on a pod; `operation` is `create`, `sync` or `kill`.
    pub fn observe_pod_work(&self, operation: &str, took: Duration) {
        self.pod_worker.of([operation]).observe(took);
    }
    /// The first work on a pod began.
    pub fn observe_pod_worker_start(&self, since_seen: Duration) {
        self.pod_worker_start.observe(since_seen);
    }
    pub fn observe_image_pull(&self, took: Duration, size_bytes: u64) {
        self.image_pull
            .of([image_size_bucket(size_bytes)])
            .observe(took);
    }
    pub fn observe_eviction(&self, signal: &str) {
        self.evictions.of([signal]).inc();
    }
    /// A hook asked a server by HTTPS that speaks no TLS, and reached it without.
    pub fn observe_hook_fallback(&self) {
        self.hook_fallbacks.inc();
    }
    /// A pod was not taken on; `reason` is one of a kubelet's list, or `Other`.
    pub fn observe_rejection(&self, reason: &str) {
        self.admission_rejections.of([reason]).inc();
    }
    /// A pod ends to make room; `signal` is the resource of which there was too little.
    pub fn observe_preemption(&self, signal: &str) {
        self.preemptions.of([signal]).inc();
    }
    /// A probe was made. Only one that succeeded is timed.
    pub fn observe_probe(&self, probe: ProbeLabels<'_>, successful: bool, took: Duration) {
        let result = if successful { "successful" } else { "failed" };
        self.probes.of(probe.counted(result)).inc();
        if successful {
            self.probe_duration.of(probe.timed()).observe(took);
        }
    }
    /// It is made no more, and has no series.
    pub fn forget_probe(&self, probe: ProbeLabels<'_>) {
        for result in ["successful", "failed"] {
            self.probes.forget(probe.counted(result));
        }
        self.probe_duration.forget(probe.timed());
    }
    /// A static pod came back with the uid it had before.
    pub fn observe_restarted_pod(&self) {
        self.restarted_pods.of(["true"]).inc();
    }
    /// A request was answered. `path` is the route's, never the client's.
    pub fn observe_request(
        &self,
        method: &str,
        path: &str,
        server_type: &str,
        long_running: bool,
        took: Duration,
    ) {
        let long_running = if long_running { "true" } else { "false" };
        let labels = [method, path, server_type, long_running];
        self.http_requests.of(labels).inc();
        self.http_duration.of(labels).observe(took);
    }

    /// What `/metrics/probes` has.
    pub fn write_probes(&self, out: &mut Text) {
        self.probe_duration.write(out);
        self.probes.write(out);
    }
    /// Everything else, by name.
    pub fn write(&self, out: &mut Text) {
        self.admission_rejections.write(out);
        self.cgroups.write(out);
        self.evictions.write(out);
        self.http_duration.write(out);
        self.http_requests.write(out);
        self.image_pull.write(out);
        self.hook_fallbacks.write(out);
        self.pod_start.write(out);
        self.pod_start_sli.write(out);
        self.pod_start_total.write(out);
        self.pod_worker.write(out);
        self.pod_worker_start.write(out);
        self.preemptions.write(out);
        self.restarted_pods.write(out);
        self.run_sandbox.write(out);
        self.run_sandbox_errors.write(out);
        self.runtime_duration.write(out);
        self.runtime_errors.write(out);
        self.runtime_operations.write(out);
        self.started_container_errors.write(out);
        self.started_containers.write(out);
        self.started_pod_errors.write(out);
        self.started_pods.write(out);
        self.terminated_containers.write(out);
    }
}

/// The kubelet's classes of image sizes.
fn image_size_bucket(bytes: u64) -> &'static str {
    const MB: u64 = 1024 * 1024;
    match bytes {
        0 => "N/A",
        b if b < 10 * MB => "0-10MB",
        b if b < 100 * MB => "10MB-100MB",
        b if b < 500 * MB => "100MB-500MB",
        b if b < 1024 * MB => "500MB-1GB",
        b if b < 5 * 1024 * MB => "1GB-5GB",
        b if b < 10 * 1024 * MB => "5GB-10GB",
        b if b < 20 * 1024 * MB => "10GB-20GB",
        b if b < 30 * 1024 * MB => "20GB-30GB",
        b if b < 40 * 1024 * MB => "30GB-40GB",
        b if b < 60 * 1024 * MB => "40GB-60GB",
        b if b < 100 * 1024 * MB => "60GB-100GB",
        _ => "GT100GB",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_observation_shows_under_its_kubelet_name() {
        let metrics = NodeMetrics::new();
        let mut unused = Text::new();
        metrics.write(&mut unused);
        assert!(!unused.finish().contains("kubelet_evictions"));
        let second = Duration::from_secs(1);
        metrics.observe_operation("start_container", second, true);
        metrics.observe_container_start(ContainerKind::InitContainer, Some("RunContainerError"));
        metrics.observe_sandbox(second, true);
        metrics.observe_cgroup("create", second);
        metrics.observe_container_end(ContainerKind::Container, 137, "OOMKilled");
        metrics.observe_pod_running(3 * second, second);
        metrics.observe_pod_work("sync", second);
        metrics.observe_pod_worker_start(second);
        metrics.observe_image_pull(second, 50 << 20);
        metrics.observe_eviction("memory.available");
        metrics.observe_rejection("OutOfcpu");
        metrics.observe_preemption("pods");
        metrics.observe_restarted_pod();
        metrics.observe_hook_fallback();
        metrics.observe_request("GET", "pods", "readonly", false, second);
        let mut text = Text::new();
        metrics.write(&mut text);
        let text = text.finish();
        for line in [
            "kubelet_admission_rejections_total{reason=\"OutOfcpu\"} 1",
            "kubelet_preemptions{preemption_signal=\"pods\"} 1",
            "kubelet_evictions{eviction_signal=\"memory.available\"} 1",
            "kubelet_http_requests_total{method=\"GET\",path=\"pods\",server_type=\"readonly\",long_running=\"false\"} 1",
            "kubelet_image_pull_duration_seconds_count{image_size_in_bytes=\"10MB-100MB\"} 1",
            "kubelet_lifecycle_handler_http_fallbacks_total 1",
            "kubelet_pod_start_duration_seconds_sum 3",
            "kubelet_pod_start_sli_duration_seconds_sum{first_with_network=\"false\"} 2",
            "kubelet_pod_worker_duration_seconds_count{operation_type=\"sync\"} 1",
            "kubelet_restarted_pods_total{static=\"true\"} 1",
            "kubelet_runtime_operations_total{operation_type=\"start_container\"} 1",
            "kubelet_runtime_operations_errors_total{operation_type=\"start_container\"} 1",
            "kubelet_started_containers_errors_total{container_type=\"init_container\",code=\"RunContainerError\"} 1",
            "kubelet_started_containers_total{container_type=\"init_container\"} 1",
            "kubelet_started_pods_errors_total 1",
            "kubelet_started_pods_total 1",
            "kubelet_cgroup_manager_duration_seconds_count{operation_type=\"create\"} 1",
            "kubelet_run_podsandbox_duration_seconds_count{runtime_handler=\"\"} 1",
            "kubelet_run_podsandbox_errors_total{runtime_handler=\"\"} 1",
            "kubelet_terminated_containers_total{container_type=\"container\",exit_code=\"137\",reason=\"OOMKilled\"} 1",
        ] {
            assert!(text.contains(&format!("{line}\n")), "{line} in\n{text}");
        }
        assert!(text.contains("# HELP kubelet_evictions [ALPHA] Cumulative number of pod evictions by eviction signal\n# TYPE kubelet_evictions counter\n"));
    }
    #[test]
    fn a_probe_has_series_as_long_as_it_is_made() {
        let metrics = NodeMetrics::new();
        let probe = ProbeLabels {
            probe_type: "Liveness",
            container: "app",
            pod: "web",
            namespace: "default",
            pod_uid: "u",
        };
        metrics.observe_probe(probe, true, Duration::from_millis(1));
        metrics.observe_probe(probe, false, Duration::from_secs(1));
        let written = || {
            let mut text = Text::new();
            metrics.write_probes(&mut text);
            text.finish()
        };
        for line in [
            "# HELP prober_probe_total [BETA] Cumulative number of a liveness, readiness or startup probe for a container by result.",
            "prober_probe_total{probe_type=\"Liveness\",result=\"successful\",container=\"app\",pod=\"web\",namespace=\"default\",pod_uid=\"u\"} 1",
            "prober_probe_total{probe_type=\"Liveness\",result=\"failed\",container=\"app\",pod=\"web\",namespace=\"default\",pod_uid=\"u\"} 1",
            "prober_probe_duration_seconds_count{probe_type=\"Liveness\",container=\"app\",pod=\"web\",namespace=\"default\"} 1",
        ] {
            assert!(
                written().contains(&format!("{line}\n")),
                "{line} in\n{}",
                written()
            );
        }
        metrics.forget_probe(probe);
        assert!(!written().contains("Liveness"), "{}", written());
    }
}
