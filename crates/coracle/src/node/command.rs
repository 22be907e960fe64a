//! A command in a container, run to its end: exec probes and exec hooks.

use super::parts::Parts;
use super::session::{self, nonblocking};
use cgroup_tree::SessionOwner;
use pod_model::{AdmittedPod, ContainerKey};
use pod_probes::{MOST_OUTPUT, Ran};
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

/// Runs it for at most so long; without an end for as long as somebody waits. What it started ends with it.
pub(crate) async fn run(
    parts: &Arc<Parts>,
    pod: &AdmittedPod,
    key: &ContainerKey,
    command: &[String],
    at_most: Option<Duration>,
) -> Ran {
    let running = to_its_end(parts, pod, key, command);
    match at_most {
        None => running.await,
        Some(at_most) => tokio::time::timeout(at_most, running)
            .await
            .unwrap_or(Ran::TimedOut),
    }
}

async fn to_its_end(
    parts: &Arc<Parts>,
    pod: &AdmittedPod,
    key: &ContainerKey,
    command: &[String],
) -> Ran {
    let begun = session::begin(
        parts,
        pod.clone(),
        key,
        SessionOwner::Agent,
        command.to_vec(),
        None,
    )
    .await;
    let (session, _ends_with_us) = match begun {
        Ok(begun) => begun,
        Err(error) => return Ran::Failed(error.to_string()),
    };
    drop(session.stdin);
    let mut output = Vec::new();
    let pipes = [session.stdout, session.stderr].map(|fd| fd.and_then(|fd| open(fd).ok()));
    let [Some(mut stdout), Some(mut stderr)] = pipes else {
        return Ran::Failed("cannot read what the command writes".to_owned());
    };
    let exited = with_output(session.exit, &mut stdout, &mut stderr, &mut output).await;
    for pipe in [&stdout, &stderr] {
        rest(pipe, &mut output);
    }
    match exited {
        Ok(exit) => Ran::Ended {
            code: exit.code,
            output,
        },
        Err(_) => Ran::Failed("the keeper went away while the command ran".to_owned()),
    }
}

fn open(fd: OwnedFd) -> io::Result<pipe::Receiver> {
    pipe::Receiver::from_owned_fd(nonblocking(fd)?)
}

/// Reads while it waits, or a command that writes much would never end.
async fn with_output<T>(
    exit: impl Future<Output = T>,
    stdout: &mut pipe::Receiver,
    stderr: &mut pipe::Receiver,
    output: &mut Vec<u8>,
) -> T {
    let (mut first, mut second) = ([0; 2048], [0; 2048]);
    let (mut first_open, mut second_open) = (true, true);
    tokio::pin!(exit);
    loop {
        // Reading is cancel-safe: a read that has not returned has read nothing. The exit is polled in its place.
        tokio::select! {
            exited = &mut exit => return exited,
            read = stdout.read(&mut first), if first_open => first_open = keep(read, &first, output),
            read = stderr.read(&mut second), if second_open => second_open = keep(read, &second, output),
        }
    }
}

/// Keeps the first bytes of all; `false` at the end.
fn keep(read: io::Result<usize>, buffer: &[u8], output: &mut Vec<u8>) -> bool {
    let read = read.unwrap_or(0);
    let room = MOST_OUTPUT.saturating_sub(output.len());
    output.extend_from_slice(&buffer[..read.min(room)]);
    read > 0
}

/// What lies in the pipe when the command has ended. A child that still holds it open is not waited for.
fn rest(pipe: &pipe::Receiver, output: &mut Vec<u8>) {
    let mut buffer = [0; 2048];
    while output.len() < MOST_OUTPUT && keep(pipe.try_read(&mut buffer), &buffer, output) {}
}
