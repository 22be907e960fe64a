//! Names of images, by the grammar of `github.com/distribution/reference`: `[domain[:port]/]path[:tag][@digest]`, with Docker's
//! defaults (`busybox` is `docker.io/library/busybox:latest`).
//!
//! An [`ImageReference`] that exists is normalised and safe to print, to compare, and to put into a URL.

use crate::digest::Digest;
use crate::error::ImageError;
use std::fmt;
use std::str::FromStr;

const DEFAULT_DOMAIN: &str = "docker.io";
const MAX_NAME: usize = 255;
const MAX_TAG: usize = 128;

/// Where an image is found, with the defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageReference {
    domain: String,
    path: String,
    target: Target,
}

/// What is asked for below the repository. A name with tag and digest means the digest: the tag is said for people only.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    Tag(String),
    Digest(Digest),
}

impl ImageReference {
    /// Reads what a person writes into `image:`. The error is [`ImageError::InvalidName`].
    pub fn parse(text: &str) -> Result<ImageReference, ImageError> {
        parse(text).map_err(|what| ImageError::InvalidName {
            name: text.chars().take(300).collect(),
            what,
        })
    }
    /// The registry as it is named: `docker.io`, `localhost:5000`.
    pub fn domain(&self) -> &str {
        &self.domain
    }
    /// The repository within the registry: `library/busybox`.
    pub fn path(&self) -> &str {
        &self.path
    }
    pub fn target(&self) -> &Target {
        &self.target
    }
    /// `domain/path`, without tag and digest.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }
    /// The same repository, another target.
    pub fn with_digest(&self, digest: Digest) -> ImageReference {
        ImageReference {
            target: Target::Digest(digest),
            ..self.clone()
        }
    }
}

impl FromStr for ImageReference {
    type Err = ImageError;
    fn from_str(text: &str) -> Result<Self, ImageError> {
        Self::parse(text)
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            Target::Tag(tag) => write!(f, "{}/{}:{tag}", self.domain, self.path),
            Target::Digest(digest) => write!(f, "{}/{}@{digest}", self.domain, self.path),
        }
    }
}

fn parse(text: &str) -> Result<ImageReference, &'static str> {
    if text.is_empty() {
        return Err("invalid reference format: it is empty");
    }
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (
            rest,
            Some(
                digest
                    .parse::<Digest>()
                    .map_err(|_| "invalid reference format: what follows @ is not a digest")?,
            ),
        ),
        None => (text, None),
    };
    // The tag's colon stands after the last slash; an earlier one belongs to the port.
    let after_slash = rest.rfind('/').map_or(0, |at| at + 1);
    let (name, tag) = match rest[after_slash..].find(':') {
        Some(colon) => {
            let colon = after_slash + colon;
            (&rest[..colon], Some(&rest[colon + 1..]))
        }
        None => (rest, None),
    };
    if let Some(tag) = tag {
        check_tag(tag)?;
    }
    let (domain, path) = split_domain(name);
    if domain != DEFAULT_DOMAIN {
        check_domain(domain)?;
    }
    let path = if domain == DEFAULT_DOMAIN && !path.contains('/') {
        format!("library/{path}")
    } else {
        path.to_owned()
    };
    if path.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err("invalid reference format: repository name must be lowercase");
    }
    if name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err("invalid repository name: it cannot be 64 hex digits");
    }
    if !path.split('/').all(is_path_component) {
        return Err("invalid reference format");
    }
    if domain.len() + 1 + path.len() > MAX_NAME {
        return Err("repository name must not be more than 255 characters");
    }
    let target = match (digest, tag) {
        (Some(digest), _) => Target::Digest(digest),
        (None, Some(tag)) => Target::Tag(tag.to_owned()),
        (None, None) => Target::Tag("latest".to_owned()),
    };
    Ok(ImageReference {
        domain: domain.to_owned(),
        path,
        target,
    })
}

/// Docker's rule: the first part is a registry if it could not be part of a path, or is `localhost`.
fn split_domain(name: &str) -> (&str, &str) {
    let (domain, path) = match name.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.bytes().any(|b| b.is_ascii_uppercase()) =>
        {
            (first, rest)
        }
        _ => (DEFAULT_DOMAIN, name),
    };
    if domain == "index.docker.io" {
        (DEFAULT_DOMAIN, path)
    } else {
        (domain, path)
    }
}

fn check_domain(domain: &str) -> Result<(), &'static str> {
    const BAD: &str = "invalid reference format: the registry is not a host name";
    let (host, port) = if let Some(rest) = domain.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or(BAD)?;
        host.parse::<std::net::Ipv6Addr>().map_err(|_| BAD)?;
        match rest.strip_prefix(':') {
            Some(port) => (None, Some(port)),
            None if rest.is_empty() => (None, None),
            None => return Err(BAD),
        }
    } else {
        match domain.split_once(':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(domain), None),
        }
    };
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    if host.is_some_and(|host| !host.split('.').all(is_label)) {
        return Err(BAD);
    }
    if port.is_some_and(|port| {
        port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) || port.parse::<u16>().is_err()
    }) {
        return Err("invalid reference format: the registry's port is not a number below 65536");
    }
    Ok(())
}

fn check_tag(tag: &str) -> Result<(), &'static str> {
    let good = !tag.is_empty()
        && tag.len() <= MAX_TAG
        && !tag.starts_with(['.', '-'])
        && tag
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    if good {
        Ok(())
    } else {
        Err("invalid reference format: the tag is not one to 128 of A-Z a-z 0-9 _ . -")
    }
}

/// `[a-z0-9]+` joined by `.`, `_`, `__` or any number of `-`.
fn is_path_component(component: &str) -> bool {
    let mut rest = component;
    loop {
        let word = rest
            .bytes()
            .take_while(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9'))
            .count();
        if word == 0 {
            return false;
        }
        rest = &rest[word..];
        if rest.is_empty() {
            return true;
        }
        let dashes = rest.bytes().take_while(|b| *b == b'-').count();
        let separator = if dashes > 0 {
            dashes
        } else if rest.starts_with("__") {
            2
        } else if rest.starts_with(['_', '.']) {
            1
        } else {
            return false;
        };
        rest = &rest[separator..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn dockers_defaults_are_filled_in() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        for (text, full) in [
            ("busybox", "docker.io/library/busybox:latest".to_owned()),
            ("busybox:1.36", "docker.io/library/busybox:1.36".into()),
            ("user/app", "docker.io/user/app:latest".into()),
            (
                "docker.io/busybox",
                "docker.io/library/busybox:latest".into(),
            ),
            (
                "index.docker.io/busybox",
                "docker.io/library/busybox:latest".into(),
            ),
            ("localhost/x", "localhost/x:latest".into()),
            ("localhost:5000/x", "localhost:5000/x:latest".into()),
            ("localhost:5000/x:1", "localhost:5000/x:1".into()),
            ("127.0.0.1:5000/a/b/c:v1", "127.0.0.1:5000/a/b/c:v1".into()),
            ("[::1]:5000/x", "[::1]:5000/x:latest".into()),
            ("Registry/x", "Registry/x:latest".into()),
            (
                "registry.k8s.io/pause:3.10",
                "registry.k8s.io/pause:3.10".into(),
            ),
            ("a__b/c--d/e.f:T_1", "docker.io/a__b/c--d/e.f:T_1".into()),
            (
                &format!("busybox@{digest}"),
                format!("docker.io/library/busybox@{digest}"),
            ),
            (&format!("x.io/y:1.2@{digest}"), format!("x.io/y@{digest}")),
        ] {
            assert_eq!(
                ImageReference::parse(text).unwrap().to_string(),
                full,
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let hex = "a".repeat(64);
        for bad in [
            "",
            " busybox",
            "busybox ",
            "Busybox",
            "busy box",
            ":tag",
            "busybox:",
            "busybox:.tag",
            "busybox:a/b",
            "a//b",
            "/a",
            "a/",
            "a:b:c",
            "x@",
            "x@sha256:1234",
            "x@@",
            "-a",
            "a-",
            "a___b",
            "a..b",
            "../etc/passwd",
            "x.io:99999/a",
            "x.io:/a",
            "x.io:5000",
            "[::1/a",
            "[zz]:1/a",
            "-x.io/a",
            "http://x.io/a",
            "x.io/a?b",
            "x.io/ä",
            "x\n",
            &hex,
            &format!("x:{}", "t".repeat(129)),
            &format!("x.io/{}", "p".repeat(260)),
        ] {
            let result = ImageReference::parse(bad);
            // `x.io:5000` is a valid name with a tag, as Docker reads it; everything else fails.
            if bad == "x.io:5000" {
                assert_eq!(result.unwrap().to_string(), "docker.io/library/x.io:5000");
            } else {
                assert!(
                    matches!(result, Err(ImageError::InvalidName { .. })),
                    "{bad:?}: {result:?}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn a_normalised_reference_reads_back_as_itself(text in "([a-zA-Z0-9.:\\[\\]-]{1,12}/)?[a-z0-9._/-]{1,20}(:[\\w.-]{1,8})?") {
            if let Ok(reference) = ImageReference::parse(&text) {
                prop_assert_eq!(ImageReference::parse(&reference.to_string()).unwrap(), reference);
            }
        }

        #[test]
        fn no_text_makes_the_parser_panic_or_let_through_a_character_of_a_url(text in ".{0,80}") {
            if let Ok(reference) = ImageReference::parse(&text) {
                prop_assert!(!reference.to_string().contains(['?', '#', '%', ' ', '\\', '\n', '\0']));
                prop_assert!(!reference.path().split('/').any(|part| part == ".." || part == "." || part.is_empty()));
            }
        }

        #[test]
        fn every_name_of_the_grammar_is_accepted(
            domain in "([a-z0-9]{1,5}\\.[a-z]{2,3}(:[1-9][0-9]{0,3})?/)?",
            path in "[a-z0-9]{1,6}((_|__|-{1,3})[a-z0-9]{1,4}){0,2}(/[a-z0-9]{1,6}(\\.[a-z0-9]{1,3})?){0,2}",
            tag in "(:[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,10})?",
        ) {
            let text = format!("{domain}{path}{tag}");
            prop_assert!(ImageReference::parse(&text).is_ok(), "{}", text);
        }
    }
}
