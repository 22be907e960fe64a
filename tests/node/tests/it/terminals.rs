//! Terminals and standard input: of a container, and of a person who runs a command in one.

use node_tests::manifest::idle;
use node_tests::{Node, pod, process, seconds, sh, wait_for, wait_until};
use rustix::termios::{Winsize, tcgetattr, tcgetwinsize, tcsetwinsize};
use serde_json::{Value, json};
use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The text of a container's log file, stream by stream and line by line, as it lies on disk; lines that were written in parts are whole.
fn raw_log(node: &Node, name: &str) -> Vec<String> {
    let uid = node.pod(name).expect("the pod").uid().to_owned();
    let file = node
        .logs_dir()
        .join(format!("default_{name}-{}_{uid}/main/0.log", node.name));
    let text = fs::read_to_string(file).unwrap_or_default();
    let (mut lines, mut part) = (Vec::new(), String::new());
    for line in text.split_terminator('\n') {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        let [_, stream, tag, content] = words[..] else {
            panic!("no line of a CRI log: {line:?}");
        };
        part.push_str(content);
        if tag == "F" {
            lines.push(format!("{stream} {}", std::mem::take(&mut part)));
        }
    }
    lines
}

/// What file descriptor 0 of the container's first process is.
fn stdin_of(node: &Node, name: &str) -> (i32, String) {
    let view = node.wait_ready(name);
    let pid = node.container_pid(view.uid(), "main").expect("a process");
    let link = fs::read_link(format!("/proc/{pid}/fd/0")).expect("its stdin");
    (pid, link.to_string_lossy().into_owned())
}

/// What is told of a container that ends with `code` after its keeper was killed.
fn of_an_orphan(code: i64) -> i64 {
    if process::kernel_remembers_exits() {
        code
    } else {
        137
    }
}

fn killed_and_replaced(node: &Node) {
    let old = node.keeper_pid();
    node.kill_keeper();
    wait_until("a new keeper", seconds(10), || {
        node.keeper_pid().is_some_and(|pid| Some(pid) != old)
    });
}

#[test]
fn standard_input_that_is_not_asked_for_is_at_its_end() {
    let node = Node::start();
    node.apply(&pod("none").once().container(sh("main", "cat; echo end")));
    node.wait_phase("none", "Succeeded");
    assert_eq!(node.logs("none", "main"), "end\n");
}

#[test]
fn standard_input_stays_open_when_nobody_attaches_and_when_keepers_go() {
    let node = Node::start();
    let script = "while read line; do echo got $line; [ $line = end ] && exit 4; done; echo closed";
    let mut container = sh("main", script);
    container["stdin"] = json!(true);
    node.apply(&pod("open").once().container(container));
    let before = stdin_of(&node, "open");
    assert!(before.1.ends_with("/stdin"), "{}", before.1);
    // a program that opens it again by name gets the same
    let say = |word: &str| {
        let command = format!("echo {word} > /proc/1/fd/0");
        node.exec("open", "main", &["sh", "-c", &command]);
        node.wait_log("open", "main", &format!("got {word}\n"));
    };
    say("one");
    killed_and_replaced(&node);
    say("two");
    node.kill_agent();
    node.kill_keeper();
    node.start_agent();
    assert_eq!(stdin_of(&node, "open"), before);
    say("three");
    // the end of the program may take this one with it
    node.coracle(&["exec", "open", "--", "sh", "-c", "echo end > /proc/1/fd/0"]);
    let view = node.wait_phase("open", "Failed");
    let end = view.container("main").ended().map(|end| end.exit_code());
    assert_eq!(end, Some(of_an_orphan(4)));
    assert_eq!(
        node.logs("open", "main"),
        "got one\ngot two\ngot three\ngot end\n"
    );
}

fn with_terminal(script: &str) -> Value {
    let mut container = sh("main", script);
    container["tty"] = json!(true);
    container["stdin"] = json!(true);
    container
}

#[test]
fn a_container_with_a_terminal_writes_its_lines_as_the_terminal_ends_them() {
    let node = Node::start();
    let script = "tty; tty <&2; echo out; echo err >&2; printf 'a\\tb\\n'";
    node.apply(&pod("tty").once().container(with_terminal(script)));
    node.wait_phase("tty", "Succeeded");
    // one stream: a terminal does not tell its writers apart
    assert_eq!(
        raw_log(&node, "tty"),
        [
            "stdout /dev/pts/0\r",
            "stdout /dev/pts/0\r",
            "stdout out\r",
            "stdout err\r",
            "stdout a\tb\r"
        ]
    );
    assert_eq!(
        node.logs("tty", "main"),
        "/dev/pts/0\r\n/dev/pts/0\r\nout\r\nerr\r\na\tb\r\n"
    );
}

#[test]
fn a_containers_terminal_outlives_agent_and_keeper_one_after_the_other() {
    let node = Node::start();
    let script = "trap 'echo hung up; exit 9' HUP; i=0; \
                  while [ ! -e /go ]; do echo number $i; i=$((i+1)); sleep 0.02; done; exit 5";
    node.apply(&pod("tty").once().container(with_terminal(script)));
    let before = stdin_of(&node, "tty");
    assert_eq!(before.1, "/dev/pts/0");
    let lines = || node.logs("tty", "main").lines().count();
    let goes_on = || {
        let now = lines();
        wait_until("the log to go on", seconds(10), || lines() > now + 3);
    };
    killed_and_replaced(&node);
    goes_on();
    node.restart_agent();
    goes_on();
    // this agent did not make the terminal: the keeper gave it
    killed_and_replaced(&node);
    goes_on();
    node.restart_agent();
    killed_and_replaced(&node);
    goes_on();
    assert_eq!(stdin_of(&node, "tty"), before);
    // the end of the program may take this one with it
    node.coracle(&["exec", "tty", "--", "touch", "/go"]);
    let view = node.wait_phase("tty", "Failed");
    let end = view.container("main").ended().map(|end| end.exit_code());
    assert_eq!(end, Some(of_an_orphan(5)));
    let log = node.logs("tty", "main");
    for (number, line) in log.lines().enumerate() {
        assert_eq!(line.trim_end(), format!("number {number}"));
    }
}

/// A person's terminal with a command running on it.
struct Desk {
    controller: OwnedFd,
    user: OwnedFd,
    child: Child,
    text: Arc<Mutex<String>>,
}

fn size(rows: u16, columns: u16) -> Winsize {
    Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

impl Desk {
    /// `coracle exec -it web -- sh -c SCRIPT`, in a session whose terminal this is, as a login shell's.
    fn exec(node: &Node, script: &str) -> Self {
        let pair = nix::pty::openpty(None, None).unwrap();
        tcsetwinsize(&pair.master, size(33, 77)).unwrap();
        let asked = node.ask(&["exec", "-it", "web", "--", "sh", "-c", script]);
        let mut command = Command::new("setsid");
        command
            .arg("-c")
            .arg(asked.get_program())
            .args(asked.get_args());
        for (name, value) in asked.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let slave = || Stdio::from(pair.slave.try_clone().unwrap());
        command.stdin(slave()).stdout(slave()).stderr(slave());
        let child = node.sandbox.enter(|| command.spawn()).unwrap();
        drop(command);
        let text = Arc::new(Mutex::new(String::new()));
        let (mut reader, all) = (
            fs::File::from(pair.master.try_clone().unwrap()),
            Arc::clone(&text),
        );
        // ends with the last user of the terminal (EIO)
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count) = reader.read(&mut bytes) {
                let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
                all.push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        });
        Self {
            controller: pair.master,
            user: pair.slave,
            child,
            text,
        }
    }
    fn seen(&self) -> String {
        self.text
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
    #[track_caller]
    fn wait_for(&self, word: &str) {
        wait_until(&format!("{word:?} on the terminal"), seconds(20), || {
            self.seen().contains(word)
        });
    }
    fn types(&self, keys: &[u8]) {
        fs::File::from(self.controller.try_clone().unwrap())
            .write_all(keys)
            .unwrap();
    }
    #[track_caller]
    fn code(&mut self) -> Option<i32> {
        wait_for("the command to end", seconds(20), || {
            self.child.try_wait().unwrap()
        })
        .code()
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn with_web() -> Node {
    let node = Node::start();
    node.apply(&pod("web").container(idle("main")));
    node.wait_ready("web");
    node
}

#[test]
fn a_window_that_changes_its_size_is_told_to_the_program() {
    let node = with_web();
    let script = "stty size; trap 'echo now $(stty size)' WINCH; echo ready; \
                  while :; do read line && [ $line = end ] && exit 3; echo is $(stty size); done";
    let mut desk = Desk::exec(&node, script);
    desk.wait_for("ready");
    assert!(desk.seen().starts_with("33 77\r\n"), "{:?}", desk.seen());
    // it is asked too: a shell that is just about to read hears of no signal before the next line
    let is_now = |desk: &Desk, rows: u16, columns: u16| {
        wait_until(&format!("{rows} {columns}"), seconds(20), || {
            std::thread::sleep(Duration::from_millis(50));
            desk.types(b"size\r");
            desk.seen().contains(&format!("is {rows} {columns}\r\n"))
        });
    };
    for (rows, columns) in [(50, 120), (10, 200), (24, 80)] {
        tcsetwinsize(&desk.controller, size(rows, columns)).unwrap();
        is_now(&desk, rows, columns);
        let told = format!("now {rows} {columns}\r\n");
        assert!(desk.seen().contains(&told), "{:?}", desk.seen());
    }
    // the last of a storm is the one that counts
    for columns in 100..160 {
        tcsetwinsize(&desk.controller, size(40, columns)).unwrap();
    }
    is_now(&desk, 40, 159);
    assert_eq!(tcgetwinsize(&desk.user).unwrap().ws_col, 159);
    desk.types(b"end\r");
    assert_eq!(desk.code(), Some(3), "{:?}", desk.seen());
}

#[test]
fn keys_go_to_the_program_and_the_terminal_is_as_it_was_afterwards() {
    let node = with_web();
    let script = "trap 'echo interrupted' INT; echo ready; \
                  while :; do read line && echo line $line; [ \"$line\" = last ] && break; done; \
                  stty -echo; echo bye; exit 7";
    let mut desk = Desk::exec(&node, script);
    let before = tcgetattr(&desk.user).unwrap();
    desk.wait_for("ready");
    let during = tcgetattr(&desk.user).unwrap();
    assert_ne!(
        format!("{:?}", during.local_modes),
        format!("{:?}", before.local_modes),
        "keys would be echoed twice"
    );
    // Ctrl-C is a key for the program, and does not end the client
    desk.types(b"\x03");
    desk.wait_for("interrupted");
    desk.types(b"wor\x7fxd\r");
    desk.wait_for("line woxd\r\n");
    desk.types(b"last\r");
    desk.wait_for("bye");
    assert_eq!(desk.code(), Some(7), "{:?}", desk.seen());
    let after = tcgetattr(&desk.user).unwrap();
    assert_eq!(format!("{after:?}"), format!("{before:?}"));
}

#[test]
fn a_terminal_that_is_closed_ends_the_program() {
    let node = with_web();
    let mut desk = Desk::exec(&node, "echo ready; exec sleep 4567");
    desk.wait_for("ready");
    let sleeping = || {
        node.processes()
            .into_iter()
            .find(|pid| process::command_line(*pid) == ["sleep", "4567"])
    };
    let pid = wait_for("the program", seconds(10), sleeping);
    assert!(Path::new(&format!("/proc/{pid}")).exists());
    desk.child.kill().unwrap();
    desk.child.wait().unwrap();
    wait_until("the program to be gone", seconds(10), || {
        sleeping().is_none()
    });
}
