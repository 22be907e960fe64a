//! The agent's end of an exec session's terminal.

use node_server::TerminalSize;
use rustix::termios::{Winsize, tcsetwinsize};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;

pub(crate) struct Terminal(OwnedFd);

impl Terminal {
    pub(crate) fn new(master: OwnedFd, size: Option<TerminalSize>) -> io::Result<Self> {
        if let Some(size) = size {
            // a keeper of before the size came with the command has not set it
            set_size(&master, size)?;
        }
        Ok(Self(master))
    }
    pub(crate) fn input(&self) -> io::Result<Box<dyn AsyncWrite + Send + Unpin>> {
        Ok(Box::new(tokio::fs::File::from_std(File::from(
            self.0.try_clone()?,
        ))))
    }
    pub(crate) fn output(&self) -> io::Result<Box<dyn AsyncRead + Send + Unpin>> {
        Ok(Box::new(Output(tokio::fs::File::from_std(File::from(
            self.0.try_clone()?,
        )))))
    }
    pub(crate) fn resizer(&self) -> io::Result<mpsc::Sender<TerminalSize>> {
        let (sender, mut sizes) = mpsc::channel(4);
        let master = self.0.try_clone()?;
        tokio::spawn(async move {
            while let Some(size) = sizes.recv().await {
                // a terminal that is gone has no size
                let _ = set_size(&master, size);
            }
        });
        Ok(sender)
    }
}

fn set_size(master: &OwnedFd, size: TerminalSize) -> io::Result<()> {
    tcsetwinsize(
        master,
        Winsize {
            ws_row: size.rows,
            ws_col: size.columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        },
    )?;
    Ok(())
}

/// A master says `EIO` when the other side is gone: the end of output.
struct Output(tokio::fs::File);

impl AsyncRead for Output {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.0).poll_read(context, buffer) {
            Poll::Ready(Err(error))
                if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) =>
            {
                Poll::Ready(Ok(()))
            }
            other => other,
        }
    }
}
