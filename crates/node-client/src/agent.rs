//! Talking with the agent: HTTP/1.1 over its unix socket, one connection for each request.

use crate::error::ClientError;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::io;
use std::path::{Path, PathBuf};
use tokio::net::UnixStream;

/// No answer that is read whole is longer: 1,000 pods are 20 MB.
const LONGEST_ANSWER: usize = 256 << 20;
/// A line of a streamed answer holds at most a whole list.
const LONGEST_LINE: usize = LONGEST_ANSWER;

/// What a name is made of, in a path.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The agent of one node.
#[derive(Debug, Clone)]
pub struct Agent {
    socket: PathBuf,
}

/// Builds `/a/b?c=d`.
pub(crate) fn path(parts: &[&str], query: &[(&str, &str)]) -> String {
    let mut path = String::new();
    for part in parts {
        path.push('/');
        path.extend(utf8_percent_encode(part, PLAIN));
    }
    if !query.is_empty() {
        let mut encoded = form_urlencoded::Serializer::new(String::new());
        encoded.extend_pairs(query);
        path.push('?');
        path.push_str(&encoded.finish());
    }
    path
}

impl Agent {
    pub fn new(run_dir: &Path) -> Self {
        Self {
            socket: run_dir.join("agent.sock"),
        }
    }

    /// A whole answer.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.json(Method::GET, path).await
    }

    pub(crate) async fn json<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
    ) -> Result<T, ClientError> {
        let response = self.ask(method, path).await?;
        let body = Limited::new(response.into_body(), LONGEST_ANSWER);
        let body = body
            .collect()
            .await
            .map_err(|e| ClientError::BrokenOff(e.to_string()))?;
        serde_json::from_slice(&body.to_bytes()).map_err(|e| ClientError::Answer(e.to_string()))
    }

    /// An answer that comes bit by bit.
    pub(crate) async fn stream(&self, method: Method, path: &str) -> Result<Parts, ClientError> {
        Ok(Parts {
            body: self.ask(method, path).await?.into_body(),
            rest: Vec::new(),
        })
    }

    async fn ask(&self, method: Method, path: &str) -> Result<Response<Incoming>, ClientError> {
        let request = Request::builder().method(method).uri(path);
        let response = self.send(request, Bytes::new()).await?;
        if response.status() == StatusCode::OK {
            return Ok(response);
        }
        Err(refused(response).await)
    }

    /// Sends an object; of the answer only its success counts.
    pub(crate) async fn post(&self, path: &str, object: &Value) -> Result<(), ClientError> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(header::CONTENT_TYPE, "application/json");
        let body = Bytes::from(object.to_string());
        let response = self.send(request, body).await?;
        if response.status() == StatusCode::OK {
            return Ok(());
        }
        Err(refused(response).await)
    }

    /// Switches a connection to `protocol` and hands it out.
    pub(crate) async fn upgrade(
        &self,
        path: &str,
        protocol: &str,
    ) -> Result<hyper::upgrade::Upgraded, ClientError> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(header::CONNECTION, "upgrade")
            .header(header::UPGRADE, protocol);
        let response = self.send(request, Bytes::new()).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(refused(response).await);
        }
        hyper::upgrade::on(response)
            .await
            .map_err(|e| ClientError::BrokenOff(e.to_string()))
    }

    async fn send(
        &self,
        request: http::request::Builder,
        body: Bytes,
    ) -> Result<Response<Incoming>, ClientError> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|e| self.no_agent(&e))?;
        let broken = |e: hyper::Error| ClientError::BrokenOff(e.to_string());
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(broken)?;
        // Ends with the answer; what goes wrong on it is seen by who reads the answer.
        tokio::spawn(connection.with_upgrades());
        let request = request
            .header(header::HOST, "localhost")
            .body(Full::new(body))
            .map_err(|e| ClientError::Said(e.to_string()))?;
        sender.send_request(request).await.map_err(broken)
    }

    fn no_agent(&self, error: &io::Error) -> ClientError {
        let socket = self.socket.clone();
        match error.kind() {
            io::ErrorKind::PermissionDenied => ClientError::NotAllowed { socket },
            io::ErrorKind::NotFound => ClientError::NoAgent {
                socket,
                what: "there is no such socket".to_owned(),
            },
            io::ErrorKind::ConnectionRefused => ClientError::NoAgent {
                socket,
                what: "it has ended".to_owned(),
            },
            _ => ClientError::NoAgent {
                socket,
                what: error.to_string(),
            },
        }
    }
}

async fn refused(response: Response<Incoming>) -> ClientError {
    let status = response.status();
    let body = Limited::new(response.into_body(), 64 << 10).collect().await;
    let body = body.map(|b| b.to_bytes()).unwrap_or_default();
    ClientError::of_answer(status, &body)
}

/// The body of a streamed answer.
pub(crate) struct Parts {
    body: Incoming,
    rest: Vec<u8>,
}

impl Parts {
    /// The next bytes; `None` at the end.
    pub(crate) async fn bytes(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            let Some(frame) = self.body.frame().await else {
                return Ok(None);
            };
            let frame = frame.map_err(|e| ClientError::BrokenOff(e.to_string()))?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
    }
    /// The next line as JSON; `None` at the end.
    pub(crate) async fn line<T: DeserializeOwned>(&mut self) -> Result<Option<T>, ClientError> {
        let mut searched = 0;
        loop {
            if let Some(end) = self.rest[searched..].iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=searched + end).collect();
                return serde_json::from_slice(&line)
                    .map(Some)
                    .map_err(|e| ClientError::Answer(e.to_string()));
            }
            searched = self.rest.len();
            match self.bytes().await? {
                Some(bytes) => self.rest.extend_from_slice(&bytes),
                None if self.rest.is_empty() => return Ok(None),
                None => return Err(ClientError::BrokenOff("it ends within a line".to_owned())),
            }
            if self.rest.len() > LONGEST_LINE {
                return Err(ClientError::Answer("a line is too long".to_owned()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::path;

    #[test]
    fn what_a_person_typed_stays_one_part_of_a_path() {
        assert_eq!(
            path(&["a", "b/../c d", "e-f.g"], &[("x", "1&2 3"), ("y", "")]),
            "/a/b%2F..%2Fc%20d/e-f.g?x=1%262+3&y="
        );
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_missing_agent_is_named_with_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        let agent = super::Agent::new(directory.path());
        let socket = directory.path().join("agent.sock");
        let missing = agent.get::<u8>("/x").await.unwrap_err().to_string();
        assert!(
            missing.contains(&format!("{}: there is no such socket", socket.display())),
            "{missing}"
        );
        assert!(missing.contains("coracle run") && missing.contains("--run-dir"));
        drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
        let dead = agent.get::<u8>("/x").await.unwrap_err().to_string();
        assert!(dead.contains("it has ended"), "{dead}");
    }
}
