//! A real Prometheus in the node's sandbox, scraping what it is told to; and promtool's judgement.

use crate::http;
use crate::sandbox::Sandbox;
use crate::wait::{seconds, wait_for, wait_until};
use serde_json::Value;
use std::io::Write;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

pub struct Prometheus {
    sandbox: Sandbox,
    server: Child,
    _dir: TempDir,
}

const ADDRESS: &str = "127.0.0.1:9090";

impl Prometheus {
    /// Scrapes each `path` of `target` (`host:port`) every second, as a job of that name.
    pub fn scraping(sandbox: &Sandbox, target: &str, paths: &[&str]) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("coracle-prometheus-")
            .tempdir()
            .expect("make a directory");
        let mut config =
            "global:\n  scrape_interval: 1s\n  scrape_timeout: 1s\nscrape_configs:\n".to_owned();
        for path in paths {
            config.push_str(&format!(
                "  - job_name: {path}\n    metrics_path: {path}\n    static_configs: [{{targets: ['{target}']}}]\n"
            ));
        }
        let file = dir.path().join("prometheus.yml");
        std::fs::write(&file, config).expect("write a configuration");
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                dir.path().join("data").display()
            ))
            .arg(format!("--web.listen-address={ADDRESS}"))
            .arg("--log.level=error")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let server = sandbox
            .enter(|| command.spawn())
            .expect("start prometheus (cargo xtask test installs it)");
        let prometheus = Self {
            sandbox: sandbox.clone(),
            server,
            _dir: dir,
        };
        wait_until("prometheus to be ready", seconds(30), || {
            prometheus.ask("/-/ready").is_some()
        });
        prometheus
    }

    fn ask(&self, path: &str) -> Option<Value> {
        let answer = self.sandbox.enter(|| http::get(ADDRESS, path)).ok()?;
        (answer.status == 200).then(|| answer.json().unwrap_or(Value::Null))
    }

    /// The answer to a query, once it has at least one series.
    #[track_caller]
    pub fn wait_series(&self, query: &str) -> Vec<Value> {
        wait_for(&format!("a series of {query}"), seconds(30), || {
            let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
            let answer = self.ask(&format!("/api/v1/query?query={encoded}"))?;
            let series = answer["data"]["result"].as_array()?.clone();
            (!series.is_empty()).then_some(series)
        })
    }

    /// Waits until every target was scraped without an error.
    #[track_caller]
    pub fn wait_healthy(&self) {
        let mut last = Value::Null;
        let begin = std::time::Instant::now();
        loop {
            if let Some(answer) = self.ask("/api/v1/targets") {
                let targets = answer["data"]["activeTargets"]
                    .as_array()
                    .cloned()
                    .unwrap_or_default();
                if !targets.is_empty() && targets.iter().all(|target| target["health"] == "up") {
                    return;
                }
                last = answer;
            }
            assert!(
                begin.elapsed() < seconds(30),
                "a target is not healthy: {last:#}"
            );
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// What `promtool check metrics` finds wrong with a page of metrics; empty when nothing. Advice about names (which are upstream's) does
/// not count.
pub fn promtool(page: &[u8]) -> String {
    let mut child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start promtool");
    let written = child.stdin.take().map(|mut pipe| pipe.write_all(page));
    let output = child.wait_with_output().expect("promtool's output");
    let said = String::from_utf8_lossy(&output.stderr).into_owned()
        + &String::from_utf8_lossy(&output.stdout);
    // 0: fine, 3: fine but for the linter's advice.
    match (written, output.status.code()) {
        (Some(Ok(())), Some(0 | 3)) => String::new(),
        _ => format!("{}: {said}", output.status),
    }
}

#[cfg(test)]
mod tests {
    use super::promtool;

    #[test]
    fn promtool_tells_metrics_from_nonsense() {
        assert_eq!(
            promtool(b"# HELP a_total b\n# TYPE a_total counter\na_total 1\n"),
            ""
        );
        assert_ne!(promtool(b"a_total{ 1\n"), "");
    }
}
