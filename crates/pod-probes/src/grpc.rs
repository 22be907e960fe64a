//! `grpc`: one call of `grpc.health.v1.Health/Check` over plain HTTP/2.
//!
//! The protocol is two messages of one field each, so they are written and read here by hand.

use crate::answer::{Answer, go_seconds};
use crate::dial::{Opening, dial, join};
use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Request};
use std::time::Duration;

/// A response longer than this is none of a health check.
const LONGEST_MESSAGE: usize = 4 << 10;

/// What the call brought.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Called {
    /// The number of a `ServingStatus`.
    Status(u64),
    /// A gRPC status other than OK.
    Refused {
        code: u32,
        message: String,
    },
    Broken(String),
}

pub(crate) async fn check(host: &str, port: u16, service: &str, at_most: Duration) -> Answer {
    let address = join(host, port);
    let end = tokio::time::Instant::now() + at_most;
    let within = go_seconds(at_most.as_secs());
    let stream = match tokio::time::timeout_at(end, dial(host, port, Opening::Speaks)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            return Answer::Failure(format!(
                "error: failed to connect service at {address:?}: {error}"
            ));
        }
        Err(_) => {
            return Answer::Failure(format!(
                "timeout: failed to connect service {address:?} within {within}: context deadline exceeded"
            ));
        }
    };
    let called = async {
        let (client, connection) = h2::client::handshake(stream).await?;
        // both are dropped together; the connection's end without an answer is an error of the call
        tokio::select! {
            biased;
            called = call(client, &address, service) => called,
            error = async { let ended = connection.await; std::future::pending::<()>().await; ended } => Err(error.err().unwrap_or_else(|| h2::Reason::INTERNAL_ERROR.into())),
        }
    };
    let called = match tokio::time::timeout_at(end, called).await {
        Ok(Ok(called)) => called,
        Ok(Err(error)) => Called::Broken(error.to_string()),
        // DEADLINE_EXCEEDED
        Err(_) => Called::Refused {
            code: 4,
            message: String::new(),
        },
    };
    judge(called, &within)
}

fn judge(called: Called, within: &str) -> Answer {
    match called {
        Called::Status(1) => Answer::Success,
        Called::Status(other) => {
            let name = match other {
                0 => "UNKNOWN".to_owned(),
                2 => "NOT_SERVING".to_owned(),
                3 => "SERVICE_UNKNOWN".to_owned(),
                other => other.to_string(),
            };
            Answer::Failure(format!("service unhealthy (responded with {name:?})"))
        }
        Called::Refused { code: 12, message } => Answer::Failure(format!(
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {message}"
        )),
        Called::Refused { code: 4, .. } => Answer::Failure(format!(
            "timeout: health rpc did not complete within {within}"
        )),
        Called::Refused { code, message } => Answer::Failure(format!(
            "error: health rpc probe failed: rpc error: code = {} desc = {message}",
            code_name(code)
        )),
        Called::Broken(error) => Answer::Failure(format!(
            "error: health rpc probe failed: rpc error: code = Unavailable desc = {error}"
        )),
    }
}

async fn call(
    client: SendRequest<Bytes>,
    address: &str,
    service: &str,
) -> Result<Called, h2::Error> {
    let mut client = client.ready().await?;
    let request = Request::post(format!("http://{address}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", "kube-probe/1.36")
        .body(());
    let Ok(request) = request else {
        return Ok(Called::Broken(format!("{address:?} is no address")));
    };
    let (response, mut sending) = client.send_request(request, false)?;
    sending.send_data(frame(&request_of(service)), true)?;
    let response = response.await?;
    if let Some(refused) = refusal(response.headers()) {
        return Ok(refused);
    }
    if response.status() != 200 {
        return Ok(Called::Refused {
            code: 14,
            message: format!(
                "unexpected HTTP status code received from server: {}",
                response.status()
            ),
        });
    }
    let mut incoming = response.into_body();
    let mut read = Vec::new();
    while let Some(data) = incoming.data().await {
        let data = data?;
        incoming.flow_control().release_capacity(data.len())?;
        if read.len() + data.len() > LONGEST_MESSAGE {
            return Ok(Called::Broken("the answer is too long".to_owned()));
        }
        read.extend_from_slice(&data);
    }
    let trailers = incoming.trailers().await?.unwrap_or_default();
    if let Some(refused) = refusal(&trailers) {
        return Ok(refused);
    }
    Ok(match unframe(&read).and_then(status_of) {
        Some(status) => Called::Status(status),
        None => Called::Broken("the answer is no health check's".to_owned()),
    })
}

/// The gRPC status in these headers, if it is one that refuses.
fn refusal(headers: &HeaderMap) -> Option<Called> {
    let code = headers.get("grpc-status")?.to_str().ok()?.parse().ok()?;
    let message = headers.get("grpc-message").map(|m| m.as_bytes());
    (code != 0).then(|| Called::Refused {
        code,
        message: unescape(message.unwrap_or_default()),
    })
}

/// `grpc-message` is percent-encoded UTF-8.
fn unescape(text: &[u8]) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        let escaped = (*first == b'%')
            .then(|| std::str::from_utf8(tail.get(..2)?).ok())
            .flatten()
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match escaped {
            Some(byte) => {
                out.push(byte);
                rest = &tail[2..];
            }
            None => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// `HealthCheckRequest { string service = 1; }`
fn request_of(service: &str) -> Vec<u8> {
    if service.is_empty() {
        return Vec::new();
    }
    let mut message = vec![0x0a];
    let mut length = service.len();
    while length >= 0x80 {
        message.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    message.push(length as u8);
    message.extend_from_slice(service.as_bytes());
    message
}

/// `HealthCheckResponse { ServingStatus status = 1; }`; other fields are none that we know.
fn status_of(mut message: &[u8]) -> Option<u64> {
    let mut status = 0;
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        match tag & 7 {
            0 => {
                let value = varint(&mut message)?;
                if tag >> 3 == 1 {
                    status = value;
                }
            }
            2 => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                message = message.get(length..)?;
            }
            1 => message = message.get(8..)?,
            5 => message = message.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Not compressed, and its length in front.
fn frame(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut framed = vec![0];
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(message);
    framed.into()
}

fn unframe(framed: &[u8]) -> Option<&[u8]> {
    let (head, message) = framed.split_at_checked(5)?;
    let length = u32::from_be_bytes(head[1..].try_into().ok()?);
    (head[0] == 0 && usize::try_from(length).ok()? == message.len()).then_some(message)
}

fn code_name(code: u32) -> String {
    const NAMES: [&str; 17] = [
        "OK",
        "Canceled",
        "Unknown",
        "InvalidArgument",
        "DeadlineExceeded",
        "NotFound",
        "AlreadyExists",
        "PermissionDenied",
        "ResourceExhausted",
        "FailedPrecondition",
        "Aborted",
        "OutOfRange",
        "Unimplemented",
        "Internal",
        "Unavailable",
        "DataLoss",
        "Unauthenticated",
    ];
    let name = usize::try_from(code).ok().and_then(|at| NAMES.get(at));
    name.map_or_else(|| format!("Code({code})"), |name| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_messages_are_those_of_the_protocol() {
        assert_eq!(request_of(""), b"");
        assert_eq!(request_of("ab"), b"\x0a\x02ab");
        assert_eq!(request_of(&"x".repeat(200))[..3], [0x0a, 0xc8, 0x01]);
        assert_eq!(&frame(b"\x08\x01")[..], b"\0\0\0\0\x02\x08\x01");
        assert_eq!(unframe(b"\0\0\0\0\x02\x08\x01"), Some(&b"\x08\x01"[..]));
        assert_eq!(unframe(b"\0\0\0\0\x03\x08\x01"), None);
        assert_eq!(unframe(b"\x01\0\0\0\0"), None, "compressed");
        for (message, status) in [
            (&b""[..], Some(0)),
            (b"\x08\x01", Some(1)),
            (b"\x12\x02ab\x08\x02", Some(2)),
            (b"\x08", None),
            (b"\x12\x7fab", None),
        ] {
            assert_eq!(status_of(message), status, "{message:?}");
        }
        assert_eq!(unescape(b"a%20b%zz%"), "a b%zz%");
    }

    #[test]
    fn answers_are_in_a_kubelets_words() {
        let refused = |code, message: &str| Called::Refused {
            code,
            message: message.to_owned(),
        };
        for (called, words) in [
            (
                Called::Status(2),
                "service unhealthy (responded with \"NOT_SERVING\")",
            ),
            (
                refused(12, "unknown method"),
                "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): unknown method",
            ),
            (
                refused(4, ""),
                "timeout: health rpc did not complete within 1s",
            ),
            (
                refused(5, "unknown service"),
                "error: health rpc probe failed: rpc error: code = NotFound desc = unknown service",
            ),
        ] {
            assert_eq!(judge(called, "1s"), Answer::Failure(words.to_owned()));
        }
        assert_eq!(judge(Called::Status(1), "1s"), Answer::Success);
    }

    /// A server of one call, which answers with this gRPC status and this message.
    async fn server(status: &'static str, message: &'static [u8]) -> u16 {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(request) = connection.accept().await {
                let Ok((request, mut respond)) = request else {
                    return;
                };
                assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
                let head = http::Response::builder().header("content-type", "application/grpc");
                let mut sending = respond
                    .send_response(head.body(()).unwrap(), false)
                    .unwrap();
                if !message.is_empty() {
                    sending.send_data(frame(message), false).unwrap();
                }
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", status.parse().unwrap());
                trailers.insert("grpc-message", "why%20not".parse().unwrap());
                sending.send_trailers(trailers).unwrap();
            }
        });
        port
    }

    #[tokio::test]
    async fn a_call_goes_over_a_connection() {
        let soon = Duration::from_secs(5);
        let serving = server("0", b"\x08\x01").await;
        let answer = check("127.0.0.1", serving, "web", soon).await;
        assert_eq!(answer, Answer::Success);
        let refusing = server("5", b"").await;
        let answer = check("127.0.0.1", refusing, "", soon).await;
        let words = "error: health rpc probe failed: rpc error: code = NotFound desc = why not";
        assert_eq!(answer, Answer::Failure(words.into()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let answer = check("127.0.0.1", port, "", Duration::from_millis(50)).await;
        let words = "timeout: health rpc did not complete within 0s";
        assert_eq!(answer, Answer::Failure(words.into()));
        drop(listener);
        let answer = check("127.0.0.1", port, "", soon).await;
        let words = format!(
            "error: failed to connect service at \"127.0.0.1:{port}\": dial tcp 127.0.0.1:{port}: connect: connection refused"
        );
        assert_eq!(answer, Answer::Failure(words));
    }
}
