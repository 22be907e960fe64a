//! The syntaxes of names. Each check answers what is wrong, in the words of `apimachinery/pkg/util/validation`.

use std::net::IpAddr;

fn alnum(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit()
}

fn edges(text: &str, good: fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    bytes.first().is_some_and(|b| good(*b)) && bytes.last().is_some_and(|b| good(*b))
}

fn is_label(text: &str) -> bool {
    edges(text, alnum) && text.bytes().all(|b| alnum(b) || b == b'-')
}

pub(super) fn dns_label(text: &str) -> Option<&'static str> {
    if text.len() > 63 {
        return Some("must be no more than 63 characters");
    }
    (!is_label(text)).then_some(
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric \
         character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
    )
}

pub(super) fn dns_subdomain(text: &str) -> Option<&'static str> {
    if text.len() > 253 {
        return Some("must be no more than 253 characters");
    }
    (!text.split('.').all(is_label)).then_some(
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an \
         alphanumeric character (e.g. 'example.com', regex used for validation is \
         '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
    )
}

/// A search domain: a subdomain that may have underscores and a last dot, or the lone dot.
pub(super) fn search_domain(text: &str) -> Option<&'static str> {
    if text == "." {
        return None;
    }
    let plain = text.strip_suffix('.').unwrap_or(text).replace('_', "a");
    dns_subdomain(&plain)
}

fn name_part(text: &str) -> bool {
    let outer = |b: u8| b.is_ascii_alphanumeric();
    !text.is_empty()
        && text.len() <= 63
        && edges(text, outer)
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

/// The key of a label or annotation: an optional DNS prefix and a name.
pub(super) fn qualified_name(text: &str) -> Option<&'static str> {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    if let Some(prefix) = prefix {
        if prefix.is_empty() {
            return Some("prefix part must be non-empty");
        }
        if let Some(wrong) = dns_subdomain(prefix) {
            return Some(wrong);
        }
    }
    match name.len() {
        0 => Some("name part must be non-empty"),
        64.. => Some("name part must be no more than 63 characters"),
        _ => (!name_part(name)).then_some(
            "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character \
             (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
        ),
    }
}

pub(super) fn label_value(text: &str) -> Option<&'static str> {
    if text.len() > 63 {
        return Some("must be no more than 63 characters");
    }
    (!text.is_empty() && !name_part(text)).then_some(
        "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
         alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is \
         '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
    )
}

/// The name of a port: an IANA service name.
pub(super) fn port_name(text: &str) -> Option<&'static str> {
    if text.len() > 15 {
        return Some("must be no more than 15 characters");
    }
    if !text.bytes().all(|b| alnum(b) || b == b'-') {
        return Some("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
    }
    if !text.bytes().any(|b| b.is_ascii_lowercase()) {
        return Some("must contain at least one letter (a-z)");
    }
    if text.contains("--") {
        return Some("must not contain consecutive hyphens");
    }
    (!edges(text, alnum)).then_some("must not begin or end with a hyphen")
}

pub(super) const SYSCTL: &str =
    "^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";

pub(super) fn is_sysctl(text: &str) -> bool {
    let inner = |b: u8| alnum(b) || b == b'-' || b == b'_';
    let is_segment = |segment: &str| edges(segment, alnum) && segment.bytes().all(inner);
    text.len() <= 253 && text.split(['.', '/']).all(is_segment)
}

pub(super) fn env_name(text: &str) -> Option<&'static str> {
    (!text.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'=')).then_some(
        "a valid environment variable name must consist only of printable ASCII characters other than '='",
    )
}

pub(super) fn header_name(text: &str) -> Option<&'static str> {
    let is_one = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    (!is_one).then_some(
        "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is \
         '[-A-Za-z0-9]+')",
    )
}

pub(super) fn ip(text: &str) -> Option<&'static str> {
    text.parse::<IpAddr>()
        .is_err()
        .then_some("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")
}
