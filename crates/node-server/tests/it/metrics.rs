use crate::ask::get;
use crate::fake::{Fake, serve};
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

/// `promtool check metrics`: what Prometheus' own linter says. Empty is nothing to complain about.
fn lint(text: &str) -> Option<String> {
    let started = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match started {
        Ok(child) => child,
        Err(e) => {
            assert!(std::env::var_os("CI").is_none(), "promtool: {e}");
            let _ = writeln!(std::io::stderr(), "skipped: promtool is not installed");
            return None;
        }
    };
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    Some(if output.status.success() {
        said
    } else {
        format!("{}: {said}", output.status)
    })
}

/// The complaints that stay: dashboards know the counters by these names.
const A_KUBELETS_OWN: [&str; 2] = [
    "kubelet_evictions counter metrics should have \"_total\" suffix\n",
    "kubelet_preemptions counter metrics should have \"_total\" suffix\n",
];

#[tokio::test]
async fn prometheus_has_nothing_to_complain_about() {
    let node = Fake::new();
    let serving = serve(&node).await;
    let second = Duration::from_secs(1);
    serving
        .metrics
        .observe_operation("start_container", second, true);
    serving.metrics.observe_container_start(
        telemetry::ContainerKind::Container,
        Some("RunContainerError"),
    );
    serving.metrics.observe_sandbox(second, true);
    serving.metrics.observe_cgroup("create", second);
    serving.metrics.observe_pod_worker_start(second);
    serving.metrics.observe_eviction("nodefs.available");
    serving.metrics.observe_rejection("OutOfpods");
    serving.metrics.observe_preemption("cpu");
    serving
        .metrics
        .observe_container_end(telemetry::ContainerKind::Container, 128, "StartError");
    serving.metrics.observe_pod_running(second, second);
    serving.metrics.observe_pod_work("sync", second);
    serving.metrics.observe_image_pull(second, 1);
    serving.metrics.observe_restarted_pod();
    get(&serving, "/pods").await;
    for path in ["/metrics", "/metrics/resource"] {
        let answer = get(&serving, path).await;
        assert_eq!(answer.status, 200);
        assert!(
            answer
                .headers
                .contains("content-type: text/plain; version=0.0.4; charset=utf-8")
        );
        if let Some(said) = lint(&answer.body) {
            let said = A_KUBELETS_OWN
                .iter()
                .fold(said, |said, own| said.replace(own, ""));
            let is_clean = said.is_empty() || said == "exit status: 3: ";
            assert!(is_clean, "{path}: {said}\n{}", answer.body);
        }
    }
}

#[tokio::test]
async fn dashboards_find_their_names() {
    let node = Fake::new();
    let serving = serve(&node).await;
    get(
        &serving,
        "/containerLogs/default/hello-node-1/main?secret=1",
    )
    .await;
    let text = get(&serving, "/metrics").await.body;
    for line in [
        "kubelet_node_name{node=\"node-1\"} 1",
        "kubelet_running_pods 1",
        "kubelet_running_containers{container_state=\"running\"} 1",
        "kubelet_desired_pods{static=\"true\"} 1",
        "kubelet_desired_pods{static=\"\"} 0",
        "kubelet_active_pods{static=\"true\"} 1",
        "kubelet_mirror_pods 0",
        "kubelet_working_pods{config=\"desired\",lifecycle=\"sync\",static=\"true\"} 1",
        "kubelet_cgroup_version 2",
        "volume_manager_total_volumes{plugin_name=\"kubernetes.io/empty-dir\",state=\"actual_state_of_world\"} 1",
        "kubelet_http_requests_total{method=\"GET\",path=\"containerLogs\",server_type=\"readonly\",long_running=\"true\"} 1",
    ] {
        assert!(text.contains(&format!("\n{line}\n")), "{line} in\n{text}");
    }
    assert!(text.contains("git_version=\"v1.36.0-coracle.0.1.0\",major=\"1\",minor=\"36\""));
    assert!(text.contains("\nprocess_resident_memory_bytes "));
    assert!(!text.contains("secret"));
}

#[tokio::test]
async fn metrics_server_finds_what_it_reads() {
    let serving = serve(&Fake::new()).await;
    let text = get(&serving, "/metrics/resource").await.body;
    let of_main = "{container=\"main\",namespace=\"default\",pod=\"hello-node-1\"}";
    let of_pod = "{namespace=\"default\",pod=\"hello-node-1\"}";
    for line in [
        "# HELP container_cpu_usage_seconds_total [STABLE] Cumulative cpu time consumed by the container in core-seconds".to_owned(),
        "# TYPE container_cpu_usage_seconds_total counter".to_owned(),
        format!("container_cpu_usage_seconds_total{of_main} 1.5 1795255200000"),
        format!("container_memory_working_set_bytes{of_main} 8388608 1795255200000"),
        // Without a time of its own.
        format!("container_start_time_seconds{of_main} 1795255200"),
        "node_cpu_usage_seconds_total 60 1795255200000".to_owned(),
        "node_memory_working_set_bytes 2147483648 1795255200000".to_owned(),
        format!("pod_cpu_usage_seconds_total{of_pod} 1.5 1795255200000"),
        format!("pod_memory_working_set_bytes{of_pod} 8388608 1795255200000"),
        "resource_scrape_error 0".to_owned(),
    ] {
        assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
    }
}

#[tokio::test]
async fn a_pod_of_which_nothing_runs_has_no_samples() {
    let node = Fake::new();
    node.idle.store(true, std::sync::atomic::Ordering::SeqCst);
    let serving = serve(&node).await;
    let text = get(&serving, "/metrics/resource").await.body;
    assert!(
        text.contains("\nnode_cpu_usage_seconds_total 60 "),
        "{text}"
    );
    assert!(
        !text.contains("pod_") && !text.contains("container_"),
        "{text}"
    );
}
