//! Listening and serving.

use crate::node::Node;
use crate::router;
use crate::state::App;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use telemetry::NodeMetrics;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// A client has so long to send a request's head, and so long between requests.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
const MOST_CONNECTIONS: usize = 256;
/// The buffer of one connection, which bounds the head of a request.
const BUFFER: usize = 64 << 10;
/// Answers under way have so long when the server ends.
const ENDING: Duration = Duration::from_secs(1);

#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Where the kubelet's API is; `None` is nowhere.
    pub listen: Option<SocketAddr>,
    /// `<run>/agent.sock`.
    pub socket: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error(
        "cannot listen on {address}: the API asks for no credentials yet, so only loopback addresses are allowed (127.0.0.1 or [::1])"
    )]
    NotLoopback { address: SocketAddr },
    #[error("cannot listen on {address}")]
    Tcp {
        address: SocketAddr,
        source: io::Error,
    },
    #[error("cannot listen on socket {path}")]
    Socket { path: PathBuf, source: io::Error },
}

/// Both listeners, bound and not served yet.
#[derive(Debug)]
pub struct Server {
    tcp: Option<TcpListener>,
    unix: UnixListener,
    socket: PathBuf,
}

impl Server {
    /// Binds both. Who holds the agent's lock may do so: a socket that is there already belongs to a dead agent.
    pub async fn bind(config: &ServerConfig) -> Result<Self, ListenError> {
        let tcp = match config.listen {
            Some(address) if !address.ip().is_loopback() => {
                return Err(ListenError::NotLoopback { address });
            }
            Some(address) => Some(
                TcpListener::bind(address)
                    .await
                    .map_err(|source| ListenError::Tcp { address, source })?,
            ),
            None => None,
        };
        let unix = bind_socket(&config.socket).map_err(|source| ListenError::Socket {
            path: config.socket.clone(),
            source,
        })?;
        Ok(Self {
            tcp,
            unix,
            socket: config.socket.clone(),
        })
    }

    /// Where TCP is served: the port, if the configuration said 0.
    pub fn address(&self) -> Option<SocketAddr> {
        self.tcp.as_ref()?.local_addr().ok()
    }

    /// Serves until `ending` is cancelled, and removes the socket.
    pub async fn serve<N: Node>(
        self,
        node: Arc<N>,
        metrics: Arc<NodeMetrics>,
        ending: CancellationToken,
    ) {
        let app = App {
            node,
            metrics,
            ending: ending.clone(),
        };
        let public = router::public(app.clone());
        let private = router::private(app);
        let tcp = async {
            if let Some(tcp) = self.tcp {
                let accept = || async { tcp.accept().await.map(|(stream, _)| stream) };
                accept_all(accept, public, &ending).await;
            }
        };
        let accept = || async { self.unix.accept().await.map(|(stream, _)| stream) };
        let unix = accept_all(accept, private, &ending);
        tokio::join!(tcp, unix);
        // Gone already is as good.
        let _ = std::fs::remove_file(&self.socket);
    }
}

fn bind_socket(path: &Path) -> io::Result<UnixListener> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => std::fs::remove_file(path)?,
        Ok(_) => return Err(io::ErrorKind::AlreadyExists.into()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(e),
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

async fn accept_all<S, A>(accept: impl Fn() -> A, router: Router, ending: &CancellationToken)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    A: Future<Output = io::Result<S>>,
{
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        // Each of the three may be dropped and asked again without losing anything.
        let place = tokio::select! {
            place = Arc::clone(&places).acquire_owned() => place,
            () = ending.cancelled() => break,
        };
        let Ok(place) = place else { break };
        let accepted = tokio::select! {
            accepted = accept() => accepted,
            () = ending.cancelled() => break,
        };
        match accepted {
            Ok(stream) => {
                let connection = serve_connection(stream, router.clone(), ending.clone());
                connections.spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            Err(error) => {
                // Out of descriptors: those of connections that end come back.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
    let all = async { while connections.join_next().await.is_some() {} };
    // What is not done by then is dropped with the set.
    let _ = tokio::time::timeout(ENDING, all).await;
}

async fn serve_connection<S>(stream: S, router: Router, ending: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .with_upgrades();
    let mut connection = pin!(connection);
    let result = tokio::select! {
        result = &mut connection => result,
        () = ending.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "connection ended");
    }
}
