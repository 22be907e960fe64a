//! The simulated node: a clock that jumps to the next happening, a queue of happenings, and what they do.
//!
//! | module | plays |
//! |---|---|
//! | `agent` | the worker around the production core: reads, writes, issues, dies |
//! | `changing` | what people change in a pod that runs: images, ephemeral containers |
//! | `beginning` | all containers of a pod begin again: when, and whether they do |
//! | `effects` | the executors: what an action does to the machine, wholly or by half |
//! | `faults` | the history's operations |
//! | `kernel` | processes, sandboxes, images |
//! | `disk` | records in two directories |
//! | `probing` | the prober |
//! | `oracle` | what must never be: judged by the truth, not by the core's record |
//! | `readiness` | what a status may say of containers, and has to |
//! | `comparing` | the end of a pod beside the reference |
//! | `room` | who is taken on by a node with little room, and who makes room |
//! | `rest` | what must be once faults stop |

mod agent;
mod beginning;
mod changing;
mod comparing;
mod disk;
mod effects;
mod faults;
mod issuing;
mod kernel;
mod oracle;
mod probing;
mod readiness;
mod rest;
mod room;

use crate::chance::Chance;
use crate::figures::Figures;
use crate::history::{Edited, History, Trouble};
use crate::kind::{CrashPoint, Kind};
use crate::truth::Truth;
use agent::Agent;
use disk::Disk;
use kernel::Kernel;
pub(crate) use kernel::image_id;
use pod_lifecycle::Decide;
use pod_model::{
    Action, AdmittedPod, ContainerKey, ExitSeen, Fact, MonoTime, Now, Observed, PodUid, ProbeKind,
    Probed, WallTime,
};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::hash::Hash;
use std::time::Duration;

pub(crate) const MS: u64 = 1_000_000;
pub(crate) const SECOND: u64 = 1_000 * MS;
/// 2026-01-01T00:00:00Z, when every history begins.
const BEGIN: i64 = 1_767_225_600;
/// What `CLOCK_BOOTTIME` says when an agent can first run.
const BOOT_TAKES: u64 = 5 * SECOND;
/// More actions, or inputs, than this in a history of a few pods is spinning: a thirtieth is much.
const MOST_ACTIONS: u32 = 10_000;
const MOST_INPUTS: u64 = 50_000;
/// More happenings than this without time passing is a loop.
const MOST_AT_ONCE: u32 = 5_000;

/// What a history broke.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Names the rule: failures with one rule are taken for one defect.
    pub rule: String,
    pub detail: String,
}

#[derive(Debug)]
enum Happening {
    Op(usize),
    AgentBegins,
    LinkUp {
        life: u32,
    },
    KeeperBack,
    Leftovers {
        life: u32,
    },
    SourcesRead {
        life: u32,
    },
    SourceTold {
        life: u32,
    },
    PullWanted {
        life: u32,
        action: Action,
    },
    Effect {
        life: u32,
        action: Action,
        token: u64,
    },
    Answer {
        life: u32,
        fact: Fact,
    },
    ProcessEnds {
        key: ContainerKey,
        token: u64,
    },
    ExitTold {
        life: u32,
        seen: ExitSeen,
    },
    ProbeDue {
        life: u32,
        container: ContainerKey,
        kind: ProbeKind,
    },
    Probed {
        life: u32,
        probed: Probed,
    },
    GraceIsOver {
        life: u32,
        uid: PodUid,
    },
    Look {
        life: u32,
    },
    LookTold {
        life: u32,
        observed: Observed,
    },
    Flush,
}

#[derive(Debug)]
struct ActiveTrouble {
    kind: Kind,
    what: Trouble,
    left: u32,
}

#[derive(Debug)]
struct Armed {
    point: CrashPoint,
    skip: u32,
    down_ms: u64,
}

#[derive(Debug, Default)]
struct Source {
    /// By uid: which pod of the history.
    wanted: BTreeMap<PodUid, usize>,
    graces: BTreeMap<PodUid, u64>,
}

pub(crate) struct World<'h> {
    history: &'h History,
    pods: Vec<AdmittedPod>,
    edited: Vec<Edited>,
    decide: Decide,
    /// Virtual nanoseconds since the beginning.
    t: u64,
    booted_at: u64,
    wall_offset: i64,
    clock_stepped: bool,
    queue: BTreeMap<(u64, u64), Happening>,
    order: u64,
    agent: Option<Agent>,
    /// The number of the agent that lives, or lived last.
    life: u32,
    kernel: Kernel,
    keeper_back_at: Option<u64>,
    disk: Disk,
    flush_is_due: bool,
    source: Source,
    truth: Truth,
    troubles: Vec<ActiveTrouble>,
    armed: Vec<Armed>,
    asked: BTreeMap<u64, u32>,
    /// Faults have stopped.
    calm: bool,
    issued_in_all: u32,
    pub(crate) figures: Figures,
    pub(crate) trace: Option<String>,
    pub(crate) finding: Option<Finding>,
}

/// Writes a line of the trace, if there is one.
macro_rules! note {
    ($world:expr, $($text:tt)*) => {
        if $world.trace.is_some() {
            $world.write_down(format_args!($($text)*));
        }
    };
}
use note;

impl<'h> World<'h> {
    pub(crate) fn new(history: &'h History, decide: Decide, trace: bool) -> Self {
        let mut world = Self {
            history,
            pods: history
                .pods
                .iter()
                .map(|plan| plan.pod(Edited::new(plan)))
                .collect(),
            edited: history.pods.iter().map(Edited::new).collect(),
            clock_stepped: false,
            decide,
            t: 0,
            booted_at: 0,
            wall_offset: 0,
            queue: BTreeMap::new(),
            order: 0,
            agent: None,
            life: 0,
            kernel: Kernel::default(),
            keeper_back_at: None,
            disk: Disk::default(),
            flush_is_due: false,
            source: Source::default(),
            truth: Truth::default(),
            troubles: Vec::new(),
            armed: Vec::new(),
            asked: BTreeMap::new(),
            calm: false,
            issued_in_all: 0,
            figures: Figures {
                histories: 1,
                ..Figures::default()
            },
            trace: trace.then(String::new),
            finding: None,
        };
        world.schedule(0, Happening::AgentBegins);
        world
    }

    /// The whole history, then calm, then the end of everything.
    pub(crate) fn live(&mut self) {
        let mut at = 0;
        for (index, (after_ms, _)) in self.history.ops.iter().enumerate() {
            at += after_ms * MS;
            self.schedule(at, Happening::Op(index));
        }
        self.run_until(at + SECOND);
        self.come_to_rest();
        self.figures.virtual_seconds = self.t / SECOND;
    }

    fn now(&self) -> Now {
        Now {
            mono: self.mono(self.t),
            wall: WallTime(
                BEGIN * 1_000_000_000
                    + i64::try_from(self.t).unwrap_or(i64::MAX)
                    + self.wall_offset,
            ),
        }
    }
    fn mono(&self, t: u64) -> MonoTime {
        MonoTime((t + BOOT_TAKES).saturating_sub(self.booted_at))
    }

    fn schedule(&mut self, at: u64, what: Happening) -> u64 {
        self.order += 1;
        self.queue.insert((at.max(self.t), self.order), what);
        self.order
    }
    fn after(&mut self, nanos: u64, what: Happening) -> u64 {
        self.schedule(self.t + nanos, what)
    }

    /// Chance about one thing, another each time it is asked about.
    fn chance(&mut self, about: &(impl Hash + ?Sized)) -> Chance {
        let key = Chance::about(0, &about, 0).next();
        let nth = self.asked.entry(key).or_default();
        *nth += 1;
        Chance::about(self.history.salt, &key, *nth)
    }
    /// Whether something that goes wrong so often goes wrong now.
    fn is_bad_weather(&mut self, percent: u8, about: &str) -> bool {
        percent > 0 && !self.calm && self.chance(about).percent(percent)
    }

    pub(crate) fn find(&mut self, rule: &str, detail: impl FnOnce() -> String) {
        if self.finding.is_none() {
            let finding = Finding {
                rule: rule.to_owned(),
                detail: detail(),
            };
            note!(self, "FOUND {}: {}", finding.rule, finding.detail);
            self.finding = Some(finding);
        }
    }

    fn write_down(&mut self, text: std::fmt::Arguments<'_>) {
        let (seconds, millis) = (self.t / SECOND, self.t % SECOND / 1000);
        if let Some(trace) = &mut self.trace {
            // writing to a text does not fail
            let _ = writeln!(trace, "{seconds:6}.{millis:06} {text}");
        }
    }

    /// When something happens next: in the world, or by the core's own wish.
    fn next_time(&self) -> Option<u64> {
        let world = self.queue.first_key_value().map(|((at, _), _)| *at);
        let wake = self.agent.as_ref().and_then(|a| a.core.next_wake());
        let wake = wake.map(|at| {
            let t =
                at.0.saturating_add(self.booted_at)
                    .saturating_sub(BOOT_TAKES);
            t.max(self.t)
        });
        [world, wake].into_iter().flatten().min()
    }

    fn run_until(&mut self, end: u64) {
        let mut at_once = 0;
        while self.finding.is_none()
            && let Some(next) = self.next_time().filter(|at| *at <= end)
        {
            // what was due while the machine booted, is late
            let next = next.max(self.t);
            at_once = if next > self.t { 0 } else { at_once + 1 };
            if self.issued_in_all > MOST_ACTIONS || self.figures.inputs > MOST_INPUTS {
                return self.find("nothing spins", || "actions without end".to_owned());
            }
            if at_once > MOST_AT_ONCE {
                return self.find("it never comes to rest", || "time stands still".to_owned());
            }
            self.t = next;
            while let Some(entry) = self.queue.first_entry()
                && entry.key().0 <= self.t
                && self.finding.is_none()
            {
                let what = entry.remove();
                self.happen(what);
                if !self.is_bad_weather(self.history.weather.batched, "batch") {
                    self.settle();
                }
            }
            self.tick();
            self.settle();
        }
        if self.finding.is_none() {
            self.t = end;
        }
    }
    fn run_for(&mut self, how_long: Duration) {
        let nanos = u64::try_from(how_long.as_nanos()).unwrap_or(u64::MAX);
        self.run_until(self.t + nanos);
    }

    fn happen(&mut self, what: Happening) {
        let lives = |life: u32| self.agent.is_some() && self.life == life;
        match what {
            Happening::Op(index) => self.operate(index),
            Happening::AgentBegins => self.begin_agent(),
            Happening::KeeperBack => self.keeper_is_back(),
            Happening::Flush => {
                self.flush_is_due = false;
                self.disk.flush();
            }
            Happening::ProcessEnds { key, token } => self.process_ends(&key, token),
            Happening::LinkUp { life } if lives(life) => self.link_up(),
            Happening::Leftovers { life } if lives(life) => self.tell_leftovers(),
            Happening::SourcesRead { life } if lives(life) => self.sources_read(),
            Happening::SourceTold { life } if lives(life) => self.tell_source(),
            Happening::PullWanted { life, action } if lives(life) => self.pull_wanted(action),
            Happening::Effect {
                life,
                action,
                token,
            } if lives(life) => self.effect_is_due(&action, token),
            Happening::Answer { life, fact } if lives(life) => self.answered(fact),
            Happening::ExitTold { life, seen } if lives(life) => self.exit_told(seen),
            Happening::ProbeDue {
                life,
                container,
                kind,
            } if lives(life) => self.probe_is_due(container, kind),
            Happening::Probed { life, probed } if lives(life) => self.probed(probed),
            Happening::GraceIsOver { life, uid } if lives(life) => self.judge_grace_over(&uid),
            Happening::Look { life } if lives(life) => self.look(),
            Happening::LookTold { life, observed } if lives(life) => self.look_told(observed),
            // it was an earlier agent's
            _ => {}
        }
    }
}
