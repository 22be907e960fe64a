//! The agent's end of the keeper's socket.
//!
//! One task owns the socket: it sends what callers give it, gives replies back to them by number, and passes events on. When the keeper
//! goes, the task ends, and every caller that still waits learns [`LinkError::Lost`].

use keeper::protocol::{
    Event, FrameError, FromKeeper, Incoming, NEWEST_VERSION, OLDEST_VERSION, Outgoing, Received,
    Reply, Request, ToKeeper,
};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};

#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("no keeper answers on {socket}")]
    Connect { socket: PathBuf, source: io::Error },
    #[error("the keeper went away")]
    Lost,
    #[error("no version of the protocol in common with the keeper: {0}")]
    Version(String),
    #[error("the message cannot be sent")]
    Encode { source: FrameError },
}

/// A reply and the descriptors that came with it.
pub(crate) type Answer = (Reply, Vec<OwnedFd>);

struct Call {
    request: Request,
    descriptors: Vec<OwnedFd>,
    answer: oneshot::Sender<Result<Answer, LinkError>>,
}

#[derive(Debug, Clone)]
pub(crate) struct Link {
    calls: mpsc::UnboundedSender<Call>,
    pub(crate) keeper_pid: u32,
}

impl Link {
    /// Connects and agrees on a version. Events go to `events` until the keeper goes, which closes that channel's sender.
    pub(crate) async fn open(
        socket: &Path,
        events: mpsc::UnboundedSender<Event>,
    ) -> Result<Self, LinkError> {
        let connect = |source| LinkError::Connect {
            socket: socket.to_owned(),
            source,
        };
        let stream = UnixStream::connect(socket).await.map_err(connect)?;
        let (calls, inbox) = mpsc::unbounded_channel();
        let ends = Ends {
            stream,
            incoming: Incoming::default(),
            outgoing: Outgoing::default(),
            waiting: BTreeMap::new(),
            next: 1,
            events,
        };
        tokio::spawn(ends.run(inbox));
        let mut link = Self {
            calls,
            keeper_pid: 0,
        };
        match link
            .call(
                Request::Hello {
                    oldest: OLDEST_VERSION,
                    newest: NEWEST_VERSION,
                },
                Vec::new(),
            )
            .await?
        {
            (Reply::Hello { pid, .. }, _) => link.keeper_pid = pid,
            (other, _) => return Err(LinkError::Version(format!("{other:?}"))),
        }
        Ok(link)
    }

    pub(crate) async fn call(
        &self,
        request: Request,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Answer, LinkError> {
        let (answer, reply) = oneshot::channel();
        self.calls
            .send(Call {
                request,
                descriptors,
                answer,
            })
            .map_err(|_| LinkError::Lost)?;
        reply.await.map_err(|_| LinkError::Lost)?
    }
}

struct Ends {
    stream: UnixStream,
    incoming: Incoming,
    outgoing: Outgoing,
    waiting: BTreeMap<u64, oneshot::Sender<Result<Answer, LinkError>>>,
    next: u64,
    events: mpsc::UnboundedSender<Event>,
}

impl Ends {
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Call>) {
        loop {
            // Cancel-safe: a call is taken whole; readiness is only noticed, and what is under way is kept in `incoming` and `outgoing`.
            let done = tokio::select! {
                call = inbox.recv() => match call {
                    Some(call) => self.send(call),
                    None => return,
                },
                ready = self.stream.readable() => ready.and_then(|()| self.receive()),
                ready = self.stream.writable(), if !self.outgoing.is_empty() => ready.and_then(|()| self.flush()),
            };
            if let Err(error) = done {
                if error.kind() != io::ErrorKind::ConnectionAborted {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the connection to the keeper broke"
                    );
                }
                return;
            }
        }
    }

    fn send(&mut self, call: Call) -> io::Result<()> {
        let id = self.next;
        self.next += 1;
        if let Err(source) = self.outgoing.push(
            &ToKeeper {
                id,
                request: call.request,
            },
            call.descriptors,
        ) {
            // the caller may have left
            let _ = call.answer.send(Err(LinkError::Encode { source }));
            return Ok(());
        }
        self.waiting.insert(id, call.answer);
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        let (stream, outgoing) = (&self.stream, &mut self.outgoing);
        or_later(stream.try_io(Interest::WRITABLE, || outgoing.flush(stream.as_fd()))).map(|_| ())
    }

    /// Takes one frame, if one is whole.
    fn receive(&mut self) -> io::Result<()> {
        let (stream, incoming) = (&self.stream, &mut self.incoming);
        match or_later(stream.try_io(Interest::READABLE, || incoming.receive(stream.as_fd())))? {
            Some(received) => self.take(received),
            None => Ok(()),
        }
    }

    fn take(&mut self, received: Received) -> io::Result<()> {
        let Received::Frame { value, descriptors } = received else {
            return Err(io::ErrorKind::ConnectionAborted.into());
        };
        match serde_json::from_slice(&value)? {
            FromKeeper::Reply { id, reply } => {
                if let Some(answer) = self.waiting.remove(&id) {
                    // the caller may have left; its descriptors are closed then
                    let _ = answer.send(Ok((reply, descriptors)));
                }
            }
            FromKeeper::Event(event) => {
                // the host ends only with the agent
                let _ = self.events.send(event);
            }
        }
        Ok(())
    }
}

/// `None`: not now, the socket tells when.
fn or_later<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}
