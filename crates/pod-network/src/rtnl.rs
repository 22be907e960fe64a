//! A blocking rtnetlink socket: several requests in one write, answers matched by sequence number.
//!
//! The messages are `rtnetlink`'s; its async connection is not used here, because slots are made on a thread of their own, where a
//! wake-up of a runtime between two messages would cost more than the messages.

use crate::error::NetworkError;
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage,
    NetlinkPayload,
};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use std::io;

/// One message and what it does, in words.
pub(crate) struct Request {
    pub(crate) what: String,
    pub(crate) message: RouteNetlinkMessage,
    pub(crate) flags: u16,
    /// This answer is as good as success (`EEXIST`, `ENODEV`, …).
    pub(crate) tolerate: Option<i32>,
}

impl Request {
    pub(crate) fn new(what: impl Into<String>, message: RouteNetlinkMessage) -> Self {
        Self {
            what: what.into(),
            message,
            flags: NLM_F_REQUEST,
            tolerate: None,
        }
    }
    /// Something that must not be there yet.
    pub(crate) fn create(what: impl Into<String>, message: RouteNetlinkMessage) -> Self {
        let mut request = Self::new(what, message);
        request.flags |= NLM_F_CREATE | NLM_F_EXCL;
        request
    }
    /// Something that may be there already.
    pub(crate) fn replace(what: impl Into<String>, message: RouteNetlinkMessage) -> Self {
        let mut request = Self::new(what, message);
        request.flags |= NLM_F_CREATE | NLM_F_REPLACE;
        request
    }
    pub(crate) fn tolerating(mut self, errno: nix::errno::Errno) -> Self {
        self.tolerate = Some(errno as i32);
        self
    }
}

/// Bound to the network namespace of the thread that opened it, for good.
pub(crate) struct Rtnl {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Rtnl {
    pub(crate) fn open() -> Result<Self, NetworkError> {
        let open = || -> io::Result<Socket> {
            let socket = Socket::new(NETLINK_ROUTE)?;
            socket.connect(&SocketAddr::new(0, 0))?;
            // an error then comes with the kernel's words and without our own message
            socket.set_ext_ack(true)?;
            socket.set_cap_ack(true)?;
            Ok(socket)
        };
        Ok(Self {
            socket: open().map_err(|source| NetworkError::Socket { source })?,
            sequence: 0,
            buffer: Vec::with_capacity(32 * 1024),
        })
    }

    /// Carries the requests out in order. The kernel goes on after an error; the first one is returned.
    pub(crate) fn run(&mut self, requests: Vec<Request>) -> Result<(), NetworkError> {
        let first = self.sequence.wrapping_add(1);
        let mut bytes = Vec::with_capacity(512);
        let mut said = Vec::with_capacity(requests.len());
        let last = requests.len().saturating_sub(1);
        for (index, request) in requests.into_iter().enumerate() {
            self.sequence = self.sequence.wrapping_add(1);
            let mut message = NetlinkMessage::from(request.message);
            // the kernel works in order, so the last one's acknowledgement speaks for all; errors are told of each
            message.header.flags = request.flags | if index == last { NLM_F_ACK } else { 0 };
            message.header.sequence_number = self.sequence;
            message.finalize();
            let at = bytes.len();
            bytes.resize(at + message.buffer_len().next_multiple_of(4), 0);
            message.serialize(&mut bytes[at..]);
            said.push((request.what, request.tolerate));
        }
        let Some((what, _)) = said.last() else {
            return Ok(());
        };
        let io_error = |source| NetworkError::Netlink {
            what: what.clone(),
            source,
        };
        self.socket.send(&bytes, 0).map_err(io_error)?;

        let mut failed = None;
        loop {
            for answer in self.receive(what)? {
                let NetlinkPayload::Error(error) = answer.payload else {
                    continue;
                };
                let index = answer.header.sequence_number.wrapping_sub(first) as usize;
                let Some((what, tolerate)) = said.get(index) else {
                    continue;
                };
                if let Some(code) = error.code
                    && *tolerate != Some(-code.get())
                    && failed.is_none()
                {
                    failed = Some(NetworkError::Netlink {
                        what: what.clone(),
                        source: io::Error::from_raw_os_error(-code.get()),
                    });
                }
                if index == last {
                    return failed.map_or(Ok(()), Err);
                }
            }
        }
    }

    /// Everything the kernel has of the kind that `message` asks for.
    pub(crate) fn dump(
        &mut self,
        what: &str,
        message: RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, NetworkError> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut request = NetlinkMessage::from(message);
        request.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
        request.header.sequence_number = self.sequence;
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        let io_error = |source| NetworkError::Netlink {
            what: what.to_owned(),
            source,
        };
        self.socket.send(&bytes, 0).map_err(io_error)?;
        let mut found = Vec::new();
        loop {
            for answer in self.receive(what)? {
                if answer.header.sequence_number != self.sequence {
                    continue;
                }
                match answer.payload {
                    NetlinkPayload::InnerMessage(message) => found.push(message),
                    NetlinkPayload::Done(_) => return Ok(found),
                    NetlinkPayload::Error(error) => {
                        let code = error.code.map_or(0, std::num::NonZero::get);
                        return Err(io_error(io::Error::from_raw_os_error(-code)));
                    }
                    _ => {}
                }
            }
        }
    }

    fn receive(
        &mut self,
        what: &str,
    ) -> Result<Vec<NetlinkMessage<RouteNetlinkMessage>>, NetworkError> {
        loop {
            self.buffer.clear();
            match self.socket.recv(&mut self.buffer, 0) {
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
        while rest.len() >= 16 {
            let length = u32::from_ne_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
            if length < 16 || length > rest.len() {
                return Err(NetworkError::Answer {
                    what: what.to_owned(),
                    problem: format!("a message of {length} bytes in {} bytes", rest.len()),
                });
            }
            match NetlinkMessage::deserialize(&rest[..length]) {
                Ok(answer) => answers.push(answer),
                // a link or route of somebody else's with an attribute that is not known: none of ours
                Err(problem) => tracing::debug!(what, %problem, "passed over a netlink message"),
            }
            rest = &rest[length.next_multiple_of(4).min(rest.len())..];
        }
        Ok(answers)
    }
}
