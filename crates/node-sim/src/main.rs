//! The simulator's command line; `cargo xtask sim` starts it.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool talks to a person"
)]

mod campaign;

use clap::Parser;
use node_sim::{generate, mutants, run, shrink};
use pod_lifecycle::{Decide, step};
use std::process::ExitCode;

/// Lives seeded histories of a node and judges them
#[derive(Parser)]
#[command(name = "node-sim")]
struct Arguments {
    /// How many histories
    #[arg(long, default_value_t = 10_000)]
    histories: u64,
    /// The seed of the first of them
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Only the history of this seed
    #[arg(long)]
    seed: Option<u64>,
    /// With --seed: print everything that happens
    #[arg(long, requires = "seed")]
    trace: bool,
    /// With --seed: print the shortest history that breaks the same rule, or the whole one if it breaks none, as JSON
    #[arg(long, requires = "seed")]
    shrink: bool,
    /// Show that cores that are wrong on purpose are found out
    #[arg(long, conflicts_with = "seed")]
    mutants: bool,
    /// Only the mutants whose name contains this; with --seed: run this one
    #[arg(long)]
    mutant: Option<String>,
    #[arg(long, default_value_t = std::thread::available_parallelism().map_or(1, usize::from))]
    threads: usize,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let fine = if let Some(seed) = arguments.seed {
        one(seed, &arguments)
    } else if arguments.mutants {
        campaign::mutants(
            arguments.mutant.as_deref(),
            arguments.first,
            arguments.histories,
            arguments.threads,
        )
    } else {
        campaign::campaign(arguments.first, arguments.histories, arguments.threads)
    };
    if fine {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn one(seed: u64, arguments: &Arguments) -> bool {
    let decide: Decide = arguments
        .mutant
        .as_ref()
        .and_then(|name| mutants().into_iter().find(|m| m.name == name))
        .map_or(step, |mutant| mutant.decide);
    let mut history = generate(seed);
    if arguments.shrink {
        if let Some(finding) = run(&history, decide, false).finding {
            history = shrink(&history, decide, &finding.rule);
        }
        match serde_json::to_string_pretty(&history) {
            Ok(text) => println!("{text}"),
            Err(error) => println!("{error}"),
        }
    }
    // the history or the trace is what one keeps; how it ended goes beside it
    let outcome = run(&history, decide, arguments.trace);
    print!("{}", outcome.trace);
    match &outcome.finding {
        Some(finding) => eprintln!("seed {seed}: {}: {}", finding.rule, finding.detail),
        None => eprintln!("seed {seed}: {}", outcome.figures.line()),
    }
    outcome.finding.is_none()
}
