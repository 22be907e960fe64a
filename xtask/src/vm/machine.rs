//! The machine: qemu without acceleration, its serial console read line by line until it says how the suites ended.

use crate::run::program;
use crate::test::Summary;
use anyhow::{Context, bail};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Past this the machine hangs.
const PATIENCE: Duration = Duration::from_secs(25 * 60);
/// A machine that says nothing for so long stands still: tests say a line after a minute even if they do nothing else.
const SILENCE: Duration = Duration::from_secs(5 * 60);

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

/// How a machine ended.
enum End {
    /// With the suites' word: 0 if all passed.
    Told(u32),
    Silent,
    NoWord,
}

/// A machine that stands still is started once more: emulated processors are known to lock up (docs/flakes.md). Tests that fail are not
/// tried again.
pub(super) fn run(kernel: &Path, initramfs: &Path) -> anyhow::Result<()> {
    let (mut end, mut summary) = live(kernel, initramfs)?;
    if matches!(end, End::Silent) {
        println!("machine: it stands still; once more");
        (end, summary) = live(kernel, initramfs)?;
    }
    println!("\nmachine: {}", summary.line());
    match end {
        End::Told(0) if summary.passed() > 0 => Ok(()),
        End::Told(0) => bail!("no test ran in the machine"),
        End::Told(_) => bail!(
            "tests failed in the machine: {}",
            summary.failures().join(", ")
        ),
        End::Silent => bail!("the machine stood still twice"),
        End::NoWord => bail!("the machine ended without saying how the suites ended"),
    }
}

fn live(kernel: &Path, initramfs: &Path) -> anyhow::Result<(End, Summary)> {
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
    let begin = Instant::now();
    let heard = Arc::new(Mutex::new(begin));
    let watch = watch(machine, begin, Arc::clone(&heard));
    let mut summary = Summary::default();
    let mut told = None;
    let mut lines = BufReader::new(console);
    let mut bytes = Vec::new();
    while lines
        .read_until(b'\n', &mut bytes)
        .context("could not read the console")?
        > 0
    {
        *heard.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let line = text.trim_end();
        println!("vm| {line}");
        summary.note(line);
        if let Some(rest) = line.strip_prefix("machine: ended with ") {
            told = rest
                .split_whitespace()
                .next()
                .and_then(|code| code.parse().ok());
        }
        bytes.clear();
    }
    let was_silent = watch.join().unwrap_or(false);
    summary.took(begin.elapsed());
    let end = match told {
        Some(code) => End::Told(code),
        None if was_silent => End::Silent,
        None => End::NoWord,
    };
    Ok((end, summary))
}

/// Ends a machine that hangs. Ends by itself when the machine does; tells whether that was for its silence.
fn watch(mut machine: Child, begin: Instant, heard: Arc<Mutex<Instant>>) -> JoinHandle<bool> {
    std::thread::spawn(move || {
        let mut was_silent = false;
        while matches!(machine.try_wait(), Ok(None)) {
            let silence = heard.lock().map_or(Duration::ZERO, |at| at.elapsed());
            was_silent = silence > SILENCE;
            if was_silent || begin.elapsed() > PATIENCE {
                println!(
                    "machine: no end after {} s, the last line {} s ago: ended by force",
                    begin.elapsed().as_secs(),
                    silence.as_secs()
                );
                let _ = machine.kill();
                let _ = machine.wait();
                break;
            }
            std::thread::sleep(Duration::from_secs(1));
        }
        was_silent
    })
}
