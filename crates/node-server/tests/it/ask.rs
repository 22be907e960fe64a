//! A client that says exactly what it is told to.

use crate::fake::Serving;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }
}

/// HTTP/1.0, so that the answer ends with the connection and is not cut in chunks.
pub(crate) async fn send(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> Answer {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    tokio::time::timeout(Duration::from_secs(30), read)
        .await
        .expect("the answer ends")
        .unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (headers, body) = answer
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("{answer:?}"));
    Answer {
        status: headers.split(' ').nth(1).unwrap().parse().unwrap(),
        headers: headers.to_ascii_lowercase(),
        body: body.to_owned(),
    }
}

pub(crate) async fn tcp(serving: &Serving, method: &str, path: &str) -> Answer {
    let stream = TcpStream::connect(serving.address).await.unwrap();
    send(
        stream,
        &format!("{method} {path} HTTP/1.0\r\nHost: localhost\r\n\r\n"),
    )
    .await
}

pub(crate) async fn get(serving: &Serving, path: &str) -> Answer {
    tcp(serving, "GET", path).await
}

pub(crate) async fn unix(serving: &Serving, method: &str, path: &str) -> Answer {
    let stream = UnixStream::connect(&serving.socket).await.unwrap();
    send(
        stream,
        &format!("{method} {path} HTTP/1.0\r\nHost: localhost\r\n\r\n"),
    )
    .await
}

pub(crate) async fn post_json(serving: &Serving, path: &str, body: &str) -> Answer {
    let stream = UnixStream::connect(&serving.socket).await.unwrap();
    let headers = format!(
        "Host: localhost\r\nContent-Type: application/json\r\nContent-Length: {}",
        body.len()
    );
    send(
        stream,
        &format!("POST {path} HTTP/1.0\r\n{headers}\r\n\r\n{body}"),
    )
    .await
}
