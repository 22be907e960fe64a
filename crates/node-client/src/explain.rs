//! `explain`: what happened to a pod, when, and how long it took.

use crate::agent::{Agent, path};
use crate::command::{Explain, Machine};
use crate::error::ClientError;
use crate::output;
use crate::{select, tabs};
use jiff::Timestamp;
use node_server::wire::{Explanation, PREFIX};
use std::time::Duration;

pub(crate) async fn explain(agent: &Agent, wanted: Explain) -> Result<(), ClientError> {
    let namespace = &wanted.namespace.namespace;
    let pod = select::one_pod(agent, namespace, &wanted.pod).await?;
    let name = pod.metadata.name.unwrap_or_default();
    let path = format!("{PREFIX}{}", path(&["explain", namespace, &name], &[]));
    let explanation: Explanation = agent.get(&path).await?;
    let value =
        || serde_json::to_value(&explanation).map_err(|e| ClientError::Answer(e.to_string()));
    match wanted.output {
        Some(Machine::Json) => output::print(&output::json(&value()?)?),
        Some(Machine::Yaml) => output::print(&output::yaml(&value()?)?),
        None => output::print(&text(&explanation)?),
    }
}

/// The table: the time of each step, the time since the first, how long it took, and what it was.
fn text(explanation: &Explanation) -> Result<String, ClientError> {
    let Explanation {
        namespace,
        pod,
        uid,
        phase,
        steps,
    } = explanation;
    let mut out = format!("pod {namespace}/{pod} (uid {uid}): {phase}\n");
    let first = steps.first().map(|step| time(&step.at)).transpose()?;
    let mut rows = vec![
        ["TIME", "SINCE SEEN", "TOOK", "CONTAINER", "STEP", "DETAIL"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for step in steps {
        let at = time(&step.at)?;
        let since = first.map_or(0, |first| at.as_nanosecond() - first.as_nanosecond());
        let since = Duration::from_nanos(u64::try_from(since).unwrap_or(0));
        rows.push(vec![
            at.strftime("%H:%M:%S%.3f").to_string(),
            format!("+{}", span(since)),
            step.took.map(span).unwrap_or_default(),
            step.container.clone().unwrap_or_default(),
            step.what.clone(),
            step.detail.replace(['\n', '\t'], " "),
        ]);
    }
    if steps.is_empty() {
        out.push_str("nothing is known of its past: it began before this agent\n");
    } else {
        out.push_str(&tabs::table(&rows, &mut Vec::new()));
    }
    Ok(out)
}

fn time(text: &str) -> Result<Timestamp, ClientError> {
    text.parse()
        .map_err(|e| ClientError::Answer(format!("time {text:?}: {e}")))
}

/// A duration with three figures, in the unit that suits it.
fn span(took: Duration) -> String {
    let seconds = took.as_secs_f64();
    let (value, unit) = match seconds {
        s if s < 1e-3 => return format!("{:.0}us", s * 1e6),
        s if s < 1.0 => (s * 1e3, "ms"),
        s if s < 120.0 => (s, "s"),
        _ => return crate::age::human(i64::try_from(took.as_secs()).unwrap_or(i64::MAX)),
    };
    let digits = match value {
        v if v < 10.0 => 2,
        v if v < 100.0 => 1,
        _ => 0,
    };
    format!("{value:.digits$}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use node_server::wire::Step;

    #[test]
    fn steps_are_told_with_their_times() {
        let step = |at: &str, took: Option<u64>, container: Option<&str>, what: &str| Step {
            at: format!("2026-11-21T10:00:{at}Z"),
            took: took.map(Duration::from_micros),
            container: container.map(str::to_owned),
            what: what.to_owned(),
            detail: "d\ne".to_owned(),
        };
        let explanation = Explanation {
            namespace: "default".to_owned(),
            pod: "p".to_owned(),
            uid: "u".to_owned(),
            phase: "Running".to_owned(),
            steps: vec![
                step("00.0", None, None, "seen"),
                step("00.0018", Some(1800), None, "network"),
                step("01.5", Some(250), Some("main"), "started"),
            ],
        };
        let want = "pod default/p (uid u): Running\n\
            TIME           SINCE SEEN   TOOK     CONTAINER   STEP      DETAIL\n\
            10:00:00.000   +0us                              seen      d e\n\
            10:00:00.001   +1.80ms      1.80ms               network   d e\n\
            10:00:01.500   +1.50s       250us    main        started   d e\n";
        assert_eq!(text(&explanation).unwrap(), want);
    }
}
