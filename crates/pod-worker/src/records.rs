//! Pod records on disk: in the run directory at once, in the root directory soon.
//!
//! The run directory's copy is the truth within one boot. It lies on a tmpfs, so writing it (13 µs) never waits for a disk and may
//! happen on the worker's thread, before the actions it speaks of are issued. The root directory's copy is what a reboot leaves: a
//! thread of its own writes it, with fsync, latest state only, so that a slow or hanging disk delays nobody.
//!
//! ```text
//! <run>/pods/<uid>.pod  <run>/pods/<uid>.record       every change, before acting on it
//! <root>/pods/<uid>/pod <root>/pods/<uid>/record      within a second, durable
//! ```
//!
//! A file that cannot be read is moved aside and said once; the pod's other files and all other pods are untouched. A pod whose
//! record is lost keeps its containers: what the kernel shows is believed, the counts begin anew.

use crate::ports::Records;
use k8s_openapi::api::core::v1::Pod;
use pod_model::{AdmittedPod, PodUid, QosClass};
use state_file::{Durability, WriteError};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Version of the file that holds the pod: the JSON of a `v1` Pod, and its QoS class.
const POD_VERSION: u32 = 1;
/// How long changes are gathered before they are written to the root directory.
const GATHER: Duration = Duration::from_millis(250);

#[derive(serde::Serialize, serde::Deserialize)]
struct PodFile {
    pod: Pod,
    qos: String,
}

/// A pod as it was stored.
#[derive(Debug)]
pub struct StoredPod {
    pub pod: AdmittedPod,
    /// Version and bytes of the core's record, if it could be read.
    pub record: Option<(u32, Vec<u8>)>,
    /// It comes from the root directory: the machine was booted since.
    pub from_earlier_boot: bool,
}

/// What was found at start.
#[derive(Debug, Default)]
pub struct Loaded {
    pub pods: Vec<StoredPod>,
    /// Files that could not be read, where they lie now, and why: to be said once.
    pub quarantined: Vec<String>,
}

enum Durable {
    Write { version: u32, bytes: Vec<u8> },
    Remove,
}

#[derive(Default)]
struct Queue {
    pending: BTreeMap<(PodUid, &'static str), Durable>,
    closed: bool,
}

/// [`Records`] in two directories.
pub struct RecordFiles {
    run: PathBuf,
    queue: Arc<(Mutex<Queue>, Condvar)>,
    writer: Option<JoinHandle<()>>,
}

impl RecordFiles {
    /// Makes the directories and starts the writer of durable copies.
    ///
    /// # Errors
    /// When a directory cannot be made or the thread cannot be started.
    pub fn open(run_dir: &Path, root_dir: &Path) -> std::io::Result<Self> {
        let run = run_dir.join("pods");
        let root = root_dir.join("pods");
        fs::create_dir_all(&run)?;
        fs::create_dir_all(&root)?;
        let queue: Arc<(Mutex<Queue>, Condvar)> = Arc::default();
        let theirs = Arc::clone(&queue);
        let writer = std::thread::Builder::new()
            .name("record-writer".into())
            .stack_size(128 << 10)
            .spawn(move || write_durable(&theirs, &root))?;
        Ok(Self {
            run,
            queue,
            writer: Some(writer),
        })
    }

    /// Reads what an earlier agent left. The run directory's files win; root's are for pods that it does not know.
    ///
    /// # Errors
    /// When a directory cannot be listed.
    pub fn load(run_dir: &Path, root_dir: &Path) -> std::io::Result<Loaded> {
        let mut loaded = Loaded::default();
        let mut known = BTreeSet::new();
        let run = run_dir.join("pods");
        for uid in names(&run, Some(".pod"))? {
            load_one(
                &run.join(format!("{uid}.pod")),
                &run.join(format!("{uid}.record")),
                false,
                &mut loaded,
            );
            known.insert(uid);
        }
        let root = root_dir.join("pods");
        for uid in names(&root, None)? {
            if !known.contains(&uid) {
                load_one(
                    &root.join(&uid).join("pod"),
                    &root.join(&uid).join("record"),
                    true,
                    &mut loaded,
                );
            }
        }
        Ok(loaded)
    }

    fn enqueue(&self, uid: &PodUid, name: &'static str, what: Durable) {
        let (lock, wake) = &*self.queue;
        lock.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pending
            .insert((uid.clone(), name), what);
        wake.notify_one();
    }
}

impl Records for RecordFiles {
    fn save_pod(&mut self, pod: &AdmittedPod) -> Result<(), WriteError> {
        let file = PodFile {
            pod: pod.pod().clone(),
            qos: pod.qos().as_str().to_owned(),
        };
        let bytes = serde_json::to_vec(&file).unwrap_or_default();
        state_file::write(
            &self.run.join(format!("{}.pod", pod.uid())),
            POD_VERSION,
            &bytes,
            Durability::Cache,
        )?;
        self.enqueue(
            pod.uid(),
            "pod",
            Durable::Write {
                version: POD_VERSION,
                bytes,
            },
        );
        Ok(())
    }

    fn save_record(&mut self, uid: &PodUid, version: u32, record: &[u8]) -> Result<(), WriteError> {
        state_file::write(
            &self.run.join(format!("{uid}.record")),
            version,
            record,
            Durability::Cache,
        )?;
        self.enqueue(
            uid,
            "record",
            Durable::Write {
                version,
                bytes: record.to_vec(),
            },
        );
        Ok(())
    }

    fn remove(&mut self, uid: &PodUid) {
        for name in ["pod", "record"] {
            let _ = fs::remove_file(self.run.join(format!("{uid}.{name}")));
            self.enqueue(uid, name, Durable::Remove);
        }
    }
}

impl Drop for RecordFiles {
    /// Waits until what is pending lies on disk.
    fn drop(&mut self) {
        let (lock, wake) = &*self.queue;
        lock.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        wake.notify_one();
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

fn names(dir: &Path, suffix: Option<&str>) -> std::io::Result<Vec<String>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let stem = suffix.map_or(Some(name.as_str()), |s| name.strip_suffix(s));
        if let Some(uid) = stem.filter(|stem| PodUid::new(stem).is_ok()) {
            found.push(uid.to_owned());
        }
    }
    found.sort();
    Ok(found)
}

fn load_one(pod_path: &Path, record_path: &Path, from_earlier_boot: bool, loaded: &mut Loaded) {
    let pod = match read_or_quarantine(pod_path, &mut loaded.quarantined) {
        Some((POD_VERSION, bytes)) => {
            serde_json::from_slice::<PodFile>(&bytes)
                .ok()
                .and_then(|file| {
                    let qos = match file.qos.as_str() {
                        "Guaranteed" => QosClass::Guaranteed,
                        "Burstable" => QosClass::Burstable,
                        _ => QosClass::BestEffort,
                    };
                    AdmittedPod::from_validated(file.pod, qos).ok()
                })
        }
        Some(_) => None,
        None => return,
    };
    let Some(pod) = pod else {
        quarantine(
            pod_path,
            "it does not hold a pod this version can read",
            &mut loaded.quarantined,
        );
        return;
    };
    let record = read_or_quarantine(record_path, &mut loaded.quarantined);
    loaded.pods.push(StoredPod {
        pod,
        record,
        from_earlier_boot,
    });
}

fn read_or_quarantine(path: &Path, said: &mut Vec<String>) -> Option<(u32, Vec<u8>)> {
    match state_file::read(path) {
        Ok(stored) => stored.map(|s| (s.version, s.payload)),
        Err(error) => {
            quarantine(path, &error.to_string(), said);
            None
        }
    }
}

/// Moves aside what cannot be read; the caller of [`RecordFiles::load`] says it.
pub fn quarantine(path: &Path, why: &str, said: &mut Vec<String>) {
    let aside = state_file::quarantine(path).map_or_else(
        |e| format!("and could not be moved: {e}"),
        |p| p.display().to_string(),
    );
    said.push(format!("{why}; kept as {aside}"));
}

/// The thread: takes the latest of each object and writes it with fsync. An error is retried with the next change of the object; it
/// costs nothing but what a reboot would forget.
fn write_durable(queue: &(Mutex<Queue>, Condvar), root: &Path) {
    let (lock, wake) = queue;
    loop {
        let batch = {
            let mut queue = lock.lock().unwrap_or_else(PoisonError::into_inner);
            while queue.pending.is_empty() && !queue.closed {
                queue = wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
            if queue.pending.is_empty() {
                return;
            }
            // most records change several times within moments of a start; one write serves them all
            let (mut queue, _) = wake
                .wait_timeout_while(queue, GATHER, |q| !q.closed)
                .unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut queue.pending)
        };
        for ((uid, name), what) in batch {
            let dir = root.join(uid.as_str());
            let path = dir.join(name);
            match what {
                Durable::Write { version, bytes } => {
                    let written = fs::create_dir_all(&dir)
                        .map_err(|source| WriteError::Write {
                            path: dir.clone(),
                            source,
                        })
                        .and_then(|()| state_file::write(&path, version, &bytes, Durability::Disk));
                    if let Err(error) = written {
                        tracing::warn!(pod.uid = %uid, error = &error as &dyn std::error::Error, "state of the pod is not on disk yet");
                    }
                }
                Durable::Remove => {
                    let _ = fs::remove_file(&path);
                    // the directory goes with its last file; volumes and containers have been removed before
                    let _ = fs::remove_dir(&dir);
                }
            }
        }
    }
}
