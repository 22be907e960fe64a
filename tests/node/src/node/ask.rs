//! Asking the node, by its command line and by HTTP.

use super::Node;
use crate::http::{self, Answer};
use crate::view::PodView;
use crate::wait::{seconds, wait_for, wait_until};
use serde_json::Value;
use std::process::{Command, Output, Stdio};

impl Node {
    /// `coracle WORDS…` on this node, not started yet. `--run-dir` follows the verb: what a person may write last may not
    /// come after `--`.
    pub fn ask(&self, words: &[&str]) -> Command {
        let mut command = self.command();
        if let Some((verb, rest)) = words.split_first() {
            command
                .arg(verb)
                .arg("--run-dir")
                .arg(self.run_dir())
                .args(rest);
        }
        command.stdin(Stdio::null());
        command
    }

    /// Runs `coracle WORDS…` to its end.
    pub fn coracle(&self, words: &[&str]) -> Output {
        let mut command = self.ask(words);
        self.sandbox
            .enter(|| command.output())
            .expect("start coracle")
    }

    /// Standard output of `coracle WORDS…`, which must succeed.
    #[track_caller]
    pub fn say(&self, words: &[&str]) -> String {
        let output = self.coracle(words);
        assert!(
            output.status.success(),
            "coracle {} ended with {}: {}",
            words.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Standard error of `coracle WORDS…`, which must fail.
    #[track_caller]
    pub fn refuses(&self, words: &[&str]) -> String {
        let output = self.coracle(words);
        assert!(
            !output.status.success(),
            "coracle {} succeeded: {}",
            words.join(" "),
            String::from_utf8_lossy(&output.stdout)
        );
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    #[track_caller]
    pub fn json(&self, words: &[&str]) -> Value {
        let text = self.say(words);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{words:?}: {error}: {text}"))
    }

    /// As `/pods` has them: no process is started to ask.
    #[track_caller]
    pub fn pods(&self) -> Vec<PodView> {
        let list = self.http("/pods").json().expect("JSON");
        let items = list["items"].as_array().cloned().unwrap_or_default();
        items.into_iter().map(|value| PodView { value }).collect()
    }

    /// A pod by the name in its manifest; a static pod bears the node's name behind its own.
    #[track_caller]
    pub fn pod(&self, name: &str) -> Option<PodView> {
        let full = format!("{name}-{}", self.name);
        self.pods().into_iter().find(|pod| {
            let metadata = &pod.value["metadata"];
            metadata["name"] == name || metadata["name"] == full.as_str()
        })
    }

    /// Waits until the pod is there and `holds` of it.
    #[track_caller]
    pub fn wait_pod(&self, name: &str, what: &str, holds: impl Fn(&PodView) -> bool) -> PodView {
        let mut last = None;
        let begin = std::time::Instant::now();
        loop {
            if let Some(pod) = self.pod(name) {
                if holds(&pod) {
                    return pod;
                }
                last = Some(pod);
            }
            assert!(
                begin.elapsed() < seconds(40),
                "pod {name} is never {what}; its status: {:#}",
                last.map(|pod| pod.value["status"].clone())
                    .unwrap_or_default()
            );
            std::thread::sleep(std::time::Duration::from_millis(30));
        }
    }

    #[track_caller]
    pub fn wait_ready(&self, name: &str) -> PodView {
        self.wait_pod(name, "ready", PodView::is_ready)
    }

    #[track_caller]
    pub fn wait_phase(&self, name: &str, phase: &str) -> PodView {
        self.wait_pod(name, phase, |pod| pod.phase() == phase)
    }

    #[track_caller]
    pub fn wait_gone(&self, name: &str) {
        wait_until(&format!("pod {name} to be gone"), seconds(40), || {
            self.pod(name).is_none()
        });
    }

    /// All that a container has printed, as `coracle logs` shows it.
    #[track_caller]
    pub fn logs(&self, pod: &str, container: &str) -> String {
        self.say(&["logs", pod, "-c", container])
    }

    /// Waits until a container's log holds `text`; the whole log.
    #[track_caller]
    pub fn wait_log(&self, pod: &str, container: &str, text: &str) -> String {
        wait_for(
            &format!("{text:?} in the log of {pod}"),
            seconds(30),
            || {
                let output = self.coracle(&["logs", pod, "-c", container]);
                let log = String::from_utf8_lossy(&output.stdout).into_owned();
                log.contains(text).then_some(log)
            },
        )
    }

    /// Runs a command in a container; its output must be text and its exit code 0.
    #[track_caller]
    pub fn exec(&self, pod: &str, container: &str, words: &[&str]) -> String {
        let mut all = vec!["exec", pod, "-c", container, "--"];
        all.extend(words);
        self.say(&all)
    }

    /// GET on the node's HTTP server.
    #[track_caller]
    pub fn http(&self, path: &str) -> Answer {
        self.sandbox
            .enter(|| http::get(&self.address, path))
            .unwrap_or_else(|error| panic!("GET {path}: {error:#}"))
    }

    /// GET on any address that the node's machine reaches.
    pub fn fetch(&self, address: &str, path: &str) -> anyhow::Result<Answer> {
        self.sandbox.enter(|| http::get(address, path))
    }
}
