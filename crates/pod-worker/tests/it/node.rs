//! A worker on which everything succeeds at once.

use pod_lifecycle::{Input, NodeCore, Settings};
use pod_model::{
    Action, AdmittedPod, ExitCause, ExitRecord, ExitSeen, ImageFact, MonoTime, Now, Observed,
    Outcome, PodUid, ProcessFacts, Seq,
};
use pod_worker::{
    Board, Clock, Command, Done, Executor, Inputs, Line, NoAccount, Probes, Records, Worker,
};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

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

/// Runs until the test ends; the board shows what it has.
pub(crate) fn worker(probes: Box<dyn Probes>) -> (Inputs, Board) {
    let to: Arc<OnceLock<Inputs>> = Arc::default();
    let looking = Arc::clone(&to);
    let look = Box::new(move || {
        let nothing = Observed {
            as_of: Seq(1),
            containers: BTreeMap::new(),
        };
        let inputs: &Inputs = looking.get().unwrap();
        inputs.observe(Input::Observed(nothing)).unwrap();
    });
    let board = Board::default();
    let worker = Worker::new(
        NodeCore::new(Settings::default()),
        Arc::new(Willing(Arc::clone(&to))),
        NoRecords,
        Watch::default(),
        board.clone(),
        look,
        Box::new(NoAccount),
    )
    .probing(probes);
    let inputs = worker.inputs();
    to.set(inputs.clone()).unwrap();
    tokio::spawn(worker.run());
    inputs.observe(Input::SourcesReady).unwrap();
    (inputs, board)
}

pub(crate) fn want(inputs: &Inputs, pod: AdmittedPod) {
    let seen = Watch::default().now();
    inputs.send(Command::Desired { pod, seen }).unwrap();
}
