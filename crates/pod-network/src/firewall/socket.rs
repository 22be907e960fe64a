//! A blocking nfnetlink socket. The kernel answers while it is being told, so no call waits for anything.

use super::wire::{self, Attrs, Batch};
use crate::error::NetworkError;
use nix::errno::Errno;
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use std::io;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const MSG_DONTWAIT: i32 = 0x40;
const GET_TABLE: u16 = 1;
const TABLE_NAME: u16 = 1;

/// Bound to the network namespace of the thread that opened it, for good.
pub(crate) struct Nfnetlink {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

struct Answer<'a> {
    kind: u16,
    sequence: u32,
    /// After the netlink header.
    body: &'a [u8],
}

impl Answer<'_> {
    /// 0 is an acknowledgement.
    fn code(&self) -> i32 {
        let bytes = self.body.get(..4).and_then(|b| <[u8; 4]>::try_from(b).ok());
        -bytes.map_or(-(Errno::EPROTO as i32), i32::from_ne_bytes)
    }
}

impl Nfnetlink {
    pub(crate) fn open() -> Result<Self, NetworkError> {
        let open = || -> io::Result<Socket> {
            let socket = Socket::new(NETLINK_NETFILTER)?;
            socket.connect(&SocketAddr::new(0, 0))?;
            socket.set_cap_ack(true)?;
            Ok(socket)
        };
        Ok(Self {
            socket: open().map_err(|source| NetworkError::Socket { source })?,
            sequence: 0,
            buffer: Vec::with_capacity(32 * 1024),
        })
    }

    pub(crate) fn commit(&mut self, batch: Batch) -> Result<(), NetworkError> {
        self.transact(batch, None)
    }

    /// `tolerated` is as good as success.
    pub(crate) fn commit_tolerating(
        &mut self,
        batch: Batch,
        tolerated: Errno,
    ) -> Result<(), NetworkError> {
        self.transact(batch, Some(tolerated as i32))
    }

    fn transact(&mut self, batch: Batch, tolerated: Option<i32>) -> Result<(), NetworkError> {
        if batch.is_empty() {
            return Ok(());
        }
        let begin = self.sequence.wrapping_add(1);
        let (bytes, said) = batch.finish(begin);
        self.sequence = begin.wrapping_add(said.len() as u32).wrapping_add(1);
        let last = said.len() - 1;
        self.send(&bytes, &said[last])?;
        let mut failed = None;
        loop {
            let mut done = false;
            for answer in self.receive(&said[last])? {
                if answer.kind != NLMSG_ERROR {
                    continue;
                }
                let index = answer.sequence.wrapping_sub(begin) as usize;
                let code = answer.code();
                let what = match index {
                    // the transaction as a whole: no nf_tables, no permission, or refused when it was to take effect
                    0 => "commit nftables transaction",
                    _ => match said.get(index - 1) {
                        Some(what) => what.as_str(),
                        None => continue,
                    },
                };
                if code != 0 && tolerated != Some(code) && failed.is_none() {
                    failed = Some(NetworkError::Netlink {
                        what: what.to_owned(),
                        source: io::Error::from_raw_os_error(code),
                    });
                }
                done |= index == 0 || index == said.len();
            }
            if done {
                return failed.map_or(Ok(()), Err);
            }
        }
    }

    pub(crate) fn has_table(&mut self, name: &str) -> Result<bool, NetworkError> {
        let body = Attrs::new().text(TABLE_NAME, name);
        let what = "look for the nftables table";
        let request = wire::message(
            wire::nftables(GET_TABLE),
            wire::NLM_F_ACK,
            wire::FAMILY_IPV4,
            0,
            body.as_bytes(),
        );
        match self.ask(request, what, |_| {}) {
            Ok(()) => Ok(true),
            Err(NetworkError::Netlink { source, .. })
                if source.raw_os_error() == Some(Errno::ENOENT as i32) =>
            {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// One request outside of a transaction; `each` gets the body of every message of the answer, after its headers.
    pub(crate) fn ask(
        &mut self,
        mut request: Vec<u8>,
        what: &str,
        mut each: impl FnMut(&[u8]),
    ) -> Result<(), NetworkError> {
        self.sequence = self.sequence.wrapping_add(1);
        let sequence = self.sequence;
        request[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.send(&request, what)?;
        loop {
            for answer in self.receive(what)? {
                if answer.sequence != sequence {
                    continue;
                }
                match answer.kind {
                    NLMSG_DONE => return Ok(()),
                    NLMSG_ERROR => {
                        return match answer.code() {
                            0 => Ok(()),
                            code => Err(NetworkError::Netlink {
                                what: what.to_owned(),
                                source: io::Error::from_raw_os_error(code),
                            }),
                        };
                    }
                    _ => each(answer.body.get(4..).unwrap_or_default()),
                }
            }
        }
    }

    fn send(&mut self, bytes: &[u8], what: &str) -> Result<(), NetworkError> {
        self.socket
            .send(bytes, 0)
            .map(drop)
            .map_err(|source| NetworkError::Netlink {
                what: what.to_owned(),
                source,
            })
    }

    fn receive(&mut self, what: &str) -> Result<Vec<Answer<'_>>, NetworkError> {
        self.buffer.clear();
        loop {
            match self.socket.recv(&mut self.buffer, MSG_DONTWAIT) {
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    return Err(NetworkError::Netlink {
                        what: what.to_owned(),
                        source,
                    });
                }
            }
        }
        let mut answers = Vec::new();
        let mut rest = &self.buffer[..];
        while let Some((header, _)) = rest.split_at_checked(16) {
            let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
            let Some(body) = rest.get(16..length) else {
                return Err(NetworkError::Answer {
                    what: what.to_owned(),
                    problem: format!("a message of {length} bytes in {} bytes", rest.len()),
                });
            };
            answers.push(Answer {
                kind: u16::from_ne_bytes([header[4], header[5]]),
                sequence: u32::from_ne_bytes([header[8], header[9], header[10], header[11]]),
                body,
            });
            rest = &rest[length.next_multiple_of(4).min(rest.len())..];
        }
        Ok(answers)
    }
}
