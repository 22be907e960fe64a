//! The test bed: a node on a fresh filesystem, pods of one sleeping process, and its timeline.

use anyhow::{Context, ensure};
use node_tests::manifest::{BUSYBOX, Manifest};
use node_tests::{Image, Node, Sandbox, pod};
use serde_json::{Value, json};
use std::fs::File;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A node whose root and logs are on an ext4 of its own, and whose run directory is where temporary directories are: in memory, as /run is,
/// when `TMPDIR` says so.
pub(crate) struct Bed {
    pub(crate) node: Node,
    _disk: TempDir,
}

impl Bed {
    pub(crate) fn new(config: &str) -> anyhow::Result<Self> {
        let sandbox = Sandbox::new();
        let node = Node::builder_in(&sandbox).config(config).prepare();
        let disk = tempfile::Builder::new()
            .prefix("coracle-bench-")
            .tempdir_in("/var/tmp")?;
        let file = disk.path().join("ext4");
        File::create(&file)?.set_len(8 << 30)?;
        let file = file.to_string_lossy().into_owned();
        let root = node.root().to_string_lossy().into_owned();
        sandbox.say(
            "mkfs.ext4",
            &["-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", &file],
        );
        sandbox.say("mount", &["-o", "loop,noatime", &file, &root]);
        let (disk_logs, logs) = (node.root().join("logs"), node.dir("log"));
        sandbox.enter(|| std::fs::create_dir(&disk_logs))?;
        sandbox.say(
            "mount",
            &[
                "--bind",
                &disk_logs.to_string_lossy(),
                &logs.to_string_lossy(),
            ],
        );
        node.start_agent();
        node.load(BUSYBOX, &Image::busybox());
        Ok(Self { node, _disk: disk })
    }

    /// All pods that the node knows, by its HTTP server: cheaper than a command.
    pub(crate) fn pods(&self) -> Vec<Value> {
        let answer = self.node.http("/pods").json().unwrap_or_default();
        answer["items"].as_array().cloned().unwrap_or_default()
    }

    /// Waits until `holds` of the pods; looks every `pause`.
    pub(crate) fn wait(
        &self,
        what: &str,
        pause: Duration,
        holds: impl Fn(&[Value]) -> bool,
    ) -> anyhow::Result<()> {
        let begin = Instant::now();
        while !holds(&self.pods()) {
            ensure!(
                begin.elapsed() < Duration::from_secs(120),
                "waited 120 s in vain for {what}"
            );
            std::thread::sleep(pause);
        }
        Ok(())
    }

    pub(crate) fn running(pods: &[Value]) -> usize {
        pods.iter()
            .filter(|pod| pod["status"]["phase"] == "Running")
            .count()
    }

    /// How long it took from seeing the manifest to the program's first instruction, and the steps on the way, in ms.
    pub(crate) fn start_of(&self, name: &str) -> anyhow::Result<Start> {
        let told: Value = self.node.json(&["explain", name, "-o", "json"]);
        Start::read(&told).with_context(|| format!("the timeline of {name}: {told:#}"))
    }
}

/// A pod of one process that sleeps; killed without grace.
pub(crate) fn sleeper(name: &str) -> Manifest {
    pod(name)
        .spec("terminationGracePeriodSeconds", json!(0))
        .container(json!({"name": "main", "image": BUSYBOX, "command": ["/bin/sleep", "1000000"]}))
}

pub(crate) struct Start {
    pub(crate) total: f64,
    pub(crate) seen: f64,
    pub(crate) started: f64,
    pub(crate) steps: Vec<(String, f64)>,
}

impl Start {
    /// The steps of the container end, all of them, at the moment of its exec: that is the clock of the node's own record.
    fn read(told: &Value) -> Option<Self> {
        let steps = told["steps"].as_array()?;
        let seen = at(steps.iter().find(|step| step["what"] == "seen")?)?;
        let timed: Vec<_> = steps
            .iter()
            .filter(|step| !step["took"].is_null())
            // what follows the exec is none of its steps
            .filter(
                |step| !matches!(step["what"].as_str(), Some(what) if what.starts_with("first ")),
            )
            .collect();
        let started = timed
            .iter()
            .filter(|step| step["container"] == "main")
            .filter_map(|step| at(step))
            .fold(f64::NAN, f64::max);
        if started.is_nan() {
            return None;
        }
        Some(Self {
            total: started - seen,
            seen,
            started,
            steps: timed
                .iter()
                .map(|step| {
                    (
                        step["what"].as_str().unwrap_or_default().to_owned(),
                        took(step),
                    )
                })
                .collect(),
        })
    }
}

/// Milliseconds since 1970.
fn at(step: &Value) -> Option<f64> {
    let time: jiff::Timestamp = step["at"].as_str()?.parse().ok()?;
    #[allow(clippy::cast_precision_loss, reason = "a microsecond is enough")]
    Some(time.as_microsecond() as f64 / 1000.0)
}

fn took(step: &Value) -> f64 {
    let part = |name: &str| step["took"][name].as_f64().unwrap_or_default();
    part("secs") * 1000.0 + part("nanos") / 1_000_000.0
}

#[cfg(test)]
mod tests {
    use super::Start;
    use serde_json::json;

    #[test]
    fn a_start_is_read_from_the_timeline() {
        let told = json!({"steps": [
            {"at": "2026-01-01T00:00:00.000100000Z", "what": "seen", "detail": ""},
            {"at": "2026-01-01T00:00:00.001100000Z", "took": {"secs": 0, "nanos": 500_000}, "what": "sandbox", "detail": ""},
            {"at": "2026-01-01T00:00:00.003100000Z", "took": {"secs": 0, "nanos": 1_250_000}, "container": "main", "what": "launch", "detail": ""},
        ]});
        let start = Start::read(&told).unwrap();
        assert!((start.total - 3.0).abs() < 0.01, "{}", start.total);
        assert_eq!(
            start.steps,
            [("sandbox".to_owned(), 0.5), ("launch".to_owned(), 1.25)]
        );
    }
}
