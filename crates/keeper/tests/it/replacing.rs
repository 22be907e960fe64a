use crate::adoption::Held;
use crate::node::{Node, exit_of, is_root, text_of};
use crate::sessions::{describe, send};
use keeper::protocol::{Refusal, Reply, Request};
use launch_plan::description::FdIndex;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

fn replace(connection: &mut keeper::client::Connection, binary: &Path) -> Reply {
    let file = File::open(binary).expect("a binary");
    connection
        .call(Request::Replace { binary: FdIndex(0) }, vec![file.into()])
        .expect("an answer")
        .reply
}

/// A copy, written by a process of its own: what this one has open for writing, a child of another test's may have for a moment too, and
/// such a file cannot be executed.
fn another_build(of: &Path, to: &Path) {
    let copied = Command::new("cp").args([of, to]).status();
    assert!(copied.is_ok_and(|status| status.success()));
}

#[test]
fn another_build_takes_over_and_nothing_is_lost() {
    if !is_root() {
        return;
    }
    let node = Node::new();
    let mut connection = node.connect();
    let script = "trap 'echo end; exit 7' TERM; i=0; while :; do echo line $i; i=$((i+1)); done";
    let mut description = node.plain("logger", &["/bin/sh", "-c", script]);
    description.files.log_max_bytes = 4 << 30;
    let held = Held::launch(&node, &mut connection, description);
    let ended = Held::launch(
        &node,
        &mut connection,
        node.plain("ended", &["/bin/sh", "-c", "exit 5"]),
    );
    let exit = exit_of(&mut connection, &ended.key);
    for round in 0..5 {
        let binary = node.path(&format!("keeper-{round}"));
        another_build(&node.binary, &binary);
        assert_eq!(replace(&mut connection, &binary), Reply::Done);
        let exe = std::fs::metadata(format!("/proc/{}/exe", node.keeper_pid()))
            .expect("the keeper lives");
        assert_eq!(
            exe.ino(),
            std::fs::metadata(&binary).expect("a binary").ino()
        );
        let exe = File::open(format!("/proc/{}/exe", node.keeper_pid())).expect("the keeper lives");
        let flags = rustix::fs::fstatvfs(&exe).expect("a file system").f_flag;
        assert!(flags.contains(rustix::fs::StatVfsMountFlags::RDONLY));
    }
    // the same connection still serves, and a new one
    let Reply::Listed { containers } = connection
        .call(Request::List, vec![])
        .expect("an answer")
        .reply
    else {
        panic!("no list")
    };
    assert_eq!(
        containers
            .iter()
            .find(|c| c.container == ended.key)
            .and_then(|c| c.exit.clone()),
        Some(exit)
    );
    let mut second = node.connect();
    let (later, _) = node.launch(&mut second, node.plain("later", &["sleep", "1000"]));
    assert!(later.process.pid > 0);
    held.signal(15);
    let exit = exit_of(&mut connection, &held.key);
    assert_eq!(exit.code, 7, "still a child, so known on every kernel");
    connection
        .call(
            Request::Drain {
                container: held.key.clone(),
            },
            vec![],
        )
        .expect("an answer");
    let text = text_of(&held.files.log);
    let mut lines = text.lines();
    assert_eq!(lines.next_back(), Some("end"));
    let mut count = 0;
    for line in lines {
        assert_eq!(line, format!("line {count}"));
        count += 1;
    }
    assert!(count > 100, "{count} lines are no test");
}

#[test]
fn a_command_that_runs_neither_delays_a_replacement_nor_is_lost_by_it() {
    if !is_root() {
        return;
    }
    let node = Node::new();
    let mut connection = node.connect();
    let held = Held::launch(
        &node,
        &mut connection,
        node.plain("main", &["sleep", "1000"]),
    );
    let script = "until [ -e /over ]; do sleep 0.01; done; exit 9";
    let description = describe(&node, &held, 1, &["sh", "-c", script]);
    let (id, _output) = send(&mut connection, description, true);
    // at once: the command may not have been executed yet
    assert_eq!(replace(&mut connection, &node.binary), Reply::Done);
    let over = describe(&node, &held, 2, &["touch", "/over"]);
    let (second, _output) = send(&mut connection, over, true);
    let answer = |connection: &mut keeper::client::Connection, id| {
        connection.reply(id).expect("an answer").reply
    };
    let ended = |code| Reply::ExecEnded { code, signal: None };
    assert_eq!(answer(&mut connection, second), ended(0));
    assert_eq!(answer(&mut connection, id), ended(9));
}

#[test]
fn what_cannot_be_executed_replaces_nothing() {
    if !is_root() {
        return;
    }
    let node = Node::new();
    let mut connection = node.connect();
    let held = Held::launch(
        &node,
        &mut connection,
        node.plain("lives", &["sleep", "1000"]),
    );
    let garbage = node.path("garbage");
    std::fs::write(&garbage, "no program").expect("a file");
    for mode in [0o644, 0o755] {
        std::fs::set_permissions(&garbage, std::os::unix::fs::PermissionsExt::from_mode(mode))
            .expect("a mode");
        let reply = replace(&mut connection, &garbage);
        assert!(
            matches!(
                reply,
                Reply::Refused {
                    why: Refusal::Failed,
                    ..
                }
            ),
            "{reply:?}"
        );
    }
    held.signal(9);
    assert_eq!(exit_of(&mut connection, &held.key).signal, Some(9));
}
