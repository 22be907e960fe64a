//! `httpGet`, of probes and of hooks.

mod ask;

use crate::answer::{Answer, ErrorResult, MOST_OUTPUT};
use crate::dial::{Connection, Opening, dial, errno_words, io_below};
use crate::tls::{CONNECTOR, HTTP_2};
use crate::url::Url;
use ask::{Driver, Question, beside};
use http::header::{
    ACCEPT, AUTHORIZATION, CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT,
};
use http::{Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use k8s_openapi::api::core::v1::{Container, HTTPGetAction};
use rustls::pki_types::ServerName;
use tokio::time::{Duration, Instant, timeout_at};

/// Redirects that are followed (Go's `http.Client`).
const MOST_REDIRECTS: usize = 10;

/// Who asks: the `User-Agent` that a kubelet of the same version sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    Probe,
    Hook,
}

impl Asker {
    fn user_agent(self) -> &'static str {
        match self {
            Asker::Probe => "kube-probe/1.36",
            Asker::Hook => "kube-lifecycle/1.36",
        }
    }
}

/// One request, ready to be sent again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpGet {
    url: Url,
    headers: HeaderMap,
    /// The `Host` header of the manifest.
    host: Option<HeaderValue>,
}

/// What came back. Of the body no more than [`MOST_OUTPUT`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpResponse {
    pub status: u16,
    pub body: Vec<u8>,
}

/// Why there is no response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GetError {
    /// No head came.
    #[error("{0}")]
    Request(String),
    /// The body broke off.
    #[error("{0}")]
    Body(String),
    /// The other side does not speak TLS.
    #[error("{0}")]
    NotTls(String),
}

impl HttpGet {
    /// `address` is the pod's; it is asked where the manifest names no host.
    ///
    /// # Errors
    /// When the port is named by none of the container's ports, or a header cannot be sent.
    pub fn new(
        action: &HTTPGetAction,
        container: &Container,
        address: &str,
        asker: Asker,
    ) -> Result<Self, String> {
        let host = action.host.as_deref().filter(|host| !host.is_empty());
        let path = action.path.as_deref().unwrap_or_default();
        let tls = action
            .scheme
            .as_deref()
            .is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"));
        let port = crate::plan::port(&action.port, container)?;
        let mut headers = HeaderMap::new();
        for header in action.http_headers.iter().flatten() {
            let name = HeaderName::from_bytes(header.name.as_bytes())
                .map_err(|_| format!("net/http: invalid header field name {:?}", header.name))?;
            let value = HeaderValue::from_bytes(header.value.as_bytes()).map_err(|_| {
                format!("net/http: invalid header field value for {:?}", header.name)
            })?;
            headers.append(name, value);
        }
        let host_header = headers.remove(HOST).filter(|value| !value.is_empty());
        headers
            .entry(USER_AGENT)
            .or_insert(HeaderValue::from_static(asker.user_agent()));
        if headers.get(ACCEPT).is_some_and(HeaderValue::is_empty) {
            headers.remove(ACCEPT);
        } else {
            headers
                .entry(ACCEPT)
                .or_insert(HeaderValue::from_static("*/*"));
        }
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        Ok(Self {
            url: Url::new(tls, host.unwrap_or(address), port, path),
            headers,
            host: host_header,
        })
    }

    /// The same request without TLS, for a hook whose server turns out to speak none. What says who asks is not for everybody on the way
    /// to read: it is left out.
    #[must_use]
    pub fn without_tls(&self) -> Self {
        let mut plain = self.clone();
        plain.url.tls = false;
        plain.headers.remove(AUTHORIZATION);
        plain
    }

    /// `host:port`, as events name it.
    pub fn authority(&self) -> String {
        self.url.authority()
    }

    /// Sends it, and follows redirects that stay on the host. One that leads elsewhere is the response.
    ///
    /// # Errors
    /// When there is no whole response within `at_most`.
    pub async fn send(&self, at_most: Duration) -> Result<HttpResponse, GetError> {
        let end = Instant::now() + at_most;
        let mut url = self.url.clone();
        let mut host = self.host.clone();
        for followed in 0.. {
            let failed = |error: String| GetError::Request(format!("Get \"{url}\": {error}"));
            let exchange = exchange(&url, host.as_ref(), &self.headers);
            let asked = match timeout_at(end, exchange).await {
                Ok(asked) => asked,
                Err(_) => Err(Broken::Other(
                    "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
                        .into(),
                )),
            };
            let (response, connection) = asked.map_err(|broken| match broken {
                Broken::NotTls => GetError::NotTls(
                    failed("http: server gave HTTP response to HTTPS client".into()).to_string(),
                ),
                Broken::Other(error) => failed(error),
            })?;
            let next = location(&response).and_then(|location| url.follow(location));
            match next {
                Some((to, names_host)) if to.host == self.url.host => {
                    if followed + 1 >= MOST_REDIRECTS {
                        return Err(GetError::Request(format!(
                            "Get \"{to}\": stopped after {MOST_REDIRECTS} redirects"
                        )));
                    }
                    if names_host {
                        host = None;
                    }
                    url = to;
                }
                _ => {
                    let status = response.status().as_u16();
                    let reading = beside(body(response), connection);
                    let body = timeout_at(end, reading).await.unwrap_or_else(|_| {
                        Err(GetError::Body(
                            "context deadline exceeded (Client.Timeout or context cancellation while reading body)"
                                .into(),
                        ))
                    })?;
                    return Ok(HttpResponse { status, body });
                }
            }
        }
        unreachable!("the loop ends in a response or an error")
    }

    pub(crate) async fn check(&self, at_most: Duration) -> Answer {
        match self.send(at_most).await {
            Ok(HttpResponse { status, .. }) if (200..300).contains(&status) => Answer::Success,
            Ok(HttpResponse { status, body }) if (300..400).contains(&status) => {
                Answer::Warning(format!(
                    "Probe terminated redirects, Response body: {}",
                    String::from_utf8_lossy(&body)
                ))
            }
            // The body stays out of the message: it may hold what not everybody who reads events may know.
            Ok(HttpResponse { status, .. }) => {
                Answer::Failure(format!("HTTP probe failed with statuscode: {status}"))
            }
            Err(error @ GetError::Body(_)) => {
                Answer::Error(ErrorResult::Failure, error.to_string())
            }
            Err(error) => Answer::Failure(error.to_string()),
        }
    }
}

/// Where the response redirects to.
fn location(response: &Response<Incoming>) -> Option<&str> {
    let redirects = matches!(
        response.status(),
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    );
    let location = response.headers().get(http::header::LOCATION)?;
    location
        .to_str()
        .ok()
        .filter(|location| redirects && !location.is_empty())
}

enum Broken {
    NotTls,
    Other(String),
}

/// One request on a connection of its own, up to the head of the response.
async fn exchange(
    url: &Url,
    host: Option<&HeaderValue>,
    headers: &HeaderMap,
) -> Result<(Response<Incoming>, Driver), Broken> {
    let stream = dial(&url.host, url.port(), Opening::Speaks)
        .await
        .map_err(Broken::Other)?;
    let question = Question { url, host, headers };
    if !url.tls {
        return ask::http1(stream, question).await.map_err(Broken::Other);
    }
    // boxed, or every plain request would take its room too
    Box::pin(exchange_by_tls(stream, question)).await
}

async fn exchange_by_tls(
    stream: Connection,
    question: Question<'_>,
) -> Result<(Response<Incoming>, Driver), Broken> {
    let url = question.url;
    let name = ServerName::try_from(url.host.clone())
        .map_err(|_| Broken::Other(format!("tls: {:?} is no server name", url.host)))?;
    let connector = CONNECTOR
        .as_ref()
        .ok_or_else(|| Broken::Other("tls: no cryptography".into()))?;
    let stream = connector
        .connect(name, stream)
        .await
        .map_err(|error| not_tls(&error))?;
    let asked = if stream.get_ref().1.alpn_protocol() == Some(HTTP_2) {
        ask::http2(stream, question).await
    } else {
        ask::http1(stream, question).await
    };
    asked.map_err(Broken::Other)
}

fn not_tls(error: &std::io::Error) -> Broken {
    let inner = error
        .get_ref()
        .and_then(|e| e.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidMessage(_)) => Broken::NotTls,
        Some(other) => Broken::Other(format!("tls: {other}")),
        None if error.kind() == std::io::ErrorKind::UnexpectedEof => Broken::Other("EOF".into()),
        None => Broken::Other(errno_words(error)),
    }
}

async fn body(response: Response<Incoming>) -> Result<Vec<u8>, GetError> {
    let mut incoming = response.into_body();
    let mut read = Vec::new();
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(|e| GetError::Body(words(&e)))?;
        if let Some(data) = frame.data_ref() {
            let room = MOST_OUTPUT - read.len();
            read.extend_from_slice(&data[..data.len().min(room)]);
        }
        if read.len() == MOST_OUTPUT {
            break;
        }
    }
    Ok(read)
}

fn words(error: &hyper::Error) -> String {
    if let Some(io) = io_below(error) {
        return format!("read: {}", errno_words(io));
    }
    if error.is_incomplete_message() {
        return "EOF".to_owned();
    }
    if error.is_parse() {
        return "net/http: HTTP/1.x transport connection broken: malformed HTTP response"
            .to_owned();
    }
    error.to_string()
}

/// Checks at compile time what the task of all probes relies on.
const _: fn() = || {
    fn is_send<T: Send>() {}
    is_send::<Connection>();
    is_send::<Driver>();
};

#[cfg(test)]
mod tests;
