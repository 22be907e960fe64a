//! `cargo xtask ci`: everything that must pass before a change lands. The cheap steps come first; each is timed.
//!
//! One profile (`dev`) serves clippy, tests and documentation, so every dependency is compiled once and checked once.
//!
//! The same suites on cgroup v2 (`cargo xtask test --vm`, or a part of them with `--essence`) are not among the steps: emulated, they take
//! up to twenty minutes on a busy machine.

use crate::run::{cargo, run};
use crate::{test, tidy};
use std::time::{Duration, Instant};

pub(crate) fn ci() -> anyhow::Result<()> {
    let begin = Instant::now();
    let mut times = Vec::new();
    let outcome = steps(&mut times);
    println!("\nstep      seconds");
    for (name, time) in &times {
        println!("{name:<9} {:>7}", time.as_secs());
    }
    println!("{:<9} {:>7}", "all", begin.elapsed().as_secs());
    outcome
}

fn steps(times: &mut Vec<(&'static str, Duration)>) -> anyhow::Result<()> {
    let mut step = |name: &'static str, work: &dyn Fn() -> anyhow::Result<()>| {
        println!("\n==> {name}");
        let begin = Instant::now();
        let outcome = work();
        times.push((name, begin.elapsed()));
        outcome
    };
    step("format", &|| run(cargo().args(["fmt", "--all", "--check"])))?;
    step("tidy", &tidy::tidy)?;
    step("clippy", &|| {
        run(cargo()
            .args(["clippy", "--workspace", "--all-targets", "--locked"])
            .args(["--", "-D", "warnings"]))
    })?;
    step("docs", &|| {
        run(cargo()
            .args([
                "doc",
                "--workspace",
                "--no-deps",
                "--locked",
                "--document-private-items",
            ])
            .env("RUSTDOCFLAGS", "-D warnings"))
    })?;
    step("tests", &|| test::test(None))
}
