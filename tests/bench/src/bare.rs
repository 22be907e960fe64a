//! The same requests without an agent: a loop that connects, asks, waits and hangs up. What it costs, whoever probes must pay.

use anyhow::{Context, ensure};
use nix::time::{ClockId, clock_gettime};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};
use std::net::SocketAddrV4;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// Requests that go out together, as the agent's do.
const TICK: Duration = Duration::from_millis(50);
const PER_TICK: usize = 50;
const PATIENCE: Duration = Duration::from_secs(5);

/// Percent of a core that a thousand requests a second to `servers` take of this thread, window by window.
pub(crate) fn requests(
    servers: &[SocketAddrV4],
    windows: usize,
    window: Duration,
) -> anyhow::Result<Vec<f64>> {
    let mut next = servers.iter().cycle();
    let mut samples = Vec::new();
    for _ in 0..windows {
        let (begin, before) = (Instant::now(), spent()?);
        let mut due = begin;
        while due < begin + window {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let asked = next.by_ref().take(PER_TICK).map(ask);
            let asked = asked.collect::<anyhow::Result<Vec<_>>>()?;
            for server in &asked {
                let mut answer = [0; 4096];
                let (length, _) = rustix::net::recv(server, &mut answer, RecvFlags::empty())?;
                ensure!(answer[..length].starts_with(b"HTTP/1.1 200"), "no answer");
            }
            due += TICK;
        }
        let used = spent()?.saturating_sub(before);
        samples.push(100.0 * used.as_secs_f64() / begin.elapsed().as_secs_f64());
    }
    Ok(samples)
}

fn ask(server: &SocketAddrV4) -> anyhow::Result<OwnedFd> {
    let socket = rustix::net::socket_with(
        AddressFamily::INET,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    sockopt::set_socket_linger(&socket, Some(Duration::ZERO))?;
    sockopt::set_tcp_quickack(&socket, false)?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(PATIENCE))?;
    rustix::net::connect(&socket, server).with_context(|| format!("connect to {server}"))?;
    let request = format!(
        "GET /healthz HTTP/1.1\r\nHost: {server}\r\nUser-Agent: kube-probe/1.36\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    rustix::net::send(&socket, request.as_bytes(), SendFlags::NOSIGNAL)?;
    Ok(socket)
}

/// CPU time of this thread.
fn spent() -> anyhow::Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}
