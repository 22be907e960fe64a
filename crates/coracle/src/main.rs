//! The binary: command line, and which of its faces is asked for.

mod arguments;
mod node;

use arguments::{Cli, Command, KeeperArguments};
use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        // Before anything else, and with one thread: the keeper executes the program again, and comes here twice.
        Command::Keeper(arguments) => keeper(arguments),
        Command::Run(arguments) => run(*arguments),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            arguments::say(&format!("coracle: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn keeper(arguments: KeeperArguments) -> anyhow::Result<ExitCode> {
    keeper::run(&keeper::KeeperConfig {
        run_dir: arguments.run_dir,
        cgroups: arguments.cgroups,
    })?;
    Ok(ExitCode::SUCCESS)
}

fn run(arguments: arguments::RunArguments) -> anyhow::Result<ExitCode> {
    let (files, flags, format) = arguments.split();
    let loaded = node_config::load(&files, flags)?;
    telemetry::logging::set_up(&loaded.config.log_level, format)?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    node::run(loaded.config)?;
    Ok(ExitCode::SUCCESS)
}
