//! An address for each pod, reached from where it should be and from nowhere else.

use node_tests::manifest::idle;
use node_tests::{Node, Sandbox, http, pod, seconds, sh, wait_until};
use serde_json::json;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpListener;

/// Answers `text` on a port.
fn server(name: &str, port: u16, text: &str) -> serde_json::Value {
    sh(
        name,
        &format!(
            "mkdir -p /tmp/w; echo {text} > /tmp/w/index.html; exec httpd -f -p {port} -h /tmp/w"
        ),
    )
}

fn answers(node: &Node, address: &str, text: &str) {
    wait_until(&format!("{address} to answer"), seconds(20), || {
        node.fetch(address, "/")
            .is_ok_and(|answer| answer.text().trim() == text)
    });
}

#[test]
fn each_pod_has_an_address_of_the_range_and_is_reached_from_host_and_pods() {
    let node = Node::builder().pod_cidr("10.99.0.0/24").start();
    node.apply(&pod("a").container(server("main", 80, "this-is-a")));
    node.apply(&pod("b").container(server("main", 80, "this-is-b")));
    let (a, b) = (node.wait_ready("a"), node.wait_ready("b"));
    assert_ne!(a.ip(), b.ip());
    for pod in [&a, &b] {
        assert!(pod.ip().starts_with("10.99.0."), "{}", pod.ip());
        assert_eq!(pod.value["status"]["podIPs"], json!([{"ip": pod.ip()}]));
    }
    answers(&node, &format!("{}:80", a.ip()), "this-is-a");
    answers(&node, &format!("{}:80", b.ip()), "this-is-b");
    assert_eq!(
        node.exec(
            "a",
            "main",
            &["wget", "-qO-", &format!("http://{}/", b.ip())]
        )
        .trim(),
        "this-is-b"
    );
    assert_eq!(
        node.exec(
            "b",
            "main",
            &["wget", "-qO-", &format!("http://{}/", b.ip())]
        )
        .trim(),
        "this-is-b"
    );
}

#[test]
fn an_address_is_not_given_twice() {
    let node = Node::start();
    let names: Vec<_> = (0..12).map(|number| format!("p{number}")).collect();
    for name in &names {
        node.apply(&pod(name).container(idle("main")));
    }
    let addresses: BTreeSet<_> = names
        .iter()
        .map(|name| node.wait_ready(name).ip().to_owned())
        .collect();
    assert_eq!(addresses.len(), names.len());
}

#[test]
fn the_outside_sees_the_nodes_address() {
    let node = Node::start();
    let outside = node.sandbox.with_outside();
    let (sender, receiver) = std::sync::mpsc::channel();
    let listener = outside.enter(|| TcpListener::bind("192.0.2.2:80")).unwrap();
    let world = std::thread::spawn(move || {
        let (mut stream, peer) = listener.accept().unwrap();
        let mut request = [0; 512];
        let _ = stream.read(&mut request);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nworld\n");
        sender.send(peer.ip().to_string()).unwrap();
    });
    node.apply(&pod("traveller").container(idle("main")));
    node.wait_ready("traveller");
    assert_eq!(
        node.exec("traveller", "main", &["wget", "-qO-", "http://192.0.2.2/"]),
        "world\n"
    );
    assert_eq!(receiver.recv().unwrap(), "192.0.2.1", "not masqueraded");
    world.join().unwrap();
}

#[test]
fn a_packet_for_an_absent_pod_never_leaves_the_machine() {
    let node = Node::builder().pod_cidr("10.99.0.0/24").start();
    let _outside = node.sandbox.with_outside();
    let route = node.sandbox.run("ip", &["route", "get", "10.99.0.200"]);
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&route.stdout),
        String::from_utf8_lossy(&route.stderr)
    );
    assert!(!said.contains("uplink"), "{said}");
}

#[test]
fn a_host_port_leads_to_the_pod_from_outside_and_from_the_node() {
    let node = Node::start();
    let outside = node.sandbox.with_outside();
    node.apply(
        &pod("web")
            .container(server("main", 80, "by-port"))
            .with("ports", json!([{"containerPort": 80, "hostPort": 8088}])),
    );
    node.wait_ready("web");
    answers(&node, "127.0.0.1:8088", "by-port");
    answers(&node, "192.0.2.1:8088", "by-port");
    assert_eq!(ask(&outside, "192.0.2.1:8088"), "by-port");
    node.remove_manifest("web");
    node.wait_gone("web");
    wait_until("the port to be closed", seconds(10), || {
        node.fetch("127.0.0.1:8088", "/").is_err()
    });
}

fn ask(from: &Sandbox, address: &str) -> String {
    from.enter(|| http::get(address, "/")).map_or_else(
        |error| format!("{error:#}"),
        |answer| answer.text().trim().to_owned(),
    )
}

#[test]
fn a_pod_cannot_reach_the_nodes_loopback() {
    let node = Node::start();
    node.apply(&pod("curious").container(idle("main")));
    node.wait_ready("curious");
    let port = node.address.rsplit(':').next().unwrap();
    let asked = node.coracle(&[
        "exec",
        "curious",
        "--",
        "wget",
        "-T",
        "2",
        "-qO-",
        &format!("http://127.0.0.1:{port}/healthz"),
    ]);
    assert!(!asked.status.success());
    assert_eq!(node.http("/healthz").status, 200);
}

#[test]
fn hosts_and_hostname_are_the_pods() {
    let node = Node::start();
    node.apply(
        &pod("named")
            .spec("hostname", json!("harbour"))
            .spec(
                "hostAliases",
                json!([{"ip": "192.0.2.9", "hostnames": ["lighthouse", "beacon"]}]),
            )
            .container(idle("main")),
    );
    let named = node.wait_ready("named");
    assert_eq!(node.exec("named", "main", &["hostname"]).trim(), "harbour");
    assert_eq!(
        node.exec("named", "main", &["cat", "/etc/hostname"]).trim(),
        "harbour"
    );
    let hosts = node.exec("named", "main", &["cat", "/etc/hosts"]);
    assert!(hosts.contains("127.0.0.1\tlocalhost"), "{hosts}");
    assert!(
        hosts.contains(&format!("{}\tharbour", named.ip())),
        "{hosts}"
    );
    assert!(hosts.contains("192.0.2.9\tlighthouse\tbeacon"), "{hosts}");
}

#[test]
fn name_resolution_follows_policy_and_configuration() {
    let node = Node::builder()
        .config("clusterDNS: [10.96.0.10]\nclusterDomain: cluster.local\n")
        .start();
    node.apply(
        &pod("first")
            .spec("dnsPolicy", json!("ClusterFirst"))
            .container(idle("main")),
    );
    node.apply(
        &pod("none")
            .spec("dnsPolicy", json!("None"))
            .spec("dnsConfig", json!({"nameservers": ["192.0.2.53"], "searches": ["example.org"], "options": [{"name": "ndots", "value": "2"}]}))
            .container(idle("main")),
    );
    node.apply(
        &pod("default")
            .spec("dnsPolicy", json!("Default"))
            .container(idle("main")),
    );
    let of = |name: &str| {
        node.wait_ready(name);
        node.exec(name, "main", &["cat", "/etc/resolv.conf"])
    };
    let first = of("first");
    assert!(
        first.contains("nameserver 10.96.0.10")
            && first.contains("search default.svc.cluster.local svc.cluster.local cluster.local")
            && first.contains("ndots:5"),
        "{first}"
    );
    let none = of("none");
    assert!(
        none.contains("nameserver 192.0.2.53")
            && none.contains("search example.org")
            && none.contains("ndots:2"),
        "{none}"
    );
    assert!(!of("default").contains("10.96.0.10"));
}

#[test]
fn a_host_network_pod_has_the_nodes_ports() {
    let node = Node::start();
    node.apply(
        &pod("hosted")
            .spec("hostNetwork", json!(true))
            .container(server("main", 8077, "hosted")),
    );
    node.wait_ready("hosted");
    answers(&node, "127.0.0.1:8077", "hosted");
}

#[test]
fn an_address_is_kept_when_a_container_restarts_and_when_the_agent_does() {
    let node = Node::start();
    node.apply(
        &pod("steady")
            .container(idle("main"))
            .container(sh("flaky", "sleep 0.2; exit 1")),
    );
    let before = node.wait_pod("steady", "restarted", |pod| {
        pod.try_container("flaky")
            .is_some_and(|flaky| flaky.restarts() >= 1)
    });
    node.restart_agent();
    let after = node.wait_pod("steady", "there", |pod| pod.phase() == "Running");
    assert_eq!(after.ip(), before.ip());
    assert!(!before.ip().is_empty());
}
