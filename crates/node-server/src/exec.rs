//! `POST /coracle/v1/exec/…`: a process in a container, its streams as frames over an upgraded connection.
//!
//! ```text
//!   client ──Stdin, StdinEnd, Resize──► process
//!   client ◄──Stdout, Stderr──────────  process ──ended, outputs read──► Exit ──► closed
//! ```
//!
//! Every queue holds a few frames: a client that does not read stops the process at its next write, and nothing piles up here.

use crate::answer;
use crate::frames::{Frame, FrameCodec, LONGEST};
use crate::node::{ExecExit, ExecRequest, ExecSession, Node, TerminalSize};
use crate::state::App;
use crate::wire::{EXEC_PROTOCOL, ExecResult};
use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{StatusCode, header};
use hyper_util::rt::TokioIo;
use pod_model::ContainerName;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::codec::{FramedRead, FramedWrite};

/// Once the process has ended, what it left in the background may go on writing for so long.
const LAST_OUTPUT: Duration = Duration::from_millis(500);
const QUEUE: usize = 4;
const STEP: usize = 16 << 10;
const _: () = assert!(STEP <= LONGEST);

pub(crate) async fn exec<N: Node>(
    State(app): State<App<N>>,
    Path((namespace, pod, container)): Path<(String, String, String)>,
    Query(query): Query<Vec<(String, String)>>,
    mut request: Request,
) -> Response {
    let Some(view) = app.pod(&namespace, &pod) else {
        return answer::text(StatusCode::NOT_FOUND, format!("pods {pod:?} not found"));
    };
    let known = ContainerName::new(&container)
        .ok()
        .filter(|name| view.pod.container(name).is_some());
    let Some(container) = known else {
        return answer::text(
            StatusCode::NOT_FOUND,
            format!("container {container} is not valid for pod {pod}"),
        );
    };
    let wanted = match parse(view.pod.uid().clone(), container, query) {
        Ok(wanted) => wanted,
        Err(message) => return answer::text(StatusCode::BAD_REQUEST, message),
    };
    let upgrade = request.headers().get(header::UPGRADE);
    if upgrade.is_none_or(|u| u.as_bytes() != EXEC_PROTOCOL.as_bytes()) {
        return answer::text(
            StatusCode::UPGRADE_REQUIRED,
            format!("exec needs an upgrade to {EXEC_PROTOCOL}"),
        );
    }
    let session = match app.node.exec(wanted).await {
        Ok(session) => session,
        Err(e) => return e.into_response(),
    };
    let upgraded = hyper::upgrade::on(&mut request);
    let ending = app.ending.clone();
    tokio::spawn(async move {
        match upgraded.await {
            Ok(stream) => {
                let (input, output) = tokio::io::split(TokioIo::new(stream));
                tokio::select! {
                    () = serve(session, input, output) => {}
                    () = ending.cancelled() => {}
                }
            }
            Err(error) => tracing::debug!(%error, "exec client left before the upgrade"),
        }
    });
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "upgrade")
        .header(header::UPGRADE, EXEC_PROTOCOL)
        .body(Body::empty())
        .unwrap_or_else(|e| answer::text(StatusCode::INTERNAL_SERVER_ERROR, e.to_string()))
}

fn parse(
    pod: pod_model::PodUid,
    container: ContainerName,
    query: Vec<(String, String)>,
) -> Result<ExecRequest, String> {
    let mut request = ExecRequest {
        pod,
        container,
        command: Vec::new(),
        stdin: false,
        tty: false,
        size: None,
    };
    let (mut columns, mut rows) = (None, None);
    for (name, value) in query {
        let number = |value: &str| {
            value
                .parse::<u16>()
                .map_err(|_| format!("{name} is no size of a terminal: {value:?}"))
        };
        match name.as_str() {
            "command" => request.command.push(value),
            "stdin" => request.stdin = value == "1",
            "tty" => request.tty = value == "1",
            "columns" => columns = Some(number(&value)?),
            "rows" => rows = Some(number(&value)?),
            _ => return Err(format!("exec has no parameter {name:?}")),
        }
    }
    if request.command.is_empty() {
        return Err("you must specify at least one command for the container".to_owned());
    }
    if let (Some(columns), Some(rows)) = (columns, rows) {
        request.size = Some(TerminalSize { columns, rows });
    }
    Ok(request)
}

/// Runs until the process has ended and its output was sent, or the client is gone. Dropping the session ends the process.
async fn serve(
    session: ExecSession,
    input: impl AsyncRead + Send + Unpin + 'static,
    output: impl AsyncWrite + Send + Unpin + 'static,
) {
    let ExecSession {
        stdin,
        stdout,
        stderr,
        resize,
        exit,
        guard: _guard,
    } = session;
    let (send, queue) = mpsc::channel(QUEUE);
    let writer = tokio::spawn(write_frames(output, queue));
    let mut outputs = JoinSet::new();
    outputs.spawn(pump(stdout, send.clone(), Frame::Stdout));
    if let Some(stderr) = stderr {
        outputs.spawn(pump(stderr, send.clone(), Frame::Stderr));
    }
    let mut inputs = tokio::spawn(read_frames(input, stdin, resize));
    let result = tokio::select! {
        exit = exit => match exit {
            Ok(ExecExit::Code(code)) => ExecResult { code: Some(code), message: None },
            Ok(ExecExit::Unknown(why)) => ExecResult { code: None, message: Some(why) },
            Err(_) => ExecResult {
                code: None,
                message: Some("the node lost the process".to_owned()),
            },
        },
        // The input ends before the process only if the client is gone.
        _ = &mut inputs => {
            outputs.abort_all();
            writer.abort();
            return;
        }
        () = send.closed() => {
            inputs.abort();
            return;
        }
    };
    let all = async { while outputs.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(LAST_OUTPUT, all).await;
    outputs.abort_all();
    let last = serde_json::to_vec(&result).unwrap_or_default();
    let _ = send.send(Frame::Exit(last.into())).await;
    drop(send);
    let _ = writer.await;
    inputs.abort();
}

async fn write_frames(output: impl AsyncWrite + Send + Unpin, mut queue: mpsc::Receiver<Frame>) {
    let mut output = FramedWrite::new(output, FrameCodec);
    while let Some(frame) = queue.recv().await {
        if output.send(frame).await.is_err() {
            return;
        }
    }
    let _ = output.close().await;
}

async fn pump(
    mut from: Box<dyn AsyncRead + Send + Unpin>,
    to: mpsc::Sender<Frame>,
    frame: fn(Bytes) -> Frame,
) {
    let mut buffer = vec![0; STEP];
    loop {
        match from.read(&mut buffer).await {
            // A terminal whose last user has left fails with EIO: that is its end.
            Ok(0) | Err(_) => return,
            Ok(n) => {
                if to
                    .send(frame(Bytes::copy_from_slice(&buffer[..n])))
                    .await
                    .is_err()
                {
                    return;
                }
            }
        }
    }
}

/// Hands the client's frames on; returns when the client is gone or breaks the protocol.
async fn read_frames(
    input: impl AsyncRead + Send + Unpin,
    mut stdin: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    resize: Option<mpsc::Sender<TerminalSize>>,
) {
    let mut input = FramedRead::new(input, FrameCodec);
    while let Some(Ok(frame)) = input.next().await {
        match frame {
            Frame::Stdin(bytes) => {
                // A process that reads no more is no error: the rest is nobody's.
                if let Some(to) = &mut stdin
                    && (to.write_all(&bytes).await.is_err() || to.flush().await.is_err())
                {
                    stdin = None;
                }
            }
            Frame::StdinEnd => {
                if let Some(mut to) = stdin.take() {
                    let _ = to.shutdown().await;
                }
            }
            Frame::Resize { columns, rows } => {
                if let Some(resize) = &resize {
                    let _ = resize.try_send(TerminalSize { columns, rows });
                }
            }
            Frame::Stdout(_) | Frame::Stderr(_) | Frame::Exit(_) => return,
        }
    }
}
