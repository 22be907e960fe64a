//! Measures a node as it is shipped, and what others need for the same work, in one run on one machine.
//!
//! The node under test is the binary that `CORACLE_BIN` names, in a sandbox of its own, its root on a fresh ext4 (an old one on a busy
//! disk makes directories slower by a factor of ten). Starts are read from the node's own timeline (`coracle explain -o json`); everything else is
//! measured from outside. `cargo xtask bench` builds it all and calls this.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the table is what it is for"
)]

mod bare;
mod bed;
mod lifecycle;
mod memory;
mod peers;
mod probes;
mod pull;
mod row;
mod starts;

use anyhow::Context;
use clap::Parser;
use row::Row;
use serde_json::json;
use std::path::PathBuf;
use std::time::Instant;

#[derive(Parser)]
struct Arguments {
    /// Also write the rows to this file
    #[arg(long)]
    json: Option<PathBuf>,
    /// Only these ids
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

type Measure = fn() -> anyhow::Result<Vec<Row>>;

/// Each measurement with the ids that it gives. One node serves several ids where one state serves them.
const MEASUREMENTS: &[(&[&str], Measure)] = &[
    (&["pod_start"], starts::in_order),
    (&["pod_start_8"], starts::eight_at_once),
    (
        &[
            "burst_110",
            "rss_agent_0",
            "rss_agent_10",
            "rss_agent_110",
            "keeper_private_0",
            "keeper_private_10",
            "keeper_private_110",
            "pod_cost_10",
            "pod_cost",
            "idle_cpu_110",
        ],
        memory::a_full_node,
    ),
    (&["life_cycles"], lifecycle::cycles),
    (&["stop"], lifecycle::stop),
    (&["http_probes", "http_probes_bare"], probes::http),
    (&["exec_probes"], probes::exec),
    (&["ready_after"], probes::ready_after),
    (&["pull_unpack"], pull::pull),
    (&["binary"], memory::binary),
    (&["crun_run"], peers::crun),
    (&["podman_run"], peers::podman_run),
    (&["podman_kube_play"], peers::podman_kube_play),
];

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let host = row::host();
    println!("{}", serde_json::to_string(&host)?);
    let mut rows = Vec::new();
    for (ids, measure) in MEASUREMENTS {
        let wanted = arguments.only.is_empty()
            || ids
                .iter()
                .any(|id| arguments.only.iter().any(|only| only == id));
        if !wanted {
            continue;
        }
        eprintln!("==> {}", ids.join(", "));
        let begin = Instant::now();
        let measured = measure();
        eprintln!("    {:.0} s", begin.elapsed().as_secs_f64());
        match measured {
            Ok(measured) => rows.extend(measured),
            // A figure that cannot be had is said to be so, with the reason; it is never made up.
            Err(error) => rows.extend(ids.iter().map(|id| Row::absent(id, &format!("{error:#}")))),
        }
    }
    print!("{}", row::table(&rows));
    if let Some(file) = arguments.json {
        let rows: Vec<_> = rows.iter().map(Row::to_json).collect();
        let text = serde_json::to_string_pretty(&json!({"host": host, "rows": rows}))?;
        std::fs::write(&file, text + "\n")
            .with_context(|| format!("could not write {}", file.display()))?;
    }
    Ok(())
}
