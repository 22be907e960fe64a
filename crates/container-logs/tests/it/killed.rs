//! A pump that is killed hundreds of times while numbered lines come in.

use crate::lines::read_all;
use container_logs::{LogFile, Recovered, Spool, Stream, Transferred};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const DIRECTORY: &str = "CONTAINER_LOGS_TEST_DIRECTORY";
const LIMIT: u64 = 100_000;
const KILLS: usize = 400;

/// Two outputs of one container and one of another: (FIFO, log directory, stream).
const OUTPUTS: [(&str, &str, Stream); 3] = [
    ("a.out", "a", Stream::Stdout),
    ("a.err", "a", Stream::Stderr),
    ("b.out", "b", Stream::Stdout),
];

/// Not a test of its own: the process that the test below starts and kills.
#[test]
#[ignore = "the child of the kill test, useless by itself"]
fn pump() {
    let directory = PathBuf::from(std::env::var_os(DIRECTORY).expect("started by the kill test"));
    let mut spool = Spool::open(&directory.join("keeper")).unwrap();
    // Both come from a kill: a finished batch or none. A dropped one is a lost line.
    match spool.recover().unwrap() {
        Recovered::Nothing | Recovered::Finished { .. } => {}
        dropped @ Recovered::Dropped { .. } => panic!("{dropped:?}"),
    }
    let fifos: Vec<File> = OUTPUTS
        .iter()
        .map(|o| open(&directory.join(o.0), OFlags::RDONLY))
        .collect();
    let mut a = LogFile::open(&directory.join("a/0.log"), LIMIT)
        .unwrap()
        .keeping(100_000);
    let mut b = LogFile::open(&directory.join("b/0.log"), LIMIT)
        .unwrap()
        .keeping(100_000);
    loop {
        // A reader that came after the last writer had left gets no hang-up, so each is tried now and then.
        let mut ready: Vec<_> = fifos
            .iter()
            .map(|f| PollFd::new(f, PollFlags::IN))
            .collect();
        let a_while = Timespec {
            tv_sec: 0,
            tv_nsec: 20_000_000,
        };
        poll(&mut ready, Some(&a_while)).unwrap();
        let mut open = 0;
        for (fifo, (_, log, stream)) in fifos.iter().zip(OUTPUTS) {
            let log = if log == "a" { &mut a } else { &mut b };
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            let now = i64::try_from(now.as_nanos()).unwrap();
            match spool.transfer(fifo.as_fd(), log, stream, now) {
                Ok(Transferred::Closed) => {}
                Ok(_) => open += 1,
                Err(e) => panic!("{e}: {:?}", std::error::Error::source(&e)),
            }
        }
        if open == 0 {
            return;
        }
    }
}

fn open(path: &Path, flags: OFlags) -> File {
    let flags = flags | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty())
        .unwrap()
        .into()
}

fn start(directory: &Path) -> std::process::Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "killed::pump", "--ignored", "--test-threads=1"])
        .env(DIRECTORY, directory)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// Lines of many lengths, some without an end for a while, some longer than a piece.
fn line(n: usize) -> String {
    let length = match n % 101 {
        0 => 20_000,
        k => k * 3 % 250,
    };
    format!("{n} {}", "x".repeat(length))
}

/// Writes numbered lines until told to stop; says how many.
fn write_lines(mut fifo: File, stop: &AtomicBool) -> usize {
    let mut n = 0;
    while !stop.load(Ordering::Relaxed) {
        let text = format!("{}\n", line(n));
        let (mut bytes, cut) = (text.as_bytes(), text.len() / 3);
        if n % 7 == 0 {
            // Half a line first.
            put(&mut fifo, &bytes[..cut]);
            bytes = &bytes[cut..];
        }
        put(&mut fifo, bytes);
        n += 1;
    }
    n
}

/// As a container's blocking write does.
fn put(fifo: &mut File, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match fifo.write(bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                let mut fds = [PollFd::new(fifo, PollFlags::OUT)];
                let a_while = Timespec {
                    tv_sec: 1,
                    tv_nsec: 0,
                };
                poll(&mut fds, Some(&a_while)).unwrap();
            }
            Err(e) => panic!("{e}"),
        }
    }
}

#[test]
fn every_line_is_there_once_however_often_the_writer_is_killed() {
    let base = if Path::new("/dev/shm").is_dir() {
        "/dev/shm"
    } else {
        "/tmp"
    };
    let directory = tempfile::tempdir_in(base).unwrap();
    let directory = directory.path();
    for part in ["keeper", "a", "b"] {
        fs::create_dir(directory.join(part)).unwrap();
    }
    for (fifo, ..) in OUTPUTS {
        let mode = Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(CWD, directory.join(fifo), FileType::Fifo, mode, 0).unwrap();
    }
    // A FIFO that nobody has open forgets what it holds; the agent keeps one end as this test does.
    let _held: Vec<File> = OUTPUTS
        .iter()
        .map(|o| open(&directory.join(o.0), OFlags::RDONLY))
        .collect();
    let stop = AtomicBool::new(false);
    // xorshift; what is random is where the kill hits, and that cannot be repeated anyway.
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let written: Vec<usize> = std::thread::scope(|scope| {
        // Open for reading and writing, as a container's side is: a dead reader is not noticed.
        let writers: Vec<_> = OUTPUTS
            .iter()
            .map(|(fifo, ..)| {
                let fifo = open(&directory.join(fifo), OFlags::RDWR);
                let stop = &stop;
                scope.spawn(move || write_lines(fifo, stop))
            })
            .collect();
        for _ in 0..KILLS {
            let mut child = start(directory);
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            // Not a wait for anything: the moment of the kill is what is varied.
            std::thread::sleep(Duration::from_micros(1000 + random % 9000));
            if let Some(status) = child.try_wait().unwrap() {
                stop.store(true, Ordering::Relaxed);
                panic!("the pump ended by itself: {status}");
            }
            child.kill().unwrap();
            child.wait().unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        let mut last = start(directory);
        let written = writers.into_iter().map(|w| w.join().unwrap()).collect();
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(status) = last.try_wait().unwrap() {
                assert!(status.success());
                break;
            }
            if Instant::now() > deadline {
                last.kill().unwrap();
                last.wait().unwrap();
                panic!("the last pump did not reach the end");
            }
            std::thread::yield_now();
        }
        written
    });
    for ((_, log, stream), written) in OUTPUTS.iter().zip(written) {
        let lines = read_all(&directory.join(log), stream.as_str(), LIMIT);
        for (n, found) in lines.iter().enumerate() {
            assert!(*found == line(n), "{log} {stream}: line {n} is {found:.40}");
        }
        assert_eq!(lines.len(), written, "{log} {stream}");
        assert!(written > 1000, "{log} {stream}: only {written} lines");
    }
}
