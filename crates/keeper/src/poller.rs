//! What the keeper waits for. A token names the source of an event: a kind and a number that is never used again.

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// Events taken at once.
const BATCH: usize = 64;

/// In the order in which a batch is worked off: exits first, output last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Exit = 1,
    SessionExit,
    PodExit,
    Report,
    SessionReport,
    Connection,
    Listener,
    Stdout,
    Stderr,
}

impl Kind {
    const ALL: [Kind; 9] = [
        Kind::Exit,
        Kind::SessionExit,
        Kind::PodExit,
        Kind::Report,
        Kind::SessionReport,
        Kind::Connection,
        Kind::Listener,
        Kind::Stdout,
        Kind::Stderr,
    ];
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) number: u64,
}

impl Token {
    pub(crate) fn new(kind: Kind, number: u64) -> Self {
        Self { kind, number }
    }
    fn data(self) -> EventData {
        EventData::new_u64(((self.kind as u64) << 56) | self.number)
    }
    fn from_data(data: u64) -> Option<Self> {
        let kind = Kind::ALL.into_iter().find(|k| *k as u64 == data >> 56)?;
        Some(Self {
            kind,
            number: data & ((1 << 56) - 1),
        })
    }
}

pub(crate) struct Poller {
    epoll: OwnedFd,
    events: Vec<Event>,
}

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            events: Vec::with_capacity(BATCH),
        })
    }
    /// Level-triggered: it is told again until it is dealt with.
    pub(crate) fn watch(&self, fd: impl AsFd, token: Token) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, fd, token.data(), EventFlags::IN)?)
    }
    /// Tells only when the other end of a socket is closed, not of what was sent before: that is read then.
    pub(crate) fn watch_end(&self, fd: impl AsFd, token: Token) -> io::Result<()> {
        Ok(epoll::add(
            &self.epoll,
            fd,
            token.data(),
            EventFlags::RDHUP,
        )?)
    }
    pub(crate) fn also_writable(
        &self,
        fd: impl AsFd,
        token: Token,
        wanted: bool,
    ) -> io::Result<()> {
        let out = if wanted {
            EventFlags::OUT
        } else {
            EventFlags::empty()
        };
        Ok(epoll::modify(
            &self.epoll,
            fd,
            token.data(),
            EventFlags::IN | out,
        )?)
    }
    pub(crate) fn forget(&self, fd: impl AsFd) {
        // it was never watched, or is not any more
        let _ = epoll::delete(&self.epoll, fd);
    }
    /// Waits for events, at most `timeout`, and returns them in the order of their kinds.
    pub(crate) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<Vec<Token>> {
        let timeout = timeout.and_then(|t| Timespec::try_from(t).ok());
        self.events.clear();
        match epoll::wait(
            &self.epoll,
            rustix::buffer::spare_capacity(&mut self.events),
            timeout.as_ref(),
        ) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        let mut tokens: Vec<Token> = self
            .events
            .iter()
            .filter_map(|e| Token::from_data(e.data.u64()))
            .collect();
        tokens.sort();
        Ok(tokens)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back_with_exits_first() -> io::Result<()> {
        let mut poller = Poller::new()?;
        let (read, write) = rustix::pipe::pipe()?;
        let (read2, write2) = rustix::pipe::pipe()?;
        poller.watch(&read, Token::new(Kind::Stdout, 7))?;
        poller.watch(&read2, Token::new(Kind::Exit, (1 << 56) - 1))?;
        assert_eq!(poller.wait(Some(Duration::ZERO))?, vec![]);
        rustix::io::write(&write, b"x")?;
        rustix::io::write(&write2, b"x")?;
        let both = vec![
            Token::new(Kind::Exit, (1 << 56) - 1),
            Token::new(Kind::Stdout, 7),
        ];
        assert_eq!(poller.wait(None)?, both);
        poller.forget(&read2);
        assert_eq!(poller.wait(None)?, both[1..]);
        Ok(())
    }

    #[test]
    fn an_end_is_told_when_the_other_side_is_closed_and_not_before() -> io::Result<()> {
        let mut poller = Poller::new()?;
        let (mine, its) = crate::child::report::channel()?;
        let token = Token::new(Kind::Report, 1);
        poller.watch_end(&mine, token)?;
        rustix::net::send(&its, b"{}", rustix::net::SendFlags::NOSIGNAL)?;
        assert_eq!(poller.wait(Some(Duration::from_millis(20)))?, vec![]);
        drop(its);
        assert_eq!(poller.wait(None)?, vec![token]);
        Ok(())
    }
}
