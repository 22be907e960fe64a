use crate::adoption::Held;
use crate::node::{Node, assert_end_of_orphan, eventually, exit_of, is_root, text_of};
use keeper::protocol::{Adoption, Request};
use std::os::fd::OwnedFd;

/// Reads from a terminal's master until `needle` has come.
pub(crate) fn read_until(master: &OwnedFd, needle: &str) -> String {
    let mut text = String::new();
    eventually(needle, || {
        let mut bytes = [0; 4096];
        if let Ok(n) = rustix::io::read(master, &mut bytes) {
            text.push_str(&String::from_utf8_lossy(&bytes[..n]));
        }
        text.contains(needle).then_some(())
    });
    text
}

#[test]
fn a_terminal_is_of_the_containers_own_devpts_and_survives_the_keeper() {
    if !is_root() {
        return;
    }
    let mut node = Node::new();
    let mut connection = node.connect();
    let script = "tty; stat -c '%t %u' /dev/console; test -t 2 && echo yes; read line; echo got $line; read line; echo got $line; exit 3";
    let mut description = node.plain("tty", &["/bin/sh", "-c", script]);
    description.stdio.terminal = true;
    description.process.uid = 1000;
    let held = Held::launch(&node, &mut connection, description);
    let master = &held.fds[held.launched.terminal.expect("a terminal").0 as usize];
    let log = || text_of(&held.files.log);
    eventually("the prompt", || log().ends_with("yes\n").then_some(()));
    assert!(
        log().starts_with("/dev/pts/0\n88 1000\nyes\n"),
        "{:?}",
        log()
    );
    rustix::io::write(master, b"one\n").expect("typed");
    eventually("the answer", || log().contains("got one").then_some(()));
    node.kill_keeper();
    node.start_keeper();
    let mut connection = node.connect();
    assert_eq!(
        held.adopt(&mut connection, true),
        Adoption::Running {
            process: held.launched.process
        }
    );
    rustix::io::write(master, b"two\n").expect("typed");
    let exit = exit_of(&mut connection, &held.key);
    assert_end_of_orphan(&exit, 3, None);
    connection
        .call(
            Request::Drain {
                container: held.key.clone(),
            },
            vec![],
        )
        .expect("an answer");
    assert!(log().ends_with("got two\n"), "{:?}", log());
}
