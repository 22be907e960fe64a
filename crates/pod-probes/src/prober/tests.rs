//! The task, with commands that succeed or fail as they are told, and a clock that runs by itself.

use super::*;
use crate::exec::Ran;
use k8s_openapi::api::core::v1::{Container, ExecAction, Pod, PodSpec, Probe};
use pod_model::{Attempt, ContainerName, QosClass};
use std::collections::VecDeque;
use std::sync::Mutex;

/// What each try is to say, and when tries came, in seconds since the beginning.
#[derive(Default)]
struct Script {
    runs: Mutex<VecDeque<Ran>>,
    came: Mutex<Vec<u64>>,
    begun: Mutex<Option<Instant>>,
}

impl Exec for Script {
    async fn exec(&self, _: &ContainerKey, _: &[String], at_most: Duration) -> Ran {
        let begun = *self.begun.lock().unwrap().get_or_insert_with(Instant::now);
        self.came.lock().unwrap().push(begun.elapsed().as_secs());
        let next = self.runs.lock().unwrap().pop_front();
        match next {
            Some(Ran::TimedOut) => {
                tokio::time::sleep(at_most).await;
                Ran::TimedOut
            }
            Some(ran) => ran,
            None => std::future::pending().await,
        }
    }
}

struct Ear(mpsc::UnboundedSender<String>);

impl Listen for Ear {
    fn hear(&self, said: Said<'_>) {
        let text = match said {
            Said::Probed(probed) => format!("{} {}", probed.kind, probed.healthy),
            Said::Failed(failed) => format!("{} failed: {}", failed.kind, failed.message),
            Said::Warned(named, text) => format!("{} warned: {text}", named.kind),
            Said::Errored(named, _, text) => format!("{} errored: {text}", named.kind),
            Said::Tried { .. } => return,
            Said::Gone(named) => format!("{} gone", named.kind),
        };
        self.0.send(text).unwrap();
    }
}

fn now() -> Now {
    Now {
        mono: MonoTime(1_000_000_000_000),
        ..Now::default()
    }
}

fn pod() -> AdmittedPod {
    let probe = Probe {
        exec: Some(ExecAction {
            command: Some(vec!["true".into()]),
        }),
        period_seconds: Some(10),
        initial_delay_seconds: Some(5),
        failure_threshold: Some(2),
        ..Probe::default()
    };
    let container = Container {
        name: "app".into(),
        readiness_probe: Some(probe.clone()),
        liveness_probe: Some(probe),
        ..Container::default()
    };
    let mut pod = Pod::default();
    pod.metadata.uid = Some("uid".into());
    pod.metadata.name = Some("web".into());
    pod.spec = Some(PodSpec {
        containers: vec![container],
        ..PodSpec::default()
    });
    AdmittedPod::from_validated(pod, QosClass::BestEffort).unwrap()
}

fn target(kind: ProbeKind, healthy: Option<bool>) -> ProbeTarget {
    let name = ContainerName::new("app").unwrap();
    ProbeTarget {
        container: ContainerKey::new(pod().uid().clone(), name, Attempt(0)),
        kind,
        pod_ip: None,
        started: now().mono,
        healthy,
    }
}

fn ok() -> Ran {
    Ran::Ended {
        code: 0,
        output: Vec::new(),
    }
}

fn bad() -> Ran {
    Ran::Ended {
        code: 1,
        output: b"no".to_vec(),
    }
}

/// Runs what the script has and gives what was said until `last` was said.
async fn heard(runs: Vec<Ran>, target: ProbeTarget, last: &str) -> (Vec<String>, Vec<u64>) {
    let exec = Arc::new(Script::default());
    exec.runs.lock().unwrap().extend(runs);
    let (tell, mut said) = mpsc::unbounded_channel();
    let (prober, probes) = Prober::new(Arc::clone(&exec), Ear(tell), "127.0.0.1".into(), now);
    *exec.begun.lock().unwrap() = Some(Instant::now());
    let running = tokio::spawn(prober.run());
    probes.tend(&pod(), vec![target.clone()]);
    probes.tend(&pod(), vec![target]);
    let mut heard = Vec::new();
    while heard.last().is_none_or(|text| text != last) {
        heard.push(said.recv().await.unwrap());
    }
    probes.forget(pod().uid());
    assert!(said.recv().await.unwrap().ends_with(" gone"));
    drop(probes);
    running.await.unwrap();
    let came = exec.came.lock().unwrap().clone();
    (heard, came)
}

#[tokio::test(start_paused = true)]
async fn a_change_is_told_once_and_a_failure_each_time() {
    let runs = vec![ok(), ok(), bad(), bad(), bad(), ok()];
    let target = target(ProbeKind::Readiness, None);
    let exec = Arc::new(Script::default());
    exec.runs.lock().unwrap().extend(runs);
    let (tell, mut said) = mpsc::unbounded_channel();
    let (prober, probes) = Prober::new(Arc::clone(&exec), Ear(tell), "127.0.0.1".into(), now);
    *exec.begun.lock().unwrap() = Some(Instant::now());
    tokio::spawn(prober.run());
    probes.tend(&pod(), vec![target]);
    for expected in [
        "readiness true",
        "readiness failed: no",
        "readiness failed: no",
        "readiness false",
        "readiness failed: no",
        "readiness true",
    ] {
        assert_eq!(said.recv().await.unwrap(), expected);
    }
    assert_eq!(*exec.came.lock().unwrap(), [5, 15, 25, 35, 45, 55]);
}

#[tokio::test(start_paused = true)]
async fn a_liveness_probe_is_on_hold_after_its_failure() {
    let runs = vec![bad(), Ran::TimedOut, ok()];
    let target = target(ProbeKind::Liveness, Some(true));
    let (heard, came) = heard(runs, target, "liveness false").await;
    let expected = [
        "liveness failed: no",
        "liveness failed: command timed out: \"true\" timed out after 1s",
        "liveness false",
    ];
    assert_eq!(
        (heard, came),
        (expected.map(Into::into).to_vec(), vec![5, 15])
    );
}

#[tokio::test(start_paused = true)]
async fn a_try_that_learns_nothing_is_repeated_and_then_does_not_count() {
    let lost = || Ran::Failed("no such file".into());
    let runs = vec![bad(), lost(), lost(), lost(), lost(), ok(), ok()];
    let target = target(ProbeKind::Readiness, Some(false));
    let (heard, came) = heard(runs, target, "readiness true").await;
    let expected = [
        "readiness failed: no",
        "readiness errored: no such file",
        "readiness true",
    ];
    assert_eq!(heard, expected);
    assert_eq!(came, [5, 15, 15, 15, 25, 25]);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_target_any_more_is_broken_off() {
    let exec = Arc::new(Script::default());
    let (tell, mut said) = mpsc::unbounded_channel();
    let (prober, probes) = Prober::new(Arc::clone(&exec), Ear(tell), "127.0.0.1".into(), now);
    tokio::spawn(prober.run());
    let both = vec![
        target(ProbeKind::Readiness, None),
        target(ProbeKind::Liveness, None),
    ];
    probes.tend(&pod(), both);
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(exec.came.lock().unwrap().len(), 2, "both are under way");
    probes.tend(&pod(), vec![target(ProbeKind::Readiness, None)]);
    holders(&exec, 3).await;
    probes.tend(&pod(), Vec::new());
    holders(&exec, 2).await;
    probes.forget(pod().uid());
    assert_eq!(said.recv().await.unwrap(), "readiness gone");
    assert_eq!(said.recv().await.unwrap(), "liveness gone");
}

/// Waits until so many hold it: a command that is under way is one of them.
async fn holders(exec: &Arc<Script>, count: usize) {
    while Arc::strong_count(exec) != count {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_of_the_agent_the_first_tries_are_spread() {
    let exec = Arc::new(Script::default());
    exec.runs.lock().unwrap().push_back(ok());
    let (tell, mut said) = mpsc::unbounded_channel();
    let (prober, probes) = Prober::new(Arc::clone(&exec), Ear(tell), "127.0.0.1".into(), now);
    *exec.begun.lock().unwrap() = Some(Instant::now());
    tokio::spawn(prober.run());
    let old = ProbeTarget {
        started: MonoTime(1),
        ..target(ProbeKind::Readiness, None)
    };
    probes.tend(&pod(), vec![old]);
    assert_eq!(said.recv().await.unwrap(), "readiness true");
    let came = exec.came.lock().unwrap()[0];
    assert!(came <= 10, "within a period: {came}");
}
