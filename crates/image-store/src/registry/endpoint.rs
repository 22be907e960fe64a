//! Where a registry is spoken to: scheme, host and port, and what a redirect may change about them.

use crate::config::RegistryConfig;
use crate::error::RegistryError;
use crate::reference::ImageReference;
use http::Uri;
use std::net::{IpAddr, Ipv4Addr};

/// One place that may hold an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// `https://host[:port]` with an optional path, no slash at the end.
    pub(crate) base: String,
    /// `host[:port]`: what credentials are looked up by.
    pub(crate) host: String,
    /// A stand-in: told whom it stands in for, tried once, never given the pod's credentials.
    pub(crate) mirror_of: Option<String>,
}

impl Endpoint {
    /// The endpoints for `reference`, in the order in which they are asked.
    pub(crate) fn of(
        reference: &ImageReference,
        config: &RegistryConfig,
    ) -> Result<Vec<Endpoint>, RegistryError> {
        let mut endpoints = Vec::new();
        for mirror in config.mirrors.get(reference.domain()).into_iter().flatten() {
            endpoints.push(Endpoint::mirror(mirror, reference.domain(), config)?);
        }
        // Docker Hub's name is not its address.
        let host = match reference.domain() {
            "docker.io" => "registry-1.docker.io",
            host => host,
        };
        endpoints.push(Endpoint {
            base: format!("{}://{host}", scheme_for(host, config)),
            host: host.to_owned(),
            mirror_of: None,
        });
        Ok(endpoints)
    }

    fn mirror(text: &str, of: &str, config: &RegistryConfig) -> Result<Endpoint, RegistryError> {
        let base = if text.contains("://") {
            text.trim_end_matches('/').to_owned()
        } else {
            let host = text.split('/').next().unwrap_or(text);
            format!(
                "{}://{}",
                scheme_for(host, config),
                text.trim_end_matches('/')
            )
        };
        let bad = || RegistryError::Protocol {
            url: text.to_owned(),
            what: "this mirror is neither host[:port] nor an http or https URL".into(),
        };
        let uri: Uri = base.parse().map_err(|_| bad())?;
        let host = uri.authority().ok_or_else(bad)?.to_string();
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.query().is_some() {
            return Err(bad());
        }
        Ok(Endpoint {
            base,
            host,
            mirror_of: Some(of.to_owned()),
        })
    }

    /// The address of something in repository `path`.
    pub(crate) fn url(&self, path: &str, rest: &str) -> String {
        let ns = match &self.mirror_of {
            Some(registry) => format!("?ns={registry}"),
            None => String::new(),
        };
        format!("{}/v2/{path}/{rest}{ns}", self.base)
    }
}

fn scheme_for(host: &str, config: &RegistryConfig) -> &'static str {
    if config.insecure.contains(host) || is_loopback(name_of(host)) {
        "http"
    } else {
        "https"
    }
}

/// The host without its port and without brackets.
fn name_of(authority: &str) -> &str {
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest);
    }
    match authority.rsplit_once(':') {
        Some((host, _)) => host,
        None => authority,
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.to_canonical().is_loopback())
}

fn is_link_local(host: &str) -> bool {
    match host.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(IpAddr::V4(address)) => address.is_link_local() || address == Ipv4Addr::UNSPECIFIED,
        Ok(IpAddr::V6(address)) => address.is_unicast_link_local() || address.is_unspecified(),
        Err(_) => false,
    }
}

/// Scheme, host and port: what credentials belong to.
pub(crate) fn origin(uri: &Uri) -> Option<(String, String, u16)> {
    let scheme = uri.scheme_str()?.to_ascii_lowercase();
    let host = uri.host()?.to_ascii_lowercase();
    let port = uri
        .port_u16()
        .unwrap_or(if scheme == "http" { 80 } else { 443 });
    Some((scheme, host, port))
}

/// Where a redirect leads, or why it is not followed: a registry may hand a blob over to another server, but it may not make this
/// node speak without TLS, to itself, or to the addresses at which clouds serve their secrets.
pub(crate) fn redirect_target(from: &Uri, location: &str) -> Result<Uri, String> {
    let target: Uri = if location.starts_with('/') && !location.starts_with("//") {
        let mut parts = from.clone().into_parts();
        parts.path_and_query = Some(location.parse().map_err(|_| "its target is no URL")?);
        Uri::from_parts(parts).map_err(|_| "its target is no URL")?
    } else {
        location.parse().map_err(|_| "its target is no URL")?
    };
    let (from_scheme, from_host, _) = origin(from).ok_or("its origin is no URL")?;
    let (scheme, host, _) = origin(&target).ok_or("its target is not an absolute URL")?;
    if scheme != "https" && scheme != "http" {
        return Err(format!("it leads to {scheme}, which is not http or https"));
    }
    if from_scheme == "https" && scheme == "http" {
        return Err("it leads from https to http".into());
    }
    if target
        .authority()
        .is_some_and(|authority| authority.as_str().contains('@'))
    {
        return Err("its target carries credentials".into());
    }
    let bare = |host: &str| name_of(host).to_owned();
    let (from_host, host) = (bare(&from_host), host.trim_matches(['[', ']']).to_owned());
    if is_loopback(&host) && !is_loopback(from_host.trim_matches(['[', ']'])) {
        return Err("it leads to this machine".into());
    }
    if is_link_local(&host) && host != from_host {
        return Err("it leads to a link-local address".into());
    }
    Ok(target)
}

/// Whether a token may be fetched from `realm` for a registry at `base`: never less protected than the registry itself.
pub(crate) fn realm_allowed(base: &str, realm: &Uri) -> bool {
    match realm.scheme_str() {
        Some("https") => true,
        Some("http") => base.starts_with("http://"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(name: &str, config: &RegistryConfig) -> Vec<String> {
        Endpoint::of(&ImageReference::parse(name).unwrap(), config)
            .unwrap()
            .into_iter()
            .map(|endpoint| endpoint.url("p", "tags"))
            .collect()
    }

    #[test]
    fn loopback_and_insecure_registries_are_spoken_to_plainly() {
        let mut config = RegistryConfig::default();
        config.insecure.insert("lan:5000".into());
        for (name, url) in [
            ("localhost:5000/x", "http://localhost:5000/v2/p/tags"),
            ("localhost/x", "http://localhost/v2/p/tags"),
            ("127.1.2.3/x", "http://127.1.2.3/v2/p/tags"),
            ("[::1]:5000/x", "http://[::1]:5000/v2/p/tags"),
            ("lan:5000/x", "http://lan:5000/v2/p/tags"),
            ("lan:5001/x", "https://lan:5001/v2/p/tags"),
            ("busybox", "https://registry-1.docker.io/v2/p/tags"),
            (
                "localhost.example.com/x",
                "https://localhost.example.com/v2/p/tags",
            ),
        ] {
            assert_eq!(endpoints(name, &config), [url], "{name}");
        }
    }

    #[test]
    fn mirrors_come_first_and_are_told_whom_they_mirror() {
        let mut config = RegistryConfig::default();
        config.mirrors.insert(
            "docker.io".into(),
            vec!["localhost:5000".into(), "https://m.example/hub/".into()],
        );
        assert_eq!(
            endpoints("busybox", &config),
            [
                "http://localhost:5000/v2/p/tags?ns=docker.io",
                "https://m.example/hub/v2/p/tags?ns=docker.io",
                "https://registry-1.docker.io/v2/p/tags",
            ]
        );
        assert_eq!(endpoints("quay.io/x", &config).len(), 1);
        config.mirrors.insert("x.io".into(), vec!["ftp://a".into()]);
        assert!(Endpoint::of(&ImageReference::parse("x.io/a").unwrap(), &config).is_err());
    }

    #[test]
    fn redirects_that_lead_astray_are_refused() {
        for (from, location, leads) in [
            ("https://r.io/v2/a", "/v2/b", Some("https://r.io/v2/b")),
            (
                "https://r.io/v2/a",
                "https://cdn.io/b?sig=1",
                Some("https://cdn.io/b?sig=1"),
            ),
            (
                "http://127.0.0.1:1/a",
                "http://127.0.0.1:2/b",
                Some("http://127.0.0.1:2/b"),
            ),
            (
                "http://lan:5000/a",
                "https://cdn.io/b",
                Some("https://cdn.io/b"),
            ),
            ("https://r.io/a", "http://r.io/b", None),
            ("https://r.io/a", "https://127.0.0.1/b", None),
            ("https://r.io/a", "https://localhost/b", None),
            ("https://r.io/a", "https://[::1]/b", None),
            ("https://r.io/a", "https://[::ffff:127.0.0.1]/b", None),
            ("http://lan/a", "http://169.254.169.254/latest", None),
            ("http://lan/a", "http://[fe80::1]/x", None),
            ("https://r.io/a", "file:///etc/passwd", None),
            ("https://r.io/a", "ftp://r.io/b", None),
            ("https://r.io/a", "https://user:pw@r.io/b", None),
            ("https://r.io/a", "//evil/b", None),
            ("https://r.io/a", "relative", None),
            ("https://r.io/a", "", None),
        ] {
            let target = redirect_target(&from.parse().unwrap(), location);
            assert_eq!(
                target.as_ref().ok().map(ToString::to_string).as_deref(),
                leads,
                "{from} -> {location}: {target:?}"
            );
        }
    }
}
