use crate::node::{Node, exit_of, is_root};
use keeper::exit_slot;
use keeper::protocol::{FailureKind, Request, Stage};
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
    assert_eq!(
        listed.reply,
        keeper::protocol::Reply::Listed { containers: vec![] }
    );
}
