//! Who hears whom, and as what address.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(5);

/// Answers one caller with `hello` and says who it was.
pub(crate) fn greet(server: &TcpListener) -> IpAddr {
    let (mut stream, peer) = server.accept().unwrap();
    stream.write_all(b"hello").unwrap();
    peer.ip()
}

/// What the server at `to` says.
pub(crate) fn hear(to: SocketAddr) -> String {
    let mut text = String::new();
    TcpStream::connect_timeout(&to, PATIENCE)
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    text
}

/// Why nobody answers at `to`.
pub(crate) fn refused(to: SocketAddr) -> std::io::ErrorKind {
    TcpStream::connect_timeout(&to, PATIENCE)
        .unwrap_err()
        .kind()
}

/// Sends `text` and waits for it to come back.
pub(crate) fn echoed(socket: &UdpSocket, to: SocketAddr, text: &str) -> bool {
    socket
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    let mut buffer = [0; 64];
    (0..25).any(|_| {
        socket.send_to(text.as_bytes(), to).unwrap();
        matches!(socket.recv_from(&mut buffer), Ok((length, from)) if from == to && buffer[..length] == *text.as_bytes())
    })
}
