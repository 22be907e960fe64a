//! `node-bench-answerer PORT`: an HTTP server that says `ok` to everybody, one after the other. It runs in the containers that the probe rows
//! measure: one small process each, so that the machine's time goes into the probes and not into their answers.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port: u16 = std::env::args().nth(1).ok_or("no port")?.parse()?;
    let listener = TcpListener::bind(("0.0.0.0", port))?;
    for client in listener.incoming() {
        // one that went away is no reason to end
        let _ = client.and_then(answer);
    }
    Ok(())
}

/// A probe's request comes in one piece; whatever the first read brings is answered.
fn answer(mut client: TcpStream) -> std::io::Result<()> {
    let _ = client.read(&mut [0; 1024])?;
    client.write_all(ANSWER)
}
