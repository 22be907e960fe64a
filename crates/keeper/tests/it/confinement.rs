use crate::node::{DEFAULT_CAPS, Node, exit_of, is_root};
use keeper::protocol::{FailureKind, Stage};
use launch_plan::description::{Capabilities, FdIndex};
use std::io::Write;
use std::os::fd::OwnedFd;

fn field<'a>(status: &'a str, name: &str) -> &'a str {
    status
        .lines()
        .find_map(|l| l.strip_prefix(name))
        .map_or("", str::trim)
}

#[test]
fn a_user_has_exactly_its_ids_and_its_own_standard_output() {
    if !is_root() {
        return;
    }
    let node = Node::new();
    let script =
        "id -u; id -g; id -G; echo reopened > /dev/stdout; cat /proc/self/status | grep Cap; umask";
    let (exit, text) = node.sh("user", script, |d| {
        d.process.uid = 1234;
        d.process.gid = 2345;
        d.process.supplementary_gids = vec![3456, 99];
    });
    assert_eq!(exit.code, 0, "{text}");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..2], ["1234", "2345"]);
    assert!(lines[2].contains("3456") && lines[2].contains("99"));
    assert_eq!(lines[3], "reopened");
    assert_eq!(
        (field(&text, "CapEff:"), field(&text, "CapPrm:")),
        ("0000000000000000", "0000000000000000")
    );
    assert_eq!(field(&text, "CapBnd:"), format!("{DEFAULT_CAPS:016x}"));
    assert_eq!(lines.last(), Some(&"0022"));
}

#[test]
fn capabilities_are_exact_and_nothing_is_inheritable() {
    if !is_root() {
        return;
    }
    let node = Node::new();
    let some = 1 << 10 | 1 << 5;
    let mut description = node.plain("caps", &["cat", "/proc/self/status"]);
    description.process.capabilities = Capabilities {
        bounding: some,
        effective: some,
        permitted: some,
    };
    let (_, text) = node.run(description, vec![]);
    for (name, value) in [
        ("CapInh:", 0),
        ("CapPrm:", some),
        ("CapEff:", some),
        ("CapBnd:", some),
        ("CapAmb:", 0_u64),
    ] {
        assert_eq!(field(&text, name), format!("{value:016x}"), "{name}");
    }
    assert_eq!(field(&text, "NoNewPrivs:"), "0");
    assert_eq!(field(&text, "SigBlk:"), "0000000000000000");
    assert_eq!(field(&text, "SigIgn:"), "0000000000000000");
}

/// A program that answers `errno` to system call `number` and allows the rest.
fn filter(number: i64, errno: u32) -> OwnedFd {
    let mut program = Vec::new();
    for (code, jt, jf, k) in [
        (0x20_u16, 0_u8, 0_u8, 0_u32),
        (0x15, 0, 1, u32::try_from(number).expect("a number")),
        (0x06, 0, 0, 0x0005_0000 | errno),
        (0x06, 0, 0, 0x7fff_0000),
    ] {
        program.extend(code.to_ne_bytes());
        program.extend([jt, jf]);
        program.extend(k.to_ne_bytes());
    }
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(&program).expect("written");
    file.into()
}

#[test]
fn seccomp_filters_with_and_without_new_privileges() {
    if !is_root() {
        return;
    }
    // mkdir (mkdirat) → EXDEV
    let number = if cfg!(target_arch = "x86_64") { 83 } else { 34 };
    let node = Node::new();
    for (name, no_new_privileges, uid) in [
        ("a", false, 0),
        ("b", true, 0),
        ("c", false, 1000),
        ("d", true, 1000),
    ] {
        let script = "mkdir /tmp/x 2>&1; cat /proc/self/status";
        let mut description = node.plain(name, &["/bin/sh", "-c", script]);
        description.process.no_new_privileges = no_new_privileges;
        description.process.uid = uid;
        description.process.seccomp = Some(FdIndex(3));
        // without CAP_SYS_ADMIN in what the container gets
        let (_, text) = node.run(description, vec![filter(number, 18)]);
        assert!(
            text.to_lowercase().contains("cross-device"),
            "{name}: {text}"
        );
        assert_eq!(field(&text, "Seccomp:"), "2");
        assert_eq!(
            field(&text, "NoNewPrivs:"),
            if no_new_privileges { "1" } else { "0" }
        );
        let caps = if uid == 0 { DEFAULT_CAPS } else { 0 };
        assert_eq!(field(&text, "CapEff:"), format!("{caps:016x}"), "{name}");
    }
    let mut description = node.plain("bad", &["true"]);
    description.process.seccomp = Some(FdIndex(3));
    let garbage = std::fs::File::open("/etc/passwd").expect("a file");
    let failure = node.launch_fails(&mut node.connect(), description, vec![garbage.into()]);
    assert_eq!(
        (failure.stage, failure.kind),
        (Stage::Seccomp, FailureKind::Create)
    );
}

#[test]
fn masked_paths_are_empty_and_read_only_paths_cannot_be_written() {
    if !is_root() {
        return;
    }
    let node = Node::new();
    let script = "cat /proc/keys; cat /proc/timer_list; cat /proc/kcore; ls /sys/firmware /proc/acpi; \
                  echo 1 > /proc/sys/kernel/hostname || echo refused; echo c > /proc/sysrq-trigger || echo refused; \
                  touch /sys/x || echo refused; stat -c %t:%T /proc/timer_list; touch /sys/firmware/x || echo refused";
    let (_, text) = node.sh("masks", &format!("({script}) 2>/dev/null"), |_| {});
    let expected = [
        "/sys/firmware:",
        "refused",
        "refused",
        "refused",
        "1:3",
        "refused",
    ];
    let lines: Vec<&str> = text
        .lines()
        .filter(|l| !l.is_empty() && *l != "/proc/acpi:")
        .collect();
    assert_eq!(lines, expected);
}

#[test]
fn a_read_only_root_takes_volumes_and_nothing_else() {
    if !is_root() {
        return;
    }
    let node = Node::new();
    let script = "touch /x 2>/dev/null || echo refused; touch /dev/shm-like && echo dev; echo y > /dev/null && echo null";
    let (exit, text) = node.sh("readonly", script, |d| d.rootfs.readonly = true);
    assert_eq!((exit.code, text.as_str()), (0, "refused\ndev\nnull\n"));
}

#[test]
fn dev_is_complete_and_the_cgroup_tree_is_ours_alone() {
    if !is_root() {
        return;
    }
    let node = Node::new();
    let script = "for d in null zero full random urandom tty; do stat -c '%n %t:%T %a' /dev/$d; done; \
                  for l in fd stdin stdout stderr ptmx; do readlink /dev/$l; done; hostname; \
                  head -c 3 /dev/zero | tr '\\0' z; echo; echo x > /dev/full 2>/dev/null || echo full; \
                  mkdir /sys/fs/cgroup/x 2>/dev/null || echo refused; \
                  cat /proc/self/cgroup | grep -v ':/$' | grep -E ':(memory|pids|freezer):'; cat /proc/self/oom_score_adj; pwd; echo $$";
    let (exit, text) = node.sh("dev", script, |_| {});
    let expected = "/dev/null 1:3 666\n/dev/zero 1:5 666\n/dev/full 1:7 666\n/dev/random 1:8 666\n/dev/urandom 1:9 666\n/dev/tty 5:0 666\n\
                    /proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\npts/ptmx\ninside\nzzz\nfull\nrefused\n500\n/\n1\n";
    assert_eq!((exit.code, text.as_str()), (0, expected));
}

#[test]
fn nothing_of_the_keepers_is_left_open() {
    if !is_root() {
        return;
    }
    let node = Node::new();
    let mut connection = node.connect();
    // others, so that there is something to leak
    for name in ["other", "more"] {
        node.launch(&mut connection, node.plain(name, &["sleep", "1000"]));
    }
    let (exit, text) = node.run(node.plain("fds", &["ls", "/proc/self/fd"]), vec![]);
    // 3 is the directory that `ls` reads
    assert_eq!((exit.code, text.as_str()), (0, "0\n1\n2\n3\n"));
}

#[test]
fn a_working_directory_is_made_as_the_user_and_never_outside() {
    if !is_root() {
        return;
    }
    let node = Node::new();
    let (_, text) = node.sh("made", "pwd", |d| d.process.cwd = "/work/dir".into());
    assert_eq!(text, "/work/dir\n");
    let mut connection = node.connect();
    for n in 3..64 {
        let mut description = node.plain(&format!("leak{n}"), &["true"]);
        description.process.cwd = format!("/proc/self/fd/{n}");
        let failure = node.launch_fails(&mut connection, description, vec![]);
        assert_eq!(
            (failure.stage, failure.kind),
            (Stage::WorkingDirectory, FailureKind::Start),
            "{n}: {failure:?}"
        );
    }
    let mut description = node.plain("not-mine", &["true"]);
    description.process.uid = 1000;
    description.process.cwd = "/secret".into();
    std::fs::create_dir(node.path("layers/base/secret")).expect("a directory");
    std::fs::set_permissions(
        node.path("layers/base/secret"),
        std::os::unix::fs::PermissionsExt::from_mode(0o700),
    )
    .expect("private");
    let failure = node.launch_fails(&mut connection, description, vec![]);
    assert!(failure.message.contains("permission denied"), "{failure:?}");
}

#[test]
fn the_binary_cannot_be_written_through_proc() {
    if !is_root() {
        return;
    }
    // a file of its own, that no other test's keeper executes
    let mut node = Node::without_keeper();
    std::fs::copy(&node.binary, node.path("keeper")).expect("a copy");
    node.binary = node.path("keeper");
    node.start_keeper();
    let held = std::fs::File::open(format!("/proc/{}/exe", node.keeper_pid())).expect("opened");
    node.kill_keeper();
    // while it is executed it cannot be written anyhow: the attack waits for its end
    let again = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&held));
    let opened = std::fs::OpenOptions::new().write(true).open(&again);
    assert_eq!(
        opened.map(drop).map_err(|e| e.raw_os_error()),
        Err(Some(30)),
        "EROFS"
    );
    node.start_keeper();
    let (_, text) = node.sh("self", "ls -l /proc/self/exe", |_| {});
    assert!(text.contains("/bin/busybox"), "{text}");
    // an entry point that is the runtime itself: it is not executed, or as a program that fails, and cannot be changed
    let script = node.path("layers/base/bin/evil");
    std::fs::write(&script, "#!/proc/self/exe\n").expect("a script");
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("executable");
    let mut connection = node.connect();
    let description = node.plain("evil", &["/bin/evil"]);
    let key = description.container.clone();
    let request = keeper::protocol::Request::Launch(Box::new(description));
    let answer = connection
        .call(request, node.fds(vec![]))
        .expect("an answer");
    match answer.reply {
        keeper::protocol::Reply::Failed(failure) => assert_eq!(failure.stage, Stage::Exec),
        _ => assert_ne!(exit_of(&mut connection, &key).code, 0),
    }
}
