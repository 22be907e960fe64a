//! From an action issued to its effect being due: how long it takes, which trouble it meets, and where the agent dies of it.

use super::agent::Work;
use super::{Happening, MS, World, note};
use crate::chance::Chance;
use crate::history::Trouble;
use crate::kind::{CrashPoint, Kind, Moment};
use pod_model::{Action, Failure, Fault};
use std::time::Duration;

impl World<'_> {
    pub(super) fn issue(&mut self, action: Action) {
        note!(self, "  issued {}", text_of(&action));
        self.issued_in_all += 1;
        let kind = Kind::of(&action);
        self.figures.actions[kind.index()] += 1;
        self.judge_issue(&action);
        let takes = self.usual_time(kind, &action);
        let mut work = Work {
            token: 0,
            hangs: false,
            takes,
            fails: None,
            waits_for_pull: false,
            broken_off: false,
            done: false,
        };
        match self.trouble(kind) {
            Some(Trouble::Hangs) => work.hangs = true,
            Some(Trouble::Takes { ms }) => work.takes = ms * MS,
            Some(Trouble::Fails {
                reason,
                retry_after_seconds,
                half,
            }) => {
                let failure = Failure {
                    reason,
                    message: "as the history says".to_owned(),
                    fault: Fault::Node,
                    retry: true,
                    retry_after: retry_after_seconds.map(Duration::from_secs),
                };
                work.fails = Some((failure, half));
            }
            None => {}
        }
        let life = self.life;
        work.waits_for_pull = self.has_to_pull(&action);
        if work.waits_for_pull {
            let soon = self.chance("pull wanted").pick(&[0, MS, 20 * MS]);
            let action = action.clone();
            self.after(soon, Happening::PullWanted { life, action });
        } else if !work.hangs {
            work.token = self.effect_after(work.takes, &action);
        }
        if let Some(agent) = &mut self.agent {
            agent.work.insert(action, work);
        }
    }

    pub(super) fn effect_after(&mut self, nanos: u64, action: &Action) -> u64 {
        // an executor answers with the number that it was given
        let token = self.order + 1;
        self.after(
            nanos,
            Happening::Effect {
                life: self.life,
                action: action.clone(),
                token,
            },
        )
    }

    pub(super) fn begin_pull(&mut self, action: Action) {
        let Some(work) = self.agent.as_mut().and_then(|a| a.work.get_mut(&action)) else {
            return;
        };
        work.waits_for_pull = false;
        let (hangs, takes) = (work.hangs, work.takes);
        if !hangs {
            let token = self.effect_after(takes, &action);
            self.set_token(&action, token);
        }
    }
    pub(super) fn break_off(&mut self, action: &Action) {
        note!(self, "  broken off: {}", text_of(action));
        let Some(work) = self.agent.as_mut().and_then(|a| a.work.get_mut(action)) else {
            return;
        };
        work.broken_off = true;
        if work.done {
            return;
        }
        work.hangs = false;
        let token = self.effect_after(MS, action);
        self.set_token(action, token);
    }
    pub(super) fn set_token(&mut self, action: &Action, token: u64) {
        if let Some(work) = self.agent.as_mut().and_then(|a| a.work.get_mut(action)) {
            work.token = token;
        }
    }

    fn trouble(&mut self, kind: Kind) -> Option<Trouble> {
        let trouble = self
            .troubles
            .iter_mut()
            .rev()
            .find(|trouble| trouble.kind == kind && trouble.left > 0)?;
        trouble.left -= 1;
        Some(trouble.what)
    }

    fn usual_time(&mut self, kind: Kind, action: &Action) -> u64 {
        let pulls = self.has_to_pull(action);
        let slow = self.history.weather.action_slow;
        if self.is_bad_weather(slow, "slow") {
            return self.chance(action).pick(&[300, 2_000, 8_000, 20_000]) * MS;
        }
        let mut chance: Chance = self.chance(action);
        match kind {
            Kind::EnsureImage if pulls => chance.pick(&[50, 500, 3_000, 20_000]) * MS,
            Kind::EnsureImage | Kind::Stop | Kind::Kill => chance.below(300_000),
            Kind::Prepare(_) | Kind::Forget => chance.below(3 * MS),
            // the longest is longer than most graces
            Kind::PostStart | Kind::PreStop => chance.pick(&[1, 20, 500, 4_000, 40_000]) * MS,
            Kind::Start | Kind::Remove => MS + chance.below(8) * MS,
            Kind::Undo(_) => chance.below(30) * MS,
        }
    }

    /// Which armed crash has come, if one has.
    pub(super) fn falls_due(&mut self, kind: Kind, moment: Moment) -> Option<usize> {
        let point = CrashPoint { kind, moment };
        let index = self.armed.iter().position(|armed| armed.point == point)?;
        let armed = &mut self.armed[index];
        if armed.skip > 0 {
            armed.skip -= 1;
            return None;
        }
        Some(index)
    }
    pub(super) fn dies_of(&mut self, index: usize) {
        let armed = self.armed.remove(index);
        self.figures.crashed_at[armed.point.index()] += 1;
        note!(self, "at {:?} {:?}:", armed.point.kind, armed.point.moment);
        self.agent_dies(armed.down_ms);
    }
    /// Whether the agent dies here; if so, it is dead now.
    pub(super) fn dies_at(&mut self, kind: Kind, moment: Moment) -> bool {
        let armed = self.falls_due(kind, moment);
        if let Some(index) = armed {
            self.dies_of(index);
        }
        armed.is_some()
    }
}

/// What an action is about, the same for each try.
pub(super) fn without_try(action: &Action) -> Action {
    let mut what = action.clone();
    match &mut what {
        Action::EnsureImage { try_number, .. } => *try_number = 0,
        Action::Start { image_id, .. } => image_id.clear(),
        _ => {}
    }
    what
}

/// `Start web-1/app.0`.
pub(super) fn text_of(action: &Action) -> String {
    match action {
        Action::Prepare { pod, part } => format!("Prepare {pod} {part:?}"),
        Action::EnsureImage {
            pod,
            container,
            try_number,
        } => format!("EnsureImage {pod}/{container} try {try_number}"),
        Action::Start { container, .. } => format!("Start {container}"),
        Action::PostStart { container } => format!("PostStart {container}"),
        Action::PreStop { container } => format!("PreStop {container}"),
        Action::Stop { container } => format!("Stop {container}"),
        Action::Kill { container } => format!("Kill {container}"),
        Action::Remove { container } => format!("Remove {container}"),
        Action::Undo { pod, part } => format!("Undo {pod} {part:?}"),
        Action::Forget { pod } => format!("Forget {pod}"),
    }
}
