//! `cargo xtask demo`: from a clone to running pods. Needs root and cargo, nothing else.

use crate::image;
use crate::run::{cargo, is_root, output, program, root, run, target};
use anyhow::{Context, bail};
use clap::Args;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

#[derive(Args)]
pub(crate) struct DemoArguments {
    /// Directory of pods to run
    #[arg(long, default_value = "manifests")]
    manifests: PathBuf,
    /// Where images and pods are kept
    #[arg(long, default_value = "/var/lib/coracle")]
    root: PathBuf,
    /// Where sockets and namespaces are
    #[arg(long, default_value = "/run/coracle")]
    run_dir: PathBuf,
    /// More options for `coracle run`, after `--`
    #[arg(last = true)]
    more: Vec<String>,
}

pub(crate) fn demo(arguments: &DemoArguments) -> anyhow::Result<()> {
    if !is_root()? {
        bail!("a node needs root: run `sudo -E cargo xtask demo`, or become root first");
    }
    println!("==> build coracle and the demo image (a first build takes some minutes)");
    run(cargo().args(["build", "--release", "--package", "coracle"]))?;
    let archive = target().join("demo/hello.tar");
    image::image(&archive)?;
    let coracle = target().join("release/coracle");
    let link = put_on_path(&coracle);

    println!(
        "==> run a node on {}",
        root().join(&arguments.manifests).display()
    );
    let mut node = program(&coracle)
        .arg("run")
        .arg("--manifests")
        .arg(root().join(&arguments.manifests))
        .arg("--root")
        .arg(&arguments.root)
        .arg("--run-dir")
        .arg(&arguments.run_dir)
        .args(&arguments.more)
        .stdin(Stdio::null())
        .spawn()
        .with_context(|| format!("could not start {}", coracle.display()))?;
    let loaded = load_when_up(&coracle, &arguments.run_dir, &archive, &mut node);
    if let Err(error) = loaded {
        // The node has no pod of ours yet, or cannot run one: do not leave it behind.
        let _ = node.kill();
        let _ = node.wait();
        return Err(error);
    }
    say_what_next(link.as_deref().unwrap_or(&coracle), arguments);
    // ctrl-C reaches the node as well (same foreground process group); whichever way it ends, its pods go on.
    let status = node.wait().context("could not wait for the node")?;
    println!(
        "\nthe node's agent ended ({status}); its pods run on. `{} down --run-dir {}` ends them.",
        coracle.display(),
        arguments.run_dir.display()
    );
    Ok(())
}

/// The image must be there before the pods' first back-off ends; the socket answers within a moment of the start.
fn load_when_up(
    coracle: &Path,
    run_dir: &Path,
    archive: &Path,
    node: &mut Child,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(30);
    let socket = run_dir.join("agent.sock");
    loop {
        if let Some(status) = node.try_wait()? {
            bail!("the node ended while starting ({status})");
        }
        if std::os::unix::net::UnixStream::connect(&socket).is_ok() {
            break;
        }
        if Instant::now() > deadline {
            bail!("the node did not open {} within 30 s", socket.display());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let said = output(
        program(coracle)
            .arg("load")
            .arg("--run-dir")
            .arg(run_dir)
            .arg(archive),
    )?;
    print!("{said}");
    Ok(())
}

/// So that the commands of the README work in another terminal. Only if nobody else's file has that name.
fn put_on_path(coracle: &Path) -> Option<PathBuf> {
    let link = Path::new("/usr/local/bin/coracle");
    match std::fs::read_link(link) {
        Ok(old) if old == coracle => {}
        Ok(old) if old.ends_with("target/release/coracle") => {
            std::fs::remove_file(link).ok()?;
            std::os::unix::fs::symlink(coracle, link).ok()?;
        }
        Ok(_) => return None,
        Err(_) if link.exists() => return None,
        Err(_) => std::os::unix::fs::symlink(coracle, link).ok()?,
    }
    println!("==> {} -> {}", link.display(), coracle.display());
    Some(PathBuf::from("coracle"))
}

fn say_what_next(coracle: &Path, arguments: &DemoArguments) {
    let coracle = coracle.display();
    let run_dir = if arguments.run_dir == Path::new("/run/coracle") {
        String::new()
    } else {
        format!(" --run-dir {}", arguments.run_dir.display())
    };
    println!(
        "
The node runs. In another terminal, as root:

    {coracle} get pods -o wide{run_dir}
    {coracle} logs -f hello{run_dir}
    {coracle} explain hello{run_dir}
    curl http://POD_IP:8080/
    vi {}                      # saved: the pod is replaced
    kill -9 $(pidof coracle)   # ... and nothing happens to the pods; start this again and it finds them

ctrl-C here ends the agent and leaves the pods running. `{coracle} down{run_dir}` ends everything.
",
        arguments.manifests.join("hello.yaml").display()
    );
}
