//! One request on a connection that stands, up to the head of the response, in either version of HTTP.

use super::words;
use crate::url::Url;
use bytes::Bytes;
use http::header::{CONNECTION, HOST, HeaderMap, HeaderValue};
use http::{Request, Response, Uri};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::future::Future;
use std::pin::Pin;
use tokio::io::{AsyncRead, AsyncWrite};

/// Of a response's head.
const LONGEST_HEAD: u32 = 64 << 10;

/// What a connection does while somebody waits for something on it.
pub(super) type Driver = Pin<Box<dyn Future<Output = ()> + Send>>;

pub(super) type Asked = Result<(Response<Incoming>, Driver), String>;

/// What of a request is the same on every way to its response.
pub(super) struct Question<'a> {
    pub(super) url: &'a Url,
    /// The `Host` header of the manifest.
    pub(super) host: Option<&'a HeaderValue>,
    pub(super) headers: &'a HeaderMap,
}

impl Question<'_> {
    fn host(&self) -> Result<HeaderValue, String> {
        match self.host {
            Some(host) => Ok(host.clone()),
            None => HeaderValue::from_str(&self.url.authority()).map_err(|e| e.to_string()),
        }
    }
}

pub(super) async fn http1<S>(stream: S, question: Question<'_>) -> Asked
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http1::Builder::new();
    builder
        .title_case_headers(true)
        .max_buf_size(LONGEST_HEAD as usize);
    let (mut sender, connection) = builder
        .handshake::<_, Empty<Bytes>>(TokioIo::new(stream))
        .await
        .map_err(|e| words(&e))?;
    let mut driver: Driver = Box::pin(async move {
        // what breaks it is told to whoever waits for the response
        let _ = connection.await;
    });
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = question
        .url
        .path
        .parse()
        .map_err(|e: http::uri::InvalidUri| e.to_string())?;
    *request.headers_mut() = question.headers.clone();
    request.headers_mut().insert(HOST, question.host()?);
    let response = beside(sender.send_request(request), &mut driver).await;
    Ok((response.map_err(|e| words(&e))?, driver))
}

/// For a TLS server that has chosen it.
pub(super) async fn http2<S>(stream: S, question: Question<'_>) -> Asked
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.max_header_list_size(LONGEST_HEAD);
    let (mut sender, connection) = builder
        .handshake::<_, Empty<Bytes>>(TokioIo::new(stream))
        .await
        .map_err(|e| words(&e))?;
    let mut driver: Driver = Box::pin(async move {
        // as above
        let _ = connection.await;
    });
    let host = question.host()?;
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = Uri::builder()
        .scheme("https")
        .authority(host.as_bytes())
        .path_and_query(question.url.path.as_str())
        .build()
        .map_err(|e| e.to_string())?;
    *request.headers_mut() = question.headers.clone();
    // HTTP/2 has no such header
    request.headers_mut().remove(CONNECTION);
    let response = beside(sender.send_request(request), &mut driver).await;
    Ok((response.map_err(|e| words(&e))?, driver))
}

/// Waits for `what` while the connection is driven; that its driver has ended is no answer.
pub(super) async fn beside<T>(
    what: impl Future<Output = T>,
    driver: impl Future<Output = ()>,
) -> T {
    let driver = async {
        driver.await;
        std::future::pending::<()>().await;
    };
    // both are dropped together; nothing is lost
    tokio::select! {
        biased;
        done = what => done,
        () = driver => unreachable!("it waits for ever"),
    }
}
