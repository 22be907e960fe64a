//! The agent dies, at any moment; the next one finds everything and leaves nothing over.

use crate::lab::{on_a_machine, uid, until};
use pod_network::{Notice, Want};

#[test]
fn a_new_agent_finds_leases_and_ready_slots() {
    on_a_machine(async |lab| {
        let network = lab.start();
        let a = network.acquire(&uid("a"), Want::default()).await.unwrap();
        let host = Want {
            host_network: true,
            ..Want::default()
        };
        let h = network.acquire(&uid("h"), host.clone()).await.unwrap();
        until("the pool is full", || network.ready_slots() == 4);
        let links = lab.links();
        network.shutdown();
        drop(network);

        let network = lab.start();
        assert_eq!(network.ready_slots(), 4);
        assert_eq!(lab.links(), links, "nothing was made anew");
        let again = network.acquire(&uid("a"), Want::default()).await.unwrap();
        assert_eq!(
            (&again.slot, &again.addresses, &again.net),
            (&a.slot, &a.addresses, &a.net)
        );
        let again = network.acquire(&uid("h"), host).await.unwrap();
        assert_eq!(again.slot, h.slot);
        let b = network.acquire(&uid("b"), Want::default()).await.unwrap();
        assert_ne!(b.addresses, a.addresses);
        network.remove_everything().unwrap();
        until("no link is left", || lab.links().is_empty());
    });
}

#[test]
fn an_unreadable_lease_is_rebuilt_from_the_slot() {
    on_a_machine(async |lab| {
        let network = lab.start();
        let a = network.acquire(&uid("a"), Want::default()).await.unwrap();
        drop(network);
        std::fs::write(lab.run_dir.join("net").join(&a.slot), "garbage").unwrap();
        let network = lab.start();
        assert!(network.notices().iter().any(|n| matches!(n,
            Notice::LeaseUnreadable { slot, pod: Some(pod), .. } if *slot == a.slot && *pod == uid("a"))));
        assert_eq!(network.sandbox(&uid("a")).unwrap().addresses, a.addresses);
        drop(network);
        let network = lab.start();
        assert!(
            !network
                .notices()
                .iter()
                .any(|n| matches!(n, Notice::LeaseUnreadable { .. })),
            "said once"
        );
        assert_eq!(network.sandbox(&uid("a")).unwrap().addresses, a.addresses);
        network.remove_everything().unwrap();
    });
}

#[test]
fn a_lease_of_another_boot_is_dropped() {
    on_a_machine(async |lab| {
        let network = lab.start();
        let a = network.acquire(&uid("a"), Want::default()).await.unwrap();
        drop(network);
        // the run directory is on a disk here: files stay, mounts do not
        nix::mount::umount2(&lab.run_dir.join("ns"), nix::mount::MntFlags::MNT_DETACH).unwrap();
        until("the links are gone", || lab.links().is_empty());
        let network = lab.start();
        assert!(
            network
                .notices()
                .contains(&Notice::SandboxLost { pod: uid("a") })
        );
        assert_eq!(network.sandbox(&uid("a")), None);
        let anew = network.acquire(&uid("a"), Want::default()).await.unwrap();
        assert_ne!(anew.slot, a.slot);
        network.remove_everything().unwrap();
    });
}
