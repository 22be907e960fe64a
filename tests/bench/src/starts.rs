//! Pod seen → program executed: one after the other, and eight at once.

use crate::bed::{Bed, Start, sleeper};
use crate::row::{Row, median};
use std::collections::BTreeMap;
use std::time::Duration;

/// More than a grace period of the kernel's RCU and any timer of ours: what a person feels, not what a loop hides.
const APART: Duration = Duration::from_millis(150);

pub(crate) fn in_order() -> anyhow::Result<Vec<Row>> {
    let bed = Bed::new("")?;
    let mut starts = Vec::new();
    for number in 0..104 {
        let name = format!("p{number}");
        bed.node.apply(&sleeper(&name));
        std::thread::sleep(APART);
        bed.wait("the pod to run", APART, |pods| Bed::running(pods) == 1)?;
        starts.push(bed.start_of(&name)?);
        bed.node.remove_manifest(&name);
        std::thread::sleep(APART);
        bed.wait("the pod to be gone", APART, <[_]>::is_empty)?;
    }
    // The first starts the keeper and fills caches.
    Ok(vec![row(
        "pod_start",
        &starts[4..],
        "one every two seconds or so, image present, own network; from the node's timeline",
    )])
}

pub(crate) fn eight_at_once() -> anyhow::Result<Vec<Row>> {
    let bed = Bed::new("")?;
    let mut starts = Vec::new();
    for round in 0..13 {
        let names: Vec<_> = (0..8).map(|number| format!("r{round}-{number}")).collect();
        for name in &names {
            bed.node.apply(&sleeper(name));
        }
        std::thread::sleep(APART);
        bed.wait("all to run", APART, |pods| {
            Bed::running(pods) == names.len()
        })?;
        for name in &names {
            let start = bed.start_of(name)?;
            if round > 0 {
                starts.push(start);
            }
        }
        for name in &names {
            bed.node.remove_manifest(name);
        }
        std::thread::sleep(APART);
        bed.wait("all to be gone", APART, <[_]>::is_empty)?;
    }
    Ok(vec![row(
        "pod_start_8",
        &starts,
        "eight manifests at once, 12 rounds; each from its own sight to its exec",
    )])
}

fn row(id: &str, starts: &[Start], method: &str) -> Row {
    let mut row = Row::new(id, starts.iter().map(|start| start.total).collect(), method);
    let mut steps: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    let mut order = Vec::new();
    for (step, ms) in starts.iter().flat_map(|start| &start.steps) {
        let known = steps.entry(step).or_default();
        if known.is_empty() {
            order.push(step.as_str());
        }
        known.push(*ms);
    }
    row.steps = order
        .into_iter()
        .map(|step| {
            (
                step.to_owned(),
                median(steps.remove(step).unwrap_or_default()),
            )
        })
        .collect();
    row
}
