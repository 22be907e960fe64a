//! `top`: what pods use, out of two looks at their sums.

use crate::agent::{Agent, path};
use crate::command::Top;
use crate::error::ClientError;
use crate::output::{self, complain};
use crate::{size, tabs};
use node_server::wire::{PREFIX, PodStats, Stats};
use std::time::Duration;

/// The time over which CPU use is taken.
const SPAN: Duration = Duration::from_secs(1);

pub(crate) async fn top(agent: &Agent, wanted: Top) -> Result<(), ClientError> {
    let stats = format!("{PREFIX}{}", path(&["stats"], &[]));
    let before: Stats = agent.get(&stats).await?;
    tokio::time::sleep(SPAN).await;
    let after: Stats = agent.get(&stats).await?;
    let rows = rows(&wanted, &before, &after);
    if rows.is_empty() {
        let namespace = &wanted.namespace.namespace;
        complain(&if wanted.all_namespaces {
            "No resources found".to_owned()
        } else {
            format!("No resources found in {namespace} namespace.")
        });
        return Ok(());
    }
    let mut table = Vec::new();
    if !wanted.no_headers {
        let mut headings = Vec::new();
        if wanted.all_namespaces {
            headings.push("NAMESPACE");
        }
        if wanted.containers {
            headings.extend(["POD", "NAME"]);
        } else {
            headings.push("NAME");
        }
        headings.extend(["CPU(cores)", "MEMORY(bytes)"]);
        table.push(headings.into_iter().map(str::to_owned).collect());
    }
    table.extend(rows);
    output::print(&tabs::table(&table, &mut Vec::new()))
}

fn rows(wanted: &Top, before: &Stats, after: &Stats) -> Vec<Vec<String>> {
    let span = u64::try_from(after.at.saturating_sub(before.at)).unwrap_or(0);
    let mut pods: Vec<&PodStats> = after
        .pods
        .iter()
        .filter(|p| wanted.all_namespaces || p.namespace == wanted.namespace.namespace)
        .collect();
    pods.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    let mut rows = Vec::new();
    for pod in pods {
        let old = before
            .pods
            .iter()
            .find(|p| p.namespace == pod.namespace && p.name == pod.name);
        let begin = || {
            let namespace = wanted.all_namespaces.then(|| pod.namespace.clone());
            namespace.into_iter().chain([pod.name.clone()])
        };
        // A sum that fell is another container's: it began at nothing.
        let used = |now: u64, then: Option<u64>| {
            let used = now.checked_sub(then.unwrap_or(0)).unwrap_or(now);
            size::millicores(used, span)
        };
        if wanted.containers {
            for container in &pod.containers {
                let old = old.and_then(|p| p.containers.iter().find(|c| c.name == container.name));
                let cpu = used(container.cpu_ns, old.map(|c| c.cpu_ns));
                let memory = size::mebibytes(container.memory_working_set_bytes);
                rows.push(
                    begin()
                        .chain([container.name.clone(), cpu, memory])
                        .collect(),
                );
            }
        } else {
            let cpu = used(pod.cpu_ns, old.map(|p| p.cpu_ns));
            let memory = size::mebibytes(pod.memory_working_set_bytes);
            rows.push(begin().chain([cpu, memory]).collect());
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Namespace, PodsOnly};
    use node_server::wire::ContainerStats;

    fn stats(at: i64, cpu_ns: u64) -> Stats {
        let container = ContainerStats {
            name: "main".to_owned(),
            cpu_ns,
            memory_working_set_bytes: 3 << 20,
        };
        Stats {
            at,
            cpu_ns: 0,
            memory_working_set_bytes: 0,
            memory_total_bytes: 0,
            pods: vec![PodStats {
                namespace: "default".to_owned(),
                name: "p".to_owned(),
                cpu_ns,
                memory_working_set_bytes: 4 << 20,
                containers: vec![container],
            }],
        }
    }

    #[test]
    fn use_is_what_was_used_between_two_looks() {
        let mut wanted = Top {
            resource: PodsOnly::Pods,
            namespace: Namespace {
                namespace: "default".to_owned(),
            },
            all_namespaces: false,
            containers: false,
            no_headers: false,
        };
        let (before, after) = (stats(0, 1_000), stats(2_000_000_000, 500_001_000));
        assert_eq!(rows(&wanted, &before, &after), [["p", "250m", "4Mi"]]);
        wanted.containers = true;
        wanted.all_namespaces = true;
        assert_eq!(
            rows(&wanted, &before, &after),
            [["default", "p", "main", "250m", "3Mi"]]
        );
        // Restarted in between.
        assert_eq!(
            rows(&wanted, &after, &stats(3_000_000_000, 1_000_000))[0][3],
            "1m"
        );
        wanted.all_namespaces = false;
        wanted.namespace.namespace = "other".to_owned();
        assert!(rows(&wanted, &before, &after).is_empty());
    }
}
