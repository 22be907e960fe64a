//! How fast output becomes log lines: `cargo run --release -p container-logs --example throughput [DIRECTORY] [LINE_BYTES]`.
#![allow(clippy::print_stdout, reason = "a program for people")]

use container_logs::{LogFile, Spool, Stream, Transferred};
use rustix::event::{PollFd, PollFlags, poll};
use std::io::Write;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let directory = PathBuf::from(arguments.next().unwrap_or_else(|| "/dev/shm".into()))
        .join(format!("log-throughput-{}", std::process::id()));
    let line_bytes: usize = arguments.next().and_then(|n| n.parse().ok()).unwrap_or(100);
    std::fs::create_dir(&directory).expect("a place for logs");
    let mut spool = Spool::open(&directory).expect("a spool");
    let mut log = LogFile::open(&directory.join("0.log"), 10 << 20).expect("a log");
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    let mut line = vec![b'x'; line_bytes - 1];
    line.push(b'\n');
    let many = line.repeat((1 << 20) / line_bytes);
    let producer = std::thread::spawn(move || {
        let end = Instant::now() + Duration::from_secs(3);
        while Instant::now() < end {
            writer.write_all(&many).expect("a reader");
        }
    });
    let (start, mut bytes, mut transfers) = (Instant::now(), 0, 0_u64);
    let mut busy = Duration::ZERO;
    loop {
        poll(&mut [PollFd::new(&reader, PollFlags::IN)], None).expect("poll");
        let began = Instant::now();
        let moved = spool
            .transfer(reader.as_fd(), &mut log, Stream::Stdout, 1)
            .expect("room");
        busy += began.elapsed();
        match moved {
            Transferred::Bytes(n) => bytes += n,
            Transferred::WouldBlock => {}
            Transferred::Closed => break,
        }
        transfers += 1;
        if transfers % 4096 == 0 {
            for old in std::fs::read_dir(&directory)
                .expect("a directory")
                .flatten()
            {
                if old.file_name().to_string_lossy().starts_with("0.log.") {
                    let _ = std::fs::remove_file(old.path());
                }
            }
        }
    }
    let mb = bytes as f64 / 1e6;
    println!(
        "{mb:.0} MB in {transfers} transfers: {:.0} MB/s with the producer, {:.0} MB/s of the writer's own time, {:.1} us each",
        mb / start.elapsed().as_secs_f64(),
        mb / busy.as_secs_f64(),
        busy.as_secs_f64() * 1e6 / transfers as f64,
    );
    producer.join().expect("the producer");
    let _ = std::fs::remove_dir_all(&directory);
}
