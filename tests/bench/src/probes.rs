//! What probes cost: a thousand HTTP probes a second, a hundred exec probes a second, and how soon a container is Ready.

use crate::bare;
use crate::bed::{Bed, sleeper};
use crate::memory::cpu_time;
use crate::row::Row;
use anyhow::{Context, ensure};
use node_tests::manifest::{Manifest, idle};
use node_tests::{Image, Layer, pod};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const ANSWERER: &str = "localhost/answerer:1";
const PODS: usize = 110;
/// Each with a liveness and a readiness probe every second. A startup probe ends with its first success.
const HTTP_CONTAINERS: usize = 500;
const EXEC_CONTAINERS: usize = 50;
const WINDOWS: usize = 5;
const WINDOW: Duration = Duration::from_secs(4);

pub(crate) fn http() -> anyhow::Result<Vec<Row>> {
    let bed = Bed::new("")?;
    bed.node.load(ANSWERER, &answerer()?);
    for number in 0..PODS {
        bed.node.apply(&web(number, share(HTTP_CONTAINERS, number)));
    }
    wait_ready(&bed, PODS)?;
    let agent = bed.node.agent_pid().context("no agent")?;
    let (samples, rate) = measure(&bed, &[agent], 1000.0)?;
    let servers = servers(&bed)?;
    // the containers live on
    bed.node.kill_agent();
    let bare = bed
        .node
        .sandbox
        .enter(|| bare::requests(&servers, WINDOWS, WINDOW))?;
    bed.node.start_agent();
    Ok(vec![
        Row::new(
            "http_probes",
            samples,
            format!(
                "CPU time of the agent over {WINDOWS} windows of {} s; {PODS} pods, {HTTP_CONTAINERS} containers that answer, liveness and readiness each second; {rate:.0} successes/s by /metrics/probes",
                WINDOW.as_secs()
            ),
        ),
        Row::new(
            "http_probes_bare",
            bare,
            "the same containers asked a thousand times a second by a bare loop of system calls while there is no agent: the kernel's price",
        ),
    ])
}

/// Where the containers of [`web`] listen.
fn servers(bed: &Bed) -> anyhow::Result<Vec<SocketAddrV4>> {
    let mut servers = Vec::new();
    for pod in bed.pods() {
        let ip: Ipv4Addr = pod["status"]["podIP"].as_str().context("an IP")?.parse()?;
        for container in pod["spec"]["containers"].as_array().context("containers")? {
            let port = container["command"][1].as_str().context("a port")?;
            servers.push(SocketAddrV4::new(ip, port.parse()?));
        }
    }
    Ok(servers)
}

pub(crate) fn exec() -> anyhow::Result<Vec<Row>> {
    let bed = Bed::new("")?;
    for number in 0..EXEC_CONTAINERS {
        let probe =
            json!({"exec": {"command": ["/bin/true"]}, "periodSeconds": 1, "timeoutSeconds": 5});
        let pod = sleeper(&format!("e{number}"))
            .with("livenessProbe", probe.clone())
            .with("readinessProbe", probe);
        bed.node.apply(&pod);
    }
    wait_ready(&bed, EXEC_CONTAINERS)?;
    let pids = [
        bed.node.agent_pid().context("no agent")?,
        bed.node.keeper_pid().context("no keeper")?,
    ];
    let (samples, rate) = measure(&bed, &pids, 100.0)?;
    Ok(vec![Row::new(
        "exec_probes",
        samples,
        format!(
            "CPU time of agent and keeper, not of what they cloned (its way to the exec and /bin/true itself), over {WINDOWS} windows of {} s; {EXEC_CONTAINERS} pods, liveness and readiness each second; {rate:.0} successes/s by /metrics/probes",
            WINDOW.as_secs()
        ),
    )])
}

pub(crate) fn ready_after() -> anyhow::Result<Vec<Row>> {
    let bed = Bed::new("")?;
    let mut samples = Vec::new();
    for number in 0..104 {
        let name = format!("r{number}");
        let probe = json!({"exec": {"command": ["/bin/true"]}});
        let pod = pod(&name)
            .container(idle("main"))
            .with("readinessProbe", probe);
        bed.node.apply(&pod);
        bed.wait("it to be ready", Duration::from_micros(200), |pods| {
            ready(pods) == 1
        })?;
        let seen = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64() * 1000.0;
        samples.push(seen - bed.start_of(&name)?.started);
        bed.node.remove_manifest(&name);
        bed.wait("it to be gone", Duration::from_millis(50), <[_]>::is_empty)?;
        std::thread::sleep(Duration::from_millis(100));
    }
    // The first starts the keeper and fills caches.
    samples.drain(..4);
    Ok(vec![Row::new(
        "ready_after",
        samples,
        "exec readiness probe /bin/true, own moment of the container's exec (node's timeline) until Ready is seen over HTTP; polling included",
    )])
}

/// Of `all` things that are dealt out to [`PODS`] pods, those of one.
fn share(all: usize, number: usize) -> usize {
    all / PODS + usize::from(number < all % PODS)
}

/// A pod of servers, each on a port of its own.
fn web(number: usize, containers: usize) -> Manifest {
    let manifest = pod(&format!("w{number}")).spec("terminationGracePeriodSeconds", json!(0));
    (0..containers).fold(manifest, |manifest, at| {
        let port = 8080 + at;
        let probe = |failures: u32| json!({"httpGet": {"path": "/healthz", "port": port}, "periodSeconds": 1, "timeoutSeconds": 5, "failureThreshold": failures});
        manifest.container(json!({
            "name": format!("c{at}"),
            "image": ANSWERER,
            "command": ["/bin/answerer", port.to_string()],
            // a server that is slow to begin on a busy machine is no sick one
            "livenessProbe": probe(30),
            "readinessProbe": probe(3),
        }))
    })
}

fn ready(pods: &[Value]) -> usize {
    let is_ready = |pod: &&Value| {
        let conditions = pod["status"]["conditions"].as_array();
        conditions.is_some_and(|list| {
            list.iter()
                .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
        })
    };
    pods.iter().filter(is_ready).count()
}

fn wait_ready(bed: &Bed, pods: usize) -> anyhow::Result<()> {
    bed.wait("all to be ready", Duration::from_millis(500), |seen| {
        ready(seen) == pods
    })?;
    std::thread::sleep(Duration::from_secs(3));
    Ok(())
}

/// Percent of a core that `pids` use, window by window, and the rate of successes over all of them. Only a node that makes all the probes it
/// was asked for is measured.
fn measure(bed: &Bed, pids: &[i32], wanted: f64) -> anyhow::Result<(Vec<f64>, f64)> {
    let spent = || {
        pids.iter()
            .map(|pid| cpu_time(*pid))
            .sum::<anyhow::Result<Duration>>()
    };
    let (begin, before) = (Instant::now(), counted(bed));
    let mut samples = Vec::new();
    for _ in 0..WINDOWS {
        let (begin, before) = (Instant::now(), spent()?);
        std::thread::sleep(WINDOW);
        let used = spent()?.saturating_sub(before);
        samples.push(100.0 * used.as_secs_f64() / begin.elapsed().as_secs_f64());
    }
    let (time, after) = (begin.elapsed().as_secs_f64(), counted(bed));
    let failed = after.failed - before.failed;
    ensure!(failed == 0.0, "{failed} probes failed");
    let rate = (after.successful - before.successful) / time;
    ensure!(
        (rate / wanted - 1.0).abs() < 0.02,
        "{rate:.0} probes a second, not {wanted:.0}: the machine is too busy"
    );
    Ok((samples, rate))
}

struct Counted {
    successful: f64,
    failed: f64,
}

/// `prober_probe_total` of all probes.
fn counted(bed: &Bed) -> Counted {
    let page = bed.node.http("/metrics/probes").text();
    let sum = |result: &str| {
        page.lines()
            .filter(|line| line.starts_with("prober_probe_total{") && line.contains(result))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    };
    Counted {
        successful: sum("result=\"successful\""),
        failed: sum("result=\"failed\""),
    }
}

/// The server that lies beside this program, with the libraries that it needs.
fn answerer() -> anyhow::Result<Image> {
    let program = std::env::current_exe()?.with_file_name("node-bench-answerer");
    let bytes = std::fs::read(&program).with_context(|| format!("{}", program.display()))?;
    let mut layer = Layer::new().dir("lib64", 0o755).dir("lib", 0o755);
    for library in libraries(&program)? {
        let name = library.file_name().context("a library without a name")?;
        let directory = if library.starts_with("/lib64") {
            "lib64"
        } else {
            "lib"
        };
        let path = format!("{directory}/{}", name.to_string_lossy());
        layer = layer.file_as(&path, 0o755, 0, std::fs::read(&library)?);
    }
    Ok(Image::busybox().layer(layer.file_as("bin/answerer", 0o755, 0, bytes)))
}

/// As `ldd` lists them, the loader too.
fn libraries(program: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let output = Command::new("ldd").arg(program).output().context("ldd")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
        .map(PathBuf::from)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::{HTTP_CONTAINERS, PODS, share};

    #[test]
    fn all_containers_are_dealt_out() {
        let all: usize = (0..PODS).map(|number| share(HTTP_CONTAINERS, number)).sum();
        assert_eq!(all, HTTP_CONTAINERS);
        assert_eq!(
            (share(HTTP_CONTAINERS, 0), share(HTTP_CONTAINERS, 109)),
            (5, 4)
        );
    }
}
