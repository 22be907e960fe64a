//! A blocking client: one request at a time; events that come in between are kept.

use crate::protocol::{
    Event, FrameError, FromKeeper, Incoming, NEWEST_VERSION, OLDEST_VERSION, Outgoing, Received,
    Reply, Request, ToKeeper,
};
use rustix::event::{PollFd, PollFlags, Timespec};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("no keeper answers on {socket}")]
    Connect { socket: PathBuf, source: io::Error },
    #[error("the keeper is gone")]
    Closed,
    #[error("cannot talk to the keeper")]
    Talk { source: io::Error },
    #[error("the keeper did not answer in {0:?}")]
    Timeout(Duration),
    #[error("the message cannot be sent")]
    Encode { source: FrameError },
    #[error("the keeper said what is not understood")]
    Decode { source: serde_json::Error },
    #[error("no version of the protocol in common with the keeper: {0}")]
    Version(String),
}

/// A reply and what came with it.
#[derive(Debug)]
pub struct Answer {
    pub reply: Reply,
    pub descriptors: Vec<OwnedFd>,
}

pub struct Connection {
    socket: UnixStream,
    incoming: Incoming,
    outgoing: Outgoing,
    events: VecDeque<Event>,
    early: Vec<(u64, Answer)>,
    next_id: u64,
    patience: Duration,
    keeper_pid: u32,
}

impl Connection {
    /// Connects and agrees on a version. Every later wait is at most `patience`.
    ///
    /// # Errors
    /// [`ClientError::Connect`] when nobody listens.
    pub fn open(socket: &Path, patience: Duration) -> Result<Self, ClientError> {
        let connect = |source| ClientError::Connect {
            socket: socket.to_owned(),
            source,
        };
        let stream = UnixStream::connect(socket).map_err(connect)?;
        let mut this = Self {
            socket: stream,
            incoming: Incoming::default(),
            outgoing: Outgoing::default(),
            events: VecDeque::new(),
            early: Vec::new(),
            next_id: 1,
            patience,
            keeper_pid: 0,
        };
        match this
            .call(
                Request::Hello {
                    oldest: OLDEST_VERSION,
                    newest: NEWEST_VERSION,
                },
                vec![],
            )?
            .reply
        {
            Reply::Hello { pid, .. } => this.keeper_pid = pid,
            other => return Err(ClientError::Version(format!("{other:?}"))),
        }
        Ok(this)
    }

    pub fn keeper_pid(&self) -> u32 {
        self.keeper_pid
    }

    /// Sends a request and waits for its reply.
    ///
    /// # Errors
    /// When the keeper is gone or does not answer. A refusal is a reply.
    pub fn call(
        &mut self,
        request: Request,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Answer, ClientError> {
        let id = self.send(request, descriptors)?;
        self.reply(id)
    }

    /// Sends a request; [`Self::reply`] waits for its reply.
    ///
    /// # Errors
    /// When the keeper is gone.
    pub fn send(
        &mut self,
        request: Request,
        descriptors: Vec<OwnedFd>,
    ) -> Result<u64, ClientError> {
        let id = self.next_id;
        self.next_id += 1;
        let message = ToKeeper { id, request };
        self.outgoing
            .push(&message, descriptors)
            .map_err(|source| ClientError::Encode { source })?;
        self.outgoing
            .flush(self.socket.as_fd())
            .map_err(|source| ClientError::Talk { source })?;
        Ok(id)
    }

    /// Waits for the reply to an earlier request.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub fn reply(&mut self, id: u64) -> Result<Answer, ClientError> {
        let deadline = Instant::now() + self.patience;
        loop {
            if let Some(at) = self.early.iter().position(|(i, _)| *i == id) {
                return Ok(self.early.swap_remove(at).1);
            }
            self.step(deadline)?;
        }
    }

    /// The next event, waited for.
    ///
    /// # Errors
    /// [`ClientError::Timeout`] when none comes.
    pub fn event(&mut self) -> Result<Event, ClientError> {
        let deadline = Instant::now() + self.patience;
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(event);
            }
            self.step(deadline)?;
        }
    }

    fn step(&mut self, deadline: Instant) -> Result<(), ClientError> {
        let left = deadline.saturating_duration_since(Instant::now());
        let talk = |source| ClientError::Talk { source };
        let timeout = Timespec::try_from(left).map_err(|_| ClientError::Timeout(self.patience))?;
        let mut fds = [PollFd::new(&self.socket, PollFlags::IN)];
        match rustix::event::poll(&mut fds, Some(&timeout)) {
            Ok(0) => return Err(ClientError::Timeout(self.patience)),
            Err(rustix::io::Errno::INTR) => return Ok(()),
            Err(e) => return Err(talk(e.into())),
            Ok(_) => {}
        }
        match self.incoming.receive(self.socket.as_fd()) {
            Ok(Received::Closed) => Err(ClientError::Closed),
            Ok(Received::Frame { value, descriptors }) => {
                match serde_json::from_slice(&value)
                    .map_err(|source| ClientError::Decode { source })?
                {
                    FromKeeper::Reply { id, reply } => {
                        self.early.push((id, Answer { reply, descriptors }))
                    }
                    FromKeeper::Event(event) => self.events.push_back(event),
                }
                Ok(())
            }
            Err(e)
                if [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset]
                    .contains(&e.kind()) =>
            {
                Err(ClientError::Closed)
            }
            Err(e) => Err(talk(e)),
        }
    }
}
