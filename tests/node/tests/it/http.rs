//! The kubelet's HTTP API, as far as a lone node has it.

use node_tests::manifest::idle;
use node_tests::prometheus::{Prometheus, promtool};
use node_tests::{Node, http, pod, seconds, sh, wait_until};

#[test]
fn healthz_says_ok() {
    let node = Node::start();
    let answer = node.http("/healthz");
    assert_eq!((answer.status, answer.text().trim()), (200, "ok"));
}

#[test]
fn pods_and_running_pods_are_pod_lists() {
    let node = Node::start();
    node.apply(&pod("web").container(idle("main")));
    node.apply(&pod("done").once().container(sh("main", "true")));
    let web = node.wait_ready("web");
    node.wait_phase("done", "Succeeded");
    let pods = node.http("/pods").json().unwrap();
    assert_eq!(
        (pods["kind"].as_str(), pods["apiVersion"].as_str()),
        (Some("PodList"), Some("v1"))
    );
    assert_eq!(pods["items"].as_array().map(Vec::len), Some(2));
    let running = node.http("/runningpods/").json().unwrap();
    assert_eq!(running["kind"], "PodList");
    let items = running["items"].as_array().unwrap();
    assert_eq!(items.len(), 1);
    assert_eq!(items[0]["metadata"]["uid"], web.uid());
}

#[test]
fn container_logs_are_served_with_their_options() {
    let node = Node::start();
    node.apply(
        &pod("talk")
            .once()
            .container(sh("main", "echo one; echo two; echo three")),
    );
    node.wait_phase("talk", "Succeeded");
    let path = "/containerLogs/default/talk-node/main";
    assert_eq!(node.http(path).text(), "one\ntwo\nthree\n");
    assert_eq!(node.http(&format!("{path}?tailLines=1")).text(), "three\n");
    assert_eq!(node.http(&format!("{path}?limitBytes=4")).text(), "one\n");
    assert!(
        node.http(&format!("{path}?timestamps=true&tailLines=1"))
            .text()
            .starts_with("20")
    );
    assert_eq!(
        node.http("/containerLogs/default/talk-node/nobody").status,
        404
    );
    assert_eq!(node.http("/containerLogs/default/nobody/main").status, 404);
    assert_eq!(node.http(&format!("{path}?tailLines=many")).status, 422);
}

#[test]
fn a_path_that_is_not_there_is_not_found_and_a_wrong_method_not_allowed() {
    let node = Node::start();
    assert_eq!(node.http("/no/such/path").status, 404);
    let answer = node
        .sandbox
        .enter(|| http::request(&node.address, "DELETE", "/pods", &[], &[]))
        .unwrap();
    assert_eq!(answer.status, 405);
    for path in [
        "/containerLogs/default/../../etc/passwd",
        "/containerLogs/..%2f..%2fetc/x/y",
    ] {
        let status = node.http(path).status;
        assert!([400, 404].contains(&status), "{path}: {status}");
    }
}

#[test]
fn promtool_accepts_the_metrics() {
    let node = Node::start();
    node.apply(&pod("web").container(idle("main")));
    node.wait_ready("web");
    for path in ["/metrics", "/metrics/resource"] {
        let answer = node.http(path);
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(promtool(&answer.body), "", "{path}:\n{}", answer.text());
    }
}

#[test]
fn a_real_prometheus_scrapes_what_dashboards_show() {
    let node = Node::start();
    node.apply(&pod("web").container(idle("main")));
    node.wait_ready("web");
    let prometheus = Prometheus::scraping(
        &node.sandbox,
        &node.address,
        &["/metrics", "/metrics/resource"],
    );
    prometheus.wait_healthy();
    for query in [
        "kubelet_running_pods == 1",
        "kubelet_running_containers{container_state=\"running\"} == 1",
        "kubelet_node_name{node=\"node\"}",
        "kubelet_pod_start_duration_seconds_count",
        "process_resident_memory_bytes",
        "process_cpu_seconds_total",
        "node_memory_working_set_bytes",
        "container_memory_working_set_bytes{container=\"main\",namespace=\"default\",pod=\"web-node\"} > 0",
        "container_cpu_usage_seconds_total{container=\"main\"}",
        "pod_memory_working_set_bytes{pod=\"web-node\"}",
    ] {
        prometheus.wait_series(query);
    }
}

#[test]
fn the_server_listens_on_loopback_alone() {
    let node = Node::start();
    let _outside = node.sandbox.with_outside();
    let port = node.address.rsplit(':').next().unwrap();
    assert!(
        node.fetch(&format!("192.0.2.1:{port}"), "/healthz")
            .is_err()
    );
}

#[test]
fn a_client_that_says_nothing_holds_up_nobody() {
    let node = Node::start();
    let idlers: Vec<_> = node.sandbox.enter(|| {
        (0..50)
            .filter_map(|_| std::net::TcpStream::connect(&node.address).ok())
            .collect()
    });
    wait_until("an answer beside them", seconds(5), || {
        node.http("/healthz").status == 200
    });
    drop(idlers);
}
