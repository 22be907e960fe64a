//! What agent and keeper say to each other over `<run>/keeper.sock`, and how it is put on the wire.
//!
//! A stream socket carries frames; a frame is a header, the file descriptors, and one JSON value. The agent sends [`ToKeeper`], the
//! keeper [`FromKeeper`]. The first request of a connection is [`Request::Hello`]; everything else is refused before it. Unknown fields are
//! skipped, an unknown request is answered with [`Refusal::Unknown`], so that each side can speak to the other's last three versions.
//!
//! [`Incoming`] and [`Outgoing`] hold what is under way in each direction. They make exactly the system calls that are needed and return
//! `WouldBlock` as an error with their state kept, so the same two types serve
//!
//! - a blocking socket: call [`Incoming::receive`] and [`Outgoing::flush`] in turn (as [`crate::client::Connection`] does);
//! - a non-blocking socket in an event loop, or in tokio: set it non-blocking, wrap it in `AsyncFd`, and call them inside
//!   `guard.try_io(|fd| incoming.receive(fd.as_fd()))` and `guard.try_io(|fd| outgoing.flush(fd.as_fd()))`. Both are cancel-safe: no
//!   byte and no descriptor is lost when the future is dropped between calls.

mod frame;
mod message;

pub use frame::{FrameError, Incoming, MOST_BYTES, MOST_DESCRIPTORS, Outgoing, Received};
pub use message::{
    AdoptContainer, Adoption, ContainerStatus, Event, ExecStdio, Failure, FailureKind, FromKeeper,
    Launched, Process, Refusal, Reply, Request, Span, Stage, ToKeeper,
};

/// The version that this build speaks best, and the oldest that it still speaks.
pub const NEWEST_VERSION: u32 = 1;
/// See [`NEWEST_VERSION`].
pub const OLDEST_VERSION: u32 = 1;

/// The version that two sides use: the newest that both speak.
pub fn agree(oldest: u32, newest: u32) -> Option<u32> {
    let common = newest.min(NEWEST_VERSION);
    (common >= oldest && common >= OLDEST_VERSION).then_some(common)
}

#[cfg(test)]
mod tests;
