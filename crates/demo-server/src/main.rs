//! The program of the demo image: a small HTTP server that says who it is, and the small jobs that the samples under
//! `manifests/` are made of. One static file, so that an image of it needs no base.
//!
//! | call | does |
//! |---|---|
//! | `demo-server [serve] [--port N] [--greeting TEXT]` | answers on every address; a line on standard output each second and for each request |
//! | `demo-server write FILE TEXT` | writes a file and ends: an init container |
//! | `demo-server follow FILE` | prints what is in the file whenever it changes: a second container on a shared volume |
//! | `demo-server job FAILURES DIR` | fails that many times, counting in DIR, then succeeds: a job |
//!
//! It ends with 0 on SIGTERM and SIGINT. As PID 1 it has to ask for them: the kernel drops a signal to PID 1 that has no handler,
//! unless it is blocked (`sig_task_ignored` in kernel/signal.c), so they are blocked and one thread waits for them.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "its lines are what it is for"
)]

mod jobs;
mod lines;
mod serve;

use nix::sys::signal::{SigSet, Signal};
use std::process::ExitCode;

fn main() -> ExitCode {
    if let Err(error) = end_on_signal() {
        eprintln!("could not block signals: {error}");
        return ExitCode::FAILURE;
    }
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["write", file, text] => jobs::write(file, text),
        ["follow", file] => jobs::follow(file),
        ["job", failures, dir] => jobs::job(failures, dir),
        ["serve", options @ ..] => serve::Options::parse(options).and_then(|o| serve::serve(&o)),
        options => serve::Options::parse(options).and_then(|o| serve::serve(&o)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo-server: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Must run before any thread is made: the mask is inherited.
fn end_on_signal() -> nix::Result<()> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGINT);
    signals.thread_block()?;
    std::thread::spawn(move || {
        if let Ok(signal) = signals.wait() {
            lines::say(&format!("{signal}: bye"));
            std::process::exit(0);
        }
    });
    Ok(())
}
