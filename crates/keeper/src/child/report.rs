//! What a child tells the keeper before exec, one datagram each, over a socket pair that exec closes.
//!
//! ```text
//!   (Terminal) ──► Ready ──► end of file      the program runs
//!   …          ──► Failed ──► end of file     the child ended by itself
//!   …          ──► end of file                something killed it
//! ```
//!
//! And one the other way, to a container: the keeper's word that the process is noted in its pid file. Without it the child does not become
//! the program, so there is never a program that a later keeper could not find. A session is noted nowhere and waits for no word: nobody
//! adopts it.

use super::Timeline;
use crate::protocol::{Failure, Span};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use serde::{Deserialize, Serialize};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Longest report; a message for people is cut to fit.
const LONGEST: usize = 8 << 10;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The master of the container's terminal comes with it.
    Terminal,
    /// Next is exec.
    Ready {
        spans: Vec<Span>,
        /// When the last span ended.
        at: u64,
        /// Things that were asked for, could not be had, and do no harm.
        notes: Vec<String>,
    },
    Failed(Failure),
}

/// (the keeper's end, the child's end)
pub(crate) fn channel() -> io::Result<(OwnedFd, OwnedFd)> {
    let (mine, its) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    rustix::io::ioctl_fionbio(&mine, true)?;
    Ok((mine, its))
}

pub(crate) fn ready(timeline: &Timeline, notes: Vec<String>) -> Report {
    let spans = timeline.spans.iter().map(|(step, nanos)| Span {
        step: (*step).to_owned(),
        nanos: *nanos,
    });
    Report::Ready {
        spans: spans.collect(),
        at: timeline.last,
        notes,
    }
}

/// Sends a report, from the child.
pub(crate) fn send(
    socket: BorrowedFd<'_>,
    report: &Report,
    fd: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let mut text = serde_json::to_vec(report)?;
    if text.len() > LONGEST
        && let Report::Failed(failure) = report
    {
        let mut short = failure.clone();
        short.message = short.message.chars().take(1000).collect();
        text = serde_json::to_vec(&Report::Failed(short))?;
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds: Vec<BorrowedFd<'_>> = fd.into_iter().collect();
    if !fds.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(&fds));
    }
    rustix::net::sendmsg(
        socket,
        &[IoSlice::new(&text)],
        &mut control,
        SendFlags::NOSIGNAL,
    )?;
    Ok(())
}

/// The keeper's word that the process is noted. A child that has ended by then has said why: that is read as any other report.
pub(crate) fn let_go(socket: &OwnedFd) -> io::Result<()> {
    match rustix::net::send(socket, b"!", SendFlags::NOSIGNAL) {
        Ok(_) | Err(rustix::io::Errno::PIPE | rustix::io::Errno::CONNRESET) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// Waits for the keeper's word, in the child. An error also when the keeper is gone.
pub(crate) fn await_word(socket: BorrowedFd<'_>) -> io::Result<()> {
    let mut word = [0; 1];
    loop {
        match rustix::net::recv(socket, &mut word, RecvFlags::empty()) {
            Ok((1, _)) => return Ok(()),
            Ok(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

/// What the keeper's end has.
#[derive(Debug)]
pub(crate) enum Heard {
    Report(Report, Option<OwnedFd>),
    /// Exec closed the child's end, or death.
    End,
    /// Nothing yet.
    Nothing,
}

pub(crate) fn receive(socket: &OwnedFd) -> io::Result<Heard> {
    let mut text = [0; LONGEST];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = rustix::net::recvmsg(
        socket.as_fd(),
        &mut [IoSliceMut::new(&mut text)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    );
    let got = match got {
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Ok(Heard::Nothing),
        // told once, before what is queued, when the child ended without having heard our word: look again
        Err(rustix::io::Errno::CONNRESET) => return Ok(Heard::Nothing),
        other => other?,
    };
    if got.bytes == 0 {
        return Ok(Heard::End);
    }
    let mut fd = None;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fd = rights.last().or(fd);
        }
    }
    Ok(Heard::Report(
        serde_json::from_slice(&text[..got.bytes])?,
        fd,
    ))
}
