//! Against servers on loopback that say what they are told to.

use super::*;
use crate::dial;
use k8s_openapi::api::core::v1::HTTPHeader;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use rustls::pki_types::PrivateKeyDer;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

const SOON: Duration = Duration::from_secs(5);

/// Answers one connection after the other with these texts; gives the port and the heads of the requests.
async fn server(answers: Vec<String>) -> (u16, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, heads) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            tell.send(head(&mut stream).await).unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        }
    });
    (port, heads)
}

async fn head<S: AsyncRead + Unpin>(stream: &mut S) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

fn answer(status: &str, more: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{more}\r\n{body}")
}

fn get(port: u16, path: &str) -> HTTPGetAction {
    HTTPGetAction {
        port: IntOrString::Int(port.into()),
        path: Some(path.to_owned()),
        ..HTTPGetAction::default()
    }
}

fn request(action: &HTTPGetAction) -> HttpGet {
    HttpGet::new(action, &Container::default(), "127.0.0.1", Asker::Probe).unwrap()
}

async fn ask(answers: Vec<String>) -> Answer {
    let (port, _heads) = server(answers).await;
    request(&get(port, "/")).check(SOON).await
}

#[tokio::test]
async fn the_status_decides() {
    for (status, expected) in [
        ("200 OK", Answer::Success),
        ("204 No Content", Answer::Success),
        (
            "304 Not Modified",
            Answer::Warning("Probe terminated redirects, Response body: ".into()),
        ),
        (
            "404 Not Found",
            Answer::Failure("HTTP probe failed with statuscode: 404".into()),
        ),
        (
            "500 Internal Server Error",
            Answer::Failure("HTTP probe failed with statuscode: 500".into()),
        ),
    ] {
        assert_eq!(ask(vec![answer(status, "", "")]).await, expected);
    }
}

#[tokio::test]
async fn a_request_looks_like_a_kubelets() {
    let (port, mut heads) = server(vec![answer("200 OK", "", ""), answer("200 OK", "", "")]).await;
    let bare = request(&get(port, "/healthz?deep=1"));
    assert_eq!(bare.check(SOON).await, Answer::Success);
    let head = heads.recv().await.unwrap();
    let mut lines: Vec<&str> = head.trim_end().lines().collect();
    lines[1..].sort_unstable();
    let host = format!("Host: 127.0.0.1:{port}");
    let expected = [
        "GET /healthz?deep=1 HTTP/1.1",
        "Accept: */*",
        "Connection: close",
        &host,
        "User-Agent: kube-probe/1.36",
    ];
    assert_eq!(lines, expected);

    let header = |name: &str, value: &str| HTTPHeader {
        name: name.into(),
        value: value.into(),
    };
    let own = request(&HTTPGetAction {
        http_headers: Some(vec![
            header("Host", "example.org"),
            header("user-agent", "me"),
            header("Accept", ""),
            header("X-A", "1"),
            header("X-A", "2"),
        ]),
        ..get(port, "/")
    });
    assert_eq!(own.check(SOON).await, Answer::Success);
    let head = heads.recv().await.unwrap();
    let mut lines: Vec<&str> = head.trim_end().lines().collect();
    lines[1..].sort_unstable();
    let expected = [
        "GET / HTTP/1.1",
        "Connection: close",
        "Host: example.org",
        "User-Agent: me",
        "X-A: 1",
        "X-A: 2",
    ];
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn a_redirect_is_followed_on_its_host_only() {
    let to = |location: &str| answer("302 Found", &format!("Location: {location}\r\n"), "moved");
    let here = ask(vec![to("/there"), answer("200 OK", "", "")]).await;
    assert_eq!(here, Answer::Success);
    let failing = ask(vec![to("there"), answer("503 Unavailable", "", "")]).await;
    let failure = "HTTP probe failed with statuscode: 503";
    assert_eq!(failing, Answer::Failure(failure.into()));
    let elsewhere = ask(vec![to("http://0.0.0.0/")]).await;
    let warning = "Probe terminated redirects, Response body: moved";
    assert_eq!(elsewhere, Answer::Warning(warning.into()));

    let (port, _heads) = server(vec![to("/"); 10]).await;
    let round = request(&get(port, "/")).check(SOON).await;
    let failure = format!("Get \"http://127.0.0.1:{port}/\": stopped after 10 redirects");
    assert_eq!(round, Answer::Failure(failure));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_a_failure() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let refused = format!("dial tcp 127.0.0.1:{port}: connect: connection refused");
    let http = request(&get(port, "/x")).check(SOON).await;
    let failure = format!("Get \"http://127.0.0.1:{port}/x\": {refused}");
    assert_eq!(http, Answer::Failure(failure));
    let tcp = dial::check("127.0.0.1", port, SOON).await;
    assert_eq!(tcp, Answer::Failure(refused));
}

#[tokio::test]
async fn a_server_that_says_nothing_or_nonsense_is_a_failure() {
    let (port, _heads) = server(vec![String::new(), "nonsense\r\n\r\n".into()]).await;
    for words in [
        "EOF",
        "net/http: HTTP/1.x transport connection broken: malformed HTTP response",
    ] {
        let failure = format!("Get \"http://127.0.0.1:{port}/\": {words}");
        assert_eq!(
            request(&get(port, "/")).check(SOON).await,
            Answer::Failure(failure)
        );
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let silent = request(&get(port, "/"))
        .check(Duration::from_millis(50))
        .await;
    let failure = format!(
        "Get \"http://127.0.0.1:{port}/\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
    );
    assert_eq!(silent, Answer::Failure(failure));
    assert_eq!(dial::check("127.0.0.1", port, SOON).await, Answer::Success);
}

#[tokio::test]
async fn of_a_long_body_no_more_is_read_than_needed() {
    let long = answer("200 OK", "", &"x".repeat(3 * MOST_OUTPUT));
    let (port, _heads) = server(vec![long]).await;
    let response = request(&get(port, "/")).send(SOON).await.unwrap();
    assert_eq!((response.status, response.body.len()), (200, MOST_OUTPUT));
    let broken = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort";
    let broken = ask(vec![broken.into()]).await;
    assert!(
        matches!(broken, Answer::Error(ErrorResult::Failure, _)),
        "{broken:?}"
    );
}

/// A server with a certificate that nobody vouches for, which offers these protocols.
fn acceptor(protocols: &[&[u8]]) -> tokio_rustls::TlsAcceptor {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    tokio_rustls::TlsAcceptor::from(Arc::new(config))
}

fn https(port: u16) -> HttpGet {
    request(&HTTPGetAction {
        scheme: Some("HTTPS".into()),
        ..get(port, "/healthz")
    })
}

#[tokio::test]
async fn a_server_that_speaks_http_2_only_is_asked_so() {
    let acceptor = acceptor(&[b"h2"]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, mut asked) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let stream = acceptor.accept(stream).await.unwrap();
        let answer = hyper::service::service_fn(move |request: http::Request<Incoming>| {
            tell.send((request.uri().to_string(), request.headers().clone()))
                .unwrap();
            async { Ok::<_, std::convert::Infallible>(Response::new(String::from("ok"))) }
        });
        // the client leaves without a word
        let _ = hyper::server::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new())
            .serve_connection(hyper_util::rt::TokioIo::new(stream), answer)
            .await;
    });
    assert_eq!(https(port).check(SOON).await, Answer::Success);
    let (uri, headers) = asked.recv().await.unwrap();
    assert_eq!(uri, format!("https://127.0.0.1:{port}/healthz"));
    assert_eq!(headers["user-agent"], "kube-probe/1.36");
}

#[tokio::test]
async fn a_certificate_of_nobody_will_do() {
    let acceptor = acceptor(&[]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = acceptor.accept(stream).await.unwrap();
        head(&mut stream).await;
        let answer = answer("200 OK", "", "");
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
    });
    assert_eq!(https(port).check(SOON).await, Answer::Success);

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let answer = answer("400 Bad Request", "", "");
        stream.write_all(answer.as_bytes()).await.unwrap();
        // what the client says is read, or the end would be a reset
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
    });
    let failure = format!(
        "Get \"https://127.0.0.1:{port}/healthz\": http: server gave HTTP response to HTTPS client"
    );
    assert_eq!(https(port).check(SOON).await, Answer::Failure(failure));
}

#[test]
fn what_cannot_be_sent_is_said() {
    let bad = HTTPGetAction {
        port: IntOrString::String("web".into()),
        ..HTTPGetAction::default()
    };
    let error = HttpGet::new(&bad, &Container::default(), "a", Asker::Hook);
    assert_eq!(
        error,
        Err("strconv.Atoi: parsing \"web\": invalid syntax".into())
    );
}

#[test]
fn without_tls_nobody_says_who_he_is() {
    let action = HTTPGetAction {
        scheme: Some("HTTPS".into()),
        http_headers: Some(vec![HTTPHeader {
            name: "Authorization".into(),
            value: "Bearer secret".into(),
        }]),
        ..get(1, "/")
    };
    let secret = HttpGet::new(&action, &Container::default(), "a", Asker::Hook).unwrap();
    assert!(secret.headers.contains_key(AUTHORIZATION));
    let plain = secret.without_tls();
    assert!(!plain.headers.contains_key(AUTHORIZATION) && !plain.url.tls);
}
