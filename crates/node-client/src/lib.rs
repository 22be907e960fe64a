//! The commands for people: what `coracle get`, `logs`, `exec` and the others do on the side of the person.
//!
//! - A command is one process that talks HTTP with the agent over `<run dir>/agent.sock` ([`Agent`]) and prints what it learns as
//!   kubectl would. [`run`] is the only entry.
//! - In: a parsed [`Command`], the agent's answers, a terminal. Out: text on stdout, messages on stderr, an exit code.
//! - What is printed is made by pure functions of the answers and the time (`pod_row`, `describe`, `tabs`, …).
//! - It keeps no state and knows nothing of how pods are run.

mod age;
mod agent;
mod command;
mod debug;
mod describe;
mod down;
mod error;
mod event_row;
mod exec;
mod explain;
mod get;
mod images;
mod logs;
mod output;
mod pod_row;
mod progress;
mod select;
mod size;
mod tabs;
mod terminal;
mod top;
mod version;

pub use agent::Agent;
pub use command::{Command, Target};
pub use error::ClientError;

use std::process::ExitCode;

/// Carries a command out and prints what there is to print. `whole` is the program's command line, for shell completions.
pub async fn run(command: Command, target: &Target, whole: clap::Command) -> ExitCode {
    match carry_out(command, target, whole).await {
        Ok(code) => code,
        Err(error) if error.is_broken_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            output::complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

async fn carry_out(
    command: Command,
    target: &Target,
    whole: clap::Command,
) -> Result<ExitCode, ClientError> {
    let agent = Agent::new(&target.run_dir);
    match command {
        Command::Get(wanted) => get::get(&agent, wanted).await?,
        Command::Describe(wanted) => describe::run(&agent, wanted).await?,
        Command::Logs(wanted) => logs::logs(&agent, wanted).await?,
        Command::Exec(wanted) => return exec::exec(&agent, wanted).await,
        Command::Debug(wanted) => debug::debug(&agent, wanted).await?,
        Command::Top(wanted) => top::top(&agent, wanted).await?,
        Command::Images(wanted) => images::list(&agent, wanted).await?,
        Command::Pull(wanted) => images::pull(&agent, &wanted.image).await?,
        Command::Load(wanted) => images::load(&agent, &wanted.archive).await?,
        Command::Rmi(wanted) => return images::remove(&agent, &wanted.images).await,
        Command::Explain(wanted) => explain::explain(&agent, wanted).await?,
        Command::Down => down::down(&agent).await?,
        Command::Version => version::version(&agent).await?,
        Command::Completion(wanted) => version::completion(wanted.shell, whole)?,
    }
    Ok(ExitCode::SUCCESS)
}
