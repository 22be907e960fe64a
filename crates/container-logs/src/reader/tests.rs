use super::*;
use crate::{LogFile, Spool, housekeep};
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const SECOND: i64 = 1_000_000_000;

struct Log {
    directory: tempfile::TempDir,
}

impl Log {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }
    fn path(&self) -> PathBuf {
        self.directory.path().join("0.log")
    }
    fn put(&self, name: &str, content: &str) {
        fs::write(self.directory.path().join(name), content).unwrap();
    }
    fn append(&self, content: &str) {
        let whole = fs::read_to_string(self.path()).unwrap_or_default() + content;
        // Not a replacement: the reader holds the file.
        fs::write(self.path(), whole).unwrap();
    }
    fn reader(&self, options: ReadOptions) -> Reader {
        Reader::open(&self.path(), options).unwrap()
    }
    fn text(&self, options: ReadOptions) -> String {
        rest(&mut self.reader(options))
    }
}

fn rest(reader: &mut Reader) -> String {
    let mut out = Vec::new();
    while reader.read(&mut out).unwrap() == Progress::More {}
    String::from_utf8(out).unwrap()
}

fn line(second: u32, stream: &str, tag: &str, text: &str) -> String {
    format!("1970-01-01T00:00:{second:02}.000000000Z {stream} {tag} {text}\n")
}

fn sample() -> Log {
    let log = Log::new();
    log.put(
        "0.log",
        &[
            line(1, "stdout", "F", "one"),
            line(2, "stderr", "F", "two"),
            line(3, "stdout", "P", "thr"),
            line(4, "stdout", "F", "ee"),
            line(5, "stdout", "F", ""),
            line(6, "stderr", "P", "open"),
        ]
        .concat(),
    );
    log
}

#[test]
fn options_choose_lines() {
    let all = ReadOptions::default();
    let tail = |n| ReadOptions {
        tail_lines: Some(n),
        ..ReadOptions::default()
    };
    let since = |s| ReadOptions {
        since: Some(s * SECOND),
        ..ReadOptions::default()
    };
    let limit = |n| ReadOptions {
        limit_bytes: Some(n),
        ..ReadOptions::default()
    };
    for (options, want) in [
        (all.clone(), "one\ntwo\nthree\n\nopen"),
        (tail(0), ""),
        (tail(1), "open"),
        (tail(2), "\nopen"),
        (tail(3), "three\n\nopen"),
        (tail(5), "one\ntwo\nthree\n\nopen"),
        (tail(500), "one\ntwo\nthree\n\nopen"),
        (since(2), "two\nthree\n\nopen"),
        (since(4), "ee\n\nopen"),
        (since(7), ""),
        (since(-5), "one\ntwo\nthree\n\nopen"),
        (limit(0), ""),
        (limit(6), "one\ntw"),
        (limit(1000), "one\ntwo\nthree\n\nopen"),
        (
            ReadOptions {
                stream: Some(Stream::Stderr),
                ..all.clone()
            },
            "two\nopen",
        ),
        (
            ReadOptions {
                stream: Some(Stream::Stdout),
                tail_lines: Some(2),
                ..all.clone()
            },
            "three\n\n",
        ),
        (
            ReadOptions {
                timestamps: true,
                tail_lines: Some(3),
                ..all.clone()
            },
            "1970-01-01T00:00:03.000000000Z three\n1970-01-01T00:00:05.000000000Z \n1970-01-01T00:00:06.000000000Z open",
        ),
        (
            ReadOptions {
                timestamps: true,
                tail_lines: Some(3),
                since: Some(6 * SECOND),
                limit_bytes: Some(33),
                ..all
            },
            "1970-01-01T00:00:06.000000000Z op",
        ),
    ] {
        assert_eq!(sample().text(options.clone()), want, "{options:?}");
    }
}

#[test]
fn lines_that_are_not_ours_are_passed_over() {
    let log = Log::new();
    let long = "x".repeat(300_000);
    log.put(
        "0.log",
        &format!(
            "garbage\n{}\n\n{long}\n{}1970-01-01T00:00:00.000000000Z stdin F no\n{}cut off",
            line(1, "stdout", "F", "one").trim_end(),
            line(2, "stdout", "F:more", "two"),
            line(3, "stdout", "F", "three"),
        ),
    );
    assert_eq!(log.text(ReadOptions::default()), "one\ntwo\nthree\n");
    for n in 0..5 {
        let tail = ReadOptions {
            tail_lines: Some(n),
            ..ReadOptions::default()
        };
        let all = ["one\n", "two\n", "three\n"];
        let from = all.len().saturating_sub(usize::try_from(n).unwrap());
        assert_eq!(log.text(tail), all[from..].concat());
    }
}

/// Lines 0 to 999 in a current file and rotated ones, some compressed.
fn rotated() -> Log {
    let log = Log::new();
    let run = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(run.path()).unwrap();
    let mut file = LogFile::open(&log.path(), 4_000).unwrap().keeping(100);
    for n in 0..1000 {
        let text = format!("line {n}\n");
        let at = 1_795_255_200 * SECOND + n * 10_000_000;
        spool
            .feed(text.as_bytes(), &mut file, Stream::Stdout, at)
            .unwrap();
        if n == 500 {
            housekeep(log.directory.path(), 0, 100).unwrap();
        }
    }
    log
}

#[test]
fn a_tail_reaches_back_into_rotated_and_compressed_files() {
    let log = rotated();
    let names = fs::read_dir(log.directory.path()).unwrap();
    let compressed = names
        .filter(|e| e.as_ref().unwrap().path().extension() == Some("gz".as_ref()))
        .count();
    assert!(compressed > 2);
    for n in [0, 1, 2, 100, 101, 500, 501, 502, 750, 999, 1000, 1001] {
        let tail = ReadOptions {
            tail_lines: Some(n),
            ..ReadOptions::default()
        };
        let want: String = (1000_u64.saturating_sub(n)..1000)
            .map(|n| format!("line {n}\n"))
            .collect();
        assert!(log.text(tail) == want, "tail of {n}");
    }
    let since = ReadOptions {
        since: Some(1_795_255_200 * SECOND + 333 * 10_000_000),
        ..ReadOptions::default()
    };
    let want: String = (333..1000).map(|n| format!("line {n}\n")).collect();
    assert_eq!(log.text(since), want);
}

#[test]
fn following_sees_what_is_appended_and_where_it_is_rotated_to() {
    let log = sample();
    let mut reader = log.reader(ReadOptions {
        tail_lines: Some(0),
        ..ReadOptions::default()
    });
    assert_eq!(rest(&mut reader), "");
    log.append(&line(7, "stderr", "F", " no more"));
    log.append("1970-01-01T00:00:08.000000000Z std");
    assert_eq!(rest(&mut reader), " no more\n");
    log.append("out F late\n");
    assert_eq!(rest(&mut reader), "late\n");
    // More comes before the rotation, and more than one rotation before the next look.
    log.append(&line(9, "stdout", "F", "last of the first"));
    let rotate = |to: &str| fs::rename(log.path(), log.directory.path().join(to)).unwrap();
    rotate("0.log.19700101-000010");
    log.put("0.log", &line(11, "stdout", "F", "second file"));
    rotate("0.log.19700101-000010.0001");
    // No current file for a moment.
    assert_eq!(rest(&mut reader), "last of the first\nsecond file\n");
    assert_eq!(rest(&mut reader), "");
    log.put("0.log", &line(12, "stdout", "F", "third file"));
    assert_eq!(rest(&mut reader), "third file\n");
    assert_eq!(rest(&mut reader), "");
}

#[test]
fn a_follower_gets_each_line_once_while_files_are_rotated_and_compressed() {
    const LINES: usize = 20_000;
    let log = Log::new();
    let run = tempfile::tempdir().unwrap();
    let mut file = LogFile::open(&log.path(), 5_000).unwrap().keeping(100_000);
    let done = AtomicBool::new(false);
    let mut text = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut spool = Spool::open(run.path()).unwrap();
            for n in 0..LINES {
                let at = i64::try_from(n).unwrap() * 1_000_000;
                spool
                    .feed(format!("{n}\n").as_bytes(), &mut file, Stream::Stdout, at)
                    .unwrap();
            }
            done.store(true, Ordering::SeqCst);
        });
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                housekeep(log.directory.path(), 0, 100_000).unwrap();
            }
        });
        let watch = LogWatch::new(&log.path()).unwrap();
        let mut reader = log.reader(ReadOptions::default());
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let is_done = done.load(Ordering::SeqCst);
            if reader.read(&mut text).unwrap() == Progress::CaughtUp {
                if is_done {
                    break;
                }
                watch.wait(Duration::from_millis(50));
            }
            assert!(Instant::now() < deadline);
        }
    });
    let text = String::from_utf8(text).unwrap();
    for (n, line) in text.lines().enumerate() {
        assert_eq!(line, n.to_string());
    }
    assert_eq!(text.lines().count(), LINES);
}

#[test]
fn a_log_that_is_not_there_or_not_a_log_is_refused() {
    let log = Log::new();
    let open = |log: &Log| Reader::open(&log.path(), ReadOptions::default()).err();
    assert!(matches!(open(&log), Some(ReadError::Missing { .. })));
    let nowhere = Reader::open(Path::new("/nowhere/at/all/0.log"), ReadOptions::default());
    assert!(matches!(
        nowhere.err(),
        Some(ReadError::Missing { .. } | ReadError::Read { .. })
    ));
    log.put("shadow", "secret\n");
    std::os::unix::fs::symlink(log.directory.path().join("shadow"), log.path()).unwrap();
    assert!(matches!(open(&log), Some(ReadError::Foreign { .. })));
    fs::remove_file(log.path()).unwrap();
    fs::hard_link(log.directory.path().join("shadow"), log.path()).unwrap();
    assert!(matches!(open(&log), Some(ReadError::Foreign { .. })));
    fs::remove_file(log.path()).unwrap();
    fs::create_dir(log.path()).unwrap();
    assert!(matches!(open(&log), Some(ReadError::Foreign { .. })));
}
