//! `logs`: of one container, or of all of a pod's.

use crate::agent::{Agent, Parts, path};
use crate::command::Logs;
use crate::error::ClientError;
use crate::output;
use crate::select;
use futures_util::stream::{FuturesUnordered, StreamExt};
use http::Method;
use k8s_openapi::api::core::v1::Pod;

/// A line that is longer is printed in parts, when lines of several containers come between each other.
const LONGEST_LINE: usize = 1 << 20;

pub(crate) async fn logs(agent: &Agent, wanted: Logs) -> Result<(), ClientError> {
    let pod = select::one_pod(agent, &wanted.namespace.namespace, &wanted.pod).await?;
    let name = pod.metadata.name.clone().unwrap_or_default();
    let containers = if wanted.all_containers {
        in_order_of_start(&pod)
    } else {
        let named = wanted
            .container
            .as_deref()
            .or(wanted.container_name.as_deref());
        vec![select::container(&pod, named)?]
    };
    let query = query_of(&wanted)?;
    let query: Vec<(&str, &str)> = query.iter().map(|(k, v)| (*k, v.as_str())).collect();
    let mut sources = Vec::new();
    for container in containers {
        let namespace = &wanted.namespace.namespace;
        let path = path(&["containerLogs", namespace, &name, &container], &query);
        let parts = agent.stream(Method::GET, &path).await?;
        let prefix = wanted.prefix.then(|| format!("[pod/{name}/{container}] "));
        sources.push((parts, prefix));
    }
    if wanted.follow && sources.len() > 1 {
        let mut all: FuturesUnordered<_> = sources
            .into_iter()
            .map(|(parts, prefix)| copy_lines(parts, prefix.unwrap_or_default()))
            .collect();
        while let Some(done) = all.next().await {
            done?;
        }
        return Ok(());
    }
    for (parts, prefix) in sources {
        match prefix {
            Some(prefix) => copy_lines(parts, prefix).await?,
            None => copy(parts).await?,
        }
    }
    Ok(())
}

/// Init containers first, as kubectl shows all containers.
fn in_order_of_start(pod: &Pod) -> Vec<String> {
    let (init, main): (Vec<_>, Vec<_>) = select::containers(pod)
        .into_iter()
        .partition(|(_, kind)| !kind.is_empty());
    init.into_iter().chain(main).map(|(name, _)| name).collect()
}

fn query_of(wanted: &Logs) -> Result<Vec<(&'static str, String)>, ClientError> {
    let mut query = Vec::new();
    for (name, is_set) in [
        ("follow", wanted.follow),
        ("previous", wanted.previous),
        ("timestamps", wanted.timestamps),
    ] {
        if is_set {
            query.push((name, "true".to_owned()));
        }
    }
    match wanted.tail {
        -1 => {}
        lines if lines < 0 => {
            return Err(ClientError::Said(
                "--tail must be greater than or equal to -1".to_owned(),
            ));
        }
        lines => query.push(("tailLines", lines.to_string())),
    }
    if let Some(since) = wanted.since {
        // Rounded up, as kubectl rounds.
        let seconds = since.as_secs_f64().ceil().max(1.0);
        query.push(("sinceSeconds", format!("{seconds:.0}")));
    }
    if let Some(time) = wanted.since_time {
        query.push(("sinceTime", time.to_string()));
    }
    if let Some(bytes) = wanted.limit_bytes {
        query.push(("limitBytes", bytes.to_string()));
    }
    Ok(query)
}

async fn copy(mut parts: Parts) -> Result<(), ClientError> {
    while let Some(bytes) = parts.bytes().await? {
        output::print_bytes(&bytes)?;
    }
    Ok(())
}

/// Prints whole lines with `prefix` before each.
async fn copy_lines(mut parts: Parts, prefix: String) -> Result<(), ClientError> {
    let mut rest = Vec::new();
    while let Some(bytes) = parts.bytes().await? {
        rest.extend_from_slice(&bytes);
        let end = match rest.iter().rposition(|b| *b == b'\n') {
            Some(last) => last + 1,
            None if rest.len() > LONGEST_LINE => rest.len(),
            None => continue,
        };
        let whole: Vec<u8> = rest.drain(..end).collect();
        output::print_bytes(&prefixed(&whole, &prefix))?;
    }
    output::print_bytes(&prefixed(&rest, &prefix))
}

fn prefixed(lines: &[u8], prefix: &str) -> Vec<u8> {
    lines
        .split_inclusive(|b| *b == b'\n')
        .flat_map(|line| [prefix.as_bytes(), line].concat())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_bears_its_prefix() {
        assert_eq!(prefixed(b"a\nb\nc", "> "), b"> a\n> b\n> c");
        assert_eq!(prefixed(b"", "> "), b"");
    }
}
