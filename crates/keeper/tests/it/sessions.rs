use crate::adoption::Held;
use crate::node::{Node, exit_of, is_root};
use crate::terminals::read_until;
use keeper::client::{Answer, Connection};
use keeper::protocol::{Event, ExecStdio, FailureKind, Refusal, Reply, Request, Stage};
use launch_plan::description::{CgroupPlacement, ExecDescription, FdIndex, TerminalSize};
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;

pub(crate) fn describe(node: &Node, held: &Held, session: u64, argv: &[&str]) -> ExecDescription {
    let mut process = node.plain("unused", argv).process;
    process.oom_score_adj = 600;
    ExecDescription {
        container: held.key.clone(),
        session,
        process,
        cgroup: node.sub_placement(
            held.key.dir_name().trim_end_matches(".0"),
            &format!("exec-{session}"),
        ),
        terminal: false,
        size: None,
    }
}

fn exec(connection: &mut Connection, description: ExecDescription) -> (Answer, File) {
    let (id, output) = send(connection, description, false);
    (connection.reply(id).expect("an answer"), output)
}

/// Gives the request's number and what the process writes.
pub(crate) fn send(
    connection: &mut Connection,
    description: ExecDescription,
    answer_at_end: bool,
) -> (u64, File) {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("a pipe");
    let null = File::open("/dev/null").expect("null");
    let fds: Vec<OwnedFd> = vec![null.into(), write.try_clone().expect("a copy"), write];
    let stdio = Some(ExecStdio {
        stdin: FdIndex(0),
        stdout: FdIndex(1),
        stderr: FdIndex(2),
    });
    let request = Request::Exec {
        description: Box::new(description),
        stdio,
        answer_at_end,
    };
    (connection.send(request, fds).expect("sent"), read.into())
}

#[test]
fn a_session_runs_in_the_container_and_its_code_is_told() {
    if !is_root() {
        return;
    }
    let node = Node::new();
    let mut connection = node.connect();
    let held = Held::launch(
        &node,
        &mut connection,
        node.plain("main", &["/bin/sh", "-c", "touch /here; sleep 1000"]),
    );
    let script = "until [ -e /here ]; do sleep 0.01; done; ls /here; hostname; test $$ -gt 1 && echo pid; cat /proc/1/cmdline | tr '\\0' ' '; echo; ls /proc/self/fd; \
                  cat /proc/self/oom_score_adj; grep CapInh /proc/self/status; exit 23";
    let (answer, mut output) = exec(
        &mut connection,
        describe(&node, &held, 7, &["sh", "-c", script]),
    );
    assert!(
        matches!(answer.reply, Reply::ExecStarted { .. }),
        "{answer:?}"
    );
    let mut text = String::new();
    output.read_to_string(&mut text).expect("output");
    let expected = "/here\ninside\npid\nsleep 1000 \n0\n1\n2\n3\n600\nCapInh:\t0000000000000000\n";
    assert_eq!(text, expected);
    let event = connection.event().expect("an event");
    assert_eq!(
        event,
        Event::ExecExited {
            container: held.key.clone(),
            session: 7,
            code: 23,
            signal: None
        }
    );
}

#[test]
fn who_waits_for_the_end_alone_is_answered_once() {
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
    let mut run = |session, argv: &[&str]| {
        let description = describe(&node, &held, session, argv);
        let (id, mut output) = send(&mut connection, description, true);
        let reply = connection.reply(id).expect("an answer").reply;
        let mut text = String::new();
        output.read_to_string(&mut text).expect("output");
        (reply, text)
    };
    let ended = |code, signal| Reply::ExecEnded { code, signal };
    let said = run(1, &["sh", "-c", "echo out; echo err >&2; exit 3"]);
    assert_eq!(said, (ended(3, None), "out\nerr\n".to_owned()));
    let (killed, _) = run(2, &["sh", "-c", "kill -9 $$"]);
    assert_eq!(killed, ended(137, Some(9)));
    let (failed, _) = run(3, &["nope"]);
    assert!(
        matches!(&failed, Reply::Failed(f) if f.stage == Stage::Exec),
        "{failed:?}"
    );
    // given up before the child was there: its place is gone
    let description = describe(&node, &held, 4, &["touch", "/not-given-up"]);
    let directories = match &description.cgroup {
        CgroupPlacement::V1 { directories } => directories.clone(),
        CgroupPlacement::V2 { directory } => vec![directory.clone()],
    };
    for directory in directories {
        std::fs::remove_dir(directory).expect("removed");
    }
    let (id, _output) = send(&mut connection, description, true);
    let reply = connection.reply(id).expect("an answer").reply;
    assert!(matches!(&reply, Reply::Failed(_)), "{reply:?}");
    // no event came in between, or this one would not be the first
    held.signal(9);
    let event = connection.event().expect("an event");
    assert!(matches!(event, Event::Exited { .. }), "{event:?}");
}

#[test]
fn a_session_with_a_terminal_gets_one_of_the_containers() {
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
    let mut description = describe(
        &node,
        &held,
        1,
        &["sh", "-c", "tty; stty size; read x; echo got $x; exit 4"],
    );
    description.terminal = true;
    description.size = Some(TerminalSize {
        rows: 33,
        columns: 77,
    });
    let answer = connection
        .call(
            Request::Exec {
                description: Box::new(description),
                stdio: None,
                answer_at_end: false,
            },
            vec![],
        )
        .expect("an answer");
    let Reply::ExecStarted {
        terminal: Some(at), ..
    } = answer.reply
    else {
        panic!("{answer:?}")
    };
    let master = &answer.descriptors[at.0 as usize];
    let text = read_until(master, "77\r\n");
    assert_eq!(text, "/dev/pts/0\r\n33 77\r\n");
    rustix::io::write(master, b"it\n").expect("typed");
    read_until(master, "got it");
    assert!(matches!(
        connection.event().expect("an event"),
        Event::ExecExited { code: 4, .. }
    ));
}

#[test]
fn what_a_session_may_not_do_is_told() {
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
    let (answer, _) = exec(&mut connection, describe(&node, &held, 1, &["nope"]));
    let Reply::Failed(failure) = answer.reply else {
        panic!("{answer:?}")
    };
    assert_eq!(
        (failure.stage, failure.kind),
        (Stage::Exec, FailureKind::Start)
    );
    assert_eq!(
        failure.message,
        r#"exec: "nope": executable file not found in $PATH"#
    );
    for n in 3..40 {
        let mut description = describe(&node, &held, 2, &["true"]);
        description.process.cwd = format!("/proc/self/fd/{n}");
        let (answer, _) = exec(&mut connection, description);
        assert!(
            matches!(&answer.reply, Reply::Failed(f) if f.stage == Stage::WorkingDirectory),
            "{n}: {answer:?}"
        );
    }
    held.signal(9);
    exit_of(&mut connection, &held.key);
    let (answer, _) = exec(&mut connection, describe(&node, &held, 3, &["true"]));
    assert!(
        matches!(
            answer.reply,
            Reply::Refused {
                why: Refusal::NotRunning,
                ..
            }
        ),
        "{answer:?}"
    );
}
