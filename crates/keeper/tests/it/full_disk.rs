use crate::node::{Node, eventually, exit_of, is_root, text_of};
use keeper::exit_slot;
use keeper::protocol::{Refusal, Reply, Request};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::fs;
use std::path::PathBuf;

/// A small tmpfs, unmounted when it goes.
struct Disk(PathBuf);

impl Disk {
    fn new(path: PathBuf) -> Self {
        fs::create_dir_all(&path).expect("a directory");
        mount(
            c"tmpfs",
            &path,
            c"tmpfs",
            MountFlags::empty(),
            Some(c"size=256k"),
        )
        .expect("a disk");
        Self(path)
    }
    fn fill(&self) -> PathBuf {
        let filler = self.0.join("filler");
        let mut file = fs::File::create(&filler).expect("a file");
        while std::io::Write::write_all(&mut file, &[0; 4096]).is_ok() {}
        filler
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

#[test]
fn a_full_disk_loses_no_exit_and_no_line() {
    if !is_root() {
        return;
    }
    let mut node = Node::without_keeper();
    let disk = Disk::new(node.path("disk"));
    node.start_keeper();
    let mut connection = node.connect();
    let mut description = node.plain("full", &["/bin/sh", "-c", "read go; seq 1 3000; exit 11"]);
    description.stdio.stdin = true;
    description.files.log = disk.0.join("full.log");
    description.files.exit = disk.0.join("exit");
    exit_slot::prepare(&description.files.exit).expect("a slot");
    let (files, key) = (description.files.clone(), description.container.clone());
    let other = node.plain("other", &["/bin/sh", "-c", "exit 12"]);
    node.launch(&mut connection, description);
    let filler = disk.fill();
    fs::write(files.run.join("stdin"), "go\n").expect("typed");
    let exit = exit_of(&mut connection, &key);
    assert_eq!(exit.code, 11);
    assert_eq!(exit_slot::read(&files.exit).expect("a record"), Some(exit));
    let drained = connection
        .call(
            Request::Drain {
                container: key.clone(),
            },
            vec![],
        )
        .expect("an answer");
    assert!(
        matches!(
            drained.reply,
            Reply::Refused {
                why: Refusal::LogDiskFull,
                ..
            }
        ),
        "{drained:?}"
    );
    // exits go on meanwhile
    let other_key = other.container.clone();
    node.launch(&mut connection, other);
    assert_eq!(exit_of(&mut connection, &other_key).code, 12);
    fs::remove_file(filler).expect("room");
    let expected: String = (1..=3000).map(|n| format!("{n}\n")).collect();
    eventually("all lines are there", || {
        (text_of(&files.log) == expected).then_some(())
    });
}
