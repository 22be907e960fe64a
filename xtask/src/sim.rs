//! `cargo xtask sim`: seeded histories of a node in virtual time. Everything is crates/node-sim, its options too; this starts it.

use crate::run::{cargo, run};

#[derive(Default, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct SimArguments {
    /// Options of crates/node-sim; `--help` lists them
    #[arg(allow_hyphen_values = true, trailing_var_arg = true)]
    options: Vec<String>,
}

pub(crate) fn sim(arguments: &SimArguments) -> anyhow::Result<()> {
    run(cargo()
        .args(["run", "--quiet", "--package", "node-sim", "--"])
        .args(&arguments.options))
}
