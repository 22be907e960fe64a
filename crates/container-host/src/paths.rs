//! Where the files of an attempt lie. One place, so that making, adopting and removing agree.

use pod_model::{ContainerKey, ContainerName, PodName, PodUid};
use std::path::{Path, PathBuf};

/// The node's three directories.
#[derive(Debug, Clone)]
pub struct HostPaths {
    /// Durable: `pods/<uid>/containers/<name>.<attempt>/{upper,work,exit}`.
    pub root: PathBuf,
    /// Per boot: `containers/<uid>/<name>.<attempt>/{stdin,stdout,stderr,pid,launch}`, `keeper.sock`.
    pub run: PathBuf,
    /// `<namespace>_<pod>_<uid>/<container>/<attempt>.log`.
    pub pod_logs: PathBuf,
}

impl HostPaths {
    pub fn keeper_socket(&self) -> PathBuf {
        self.run.join("keeper.sock")
    }
    pub fn attempts(&self) -> PathBuf {
        self.run.join("containers")
    }
    pub fn pod_attempts(&self, pod: &PodUid) -> PathBuf {
        self.attempts().join(pod.as_str())
    }
    pub fn run_of(&self, key: &ContainerKey) -> PathBuf {
        self.pod_attempts(&key.pod).join(key.dir_name())
    }
    pub fn pod_layers(&self, pod: &PodUid) -> PathBuf {
        self.root.join("pods").join(pod.as_str()).join("containers")
    }
    /// Holds `upper` and `work`, and the exit slot.
    pub fn writable_of(&self, key: &ContainerKey) -> PathBuf {
        self.pod_layers(&key.pod).join(key.dir_name())
    }
    pub fn exit_of(&self, key: &ContainerKey) -> PathBuf {
        self.writable_of(key).join("exit")
    }
    pub fn logs_of_pod(&self, pod: &PodName, uid: &PodUid) -> PathBuf {
        pod_log_dir(&self.pod_logs, pod, uid)
    }
    pub fn log_of(&self, pod: &PodName, key: &ContainerKey) -> PathBuf {
        self.logs_of_pod(pod, &key.pod)
            .join(key.name.as_str())
            .join(format!("{}.log", key.attempt))
    }
    /// `/var/log/containers/<pod>_<namespace>_<container>-<id>.log`, where log shippers look.
    pub fn log_link(&self, pod: &PodName, key: &ContainerKey) -> PathBuf {
        self.log_links().join(format!(
            "{}_{}_{}-{}.log",
            pod.name,
            pod.namespace,
            key.name,
            key.id()
        ))
    }
    pub fn log_links(&self) -> PathBuf {
        self.pod_logs
            .parent()
            .unwrap_or(Path::new("/"))
            .join("containers")
    }
    /// Every link of a container begins so, whatever its attempt.
    pub fn log_link_prefix(pod: &PodName, container: &ContainerName) -> String {
        format!("{}_{}_{}-", pod.name, pod.namespace, container)
    }
    /// Trees that are being deleted.
    pub fn trash(&self) -> PathBuf {
        self.root.join("trash")
    }
}

/// The directory of a pod's logs: `<namespace>_<name>_<uid>`.
pub fn pod_log_dir(pod_logs: &Path, pod: &PodName, uid: &PodUid) -> PathBuf {
    pod_logs.join(format!("{}_{}_{}", pod.namespace, pod.name, uid))
}
