//! What the worker says of probing: a pod's targets when its record changes, and its end.

use pod_lifecycle::{Input, NodeCore, Settings};
use pod_model::{
    Action, AdmittedPod, ExitCause, ExitRecord, ExitSeen, ImageFact, MonoTime, Now, Observed,
    Outcome, PodUid, ProbeKind, ProbeTarget, Probed, ProcessFacts, Seq,
};
use pod_worker::{
    Board, Clock, Command, Done, Executor, Inputs, Line, NoAccount, Probes, Records, Worker,
};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Everything succeeds at once.
struct Willing(Arc<OnceLock<Inputs>>);

impl Executor for Willing {
    async fn run(&self, action: Action, _: Option<AdmittedPod>, _: Line) -> Done {
        let outcome = match &action {
            Action::Prepare { .. } => Outcome::Prepared {
                addresses: vec!["10.0.0.7".to_owned()],
            },
            Action::EnsureImage { .. } => Outcome::Image(ImageFact {
                id: "sha256:a".to_owned(),
                repo_digest: "i@sha256:b".to_owned(),
                was_present: true,
                size_bytes: 1,
                pull: Duration::ZERO,
            }),
            Action::Start { .. } => Outcome::Started {
                pid: 7,
                at: Watch::default().now(),
                process: ProcessFacts::default(),
            },
            Action::Stop { container } => {
                let seen = ExitSeen {
                    container: container.clone(),
                    exit: ended(),
                    last_words: None,
                    seq: Seq(3),
                };
                self.0.get().unwrap().observe(Input::Exit(seen)).unwrap();
                Outcome::Done
            }
            _ => Outcome::Done,
        };
        Done {
            outcome: Ok(outcome),
            seq: Seq(2),
            spans: Vec::new(),
            ended_at: None,
        }
    }
}

fn ended() -> ExitRecord {
    let now = Watch::default().now();
    ExitRecord {
        code: 0,
        signal: None,
        cause: ExitCause::Exited,
        started_at: now.wall,
        finished_at: now.wall,
        finished_mono: now.mono,
    }
}

struct NoRecords;

impl Records for NoRecords {
    fn save_pod(&mut self, _: &AdmittedPod) -> Result<(), state_file::WriteError> {
        Ok(())
    }
    fn save_record(&mut self, _: &PodUid, _: u32, _: &[u8]) -> Result<(), state_file::WriteError> {
        Ok(())
    }
    fn remove(&mut self, _: &PodUid) {}
}

#[derive(Clone)]
struct Watch(Instant);

impl Default for Watch {
    fn default() -> Self {
        static BEGUN: OnceLock<Instant> = OnceLock::new();
        Self(*BEGUN.get_or_init(Instant::now))
    }
}

impl Clock for Watch {
    fn now(&self) -> Now {
        let nanos = u64::try_from(self.0.elapsed().as_nanos()).unwrap();
        Now {
            mono: MonoTime(1_000_000_000 + nanos),
            ..Now::default()
        }
    }
}

/// Says what it is told.
struct Told(mpsc::UnboundedSender<Option<Vec<ProbeTarget>>>);

impl Probes for Told {
    fn tend(&mut self, _: &AdmittedPod, targets: Vec<ProbeTarget>) {
        self.0.send(Some(targets)).unwrap();
    }
    fn forget(&mut self, _: &PodUid) {
        self.0.send(None).unwrap();
    }
}

fn worker() -> (Inputs, mpsc::UnboundedReceiver<Option<Vec<ProbeTarget>>>) {
    let to: Arc<OnceLock<Inputs>> = Arc::default();
    let (looking, (tell, told)) = (Arc::clone(&to), mpsc::unbounded_channel());
    let look = Box::new(move || {
        let nothing = Observed {
            as_of: Seq(1),
            containers: BTreeMap::new(),
        };
        let inputs: &Inputs = looking.get().unwrap();
        inputs.observe(Input::Observed(nothing)).unwrap();
    });
    let worker = Worker::new(
        NodeCore::new(Settings::default()),
        Arc::new(Willing(Arc::clone(&to))),
        NoRecords,
        Watch::default(),
        Board::default(),
        look,
        Box::new(NoAccount),
    )
    .probing(Box::new(Told(tell)));
    let inputs = worker.inputs();
    to.set(inputs.clone()).unwrap();
    tokio::spawn(worker.run());
    inputs.observe(Input::SourcesReady).unwrap();
    (inputs, told)
}

fn want(inputs: &Inputs, pod: AdmittedPod) {
    let seen = Watch::default().now();
    inputs.send(Command::Desired { pod, seen }).unwrap();
}

#[tokio::test]
async fn a_pod_is_tended_while_it_is_probed() {
    let (inputs, mut told) = worker();
    let bare = test_kit::pod("bare").container("app").build();
    let probed = test_kit::pod("web")
        .container("app")
        .probe(ProbeKind::Startup, None)
        .probe(ProbeKind::Readiness, None)
        .build();
    want(&inputs, bare);
    want(&inputs, probed.clone());
    let first = told.recv().await.unwrap().unwrap();
    let [startup] = first.as_slice() else {
        panic!("{first:?}");
    };
    assert_eq!(startup.container.pod, *probed.uid(), "the other has none");
    assert_eq!(startup.kind, ProbeKind::Startup);
    assert_eq!(startup.pod_ip.as_deref(), Some("10.0.0.7"));

    let started = Probed {
        container: startup.container.clone(),
        kind: ProbeKind::Startup,
        healthy: true,
        message: String::new(),
    };
    inputs.observe(Input::Probed(started)).unwrap();
    let readiness = loop {
        let targets = told.recv().await.unwrap().unwrap();
        if targets.iter().all(|t| t.kind == ProbeKind::Readiness) {
            break targets;
        }
    };
    assert_eq!(readiness[0].healthy, Some(false));

    let (uid, grace) = (probed.uid().clone(), None);
    inputs.send(Command::Deleted { uid, grace }).unwrap();
    while told.recv().await.unwrap().is_some() {}
}
