//! A directory of manifests with a source that follows it; waits are on predicates, with a deadline.

use manifest_source::{ManifestSource, Running, Snapshot};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub(crate) struct Node {
    pub(crate) running: Option<Running>,
    pub(crate) dir: PathBuf,
    interval: Duration,
    _temporary: TempDir,
}

impl Node {
    /// With inotify in charge: the slow re-read comes too late for any test.
    pub(crate) fn new() -> Self {
        Self::with_interval(Duration::from_secs(3600))
    }
    pub(crate) fn with_interval(interval: Duration) -> Self {
        let temporary = TempDir::new().expect("a temporary directory");
        let dir = temporary.path().join("manifests");
        fs::create_dir(&dir).expect("the directory of manifests");
        let mut node = Self {
            running: None,
            dir,
            interval,
            _temporary: temporary,
        };
        node.restart();
        node
    }
    pub(crate) fn restart(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop();
        }
        let source = ManifestSource::new(&self.dir, "n1").reread_every(self.interval);
        self.running = Some(source.run().expect("the source runs"));
        self.until("looked at the directory", |s| {
            s.ready || !s.problems.is_empty()
        });
    }
    pub(crate) fn write(&self, file: &str, text: &str) {
        fs::write(self.dir.join(file), text).expect("write a manifest");
    }
    pub(crate) fn remove(&self, file: &str) {
        fs::remove_file(self.dir.join(file)).expect("remove a manifest");
    }
    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.dir.join(file)
    }
    pub(crate) fn now(&self) -> Arc<Snapshot> {
        let running = self.running.as_ref().expect("a running source");
        running.snapshots().borrow().clone()
    }
    /// The first snapshot of which `wanted` is true.
    #[track_caller]
    pub(crate) fn until(&self, what: &str, wanted: impl Fn(&Snapshot) -> bool) -> Arc<Snapshot> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let snapshot = self.now();
            if wanted(&snapshot) {
                return snapshot;
            }
            assert!(Instant::now() < deadline, "{what}: still {snapshot:#?}");
            std::thread::yield_now();
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }
    /// Waits until exactly these pods are wanted.
    #[track_caller]
    pub(crate) fn until_pods(&self, names: &[&str]) -> Arc<Snapshot> {
        self.until(&format!("pods {names:?}"), |s| self::names(s) == names)
    }
}

pub(crate) fn names(snapshot: &Snapshot) -> Vec<&str> {
    snapshot.pods.keys().map(|k| k.name.as_str()).collect()
}

pub(crate) fn uid(snapshot: &Snapshot, name: &str) -> String {
    let found = snapshot.pods.iter().find(|(k, _)| k.name == name);
    found.expect(name).1.pod.uid().to_string()
}

pub(crate) fn problems(snapshot: &Snapshot, dir: &Path) -> Vec<String> {
    let prefix = format!("{}/", dir.display());
    let text = |p: &manifest_source::Problem| p.to_string().replace(&prefix, "");
    snapshot.problems.iter().map(text).collect()
}

pub(crate) fn pod(name: &str, image: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\nspec:\n  containers:\n  - name: main\n    image: {image}\n"
    )
}
