//! Logs on a file system with no room left.

use crate::lines::read_all;
use container_logs::{LogFile, Recovered, Spool, Stream};
use rustix::mount::{MountFlags, UnmountFlags};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A file system of 1 MiB; gone with the value.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let options = c"size=1048576";
        match rustix::mount::mount(
            "coracle-test",
            directory.path(),
            "tmpfs",
            MountFlags::empty(),
            options,
        ) {
            Ok(()) => Some(Self(directory)),
            Err(e) => {
                assert!(std::env::var_os("CI").is_none(), "cannot mount: {e}");
                let _ = writeln!(std::io::stderr(), "skipped: cannot mount: {e}");
                None
            }
        }
    }
    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.path(), UnmountFlags::DETACH);
    }
}

fn fill(directory: &Path) -> PathBuf {
    let path = directory.join("filler");
    let mut size = 0;
    let mut content = vec![1; 4096];
    while fs::write(&path, &content).is_ok() {
        size += 1;
        content.resize(size * 4096, 1);
    }
    path
}

#[test]
fn output_waits_for_room_on_the_disk_and_none_is_lost() {
    let Some(disk) = SmallDisk::new() else { return };
    let run = tempfile::tempdir().unwrap();
    let logs = disk.path().join("logs");
    fs::create_dir(&logs).unwrap();
    let mut log = LogFile::open(&logs.join("0.log"), 50_000)
        .unwrap()
        .keeping(100);
    let mut spool = Spool::open(run.path()).unwrap();
    let text: String = (0..2000).map(|n| format!("{n}\n")).collect();
    spool
        .feed(text.as_bytes(), &mut log, Stream::Stdout, 0)
        .unwrap();
    let filler = fill(disk.path());
    let text: String = (2000..4000).map(|n| format!("{n}\n")).collect();
    let error = spool
        .feed(text.as_bytes(), &mut log, Stream::Stdout, 0)
        .unwrap_err();
    assert!(error.is_full(), "{error}");
    let again = spool.resume(&mut log).unwrap_err();
    assert!(again.is_full(), "{again}");
    let other = spool.feed(b"x\n", &mut log, Stream::Stdout, 0).unwrap_err();
    assert!(
        !other.is_full() && other.to_string().contains("waits"),
        "{other}"
    );

    // A new process meets the same full disk, and then finds room.
    drop((spool, log));
    let mut spool = Spool::open(run.path()).unwrap();
    assert!(spool.recover().unwrap_err().is_full());
    fs::remove_file(filler).unwrap();
    // A process that another test is just starting holds the removed file until it executes: room comes a moment later.
    let deadline = Instant::now() + Duration::from_secs(30);
    let recovered = loop {
        match spool.recover() {
            Err(e) if e.is_full() && Instant::now() < deadline => std::thread::yield_now(),
            recovered => break recovered,
        }
    };
    assert!(matches!(recovered.unwrap(), Recovered::Finished { .. }));
    let mut log = LogFile::open(&logs.join("0.log"), 50_000)
        .unwrap()
        .keeping(100);
    spool.feed(b"4000\n", &mut log, Stream::Stdout, 0).unwrap();
    let lines = read_all(&logs, "stdout", 50_000);
    let expected: Vec<String> = (0..=4000).map(|n| n.to_string()).collect();
    assert_eq!(lines, expected);
}
