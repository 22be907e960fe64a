//! The few things about URLs that a probe needs: print one, and follow a `Location`.

use crate::dial::join;
use std::fmt;

/// An `http` or `https` URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Url {
    pub(crate) tls: bool,
    /// Without brackets.
    pub(crate) host: String,
    /// `None`: none is written, and it is the scheme's own.
    pub(crate) port: Option<u16>,
    /// Path and query, with its slash, every byte fit for a request line.
    pub(crate) path: String,
}

impl Url {
    /// `path` is as the manifest has it: it may lack its slash, and it may have a query and a fragment.
    pub(crate) fn new(tls: bool, host: &str, port: u16, path: &str) -> Self {
        let slash = if path.starts_with('/') { "" } else { "/" };
        Self {
            tls,
            host: host.to_owned(),
            port: Some(port),
            path: fit(&format!("{slash}{path}")),
        }
    }
    pub(crate) fn port(&self) -> u16 {
        self.port.unwrap_or(if self.tls { 443 } else { 80 })
    }
    /// What stands in the `Host` header.
    pub(crate) fn authority(&self) -> String {
        match self.port {
            Some(port) => join(&self.host, port),
            None if self.host.contains(':') => format!("[{}]", self.host),
            None => self.host.clone(),
        }
    }
    /// Where a `Location` in the answer from here leads, and whether it names a host; `None` where no probe can follow.
    pub(crate) fn follow(&self, location: &str) -> Option<(Url, bool)> {
        let absolute = |tls, rest: &str| {
            let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            let (authority, path) = rest.split_at(end);
            let authority = authority.rsplit('@').next().unwrap_or_default();
            let (host, port) = split_port(authority)?;
            let slash = if path.starts_with('/') { "" } else { "/" };
            let path = fit(&format!("{slash}{path}"));
            Some((
                Url {
                    tls,
                    host,
                    port,
                    path,
                },
                true,
            ))
        };
        if let Some(rest) = location.strip_prefix("http://") {
            return absolute(false, rest);
        }
        if let Some(rest) = location.strip_prefix("https://") {
            return absolute(true, rest);
        }
        if let Some(rest) = location.strip_prefix("//") {
            return absolute(self.tls, rest);
        }
        if location
            .split(['/', '?', '#'])
            .next()
            .is_some_and(|first| first.contains(':'))
        {
            return None;
        }
        let here = self.path.split('?').next().unwrap_or("/");
        let path = if location.starts_with('/') {
            location.to_owned()
        } else if location.starts_with('?') {
            format!("{here}{location}")
        } else {
            let directory = here.rsplit_once('/').map_or("", |(directory, _)| directory);
            format!("{directory}/{location}")
        };
        let path = fit(&without_dots(&path));
        Some((
            Url {
                path,
                ..self.clone()
            },
            false,
        ))
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

fn split_port(authority: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            (host, rest.strip_prefix(':').unwrap_or_default())
        }
        None => authority.split_once(':').unwrap_or((authority, "")),
    };
    let port = match port {
        "" => None,
        port => Some(port.parse().ok()?),
    };
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

/// Resolves `.` and `..` in the path part (RFC 3986, 5.2.4).
fn without_dots(text: &str) -> String {
    let (path, query) = text.split_at(text.find('?').unwrap_or(text.len()));
    let mut kept: Vec<&str> = Vec::new();
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    for (n, part) in parts.iter().enumerate() {
        let is_last = n + 1 == parts.len();
        match *part {
            "." | ".." => {
                if *part == ".." {
                    kept.pop();
                }
                if is_last {
                    kept.push("");
                }
            }
            part => kept.push(part),
        }
    }
    format!("/{}{query}", kept.join("/"))
}

/// Without its fragment, and what may not stand in a request line is escaped.
fn fit(text: &str) -> String {
    let text = text.split('#').next().unwrap_or_default();
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'!'..=b'~' if !b"\"<>\\^`{|}".contains(&byte) => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_printed_as_a_kubelet_prints_them() {
        for (tls, host, port, path, text) in [
            (false, "10.0.0.1", 80, "/", "http://10.0.0.1:80/"),
            (
                true,
                "10.0.0.1",
                8443,
                "/a?b=c",
                "https://10.0.0.1:8443/a?b=c",
            ),
            (
                false,
                "fd00::1",
                80,
                "healthz",
                "http://[fd00::1]:80/healthz",
            ),
            (false, "a", 1, "/a b#c", "http://a:1/a%20b"),
        ] {
            assert_eq!(Url::new(tls, host, port, path).to_string(), text);
        }
    }

    #[test]
    fn a_location_is_resolved_against_the_url() {
        let here = Url::new(false, "10.0.0.1", 8080, "/a/b?c=d");
        for (location, url) in [
            ("/x", Some("http://10.0.0.1:8080/x")),
            ("x?y", Some("http://10.0.0.1:8080/a/x?y")),
            ("../x", Some("http://10.0.0.1:8080/x")),
            ("?y", Some("http://10.0.0.1:8080/a/b?y")),
            ("//other/x", Some("http://other/x")),
            ("https://10.0.0.1/x", Some("https://10.0.0.1/x")),
            ("http://[fd00::1]:81", Some("http://[fd00::1]:81/")),
            ("ftp://other/", None),
            ("http://:80/", None),
        ] {
            let followed = here.follow(location).map(|(url, _)| url.to_string());
            assert_eq!(followed.as_deref(), url, "{location}");
        }
    }
}
