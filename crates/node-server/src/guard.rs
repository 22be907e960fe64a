//! What a request on TCP must be before it reaches a route.
//!
//! The port is on loopback and asks for no credentials, so a web page must not be able to read it: a page's own name may resolve to
//! 127.0.0.1 (DNS rebinding), but then its name stands in `Host`.

use crate::answer;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{StatusCode, header};
use std::net::IpAddr;
use std::sync::Arc;

/// Names under which this node may be asked, beside addresses and `localhost`.
#[derive(Clone)]
pub(crate) struct Names(pub(crate) Arc<str>);

pub(crate) async fn check_host(
    State(node): State<Names>,
    request: Request,
    next: Next,
) -> Response {
    let host = match request.uri().authority() {
        Some(authority) => Some(authority.as_str()),
        None => request
            .headers()
            .get(header::HOST)
            .and_then(|host| host.to_str().ok()),
    };
    match host {
        Some(host) if is_ours(host, &node.0) => next.run(request).await,
        Some(host) => answer::text(
            StatusCode::FORBIDDEN,
            format!(
                "this node is not {host:.100}: ask for it by address, as localhost or by its name"
            ),
        ),
        None => answer::text(StatusCode::BAD_REQUEST, "the request names no host"),
    }
}

fn is_ours(host: &str, node_name: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(""),
        None => host.split(':').next().unwrap_or(""),
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    name.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || name.eq_ignore_ascii_case(node_name)
}

#[cfg(test)]
mod tests {
    use super::is_ours;

    #[test]
    fn only_addresses_and_our_own_names_are_ours() {
        for host in [
            "127.0.0.1:10250",
            "127.0.0.1",
            "[::1]:10250",
            "localhost:10250",
            "LocalHost.",
            "node-1:10250",
        ] {
            assert!(is_ours(host, "node-1"), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil",
            "[evil]:1",
            "node-12",
        ] {
            assert!(!is_ours(host, "node-1"), "{host}");
        }
    }
}
