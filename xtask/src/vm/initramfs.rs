//! The machine's whole system as one cpio archive ("newc", Documentation/driver-api/early-userspace/buffer-format.rst).

use super::programs::{Suite, libraries};
use super::{Kernel, What};
use crate::run::{find_program, output, program, root, target};
use anyhow::{Context, bail};
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufWriter, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// Programs of the host that the suites run.
const TOOLS: &[&str] = &[
    "ip",
    "nft",
    "openssl",
    "docker-registry",
    "prometheus",
    "promtool",
];

/// Modules of tests/node that meet the cgroup tree or leave things in the kernel.
const NODE_ESSENCE: &[&str] = &["pod_life::", "leaks::", "defaults::", "security_context::"];

/// Modules that the suites or the node make the kernel load; what they need comes along.
const MODULE_DIRECTORIES: &[&str] = &[
    "kernel/fs/overlayfs",
    "kernel/lib",
    "kernel/crypto",
    "kernel/arch/x86/crypto",
    "kernel/net/bridge",
    "kernel/net/ipv4",
    "kernel/net/ipv6",
    "kernel/net/netfilter",
];
const MODULES: &[&str] = &[
    "kernel/drivers/net/veth.ko",
    "kernel/drivers/net/dummy.ko",
    "kernel/drivers/block/loop.ko",
];

pub(super) fn write(
    file: &Path,
    kernel: &Kernel,
    suites: &[Suite],
    what: &What,
) -> anyhow::Result<()> {
    let tree = target().join("vm/tree");
    if tree.exists() {
        fs::remove_dir_all(&tree)?;
    }
    for dir in [
        "bin", "sbin", "etc", "root", "tmp", "proc", "sys", "dev", "run", "var", "tests", "new",
    ] {
        fs::create_dir_all(tree.join(dir))?;
    }
    place_programs(&tree, suites)?;
    place_modules(&tree, kernel)?;
    place_samples(&tree)?;
    place_texts(&tree, suites, what)?;
    let mut out = BufWriter::new(fs::File::create(file)?);
    let mut number = 0;
    archive(&tree, &tree, &mut out, &mut number)?;
    entry(&mut out, 0, "TRAILER!!!", 0, &[])?;
    out.flush()?;
    println!(
        "machine: {} entries, {} MB, linux {}",
        number,
        fs::metadata(file)?.len() / 1_000_000,
        kernel.version
    );
    Ok(())
}

fn place_programs(tree: &Path, suites: &[Suite]) -> anyhow::Result<()> {
    let busybox = find_program("busybox").context("no busybox")?;
    fs::copy(&busybox, tree.join("bin/busybox"))?;
    for name in output(program(&busybox).arg("--list"))?.lines() {
        // A second name for the program that tests call /bin/busybox.
        if name != "busybox" {
            symlink("/bin/busybox", tree.join("bin").join(name))?;
        }
    }
    symlink("/bin/busybox", tree.join("sbin/modprobe"))?;
    let mut programs: Vec<_> = ["coracle", "keeper-alone"]
        .map(|name| {
            (
                target().join("debug").join(name),
                tree.join("bin").join(name),
            )
        })
        .into();
    for name in TOOLS {
        let file = find_program(name).with_context(|| format!("{name} is not installed"))?;
        let there = tree.join("bin").join(name);
        let _ = fs::remove_file(&there);
        programs.push((file, there));
    }
    for suite in suites {
        programs.push((suite.program.clone(), tree.join("tests").join(&suite.name)));
    }
    let mut needed = BTreeSet::new();
    for (from, to) in &programs {
        needed.extend(libraries(from));
        fs::copy(from, to).with_context(|| format!("could not copy {}", from.display()))?;
        // Symbols and line tables double the archive; without binutils it is merely larger.
        let _ = output(program("strip").arg("--strip-all").arg(to));
    }
    for library in needed {
        let there = tree.join(library.strip_prefix("/")?);
        if let Some(parent) = there.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::copy(&library, &there)?;
    }
    Ok(())
}

fn place_modules(tree: &Path, kernel: &Kernel) -> anyhow::Result<()> {
    let there = tree.join("lib/modules").join(&kernel.version);
    for dir in MODULE_DIRECTORIES {
        let from = kernel.modules.join(dir);
        if from.is_dir() {
            copy_tree(&from, &there.join(dir))?;
        }
    }
    for module in MODULES {
        let to = there.join(module);
        fs::create_dir_all(to.parent().context("a module lies in a directory")?)?;
        fs::copy(kernel.modules.join(module), to)?;
    }
    for list in [
        "modules.builtin",
        "modules.order",
        "modules.builtin.modinfo",
    ] {
        fs::copy(kernel.modules.join(list), there.join(list))?;
    }
    output(
        program("/bin/busybox")
            .args(["depmod", "-b"])
            .arg(tree)
            .arg(&kernel.version),
    )?;
    Ok(())
}

fn copy_tree(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in from.read_dir()? {
        let path = entry?.path();
        let there = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy_tree(&path, &there)?;
        } else {
            fs::copy(&path, &there)?;
        }
    }
    Ok(())
}

fn place_texts(tree: &Path, suites: &[Suite], what: &What) -> anyhow::Result<()> {
    let names: Vec<_> = suites.iter().map(|suite| suite.name.as_str()).collect();
    let (all, of_node) = match what {
        What::Everything => ("", String::new()),
        What::Matching(text) => {
            let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"_:-".contains(&b);
            if !text.bytes().all(is_plain) {
                bail!("a filter for the machine is made of letters, digits, '_', '-' and ':'");
            }
            (text.as_str(), text.clone())
        }
        What::Essence => ("", NODE_ESSENCE.join(" ")),
    };
    let suite = include_str!("suite.sh")
        .replace("@SUITES@", &names.join(" "))
        .replace("@FILTER@", all)
        .replace("@NODE_FILTER@", &of_node);
    for (path, text, mode) in [
        ("init", include_str!("init.sh"), 0o755),
        ("sbin/suite", suite.as_str(), 0o755),
        (
            "etc/passwd",
            "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n",
            0o644,
        ),
        ("etc/group", "root:x:0:\nnogroup:x:65534:\n", 0o644),
        ("etc/hosts", "127.0.0.1 localhost machine\n", 0o644),
        ("etc/resolv.conf", "nameserver 192.0.2.53\n", 0o644),
        ("etc/nsswitch.conf", "hosts: files dns\n", 0o644),
    ] {
        let file = tree.join(path);
        fs::write(&file, text)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}

/// What the tests of the samples need where there is no cargo.
fn place_samples(tree: &Path) -> anyhow::Result<()> {
    let image = target().join("demo/hello.tar");
    crate::image::image(&image)?;
    fs::create_dir_all(tree.join("root/demo"))?;
    fs::copy(image, tree.join("root/demo/hello.tar"))?;
    copy_tree(&root().join("manifests"), &tree.join("root/demo/manifests"))
}

/// Everything below `dir`, directories first.
fn archive(tree: &Path, dir: &Path, out: &mut impl Write, number: &mut u32) -> anyhow::Result<()> {
    let mut paths: Vec<PathBuf> = Vec::new();
    for entry in dir.read_dir()? {
        paths.push(entry?.path());
    }
    paths.sort();
    for path in paths {
        *number += 1;
        let name = path
            .strip_prefix(tree)?
            .to_str()
            .context("a name that is no text")?
            .to_owned();
        let kind = fs::symlink_metadata(&path)?;
        let mode = kind.permissions().mode();
        if kind.is_symlink() {
            let to = fs::read_link(&path)?;
            entry(out, *number, &name, mode, to.as_os_str().as_encoded_bytes())?;
        } else if kind.is_dir() {
            entry(out, *number, &name, mode, &[])?;
            archive(tree, &path, out, number)?;
        } else {
            entry(out, *number, &name, mode, &fs::read(&path)?)?;
        }
    }
    Ok(())
}

fn entry(
    out: &mut impl Write,
    inode: u32,
    name: &str,
    mode: u32,
    content: &[u8],
) -> anyhow::Result<()> {
    let size = u32::try_from(content.len()).context("a file of more than 4 GB")?;
    let name_size = u32::try_from(name.len() + 1)?;
    let fields = [inode, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
    let mut head = String::from("070701");
    for field in fields {
        head.push_str(&format!("{field:08X}"));
    }
    head.push_str(name);
    head.push('\0');
    let pad = |length: usize| &[0_u8; 3][..(4 - length % 4) % 4];
    out.write_all(head.as_bytes())?;
    out.write_all(pad(head.len()))?;
    out.write_all(content)?;
    out.write_all(pad(content.len()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::entry;

    #[test]
    fn an_entry_is_padded_to_words_twice() {
        let mut out = Vec::new();
        entry(&mut out, 7, "ab", 0o100_644, b"hello").unwrap();
        assert_eq!(out.len() % 4, 0);
        let text = String::from_utf8_lossy(&out).into_owned();
        assert!(text.starts_with("07070100000007000081A4"), "{text}");
        assert!(text.ends_with("00000000ab\0\0\0\0hello\0\0\0"), "{text:?}");
    }
}
