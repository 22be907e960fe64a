//! What the network costs on this machine: `cargo run --release -p pod-network --example measure` as root.
//!
//! Runs in network and mount namespaces of its own. "Isolated" is one call every 50 ms; "row" is one after another without a pause.
#![allow(clippy::print_stdout)]

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use pod_model::PodUid;
use pod_network::{HostPort, NetworkConfig, PodNetwork, Protocol, Want};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

fn main() {
    let rooted = || -> nix::Result<tempfile::TempDir> {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)?;
        mount(
            None::<&str>,
            "/",
            None::<&str>,
            MsFlags::MS_PRIVATE | MsFlags::MS_REC,
            None::<&str>,
        )?;
        let dir = tempfile::tempdir().map_err(|_| nix::Error::EIO)?;
        mount(
            Some("tmpfs"),
            dir.path(),
            Some("tmpfs"),
            MsFlags::empty(),
            None::<&str>,
        )?;
        Ok(dir)
    };
    let dir = rooted().expect("needs root");
    // built here, so that its threads are born in the new namespaces
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(measure(dir.path()));
    drop(runtime);
    umount2(dir.path(), MntFlags::MNT_DETACH).expect("unmount");
}

fn config(dir: &Path, name: &str, pool_size: usize, third: u8) -> NetworkConfig {
    NetworkConfig {
        run_dir: dir.join(name),
        pod_cidr: format!("10.{third}.0.0/16").parse().expect("a CIDR"),
        pool_size,
        node_hash: NetworkConfig::hash_of(name.as_ref()),
    }
}

fn uid(n: usize) -> PodUid {
    PodUid::new(format!("p{n}")).expect("a uid")
}

async fn measure(dir: &Path) {
    let pause = Duration::from_millis(50);
    let network = PodNetwork::start(config(dir, "pool", 8, 91)).expect("start");
    row(
        "acquire from the pool, isolated",
        &network,
        100,
        Some(pause),
        &[],
    )
    .await;
    released("release, isolated", &network, Some(pause)).await;
    let ports = [HostPort::new(Protocol::Tcp, None, 8080, 80)];
    row(
        "acquire from the pool with a host port, isolated",
        &network,
        50,
        Some(pause),
        &ports,
    )
    .await;
    released("release with a host port, isolated", &network, Some(pause)).await;
    row("acquire with a pool, row", &network, 300, None, &[]).await;
    released("release, row", &network, None).await;
    burst(&network, 110).await;
    let before = std::fs::read_dir(dir.join("pool/ns")).map_or(0, Iterator::count);
    let started = Instant::now();
    drop(network);
    let network = PodNetwork::start(config(dir, "pool", 8, 91)).expect("start");
    println!(
        "start with {before} slots to adopt: {:.2} ms",
        ms(started.elapsed())
    );
    network.remove_everything().expect("remove");
    drop(network);

    let network = PodNetwork::start(config(dir, "cold", 0, 92)).expect("start");
    row("acquire cold, isolated", &network, 100, Some(pause), &[]).await;

    network.sweep(&BTreeSet::new()).await;
    settle().await;
    row("acquire cold, row", &network, 300, None, &[]).await;
    network.sweep(&BTreeSet::new()).await;
    settle().await;
    let before = kernel_kb();
    burst(&network, 200).await;
    settle().await;
    println!(
        "kernel memory per slot: {:.0} kB",
        (kernel_kb() - before) / 200.0
    );
    network.remove_everything().expect("remove");
}

async fn settle() {
    tokio::time::sleep(Duration::from_secs(2)).await;
}

async fn row(
    what: &str,
    network: &PodNetwork,
    count: usize,
    pause: Option<Duration>,
    ports: &[HostPort],
) {
    let mut times = Vec::new();
    for n in 0..count {
        if let Some(pause) = pause {
            tokio::time::sleep(pause).await;
        }
        let host_ports = ports
            .iter()
            .map(|port| HostPort {
                host_port: port.host_port + n as u16,
                ..*port
            })
            .collect();
        let started = Instant::now();
        let want = Want {
            host_network: false,
            host_ports,
        };
        network.acquire(&uid(n), want).await.expect("acquire");
        times.push(started.elapsed());
    }
    say(what, times);
}

async fn released(what: &str, network: &PodNetwork, pause: Option<Duration>) {
    let mut times = Vec::new();
    for n in 0.. {
        if network.sandbox(&uid(n)).is_none() {
            break;
        }
        if let Some(pause) = pause {
            tokio::time::sleep(pause).await;
        }
        let started = Instant::now();
        network.release(&uid(n)).await.expect("release");
        times.push(started.elapsed());
    }
    say(what, times);
}

async fn burst(network: &PodNetwork, count: usize) {
    settle().await;
    let started = Instant::now();
    let tasks: Vec<_> = (0..count)
        .map(|n| {
            let network = network.clone();
            tokio::spawn(async move {
                network
                    .acquire(&uid(n), Want::default())
                    .await
                    .expect("acquire")
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("acquired");
    }
    println!("{count} pods at once: {:.1} ms", ms(started.elapsed()));
}

fn say(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let Some(last) = times.len().checked_sub(1) else {
        return;
    };
    let at = |part: usize| ms(times[last * part / 100]);
    println!(
        "{what}: min {:.3}, p50 {:.3}, p99 {:.3} ms of {}",
        at(0),
        at(50),
        at(99),
        last + 1
    );
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Slab and per-processor memory, which is where namespaces live.
fn kernel_kb() -> f64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    text.lines()
        .filter(|line| {
            line.starts_with("Slab:")
                || line.starts_with("Percpu:")
                || line.starts_with("KernelStack:")
        })
        .filter_map(|line| line.split_ascii_whitespace().nth(1)?.parse::<f64>().ok())
        .sum()
}
