//! Pods come, talk and go.

use crate::lab::{inside, net, on_a_machine, spawn_inside, uid, until};
use crate::talk::{greet, hear, refused};
use pod_network::{Released, Want, open_namespaces};
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
        let pins = || {
            let table = std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
            table.lines().filter(|line| line.contains(" nsfs ")).count()
        };
        assert_eq!(pins(), 5 * 3);
        let copy = tempfile::tempdir().unwrap();
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
