//! A port of the node leads to a port of the pod, from everywhere.

use crate::lab::{Lab, Outside, inside, net, on_a_machine, run, uid};
use crate::talk::{echoed, greet, hear, refused};
use pod_network::{HostPort, NetworkError, PodNetwork, Protocol, Sandbox, Want};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::mpsc;

fn want(ports: &[HostPort]) -> Want {
    Want {
        host_ports: ports.to_vec(),
        ..Want::default()
    }
}

fn tcp(ip: Option<[u8; 4]>, port: u16) -> HostPort {
    HostPort::new(Protocol::Tcp, ip.map(Ipv4Addr::from), port, 80)
}

/// A server on port 80 of the pod that tells who called.
fn serve(sandbox: &Sandbox) -> mpsc::Receiver<IpAddr> {
    let server = inside(&net(sandbox), || TcpListener::bind("0.0.0.0:80").unwrap());
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || while tell.send(greet(&server)).is_ok() {});
    told
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

async fn pod(network: &PodNetwork, name: &str, ports: &[HostPort]) -> Sandbox {
    network.acquire(&uid(name), want(ports)).await.unwrap()
}

fn start(lab: &Lab) -> (Outside, PodNetwork) {
    (Outside::new(), lab.start())
}

#[test]
fn a_host_port_answers_the_outside_the_host_its_loopback_other_pods_and_the_pod_itself() {
    on_a_machine(async |lab| {
        let (outside, network) = start(&lab);
        let a = pod(&network, "a", &[tcp(None, 8080)]).await;
        let b = pod(&network, "b", &[]).await;
        let callers = serve(&a);
        let node = at("198.51.100.1:8080");
        assert_eq!(inside(&outside.net(), move || hear(node)), "hello");
        assert_eq!(
            callers.recv().unwrap(),
            address("198.51.100.2"),
            "the pod sees who called"
        );
        assert_eq!(hear(node), "hello");
        assert_eq!(callers.recv().unwrap(), address("198.51.100.1"));
        assert_eq!(hear(at("127.0.0.1:8080")), "hello");
        callers.recv().unwrap();
        assert_eq!(inside(&net(&b), move || hear(node)), "hello");
        assert_eq!(callers.recv().unwrap(), b.addresses[0]);
        assert_eq!(inside(&net(&a), move || hear(node)), "hello");
        callers.recv().unwrap();
        // not a port of somebody else that happens to have the same number
        assert_eq!(
            inside(&net(&b), || refused(at("198.51.100.2:8080"))),
            ErrorKind::ConnectionRefused
        );

        network.release(&uid("a")).await.unwrap();
        assert_eq!(refused(node), ErrorKind::ConnectionRefused);
        assert_eq!(refused(at("127.0.0.1:8080")), ErrorKind::ConnectionRefused);
        network.remove_everything().unwrap();
    });
}

#[test]
fn a_host_port_with_an_address_answers_only_there() {
    on_a_machine(async |lab| {
        let (outside, network) = start(&lab);
        let a = pod(&network, "a", &[tcp(Some([127, 0, 0, 1]), 8080)]).await;
        let b = pod(&network, "b", &[tcp(Some([198, 51, 100, 1]), 8080)]).await;
        let (to_a, to_b) = (serve(&a), serve(&b));
        assert_eq!(hear(at("127.0.0.1:8080")), "hello");
        to_a.recv().unwrap();
        assert_eq!(
            inside(&outside.net(), || hear(at("198.51.100.1:8080"))),
            "hello"
        );
        to_b.recv().unwrap();
        assert_eq!(refused(at("10.77.0.1:8080")), ErrorKind::ConnectionRefused);
        let link = |sandbox: &Sandbox| lab.config().link_name_of(&sandbox.slot);
        let localnet = |link: String| {
            std::fs::read_to_string(format!("/proc/sys/net/ipv4/conf/{link}/route_localnet"))
                .unwrap()
        };
        assert_eq!(localnet(link(&a)).trim(), "1");
        assert_eq!(
            localnet(link(&b)).trim(),
            "0",
            "who needs no loopback gets none"
        );
        network.remove_everything().unwrap();
    });
}

#[test]
fn a_port_that_another_pod_holds_is_refused_by_its_name() {
    on_a_machine(async |lab| {
        let network = lab.start();
        pod(&network, "a", &[tcp(None, 8080)]).await;
        let error = network
            .acquire(&uid("b"), want(&[tcp(None, 8080)]))
            .await
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "host port 0.0.0.0:8080/TCP is in use by pod a"
        );
        assert!(network.sandbox(&uid("b")).is_none());
        // a pod on the host's network holds its ports, too, without a rule
        let on_host = Want {
            host_network: true,
            host_ports: vec![tcp(None, 9090)],
        };
        network.acquire(&uid("h"), on_host).await.unwrap();
        assert!(!run("nft list ruleset").contains("9090"));
        let error = network
            .acquire(&uid("c"), want(&[tcp(None, 9090)]))
            .await
            .unwrap_err();
        assert!(matches!(error, NetworkError::PortTaken { .. }));
        network.release(&uid("a")).await.unwrap();
        pod(&network, "b", &[tcp(None, 8080)]).await;
        network.remove_everything().unwrap();
    });
}

#[test]
fn a_udp_client_that_never_stops_is_led_to_the_new_pod() {
    on_a_machine(async |lab| {
        let (outside, network) = start(&lab);
        let port = HostPort::new(Protocol::Udp, None, 5353, 53);
        let echo = |sandbox: &Sandbox| {
            let socket = inside(&net(sandbox), || UdpSocket::bind("0.0.0.0:53").unwrap());
            socket
                .set_read_timeout(Some(std::time::Duration::from_secs(20)))
                .unwrap();
            std::thread::spawn(move || {
                let mut buffer = [0; 64];
                while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                    if socket.send_to(&buffer[..length], from).is_err()
                        || buffer[..length] == *b"last"
                    {
                        break;
                    }
                }
            })
        };
        let client = inside(&outside.net(), || {
            UdpSocket::bind("198.51.100.2:4000").unwrap()
        });
        let node = at("198.51.100.1:5353");
        // a flow that was there before any pod
        client.send_to(b"early", node).unwrap();
        let a = pod(&network, "a", &[port]).await;
        let first = echo(&a);
        assert!(echoed(&client, node, "last"), "from the first pod");
        first.join().unwrap();
        network.release(&uid("a")).await.unwrap();
        let b = pod(&network, "b", &[port]).await;
        let second = echo(&b);
        assert!(
            echoed(&client, node, "last"),
            "from the second pod, by the same flow"
        );
        second.join().unwrap();
        network.remove_everything().unwrap();
    });
}

#[test]
fn a_new_agent_keeps_host_ports_and_drops_what_no_lease_names() {
    on_a_machine(async |lab| {
        let (outside, network) = start(&lab);
        let a = pod(&network, "a", &[tcp(None, 8080)]).await;
        let callers = serve(&a);
        drop(network);
        let hears = || inside(&outside.net(), || hear(at("198.51.100.1:8080")));
        assert_eq!(hears(), "hello", "while no agent runs");
        callers.recv().unwrap();
        run("nft add element ip coracle_beef host_ports { tcp . 7777 : 10.77.3.3 . 80 }");
        let network = lab.start();
        assert_eq!(hears(), "hello");
        assert!(!run("nft list ruleset").contains("7777"));
        let error = network
            .acquire(&uid("b"), want(&[tcp(None, 8080)]))
            .await
            .unwrap_err();
        assert!(matches!(error, NetworkError::PortTaken { .. }));
        // the same pod may ask for others
        network
            .acquire(&uid("a"), want(&[tcp(None, 8081)]))
            .await
            .unwrap();
        assert_eq!(
            inside(&outside.net(), || hear(at("198.51.100.1:8081"))),
            "hello"
        );
        assert_eq!(
            refused(at("198.51.100.1:8080")),
            ErrorKind::ConnectionRefused
        );
        network.remove_everything().unwrap();
    });
}
