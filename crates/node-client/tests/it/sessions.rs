use crate::{Node, Said};
use node_server::TerminalSize;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};
use std::fs::File;
use std::io::{Read, Write};
use std::process::Stdio;

#[test]
fn a_command_passes_on_its_streams_and_its_exit_code() {
    let node = Node::new();
    let ended = node.run("exec hello -- sh -c echo$IFS$((6*7));echo>&2;exit$IFS\"7\"");
    assert_eq!(
        ended,
        Said {
            out: "42\n".to_owned(),
            err: "\ncommand terminated with exit code 7\n".to_owned(),
            code: Some(7),
        }
    );
    assert_eq!(node.run("exec hello -c main -- true").code, Some(0));
    let refused = node.run("exec hello -- nothing");
    assert_eq!(
        refused.err,
        "Error from server (BadRequest): no such file or directory: nothing\n"
    );
    assert_eq!(refused.code, Some(1));
}

#[test]
fn stdin_is_piped_through_to_its_end() {
    let node = Node::new();
    let text = "0123456789".repeat(50_000);
    let mut child = node
        .command("exec -i hello -- cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = text.clone();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    assert!(
        output.stdout == text.as_bytes(),
        "{} bytes",
        output.stdout.len()
    );
}

#[test]
fn without_a_terminal_there_is_none_to_give() {
    let node = Node::new();
    let said = node.run("exec -it hello -- true");
    assert_eq!(
        said.err,
        "Unable to use a TTY - input is not a terminal or the right kind of file\n"
    );
    assert_eq!(said.code, Some(0));
    assert!(!node.fake.asked.lock().unwrap().as_ref().unwrap().tty);
}

#[test]
fn a_terminal_is_raw_for_the_session_and_as_before_after_it() {
    let node = Node::new();
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let slave = File::options()
        .read(true)
        .write(true)
        .open(name.to_str().unwrap())
        .unwrap();
    let size = Winsize {
        ws_row: 33,
        ws_col: 120,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&slave, size).unwrap();
    let before = format!("{:?}", tcgetattr(&slave).unwrap());
    let mut child = node
        .command("exec -it hello -- head -c 5")
        .stdin(slave.try_clone().unwrap())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut master = File::from(master);
    // In raw mode a control character is a byte like any other, and a line need not end.
    let mut out = child.stdout.take().unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while format!("{:?}", tcgetattr(&slave).unwrap()) == before {
        assert!(
            std::time::Instant::now() < deadline,
            "the terminal is never raw"
        );
        std::thread::yield_now();
    }
    master.write_all(b"ab\x03cd").unwrap();
    let mut text = Vec::new();
    out.read_to_end(&mut text).unwrap();
    assert_eq!(text, b"ab\x03cd");
    assert!(child.wait().unwrap().success());
    assert_eq!(format!("{:?}", tcgetattr(&slave).unwrap()), before);
    let asked = node.fake.asked.lock().unwrap().take().unwrap();
    assert!(asked.tty && asked.stdin);
    let size = TerminalSize {
        columns: 120,
        rows: 33,
    };
    assert_eq!(asked.size, Some(size));
}
