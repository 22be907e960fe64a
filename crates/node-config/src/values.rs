//! From a node of YAML to the value of a setting. Each answers with a message for people.

use crate::units::{ByteSize, parse_duration};
use located_yaml::{Kind, Node};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

pub(crate) type Parsed<T> = Result<T, String>;

fn expected<T>(what: &str, node: &Node) -> Parsed<T> {
    let quotes =
        if what.starts_with("a text") && matches!(node.kind, Kind::Number(_) | Kind::Bool(_)) {
            "; put it in quotes"
        } else {
            ""
        };
    Err(format!(
        "expected {what}, found {}{quotes}",
        node.describe()
    ))
}

pub(crate) fn text(node: &Node) -> Parsed<String> {
    match &node.kind {
        Kind::Text(text) if text.contains('\0') => {
            Err("must not contain a NUL character".to_owned())
        }
        Kind::Text(text) => Ok(text.clone()),
        _ => expected("a text", node),
    }
}

pub(crate) fn flag(node: &Node) -> Parsed<bool> {
    match &node.kind {
        Kind::Bool(value) => Ok(*value),
        _ => expected("true or false", node),
    }
}

pub(crate) fn integer(node: &Node) -> Parsed<i64> {
    match &node.kind {
        Kind::Number(number) => number
            .as_i64()
            .ok_or_else(|| format!("expected an integer, found {number}")),
        _ => expected("an integer", node),
    }
}

/// An integer within bounds, both included.
pub(crate) fn within<T: TryFrom<i64>>(node: &Node, least: i64, most: i64) -> Parsed<T> {
    let value = integer(node)?;
    let range = if most == i64::from(u32::MAX) {
        format!("must be {least} or more")
    } else {
        format!("must be between {least} and {most}")
    };
    if !(least..=most).contains(&value) {
        return Err(format!("{range}, not {value}"));
    }
    T::try_from(value).map_err(|_| range)
}

pub(crate) fn count(node: &Node, least: i64) -> Parsed<u32> {
    within(node, least, i64::from(u32::MAX))
}

pub(crate) fn duration(node: &Node) -> Parsed<Duration> {
    match &node.kind {
        Kind::Text(text) => parse_duration(text),
        _ => expected("a text such as \"20s\"", node),
    }
}

pub(crate) fn duration_within(node: &Node, least: &str, most: &str) -> Parsed<Duration> {
    let value = duration(node)?;
    if value < parse_duration(least)? || value > parse_duration(most)? {
        return Err(format!("must be between {least} and {most}"));
    }
    Ok(value)
}

pub(crate) fn size(node: &Node) -> Parsed<ByteSize> {
    match &node.kind {
        Kind::Text(text) => ByteSize::parse(text),
        Kind::Number(number) => ByteSize::parse(&number.to_string()),
        _ => expected("a size such as \"10Mi\"", node),
    }
}

/// A path from the root: what it names must not depend on where the agent was started.
pub(crate) fn absolute_path(node: &Node) -> Parsed<PathBuf> {
    let path = text(node)?;
    if path.starts_with('/') {
        Ok(path.into())
    } else {
        Err(format!("must be an absolute path, not {path:?}"))
    }
}

pub(crate) fn address(node: &Node) -> Parsed<IpAddr> {
    let text = text(node)?;
    text.parse()
        .map_err(|_| format!("{text:?} is not an IP address"))
}

pub(crate) fn socket_address(node: &Node) -> Parsed<SocketAddr> {
    let text = text(node)?;
    let error = || format!("{text:?} is not an address with a port, such as \"127.0.0.1:10250\"");
    text.parse().map_err(|_| error())
}

/// The syntax only; which networks can hold pods is for the network to say.
pub(crate) fn cidr(node: &Node) -> Parsed<String> {
    let text = text(node)?;
    let good = text.split_once('/').is_some_and(|(address, prefix)| {
        let bits = match address.parse::<IpAddr>() {
            Ok(IpAddr::V4(_)) => 32,
            Ok(IpAddr::V6(_)) => 128,
            Err(_) => return false,
        };
        prefix.parse::<u8>().is_ok_and(|p| p <= bits)
    });
    if good {
        Ok(text)
    } else {
        Err(format!(
            "{text:?} is not a network such as \"10.88.0.0/16\""
        ))
    }
}

/// An RFC 1123 subdomain.
pub(crate) fn node_name(node: &Node) -> Parsed<String> {
    let text = text(node)?;
    check_node_name(&text)?;
    Ok(text)
}

pub(crate) fn check_node_name(text: &str) -> Parsed<()> {
    let alnum = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let label = |part: &str| {
        part.bytes().all(|b| alnum(b) || b == b'-')
            && part.bytes().next().is_some_and(alnum)
            && part.bytes().last().is_some_and(alnum)
    };
    if text.len() <= 253 && text.split('.').all(label) {
        Ok(())
    } else {
        Err(format!(
            "{text:?} is no name for a node: it consists of lower case letters, digits, '-' and '.', with a letter or digit at both ends of each part"
        ))
    }
}

pub(crate) fn list<T>(node: &Node, item: fn(&Node) -> Parsed<T>) -> Parsed<Vec<T>> {
    match &node.kind {
        Kind::List(items) => items.iter().map(item).collect(),
        _ => expected("a list", node),
    }
}
