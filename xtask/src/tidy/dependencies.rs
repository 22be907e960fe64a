//! The dependency policy over `cargo metadata`: licences, crates that are banned, big crates that exist twice.
//! cargo-deny answers the same questions after a build of several minutes; see docs/adr/0003.

use super::{Findings, members};
use cargo_metadata::Metadata;
use std::collections::{BTreeMap, BTreeSet};

/// A licence expression must be satisfiable from these.
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    // Mozilla's list of root certificates (webpki-roots): data.
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MPL-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Never in the tree, and why.
const BANNED: &[(&str, &str)] = &[
    (
        "openssl",
        "TLS is rustls with ring: no C library at run time",
    ),
    (
        "openssl-sys",
        "TLS is rustls with ring: no C library at run time",
    ),
    (
        "native-tls",
        "TLS is rustls with ring: no C library at run time",
    ),
    (
        "aws-lc-sys",
        "needs cmake and minutes; ring is the provider",
    ),
    ("serde_yaml", "unmaintained; serde-saphyr reads YAML"),
    ("serde_yml", "unsound; serde-saphyr reads YAML"),
    (
        "libseccomp-sys",
        "filters are compiled here; no C library at run time",
    ),
    ("rustables", "GPL"),
    ("spdy-mux", "GPL"),
    ("chrono", "jiff is the time library"),
];

/// Big enough that a second version costs build time and binary size.
const ONCE: &[&str] = &[
    "axum",
    "clap",
    "h2",
    "http",
    "hyper",
    "hyper-util",
    "k8s-openapi",
    "libc",
    "mio",
    "nix",
    "ring",
    "rtnetlink",
    "rustix",
    "rustls",
    "serde",
    "serde_json",
    "tar",
    "tokio",
    "tokio-util",
    "tower",
    "tracing",
    "zstd-sys",
];

/// `(crate, the older version's requirer, reason)`: a duplicate that is known and bounded.
const KNOWN_TWICE: &[(&str, &str, &str)] = &[];

pub(super) fn check(metadata: &Metadata, findings: &mut Findings) -> anyhow::Result<()> {
    let ours: BTreeSet<_> = members(metadata).map(|package| &package.id).collect();
    let mut versions: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for package in &metadata.packages {
        let name = package.name.as_str();
        if let Some((_, why)) = BANNED.iter().find(|(banned, _)| *banned == name) {
            findings.push(format!("{name} {} is banned: {why}", package.version));
        }
        versions
            .entry(name)
            .or_default()
            .insert(package.version.to_string());
        if ours.contains(&package.id) {
            continue;
        }
        match &package.license {
            Some(expression) if acceptable(expression) => {}
            Some(expression) => findings.push(format!(
                "{name} {}: the licence {expression:?} is not on the list",
                package.version
            )),
            None => findings.push(format!("{name} {}: says no licence", package.version)),
        }
        if package
            .source
            .as_ref()
            .is_none_or(|source| !source.is_crates_io())
        {
            findings.push(format!(
                "{name} {}: does not come from the public registry",
                package.version
            ));
        }
    }
    for name in ONCE {
        let Some(found) = versions.get(name).filter(|found| found.len() > 1) else {
            continue;
        };
        if !known_twice(metadata, name) {
            let found: Vec<_> = found.iter().map(String::as_str).collect();
            findings.push(format!(
                "{name} is there more than once: {}",
                found.join(", ")
            ));
        }
    }
    for (name, _, _) in KNOWN_TWICE {
        if versions.get(name).is_none_or(|found| found.len() < 2) {
            findings.push(format!(
                "xtask/src/tidy/dependencies.rs: {name} is there once, so its exception can go"
            ));
        }
    }
    Ok(())
}

/// Whether every version but the newest is asked for by the listed crate alone.
fn known_twice(metadata: &Metadata, name: &str) -> bool {
    let Some((_, requirer, _)) = KNOWN_TWICE.iter().find(|(known, _, _)| *known == name) else {
        return false;
    };
    let mut versions: Vec<_> = metadata
        .packages
        .iter()
        .filter(|p| p.name.as_str() == name)
        .collect();
    versions.sort_by(|a, b| a.version.cmp(&b.version));
    versions.pop();
    let old: BTreeSet<_> = versions.iter().map(|package| &package.id).collect();
    let nodes = metadata.resolve.iter().flat_map(|resolve| &resolve.nodes);
    nodes
        .filter(|node| {
            node.deps
                .iter()
                .any(|dependency| old.contains(&dependency.pkg))
        })
        .all(|node| metadata[&node.id].name.as_str() == *requirer)
}

/// SPDX expressions as crates write them: `AND` binds tighter than `OR`, `/` is an old `OR`, parentheses nest.
fn acceptable(expression: &str) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    let verdict = alternatives(&mut words);
    verdict && words.peek().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn alternatives(words: &mut Words<'_>) -> bool {
    let mut any = conjunction(words);
    while words.next_if_eq(&"OR").is_some() {
        any |= conjunction(words);
    }
    any
}

fn conjunction(words: &mut Words<'_>) -> bool {
    let mut all = single(words);
    while words.next_if_eq(&"AND").is_some() {
        all &= single(words);
    }
    all
}

fn single(words: &mut Words<'_>) -> bool {
    match words.next() {
        Some("(") => {
            let inner = alternatives(words);
            words.next_if_eq(&")").is_some() && inner
        }
        Some(licence) => {
            let licence = match words.next_if_eq(&"WITH").and_then(|_| words.next()) {
                Some(exception) => format!("{licence} WITH {exception}"),
                None => licence.to_owned(),
            };
            LICENCES.contains(&licence.as_str())
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::acceptable;

    #[test]
    fn one_good_alternative_is_enough() {
        assert!(acceptable("MIT OR GPL-3.0"));
        assert!(acceptable("MIT/Apache-2.0"));
        assert!(acceptable("Apache-2.0 WITH LLVM-exception OR LGPL-2.1"));
    }

    #[test]
    fn every_part_of_a_conjunction_counts() {
        assert!(acceptable("(MIT OR Apache-2.0) AND Unicode-3.0"));
        assert!(!acceptable("MIT AND GPL-2.0-only"));
        assert!(!acceptable("GPL-3.0-or-later"));
        assert!(!acceptable("GPL-2.0 WITH Classpath-exception-2.0"));
    }

    #[test]
    fn nonsense_is_no_licence() {
        assert!(!acceptable(""));
        assert!(!acceptable("(MIT"));
        assert!(!acceptable("MIT MIT"));
    }
}
