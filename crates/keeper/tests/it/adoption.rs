use crate::node::{Node, assert_end_of_orphan, eventually, exit_of, is_root, text_of};
use keeper::client::Connection;
use keeper::protocol::{AdoptContainer, Adoption, Launched, Refusal, Reply, Request, Stage};
use keeper::{exit_slot, pid_file};
use launch_plan::description::{ContainerFiles, FdIndex, LaunchDescription};
use linux_sys::pidfd::pidfd_send_signal;
use pod_model::{ContainerKey, ExitCause};
use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;
use std::time::{Duration, Instant};

/// What an agent holds of a container.
pub(crate) struct Held {
    pub(crate) key: ContainerKey,
    pub(crate) files: ContainerFiles,
    pub(crate) launched: Launched,
    pub(crate) fds: Vec<OwnedFd>,
    pub(crate) shares_pids: bool,
}

impl Held {
    pub(crate) fn launch(
        node: &Node,
        connection: &mut Connection,
        description: LaunchDescription,
    ) -> Held {
        let (key, files) = (description.container.clone(), description.files.clone());
        let shares_pids = description.namespaces.pid == launch_plan::description::PidNamespace::Pod;
        let (launched, fds) = node.launch(connection, description);
        Held {
            key,
            files,
            launched,
            fds,
            shares_pids,
        }
    }
    pub(crate) fn pidfd(&self) -> &OwnedFd {
        &self.fds[self.launched.pidfd.0 as usize]
    }
    pub(crate) fn signal(&self, signal: i32) {
        pidfd_send_signal(self.pidfd().as_fd(), signal).expect("it is signalled");
    }
    pub(crate) fn adopt(&self, connection: &mut Connection, with_pidfd: bool) -> Adoption {
        let mut fds = Vec::new();
        let mut add = |fd: Option<&OwnedFd>| {
            fds.push(fd?.try_clone().expect("a copy"));
            Some(FdIndex(u32::try_from(fds.len() - 1).expect("few")))
        };
        let pidfd = add(with_pidfd.then(|| self.pidfd()));
        let terminal = add(self.launched.terminal.map(|t| &self.fds[t.0 as usize]));
        let wanted = AdoptContainer {
            container: self.key.clone(),
            files: self.files.clone(),
            pidfd,
            terminal,
            shares_pids: self.shares_pids,
            started_at: None,
        };
        let answer = connection
            .call(
                Request::Adopt {
                    containers: vec![wanted],
                },
                fds,
            )
            .expect("an answer");
        match answer.reply {
            Reply::Adopted { mut containers } => containers.remove(0),
            other => panic!("{other:?}"),
        }
    }
}

/// Numbered lines until TERM, then the next number and the exit code 7.
const LOGGER: &str =
    "trap 'echo end $i; exit 7' TERM; i=0; while :; do echo line $i; i=$((i+1)); done";

fn check_lines(text: &str, name: &str) {
    let mut count = 0;
    for line in text.lines() {
        if let Some(end) = line.strip_prefix("end ") {
            assert!(
                end == format!("{count}") || end == format!("{}", count - 1),
                "{name}: {line} after {count} lines"
            );
            assert!(count > 100, "{name}: {count} lines are no test");
            return;
        }
        assert_eq!(
            line,
            format!("line {count}"),
            "{name}: a line lost or doubled"
        );
        count += 1;
    }
    panic!("{name}: the end is missing after {count} lines");
}

#[test]
fn no_line_is_lost_or_doubled_however_often_the_keeper_is_killed() {
    if !is_root() {
        return;
    }
    let mut node = Node::new();
    let mut connection = node.connect();
    let held: Vec<Held> = ["one", "two", "three"]
        .map(|name| {
            let mut description = node.plain(name, &["/bin/sh", "-c", LOGGER]);
            description.files.log_max_bytes = 4 << 30;
            Held::launch(&node, &mut connection, description)
        })
        .into_iter()
        .collect();
    let kills = std::env::var("KEEPER_KILLS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(25);
    for kill in 0_u64..kills {
        // spread over the loop's work, not chosen by any clock
        std::thread::sleep(Duration::from_micros(500 + kill * 7919 % 23_000));
        node.kill_keeper();
        node.start_keeper();
        connection = node.connect();
        for container in &held {
            let adopted = container.adopt(&mut connection, kill % 2 == 0);
            assert_eq!(
                adopted,
                Adoption::Running {
                    process: container.launched.process
                }
            );
        }
    }
    for container in &held {
        container.signal(15);
        let exit = exit_of(&mut connection, &container.key);
        assert_end_of_orphan(&exit, 7, None);
        let drained = connection
            .call(
                Request::Drain {
                    container: container.key.clone(),
                },
                vec![],
            )
            .expect("an answer");
        assert_eq!(drained.reply, Reply::Done);
        check_lines(&text_of(&container.files.log), container.key.name.as_str());
    }
}

#[test]
fn a_container_that_ended_without_a_keeper_is_reported_with_its_code_and_its_last_words() {
    if !is_root() {
        return;
    }
    let mut node = Node::new();
    let mut connection = node.connect();
    let description = node.plain(
        "last",
        &[
            "/bin/sh",
            "-c",
            "trap 'echo last words; exit 33' TERM; echo ready; while :; do sleep 0.01; done",
        ],
    );
    let held = Held::launch(&node, &mut connection, description);
    // before its trap is set, the first process of a PID namespace hears no TERM
    eventually("its trap is set", || {
        (text_of(&held.files.log) == "ready\n").then_some(())
    });
    node.kill_keeper();
    held.signal(15);
    eventually("it ends", || {
        linux_sys::pidfd::pidfd_has_ended(held.pidfd().as_fd())
            .ok()
            .filter(|e| *e)
    });
    node.start_keeper();
    let mut connection = node.connect();
    match held.adopt(&mut connection, true) {
        Adoption::Running { .. } => {}
        Adoption::Exited { .. } => {}
        Adoption::Failed { message } => panic!("{message}"),
    }
    let exit = exit_of(&mut connection, &held.key);
    assert_end_of_orphan(&exit, 33, None);
    assert_eq!(
        exit_slot::read(&held.files.exit).expect("a record"),
        Some(exit)
    );
    connection
        .call(
            Request::Drain {
                container: held.key.clone(),
            },
            vec![],
        )
        .expect("an answer");
    assert_eq!(text_of(&held.files.log), "ready\nlast words\n");
}

#[test]
fn an_exit_that_nobody_saw_is_unknown_and_never_a_success() {
    if !is_root() {
        return;
    }
    let mut node = Node::new();
    let mut connection = node.connect();
    let held = Held::launch(
        &node,
        &mut connection,
        node.plain("unseen", &["sleep", "1000"]),
    );
    node.kill_keeper();
    held.signal(9);
    let pid = held.launched.process.pid;
    eventually("it is collected", || {
        (!std::path::Path::new(&format!("/proc/{pid}")).exists()).then_some(())
    });
    node.start_keeper();
    let mut connection = node.connect();
    // without a pidfd only the pid file tells, of a process that is gone
    let adopted = held.adopt(&mut connection, false);
    let Adoption::Exited { exit } = adopted else {
        panic!("{adopted:?}")
    };
    assert_eq!(
        (exit.code, exit.signal, exit.cause),
        (137, None, ExitCause::Unknown)
    );
    assert_eq!(exit.started_at, held.launched.process.started_at.wall);
}

#[test]
fn an_exit_that_the_dead_keeper_recorded_stays_as_it_was() {
    if !is_root() {
        return;
    }
    let mut node = Node::new();
    let mut connection = node.connect();
    let held = Held::launch(
        &node,
        &mut connection,
        node.plain("done", &["/bin/sh", "-c", "echo x; exit 5"]),
    );
    let exit = exit_of(&mut connection, &held.key);
    node.kill_keeper();
    node.start_keeper();
    let adopted = held.adopt(&mut node.connect(), true);
    assert_eq!(adopted, Adoption::Exited { exit });
    node.connect()
        .call(
            Request::Drain {
                container: held.key.clone(),
            },
            vec![],
        )
        .expect("an answer");
    assert_eq!(text_of(&held.files.log), "x\n");
}

#[test]
fn a_pid_that_another_process_has_now_is_not_adopted() {
    if !is_root() {
        return;
    }
    let mut node = Node::new();
    let mut connection = node.connect();
    let held = Held::launch(
        &node,
        &mut connection,
        node.plain("first", &["sleep", "1000"]),
    );
    let mut other = held.launched.process;
    other.pid = std::process::id();
    node.kill_keeper();
    pid_file::write(&held.files.run, &other).expect("a pid file");
    node.start_keeper();
    let adopted = held.adopt(&mut node.connect(), false);
    assert!(matches!(adopted, Adoption::Exited { exit } if exit.cause == ExitCause::Unknown));
}

#[test]
fn agents_come_and_go_and_what_happened_in_between_is_listed() {
    if !is_root() {
        return;
    }
    let node = Node::new();
    let mut connection = node.connect();
    let held = Held::launch(
        &node,
        &mut connection,
        node.plain(
            "orphan",
            &[
                "/bin/sh",
                "-c",
                "echo x; read line < /dev/tty; sleep 0.05; exit 9",
            ],
        ),
    );
    drop(connection);
    let mut connection = node.connect();
    let exit = eventually("the exit is listed", || {
        match connection
            .call(Request::List, vec![])
            .expect("an answer")
            .reply
        {
            Reply::Listed { containers } => {
                assert_eq!(containers.len(), 1);
                assert_eq!(containers[0].process, held.launched.process);
                containers[0].exit.clone()
            }
            other => panic!("{other:?}"),
        }
    });
    assert_eq!(exit.code, 9);
    let again = connection
        .call(
            Request::Launch(Box::new(node.plain("orphan", &["true"]))),
            node.fds(vec![]),
        )
        .expect("an answer");
    assert!(
        matches!(
            again.reply,
            Reply::Refused {
                why: Refusal::AlreadyThere,
                ..
            }
        ),
        "{again:?}"
    );
    let refused = connection
        .call(Request::Shutdown, vec![])
        .expect("an answer");
    assert_eq!(refused.reply, Reply::Done, "nothing lives");
}

#[test]
fn a_keeper_with_containers_does_not_shut_down() {
    if !is_root() {
        return;
    }
    let mut node = Node::new();
    let mut connection = node.connect();
    let held = Held::launch(
        &node,
        &mut connection,
        node.plain("lives", &["sleep", "1000"]),
    );
    for request in [
        Request::Shutdown,
        Request::Forget {
            container: held.key.clone(),
        },
    ] {
        let answer = connection.call(request, vec![]).expect("an answer");
        assert!(
            matches!(
                answer.reply,
                Reply::Refused {
                    why: Refusal::Busy,
                    ..
                }
            ),
            "{answer:?}"
        );
    }
    held.signal(9);
    exit_of(&mut connection, &held.key);
    for request in [
        Request::Forget {
            container: held.key.clone(),
        },
        Request::Shutdown,
    ] {
        assert_eq!(
            connection.call(request, vec![]).expect("an answer").reply,
            Reply::Done
        );
    }
    assert!(node.keeper_ends());
    assert!(!node.socket().exists());
}

#[test]
fn only_one_keeper_lives_in_a_run_directory_and_the_other_ends_soon() {
    if !is_root() {
        return;
    }
    let node = Node::new();
    let begun = Instant::now();
    let second = Command::new(&node.binary)
        .arg(node.path("run"))
        .output()
        .expect("it runs");
    assert!(!second.status.success());
    assert!(
        String::from_utf8_lossy(&second.stderr).contains("another keeper holds"),
        "{second:?}"
    );
    assert!(begun.elapsed() < Duration::from_secs(3));
    let mut connection = node.connect();
    let held = Held::launch(&node, &mut connection, node.plain("main", &["true"]));
    assert_eq!(exit_of(&mut connection, &held.key).code, 0);
}

#[test]
fn only_what_executed_its_program_bears_the_mark_of_it() {
    if !is_root() {
        return;
    }
    let node = Node::new();
    let mut connection = node.connect();
    let held = Held::launch(
        &node,
        &mut connection,
        node.plain("runs", &["sleep", "1000"]),
    );
    assert!(pid_file::has_executed(&held.files.run));

    let refused = node.plain("refused", &["/nowhere/else"]);
    let run = refused.files.run.clone();
    let failure = node.launch_fails(&mut connection, refused, vec![]);
    assert_eq!(failure.stage, Stage::Exec);
    assert!(pid_file::read(&run).is_some() && !pid_file::has_executed(&run));
}
