//! How a machine behaves: what programs do, and which actions fail, take long or hang.

use pod_model::{Action, Failure, FailureReason, Fault};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// What a container's program does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// How long it runs, and its exit code. `None`: until it is told to stop.
    pub ends: Option<(Duration, i32)>,
    /// The kernel kills it for want of memory at its end.
    pub oom: bool,
    /// What it does when told to stop: how long it takes, and its exit code. `None`: it does not listen.
    pub on_stop: Option<(Duration, i32)>,
    /// Its termination message.
    pub says: Option<String>,
}

impl Program {
    /// Runs until told to stop, and then ends at once with 0.
    pub fn runs() -> Self {
        Self {
            ends: None,
            oom: false,
            on_stop: Some((Duration::ZERO, 0)),
            says: None,
        }
    }
    /// Ends by itself.
    pub fn exits(code: i32) -> Self {
        Self {
            ends: Some((Duration::ZERO, code)),
            ..Self::runs()
        }
    }
    #[must_use]
    pub fn after(mut self, how_long: Duration) -> Self {
        let code = self.ends.map_or(0, |(_, code)| code);
        self.ends = Some((how_long, code));
        self
    }
    /// Killed by the kernel for want of memory.
    pub fn is_oom_killed() -> Self {
        Self {
            oom: true,
            ..Self::exits(137)
        }
    }
    /// Leaves a termination message.
    #[must_use]
    pub fn says(mut self, message: &str) -> Self {
        self.says = Some(message.to_owned());
        self
    }
    /// Does not listen to any signal that can be ignored.
    #[must_use]
    pub fn deaf(mut self) -> Self {
        self.on_stop = None;
        self
    }
    #[must_use]
    pub fn stops_after(mut self, how_long: Duration, code: i32) -> Self {
        self.on_stop = Some((how_long, code));
        self
    }
}

type Which = Box<dyn Fn(&Action) -> bool>;

struct Failing {
    which: Which,
    /// How many times more; `None`: always.
    left: Option<u32>,
    failure: Failure,
}

/// What happens on this machine. Later lines win over earlier ones.
#[derive(Default)]
pub struct Script {
    programs: BTreeMap<String, Vec<Program>>,
    failing: Vec<Failing>,
    takes: Vec<(Which, Duration)>,
    hangs: Vec<Which>,
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script")
            .field("programs", &self.programs)
            .finish_non_exhaustive()
    }
}

impl Script {
    /// The programs of the first attempts of every container of that name; the last one stays. Without any, [`Program::runs`].
    pub fn program(&mut self, container: &str, attempts: impl Into<Vec<Program>>) {
        self.programs.insert(container.to_owned(), attempts.into());
    }
    pub(crate) fn program_of(&self, container: &str, attempt: u32) -> Program {
        let list = self
            .programs
            .get(container)
            .map(Vec::as_slice)
            .unwrap_or_default();
        list.get(attempt as usize)
            .or(list.last())
            .cloned()
            .unwrap_or_else(Program::runs)
    }

    /// The next `times` actions of which `which` holds fail.
    pub fn fail(
        &mut self,
        times: u32,
        reason: FailureReason,
        message: &str,
        which: impl Fn(&Action) -> bool + 'static,
    ) {
        self.failing.push(Failing {
            which: Box::new(which),
            left: Some(times),
            failure: failure(reason, message),
        });
    }
    /// All of them, until [`mend`](Self::mend).
    pub fn always_fail(
        &mut self,
        reason: FailureReason,
        message: &str,
        which: impl Fn(&Action) -> bool + 'static,
    ) {
        self.failing.push(Failing {
            which: Box::new(which),
            left: None,
            failure: failure(reason, message),
        });
    }
    /// Actions of which `which` holds take that long.
    pub fn takes(&mut self, how_long: Duration, which: impl Fn(&Action) -> bool + 'static) {
        self.takes.push((Box::new(which), how_long));
    }
    /// They are not answered until [`mend`](Self::mend).
    pub fn hangs(&mut self, which: impl Fn(&Action) -> bool + 'static) {
        self.hangs.push(Box::new(which));
    }
    /// Nothing fails, takes long or hangs any more. Programs stay.
    pub fn mend(&mut self) {
        self.failing.clear();
        self.takes.clear();
        self.hangs.clear();
    }

    pub(crate) fn failure_of(&mut self, action: &Action) -> Option<Failure> {
        let failing = self
            .failing
            .iter_mut()
            .rev()
            .find(|f| f.left != Some(0) && (f.which)(action))?;
        if let Some(left) = &mut failing.left {
            *left -= 1;
        }
        Some(failing.failure.clone())
    }
    pub(crate) fn duration_of(&self, action: &Action) -> Duration {
        self.takes
            .iter()
            .rev()
            .find(|(which, _)| which(action))
            .map_or(Duration::ZERO, |(_, how_long)| *how_long)
    }
    pub(crate) fn is_hanging(&self, action: &Action) -> bool {
        self.hangs.iter().any(|which| which(action))
    }
}

/// A failure as an executor would report it.
pub fn failure(reason: FailureReason, message: &str) -> Failure {
    Failure {
        reason,
        message: message.to_owned(),
        fault: Fault::Workload,
        retry: true,
        retry_after: None,
    }
}
