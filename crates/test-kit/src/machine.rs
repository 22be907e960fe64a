//! The fake kernel with its executors: containers, sandbox parts, images. It panics when it is told to do what must never be done.

use crate::script::{Program, Script};
use pod_model::pod::image_pull_policy;
use pod_model::{
    Action, AdmittedPod, ContainerKey, ExitCause, ExitRecord, Failure, FailureReason, ImageFact,
    MonoTime, Now, Observed, ObservedContainer, ObservedState, Outcome, PodUid, ProcessFacts,
    SandboxPart, Seq,
};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

#[derive(Debug, Clone)]
struct Process {
    pid: u32,
    started: Now,
    program: Program,
    /// When it ends, and with which code and signal, as things stand.
    ends: Option<(MonoTime, i32, Option<i32>)>,
    exit: Option<ExitRecord>,
}

/// See the module. Public fields are for tests to look at and to prepare.
#[derive(Debug, Default)]
pub struct Machine {
    pub script: Script,
    /// Images that need no pull.
    pub images: BTreeSet<String>,
    /// Sandbox parts that stand.
    pub parts: BTreeSet<(PodUid, SandboxPart)>,
    processes: BTreeMap<ContainerKey, Process>,
    addresses: BTreeMap<PodUid, String>,
    seq: u64,
    next_pid: u32,
    next_address: u32,
}

impl Machine {
    pub fn seq(&self) -> Seq {
        Seq(self.seq)
    }
    /// Containers that are there, dead or alive.
    pub fn containers(&self) -> impl Iterator<Item = &ContainerKey> {
        self.processes.keys()
    }
    pub fn is_running(&self, key: &ContainerKey) -> bool {
        self.processes.get(key).is_some_and(|p| p.exit.is_none())
    }
    pub fn running(&self) -> Vec<&ContainerKey> {
        self.processes
            .iter()
            .filter(|(_, p)| p.exit.is_none())
            .map(|(key, _)| key)
            .collect()
    }
    /// Nothing of any pod is left.
    pub fn is_clean(&self) -> bool {
        self.processes.is_empty() && self.parts.is_empty()
    }

    /// A container that nobody asked for runs.
    pub fn plant(&mut self, key: ContainerKey, now: Now) {
        self.spawn(key, Program::runs(), now);
    }
    /// All running containers of that name end by themselves now.
    pub fn end(&mut self, container: &str, code: i32, now: Now) {
        for (_, process) in self
            .processes
            .iter_mut()
            .filter(|(key, p)| key.name.as_str() == container && p.exit.is_none())
        {
            process.ends = Some((now.mono, code, None));
        }
    }
    /// It vanishes, and with it how it ended.
    pub fn lose(&mut self, key: &ContainerKey) {
        self.processes.remove(key);
        self.seq += 1;
    }
    /// The machine was switched off and on: nothing runs; files stay.
    pub fn boot(&mut self) {
        self.processes.clear();
        self.parts.clear();
        self.seq = 0;
    }

    pub fn observe(&self) -> Observed {
        let container = |p: &Process| ObservedContainer {
            state: match &p.exit {
                Some(exit) => ObservedState::Exited(exit.clone()),
                None => ObservedState::Running {
                    pid: p.pid,
                    started_at: p.started.wall,
                },
            },
            last_words: p.exit.as_ref().and_then(|_| p.program.says.clone()),
        };
        Observed {
            as_of: self.seq(),
            containers: self
                .processes
                .iter()
                .map(|(key, p)| (key.clone(), container(p)))
                .collect(),
        }
    }

    pub(crate) fn last_words(&self, key: &ContainerKey) -> Option<String> {
        self.processes.get(key)?.program.says.clone()
    }
    /// When the next process ends by itself.
    pub(crate) fn next_exit(&self) -> Option<MonoTime> {
        self.processes
            .values()
            .filter(|p| p.exit.is_none())
            .filter_map(|p| p.ends.map(|(at, _, _)| at))
            .min()
    }
    /// Ends what has to end by now, one at a time.
    pub(crate) fn end_next(&mut self, now: Now) -> Option<(ContainerKey, ExitRecord)> {
        let is_over =
            |p: &Process| p.exit.is_none() && p.ends.is_some_and(|(at, _, _)| at <= now.mono);
        let (key, process) = self.processes.iter_mut().find(|(_, p)| is_over(p))?;
        let (at, code, signal) = process.ends?;
        let late = now.mono.since(at);
        let exit = ExitRecord {
            code,
            signal,
            cause: if process.program.oom && signal.is_none() {
                ExitCause::OomKilled
            } else {
                ExitCause::Exited
            },
            started_at: process.started.wall,
            finished_at: pod_model::WallTime(
                now.wall.0 - i64::try_from(late.as_nanos()).unwrap_or(0),
            ),
            finished_mono: at,
        };
        process.exit = Some(exit.clone());
        self.seq += 1;
        Some((key.clone(), exit))
    }

    /// Whether the image has to be pulled for this.
    pub(crate) fn has_to_pull(&self, action: &Action, pod: Option<&AdmittedPod>) -> bool {
        let Some((image, policy)) = image_of(action, pod) else {
            return false;
        };
        policy != pod_model::ImagePullPolicy::Never && !self.images.contains(&image)
    }

    /// Does it, or fails as the script says.
    pub(crate) fn execute(
        &mut self,
        action: &Action,
        pod: Option<&AdmittedPod>,
        now: Now,
        took: Duration,
    ) -> Result<Outcome, Failure> {
        if let Some(failure) = self.script.failure_of(action) {
            return Err(failure);
        }
        match action {
            Action::Prepare { pod, part } => Ok(Outcome::Prepared {
                addresses: self.prepare(pod, *part),
            }),
            Action::EnsureImage { .. } => self.ensure_image(action, pod, took).map(Outcome::Image),
            Action::Start {
                container,
                image_id,
            } => {
                assert!(
                    image_id.starts_with("sha256:"),
                    "{container} starts with no image"
                );
                Ok(self.start(container, now))
            }
            Action::PostStart { container } | Action::PreStop { container } => {
                if self.is_running(container) {
                    return Ok(Outcome::Done);
                }
                let reason = match action {
                    Action::PostStart { .. } => FailureReason::FailedPostStartHook,
                    _ => FailureReason::FailedPreStopHook,
                };
                Err(crate::script::failure(reason, "the container does not run"))
            }
            Action::Stop { container } => {
                if let Some(process) = self.processes.get_mut(container)
                    && let Some((takes, code)) = process.program.on_stop
                {
                    let at = now.mono.plus(takes);
                    if process.ends.is_none_or(|(end, _, _)| at < end) {
                        process.ends = Some((at, code, None));
                    }
                }
                Ok(Outcome::Done)
            }
            Action::Kill { container } => {
                if let Some(process) = self.processes.get_mut(container) {
                    process.ends = Some((now.mono, 137, Some(9)));
                }
                Ok(Outcome::Done)
            }
            Action::Remove { container } => {
                assert!(
                    !self.is_running(container),
                    "{container} is removed while it runs"
                );
                self.processes.remove(container);
                self.seq += 1;
                Ok(Outcome::Done)
            }
            Action::Undo { pod, part } => {
                self.assert_no_process(pod, action);
                self.parts.remove(&(pod.clone(), *part));
                if *part == SandboxPart::Network {
                    self.addresses.remove(pod);
                }
                self.seq += 1;
                Ok(Outcome::Done)
            }
            Action::Forget { pod } => {
                self.assert_no_process(pod, action);
                let left: Vec<_> = self.parts.iter().filter(|(uid, _)| uid == pod).collect();
                assert!(left.is_empty(), "{pod} is forgotten and has {left:?}");
                let left: Vec<_> = self
                    .processes
                    .keys()
                    .filter(|key| key.pod == *pod)
                    .collect();
                assert!(left.is_empty(), "{pod} is forgotten and has {left:?}");
                Ok(Outcome::Done)
            }
        }
    }

    fn assert_no_process(&self, pod: &PodUid, action: &Action) {
        let alive: Vec<_> = self
            .running()
            .into_iter()
            .filter(|key| key.pod == *pod)
            .collect();
        assert!(alive.is_empty(), "{action:?} while {alive:?} runs");
    }

    fn prepare(&mut self, pod: &PodUid, part: SandboxPart) -> Vec<String> {
        self.parts.insert((pod.clone(), part));
        self.seq += 1;
        if part != SandboxPart::Network {
            return Vec::new();
        }
        let next = &mut self.next_address;
        let address = self.addresses.entry(pod.clone()).or_insert_with(|| {
            *next += 1;
            format!("10.88.{}.{}", *next / 256, *next % 256)
        });
        vec![address.clone()]
    }

    fn ensure_image(
        &mut self,
        action: &Action,
        pod: Option<&AdmittedPod>,
        took: Duration,
    ) -> Result<ImageFact, Failure> {
        let Some((image, policy)) = image_of(action, pod) else {
            return Err(crate::script::failure(
                FailureReason::InvalidImageName,
                "no such container",
            ));
        };
        let was_present = self.images.contains(&image);
        if !was_present && policy == pod_model::ImagePullPolicy::Never {
            return Err(crate::script::failure(
                FailureReason::ErrImageNeverPull,
                "not here",
            ));
        }
        self.images.insert(image.clone());
        let digest = format!(
            "sha256:{:064x}",
            image.bytes().fold(7u64, |sum, b| sum
                .wrapping_mul(31)
                .wrapping_add(u64::from(b)))
        );
        Ok(ImageFact {
            repo_digest: format!("{}@{digest}", image.split(':').next().unwrap_or_default()),
            id: digest,
            was_present,
            size_bytes: 4096,
            pull: took,
        })
    }

    fn start(&mut self, key: &ContainerKey, now: Now) -> Outcome {
        if let Some(process) = self.processes.get(key) {
            return Outcome::Started {
                pid: process.pid,
                at: process.started,
                process: process_facts(),
            };
        }
        let others: Vec<_> = self
            .running()
            .into_iter()
            .filter(|k| k.pod == key.pod && k.name == key.name)
            .collect();
        assert!(others.is_empty(), "{key} starts beside {others:?}");
        for part in SandboxPart::ALL {
            assert!(
                self.parts.contains(&(key.pod.clone(), part)),
                "{key} starts without its {part:?}"
            );
        }
        let program = self.script.program_of(key.name.as_str(), key.attempt.0);
        let pid = self.spawn(key.clone(), program, now);
        Outcome::Started {
            pid,
            at: now,
            process: process_facts(),
        }
    }

    fn spawn(&mut self, key: ContainerKey, program: Program, now: Now) -> u32 {
        self.next_pid += 1;
        let pid = 1000 + self.next_pid;
        let ends = program
            .ends
            .map(|(after, code)| (now.mono.plus(after), code, None));
        self.processes.insert(
            key,
            Process {
                pid,
                started: now,
                program,
                ends,
                exit: None,
            },
        );
        self.seq += 1;
        pid
    }
}

fn image_of(
    action: &Action,
    pod: Option<&AdmittedPod>,
) -> Option<(String, pod_model::ImagePullPolicy)> {
    let Action::EnsureImage { container, .. } = action else {
        return None;
    };
    let (_, spec) = pod?.container(container)?;
    Some((
        spec.image.clone().unwrap_or_default(),
        image_pull_policy(spec),
    ))
}

/// Every program of this machine runs as the same user.
fn process_facts() -> ProcessFacts {
    ProcessFacts {
        uid: 1000,
        gid: 100,
        supplementary_gids: vec![100, 101],
        stop_signal: "SIGTERM".to_owned(),
    }
}
