//! `cargo xtask tidy`: what the compiler does not check. Every check collects what it finds; all of it is printed, then the verb fails.

mod arrows;
mod dependencies;
mod files;
mod links;

use crate::run::{cargo, output};
use anyhow::{Context, bail};
use cargo_metadata::{Metadata, MetadataCommand, Package};

/// What is wrong, one line each: the place, then the rule.
pub(crate) type Findings = Vec<String>;

pub(crate) fn tidy() -> anyhow::Result<()> {
    let metadata = metadata()?;
    let mut findings = Findings::new();
    arrows::check(&metadata, &mut findings);
    dependencies::check(&metadata, &mut findings)?;
    files::check(&mut findings)?;
    links::check(&mut findings)?;
    for finding in &findings {
        println!("tidy: {finding}");
    }
    if !findings.is_empty() {
        bail!("tidy found {} thing(s)", findings.len());
    }
    println!("tidy: {} packages, nothing to say", metadata.packages.len());
    Ok(())
}

fn metadata() -> anyhow::Result<Metadata> {
    let text = output(
        cargo()
            .args(["metadata", "--format-version", "1", "--locked"])
            .args(["--filter-platform", "x86_64-unknown-linux-gnu"]),
    )?;
    MetadataCommand::parse(text).context("could not read what cargo metadata printed")
}

/// The packages of this workspace.
fn members(metadata: &Metadata) -> impl Iterator<Item = &Package> {
    metadata
        .packages
        .iter()
        .filter(|package| metadata.workspace_members.contains(&package.id))
}
