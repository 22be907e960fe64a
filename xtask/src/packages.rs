//! Debian packages that tests and benchmarks use: installed when missing, and no service is ever started.

use crate::run::{find_program, is_root, output, program, run};
use anyhow::{Context, bail};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A package and a program whose presence shows that it is installed.
pub(crate) struct Package {
    pub(crate) name: &'static str,
    pub(crate) program: &'static str,
}

const fn package(name: &'static str, program: &'static str) -> Package {
    Package { name, program }
}

/// What `cargo test --workspace` needs beside root, cargo and a C compiler.
pub(crate) const FOR_TESTS: &[Package] = &[
    package("docker-registry", "docker-registry"),
    package("prometheus", "prometheus"),
    package("busybox-static", "busybox"),
    package("nftables", "nft"),
    package("iproute2", "ip"),
    package("openssl", "openssl"),
    package("procps", "ps"),
];

/// What the machine of `cargo xtask test --vm` needs on top.
pub(crate) const FOR_VM: &[Package] = &[
    package("qemu-system-x86", "qemu-system-x86_64"),
    package("cpio", "cpio"),
    package("xz-utils", "xz"),
];

/// The peers that the benchmark measures beside coracle.
pub(crate) const FOR_BENCH: &[Package] = &[
    package("crun", "crun"),
    package("podman", "podman"),
    // The first process of podman's pods.
    package("catatonit", "catatonit"),
    package("e2fsprogs", "mkfs.ext4"),
];

/// Installs those of `packages` whose program is missing.
pub(crate) fn install(packages: &[Package]) -> anyhow::Result<()> {
    let missing: Vec<_> = packages
        .iter()
        .filter(|package| find_program(package.program).is_none())
        .map(|package| package.name)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    if find_program("apt-get").is_none() {
        bail!(
            "these programs are needed, and there is no apt-get to install them with: {}",
            missing.join(" ")
        );
    }
    if !is_root()? {
        bail!("installing {} needs root", missing.join(" "));
    }
    let _no_service = NoServices::begin()?;
    update_lists()?;
    run(program("apt-get")
        .args(["install", "--yes", "--no-install-recommends"])
        .args(&missing)
        .env("DEBIAN_FRONTEND", "noninteractive"))
}

/// Downloads a package's file into `dir` without installing it.
pub(crate) fn download(name: &str, dir: &Path) -> anyhow::Result<PathBuf> {
    std::fs::create_dir_all(dir).with_context(|| format!("could not make {}", dir.display()))?;
    let ours = |dir: &Path| -> anyhow::Result<Option<PathBuf>> {
        for entry in dir.read_dir()? {
            let path = entry?.path();
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            if file.starts_with(&format!("{name}_")) && file.ends_with(".deb") {
                return Ok(Some(path));
            }
        }
        Ok(None)
    };
    if let Some(file) = ours(dir)? {
        return Ok(file);
    }
    let attempt = || {
        output(
            program("apt-get")
                .args(["download", name])
                .current_dir(dir)
                .env("APT_SANDBOX_USER", "root"),
        )
    };
    if attempt().is_err() {
        update_lists()?;
        attempt()?;
    }
    ours(dir)?.with_context(|| format!("apt-get download {name} left no file"))
}

/// The package that a metapackage stands for: its first dependency whose name starts with `prefix`.
pub(crate) fn behind(metapackage: &str, prefix: &str) -> anyhow::Result<String> {
    let ask = || output(program("apt-cache").args(["depends", metapackage]));
    let find = |text: &str| {
        text.lines()
            .filter_map(|line| line.trim().strip_prefix("Depends: "))
            .find(|name| name.starts_with(prefix))
            .map(str::to_owned)
    };
    if let Ok(text) = ask()
        && let Some(name) = find(&text)
    {
        return Ok(name);
    }
    update_lists()?;
    find(&ask()?).with_context(|| format!("{metapackage} depends on no {prefix}… package"))
}

fn update_lists() -> anyhow::Result<()> {
    run(program("apt-get").args(["update", "--quiet"]))
}

/// While it lives, packages may not start services (`invoke-rc.d` asks this file).
struct NoServices {
    ours: bool,
}

const POLICY: &str = "/usr/sbin/policy-rc.d";

impl NoServices {
    fn begin() -> anyhow::Result<Self> {
        if Path::new(POLICY).exists() {
            return Ok(Self { ours: false });
        }
        std::fs::write(POLICY, "#!/bin/sh\nexit 101\n")
            .and_then(|()| std::fs::set_permissions(POLICY, std::fs::Permissions::from_mode(0o755)))
            .with_context(|| format!("could not write {POLICY}"))?;
        Ok(Self { ours: true })
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.ours {
            let _ = std::fs::remove_file(POLICY);
        }
    }
}
