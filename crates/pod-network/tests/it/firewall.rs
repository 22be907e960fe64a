//! What leaves the machine, and what may not.

use crate::lab::{Outside, inside, net, on_a_machine, run, uid, until};
use crate::talk::{greet, hear};
use pod_network::{HostPort, Protocol, Want};
use std::io::Write;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};

/// Packets that the two rules of the guard dropped: to loopback, and from a foreign address.
fn dropped() -> (u64, u64) {
    let text = run("nft list chain ip coracle_beef guard");
    let counts: Vec<u64> = text
        .lines()
        .filter_map(|line| {
            line.split_once("counter packets ")?
                .1
                .split(' ')
                .next()?
                .parse()
                .ok()
        })
        .collect();
    assert_eq!(counts.len(), 2, "{text}");
    (counts[0], counts[1])
}

#[test]
fn the_outside_sees_the_node_and_pods_see_each_other() {
    on_a_machine(async |lab| {
        let outside = Outside::new();
        let network = lab.start();
        assert!(network.notices().is_empty(), "{:?}", network.notices());
        let a = network.acquire(&uid("a"), Want::default()).await.unwrap();
        let server = inside(&outside.net(), || {
            TcpListener::bind("198.51.100.2:80").unwrap()
        });
        let serving = std::thread::spawn(move || greet(&server));
        assert_eq!(
            inside(&net(&a), || hear("198.51.100.2:80".parse().unwrap())),
            "hello"
        );
        assert_eq!(
            serving.join().unwrap(),
            "198.51.100.1".parse::<IpAddr>().unwrap()
        );

        let b = network.acquire(&uid("b"), Want::default()).await.unwrap();
        let addr_b = b.addresses[0];
        let server = inside(&net(&b), move || TcpListener::bind((addr_b, 80)).unwrap());
        let serving = std::thread::spawn(move || greet(&server));
        assert_eq!(inside(&net(&a), move || hear((addr_b, 80).into())), "hello");
        assert_eq!(
            serving.join().unwrap(),
            a.addresses[0],
            "no masquerade within the CIDR"
        );
        network.remove_everything().unwrap();
    });
}

#[test]
fn a_pod_cannot_send_from_anothers_address() {
    on_a_machine(async |lab| {
        let network = lab.start();
        let a = network.acquire(&uid("a"), Want::default()).await.unwrap();
        let b = network.acquire(&uid("b"), Want::default()).await.unwrap();
        let host = UdpSocket::bind("10.77.0.1:0").unwrap();
        host.set_nonblocking(true).unwrap();
        let to = host.local_addr().unwrap();
        let victim = b.addresses[0];
        let before = dropped();
        let send = move |from: IpAddr| {
            let socket = UdpSocket::bind((from, 0)).unwrap();
            socket.send_to(b"x", to).unwrap();
        };
        inside(&net(&a), move || {
            run(&format!("ip address add {victim}/32 dev lo"));
            send(victim);
        });
        until("the packet was counted and dropped", || {
            dropped().1 > before.1
        });
        // what is allowed arrives, and only that
        let own = a.addresses[0];
        inside(&net(&a), move || send(own));
        let mut buffer = [0; 8];
        let mut from = None;
        until("the pod's own packet arrives", || {
            from = host.recv_from(&mut buffer).ok().map(|(_, from)| from.ip());
            from.is_some()
        });
        assert_eq!(from, Some(own));
        assert!(host.recv_from(&mut buffer).is_err());
        network.remove_everything().unwrap();
    });
}

#[test]
fn the_strict_source_check_stands_without_the_table_too() {
    on_a_machine(async |lab| {
        let network = lab.start();
        let a = network.acquire(&uid("a"), Want::default()).await.unwrap();
        let link = lab.config().link_name_of(&a.slot);
        for (key, value) in [
            ("ipv4", "rp_filter", "1"),
            ("ipv4", "forwarding", "1"),
            ("ipv4", "route_localnet", "0"),
            ("ipv6", "accept_ra", "0"),
            ("ipv6", "addr_gen_mode", "1"),
        ]
        .map(|(family, key, value)| (format!("/proc/sys/net/{family}/conf/{link}/{key}"), value))
        {
            assert_eq!(
                std::fs::read_to_string(&key).unwrap().trim(),
                value,
                "{key}"
            );
        }
        let all = std::fs::read_to_string("/proc/sys/net/ipv4/conf/all/route_localnet").unwrap();
        assert_eq!(all.trim(), "0");
        network.remove_everything().unwrap();
    });
}

#[test]
fn a_pod_cannot_reach_the_hosts_loopback_even_with_a_host_port() {
    on_a_machine(async |lab| {
        let network = lab.start();
        let want = Want {
            host_ports: vec![HostPort::new(Protocol::Udp, None, 5353, 53)],
            ..Want::default()
        };
        let a = network.acquire(&uid("a"), want).await.unwrap();
        let host = UdpSocket::bind("127.0.0.1:0").unwrap();
        host.set_nonblocking(true).unwrap();
        let to: SocketAddr = host.local_addr().unwrap();
        let before = dropped();
        inside(&net(&a), move || {
            // a pod with CAP_NET_ADMIN can bend its own namespace so far
            std::fs::write("/proc/sys/net/ipv4/conf/all/route_localnet", "1").unwrap();
            run("ip address flush dev lo");
            run("ip route flush table local");
            run("ip route add 127.0.0.1/32 via 169.254.1.1 dev eth0 onlink");
            UdpSocket::bind("0.0.0.0:0")
                .unwrap()
                .send_to(b"x", to)
                .unwrap();
        });
        until("the packet was counted and dropped", || {
            dropped().0 > before.0
        });
        assert!(host.recv_from(&mut [0; 8]).is_err());
        network.remove_everything().unwrap();
    });
}

#[test]
fn a_table_that_somebody_flushed_is_made_anew() {
    on_a_machine(async |lab| {
        let network = lab.start();
        let want = Want {
            host_ports: vec![HostPort::new(Protocol::Tcp, None, 8080, 80)],
            ..Want::default()
        };
        network.acquire(&uid("a"), want).await.unwrap();
        let table = || run("nft list table ip coracle_beef");
        let whole = table();
        assert!(!network.repair().await.unwrap());
        run("nft flush ruleset");
        assert!(network.repair().await.unwrap());
        assert_eq!(table(), whole);
        network.remove_everything().unwrap();
        assert_eq!(run("nft list ruleset"), "");
    });
}

#[test]
fn nft_reads_the_table_as_it_is_meant() {
    on_a_machine(async |lab| {
        let network = lab.start();
        let want = Want {
            host_ports: vec![
                HostPort::new(Protocol::Tcp, None, 8080, 80),
                HostPort::new(Protocol::Sctp, Some([127, 0, 0, 1].into()), 9999, 9),
            ],
            ..Want::default()
        };
        let a = network.acquire(&uid("a"), want).await.unwrap();
        let text = run("nft -p list ruleset").replace(&a.addresses[0].to_string(), "POD");
        let expected = r#"table ip coracle_beef {
	map host_ports {
		type inet_proto . inet_service : ipv4_addr . inet_service
		elements = { 6 . 8080 : POD . 80 }
	}

	map host_ports_at {
		type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service
		elements = { 127.0.0.1 . 132 . 9999 : POD . 9 }
	}

	set hairpins {
		type ipv4_addr . ipv4_addr
		elements = { POD . POD }
	}

	chain guard {
		type filter hook prerouting priority raw; policy accept;
		iifname "corbeef*" ip daddr 127.0.0.0/8 counter packets 0 bytes 0 drop
		iifname "corbeef*" fib saddr . iif oif 0 counter packets 0 bytes 0 drop
	}

	chain arriving {
		type nat hook prerouting priority dstnat; policy accept;
		fib daddr type local dnat ip to ip daddr . meta l4proto . th dport map @host_ports_at
		fib daddr type local dnat ip to meta l4proto . th dport map @host_ports
	}

	chain local {
		type nat hook output priority -100; policy accept;
		fib daddr type local dnat ip to ip daddr . meta l4proto . th dport map @host_ports_at
		fib daddr type local dnat ip to meta l4proto . th dport map @host_ports
	}

	chain leaving {
		type nat hook postrouting priority srcnat; policy accept;
		ip saddr 10.77.0.0/16 ip daddr != 10.77.0.0/16 masquerade
		oifname "corbeef*" ip saddr 127.0.0.0/8 masquerade
		ip saddr . ip daddr @hairpins masquerade
	}
}
"#;
        assert_eq!(text, expected);
        network.remove_everything().unwrap();
    });
}

/// A table that belongs to another process: the kernel refuses to let us have one of that name, as it would without nf_tables.
struct Occupied(std::process::Child);

impl Occupied {
    fn new() -> Self {
        let mut nft = std::process::Command::new("nft")
            .arg("-i")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let stdin = nft.stdin.as_mut().unwrap();
        writeln!(stdin, "add table ip coracle_beef {{ flags owner; }}").unwrap();
        stdin.flush().unwrap();
        let occupied = Self(nft);
        until("the table is taken", || {
            run("nft list tables").contains("coracle_beef")
        });
        occupied
    }
}

impl Drop for Occupied {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn without_a_packet_filter_pods_work_and_host_ports_fail_with_a_reason() {
    on_a_machine(async |lab| {
        let occupied = Occupied::new();
        let network = lab.start();
        let told: Vec<String> = network.notices().iter().map(ToString::to_string).collect();
        assert!(
            told.len() == 1 && told[0].starts_with("the kernel has no nf_tables with NAT"),
            "{told:?}"
        );
        let a = network.acquire(&uid("a"), Want::default()).await.unwrap();
        let address = a.addresses[0];
        let server = inside(&net(&a), move || TcpListener::bind((address, 80)).unwrap());
        let serving = std::thread::spawn(move || greet(&server));
        assert_eq!(hear((address, 80).into()), "hello");
        serving.join().unwrap();

        let want = Want {
            host_ports: vec![HostPort::new(Protocol::Tcp, None, 8080, 80)],
            ..Want::default()
        };
        let error = network.acquire(&uid("b"), want.clone()).await.unwrap_err();
        assert!(
            error.to_string().starts_with(
                "host ports need nf_tables with NAT in the kernel, which refused it: "
            ),
            "{error}"
        );
        assert!(network.sandbox(&uid("b")).is_none() && !lab.files("net").is_empty());

        drop(occupied);
        until("the table is free", || {
            !run("nft list tables").contains("coracle_beef")
        });
        assert!(network.repair().await.unwrap());
        network.acquire(&uid("b"), want).await.unwrap();
        network.remove_everything().unwrap();
    });
}
