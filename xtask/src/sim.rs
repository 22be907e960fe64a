//! `cargo xtask sim`: seeded histories of a node in virtual time. Everything is crates/node-sim; this starts it.

use crate::run::{cargo, run};

/// What `cargo xtask test` lives through.
pub(crate) const OF_A_TEST_RUN: u64 = 10_000;

#[derive(clap::Args)]
pub(crate) struct SimArguments {
    /// How many histories
    #[arg(long, default_value_t = OF_A_TEST_RUN)]
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
    /// With --seed: print the shortest history that breaks the same rule, as JSON for crates/node-sim/regressions
    #[arg(long, requires = "seed")]
    shrink: bool,
    /// Show that cores that are wrong on purpose are found out
    #[arg(long, conflicts_with = "seed")]
    mutants: bool,
    /// Only the mutants whose name contains this; with --seed: run this one
    #[arg(long)]
    mutant: Option<String>,
}

impl Default for SimArguments {
    fn default() -> Self {
        Self {
            histories: OF_A_TEST_RUN,
            first: 0,
            seed: None,
            trace: false,
            shrink: false,
            mutants: false,
            mutant: None,
        }
    }
}

pub(crate) fn sim(arguments: &SimArguments) -> anyhow::Result<()> {
    let mut command = cargo();
    command.args(["run", "--quiet", "--package", "node-sim", "--"]);
    command.args(["--histories", &arguments.histories.to_string()]);
    command.args(["--first", &arguments.first.to_string()]);
    if let Some(seed) = arguments.seed {
        command.args(["--seed", &seed.to_string()]);
    }
    if let Some(name) = &arguments.mutant {
        command.args(["--mutant", name]);
    }
    let switches = [
        ("--trace", arguments.trace),
        ("--shrink", arguments.shrink),
        ("--mutants", arguments.mutants),
    ];
    command.args(switches.iter().filter(|(_, on)| *on).map(|(name, _)| name));
    run(&mut command)
}
