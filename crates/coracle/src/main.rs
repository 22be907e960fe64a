//! The binary: command line, and which of its faces is asked for.

mod arguments;
mod node;

use arguments::{Cli, Command, KeeperArguments, RunArguments};
use clap::parser::ValueSource;
use clap::{CommandFactory, FromArgMatches};
use node_client::Target;
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let matches = Cli::command().get_matches();
    let Cli { target, command } =
        Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let done = match command {
        // With one thread, and nothing before it: the keeper executes the program again, and comes here twice.
        Command::Keeper(arguments) => keeper(arguments, target),
        Command::Run(arguments) => {
            let is_said = matches.value_source("run_dir") != Some(ValueSource::DefaultValue);
            run(*arguments, is_said.then_some(target.run_dir))
        }
        Command::Ask(command) => ask(command, &target),
    };
    done.unwrap_or_else(|error| {
        arguments::say(&format!("coracle: {error:#}"));
        ExitCode::FAILURE
    })
}

fn keeper(arguments: KeeperArguments, target: Target) -> anyhow::Result<ExitCode> {
    keeper::run(&keeper::KeeperConfig {
        run_dir: target.run_dir,
        cgroups: arguments.cgroups,
    })?;
    Ok(ExitCode::SUCCESS)
}

fn run(arguments: RunArguments, run_dir: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    // a batch of HTTP probes; at rest it is given back too
    linux_sys::memory::stay_small(512 << 10);
    let (files, flags, format) = arguments.split(run_dir);
    let loaded = node_config::load(&files, flags)?;
    telemetry::logging::set_up(&loaded.config.log_level, format)?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    node::run(loaded.config)?;
    Ok(ExitCode::SUCCESS)
}

fn ask(command: node_client::Command, target: &Target) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let code = runtime.block_on(node_client::run(command, target, Cli::command()));
    // a read of stdin that is under way never ends by itself
    runtime.shutdown_background();
    Ok(code)
}
