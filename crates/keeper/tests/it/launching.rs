use crate::node::{Node, eventually, exit_of, is_root};
use keeper::protocol::{FailureKind, Reply, Request, Stage};
use keeper::{exit_slot, pid_file};
use launch_plan::description::CgroupPlacement;
use pod_model::ExitCause;

#[test]
fn a_program_runs_and_its_exit_is_told_and_written_down() {
    if !is_root() {
        return;
    }
    let node = Node::new();
    let description = node.plain(
        "hello",
        &["/bin/sh", "-c", "echo hello; echo again >&2; exit 42"],
    );
    let slot = description.files.exit.clone();
    let (exit, text) = node.run(description, vec![]);
    assert_eq!(
        (exit.code, exit.signal, exit.cause),
        (42, None, ExitCause::Exited)
    );
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort();
    assert_eq!(lines, ["again", "hello"]);
    assert_eq!(exit_slot::read(&slot).expect("a record"), Some(exit));
}

#[test]
fn a_signal_is_told_apart_from_a_code() {
    if !is_root() {
        return;
    }
    let node = Node::new();
    let mut connection = node.connect();
    let description = node.plain("killed", &["sleep", "1000"]);
    let key = description.container.clone();
    let (launched, fds) = node.launch(&mut connection, description);
    let pidfd = &fds[launched.pidfd.0 as usize];
    linux_sys::pidfd::pidfd_kill(std::os::fd::AsFd::as_fd(pidfd)).expect("killed");
    let exit = exit_of(&mut connection, &key);
    assert_eq!((exit.code, exit.signal), (137, Some(9)));
}

#[test]
fn a_command_that_is_not_there_is_a_start_error_in_runcs_words() {
    if !is_root() {
        return;
    }
    let node = Node::new();
    std::fs::write(node.path("layers/base/etc/plain"), "text").expect("a file");
    let script = node.path("layers/base/bin/bad-script");
    std::fs::write(&script, "#!/no/such/interpreter\n").expect("a script");
    let garbage = node.path("layers/base/bin/garbage");
    std::fs::write(&garbage, [1_u8, 2, 3, 4]).expect("a file");
    for file in [&script, &garbage] {
        std::fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .expect("executable");
    }
    let mut connection = node.connect();
    for (name, command, words) in [
        (
            "a",
            "nope",
            r#"exec: "nope": executable file not found in $PATH"#,
        ),
        (
            "b",
            "/nope",
            r#"exec: "/nope": stat /nope: no such file or directory"#,
        ),
        (
            "c",
            "/etc/plain",
            r#"exec: "/etc/plain": permission denied"#,
        ),
        ("d", "/etc", r#"exec: "/etc": is a directory"#),
        (
            "e",
            "bad-script",
            "exec /bin/bad-script: no such file or directory",
        ),
        ("f", "garbage", "exec /bin/garbage: exec format error"),
    ] {
        let failure = node.launch_fails(&mut connection, node.plain(name, &[command]), vec![]);
        assert_eq!(
            (failure.stage, failure.kind),
            (Stage::Exec, FailureKind::Start),
            "{failure:?}"
        );
        assert_eq!(failure.message, words);
    }
    let listed = connection.call(Request::List, vec![]).expect("an answer");
    assert_eq!(listed.reply, Reply::Listed { containers: vec![] });
}

#[test]
fn many_are_launched_at_once_on_one_connection() {
    if !is_root() {
        return;
    }
    let node = Node::new();
    let mut connection = node.connect();
    let mut asked = Vec::new();
    for n in 0..16 {
        let description = node.plain(&format!("n{n}"), &["/bin/sh", "-c", &format!("exit {n}")]);
        let key = description.container.clone();
        let id = connection
            .send(Request::Launch(Box::new(description)), node.fds(vec![]))
            .expect("sent");
        asked.push((id, key));
    }
    for (id, _) in &asked {
        let answer = connection.reply(*id).expect("an answer");
        assert!(matches!(answer.reply, Reply::Launched(_)), "{answer:?}");
    }
    let Reply::Listed { containers } = connection
        .call(Request::List, vec![])
        .expect("an answer")
        .reply
    else {
        panic!("no list")
    };
    assert_eq!(containers.len(), 16);
    for (n, (_, key)) in asked.into_iter().enumerate() {
        let code = eventually("it ends", || {
            match connection
                .call(Request::List, vec![])
                .expect("an answer")
                .reply
            {
                Reply::Listed { containers } => {
                    containers.into_iter().find(|c| c.container == key)?.exit
                }
                _ => None,
            }
        });
        assert_eq!(code.code, i32::try_from(n).expect("few"));
    }
}

#[test]
fn a_megabyte_of_environment_and_a_thousand_mounts_arrive() {
    if !is_root() {
        return;
    }
    let node = Node::new();
    let file = node.path("file");
    std::fs::write(&file, "text\n").expect("a file");
    let source = std::fs::File::open(&file).expect("a file");
    let mut description = node.plain(
        "large",
        &["/bin/sh", "-c", "cat /m/999; env | grep -c LARGE"],
    );
    for n in 0..8 {
        description
            .process
            .env
            .push(format!("LARGE{n}={}", "x".repeat(120_000)));
    }
    let mut more = Vec::new();
    for n in 0..1000_u32 {
        more.push(source.try_clone().expect("a copy").into());
        description.mounts.push(launch_plan::description::Mount {
            target: format!("/m/{n}"),
            what: launch_plan::description::MountKind::Bind {
                source: launch_plan::description::FdIndex(3 + n),
                recursive: true,
                readonly: true,
                recursive_readonly: false,
                propagation: launch_plan::description::Propagation::Private,
            },
        });
    }
    let (exit, text) = node.run(description, more);
    assert_eq!((exit.code, text.as_str()), (0, "text\n8\n"));
}

#[test]
fn a_keeper_killed_in_the_middle_of_launches_leaves_programs_with_a_pid_file_or_nothing() {
    if !is_root() {
        return;
    }
    let mut node = Node::new();
    let mut whole = 0;
    for round in 0..12_u64 {
        let mut connection = node.connect();
        let mut files = Vec::new();
        for n in 0..4 {
            let description = node.plain(&format!("r{round}-{n}"), &["sleep", "1000"]);
            files.push((description.files.run.clone(), description.cgroup.clone()));
            connection
                .send(Request::Launch(Box::new(description)), node.fds(vec![]))
                .expect("sent");
        }
        // from too early to too late, on fast machines and on slow ones
        std::thread::sleep(std::time::Duration::from_micros(200 << round));
        node.kill_keeper();
        for (run, cgroup) in files {
            let directory = match cgroup {
                CgroupPlacement::V1 { directories } => {
                    directories.last().cloned().expect("a directory")
                }
                CgroupPlacement::V2 { directory } => directory,
            };
            // what was not the program yet dies with the keeper; what remains is the program, and named
            whole += eventually("it is settled", || {
                let procs =
                    std::fs::read_to_string(directory.join("cgroup.procs")).expect("a cgroup");
                let Some(pid) = procs.lines().next() else {
                    return Some(0);
                };
                let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
                (comm.trim() == "sleep" && pid_file::read(&run)?.pid.to_string() == pid)
                    .then_some(1)
            });
        }
        node.start_keeper();
    }
    assert!(whole > 0, "every one was killed: this was no test");
}

/// A directory in a cgroup2 tree, which hybrid machines have too.
struct Unified(std::path::PathBuf);

impl Drop for Unified {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[test]
fn a_container_is_born_in_its_v2_cgroup() {
    if !is_root() {
        return;
    }
    let roots = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
    let Some(root) = roots
        .into_iter()
        .find(|r| std::path::Path::new(r).join("cgroup.controllers").exists())
    else {
        return; // a machine with v1 alone has nothing to show here
    };
    let unified =
        Unified(std::path::Path::new(root).join(format!("keeper-born-{}", std::process::id())));
    std::fs::create_dir(&unified.0).expect("a cgroup");
    let node = Node::new();
    let (exit, text) = node.sh("born", "grep ^0: /proc/self/cgroup; cat /sys/fs/cgroup/cgroup.procs; mkdir /sys/fs/cgroup/x || echo refused", |d| {
        d.cgroup = CgroupPlacement::V2 { directory: unified.0.clone() };
    });
    let text = text.replace(
        "mkdir: can't create directory '/sys/fs/cgroup/x': Read-only file system\n",
        "",
    );
    assert_eq!((exit.code, text.as_str()), (0, "0::/\n1\n3\nrefused\n"));
}

/// Children of a process that have ended and were not collected.
fn zombies_of(pid: u32) -> Vec<u32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.unwrap_or_default();
    let is_zombie = |child: &u32| {
        std::fs::read_to_string(format!("/proc/{child}/stat"))
            .is_ok_and(|stat| stat.rsplit(") ").next().is_some_and(|s| s.starts_with('Z')))
    };
    let children = children.split_whitespace().filter_map(|c| c.parse().ok());
    children.filter(is_zombie).collect()
}

#[test]
fn a_process_that_failed_before_it_was_noted_tells_why_itself() {
    if !is_root() {
        return;
    }
    let node = Node::new();
    let mut description = node.plain("early", &["true"]);
    description.rootfs.layers = vec![node.path("layers/missing")];
    // the keeper waits here until somebody reads what it notes
    let note = description.files.run.join(".pid");
    rustix::fs::mkfifoat(
        rustix::fs::CWD,
        &note,
        rustix::fs::Mode::from_raw_mode(0o600),
    )
    .expect("a FIFO");
    let mut connection = node.connect();
    let failure = std::thread::scope(|scope| {
        let launch = scope.spawn(|| node.launch_fails(&mut connection, description, vec![]));
        eventually("the process has ended", || {
            zombies_of(node.keeper_pid()).pop()
        });
        std::fs::read(&note).expect("the note");
        launch.join().expect("a failure")
    });
    assert_eq!(failure.stage, Stage::Rootfs, "{failure:?}");
    assert!(zombies_of(node.keeper_pid()).is_empty());
    // and it goes on as before
    assert_eq!(node.sh("next", "exit 3", |_| {}).0.code, 3);
}
