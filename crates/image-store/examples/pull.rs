//! Pulls one image into an empty store and says how fast, and at what price: `cargo run --release --example pull -- IMAGE DIRECTORY`.

use anyhow::Context;
use image_store::{CancellationToken, ImageReference, ImageStore, ImageStoreConfig, ProgressSink};
use std::io::Write;
use std::time::{Duration, Instant};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let image = arguments.next().context("which image?")?;
    let directory = arguments.next().context("into which directory?")?;
    let reference = ImageReference::parse(&image)?;
    let store = ImageStore::open(ImageStoreConfig::new(directory))?;
    let (began, cpu) = (Instant::now(), cpu_time()?);
    let info = store
        .pull(
            &reference,
            None,
            &ProgressSink::none(),
            CancellationToken::new(),
        )
        .await
        .map_err(|error| anyhow::anyhow!(error.message()))?;
    let (wall, cpu) = (began.elapsed(), cpu_time()?.saturating_sub(cpu));
    let megabytes = info.size_bytes as f64 / 1e6;
    writeln!(
        std::io::stdout(),
        "{megabytes:.0} MB unpacked in {:.2} s: {:.0} MB/s; {:.2} s of CPU: {:.0} MB/s per core used",
        wall.as_secs_f64(),
        megabytes / wall.as_secs_f64(),
        cpu.as_secs_f64(),
        megabytes / cpu.as_secs_f64(),
    )?;
    Ok(())
}

/// User and system time of this process.
fn cpu_time() -> anyhow::Result<Duration> {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF)?;
    let of = |time: nix::sys::time::TimeVal| {
        Duration::new(time.tv_sec() as u64, time.tv_usec() as u32 * 1000)
    };
    Ok(of(usage.user_time()) + of(usage.system_time()))
}
