//! `cargo xtask test --vm`: the suites that meet the kernel, on a kernel with cgroup v2 alone.
//!
//! The kernel is Debian's cloud kernel, taken from its package without installing it; the machine is qemu without hardware
//! acceleration; the whole system is one initramfs with busybox, the test programs as cargo built them, and the libraries that they
//! name. Its first process runs the suites and says over the serial console how they ended.

mod initramfs;
mod machine;
mod programs;

use crate::packages;
use crate::run::{output, program, target};
use anyhow::{Context, bail};
use std::path::{Path, PathBuf};

/// Packages whose tests ask the kernel something that cgroup v2 or another kernel may answer differently.
const SUITES: &[&str] = &[
    "linux-sys",
    "cgroup-tree",
    "keeper",
    "container-host",
    "pod-network",
    "pod-volumes",
    "node-tests",
];

/// Those of them that meet the cgroup tree.
const ESSENCE: &[&str] = &["linux-sys", "cgroup-tree", "pod-volumes", "node-tests"];

/// What is run in the machine.
pub(crate) enum What {
    Everything,
    /// Tests whose name contains this.
    Matching(String),
    /// What meets the cgroup tree: all would take as long as the rest of ci.
    Essence,
}

pub(crate) fn test(what: &What) -> anyhow::Result<()> {
    packages::install(packages::FOR_TESTS)?;
    packages::install(packages::FOR_VM)?;
    crate::test::build_node()?;
    let suites = programs::built(match what {
        What::Essence => ESSENCE,
        _ => SUITES,
    })?;
    let kernel = kernel()?;
    let initramfs = target().join("vm/initramfs.cpio");
    initramfs::write(&initramfs, &kernel, &suites, what)
        .with_context(|| format!("could not write {}", initramfs.display()))?;
    machine::run(&kernel.image, &initramfs)
}

pub(crate) struct Kernel {
    pub(crate) image: PathBuf,
    pub(crate) version: String,
    /// `lib/modules/VERSION`.
    pub(crate) modules: PathBuf,
}

/// Debian's kernel for virtual machines, unpacked under `target/vm`.
fn kernel() -> anyhow::Result<Kernel> {
    let dir = target().join("vm");
    if let Some(kernel) = find_kernel(&dir.join("kernel"))? {
        return Ok(kernel);
    }
    let package = packages::behind("linux-image-cloud-amd64", "linux-image-")?;
    let file = packages::download(&package, &dir)?;
    output(program("dpkg").arg("-x").arg(&file).arg(dir.join("kernel")))?;
    match find_kernel(&dir.join("kernel"))? {
        Some(kernel) => Ok(kernel),
        None => bail!("{} holds no kernel", file.display()),
    }
}

fn find_kernel(tree: &Path) -> anyhow::Result<Option<Kernel>> {
    let Ok(entries) = tree.join("boot").read_dir() else {
        return Ok(None);
    };
    for entry in entries {
        let image = entry?.path();
        let name = image
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if let Some(version) = name.strip_prefix("vmlinuz-") {
            return Ok(Some(Kernel {
                modules: tree.join("lib/modules").join(version),
                version: version.to_owned(),
                image,
            }));
        }
    }
    Ok(None)
}
