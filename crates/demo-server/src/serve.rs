//! The server: one thread per connection, one request per connection, bounded in what it reads.

use crate::lines::say;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    port: u16,
    greeting: String,
}

impl Options {
    pub(crate) fn parse(words: &[&str]) -> Result<Self, String> {
        let mut options = Self {
            port: 8080,
            greeting: std::env::var("GREETING").unwrap_or_else(|_| "hello".to_owned()),
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let value = words
                .next()
                .ok_or_else(|| format!("{word}: a value is missing"))?;
            match *word {
                "--port" => {
                    options.port = value
                        .parse()
                        .map_err(|_| format!("--port {value}: not a port"))?;
                }
                "--greeting" => options.greeting = (*value).to_owned(),
                _ => return Err(format!("{word}: not an option of `serve`")),
            }
        }
        Ok(options)
    }
}

const MAX_REQUEST: u64 = 16 * 1024;
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn serve(options: &Options) -> Result<(), String> {
    let listener = listen(options.port)?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    say(&format!("listening on {address}"));
    std::thread::spawn(|| {
        loop {
            std::thread::sleep(Duration::from_secs(1));
            say("tick");
        }
    });
    for connection in listener.incoming() {
        let Ok(connection) = connection else { continue };
        let greeting = options.greeting.clone();
        std::thread::spawn(move || {
            // What a client does wrong ends its connection and nothing else.
            let _ = answer(connection, &greeting);
        });
    }
    Ok(())
}

/// Both families where the machine has both.
fn listen(port: u16) -> Result<TcpListener, String> {
    TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))
        .or_else(|_| TcpListener::bind(("0.0.0.0", port)))
        .map_err(|error| format!("could not listen on port {port}: {error}"))
}

fn answer(connection: TcpStream, greeting: &str) -> std::io::Result<()> {
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    let client = connection.peer_addr()?;
    let mut lines = BufReader::new((&connection).take(MAX_REQUEST)).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    // The headers are read to their end: closing on unread bytes would reset the connection under the answer.
    for header in lines {
        if header?.is_empty() {
            break;
        }
    }
    let path = request.split_whitespace().nth(1).unwrap_or("/").to_owned();
    let (status, body) = page(&path, greeting, client);
    say(&format!("{client} {request:?} {status}"));
    write!(
        &connection,
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

fn page(path: &str, greeting: &str, client: SocketAddr) -> (&'static str, String) {
    match path {
        "/" => ("200 OK", self_portrait(greeting, client)),
        "/healthz" => ("200 OK", "ok\n".to_owned()),
        "/env" => {
            let mut lines: Vec<_> = std::env::vars()
                .map(|(k, v)| format!("{k}={v}\n"))
                .collect();
            lines.sort();
            ("200 OK", lines.concat())
        }
        _ => ("404 Not Found", format!("{path}: nothing is here\n")),
    }
}

fn self_portrait(greeting: &str, client: SocketAddr) -> String {
    let told = |name: &str| std::env::var(name).unwrap_or_else(|_| "(not told)".to_owned());
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!(
        "{greeting} from pod {} at {} on node {}\nhostname {}, process {}, you are {client}\n",
        told("POD_NAME"),
        told("POD_IP"),
        told("NODE_NAME"),
        hostname.trim(),
        std::process::id(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_a_wrong_one_is_named() {
        let options = Options::parse(&["--port", "81", "--greeting", "ahoy"]).unwrap();
        assert_eq!((options.port, options.greeting.as_str()), (81, "ahoy"));
        assert_eq!(
            Options::parse(&["--prot", "81"]).unwrap_err(),
            "--prot: not an option of `serve`"
        );
        assert_eq!(
            Options::parse(&["--port"]).unwrap_err(),
            "--port: a value is missing"
        );
        assert_eq!(
            Options::parse(&["--port", "99999"]).unwrap_err(),
            "--port 99999: not a port"
        );
    }

    #[test]
    fn a_client_is_answered_with_a_page_of_the_length_it_was_told() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client
            .write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            .unwrap();
        answer(listener.accept().unwrap().0, "hello").unwrap();
        let mut said = String::new();
        client.read_to_string(&mut said).unwrap();
        assert!(said.starts_with("HTTP/1.1 200 OK\r\n"), "{said}");
        assert!(
            said.ends_with("Content-Length: 3\r\nConnection: close\r\n\r\nok\n"),
            "{said}"
        );
    }
}
