//! What is made, what is written to it, what is found, and that it goes.

use crate::support::*;
use cgroup_tree::{CgroupKind, CgroupTree, DevicePolicy, Made, Removed};
use node_policy::{CgroupNumbers, TierShares};
use pod_model::QosClass;
use std::collections::BTreeSet;

#[test]
fn a_container_gets_its_limits_and_its_cgroups_go_with_it() -> Answer {
    if !can_run() {
        return Ok(());
    }
    let node = Node::new()?;
    let pod = uid("pod-a")?;
    let web = key(&pod, "web")?;
    assert_eq!(
        node.tree.create_pod(&pod, QosClass::Burstable, &limits())?,
        Made::Created
    );
    assert_eq!(
        node.tree.create_pod(&pod, QosClass::Burstable, &limits())?,
        Made::AlreadyThere
    );
    let make = || {
        node.tree
            .create_container(&web, QosClass::Burstable, &limits(), DevicePolicy::Default)
    };
    let placement = make()?;
    assert_eq!(make()?, placement, "again is the same");
    for directory in directories(&placement) {
        assert!(
            directory.ends_with("kubepods/burstable/podpod-a/web.0"),
            "{directory:?}"
        );
    }
    let text = |v1, v2| control(&placement, v1, v2);
    let v1 = node.tree.kind() == CgroupKind::V1;
    let same = |v1_text: &str, v2_text: &str| Some(if v1 { v1_text } else { v2_text }.to_owned());
    assert_eq!(text("cpu.shares", "cpu.weight"), same("512", "59"));
    assert_eq!(
        text("cpu.cfs_quota_us", "cpu.max"),
        same("50000", "50000 100000")
    );
    assert_eq!(
        text("memory.limit_in_bytes", "memory.max"),
        same("33554432", "33554432")
    );
    assert_eq!(text("pids.max", "pids.max"), same("64", "64"));
    if v1 {
        let devices = text("devices.list", "").unwrap_or_default();
        assert!(devices.lines().any(|l| l == "c 1:3 rwm"), "{devices}");
        assert!(!devices.lines().any(|l| l.starts_with('a')), "{devices}");
    }

    assert_eq!(node.tree.remove_container(&web)?, Removed::Removed);
    assert!(none_exists(&directories(&placement)));
    assert_eq!(node.tree.remove_container(&web)?, Removed::NothingThere);
    assert_eq!(node.tree.remove_pod(&pod)?, Removed::Removed);
    assert_eq!(node.tree.remove_pod(&pod)?, Removed::NothingThere);
    Ok(())
}

#[test]
fn a_restarted_agent_finds_pods_and_containers_by_their_names() -> Answer {
    if !can_run() {
        return Ok(());
    }
    let mut node = Node::new()?;
    let plain = CgroupNumbers::UNLIMITED;
    let mut expected = Vec::new();
    for (name, qos) in [
        ("g", QosClass::Guaranteed),
        ("b", QosClass::Burstable),
        ("e", QosClass::BestEffort),
    ] {
        let pod = uid(name)?;
        let container = key(&pod, "c")?;
        node.tree.create_pod(&pod, qos, &plain)?;
        let placement =
            node.tree
                .create_container(&container, qos, &plain, DevicePolicy::Default)?;
        let pid = node.run(&placement, "sleep 600")?;
        until("it is listed", || {
            node.tree
                .processes(&container)
                .is_ok_and(|p| p.contains(&pid))
        })?;
        expected.push((pod, qos, container, pid));
    }
    let restarted = CgroupTree::detect(node.tree.root())?;
    let found = restarted.list()?;
    assert_eq!(found.len(), 3);
    for (pod, qos, container, pid) in expected {
        let this = found.iter().find(|f| f.uid == pod).ok_or("not found")?;
        assert_eq!((this.qos, this.containers.len()), (qos, 1));
        assert_eq!(this.containers[0].key, container);
        assert!(this.containers[0].processes.contains(&pid));
    }
    Ok(())
}

#[test]
fn a_sweep_takes_the_pods_that_nobody_owns_and_leaves_the_others() -> Answer {
    if !can_run() {
        return Ok(());
    }
    let mut node = Node::new()?;
    let (mine, orphan) = (uid("mine")?, uid("orphan")?);
    for pod in [&mine, &orphan] {
        let container = key(pod, "c")?;
        node.tree
            .create_pod(pod, QosClass::BestEffort, &CgroupNumbers::UNLIMITED)?;
        let placement = node.tree.create_container(
            &container,
            QosClass::BestEffort,
            &CgroupNumbers::UNLIMITED,
            DevicePolicy::All,
        )?;
        let pid = node.run(&placement, "sleep 600")?;
        until("it is there", || {
            node.tree
                .processes(&container)
                .is_ok_and(|p| p.contains(&pid))
        })?;
    }
    let known = BTreeSet::from([mine.clone()]);
    let swept = node.tree.sweep(&known)?;
    assert_eq!(swept.len(), 1);
    assert_eq!(swept[0].uid, orphan);
    assert!(swept[0].result.is_ok(), "{:?}", swept[0].result);
    let left: Vec<_> = node.tree.list()?.into_iter().map(|p| p.uid).collect();
    assert_eq!(left, [mine]);
    assert!(node.tree.remove_all().is_err(), "a process lives in it");
    Ok(())
}

#[test]
fn nothing_is_left_when_the_node_goes() -> Answer {
    if !can_run() {
        return Ok(());
    }
    let mut node = Node::new()?;
    let service = node.tree.create_service("coracle-keeper")?;
    let late = node.run(&service, "sleep 600 & wait")?;
    let last = directories(&service).pop().ok_or("no directory")?;
    until("it is there", || {
        std::fs::read_to_string(last.join("cgroup.procs"))
            .is_ok_and(|listed| listed.lines().any(|pid| pid == late.to_string()))
    })?;
    node.tree.set_tier_shares(TierShares {
        burstable: 2048,
        besteffort: 2,
    })?;
    assert_eq!(node.tree.remove_all()?, Removed::Removed);
    assert!(!none_exists(&directories(&service)), "the keeper's stays");
    node.tree.remove_service("coracle-keeper")?;
    assert_eq!(node.exit_of(late)?, 128 + 9);
    assert!(none_exists(&directories(&service)));
    for directory in directories(&service) {
        let root = directory.parent().ok_or("no parent")?;
        assert!(!root.exists(), "{root:?} was made here");
    }
    Ok(())
}

#[test]
fn a_missing_limit_is_told_with_its_file_and_value() -> Answer {
    if !can_run() {
        return Ok(());
    }
    let node = Node::new()?;
    let pod = uid("strange")?;
    let impossible = CgroupNumbers {
        cpu_quota_us: Some(u64::MAX),
        ..limits()
    };
    let told = node
        .tree
        .create_pod(&pod, QosClass::Burstable, &impossible)
        .map_err(|e| e.to_string());
    assert!(
        told.as_ref()
            .is_err_and(|e| e.contains("18446744073709551615") && e.contains("podstrange/cpu")),
        "{told:?}"
    );
    Ok(())
}
