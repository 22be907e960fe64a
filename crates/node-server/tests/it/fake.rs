//! A node that is made up: pods and events as they are put in, commands run on this machine.

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use node_server::wire::{DownProgress, ImageProgress, ImageRow, LayerSize};
use node_server::{
    ContainerUsage, ExecExit, ExecRequest, ExecSession, Node, NodeError, NodeEvent, NodeInfo,
    NodeUsage, PodUsage, PodView, Server, ServerConfig, TimelineEntry,
};
use pod_model::{AdmittedPod, Attempt, ContainerKey, ContainerName, PodUid, QosClass, WallTime};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use telemetry::NodeMetrics;
use tokio::process::Command;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

/// 2026-11-21T10:00:00Z
pub(crate) const NOW: i64 = 1_795_255_200_000_000_000;
pub(crate) const UID: &str = "0123-uid";

pub(crate) struct Fake {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) pods: Mutex<Vec<PodView>>,
    pub(crate) changes: watch::Sender<u64>,
    /// What exec was asked for last.
    pub(crate) asked: Mutex<Option<ExecRequest>>,
    /// Nothing of the pod uses anything.
    pub(crate) idle: std::sync::atomic::AtomicBool,
}

impl Fake {
    /// A node with the pod `default/hello-node-1`, whose container `main` runs.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            directory: tempfile::tempdir().unwrap(),
            pods: Mutex::new(vec![pod(running(0))]),
            changes: watch::Sender::new(0),
            asked: Mutex::new(None),
            idle: std::sync::atomic::AtomicBool::new(false),
        })
    }
    pub(crate) fn set_status(&self, status: Value) {
        *self.pods.lock().unwrap() = vec![pod(status)];
        self.changes.send_modify(|n| *n += 1);
    }
    /// `<pod logs>/…/main/<attempt>.log`, its directory made.
    pub(crate) fn log(&self, attempt: u32) -> PathBuf {
        let directory = self
            .directory
            .path()
            .join(format!("logs/default_hello-node-1_{UID}/main"));
        std::fs::create_dir_all(&directory).unwrap();
        directory.join(format!("{attempt}.log"))
    }
}

pub(crate) fn container_id(attempt: u32) -> String {
    let uid = PodUid::new(UID).unwrap();
    let name = ContainerName::new("main").unwrap();
    ContainerKey::new(uid, name, Attempt(attempt)).id().uri()
}

/// The status of a pod whose container is in `state` after so many restarts.
pub(crate) fn status(restarts: u32, state: Value, last: Value) -> Value {
    json!({
        "phase": "Running",
        "podIP": "10.88.0.2",
        "podIPs": [{ "ip": "10.88.0.2" }],
        "containerStatuses": [{
            "name": "main", "image": "demo:1", "imageID": "sha256:1", "ready": true,
            "restartCount": restarts, "containerID": container_id(restarts), "state": state, "lastState": last,
        }],
    })
}

pub(crate) fn running(restarts: u32) -> Value {
    status(
        restarts,
        json!({ "running": { "startedAt": "2026-11-21T10:00:00Z" } }),
        json!({}),
    )
}

pub(crate) fn pod(status: Value) -> PodView {
    let object: Pod = serde_json::from_value(json!({
        "metadata": {
            "name": "hello-node-1", "namespace": "default", "uid": UID,
            "annotations": { "kubernetes.io/config.source": "file" },
        },
        "spec": {
            "containers": [{ "name": "main", "image": "demo:1" }],
            "volumes": [{ "name": "data", "emptyDir": {} }],
        },
    }))
    .unwrap();
    PodView {
        pod: AdmittedPod::from_validated(object, QosClass::BestEffort).unwrap(),
        status: Arc::new(serde_json::from_value::<PodStatus>(status).unwrap()),
        deleting: None,
        seen: WallTime(NOW),
    }
}

impl Node for Fake {
    fn info(&self) -> NodeInfo {
        NodeInfo {
            node_name: "node-1".to_owned(),
            kubelet_version: "v1.36.0-coracle.0.1.0".to_owned(),
            version: "0.1.0".to_owned(),
            git_commit: "0123abc".to_owned(),
            cgroup_version: 2,
            started_at: WallTime(NOW),
            pod_logs: self.directory.path().join("logs"),
        }
    }
    fn pods(&self) -> Vec<PodView> {
        self.pods.lock().unwrap().clone()
    }
    fn events(&self) -> Vec<NodeEvent> {
        vec![NodeEvent {
            namespace: "default".to_owned(),
            pod: "hello-node-1".to_owned(),
            uid: PodUid::new(UID).unwrap(),
            field_path: Some("spec.containers{main}".to_owned()),
            kind: "Normal",
            reason: "Started".to_owned(),
            message: "Started container main".to_owned(),
            first: WallTime(NOW),
            last: WallTime(NOW + 5_000_000_000),
            count: 2,
        }]
    }
    fn timeline(&self, _pod: &PodUid) -> Vec<TimelineEntry> {
        vec![TimelineEntry {
            at: WallTime(NOW),
            took: Some(Duration::from_millis(2)),
            container: Some("main".to_owned()),
            what: "started".to_owned(),
            detail: "pid 7".to_owned(),
        }]
    }
    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
    fn configuration(&self) -> Value {
        json!({ "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration" })
    }
    async fn usage(&self) -> Result<NodeUsage, NodeError> {
        let idle = self.idle.load(std::sync::atomic::Ordering::SeqCst);
        let used = |name: &str| ContainerUsage {
            name: name.to_owned(),
            started_at: WallTime(NOW),
            cpu_ns: 1_500_000_000,
            memory_usage_bytes: 9 << 20,
            memory_working_set_bytes: 8 << 20,
            memory_rss_bytes: 7 << 20,
            processes: 1,
            ..ContainerUsage::default()
        };
        Ok(NodeUsage {
            at: WallTime(NOW),
            cpu_ns: 60_000_000_000,
            memory_usage_bytes: 3 << 30,
            memory_working_set_bytes: 2 << 30,
            memory_total_bytes: 8 << 30,
            swap_bytes: 0,
            pods: vec![PodUsage {
                uid: PodUid::new(UID).unwrap(),
                namespace: "default".to_owned(),
                name: "hello-node-1".to_owned(),
                total: if idle {
                    ContainerUsage::default()
                } else {
                    used("")
                },
                containers: if idle { Vec::new() } else { vec![used("main")] },
            }],
            incomplete: false,
        })
    }
    async fn exec(&self, request: ExecRequest) -> Result<ExecSession, NodeError> {
        if request.command[0] == "nothing" {
            return Err(NodeError::BadRequest(
                "no such file or directory: nothing".to_owned(),
            ));
        }
        let mut child = Command::new(&request.command[0])
            .args(&request.command[1..])
            .stdin(if request.stdin {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        *self.asked.lock().unwrap() = Some(request);
        let (send, exit) = oneshot::channel();
        let stdin = child.stdin.take().map(|s| Box::new(s) as _);
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let waiting = tokio::spawn(async move {
            let status = child.wait().await.unwrap();
            let _ = send.send(ExecExit::Code(status.code().unwrap_or(137)));
        });
        Ok(ExecSession {
            stdin,
            stdout: Box::new(stdout),
            stderr: Some(Box::new(stderr)),
            resize: None,
            exit,
            guard: Box::new(EndWith(waiting)),
        })
    }
    async fn images(&self) -> Result<Vec<ImageRow>, NodeError> {
        Ok(vec![ImageRow {
            id: format!("sha256:{}", "ab".repeat(32)),
            tags: vec!["demo:1".to_owned()],
            digests: Vec::new(),
            size_bytes: 1_000_000,
            created: String::new(),
            pinned: false,
        }])
    }
    async fn pull_image(
        &self,
        name: String,
        tell: mpsc::Sender<ImageProgress>,
    ) -> Result<(), NodeError> {
        let resolved = ImageProgress::Resolved {
            digest: "sha256:01".to_owned(),
            image: "sha256:02".to_owned(),
            layers: vec![LayerSize {
                digest: "sha256:03".to_owned(),
                bytes: 5,
            }],
            total_bytes: 5,
        };
        let _ = tell.send(resolved).await;
        if name == "demo:1" {
            Ok(())
        } else {
            Err(NodeError::NotFound(format!(
                "image {name} is not in the registry"
            )))
        }
    }
    async fn load_images(
        &self,
        archive: PathBuf,
        _tell: mpsc::Sender<ImageProgress>,
    ) -> Result<Vec<String>, NodeError> {
        let text =
            std::fs::read_to_string(archive).map_err(|e| NodeError::BadRequest(e.to_string()))?;
        Ok(text.lines().map(str::to_owned).collect())
    }
    async fn add_ephemeral_container(&self, _: PodUid, container: Value) -> Result<(), NodeError> {
        match container["name"].as_str() {
            Some(_) => Ok(()),
            None => Err(NodeError::Invalid(
                "Pod \"hello-node-1\" is invalid: spec.ephemeralContainers[0].name: Required value"
                    .to_owned(),
            )),
        }
    }
    async fn remove_image(&self, name: String) -> Result<Vec<String>, NodeError> {
        if name == "demo:1" {
            Err(NodeError::Conflict(
                "image demo:1 is in use by pod default/hello-node-1".to_owned(),
            ))
        } else {
            Ok(vec![name])
        }
    }
    async fn down(&self, tell: mpsc::Sender<DownProgress>) -> Result<(), NodeError> {
        let stopped = DownProgress::Stopped {
            namespace: "default".to_owned(),
            pod: "hello-node-1".to_owned(),
        };
        let _ = tell.send(stopped).await;
        Ok(())
    }
}

/// Ends what waits for a child, and with it the child.
struct EndWith(tokio::task::JoinHandle<()>);

impl Drop for EndWith {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A server of the node on a port of its own and on `<directory>/agent.sock`; gone with the value.
pub(crate) struct Serving {
    pub(crate) address: SocketAddr,
    pub(crate) socket: PathBuf,
    pub(crate) metrics: Arc<NodeMetrics>,
    pub(crate) ending: CancellationToken,
    pub(crate) task: tokio::task::JoinHandle<()>,
}

pub(crate) async fn serve(node: &Arc<Fake>) -> Serving {
    let socket = node.directory.path().join("agent.sock");
    let config = ServerConfig {
        listen: Some("127.0.0.1:0".parse().unwrap()),
        socket: socket.clone(),
    };
    let server = Server::bind(&config).await.unwrap();
    let (metrics, ending) = (Arc::new(NodeMetrics::new()), CancellationToken::new());
    Serving {
        address: server.address().unwrap(),
        socket,
        metrics: Arc::clone(&metrics),
        ending: ending.clone(),
        task: tokio::spawn(server.serve(Arc::clone(node), metrics, ending)),
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.ending.cancel();
    }
}
