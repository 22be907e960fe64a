//! Frames on a stream socket.
//!
//! ```text
//!   "ckpr"  bytes of the value: u32  descriptors: u32  0: u32   then one byte per 200 descriptors, which they ride on   then the value
//! ```
//!
//! All numbers in network order. `SCM_RIGHTS` takes at most 253 descriptors per call, so several hundred are split.

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use serde::Serialize;
use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

const MAGIC: [u8; 4] = *b"ckpr";
const HEADER: usize = 16;
/// Descriptors per byte.
const PER_BYTE: usize = 200;
/// Largest value. A thousand mounts and 1 MiB of environment are below 2 MiB.
pub const MOST_BYTES: usize = 16 << 20;
/// Most descriptors of one frame.
pub const MOST_DESCRIPTORS: usize = 8192;
/// Bytes that one call reads at most.
const STEP: usize = 64 << 10;

#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error("a message of {bytes} bytes with {descriptors} descriptors is too large")]
    TooLarge { bytes: usize, descriptors: usize },
    #[error("cannot write a message as JSON")]
    Encode { source: serde_json::Error },
}

/// What [`Incoming::receive`] has for its caller.
#[derive(Debug)]
pub enum Received {
    Frame {
        value: Vec<u8>,
        descriptors: Vec<OwnedFd>,
    },
    /// The other side is gone.
    Closed,
}

/// A frame that is being received.
#[derive(Debug, Default)]
pub struct Incoming {
    buffer: Vec<u8>,
    descriptors: Vec<OwnedFd>,
}

struct Sizes {
    value: usize,
    descriptors: usize,
}

impl Sizes {
    fn carriers(&self) -> usize {
        self.descriptors.div_ceil(PER_BYTE)
    }
    fn whole(&self) -> usize {
        HEADER + self.carriers() + self.value
    }
}

fn bad(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn number(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |n, b| (n << 8) | usize::from(*b))
}

impl Incoming {
    /// Goes on with a frame whose first part another process received (after an exec in place).
    pub(crate) fn resume(buffer: Vec<u8>, descriptors: Vec<OwnedFd>) -> Self {
        Self {
            buffer,
            descriptors,
        }
    }
    pub(crate) fn parts(&self) -> (&[u8], &[OwnedFd]) {
        (&self.buffer, &self.descriptors)
    }

    fn sizes(&self) -> io::Result<Option<Sizes>> {
        let Some(header) = self.buffer.get(..HEADER) else {
            return Ok(None);
        };
        if header[..4] != MAGIC {
            return Err(bad("not a message of the keeper's protocol"));
        }
        let sizes = Sizes {
            value: number(&header[4..8]),
            descriptors: number(&header[8..12]),
        };
        if sizes.value > MOST_BYTES || sizes.descriptors > MOST_DESCRIPTORS {
            return Err(bad("a message is larger than any may be"));
        }
        Ok(Some(sizes))
    }

    /// Reads until a frame is whole, the other side is gone, or nothing more is there.
    ///
    /// # Errors
    /// `WouldBlock` on a non-blocking socket: call again when it is readable. `InvalidData` when the other side does not speak the
    /// protocol, `UnexpectedEof` when it left in the middle of a frame: close the connection.
    pub fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<Received> {
        loop {
            let want = match self.sizes()? {
                None => HEADER,
                Some(sizes) if self.buffer.len() == sizes.whole() => {
                    if self.descriptors.len() != sizes.descriptors {
                        return Err(bad("a message came without its descriptors"));
                    }
                    let mut value = std::mem::take(&mut self.buffer);
                    value.drain(..HEADER + sizes.carriers());
                    return Ok(Received::Frame {
                        value,
                        descriptors: std::mem::take(&mut self.descriptors),
                    });
                }
                Some(sizes) => sizes.whole(),
            };
            let have = self.buffer.len();
            let step = (want - have).min(STEP);
            self.buffer.resize(have + step, 0);
            let read = self.read_some(socket, have);
            self.buffer.truncate(have + *read.as_ref().unwrap_or(&0));
            match read {
                Ok(0) if have == 0 => return Ok(Received::Closed),
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    fn read_some(&mut self, socket: BorrowedFd<'_>, have: usize) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let got = rustix::net::recvmsg(
            socket,
            &mut [IoSliceMut::new(&mut self.buffer[have..])],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        )?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                self.descriptors.extend(rights);
            }
        }
        if got.flags.contains(ReturnFlags::CTRUNC) || self.descriptors.len() > MOST_DESCRIPTORS {
            return Err(bad("descriptors of a message were lost: too many are open"));
        }
        Ok(got.bytes)
    }
}

#[derive(Debug)]
struct Frame {
    /// Header, carrier bytes and value.
    bytes: Vec<u8>,
    sent: usize,
    descriptors: Vec<OwnedFd>,
}

/// Frames that wait to be sent.
#[derive(Debug, Default)]
pub struct Outgoing {
    frames: VecDeque<Frame>,
}

impl Outgoing {
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }
    /// Bytes that wait.
    pub fn bytes(&self) -> usize {
        self.frames.iter().map(|f| f.bytes.len() - f.sent).sum()
    }

    /// Puts a message in the queue.
    ///
    /// # Errors
    /// When it is larger than any may be; the queue is as before.
    pub fn push(
        &mut self,
        message: &impl Serialize,
        descriptors: Vec<OwnedFd>,
    ) -> Result<(), FrameError> {
        let carriers = descriptors.len().div_ceil(PER_BYTE);
        let mut bytes = vec![0; HEADER + carriers];
        serde_json::to_writer(&mut bytes, message)
            .map_err(|source| FrameError::Encode { source })?;
        let value = bytes.len() - HEADER - carriers;
        let too_large = FrameError::TooLarge {
            bytes: value,
            descriptors: descriptors.len(),
        };
        if value > MOST_BYTES || descriptors.len() > MOST_DESCRIPTORS {
            return Err(too_large);
        }
        let (Ok(length), Ok(count)) = (u32::try_from(value), u32::try_from(descriptors.len()))
        else {
            return Err(too_large);
        };
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..8].copy_from_slice(&length.to_be_bytes());
        bytes[8..12].copy_from_slice(&count.to_be_bytes());
        self.frames.push_back(Frame {
            bytes,
            sent: 0,
            descriptors,
        });
        Ok(())
    }

    /// Sends until the queue is empty.
    ///
    /// # Errors
    /// `WouldBlock` on a non-blocking socket: call again when it is writable. Anything else: close the connection.
    pub fn flush(&mut self, socket: BorrowedFd<'_>) -> io::Result<()> {
        while let Some(frame) = self.frames.front_mut() {
            if frame.sent == frame.bytes.len() {
                self.frames.pop_front();
                continue;
            }
            match frame.send_some(socket) {
                Ok(n) => frame.sent += n,
                Err(Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }
}

impl Frame {
    fn send_some(&self, socket: BorrowedFd<'_>) -> Result<usize, Errno> {
        let carriers = self.descriptors.len().div_ceil(PER_BYTE);
        let flags = SendFlags::NOSIGNAL;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(PER_BYTE))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let part = match self.sent.checked_sub(HEADER) {
            None => &self.bytes[self.sent..HEADER],
            Some(carrier) if carrier < carriers => {
                let from = carrier * PER_BYTE;
                let to = self.descriptors.len().min(from + PER_BYTE);
                let borrowed: Vec<BorrowedFd<'_>> =
                    self.descriptors[from..to].iter().map(AsFd::as_fd).collect();
                let pushed = control.push(SendAncillaryMessage::ScmRights(&borrowed));
                debug_assert!(pushed);
                let byte = [IoSlice::new(&self.bytes[self.sent..=self.sent])];
                return rustix::net::sendmsg(socket, &byte, &mut control, flags);
            }
            Some(_) => &self.bytes[self.sent..],
        };
        rustix::net::sendmsg(socket, &[IoSlice::new(part)], &mut control, flags)
    }
}
