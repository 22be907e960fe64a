//! The machine: qemu without acceleration, its serial console read line by line until it says how the suites ended.

use crate::run::program;
use crate::test::Summary;
use anyhow::{Context, bail};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Past this the machine hangs.
const PATIENCE: Duration = Duration::from_secs(25 * 60);

/// A host thread for each processor.
const ACCELERATION: &str = "tcg,thread=multi";

/// The second half is what emulation wants, and halves the time that the suites take (docs/adr/0004).
///
/// - `norandmaps`: qemu keeps translated code by its virtual address too. A program that lies elsewhere each time it is executed is
///   translated each time.
/// - `tsc=reliable`: the time is read with one instruction instead of from an emulated device, behind a lock.
/// - `mitigations=off`, `no5lvl`, `nokaslr`: nothing here is to be defended.
const COMMAND_LINE: &str = "console=ttyS0 quiet loglevel=3 panic=-1 \
    norandmaps tsc=reliable mitigations=off no5lvl nokaslr";

pub(super) fn run(kernel: &Path, initramfs: &Path) -> anyhow::Result<()> {
    let mut machine = program("qemu-system-x86_64")
        .args(["-machine", "q35", "-accel", ACCELERATION, "-cpu", "max"])
        .args(["-smp", "2", "-m", "4096", "-no-reboot", "-nodefaults"])
        .args(["-display", "none", "-serial", "stdio", "-nic", "none"])
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(initramfs)
        .args(["-append", COMMAND_LINE])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("could not start qemu-system-x86_64")?;
    let console = machine
        .stdout
        .take()
        .context("the machine has no console")?;
    let machine = Arc::new(Mutex::new(machine));
    let watched = Arc::clone(&machine);
    let begin = Instant::now();
    // Ends by itself when the machine does: it looks once a second.
    let watch = std::thread::spawn(move || {
        loop {
            std::thread::sleep(Duration::from_secs(1));
            let Ok(mut machine) = watched.lock() else {
                return;
            };
            if !matches!(machine.try_wait(), Ok(None)) {
                return;
            }
            if begin.elapsed() > PATIENCE {
                println!(
                    "machine: no end after {} s, ended by force",
                    PATIENCE.as_secs()
                );
                let _ = machine.kill();
            }
        }
    });
    let mut summary = Summary::default();
    let mut ended = None;
    let mut lines = BufReader::new(console);
    let mut bytes = Vec::new();
    while lines
        .read_until(b'\n', &mut bytes)
        .context("could not read the console")?
        > 0
    {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let line = text.trim_end();
        println!("vm| {line}");
        summary.note(line);
        if let Some(rest) = line.strip_prefix("machine: ended with ") {
            ended = rest
                .split_whitespace()
                .next()
                .and_then(|code| code.parse::<u32>().ok());
        }
        bytes.clear();
    }
    let _ = watch.join();
    summary.took(begin.elapsed());
    println!("\nmachine: {}", summary.line());
    match ended {
        Some(0) if summary.passed() > 0 => Ok(()),
        Some(0) => bail!("no test ran in the machine"),
        Some(_) => bail!(
            "tests failed in the machine: {}",
            summary.failures().join(", ")
        ),
        None => bail!("the machine ended without saying how the suites ended"),
    }
}
