//! `cargo xtask test`: what the tests need, then the tests, as root and with nothing skipped; and the simulator.

use crate::packages;
use crate::run::{cargo, is_root, target};
use crate::sim;
use anyhow::{Context, bail};
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

pub(crate) fn test(filter: Option<&str>) -> anyhow::Result<()> {
    if !is_root()? {
        bail!("the tests make namespaces, mounts and cgroups: run them as root");
    }
    packages::install(packages::FOR_TESTS)?;
    build_node()?;
    let summary = cargo_test(filter)?;
    println!("\n{}", summary.line());
    if summary.failed > 0 || !summary.cargo_succeeded {
        bail!("tests failed: {}", summary.failures.join(", "));
    }
    if summary.passed == 0 {
        bail!("no test ran");
    }
    if filter.is_none() {
        sim::sim(&sim::SimArguments::default())?;
    }
    Ok(())
}

/// The suites of tests/node run the real binary, built with the profile of the tests and the dependencies' features of the whole workspace,
/// so that nothing is compiled twice.
pub(crate) fn build_node() -> anyhow::Result<()> {
    crate::run::run(cargo().args(["build", "--workspace", "--bin", "coracle"]))
}

#[derive(Default)]
pub(crate) struct Summary {
    passed: u32,
    failed: u32,
    ignored: u32,
    suites: u32,
    failures: Vec<String>,
    cargo_succeeded: bool,
    seconds: u64,
}

impl Summary {
    /// Reads one line of what `cargo test` prints.
    pub(crate) fn note(&mut self, line: &str) {
        if let Some(counts) = line.strip_prefix("test result: ") {
            self.suites += 1;
            for part in counts.split(['.', ';']) {
                let mut words = part.split_whitespace();
                let count = words.next().and_then(|word| word.parse::<u32>().ok());
                match (count, words.next()) {
                    (Some(count), Some("passed")) => self.passed += count,
                    (Some(count), Some("failed")) => self.failed += count,
                    (Some(count), Some("ignored")) => self.ignored += count,
                    _ => {}
                }
            }
        } else if let Some(name) = line
            .strip_prefix("test ")
            .and_then(|rest| rest.strip_suffix(" ... FAILED"))
        {
            self.failures.push(name.to_owned());
        }
    }

    pub(crate) fn took(&mut self, time: Duration) {
        self.seconds = time.as_secs();
    }

    pub(crate) fn passed(&self) -> u32 {
        self.passed
    }

    pub(crate) fn failures(&self) -> &[String] {
        &self.failures
    }

    pub(crate) fn line(&self) -> String {
        format!(
            "tests: {} suites, {} passed, {} failed, {} ignored, {} s",
            self.suites, self.passed, self.failed, self.ignored, self.seconds
        )
    }
}

fn cargo_test(filter: Option<&str>) -> anyhow::Result<Summary> {
    let begin = Instant::now();
    let mut command = cargo();
    command.args(["test", "--workspace", "--no-fail-fast"]);
    command.args(filter);
    // A privileged test that cannot run is a failure here, not a skip.
    command.env("CI", "true");
    command.env("CORACLE_BIN", target().join("debug/coracle"));
    eprintln!(
        "    $ cargo test --workspace --no-fail-fast {}",
        filter.unwrap_or_default()
    );
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("could not start cargo test")?;
    let mut summary = Summary::default();
    let lines = BufReader::new(child.stdout.take().context("cargo test has no output")?).lines();
    for line in lines {
        // A test may print what is no UTF-8; its line is passed over.
        let Ok(line) = line else { continue };
        println!("{line}");
        summary.note(&line);
    }
    summary.cargo_succeeded = child
        .wait()
        .context("could not wait for cargo test")?
        .success();
    summary.took(begin.elapsed());
    Ok(summary)
}

#[cfg(test)]
mod tests {
    use super::Summary;

    #[test]
    fn counts_of_all_suites_add_up_and_failures_are_named() {
        let mut summary = Summary::default();
        for line in [
            "test a::works ... ok",
            "test b::breaks ... FAILED",
            "test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s",
            "test result: ok. 5 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.01s",
        ] {
            summary.note(line);
        }
        assert_eq!(summary.failures, ["b::breaks"]);
        assert_eq!(
            summary.line(),
            "tests: 2 suites, 6 passed, 1 failed, 2 ignored, 0 s"
        );
    }
}
