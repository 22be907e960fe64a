//! `cargo xtask bench`: builds what is shipped (profile `dist`) and the measuring program (tests/bench, whose own speed is not measured),
//! installs the peers, measures.

use crate::packages;
use crate::run::{cargo, is_root, run, target};
use anyhow::bail;
use std::path::Path;

pub(crate) fn bench(json: Option<&Path>, only: &[String]) -> anyhow::Result<()> {
    if !is_root()? {
        bail!("the benchmark runs a node: run it as root");
    }
    packages::install(packages::FOR_TESTS)?;
    packages::install(packages::FOR_BENCH)?;
    run(cargo().args(["build", "--profile", "dist", "--package", "coracle"]))?;
    run(cargo().args(["build", "--package", "node-bench"]))?;
    let mut command = crate::run::program(target().join("debug/node-bench"));
    command.env("CORACLE_BIN", target().join("dist/coracle"));
    // the run directory is in memory, as /run is
    command.env("TMPDIR", "/dev/shm");
    if let Some(file) = json {
        command.arg("--json").arg(std::path::absolute(file)?);
    }
    if !only.is_empty() {
        command.arg("--only").arg(only.join(","));
    }
    run(&mut command)
}
