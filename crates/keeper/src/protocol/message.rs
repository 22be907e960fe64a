//! The messages. A field that names a descriptor is an index into those that travel in the same frame.

use launch_plan::description::{ContainerFiles, ExecDescription, FdIndex, LaunchDescription};
use pod_model::{ContainerKey, ExitRecord, Now, PodUid};
use serde::{Deserialize, Serialize};

/// From the agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToKeeper {
    /// Chosen by the agent; the reply bears it. Replies may come in another order than the requests.
    pub id: u64,
    pub request: Request,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Request {
    /// The first one. Answer: [`Reply::Hello`].
    Hello { oldest: u32, newest: u32 },
    /// Answer: [`Reply::Launched`] when the program was executed, [`Reply::Failed`] when nothing is left of the attempt.
    Launch(Box<LaunchDescription>),
    /// `stdio` is missing when the description asks for a terminal. Answer: [`Reply::ExecStarted`] or [`Reply::Failed`]; later
    /// [`Event::ExecExited`] to the same connection.
    ///
    /// With `answer_at_end`, for who has no use for a start: [`Reply::ExecEnded`] or [`Reply::Failed`], when the process has ended. A keeper
    /// that does not know this answers as without.
    Exec {
        description: Box<ExecDescription>,
        stdio: Option<ExecStdio>,
        #[serde(default)]
        answer_at_end: bool,
    },
    /// Everything that is not forgotten. Answer: [`Reply::Listed`].
    List,
    /// Containers that another keeper launched. Answer: [`Reply::Adopted`], one entry for each in order; exits found are also pushed.
    Adopt { containers: Vec<AdoptContainer> },
    /// Everything that the container has written so far is in its log file when this is answered. Answer: [`Reply::Done`], or
    /// [`Refusal::LogDiskFull`].
    Drain { container: ContainerKey },
    /// Drains what it can, closes the log and drops all memory of a container that has exited. Answer: [`Reply::Done`], also when it is not known.
    Forget { container: ContainerKey },
    /// Ends the process that is PID 1 of the pod's shared PID namespace, and everything in it. Answer: [`Reply::Done`], also when there
    /// is none.
    EndPod { pod: PodUid },
    /// Executes another build of the keeper in place of this one; `binary` is that file, opened for reading. Containers, connections and
    /// requests go on. Answer (by the new one): [`Reply::Done`].
    Replace { binary: FdIndex },
    /// Ends the keeper. Answer: [`Reply::Done`], or [`Refusal::Busy`] while a container lives.
    Shutdown,
}

/// Descriptors that become 0, 1 and 2 of an exec'd process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecStdio {
    pub stdin: FdIndex,
    pub stdout: FdIndex,
    pub stderr: FdIndex,
}

/// A container that lives, or lived, without a keeper.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdoptContainer {
    pub container: ContainerKey,
    pub files: ContainerFiles,
    /// A pidfd of its first process, if the agent still has one: then an exit during the absence is known (Linux 6.15). Without it the
    /// `pid` file in `files.run` names the process.
    pub pidfd: Option<FdIndex>,
    /// The master of its terminal, if it has one and the agent kept it.
    pub terminal: Option<FdIndex>,
    /// It lives in the pod's shared PID namespace.
    pub shares_pids: bool,
    /// When it was started, if the agent knows; else the `pid` file tells.
    pub started_at: Option<Now>,
}

/// From the keeper.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum FromKeeper {
    Reply { id: u64, reply: Reply },
    Event(Event),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    Hello {
        /// What both speak.
        version: u32,
        /// Of the keeper process.
        pid: u32,
        /// Version of the keeper's build.
        build: String,
    },
    Launched(Launched),
    ExecStarted {
        /// The master, when a terminal was asked for.
        terminal: Option<FdIndex>,
    },
    /// The fields are those of [`Event::ExecExited`].
    ExecEnded {
        code: i32,
        signal: Option<i32>,
    },
    /// A launch or an exec came to nothing.
    Failed(Failure),
    Listed {
        containers: Vec<ContainerStatus>,
    },
    Adopted {
        containers: Vec<Adoption>,
    },
    Done,
    Refused {
        why: Refusal,
        message: String,
    },
}

/// A process as the keeper sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// In the keeper's PID namespace, which is the host's.
    pub pid: u32,
    /// Field 22 of `/proc/PID/stat`: with the pid, an identity.
    pub start_ticks: u64,
    pub started_at: Now,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Launched {
    pub process: Process,
    /// When the program was executed, as the keeper saw it; the process is older by the spans.
    pub executed_at: Now,
    pub pidfd: FdIndex,
    /// The reading ends of the FIFOs. The agent keeps them open, and reads nothing, until it forgets the container: then what the
    /// container wrote just before it ended outlives a keeper that dies at that moment.
    pub stdout: Option<FdIndex>,
    pub stderr: Option<FdIndex>,
    /// The master of the terminal. The agent keeps it, so that the death of the keeper does not hang the terminal up.
    pub terminal: Option<FdIndex>,
    pub spans: Vec<Span>,
}

/// How long one step took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    pub step: String,
    pub nanos: u64,
}

/// What was being done when a launch failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    Prepare,
    Clone,
    Cgroup,
    Namespaces,
    Rootfs,
    Mounts,
    Devices,
    Masks,
    Stdio,
    Pivot,
    Privileges,
    WorkingDirectory,
    Seccomp,
    Exec,
}

/// Which step of a kubelet's the failure belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureKind {
    /// The description cannot be carried out by anybody.
    Config,
    /// The container could not be made.
    Create,
    /// It was made, and its program could not be started: exit code 128, `StartError`.
    Start,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub stage: Stage,
    pub kind: FailureKind,
    /// Of the system call that failed, if it was one.
    pub errno: Option<i32>,
    /// One line for people, in the words that runc uses where it has any.
    pub message: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContainerStatus {
    pub container: ContainerKey,
    pub process: Process,
    pub exit: Option<ExitRecord>,
    /// The master of its terminal, if it has one: an agent that did not launch it keeps it as one that did. Earlier keepers do not
    /// give it.
    #[serde(default)]
    pub terminal: Option<FdIndex>,
}

/// What came of one [`AdoptContainer`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Adoption {
    Running {
        process: Process,
    },
    /// It had ended. The record is in its exit slot.
    Exited {
        exit: ExitRecord,
    },
    /// Nothing is known of it, not even a process that was.
    Failed {
        message: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// No such request in this version.
    Unknown,
    /// [`Request::Hello`] was missing, or no common version.
    Version,
    /// The container is known already.
    AlreadyThere,
    /// No such container, or it does not run.
    NotRunning,
    /// Not now.
    Busy,
    /// The log disk has no room; what the container wrote waits in its FIFO.
    LogDiskFull,
    /// A descriptor that the message names did not come with it.
    MissingDescriptor,
    /// It failed here; the message tells.
    Failed,
}

/// Pushed to every connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Event {
    Exited {
        container: ContainerKey,
        exit: ExitRecord,
    },
    ExecExited {
        container: ContainerKey,
        session: u64,
        /// As a shell's `$?`.
        code: i32,
        signal: Option<i32>,
    },
}
