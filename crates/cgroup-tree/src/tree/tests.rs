//! Detection and v2's files over a directory that looks like a cgroup filesystem.

use super::*;
use crate::mounts::V2_CONTROLLERS;
use std::fs;

type Answer = Result<(), Box<dyn std::error::Error>>;

/// A directory with a `cgroup2` in it that has these controllers, and its mount table.
fn machine(
    controllers: &str,
    v1: &[&str],
) -> Result<(tempfile::TempDir, String), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let unified = directory.path().join("unified");
    fs::create_dir(&unified)?;
    fs::write(unified.join("cgroup.controllers"), controllers)?;
    let mut table = format!(
        "41 31 0:38 / {} rw,relatime - cgroup2 cgroup2 rw\n",
        unified.display()
    );
    for name in v1 {
        let point = directory.path().join(name);
        fs::create_dir(&point)?;
        table += &format!(
            "50 31 0:40 / {} rw,relatime - cgroup cgroup rw,{name}\n",
            point.display()
        );
    }
    Ok((directory, table))
}

#[test]
fn v2_is_chosen_when_its_tree_has_all_that_is_needed() -> Answer {
    let (_directory, table) = machine("cpuset cpu io memory hugetlb pids\n", &["freezer"])?;
    let tree = CgroupTree::detect_in("/node-a", &table)?;
    assert_eq!(tree.kind(), CgroupKind::V2);
    let (_, controllers) = tree.hierarchies().next().ok_or("none")?;
    assert_eq!(controllers, V2_CONTROLLERS);
    Ok(())
}

#[test]
fn v1_is_chosen_when_the_unified_tree_lacks_controllers() -> Answer {
    let (directory, table) = machine(
        "hugetlb\n",
        &[
            "cpu,cpuacct",
            "memory",
            "pids",
            "devices",
            "freezer",
            "blkio",
        ],
    )?;
    let tree = CgroupTree::detect_in("/", &table)?;
    assert_eq!(tree.kind(), CgroupKind::V1);
    let used: Vec<_> = tree
        .hierarchies()
        .map(|(point, has)| (point.strip_prefix(directory.path()), has.join("+")))
        .map(|(point, has)| (point.map(|p| p.display().to_string()), has))
        .map(|(point, has)| format!("{} {has}", point.unwrap_or_default()))
        .collect();
    assert_eq!(
        used,
        [
            "cpu,cpuacct cpu+cpuacct",
            "memory memory",
            "pids pids",
            "devices devices",
            "freezer freezer"
        ],
        "and blkio is left alone"
    );
    Ok(())
}

#[test]
fn a_machine_with_neither_is_told_what_each_lacks() -> Answer {
    let (_directory, table) = machine("hugetlb memory\n", &["memory", "cpu"])?;
    let told = CgroupTree::detect_in("/", &table).map_err(|e| e.to_string());
    let told = told.err().ok_or("it was accepted")?;
    assert!(told.contains("lacks cpu, pids"), "{told}");
    assert!(
        told.contains("cgroup v1 lacks cpuacct, pids, devices, freezer"),
        "{told}"
    );
    let none = CgroupTree::detect_in("/", "").map_err(|e| e.to_string());
    assert!(none.is_err_and(|e| e.contains("cgroup2 is not mounted")));
    Ok(())
}

#[test]
fn a_root_that_is_no_clean_absolute_path_is_refused() -> Answer {
    let (_directory, table) = machine("cpu memory pids", &[])?;
    for root in ["", "node", "/a/../b", "/./a"] {
        let got = CgroupTree::detect_in(root, &table);
        assert!(
            matches!(got, Err(CgroupError::BadRoot { .. })),
            "{root:?}: {got:?}"
        );
    }
    Ok(())
}

#[test]
fn on_v2_controllers_are_handed_down_once_and_numbers_written() -> Answer {
    let (directory, table) = machine("cpu memory pids\n", &[])?;
    let tree = CgroupTree::detect_in("/", &table)?;
    let hierarchy = &tree.hierarchies[0];
    let pod = directory.path().join("unified/pod");
    fs::create_dir(&pod)?;
    for (file, text) in [
        ("cgroup.controllers", "cpu memory pids\n"),
        ("cgroup.subtree_control", "memory\n"),
        ("cpu.weight", "100"),
        ("cpu.max", "max 100000"),
        ("memory.max", "max"),
        ("memory.oom.group", "0"),
        ("pids.max", "max"),
    ] {
        fs::write(pod.join(file), text)?;
    }
    v2::hand_down(hierarchy, &pod)?;
    // a real one would show them all now; here the last write stands at the beginning
    let asked = fs::read_to_string(pod.join("cgroup.subtree_control"))?;
    assert!(asked.starts_with("+cpu +pids"), "{asked}");
    let numbers = CgroupNumbers {
        cpu_shares: 2048,
        memory_limit_bytes: Some(1 << 20),
        pids_limit: Some(7),
        swap: false,
        oom_group: true,
        ..CgroupNumbers::UNLIMITED
    };
    // there is no memory.swap.max, as on a kernel without swap
    v2::write_numbers(hierarchy, &pod, &numbers)?;
    let read = |file: &str| fs::read_to_string(pod.join(file)).unwrap_or_default();
    assert_eq!(read("cpu.weight"), "174");
    assert_eq!(read("cpu.max"), "max 100000", "not limited, not written");
    assert!(read("memory.max").starts_with("1048576"));
    assert_eq!(read("memory.oom.group"), "1");
    assert!(read("pids.max").starts_with('7'));
    Ok(())
}
