//! The commands for people as a program of their own: what the tests run.

use clap::{CommandFactory, Parser};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "coracle")]
struct Line {
    #[command(flatten)]
    target: node_client::Target,
    #[command(subcommand)]
    command: node_client::Command,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let line = Line::parse();
    node_client::run(line.command, &line.target, Line::command()).await
}
