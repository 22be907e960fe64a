//! Connections: a new one for each probe, closed without a trace.

use crate::answer::Answer;
use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};

/// `host:port`, with brackets where the host is an IPv6 address.
pub(crate) fn join(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// Whether the client has something to say as soon as it is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opening {
    /// Then its first bytes may carry the end of the handshake: a packet less each way, and the server wakes up once.
    Speaks,
    /// Then the server hears of the connection by the handshake alone.
    Silent,
}

/// Connects, or says why not in the words of Go's dialer.
pub(crate) async fn dial(host: &str, port: u16, opening: Opening) -> Result<Connection, String> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        let address = SocketAddr::new(ip, port);
        return connect(address, opening)
            .await
            .map_err(|error| refused(address, &error));
    }
    let unknown = || format!("dial tcp: lookup {host}: no such host");
    let addresses = tokio::net::lookup_host((host, port))
        .await
        .map_err(|_| unknown())?;
    let mut failed = unknown();
    for address in addresses {
        match connect(address, opening).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = refused(address, &error),
        }
    }
    Err(failed)
}

fn refused(address: SocketAddr, error: &io::Error) -> String {
    format!("dial tcp {address}: connect: {}", errno_words(error))
}

/// What is closed here leaves no socket in TIME_WAIT: a node that probes a thousand times a second would run out of ports.
async fn connect(address: SocketAddr, opening: Opening) -> io::Result<Connection> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    socket.set_zero_linger()?;
    socket.set_nodelay(true)?;
    if opening == Opening::Speaks {
        // tcp(7): acknowledgements go with data from the beginning; those for which there is none are late, but sent
        rustix::net::sockopt::set_tcp_quickack(&socket, false)?;
    }
    Ok(Connection(socket.connect(address).await?))
}

/// A connection that ends when it is dropped, with a reset, and not before: to shut it down first would cost a packet each way, and the
/// server has nothing more to hear.
#[derive(Debug)]
pub(crate) struct Connection(TcpStream);

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, slices)
    }
    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// `connection refused` for `Connection refused (os error 111)`.
pub(crate) fn errno_words(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => String::new(),
    }
}

/// The system's error below `error`, if there is one.
pub(crate) fn io_below<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e io::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>()
            && io.raw_os_error().is_some()
        {
            return Some(io);
        }
        next = error.source();
    }
    None
}

/// A `tcpSocket` probe: whoever accepts the connection is well.
pub(crate) async fn check(host: &str, port: u16, at_most: std::time::Duration) -> Answer {
    match tokio::time::timeout(at_most, dial(host, port, Opening::Silent)).await {
        Ok(Ok(_)) => Answer::Success,
        Ok(Err(message)) => Answer::Failure(message),
        Err(_) => Answer::Failure(format!("dial tcp {}: i/o timeout", join(host, port))),
    }
}
