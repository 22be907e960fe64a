//! One HTTP client for all registries: HTTP/1.1 and HTTP/2, with and without TLS, every wait bounded.

use super::tls;
use crate::config::RegistryConfig;
use crate::error::RegistryError;
use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::error::Error;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A response's head, and what hyper buffers of a body.
const LONGEST_HEAD: usize = 256 << 10;

pub(super) struct HttpClient {
    client: Client<Connector, Full<Bytes>>,
    head_timeout: Duration,
}

impl HttpClient {
    pub(super) fn new(config: &RegistryConfig) -> HttpClient {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(config.retry.connect_timeout));
        tcp.set_keepalive(Some(Duration::from_secs(30)));
        let connector = Connector {
            tcp,
            tls: Arc::new(OnceCell::new()),
            ca_directory: config.ca_directory.clone(),
            handshake_timeout: config.retry.connect_timeout,
        };
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(20))
            .pool_max_idle_per_host(4)
            .http1_max_buf_size(LONGEST_HEAD)
            .http1_max_headers(128)
            .http2_max_header_list_size(64 << 10)
            .http2_initial_stream_window_size(1 << 20)
            .http2_initial_connection_window_size(4 << 20)
            .http2_keep_alive_interval(Duration::from_secs(20))
            .build(connector);
        HttpClient {
            client,
            head_timeout: config.retry.stall,
        }
    }

    /// Sends a request and waits for the head of the response.
    pub(super) async fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, RegistryError> {
        let url = said(request.uri());
        match tokio::time::timeout(self.head_timeout, self.client.request(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) if error.is_connect() => Err(RegistryError::Unreachable {
                url,
                source: innermost(error),
            }),
            Ok(Err(error)) => Err(RegistryError::Broken {
                url,
                source: innermost(error),
            }),
            Err(_) => Err(RegistryError::Stalled {
                url,
                after: self.head_timeout,
            }),
        }
    }
}

/// An address for messages: without the query, which may hold a signature.
pub(super) fn said(uri: &Uri) -> String {
    let text = uri.to_string();
    match text.split_once('?') {
        Some((before, _)) => before.to_owned(),
        None => text,
    }
}

/// hyper's errors say "error trying to connect" three times over; the innermost one says why.
fn innermost(error: hyper_util::client::legacy::Error) -> Arc<dyn Error + Send + Sync> {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = inner.to_string();
        cause = inner.source();
    }
    Arc::from(Box::<dyn Error + Send + Sync>::from(text))
}

#[derive(Clone)]
struct Connector {
    tcp: HttpConnector,
    tls: Arc<OnceCell<TlsConnector>>,
    ca_directory: Option<PathBuf>,
    handshake_timeout: Duration,
}

impl Connector {
    async fn connect(mut self, uri: Uri) -> Result<Stream, Box<dyn Error + Send + Sync>> {
        let is_tls = uri.scheme_str() == Some("https");
        let host = uri
            .host()
            .unwrap_or_default()
            .trim_matches(['[', ']'])
            .to_owned();
        let tcp = tower::Service::call(&mut self.tcp, uri).await?;
        if !is_tls {
            return Ok(Stream::Plain(tcp));
        }
        let tls = self
            .tls
            .get_or_try_init(|| async {
                let directory = self.ca_directory.clone();
                let config =
                    tokio::task::spawn_blocking(move || tls::client_config(directory.as_deref()))
                        .await
                        .map_err(|error| error.to_string())
                        .flatten()?;
                Ok::<_, String>(TlsConnector::from(config))
            })
            .await?;
        let name = rustls::pki_types::ServerName::try_from(host)?;
        let stream =
            tokio::time::timeout(self.handshake_timeout, tls.connect(name, tcp.into_inner()))
                .await
                .map_err(|_| "the TLS handshake took too long")??;
        Ok(Stream::Tls(Box::new(TokioIo::new(stream))))
    }
}

impl tower::Service<Uri> for Connector {
    type Response = Stream;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        tower::Service::poll_ready(&mut self.tcp, context).map_err(Into::into)
    }
    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

enum Stream {
    Plain(TokioIo<TcpStream>),
    Tls(Box<TokioIo<TlsStream<TcpStream>>>),
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        match self {
            Stream::Plain(tcp) => tcp.connected(),
            Stream::Tls(tls) => {
                let (tcp, session) = tls.inner().get_ref();
                let connected = tcp.connected();
                if session.alpn_protocol() == Some(b"h2") {
                    connected.negotiated_h2()
                } else {
                    connected
                }
            }
        }
    }
}

impl Read for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl Write for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(context),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }
    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
