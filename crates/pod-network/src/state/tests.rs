use super::*;
use crate::config::{HostPort, Protocol};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

fn uid(text: &str) -> PodUid {
    PodUid::new(text).unwrap()
}

fn state(pool_size: usize, ready: u32) -> State {
    let slots: Vec<Slot> = (0..ready).map(slot).collect();
    let used: BTreeSet<Ipv4Addr> = slots.iter().filter_map(|s| s.address).collect();
    let addresses = Addresses::new("10.9.0.0/28".parse().unwrap(), used, None);
    State::new(addresses, slots, Vec::new(), ready, pool_size)
}

fn slot(number: u32) -> Slot {
    Slot {
        number,
        address: Some(Ipv4Addr::from(0x0a09_0002 + number)),
    }
}

fn host_network() -> Want {
    Want {
        host_network: true,
        ..Want::default()
    }
}

fn lease(pod: &str, slot: Slot) -> Lease {
    Lease {
        slot: slot.number,
        pod: uid(pod),
        address: slot.address,
        host_ports: Vec::new(),
    }
}

fn build(kind: Kind, urgency: Urgency) -> Work {
    Work::Build { kind, urgency }
}

#[test]
fn a_ready_slot_is_taken_once_and_the_pool_asks_for_more() {
    let mut state = state(2, 2);
    assert_eq!(state.next_work(), Work::Nothing);
    assert!(matches!(state.begin(&uid("a"), &Want::default()), Ok(Begun::Take(s)) if s == slot(0)));
    assert_eq!(state.next_work(), build(Kind::Routed, Urgency::Whenever));
    assert!(matches!(state.begin(&uid("b"), &Want::default()), Ok(Begun::Take(s)) if s == slot(1)));
    assert_eq!(state.next_work(), build(Kind::Routed, Urgency::Soon));
    assert!(matches!(
        state.begin(&uid("c"), &Want::default()),
        Ok(Begun::Wait(_))
    ));
}

#[test]
fn who_waits_comes_before_the_pool_in_order_and_by_kind() {
    let mut state = state(2, 0);
    let Ok(Begun::Wait(mut first)) = state.begin(&uid("a"), &Want::default()) else {
        panic!()
    };
    let Ok(Begun::Wait(mut host)) = state.begin(&uid("h"), &host_network()) else {
        panic!()
    };
    let Ok(Begun::Wait(mut second)) = state.begin(&uid("b"), &Want::default()) else {
        panic!()
    };
    assert_eq!(state.next_work(), build(Kind::Routed, Urgency::Now));
    assert_eq!(state.made(slot(0)), None);
    assert_eq!(state.next_work(), build(Kind::HostNetwork, Urgency::Now));
    let bare = Slot {
        number: 1,
        address: None,
    };
    assert_eq!(state.made(bare), None);
    assert_eq!(state.made(slot(2)), None);
    assert_eq!(first.try_recv().unwrap(), Ok(slot(0)));
    assert_eq!(second.try_recv().unwrap(), Ok(slot(2)));
    assert_eq!(host.try_recv().unwrap(), Ok(bare));
    assert_eq!(state.ready_count(), 0);
}

#[test]
fn a_slot_that_nobody_waits_for_any_more_goes_to_the_pool() {
    let mut state = state(1, 0);
    drop(state.begin(&uid("a"), &Want::default()));
    drop(state.begin(&uid("h"), &host_network()));
    assert_eq!(state.made(slot(0)), None);
    assert_eq!(state.ready_count(), 1);
    let bare = Slot {
        number: 1,
        address: None,
    };
    assert_eq!(state.made(bare), Some(bare), "there is no pool of these");
    assert_eq!(state.next_work(), Work::Nothing);
}

#[test]
fn a_pod_is_in_one_call_at_a_time() {
    let mut state = state(1, 1);
    let Ok(Begun::Take(slot)) = state.begin(&uid("a"), &Want::default()) else {
        panic!()
    };
    assert!(matches!(
        state.begin(&uid("a"), &Want::default()),
        Err(NetworkError::Busy { .. })
    ));
    assert!(matches!(
        state.begin_release(&uid("a")),
        Err(NetworkError::Busy { .. })
    ));
    state.leased(lease("a", slot));
    assert!(matches!(
        state.begin(&uid("a"), &Want::default()),
        Ok(Begun::Has(_))
    ));
    let held = state.begin_release(&uid("a")).unwrap().unwrap();
    assert!(matches!(
        state.begin(&uid("a"), &Want::default()),
        Err(NetworkError::Busy { .. })
    ));
    assert_eq!(state.lease(&uid("a")), None);
    state.released(&held);
    assert_eq!(state.begin_release(&uid("a")).unwrap(), None);
}

#[test]
fn host_ports_are_free_again_after_a_failure_and_after_a_release() {
    let want = Want {
        host_network: false,
        host_ports: vec![HostPort::new(Protocol::Tcp, None, 80, 80)],
    };
    let mut state = state(3, 3);
    assert!(matches!(state.begin(&uid("a"), &want), Ok(Begun::Take(_))));
    assert!(matches!(
        state.begin(&uid("b"), &want),
        Err(NetworkError::PortTaken { .. })
    ));
    state.not_leased(&uid("a"));
    let Ok(Begun::Take(slot)) = state.begin(&uid("b"), &want) else {
        panic!()
    };
    let lease = Lease {
        host_ports: want.host_ports.clone(),
        ..lease("b", slot)
    };
    state.leased(lease.clone());
    assert!(matches!(
        state.begin(&uid("a"), &want),
        Err(NetworkError::PortTaken { .. })
    ));
    state.begin_release(&uid("b")).unwrap();
    state.released(&lease);
    assert!(matches!(state.begin(&uid("a"), &want), Ok(Begun::Take(_))));
}

#[test]
fn closing_lets_nobody_wait() {
    let mut state = state(1, 0);
    let Ok(Begun::Wait(mut delivered)) = state.begin(&uid("a"), &Want::default()) else {
        panic!()
    };
    state.close();
    assert!(
        delivered
            .try_recv()
            .is_err_and(|e| e == oneshot::error::TryRecvError::Closed)
    );
    assert_eq!(state.next_work(), Work::Stop);
    assert!(matches!(
        state.begin(&uid("b"), &Want::default()),
        Err(NetworkError::ShuttingDown)
    ));
}
