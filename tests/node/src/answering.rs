//! Servers in a node's sandbox for its probes and hooks to ask: each answer is what a test makes of the request's head, or a health check's.

use crate::sandbox::Sandbox;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};

/// Answers every connection with what `answer` makes of the head of its request; of what is no request, of nothing. Gives the port.
pub fn http(sandbox: &Sandbox, answer: impl Fn(&str) -> String + Send + 'static) -> u16 {
    serve(sandbox, move |mut client| {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            client.read_exact(&mut byte)?;
            if head.is_empty() && !byte[0].is_ascii_uppercase() {
                break;
            }
            head.extend(byte);
        }
        client.write_all(answer(&String::from_utf8_lossy(&head)).as_bytes())?;
        // closed with something unread, it would be reset, and the answer lost
        client.shutdown(Shutdown::Write)?;
        io::copy(&mut client, &mut io::sink()).map(|_| ())
    })
}

/// An answer without a body.
pub fn status(line: &str, header: &str) -> String {
    format!("HTTP/1.1 {line}\r\n{header}Content-Length: 0\r\nConnection: close\r\n\r\n")
}

/// Says `SERVING` to every gRPC health check.
pub fn grpc_health(sandbox: &Sandbox) -> u16 {
    serve(sandbox, |client| say_serving(&client))
}

fn serve(sandbox: &Sandbox, each: impl Fn(TcpStream) -> io::Result<()> + Send + 'static) -> u16 {
    let listener = sandbox
        .enter(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)))
        .expect("listen");
    let port = listener.local_addr().expect("an address").port();
    // it ends with this program
    std::thread::spawn(move || {
        for client in listener.incoming() {
            // one that leaves early is no reason to end
            let _ = client.and_then(&each);
        }
    });
    port
}

const PREFACE: usize = 24;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Just enough of HTTP/2 (RFC 9113) for one call.
fn say_serving(mut client: &TcpStream) -> io::Result<()> {
    client.read_exact(&mut [0; PREFACE])?;
    client.write_all(&frame(SETTINGS, 0, 0, &[]))?;
    loop {
        let mut head = [0; 9];
        client.read_exact(&mut head)?;
        let length = u64::from(u32::from_be_bytes([0, head[0], head[1], head[2]]));
        io::copy(&mut client.take(length), &mut io::sink())?;
        let (kind, flags) = (head[3], head[4]);
        if matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0 {
            break;
        }
    }
    // HPACK (RFC 7541): `:status: 200`, then `content-type` and `grpc-status` written out
    let head = [b"\x88\x0f\x10\x10".as_slice(), b"application/grpc"].concat();
    let trailer = [b"\x00\x0bgrpc-status".as_slice(), b"\x010"].concat();
    // a message of two bytes: field 1, SERVING
    let message = [0, 0, 0, 0, 2, 8, 1];
    client.write_all(&frame(HEADERS, END_HEADERS, 1, &head))?;
    client.write_all(&frame(DATA, 0, 1, &message))?;
    client.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &trailer))?;
    // until the client has read it
    io::copy(&mut client, &mut io::sink()).map(|_| ())
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(0).to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}
