//! Pods come, talk and go.

use crate::lab::{inside, net, on_a_machine, run, spawn_inside, uid, until};
use crate::talk::{greet, hear, refused};
use pod_network::{HostPort, NetworkConfig, PodNetwork, Protocol, Released, Want, open_namespaces};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::MetadataExt;

#[test]
fn pods_reach_each_other_and_the_host_with_their_own_addresses() {
    on_a_machine(async |lab| {
        let network = lab.start();
        let a = network.acquire(&uid("a"), Want::default()).await.unwrap();
        let b = network.acquire(&uid("b"), Want::default()).await.unwrap();
        let (addr_a, addr_b) = (a.addresses[0], b.addresses[0]);
        assert_ne!(addr_a, addr_b);

        let server = inside(&net(&a), move || TcpListener::bind((addr_a, 80)).unwrap());
        let port = server.local_addr().unwrap();
        let serving = std::thread::spawn(move || (greet(&server), greet(&server)));
        assert_eq!(inside(&net(&b), move || hear(port)), "hello");
        assert_eq!(
            hear(port),
            "hello",
            "from the host, which has no address but the one in the CIDR"
        );
        let (from_b, from_host) = serving.join().unwrap();
        assert_eq!(from_b, addr_b);
        assert_eq!(from_host, "10.77.0.1".parse::<IpAddr>().unwrap());

        // and from a pod to the host
        let server = TcpListener::bind("10.77.0.1:0").unwrap();
        let port = server.local_addr().unwrap();
        let hearing = spawn_inside(&net(&b), move || hear(port));
        assert_eq!(greet(&server), addr_b);
        assert_eq!(hearing.join().unwrap(), "hello");
        network.remove_everything().unwrap();
    });
}

#[test]
fn asking_twice_gives_the_same_network() {
    on_a_machine(async |lab| {
        let network = lab.start();
        let first = network.acquire(&uid("a"), Want::default()).await.unwrap();
        let again = network.acquire(&uid("a"), Want::default()).await.unwrap();
        assert_eq!(
            (&first.slot, &first.addresses),
            (&again.slot, &again.addresses)
        );
        assert_eq!(network.sandbox(&uid("a")).map(|s| s.slot), Some(first.slot));
        assert_eq!(network.sandbox(&uid("b")), None);
        network.remove_everything().unwrap();
    });
}

#[test]
fn a_sandbox_has_namespaces_that_are_not_the_hosts() {
    on_a_machine(async |lab| {
        let network = lab.start();
        let inode = |path: &str| std::fs::metadata(path).unwrap().ino();
        let own = network.acquire(&uid("a"), Want::default()).await.unwrap();
        let host = Want {
            host_network: true,
            ..Want::default()
        };
        let shared = network.acquire(&uid("h"), host).await.unwrap();
        assert!(shared.addresses.is_empty() && shared.net.is_none());
        for (sandbox, kinds) in [
            (&own, vec!["net", "ipc", "uts"]),
            (&shared, vec!["ipc", "uts"]),
        ] {
            let dir = sandbox.ipc.parent().unwrap();
            for kind in kinds {
                let pinned = std::fs::metadata(dir.join(kind)).unwrap().ino();
                assert_ne!(
                    pinned,
                    inode(&format!("/proc/thread-self/ns/{kind}")),
                    "{kind}"
                );
            }
        }
        let namespaces = open_namespaces(&own).unwrap();
        assert!(namespaces.net.is_some());
        assert!(open_namespaces(&shared).unwrap().net.is_none());
        network.remove_everything().unwrap();
    });
}

#[test]
fn a_released_pod_leaves_nothing_and_its_address_rests() {
    on_a_machine(async |lab| {
        let network = lab.start();
        let a = network.acquire(&uid("a"), Want::default()).await.unwrap();
        let link_count = |n: usize| lab.links().len() == n;
        until("the pool is full", || network.ready_slots() == 4);
        assert_eq!(
            network.release(&uid("a")).await.unwrap(),
            Released::Released
        );
        assert_eq!(
            network.release(&uid("a")).await.unwrap(),
            Released::NotThere
        );
        assert_eq!(network.sandbox(&uid("a")), None);
        until("the link is gone", || link_count(4));
        assert_eq!(lab.pins(), 4 * 3);
        assert!(lab.files("net").is_empty());
        let b = network.acquire(&uid("b"), Want::default()).await.unwrap();
        assert_ne!(a.addresses, b.addresses);
        network.remove_everything().unwrap();
        until("no link is left", || link_count(0));
        assert_eq!(lab.pins(), 0);
        assert!(lab.files("").is_empty());
    });
}

#[test]
fn a_packet_for_an_absent_pod_is_refused_here() {
    on_a_machine(async |lab| {
        let network = lab.start();
        let a = network.acquire(&uid("a"), Want::default()).await.unwrap();
        let absent: SocketAddr = "10.77.200.200:80".parse().unwrap();
        let kinds = [refused(absent), inside(&net(&a), move || refused(absent))];
        for kind in kinds {
            assert!(
                matches!(
                    kind,
                    std::io::ErrorKind::HostUnreachable | std::io::ErrorKind::NetworkUnreachable
                ),
                "{kind:?}"
            );
        }
        network.remove_everything().unwrap();
    });
}

#[test]
fn a_hundred_and_ten_pods_at_once_all_get_their_own_address() {
    on_a_machine(async |lab| {
        let network = lab.start();
        let tasks: Vec<_> = (0..110)
            .map(|n| {
                let network = network.clone();
                tokio::spawn(async move {
                    network
                        .acquire(&uid(&format!("p{n}")), Want::default())
                        .await
                        .unwrap()
                })
            })
            .collect();
        let mut addresses = std::collections::BTreeSet::new();
        for task in tasks {
            addresses.extend(task.await.unwrap().addresses);
        }
        assert_eq!(addresses.len(), 110);
        let (released, errors) = network.sweep(&[uid("p3")].into()).await;
        assert_eq!((released.len(), errors.len()), (109, 0));
        assert!(network.sandbox(&uid("p3")).is_some());
        network.remove_everything().unwrap();
        until("no link is left", || lab.links().is_empty());
    });
}

#[test]
fn counters_are_told_from_the_pods_side() {
    on_a_machine(async |lab| {
        let network = lab.start();
        let a = network.acquire(&uid("a"), Want::default()).await.unwrap();
        let address = a.addresses[0];
        let before = network.stats().await.unwrap()[&uid("a")];
        let socket = UdpSocket::bind("10.77.0.1:0").unwrap();
        let to_host = socket.local_addr().unwrap();
        inside(&net(&a), move || {
            let socket = UdpSocket::bind((address, 9)).unwrap();
            for _ in 0..10 {
                socket.send_to(&[0; 1000], to_host).unwrap();
            }
        });
        // they wait in the pod until it knows its neighbour
        let patience = std::time::Duration::from_secs(60);
        socket.set_read_timeout(Some(patience)).unwrap();
        for _ in 0..10 {
            socket.recv(&mut [0; 1000]).unwrap();
        }
        let after = network.stats().await.unwrap()[&uid("a")];
        assert!(
            after.tx_bytes - before.tx_bytes >= 10_000
                && after.tx_packets - before.tx_packets >= 10
        );
        assert!(after.rx_bytes - before.rx_bytes < 10_000);
        network.remove_everything().unwrap();
    });
}

#[test]
fn a_pod_that_binds_the_run_directory_gets_no_copies_of_the_pins() {
    on_a_machine(async |lab| {
        let network = lab.start();
        network.acquire(&uid("a"), Want::default()).await.unwrap();
        until("the pool is full", || network.ready_slots() == 4);
        let copy = tempfile::tempdir().unwrap();
        // of this machine only: another node may run on the one below
        let below = [lab.run_dir.clone(), copy.path().to_owned()].map(|p| p.display().to_string());
        let pins = || {
            let table = std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
            let ours =
                |line: &&str| line.contains(" nsfs ") && below.iter().any(|dir| line.contains(dir));
            table.lines().filter(ours).count()
        };
        assert_eq!(pins(), 5 * 3);
        let flags = nix::mount::MsFlags::MS_BIND | nix::mount::MsFlags::MS_REC;
        nix::mount::mount(
            Some(&lab.run_dir),
            copy.path(),
            None::<&str>,
            flags,
            None::<&str>,
        )
        .unwrap();
        assert_eq!(pins(), 5 * 3);
        nix::mount::umount2(copy.path(), nix::mount::MntFlags::MNT_DETACH).unwrap();
        network.remove_everything().unwrap();
    });
}

#[test]
fn when_every_address_is_taken_it_is_said_and_a_released_one_is_waited_for() {
    on_a_machine(async |lab| {
        // .0 is the network, .1 the node, .7 the broadcast address: five are left
        let config = NetworkConfig {
            pod_cidr: "10.77.0.0/29".parse().unwrap(),
            ..lab.config()
        };
        let network = PodNetwork::start(config).unwrap();
        for n in 0..5 {
            network
                .acquire(&uid(&format!("p{n}")), Want::default())
                .await
                .unwrap();
        }
        let error = network
            .acquire(&uid("p5"), Want::default())
            .await
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "no address of the pod CIDR 10.77.0.0/29 is free: 5 are in use; stop pods or give the node a larger CIDR"
        );
        assert!(error.retry());
        let freed = network.sandbox(&uid("p2")).unwrap().addresses;
        network.release(&uid("p2")).await.unwrap();
        let again = network.acquire(&uid("p5"), Want::default()).await.unwrap();
        assert_eq!(again.addresses, freed);
        network.remove_everything().unwrap();
    });
}

#[test]
fn nodes_with_different_networks_live_side_by_side_and_with_the_same_do_not() {
    on_a_machine(async |lab| {
        let node = |name: &str, cidr: &str| NetworkConfig {
            run_dir: lab.run_dir.join(name),
            pod_cidr: cidr.parse().unwrap(),
            pool_size: 1,
            node_hash: NetworkConfig::hash_of(name.as_ref()),
        };
        let one = PodNetwork::start(node("one", "10.77.0.0/16")).unwrap();
        let two = PodNetwork::start(node("two", "10.78.0.0/16")).unwrap();
        let error = PodNetwork::start(node("three", "10.77.0.0/17")).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("pod CIDR 10.77.0.0/17 belongs to another node on this machine"),
            "{error}"
        );
        let port = Want {
            host_ports: vec![HostPort::new(Protocol::Tcp, None, 8080, 80)],
            ..Want::default()
        };
        let a = one.acquire(&uid("a"), port).await.unwrap();
        let b = two.acquire(&uid("a"), Want::default()).await.unwrap();
        let server = inside(&net(&a), || TcpListener::bind("0.0.0.0:80").unwrap());
        let serving = std::thread::spawn(move || greet(&server));
        assert_eq!(
            inside(&net(&b), || hear("10.78.0.1:8080".parse().unwrap())),
            "hello"
        );
        serving.join().unwrap();
        one.remove_everything().unwrap();
        let (_, errors) = two.sweep(&[uid("a")].into()).await;
        assert!(
            errors.is_empty() && std::fs::metadata(&b.ipc).is_ok(),
            "the other is untouched"
        );
        two.remove_everything().unwrap();
        until("no link is left", || lab.links().is_empty());
    });
}

#[test]
fn a_network_of_somebody_else_in_the_cidr_is_told() {
    on_a_machine(async |lab| {
        run("ip link add podman0 type veth peer name podman1");
        run("ip address add 10.77.4.1/24 dev podman0");
        let network = lab.start();
        let told: Vec<String> = network.notices().iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(
            told[0].starts_with("10.77.4.1/24 on podman0 overlaps with the pod CIDR"),
            "{told:?}"
        );
        network.remove_everything().unwrap();
    });
}
