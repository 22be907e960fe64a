//! Figures, printed; nothing here fails for being slow.
#![allow(clippy::print_stdout)] // figures for whoever runs it with --nocapture

use crate::node::{Node, exit_of, is_root};
use std::collections::BTreeMap;

#[test]
fn launches_are_measured_step_by_step() {
    if !is_root() {
        return;
    }
    let node = Node::new();
    let mut connection = node.connect();
    let mut spans: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for n in 0..50 {
        let description = node.plain(&format!("n{n}"), &["/bin/true"]);
        let key = description.container.clone();
        let (launched, _fds) = node.launch(&mut connection, description);
        let mut total = 0;
        for span in launched.spans {
            total += span.nanos;
            spans.entry(span.step).or_default().push(span.nanos);
        }
        spans
            .entry("(clone to exec)".into())
            .or_default()
            .push(total);
        assert_eq!(exit_of(&mut connection, &key).code, 0);
    }
    for (step, mut nanos) in spans {
        nanos.sort_unstable();
        println!(
            "{step:>16} p50 {:>7.3} ms  min {:>7.3} ms",
            nanos[nanos.len() / 2] as f64 / 1e6,
            nanos[0] as f64 / 1e6
        );
    }
}

/// (dirty, clean) in KiB. Clean pages are the program's own file: with the agent, which executes the same one, they are shared.
fn private_kib(pid: u32) -> (u64, u64) {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("smaps");
    let of = |name: &str| {
        let line = text.lines().find_map(|l| l.strip_prefix(name));
        line.and_then(|l| l.split_whitespace().next()?.parse().ok())
            .unwrap_or(0)
    };
    (of("Private_Dirty:"), of("Private_Clean:"))
}

#[test]
fn a_hundred_and_ten_containers_are_measured_in_memory() {
    if !is_root() {
        return;
    }
    let node = Node::new();
    let mut connection = node.connect();
    let before = private_kib(node.keeper_pid());
    let mut held = Vec::new();
    let begin = std::time::Instant::now();
    for n in 0..110 {
        let description = node.plain(
            &format!("n{n}"),
            &["/bin/sh", "-c", "echo started; sleep 1000"],
        );
        held.push(node.launch(&mut connection, description));
    }
    let took = begin.elapsed();
    std::thread::sleep(std::time::Duration::from_millis(1500));
    let after = private_kib(node.keeper_pid());
    println!(
        "keeper private memory (dirty, clean): {before:?} KiB with none, {after:?} KiB with 110 containers; launched one after another in {took:?}"
    );
    assert_eq!(held.len(), 110);
}
