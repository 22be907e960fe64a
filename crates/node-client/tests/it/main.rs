//! The commands as processes, against the real server with a node that is made up.

#[allow(dead_code, reason = "the server's own tests use the rest of it")]
#[path = "../../../node-server/tests/it/fake.rs"]
mod fake;

mod commands;
mod sessions;

use fake::{Fake, Serving, serve};
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

struct Node {
    fake: Arc<Fake>,
    _serving: Serving,
    // Dropped last: the server runs on it.
    _runtime: tokio::runtime::Runtime,
}

impl Node {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let fake = Fake::new();
        let serving = runtime.block_on(serve(&fake));
        Self {
            fake,
            _serving: serving,
            _runtime: runtime,
        }
    }
    /// A command for this node, not started yet.
    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(program());
        command
            .arg("--run-dir")
            .arg(self.fake.directory.path())
            .args(line.split(' '))
            .stdin(Stdio::null());
        command
    }
    fn run(&self, line: &str) -> Said {
        Said::of(self.command(line).output().unwrap())
    }
}

/// What a command printed and how it ended.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    out: String,
    err: String,
    code: Option<i32>,
}

impl Said {
    fn of(output: Output) -> Self {
        Self {
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
            code: output.status.code(),
        }
    }
}

/// The example that cargo built beside this test.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test
        .ancestors()
        .find(|p| p.file_name() == Some(OsStr::new("deps")))
        .and_then(|deps| deps.parent())
        .unwrap();
    let program = profile.join("examples/people");
    assert!(program.exists(), "{} is not built", program.display());
    program
}
