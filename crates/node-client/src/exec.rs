//! `exec`: a command in a container, with this process's stdin, stdout, stderr and terminal.

use crate::agent::{Agent, path};
use crate::command::Exec;
use crate::error::ClientError;
use crate::output::{self, complain};
use crate::select;
use crate::terminal::{self, RawMode};
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use hyper_util::rt::TokioIo;
use node_server::frames::{Frame, FrameCodec, LONGEST};
use node_server::wire::{EXEC_PROTOCOL, ExecResult, PREFIX};
use std::convert::Infallible;
use std::io::{self, Read, Write};
use std::process::ExitCode;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::codec::Framed;

type Connection = Framed<TokioIo<hyper::upgrade::Upgraded>, FrameCodec>;

pub(crate) async fn exec(agent: &Agent, wanted: Exec) -> Result<ExitCode, ClientError> {
    let namespace = &wanted.namespace.namespace;
    let pod = select::one_pod(agent, namespace, &wanted.pod).await?;
    let name = pod.metadata.name.clone().unwrap_or_default();
    let container = select::container(&pod, wanted.container.as_deref())?;
    let tty = wanted.tty && wanted.stdin && terminal::stdin_is_terminal();
    if wanted.tty && !tty {
        complain("Unable to use a TTY - input is not a terminal or the right kind of file");
    }
    let mut query: Vec<(&str, &str)> = wanted
        .command
        .iter()
        .map(|c| ("command", c.as_str()))
        .collect();
    if wanted.stdin {
        query.push(("stdin", "1"));
    }
    let size = tty.then(terminal::size).flatten();
    let sizes = size.map(|(columns, rows)| (columns.to_string(), rows.to_string()));
    if tty {
        query.push(("tty", "1"));
    }
    if let Some((columns, rows)) = &sizes {
        query.extend([("columns", columns.as_str()), ("rows", rows.as_str())]);
    }
    let path = format!(
        "{PREFIX}{}",
        path(&["exec", namespace, &name, &container], &query)
    );
    let stream = agent.upgrade(&path, EXEC_PROTOCOL).await?;
    // Raw only while the session lasts: errors before and after it are printed on a terminal as it was.
    let raw = tty.then(RawMode::enter).transpose()?;
    let result = session(stream, wanted.stdin, tty).await;
    drop(raw);
    let result = result?;
    match result.code {
        Some(0) => Ok(ExitCode::SUCCESS),
        Some(code) => {
            if !tty {
                complain(&format!("command terminated with exit code {code}"));
            }
            Ok(ExitCode::from(u8::try_from(code & 0xff).unwrap_or(1)))
        }
        None => Err(ClientError::Said(result.message.unwrap_or_else(|| {
            "it is not known how the command ended".to_owned()
        }))),
    }
}

/// Sends and receives side by side: a command that waits until somebody reads its output takes no input meanwhile, so a loop that did one
/// thing at a time would stand still for ever.
async fn session(
    stream: hyper::upgrade::Upgraded,
    with_stdin: bool,
    tty: bool,
) -> Result<ExecResult, ClientError> {
    let (to_node, from_node) = Framed::new(TokioIo::new(stream), FrameCodec).split();
    let input = with_stdin.then(read_stdin);
    let resized = tty
        .then(|| signal(SignalKind::window_change()))
        .transpose()?;
    // Only the node ends a session; what is half sent then is nobody's.
    tokio::select! {
        result = receive(from_node) => result,
        never = send(to_node, input, resized) => match never {},
    }
}

/// Prints what comes, until the command has ended.
async fn receive(mut from_node: SplitStream<Connection>) -> Result<ExecResult, ClientError> {
    loop {
        match from_node.next().await {
            Some(Ok(Frame::Stdout(bytes))) => output::print_bytes(&bytes)?,
            Some(Ok(Frame::Stderr(bytes))) => {
                let mut err = io::stderr().lock();
                err.write_all(&bytes)?;
                err.flush()?;
            }
            Some(Ok(Frame::Exit(result))) => {
                return serde_json::from_slice(&result)
                    .map_err(|e| ClientError::Answer(e.to_string()));
            }
            Some(Ok(_)) => {
                return Err(ClientError::Answer(
                    "a frame of the wrong direction".to_owned(),
                ));
            }
            Some(Err(e)) => return Err(ClientError::BrokenOff(e.to_string())),
            None => {
                return Err(ClientError::BrokenOff(
                    "the session ended without an exit code".to_owned(),
                ));
            }
        }
    }
}

async fn send(
    mut to_node: SplitSink<Connection, Frame>,
    mut input: Option<mpsc::Receiver<Bytes>>,
    mut resized: Option<Signal>,
) -> Infallible {
    loop {
        // Each arm takes one thing whole or nothing.
        let frame = tokio::select! {
            bytes = next(input.as_mut()) => match bytes {
                Some(bytes) => Frame::Stdin(bytes),
                None => {
                    input = None;
                    Frame::StdinEnd
                }
            },
            () = change(resized.as_mut()) => match terminal::size() {
                Some((columns, rows)) => Frame::Resize { columns, rows },
                None => continue,
            },
        };
        // A process that is gone takes no more; what it left to say still comes.
        if to_node.send(frame).await.is_err() {
            input = None;
        }
    }
}

async fn next(input: Option<&mut mpsc::Receiver<Bytes>>) -> Option<Bytes> {
    match input {
        Some(input) => input.recv().await,
        None => std::future::pending().await,
    }
}

async fn change(signal: Option<&mut Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// stdin, read by a thread of its own that nobody waits for: it may hang in a read for ever, and ends with the program.
fn read_stdin() -> mpsc::Receiver<Bytes> {
    let (send, receive) = mpsc::channel(2);
    std::thread::spawn(move || {
        let mut buffer = vec![0; LONGEST.min(16 << 10)];
        loop {
            match io::stdin().lock().read(&mut buffer) {
                Ok(0) => return,
                Ok(n) => {
                    if send
                        .blocking_send(Bytes::copy_from_slice(&buffer[..n]))
                        .is_err()
                    {
                        return;
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    });
    receive
}
