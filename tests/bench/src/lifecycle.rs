//! Whole lives: created, run, ended, gone; and how fast a pod that is to end is final.

use crate::bed::Bed;
use crate::row::Row;
use node_tests::manifest::{BUSYBOX, idle};
use node_tests::pod;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

const CYCLES: usize = 600;
/// Pods in flight: enough to keep two cores busy, few enough that the table of pods stays small.
const AT_ONCE: usize = 24;

pub(crate) fn cycles() -> anyhow::Result<Vec<Row>> {
    let bed = Bed::new("")?;
    let one = |name: &str| {
        pod(name)
            .once()
            .container(json!({"name": "main", "image": BUSYBOX, "command": ["/bin/true"]}))
    };
    let mut begun = 0;
    let mut removed = BTreeSet::new();
    let mut over = 0;
    let mut alive: BTreeSet<String> = BTreeSet::new();
    let begin = Instant::now();
    while over < CYCLES {
        while alive.len() < AT_ONCE && begun < CYCLES {
            let name = format!("c{begun}");
            bed.node.apply(&one(&name));
            alive.insert(name);
            begun += 1;
        }
        let pods = bed.pods();
        let phase = |name: &str| {
            pods.iter()
                .find(|pod| pod["metadata"]["name"] == format!("{name}-node"))
                .map(|pod| {
                    pod["status"]["phase"]
                        .as_str()
                        .unwrap_or_default()
                        .to_owned()
                })
        };
        for name in alive.clone() {
            match phase(&name) {
                Some(phase) if phase == "Succeeded" && removed.insert(name.clone()) => {
                    bed.node.remove_manifest(&name)
                }
                None if removed.contains(&name) => {
                    alive.remove(&name);
                    over += 1;
                }
                _ => {}
            }
        }
        anyhow::ensure!(
            begin.elapsed() < Duration::from_secs(180),
            "{over} of {CYCLES} cycles in 180 s"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    #[allow(clippy::cast_precision_loss, reason = "some hundreds")]
    let rate = CYCLES as f64 / begin.elapsed().as_secs_f64();
    Ok(vec![Row::new(
        "life_cycles",
        vec![rate],
        format!(
            "{CYCLES} pods of /bin/true, {AT_ONCE} in flight, until gone; the observer's polling included"
        ),
    )])
}

pub(crate) fn stop() -> anyhow::Result<Vec<Row>> {
    let bed = Bed::new("")?;
    let mut samples = Vec::new();
    for number in 0..54 {
        let name = format!("s{number}");
        bed.node.apply(&pod(&name).container(idle("main")));
        bed.wait("the pod to run", Duration::from_millis(50), |pods| {
            Bed::running(pods) == 1
        })?;
        std::thread::sleep(Duration::from_millis(200));
        let begin = Instant::now();
        bed.node.remove_manifest(&name);
        bed.wait("the final status", Duration::from_micros(200), |pods| {
            pods.iter().all(is_final)
        })?;
        samples.push(begin.elapsed().as_secs_f64() * 1000.0);
        bed.wait(
            "the pod to be gone",
            Duration::from_millis(50),
            <[_]>::is_empty,
        )?;
    }
    samples.drain(..4);
    Ok(vec![Row::new(
        "stop",
        samples,
        "manifest removed, its program ends at TERM, until its container is reported terminated over HTTP; polling included",
    )])
}

fn is_final(pod: &Value) -> bool {
    pod["status"]["containerStatuses"]
        .as_array()
        .is_some_and(|list| {
            list.iter()
                .all(|status| status["state"]["terminated"].is_object())
        })
}
