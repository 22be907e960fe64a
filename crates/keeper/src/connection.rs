//! One agent's connection.

use crate::protocol::{Incoming, Outgoing};
use rustix::net::sockopt::socket_peercred;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// Bytes that may wait for an agent that does not read.
const MOST_WAITING: usize = 8 << 20;

pub(crate) struct Connection {
    pub(crate) socket: OwnedFd,
    pub(crate) incoming: Incoming,
    pub(crate) outgoing: Outgoing,
    /// The version agreed on; before that nothing but a greeting is heard.
    pub(crate) version: Option<u32>,
    /// The poller was asked to say when it is writable.
    pub(crate) waits_to_write: bool,
}

impl Connection {
    /// Takes a socket just accepted; refuses a peer that is not root.
    pub(crate) fn new(socket: OwnedFd) -> io::Result<Self> {
        if !socket_peercred(&socket)?.uid.is_root() {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Self {
            socket,
            incoming: Incoming::default(),
            outgoing: Outgoing::default(),
            version: None,
            waits_to_write: false,
        })
    }

    /// Sends what can be sent now. An error means that the connection is of no use any more.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        match self.outgoing.flush(self.socket.as_fd()) {
            Err(e)
                if e.kind() == io::ErrorKind::WouldBlock
                    && self.outgoing.bytes() <= MOST_WAITING =>
            {
                Ok(())
            }
            other => other,
        }
    }
}
