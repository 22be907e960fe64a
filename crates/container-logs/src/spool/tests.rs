use super::*;
use std::fs;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::PathBuf;

/// 2026-11-21T10:00:00Z
const AT: i64 = 1_795_255_200_000_000_000;

struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("keeper")).unwrap();
        fs::create_dir(directory.path().join("log")).unwrap();
        Self { directory }
    }
    fn spool(&self) -> Spool {
        Spool::open(&self.directory.path().join("keeper")).unwrap()
    }
    fn log_path(&self) -> PathBuf {
        self.directory.path().join("log/0.log")
    }
    fn log(&self, max_bytes: u64) -> LogFile {
        LogFile::open(&self.log_path(), max_bytes)
            .unwrap()
            .keeping(10_000)
    }
    /// Name and content of every log file, oldest first.
    fn files(&self) -> Vec<(String, Vec<u8>)> {
        let mut files: Vec<_> = fs::read_dir(self.directory.path().join("log"))
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let name = entry.file_name().into_string().unwrap();
                (name, fs::read(entry.path()).unwrap())
            })
            .collect();
        // The current file is the newest: `~` sorts behind.
        files.sort_by_key(|(name, _)| {
            if name == "0.log" {
                "~".to_owned()
            } else {
                name.clone()
            }
        });
        files
    }
}

fn text_of(line: &str) -> &str {
    line.splitn(4, ' ').nth(3).unwrap()
}

#[test]
fn what_a_fifo_holds_is_moved_into_the_log() {
    let place = Place::new();
    let (mut spool, mut log) = (place.spool(), place.log(1 << 20));
    let (reader, mut writer) = io::pipe().unwrap();
    let go = |spool: &mut Spool, log: &mut LogFile| {
        spool
            .transfer(reader.as_fd(), log, Stream::Stderr, AT)
            .unwrap()
    };
    assert_eq!(go(&mut spool, &mut log), Transferred::WouldBlock);
    writer.write_all(b"one\ntw").unwrap();
    assert_eq!(go(&mut spool, &mut log), Transferred::Bytes(6));
    writer.write_all(b"o\n").unwrap();
    assert_eq!(go(&mut spool, &mut log), Transferred::Bytes(2));
    drop(writer);
    assert_eq!(go(&mut spool, &mut log), Transferred::Closed);
    let t = "2026-11-21T10:00:00.000000000Z stderr";
    assert_eq!(
        String::from_utf8(fs::read(place.log_path()).unwrap()).unwrap(),
        format!("{t} F one\n{t} P tw\n{t} F o\n")
    );
    assert_eq!(
        fs::metadata(place.directory.path().join("keeper/spool"))
            .unwrap()
            .len(),
        0
    );
}

#[test]
fn no_file_is_larger_than_its_limit_and_no_line_is_cut() {
    let place = Place::new();
    let (mut spool, mut log) = (place.spool(), place.log(1024));
    for round in 0..40 {
        let text: String = (0..50).map(|n| format!("line {round} {n}\n")).collect();
        spool
            .feed(text.as_bytes(), &mut log, Stream::Stdout, AT)
            .unwrap();
    }
    let files = place.files();
    assert!(files.len() > 50, "{} files", files.len());
    assert_eq!(files[0].0, "0.log.20261121-100000");
    assert_eq!(files[1].0, "0.log.20261121-100000.0001");
    let mut lines = Vec::new();
    for (name, content) in &files {
        assert!(content.len() <= 1024, "{name} has {} bytes", content.len());
        assert!(
            content.len() > 900 || name == "0.log",
            "{name} was left early"
        );
        lines.extend(str::from_utf8(content).unwrap().lines());
    }
    for (n, line) in lines.iter().enumerate() {
        assert_eq!(text_of(line), format!("line {} {}", n / 50, n % 50));
    }
    assert_eq!(lines.len(), 2000);
}

#[test]
fn a_flood_never_has_more_on_disk_than_its_files_may_hold() {
    let place = Place::new();
    let mut spool = place.spool();
    let mut log = LogFile::open(&place.log_path(), 2000).unwrap().keeping(3);
    for round in 0..400 {
        let at = AT + i64::from(round) * 100_000_000;
        spool
            .feed(
                "0123456789\n".repeat(20).as_bytes(),
                &mut log,
                Stream::Stdout,
                at,
            )
            .unwrap();
        let files = place.files();
        assert!(files.len() <= 3, "{} files", files.len());
        assert!(files.iter().all(|(_, content)| content.len() <= 2000));
    }
    assert_eq!(place.files().len(), 3);
}

#[test]
fn a_line_longer_than_a_file_goes_on_in_the_next_one() {
    let place = Place::new();
    let (mut spool, mut log) = (place.spool(), place.log(2048));
    let long = "x".repeat(10_000);
    let text = format!("{long}\nend\n");
    spool
        .feed(text.as_bytes(), &mut log, Stream::Stdout, AT)
        .unwrap();
    let mut merged = String::new();
    for (name, content) in place.files() {
        assert!(content.len() <= 2048, "{name} has {} bytes", content.len());
        for line in str::from_utf8(&content).unwrap().lines() {
            merged.push_str(text_of(line));
            if line.as_bytes()[38] == b'F' {
                merged.push('\n');
            }
        }
    }
    assert_eq!(merged, text);
}

/// Everything that a crash may leave behind in the middle of one batch, one after the other.
#[test]
fn a_batch_is_finished_from_wherever_it_was_left() {
    let text: String = (0..60).map(|n| format!("line number {n}\n")).collect();
    // What should come out, written without a crash.
    let whole = Place::new();
    let before = format!(
        "2026-11-21T09:00:00.000000000Z stdout F {}\n",
        "b".repeat(200)
    );
    fs::write(whole.log_path(), &before).unwrap();
    whole
        .spool()
        .feed(text.as_bytes(), &mut whole.log(1024), Stream::Stdout, AT)
        .unwrap();
    let expected = whole.files();
    assert!(expected.len() >= 4, "the batch rotates more than once");

    // What part `n` of the batch begins with: how much text the files before it took.
    let mut done = 0;
    for (n, (name, content)) in expected.iter().enumerate() {
        let size = if n == 0 { before.len() } else { 0 };
        let mut taken = 0;
        for line in str::from_utf8(&content[size..]).unwrap().lines() {
            taken += text_of(line).len() as u64 + 1;
        }
        for present in size..=content.len() {
            let place = Place::new();
            for (name, content) in &expected[..n] {
                fs::write(place.directory.path().join("log").join(name), content).unwrap();
            }
            fs::write(place.log_path(), &content[..present]).unwrap();
            let (inode, _) = log_file::look_at(&place.log_path()).unwrap();
            let spool = place.spool();
            spool.file.write_all_at(text.as_bytes(), 0).unwrap();
            let batch = Batch {
                phase: Phase::Writing,
                stream: Stream::Stdout,
                done,
                inode,
                size: size as u64,
                max_bytes: 1024,
                max_files: 10_000,
                at: AT,
            };
            spool.journal.write(&batch, &place.log_path()).unwrap();
            drop(spool);
            assert!(matches!(
                place.spool().recover().unwrap(),
                Recovered::Finished { .. }
            ));
            assert_eq!(place.files(), expected, "{present} bytes of {name}");
            assert!(matches!(
                place.spool().recover().unwrap(),
                Recovered::Nothing
            ));
        }
        done += taken;
        if n + 1 == expected.len() {
            break;
        }
        // The rotation after it: nothing done, renamed away, new file made.
        for step in 0..3 {
            let place = Place::new();
            for (name, content) in &expected[..=n] {
                fs::write(place.directory.path().join("log").join(name), content).unwrap();
            }
            let rotated = place.directory.path().join("log").join(name);
            let (inode, _) = log_file::look_at(&rotated).unwrap();
            match step {
                0 => fs::rename(&rotated, place.log_path()).unwrap(),
                1 => {}
                _ => fs::write(place.log_path(), "").unwrap(),
            }
            let spool = place.spool();
            spool.file.write_all_at(text.as_bytes(), 0).unwrap();
            let batch = Batch {
                phase: Phase::Rotating,
                stream: Stream::Stdout,
                done,
                inode,
                size: content.len() as u64,
                max_bytes: 1024,
                max_files: 10_000,
                at: AT,
            };
            spool.journal.write(&batch, &place.log_path()).unwrap();
            drop(spool);
            place.spool().recover().unwrap();
            assert_eq!(place.files(), expected, "step {step} of rotating to {name}");
        }
    }
    assert_eq!(done, text.len() as u64);
}

#[test]
fn a_batch_whose_log_is_gone_or_replaced_is_dropped_and_said() {
    for replace in [false, true] {
        let place = Place::new();
        let log = place.log(1024);
        let mut spool = place.spool();
        spool.begin(&log, Stream::Stdout, AT).unwrap();
        spool.file.write_all_at(b"text\n", 0).unwrap();
        drop((spool, log));
        if replace {
            fs::rename(place.log_path(), place.log_path().with_extension("moved")).unwrap();
            fs::write(place.log_path(), "not ours\n").unwrap();
        } else {
            fs::remove_file(place.log_path()).unwrap();
        }
        let mut spool = place.spool();
        assert_eq!(spool.outstanding(), Some(place.log_path().as_path()));
        match spool.recover().unwrap() {
            Recovered::Dropped { log, bytes, why } => {
                assert_eq!((log, bytes), (Some(place.log_path()), 5));
                assert_eq!(why.is_some(), !replace);
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(place.log_path().exists(), replace);
        assert!(spool.outstanding().is_none());
    }
}

#[test]
fn a_spool_without_a_readable_journal_is_emptied_and_used() {
    let place = Place::new();
    fs::write(place.directory.path().join("keeper/spool"), "whose?").unwrap();
    fs::write(place.directory.path().join("keeper/journal"), "garbage").unwrap();
    let mut spool = place.spool();
    assert!(matches!(
        spool.recover().unwrap(),
        Recovered::Dropped {
            log: None,
            bytes: 6,
            ..
        }
    ));
    spool
        .feed(b"next\n", &mut place.log(1024), Stream::Stdout, AT)
        .unwrap();
    assert_eq!(
        fs::read(place.log_path()).unwrap(),
        b"2026-11-21T10:00:00.000000000Z stdout F next\n"
    );
}

#[test]
fn a_log_that_is_a_link_a_fifo_or_has_a_second_name_is_refused() {
    let place = Place::new();
    let target = place.directory.path().join("shadow");
    fs::write(&target, "secret").unwrap();
    let refused = |place: &Place| match LogFile::open(&place.log_path(), 1024) {
        Err(LogError::Foreign { what, .. }) => what,
        Err(e) => panic!("{e}"),
        Ok(_) => panic!("opened"),
    };
    std::os::unix::fs::symlink(&target, place.log_path()).unwrap();
    assert_eq!(refused(&place), "it is a symbolic link");
    fs::remove_file(place.log_path()).unwrap();
    fs::hard_link(&target, place.log_path()).unwrap();
    assert_eq!(refused(&place), "it has a second name");
    fs::remove_file(place.log_path()).unwrap();
    rustix::fs::mknodat(
        CWD,
        place.log_path(),
        rustix::fs::FileType::Fifo,
        Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    assert_eq!(refused(&place), "it is not a regular file");
    // A directory above it that is a link.
    let real = place.directory.path().join("etc");
    fs::create_dir(&real).unwrap();
    let linked = place.directory.path().join("linked");
    std::os::unix::fs::symlink(&real, &linked).unwrap();
    assert!(LogFile::open(&linked.join("0.log"), 1024).is_err());
    assert_eq!(fs::read(&target).unwrap(), b"secret");
    assert_eq!(fs::read_dir(&real).unwrap().count(), 0);
}

#[test]
fn a_link_put_in_the_place_of_a_log_is_moved_away_by_the_rotation() {
    let place = Place::new();
    let (mut spool, mut log) = (place.spool(), place.log(1024));
    let target = place.directory.path().join("shadow");
    fs::write(&target, "secret").unwrap();
    fs::remove_file(place.log_path()).unwrap();
    std::os::unix::fs::symlink(&target, place.log_path()).unwrap();
    for _ in 0..100 {
        spool
            .feed(b"0123456789\n", &mut log, Stream::Stdout, AT)
            .unwrap();
    }
    assert_eq!(fs::read(&target).unwrap(), b"secret");
    assert!(fs::symlink_metadata(place.log_path()).unwrap().is_file());
}
