//! What a node costs: empty, and with 110 pods.

use crate::bed::{Bed, Start, sleeper};
use crate::row::Row;
use anyhow::Context;
use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;
use node_tests::process;
use std::fs;
use std::time::{Duration, Instant};

const PODS: usize = 110;
const FEW: usize = 10;
/// After so long without a change the agent has given back what it does not need at rest.
const AT_REST: Duration = Duration::from_secs(8);

pub(crate) fn a_full_node() -> anyhow::Result<Vec<Row>> {
    let bed = Bed::new("")?;
    // One pod comes and goes: the keeper is there, and what is allocated once is.
    bed.node.apply(&sleeper("first"));
    bed.wait("the first pod", Duration::from_millis(50), |pods| {
        Bed::running(pods) == 1
    })?;
    bed.node.remove_manifest("first");
    bed.wait("it to go", Duration::from_millis(50), <[_]>::is_empty)?;
    std::thread::sleep(AT_REST);

    let empty = Held::now(&bed)?;
    for number in 0..FEW {
        bed.node.apply(&sleeper(&format!("f{number}")));
    }
    bed.wait("ten pods", Duration::from_millis(50), |pods| {
        Bed::running(pods) == FEW
    })?;
    std::thread::sleep(AT_REST);
    let few = Held::now(&bed)?;
    for number in 0..FEW {
        bed.node.remove_manifest(&format!("f{number}"));
    }
    bed.wait("them to go", Duration::from_millis(50), <[_]>::is_empty)?;
    std::thread::sleep(AT_REST);
    for number in 0..PODS {
        bed.node.apply(&sleeper(&format!("b{number}")));
    }
    bed.wait("110 pods", Duration::from_millis(250), |pods| {
        Bed::running(pods) == PODS
    })?;
    let starts: Vec<Start> = (0..PODS)
        .map(|number| bed.start_of(&format!("b{number}")))
        .collect::<anyhow::Result<_>>()?;
    let first = starts
        .iter()
        .map(|start| start.seen)
        .fold(f64::INFINITY, f64::min);
    let last = starts.iter().map(|start| start.started).fold(0.0, f64::max);
    std::thread::sleep(AT_REST);

    // before the caches are dropped: who rests reads nothing from the disk either
    let idle = idle_cpu(&bed, Duration::from_secs(20))?;
    let full = Held::now(&bed)?;
    #[allow(clippy::cast_precision_loss, reason = "a hundred")]
    let per_pod = |held: &Held, pods: usize| (held.everything - empty.everything) / pods as f64;
    Ok(vec![
        Row::new(
            "burst_110",
            vec![last - first],
            "110 manifests written in one go; first seen to last executed, from the timelines",
        ),
        Row::new(
            "rss_agent_0",
            vec![empty.agent],
            "VmRSS of the agent, no pod, after one came and went",
        ),
        Row::new("rss_agent_10", vec![few.agent], "the same, 10 pods"),
        Row::new("rss_agent_110", vec![full.agent], "the same, 110 pods"),
        Row::new(
            "keeper_private_0",
            vec![empty.keeper],
            "Private_Clean + Private_Dirty of the keeper, no pod",
        ),
        Row::new("keeper_private_10", vec![few.keeper], "the same, 10 pods"),
        Row::new(
            "keeper_private_110",
            vec![full.keeper],
            "the same, 110 pods",
        ),
        Row::new(
            "pod_cost_10",
            vec![per_pod(&few, FEW)],
            "as pod_cost, of 10 pods",
        ),
        Row::new(
            "pod_cost",
            vec![per_pod(&full, PODS)],
            "difference between 0 and 110 pods of slab, stacks, page tables, percpu and all processes' PSS (the pod's own too), per pod",
        ),
        Row::new(
            "idle_cpu_110",
            vec![idle],
            "CPU time of agent and keeper over 20 s, nothing asked",
        ),
    ])
}

/// What is held in memory, in MB.
struct Held {
    agent: f64,
    keeper: f64,
    everything: f64,
}

impl Held {
    fn now(bed: &Bed) -> anyhow::Result<Self> {
        Ok(Self {
            agent: rss(bed)?,
            keeper: keeper_private(bed)?,
            everything: everything(bed)?,
        })
    }
}

pub(crate) fn binary() -> anyhow::Result<Vec<Row>> {
    let file = node_tests::node::binary();
    let bytes = fs::metadata(file)
        .with_context(|| format!("{}", file.display()))?
        .len();
    Ok(vec![Row::new(
        "binary",
        vec![megabytes(bytes)],
        "the file, stripped (profile dist)",
    )])
}

#[allow(clippy::cast_precision_loss, reason = "a megabyte has six digits")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1_000_000.0
}

fn rss(bed: &Bed) -> anyhow::Result<f64> {
    let pid = bed.node.agent_pid().context("no agent")?;
    let text = process::status(pid, "VmRSS").context("no VmRSS")?;
    Ok(megabytes(kilobytes(&text) * 1024))
}

fn kilobytes(text: &str) -> u64 {
    text.split_whitespace()
        .next()
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

/// The sum of fields of `/proc/PID/smaps_rollup`, in kB.
fn rollup(pid: i32, fields: &[&str]) -> u64 {
    fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(name, _)| fields.contains(name))
        .map(|(_, value)| kilobytes(value))
        .sum()
}

fn keeper_private(bed: &Bed) -> anyhow::Result<f64> {
    let pid = bed.node.keeper_pid().context("no keeper")?;
    Ok(megabytes(
        rollup(pid, &["Private_Clean", "Private_Dirty"]) * 1024,
    ))
}

/// Kernel memory of the machine and proportional memory of the node's processes, in MB, caches dropped first.
fn everything(bed: &Bed) -> anyhow::Result<f64> {
    bed.node.sandbox.say("sync", &[]);
    let mut kernel = u64::MAX;
    // one call drops what nothing else that is to be dropped refers to, and much is freed some time after
    for _ in 0..10 {
        fs::write("/proc/sys/vm/drop_caches", "3").context("drop caches")?;
        std::thread::sleep(Duration::from_millis(300));
        kernel = kernel.min(kernel_memory()?);
    }
    let user: u64 = bed
        .node
        .processes()
        .iter()
        .map(|pid| rollup(*pid, &["Pss"]))
        .sum();
    Ok(megabytes((kernel + user) * 1024))
}

/// In kB.
fn kernel_memory() -> anyhow::Result<u64> {
    Ok(fs::read_to_string("/proc/meminfo")?
        .lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(name, _)| ["Slab", "KernelStack", "PageTables", "Percpu"].contains(name))
        .map(|(_, value)| kilobytes(value))
        .sum())
}

/// Percent of one core.
fn idle_cpu(bed: &Bed, time: Duration) -> anyhow::Result<f64> {
    let pids = [
        bed.node.agent_pid().context("no agent")?,
        bed.node.keeper_pid().context("no keeper")?,
    ];
    let spent = || {
        pids.iter()
            .map(|pid| cpu_time(*pid))
            .sum::<anyhow::Result<Duration>>()
    };
    let (begin, before) = (Instant::now(), spent()?);
    std::thread::sleep(time);
    let used = spent()?.saturating_sub(before);
    Ok(100.0 * used.as_secs_f64() / begin.elapsed().as_secs_f64())
}

/// CPU time of a process, its ended threads included, from the scheduler: ticks are too coarse for a figure this small.
pub(crate) fn cpu_time(pid: i32) -> anyhow::Result<Duration> {
    let clock = clock_getcpuclockid(Pid::from_raw(pid)).context("the CPU clock of a process")?;
    Ok(clock.now().context("read a CPU clock")?.into())
}
