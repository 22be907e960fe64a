//! The arrows between crates, from one table. A crate uses crates of lower layers; anything else stands in its row, with the reason.

use super::{Findings, members};
use cargo_metadata::{DependencyKind, Metadata, Package};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Layer {
    /// Shared vocabulary: values and nothing else.
    Words,
    /// Decides; knows no I/O, no clock, no task.
    Pure,
    /// Files that survive a crash; used by all that keep something.
    Disk,
    /// Carries out, with the kernel.
    Kernel,
    /// Speaks with people, files and servers, and drives the core. Reaches the kernel crates only through ports.
    Edge,
    /// Puts everything together.
    Top,
    /// Used in tests alone.
    Test,
    /// Of use to everybody and knowing nobody.
    Any,
    /// Programs and tools that know no crate of the product.
    Apart,
}

use Layer::{Any, Apart, Disk, Edge, Kernel, Pure, Test, Top, Words};

struct Row {
    name: &'static str,
    layer: Layer,
    /// Crates of this workspace that it may use although the layers do not say so.
    also: &'static [&'static str],
}

const fn row(name: &'static str, layer: Layer, also: &'static [&'static str]) -> Row {
    Row { name, layer, also }
}

/// design: one row per package of the workspace.
const TABLE: &[Row] = &[
    row("pod-model", Words, &[]),
    row("pod-lifecycle", Pure, &["node-policy"]),
    row("node-policy", Pure, &[]),
    row("launch-plan", Pure, &["node-policy"]),
    row("state-file", Disk, &[]),
    row("linux-sys", Kernel, &[]),
    row("container-logs", Kernel, &["linux-sys"]),
    row("keeper", Kernel, &["linux-sys", "container-logs"]),
    row("cgroup-tree", Kernel, &["linux-sys"]),
    row(
        "container-host",
        Kernel,
        &["linux-sys", "keeper", "cgroup-tree"],
    ),
    row("image-store", Kernel, &["linux-sys"]),
    row("pod-network", Kernel, &["linux-sys"]),
    row("pod-volumes", Kernel, &["linux-sys"]),
    row("pod-probes", Kernel, &[]),
    row("manifest-source", Edge, &[]),
    // It serves log files by the path it is given; reading the CRI format is that crate's.
    row("node-server", Edge, &["container-logs"]),
    row("pod-worker", Edge, &[]),
    row("node-config", Edge, &[]),
    // The other end of the private socket.
    row("node-client", Edge, &["node-server"]),
    row("coracle", Top, &[]),
    row("telemetry", Any, &[]),
    row("located-yaml", Any, &[]),
    row("test-kit", Test, &[]),
    // Its pods are those of the tables.
    row("node-sim", Test, &["test-kit"]),
    row("node-tests", Apart, &[]),
    row("node-bench", Apart, &["node-tests"]),
    row("demo-server", Apart, &[]),
    row("xtask", Apart, &[]),
];

/// Not even indirectly below [`Layer::Disk`].
const NO_IO: &[&str] = &[
    "tokio",
    "nix",
    "rustix",
    "mio",
    "hyper",
    "socket2",
    "async-std",
];
/// Not by a crate itself (a library of values may use it below).
const NO_IO_DIRECT: &[&str] = &["libc", "tracing", "jiff", "rand", "getrandom", "state-file"];

pub(super) fn check(metadata: &Metadata, findings: &mut Findings) {
    let table: BTreeMap<_, _> = TABLE.iter().map(|row| (row.name, row)).collect();
    let packages: Vec<_> = members(metadata).collect();
    let ours: BTreeSet<_> = packages.iter().map(|p| p.name.as_str()).collect();
    for name in table.keys().filter(|name| !ours.contains(*name)) {
        // A row for a package that is yet to come would never be missed when it is misspelt.
        findings.push(format!(
            "xtask/src/tidy/arrows.rs: no package is named {name}"
        ));
    }
    for package in packages {
        let Some(row) = table.get(package.name.as_str()) else {
            findings.push(format!(
                "{}: has no row in the table of xtask/src/tidy/arrows.rs",
                package.name
            ));
            continue;
        };
        check_workspace_arrows(package, row, &table, findings);
        check_io(metadata, package, row, findings);
        check_lints(package, findings);
    }
}

fn check_workspace_arrows(
    package: &Package,
    from: &Row,
    table: &BTreeMap<&str, &Row>,
    findings: &mut Findings,
) {
    for dependency in &package.dependencies {
        let Some(to) = table.get(dependency.name.as_str()) else {
            continue;
        };
        let in_tests = dependency.kind == DependencyKind::Development;
        if !allowed(from, to, in_tests) {
            findings.push(format!(
                "{} ({:?}) may not use {} ({:?})",
                from.name, from.layer, to.name, to.layer
            ));
        }
    }
}

fn allowed(from: &Row, to: &Row, in_tests: bool) -> bool {
    if from.also.contains(&to.name) {
        return true;
    }
    match (from.layer, to.layer) {
        (_, Any) => true,
        (_, Test) => in_tests,
        (_, Top | Apart) | (Apart | Any, _) => false,
        (Top, _) => true,
        (Edge, layer) => layer <= Disk,
        (Test, layer) => layer <= Pure,
        (layer, to) => to < layer,
    }
}

fn check_io(metadata: &Metadata, package: &Package, row: &Row, findings: &mut Findings) {
    if row.layer >= Disk {
        return;
    }
    for dependency in &package.dependencies {
        let name = dependency.name.as_str();
        if dependency.kind == DependencyKind::Normal && NO_IO_DIRECT.contains(&name) {
            findings.push(format!(
                "{}: a {:?} crate may not use {name}",
                row.name, row.layer
            ));
        }
    }
    for name in reached(metadata, package) {
        if NO_IO.contains(&name) {
            findings.push(format!(
                "{}: a {:?} crate may not reach {name}",
                row.name, row.layer
            ));
        }
    }
}

/// Names of all packages that `package` is built with, directly or not, tests apart.
fn reached<'a>(metadata: &'a Metadata, package: &Package) -> BTreeSet<&'a str> {
    let Some(resolve) = &metadata.resolve else {
        return BTreeSet::new();
    };
    let nodes: BTreeMap<_, _> = resolve.nodes.iter().map(|node| (&node.id, node)).collect();
    let names: BTreeMap<_, _> = metadata
        .packages
        .iter()
        .map(|package| (&package.id, package.name.as_str()))
        .collect();
    let mut seen = BTreeSet::new();
    let mut found = BTreeSet::new();
    let mut queue = vec![&package.id];
    while let Some(id) = queue.pop() {
        let Some(node) = nodes.get(id) else { continue };
        for dependency in &node.deps {
            let normal = dependency
                .dep_kinds
                .iter()
                .any(|kind| kind.kind == DependencyKind::Normal);
            if normal && seen.insert(&dependency.pkg) {
                found.extend(names.get(&dependency.pkg));
                queue.push(&dependency.pkg);
            }
        }
    }
    found
}

/// `unsafe` is denied by the workspace's lints; only linux-sys may say otherwise.
fn check_lints(package: &Package, findings: &mut Findings) {
    let Ok(text) = std::fs::read_to_string(&package.manifest_path) else {
        findings.push(format!("{}: could not be read", package.manifest_path));
        return;
    };
    let inherits = text
        .split("\n[")
        .any(|table| table.starts_with("lints]") && table.contains("workspace = true"));
    if !inherits && package.name.as_str() != "linux-sys" {
        findings.push(format!(
            "{}: Cargo.toml lacks [lints] workspace = true",
            package.name
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(from: Layer, to: Layer) -> bool {
        allowed(&row("from", from, &[]), &row("to", to, &[]), false)
    }

    #[test]
    fn lower_layers_know_nothing_of_higher_ones() {
        assert!(says(Kernel, Pure) && says(Kernel, Disk) && says(Edge, Words) && says(Top, Kernel));
        assert!(!says(Pure, Kernel) && !says(Words, Pure) && !says(Kernel, Edge));
        assert!(!says(Pure, Disk), "a file is I/O");
        assert!(!says(Kernel, Kernel), "neighbours stand in the row");
        assert!(!says(Edge, Kernel), "the edge has ports");
        assert!(!says(Edge, Top) && !says(Apart, Words));
    }

    #[test]
    fn a_row_allows_its_exceptions_and_no_more() {
        let keeper = row("keeper", Kernel, &["linux-sys"]);
        assert!(allowed(&keeper, &row("linux-sys", Kernel, &[]), false));
        assert!(!allowed(&keeper, &row("image-store", Kernel, &[]), false));
    }

    #[test]
    fn fakes_are_for_tests() {
        let kit = row("test-kit", Test, &[]);
        assert!(allowed(&row("pod-lifecycle", Pure, &[]), &kit, true));
        assert!(!allowed(&row("pod-lifecycle", Pure, &[]), &kit, false));
    }
}
