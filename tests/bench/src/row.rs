//! One figure: its samples, its target, its verdict; and the table of them.

use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs;

#[derive(Clone, Copy)]
pub(crate) enum Target {
    AtMost(f64),
    AtLeast(f64),
    /// A peer's figure, or one that nobody has set a target for.
    None,
}

pub(crate) struct Row {
    id: &'static str,
    unit: &'static str,
    samples: Vec<f64>,
    target: Target,
    /// How it was measured.
    method: String,
    /// `(step, median)` where the figure is a sum of steps.
    pub(crate) steps: Vec<(String, f64)>,
    absent: Option<String>,
}

/// Units and targets of design section 8, by id. Version 1 of cgroups has its own for two.
fn known(id: &str) -> (&'static str, &'static str, Target) {
    use Target::{AtLeast, AtMost, None};
    let v2 = fs::metadata("/sys/fs/cgroup/cgroup.controllers").is_ok();
    let by_version = |v1: f64, two: f64| AtMost(if v2 { two } else { v1 });
    match id {
        "pod_start" => ("pod_start", "ms", by_version(4.0, 3.0)),
        "pod_start_8" => ("pod_start_8", "ms", None),
        "burst_110" => ("burst_110", "ms", AtMost(500.0)),
        "life_cycles" => ("life_cycles", "1/s", AtLeast(150.0)),
        "stop" => ("stop", "ms", AtMost(5.0)),
        "rss_agent_0" => ("rss_agent_0", "MB", AtMost(8.0)),
        "rss_agent_10" => ("rss_agent_10", "MB", None),
        "keeper_private_0" => ("keeper_private_0", "MB", None),
        "keeper_private_10" => ("keeper_private_10", "MB", None),
        "pod_cost_10" => ("pod_cost_10", "MB", None),
        "rss_agent_110" => ("rss_agent_110", "MB", AtMost(12.0)),
        "keeper_private_110" => ("keeper_private_110", "MB", AtMost(1.0)),
        "pod_cost" => ("pod_cost", "MB", by_version(0.65, 0.55)),
        "idle_cpu_110" => ("idle_cpu_110", "%", AtMost(0.1)),
        "http_probes" => ("http_probes", "%", AtMost(10.0)),
        "http_probes_bare" => ("http_probes_bare", "%", None),
        "exec_probes" => ("exec_probes", "%", AtMost(8.0)),
        "ready_after" => ("ready_after", "ms", AtMost(10.0)),
        "pull_unpack" => ("pull_unpack", "MB/s", AtLeast(300.0)),
        "binary" => ("binary", "MB", AtMost(15.0)),
        "crun_run" => ("crun_run", "ms", None),
        "podman_run" => ("podman_run", "ms", None),
        "podman_kube_play" => ("podman_kube_play", "ms", None),
        _ => ("unknown", "", None),
    }
}

impl Row {
    pub(crate) fn new(id: &str, mut samples: Vec<f64>, method: impl Into<String>) -> Self {
        let (id, unit, target) = known(id);
        samples.sort_by(f64::total_cmp);
        Self {
            id,
            unit,
            samples,
            target,
            method: method.into(),
            steps: Vec::new(),
            absent: None,
        }
    }

    pub(crate) fn absent(id: &str, reason: &str) -> Self {
        Self {
            absent: Some(reason.to_owned()),
            ..Self::new(id, Vec::new(), "")
        }
    }

    /// The sample below which a share `part` of all lies (nearest rank).
    fn quantile(&self, part: f64) -> Option<f64> {
        let last = self.samples.len().checked_sub(1)?;
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rank among some hundred samples"
        )]
        let rank = (part * self.samples.len() as f64).ceil() as usize;
        self.samples.get(rank.saturating_sub(1).min(last)).copied()
    }

    fn verdict(&self) -> &'static str {
        match (self.target, self.quantile(0.5)) {
            (_, None) => "not measured",
            (Target::None, _) => "",
            (Target::AtMost(limit), Some(value)) if value <= limit => "met",
            (Target::AtLeast(limit), Some(value)) if value >= limit => "met",
            _ => "missed",
        }
    }

    pub(crate) fn to_json(&self) -> Value {
        let target = match self.target {
            Target::AtMost(limit) | Target::AtLeast(limit) => Some(limit),
            Target::None => None,
        };
        let mut row = json!({
            "id": self.id,
            "unit": self.unit,
            "min": self.quantile(0.0),
            "p50": self.quantile(0.5),
            "p99": self.quantile(0.99),
            "target": target,
            "samples": self.samples.len(),
            "method": self.method,
        });
        if let Some(reason) = &self.absent {
            row["absent"] = json!(reason);
        }
        if !self.steps.is_empty() {
            row["steps"] = self
                .steps
                .iter()
                .map(|(step, ms)| json!({"step": step, "p50": ms}))
                .collect();
        }
        row
    }
}

pub(crate) fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or_default()
}

fn shown(value: Option<f64>) -> String {
    match value {
        Some(value) if value >= 100.0 => format!("{value:.0}"),
        Some(value) if value >= 10.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.2}"),
        None => "-".to_owned(),
    }
}

pub(crate) fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "\n{:<20}{:<6}{:>9}{:>9}{:>9}{:>10}  {:<13}{}\n",
        "id", "unit", "min", "p50", "p99", "target", "verdict", "method"
    );
    for row in rows {
        let target = match row.target {
            Target::AtMost(limit) => format!("<= {limit}"),
            Target::AtLeast(limit) => format!(">= {limit}"),
            Target::None => "-".to_owned(),
        };
        let note = row.absent.as_ref().unwrap_or(&row.method);
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{:<20}{:<6}{:>9}{:>9}{:>9}{:>10}  {:<13}{}",
            row.id,
            row.unit,
            shown(row.quantile(0.0)),
            shown(row.quantile(0.5)),
            shown(row.quantile(0.99)),
            target,
            row.verdict(),
            note
        );
        for (step, ms) in &row.steps {
            let _ = writeln!(text, "    {step:<36}{ms:>8.3} ms");
        }
    }
    text
}

/// What the figures depend on.
pub(crate) fn host() -> Value {
    let read = |file: &str| {
        fs::read_to_string(file)
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    let cpu = read("/proc/cpuinfo")
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map(|name| name.trim_start_matches([' ', '\t', ':']).to_owned());
    let memory = read("/proc/meminfo")
        .lines()
        .next()
        .map(|line| line.trim_start_matches("MemTotal:").trim().to_owned());
    let cgroup = if fs::metadata("/sys/fs/cgroup/cgroup.controllers").is_ok() {
        "v2"
    } else {
        "v1"
    };
    json!({
        "kernel": read("/proc/sys/kernel/osrelease"),
        "cpu": cpu,
        "cores": std::thread::available_parallelism().map_or(1, usize::from),
        "memory": memory,
        "cgroup": cgroup,
        "load": read("/proc/loadavg"),
    })
}

#[cfg(test)]
mod tests {
    use super::Row;

    #[test]
    fn quantiles_are_samples() {
        let row = Row::new("stop", (1..=100).rev().map(f64::from).collect(), "");
        let values = [0.0, 0.5, 0.99].map(|part| row.quantile(part));
        assert_eq!(values, [Some(1.0), Some(50.0), Some(99.0)]);
        assert_eq!(Row::absent("stop", "why").verdict(), "not measured");
    }

    #[test]
    fn a_target_is_met_by_the_median() {
        assert_eq!(Row::new("stop", vec![1.0, 2.0, 90.0], "").verdict(), "met");
        assert_eq!(Row::new("life_cycles", vec![149.0], "").verdict(), "missed");
        assert_eq!(Row::new("crun_run", vec![149.0], "").verdict(), "");
    }
}
