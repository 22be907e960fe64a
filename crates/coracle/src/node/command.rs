//! A command in a container, run to its end: exec probes and exec hooks.

use super::parts::Parts;
use super::session::{self, nonblocking};
use cgroup_tree::SessionOwner;
use container_host::HostError;
use pod_model::{AdmittedPod, ContainerKey};
use pod_probes::{MOST_OUTPUT, Ran};
use std::future::Future;
use std::io;
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
    let owner = SessionOwner::Agent;
    let prepared = session::prepare(parts, pod, key, owner, command.to_vec(), None);
    let (planned, fds, _ends_with_us) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => return Ran::Failed(error.to_string()),
    };
    let (pipe, end) = match parts.host.command(planned, fds) {
        Ok(begun) => begun,
        Err(error) => return failed(error),
    };
    let Ok(mut pipe) = nonblocking(pipe).and_then(pipe::Receiver::from_owned_fd) else {
        return Ran::Failed("cannot read what the command writes".to_owned());
    };
    let mut output = Vec::new();
    let ended = with_output(end, &mut pipe, &mut output).await;
    rest(&pipe, &mut output);
    match ended {
        Ok(exit) => Ran::Ended {
            code: exit.code,
            output,
        },
        Err(error) => failed(error),
    }
}

fn failed(error: HostError) -> Ran {
    Ran::Failed(session::told(error).to_string())
}

/// Reads while it waits, or a command that writes much would never end.
async fn with_output<T>(
    end: impl Future<Output = T>,
    pipe: &mut pipe::Receiver,
    output: &mut Vec<u8>,
) -> T {
    let mut buffer = [0; 2048];
    let mut is_open = true;
    tokio::pin!(end);
    loop {
        // Reading is cancel-safe: a read that has not returned has read nothing. The end is polled in its place.
        tokio::select! {
            ended = &mut end => return ended,
            read = pipe.read(&mut buffer), if is_open => is_open = keep(read, &buffer, output),
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
