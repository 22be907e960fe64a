//! Pod records on disk: in the run directory at once, in the root directory soon.
//!
//! The run directory's copy is the truth within one boot. It lies on a tmpfs, so writing it (13 µs) never waits for a disk and may
//! happen on the worker's thread, before the actions it speaks of are issued. The root directory's copy is what a reboot leaves: a
//! thread of its own writes it, with fsync, latest state only, so that a slow or hanging disk delays nobody.
//!
//! ```text
//! <run>/pods/<uid>.pod  <run>/pods/<uid>.record       every change, before acting on it
//! <root>/pods/<uid>/pod <root>/pods/<uid>/record      two seconds later, durable
//! <run>/pods/<uid>.gone                               removed in run, and not yet in root
//! ```
//!
//! A pod that only root knows is one of an earlier boot, unless it is marked gone. One whose record is in run and whose text is not
//! was taken over after a boot: its text has not changed since, so root's is as good.
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
/// Marks a pod that was removed in the run directory.
const GONE: &str = ".gone";
/// How long changes are gathered before they are written to the root directory.
const GATHER: Duration = Duration::from_secs(2);

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
        let gone = run.clone();
        let writer = std::thread::Builder::new()
            .name("record-writer".into())
            .stack_size(128 << 10)
            .spawn(move || write_durable(&theirs, &root, &gone))?;
        let files = Self {
            run,
            queue,
            writer: Some(writer),
        };
        // an earlier agent died before root was told
        for uid in names(&files.run, Some(GONE))? {
            if let Ok(uid) = PodUid::new(uid) {
                files.remove_durable(&uid);
            }
        }
        Ok(files)
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
        let gone: BTreeSet<String> = names(&run, Some(GONE))?.into_iter().collect();
        let root = root_dir.join("pods");
        for uid in names(&root, None)? {
            let (in_run, in_root) = (run.join(format!("{uid}.record")), root.join(&uid));
            if known.contains(&uid) {
                continue;
            }
            // also one that an earlier agent found damaged and did not live to write anew
            let is_of_this_boot =
                in_run.exists() || run.join(format!("{uid}.record.corrupt")).exists();
            if is_of_this_boot {
                load_one(&in_root.join("pod"), &in_run, false, &mut loaded);
            } else if !gone.contains(&uid) {
                load_one(
                    &in_root.join("pod"),
                    &in_root.join("record"),
                    true,
                    &mut loaded,
                );
            }
        }
        Ok(loaded)
    }

    fn remove_durable(&self, uid: &PodUid) {
        for name in ["pod", "record"] {
            self.enqueue(uid, name, Durable::Remove);
        }
    }

    /// Wakes the writer for the first change only: while it gathers, it has nothing to do with the next ones.
    fn enqueue(&self, uid: &PodUid, name: &'static str, what: Durable) {
        let (lock, wake) = &*self.queue;
        let mut queue = lock.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = queue.pending.is_empty();
        queue.pending.insert((uid.clone(), name), what);
        drop(queue);
        if is_first {
            wake.notify_one();
        }
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
        let _ = fs::remove_file(self.run.join(format!("{}{GONE}", pod.uid())));
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
        // without the mark, root's copy would be taken for a pod of an earlier boot by an agent that starts now
        let _ = fs::write(self.run.join(format!("{uid}{GONE}")), "");
        for name in ["record", "pod"] {
            let _ = fs::remove_file(self.run.join(format!("{uid}.{name}")));
        }
        self.remove_durable(uid);
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
fn write_durable(queue: &(Mutex<Queue>, Condvar), root: &Path, run: &Path) {
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
        write_batch(batch, root, run);
    }
}

fn write_batch(batch: BTreeMap<(PodUid, &'static str), Durable>, root: &Path, run: &Path) {
    let mut changed = Vec::new();
    for ((uid, name), what) in batch {
        let path = root.join(uid.as_str()).join(name);
        match what {
            Durable::Remove => remove_durable(&uid, &path, run),
            Durable::Write { version, bytes } => changed.push((uid, path, version, bytes)),
        }
    }
    for (_, path, ..) in &changed {
        if let Some(directory) = path.parent() {
            // what is missing then is told below
            let _ = fs::create_dir_all(directory);
        }
    }
    let objects: Vec<_> = changed
        .iter()
        .map(|(_, path, version, payload)| state_file::Object {
            path,
            version: *version,
            payload,
        })
        .collect();
    let written = state_file::write_durably(&objects);
    for ((uid, ..), written) in changed.iter().zip(written) {
        if let Err(error) = written {
            tracing::warn!(pod.uid = %uid, error = &error as &dyn std::error::Error, "state of the pod is not on disk yet");
        }
    }
}

fn remove_durable(uid: &PodUid, path: &Path, run: &Path) {
    let _ = fs::remove_file(path);
    let Some(directory) = path.parent() else {
        return;
    };
    // the directory goes with its last file; volumes and containers have been removed before
    let _ = fs::remove_dir(directory);
    if !directory.join("pod").exists() && !directory.join("record").exists() {
        let _ = fs::remove_file(run.join(format!("{uid}{GONE}")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    const VERSION: u32 = 1;

    fn pod(uid: &str) -> AdmittedPod {
        let metadata = ObjectMeta {
            name: Some("web".to_owned()),
            uid: Some(uid.to_owned()),
            ..ObjectMeta::default()
        };
        let pod = Pod {
            metadata,
            ..Pod::default()
        };
        AdmittedPod::from_validated(pod, QosClass::BestEffort).expect("a pod")
    }

    fn found(run: &Path, root: &Path) -> Vec<(String, Option<Vec<u8>>, bool)> {
        let loaded = RecordFiles::load(run, root).expect("records are listed");
        assert_eq!(loaded.quarantined, Vec::<String>::new());
        let told = |stored: StoredPod| {
            let record = stored.record.map(|(_, bytes)| bytes);
            (
                stored.pod.uid().to_string(),
                record,
                stored.from_earlier_boot,
            )
        };
        loaded.pods.into_iter().map(told).collect()
    }

    /// Directories with one saved pod, whose durable copy is written.
    fn saved() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let dir = tempfile::tempdir().expect("a directory");
        let (run, root) = (dir.path().join("run"), dir.path().join("root"));
        let mut files = RecordFiles::open(&run, &root).expect("records");
        let pod = pod("web-1");
        files.save_pod(&pod).expect("saved");
        files
            .save_record(pod.uid(), VERSION, b"first")
            .expect("saved");
        drop(files);
        (dir, run, root)
    }

    #[test]
    fn after_a_boot_the_durable_copy_is_found() {
        let (_dir, run, root) = saved();
        fs::remove_dir_all(&run).expect("the run directory is emptied");
        let expected = ("web-1".to_owned(), Some(b"first".to_vec()), true);
        assert_eq!(found(&run, &root), [expected]);
    }

    #[test]
    fn a_pod_taken_over_after_a_boot_belongs_to_this_boot_once_its_record_is_written() {
        let (_dir, run, root) = saved();
        fs::remove_dir_all(&run).expect("the run directory is emptied");
        let mut files = RecordFiles::open(&run, &root).expect("records");
        let uid = PodUid::new("web-1").expect("a uid");
        // a pod that was restored is not saved again, only its record
        files.save_record(&uid, VERSION, b"second").expect("saved");
        drop(files);
        let expected = ("web-1".to_owned(), Some(b"second".to_vec()), false);
        assert_eq!(found(&run, &root), [expected]);
    }

    #[test]
    fn a_damaged_record_still_says_that_the_pod_is_of_this_boot() {
        let (_dir, run, root) = saved();
        fs::remove_dir_all(&run).expect("the run directory is emptied");
        fs::create_dir_all(run.join("pods")).expect("a directory");
        fs::write(run.join("pods/web-1.record"), "garbage").expect("written");
        // the second agent comes after one that died before it wrote the record anew
        for agent in 1..=2 {
            let loaded = RecordFiles::load(&run, &root).expect("loaded");
            let [pod] = &loaded.pods[..] else {
                panic!("agent {agent}: {loaded:?}");
            };
            assert!(
                pod.record.is_none() && !pod.from_earlier_boot,
                "agent {agent}"
            );
        }
    }

    #[test]
    fn a_pod_that_was_removed_does_not_come_back_from_the_durable_copy() {
        let (_dir, run, root) = saved();
        // as an agent leaves it that dies before its writer could tell root
        let uid = PodUid::new("web-1").expect("a uid");
        for name in ["pod", "record"] {
            fs::remove_file(run.join("pods").join(format!("web-1.{name}"))).expect("removed");
        }
        fs::write(run.join("pods").join("web-1.gone"), "").expect("marked");
        assert_eq!(found(&run, &root), []);
        assert!(root.join("pods/web-1/pod").exists());

        drop(RecordFiles::open(&run, &root).expect("records"));
        assert!(!root.join("pods/web-1").exists(), "root is told");
        assert!(!run.join("pods/web-1.gone").exists(), "and the mark goes");

        let mut files = RecordFiles::open(&run, &root).expect("records");
        files.save_pod(&pod("web-1")).expect("saved");
        files.remove(&uid);
        files.save_pod(&pod("web-1")).expect("saved");
        drop(files);
        let expected = ("web-1".to_owned(), None, false);
        assert_eq!(found(&run, &root), [expected], "it may come again");
    }
}
