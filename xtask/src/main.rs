//! What a person runs on this tree: `cargo xtask VERB`.
//!
//! | verb | does |
//! |---|---|
//! | `demo` | builds the release binary and the demo image, then runs a node on `manifests/` in the foreground |
//! | `test` | installs what the tests need, then passes them; `--vm` runs the node's suites on cgroup v2 in a small machine |
//! | `ci` | format, lints, tidy, docs and tests, each step timed |
//! | `bench` | the figures of the design, with target and verdict |
//! | `sim` | seeded histories of a node in virtual time; `--seed N --trace` replays one, `--mutants` shows that defects are found |
//! | `tidy` | arrows between crates, dependency policy, file lengths, forbidden words, links |
//! | `image` | the demo image as an OCI archive |
//!
//! One verb per file. Nothing here is part of the product: no crate depends on it, and it knows the product only as a binary.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool talks to a person"
)]

mod bench;
mod ci;
mod demo;
mod image;
mod packages;
mod run;
mod sim;
mod test;
mod tidy;
mod vm;

use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "What a person runs on this tree")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Build coracle and the demo image, then run a node on manifests/ (root; ends with ctrl-C, pods run on until `coracle down`)
    Demo(demo::DemoArguments),
    /// Install what the tests need with apt-get, then run every test of the workspace as root
    Test {
        /// Run the node's suites on a kernel with cgroup v2, in a small machine under qemu, instead
        #[arg(long)]
        vm: bool,
        /// In the machine, only what meets the cgroup tree
        #[arg(long, requires = "vm", conflicts_with = "filter")]
        essence: bool,
        /// Only tests whose name contains this
        filter: Option<String>,
    },
    /// Everything that must pass before a change lands
    Ci,
    /// Measure the figures of the design and print them with target and verdict
    Bench {
        /// Also write the rows to this file
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
        /// Only these rows (ids, separated by commas)
        #[arg(long, value_name = "IDS", value_delimiter = ',')]
        only: Vec<String>,
    },
    /// Live seeded histories of a node in virtual time, and judge them
    Sim(sim::SimArguments),
    /// Check the arrows between crates, the dependency policy and the shape of the tree
    Tidy,
    /// Write the demo image, made from crates/demo-server, as an OCI archive
    Image {
        #[arg(default_value = "target/demo/hello.tar")]
        file: PathBuf,
    },
}

fn main() -> ExitCode {
    match carry_out(Arguments::parse().verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn carry_out(verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Demo(arguments) => demo::demo(&arguments),
        Verb::Test {
            vm: false, filter, ..
        } => test::test(filter.as_deref()),
        Verb::Test { essence: true, .. } => vm::test(&vm::What::Essence),
        Verb::Test { filter, .. } => {
            vm::test(&filter.map_or(vm::What::Everything, vm::What::Matching))
        }
        Verb::Ci => ci::ci(),
        Verb::Bench { json, only } => bench::bench(json.as_deref(), &only),
        Verb::Sim(arguments) => sim::sim(&arguments),
        Verb::Tidy => tidy::tidy(),
        Verb::Image { file } => image::image(&file),
    }
}
