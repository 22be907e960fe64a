//! The node as its HTTP server sees it.

use super::outcome::chain;
use super::parts::Parts;
use super::session::{self, EndOfSession, nonblocking};
use super::{debug, down, terminal};
use cgroup_tree::SessionOwner;
use image_store::{
    ArchiveSource, CancellationToken, ImageReference, LayerProgress, ProgressEvent, ProgressSink,
};
use node_config::NodeConfig;
use node_server::wire::{self, DownProgress, ImageProgress, ImageRow};
use node_server::{
    ContainerUsage, ExecExit, ExecRequest, ExecSession, Node, NodeError, NodeEvent, NodeInfo,
    NodeUsage, PodUsage,
};
use pod_lifecycle::Input;
use pod_model::{ContainerKey, ContainerRole, PodUid, WallTime};
use pod_worker::{Inputs, PodView};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot, watch};

pub(crate) struct NodeView {
    pub(crate) parts: Arc<Parts>,
    pub(crate) inputs: Inputs,
    pub(crate) config: NodeConfig,
    pub(crate) info: NodeInfo,
    /// Told when the node is taken down: no manifest counts any more.
    pub(crate) end_of_sources: watch::Sender<bool>,
    /// Told when nothing is left: the agent ends.
    pub(crate) ended: watch::Sender<bool>,
}

impl NodeView {
    /// Pods that wait for an image look again.
    fn images_came(&self) {
        // without a worker there is nobody who waits
        let _ = self.inputs.observe(Input::ImagesCame);
    }
}

impl Node for NodeView {
    fn info(&self) -> NodeInfo {
        self.info.clone()
    }

    fn pods(&self) -> Vec<node_server::PodView> {
        self.parts.board.pods().into_iter().map(shown).collect()
    }

    fn events(&self) -> Vec<NodeEvent> {
        let events = self.parts.board.events().into_iter();
        events
            .map(|event| NodeEvent {
                namespace: event.pod.namespace,
                pod: event.pod.name,
                uid: event.uid,
                field_path: event.container.map(|name| {
                    let list = match event.role {
                        Some(ContainerRole::Init | ContainerRole::Sidecar) => "initContainers",
                        Some(ContainerRole::Ephemeral) => "ephemeralContainers",
                        Some(ContainerRole::Main) | None => "containers",
                    };
                    format!("spec.{list}{{{name}}}")
                }),
                kind: event.kind.as_str(),
                reason: event.reason,
                message: event.message,
                first: event.first.wall,
                last: event.last.wall,
                count: event.count,
            })
            .collect()
    }

    fn timeline(&self, pod: &PodUid) -> Vec<node_server::TimelineEntry> {
        let entries = self.parts.board.timeline(pod).into_iter();
        entries
            .map(|entry| node_server::TimelineEntry {
                at: entry.at.wall,
                took: entry.took,
                container: entry.container,
                what: entry.what,
                detail: entry.detail,
            })
            .collect()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.parts.board.changes()
    }

    fn configuration(&self) -> serde_json::Value {
        let config = &self.config;
        serde_json::json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "staticPodPath": config.manifests,
            "address": config.listen_address,
            "port": config.listen_port,
            "cgroupRoot": config.cgroup_root,
            "podCIDR": config.pod_cidr,
            "clusterDNS": config.cluster_dns,
            "clusterDomain": config.cluster_domain,
            "resolvConf": config.resolv_conf,
            "containerLogMaxSize": config.container_log_max_size.0.to_string(),
            "containerLogMaxFiles": config.container_log_max_files,
            "crashLoopBackOff": { "maxContainerRestartPeriod": node_config::format_duration(config.max_container_restart_period) },
            "maxParallelImagePulls": config.max_parallel_image_pulls,
            "podPidsLimit": config.pod_pids_limit.map_or(-1, i64::from),
            "maxPods": config.max_pods,
            "podsPerCore": config.pods_per_core,
            "allowedUnsafeSysctls": config.allowed_unsafe_sysctls,
            "fileCheckFrequency": node_config::format_duration(config.file_check_frequency),
            "seccompDefault": config.seccomp_default,
            "podLogsDir": config.pod_logs_dir,
        })
    }

    async fn usage(&self) -> Result<NodeUsage, NodeError> {
        let parts = Arc::clone(&self.parts);
        tokio::task::spawn_blocking(move || usage(&parts))
            .await
            .map_err(|e| NodeError::Internal(e.to_string()))?
    }

    async fn exec(&self, request: ExecRequest) -> Result<ExecSession, NodeError> {
        let parts = &self.parts;
        let view = parts
            .board
            .pod(&request.pod)
            .ok_or_else(|| NodeError::NotFound(format!("pod {} not found", request.pod)))?;
        // an agent that has just started knows its containers when the keeper has told it
        parts.host.look().await;
        let attempt = parts
            .host
            .running_attempt(&request.pod, &request.container)
            .ok_or_else(|| {
                NodeError::BadRequest(format!(
                    "container {} of pod {} is not running",
                    request.container,
                    view.pod.name()
                ))
            })?;
        let key = ContainerKey::new(request.pod.clone(), request.container.clone(), attempt);
        let size = request.size.map(|size| launch_plan::TerminalSize {
            rows: size.rows,
            columns: size.columns,
        });
        let terminal = request.tty.then_some(size);
        let argv = request.command.clone();
        let (started, end) =
            session::begin(parts, view.pod, &key, SessionOwner::Person, argv, terminal).await?;
        connect(started, end, &request)
            .map_err(|e| NodeError::Internal(format!("cannot connect the session: {e}")))
    }

    async fn add_ephemeral_container(
        &self,
        pod: PodUid,
        container: serde_json::Value,
    ) -> Result<(), NodeError> {
        debug::add(&self.parts.board, &self.inputs, &pod, container).await
    }

    async fn images(&self) -> Result<Vec<ImageRow>, NodeError> {
        let rows = self.parts.images.list().into_iter();
        Ok(rows
            .map(|image| ImageRow {
                id: image.id.to_string(),
                tags: image.tags,
                digests: image.digests,
                size_bytes: image.size_bytes,
                created: image.created,
                pinned: image.pinned,
            })
            .collect())
    }

    async fn pull_image(
        &self,
        name: String,
        tell: mpsc::Sender<ImageProgress>,
    ) -> Result<(), NodeError> {
        let reference =
            ImageReference::parse(&name).map_err(|e| NodeError::BadRequest(e.message()))?;
        let cancel = CancellationToken::new();
        let _guard = cancel.clone().drop_guard();
        let pulled = self
            .parts
            .images
            .pull(&reference, None, &sink(tell.clone()), cancel)
            .await;
        pulled.map_err(|e| NodeError::Unavailable(e.message()))?;
        self.images_came();
        // a person who left hears nothing
        let _ = tell.send(ImageProgress::Pulled).await;
        Ok(())
    }

    async fn load_images(
        &self,
        archive: PathBuf,
        tell: mpsc::Sender<ImageProgress>,
    ) -> Result<Vec<String>, NodeError> {
        let loaded = self
            .parts
            .images
            .load(ArchiveSource::Path(archive), &sink(tell))
            .await;
        let loaded = loaded.map_err(|e| NodeError::BadRequest(e.message()))?;
        self.images_came();
        Ok(loaded
            .into_iter()
            .flat_map(|image| {
                if image.names.is_empty() {
                    vec![image.info.id.to_string()]
                } else {
                    image.names
                }
            })
            .collect())
    }

    async fn remove_image(&self, name: String) -> Result<Vec<String>, NodeError> {
        let parts = Arc::clone(&self.parts);
        let removed = tokio::task::spawn_blocking(move || {
            let users = users_of_images(&parts);
            let removed = parts
                .images
                .remove(&name, &|id| users.contains_key(&id.to_string()));
            removed.map_err(|error| match error {
                image_store::ImageError::NoSuchImage(_) => NodeError::NotFound(error.message()),
                _ => {
                    let id = parts.images.find(&name).map(|info| info.id.to_string());
                    let users = id.and_then(|id| users.get(&id).cloned());
                    let of = users.map_or(String::new(), |pods| {
                        let pods: Vec<_> = pods.into_iter().collect();
                        format!(": pod {}", pods.join(", pod "))
                    });
                    NodeError::Conflict(format!("{}{of}", error.message()))
                }
            })
        });
        let removed = removed
            .await
            .map_err(|e| NodeError::Internal(e.to_string()))??;
        let untagged = removed
            .untagged
            .iter()
            .map(|name| format!("Untagged: {name}"));
        Ok(untagged
            .chain(removed.deleted.iter().map(|id| format!("Deleted: {id}")))
            .collect())
    }

    async fn down(&self, tell: mpsc::Sender<DownProgress>) -> Result<(), NodeError> {
        self.end_of_sources.send_replace(true);
        down::down(&self.parts, &self.inputs, tell).await?;
        self.ended.send_replace(true);
        Ok(())
    }
}

fn shown(view: PodView) -> node_server::PodView {
    node_server::PodView {
        pod: view.pod,
        status: view.status,
        deleting: view.deleting.map(|(since, grace)| (since.wall, grace)),
        seen: view.seen.wall,
    }
}

/// Images that containers run from, and the pods that those belong to.
fn users_of_images(parts: &Parts) -> BTreeMap<String, BTreeSet<String>> {
    let mut users: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (key, ..) in parts.host.running() {
        if let Ok(launch) = parts.host.launch_of(&key) {
            let pod = parts.board.pod(&key.pod);
            let name = pod.map_or(key.pod.to_string(), |view| view.pod.name().to_string());
            users
                .entry(launch.image_id.clone())
                .or_default()
                .insert(name);
        }
    }
    users
}

fn sink(tell: mpsc::Sender<ImageProgress>) -> ProgressSink {
    ProgressSink::new(move |event| {
        // a reader that is slow misses steps in between, never the end, which is sent otherwise
        let _ = tell.try_send(progress(event));
    })
}

fn progress(event: &ProgressEvent) -> ImageProgress {
    match event {
        ProgressEvent::Resolved {
            digest,
            image,
            layers,
            total_bytes,
        } => ImageProgress::Resolved {
            digest: digest.to_string(),
            image: image.to_string(),
            layers: layers
                .iter()
                .map(|layer| wire::LayerSize {
                    digest: layer.digest.to_string(),
                    bytes: layer.bytes,
                })
                .collect(),
            total_bytes: *total_bytes,
        },
        ProgressEvent::Layer { layer, state } => ImageProgress::Layer {
            layer: layer.to_string(),
            state: layer_progress(state),
        },
        ProgressEvent::Complete { image, took } => ImageProgress::Complete {
            image: image.to_string(),
            took: *took,
        },
    }
}

fn layer_progress(state: &LayerProgress) -> wire::LayerProgress {
    match state {
        LayerProgress::Waiting => wire::LayerProgress::Waiting,
        LayerProgress::AlreadyExists => wire::LayerProgress::AlreadyExists,
        LayerProgress::Downloading { bytes, total } => wire::LayerProgress::Downloading {
            bytes: *bytes,
            total: *total,
        },
        LayerProgress::Unpacking { unpacked_bytes } => wire::LayerProgress::Unpacking {
            unpacked_bytes: *unpacked_bytes,
        },
        LayerProgress::Retrying { reason, after } => wire::LayerProgress::Retrying {
            reason: reason.clone(),
            after: *after,
        },
        LayerProgress::Done {
            unpacked_bytes,
            download,
            total,
        } => wire::LayerProgress::Done {
            unpacked_bytes: *unpacked_bytes,
            download: *download,
            total: *total,
        },
    }
}

fn usage(parts: &Parts) -> Result<NodeUsage, NodeError> {
    let node = parts
        .cgroups
        .stats_node()
        .map_err(|e| NodeError::Internal(chain(&e)))?;
    let mut usage = NodeUsage {
        at: (parts.now)().wall,
        cpu_ns: node.cpu_usage_ns,
        memory_usage_bytes: node.memory_usage_bytes,
        memory_working_set_bytes: node.memory_working_set_bytes,
        memory_total_bytes: node.memory_total_bytes,
        swap_bytes: 0,
        pods: Vec::new(),
        incomplete: false,
    };
    let running = parts.host.running();
    for view in parts.board.pods() {
        let uid = view.pod.uid();
        let total = match parts.cgroups.stats_pod(uid) {
            Ok(stats) => stats,
            Err(error) => {
                usage.incomplete |= !error.is_gone();
                continue;
            }
        };
        let containers = running.iter().filter(|(key, ..)| key.pod == *uid);
        let containers =
            containers.filter_map(
                |(key, _, started)| match parts.cgroups.stats_container(key) {
                    Ok(stats) => Some(container_usage(key.name.to_string(), *started, &stats)),
                    Err(error) => {
                        usage.incomplete |= !error.is_gone();
                        None
                    }
                },
            );
        let containers = containers.collect();
        usage.pods.push(PodUsage {
            uid: uid.clone(),
            namespace: view.pod.name().namespace.clone(),
            name: view.pod.name().name.clone(),
            total: container_usage(String::new(), view.seen.wall, &total),
            containers,
        });
    }
    Ok(usage)
}

fn container_usage(
    name: String,
    started_at: WallTime,
    stats: &cgroup_tree::Stats,
) -> ContainerUsage {
    ContainerUsage {
        name,
        started_at,
        cpu_ns: stats.cpu.usage_ns,
        memory_usage_bytes: stats.memory.usage_bytes,
        memory_working_set_bytes: stats.memory.working_set_bytes,
        memory_rss_bytes: stats.memory.rss_bytes,
        swap_bytes: stats.memory.swap_bytes,
        page_faults: stats.memory.page_faults,
        major_page_faults: stats.memory.major_page_faults,
        processes: stats.pids,
    }
}

/// The session ends when its client is gone.
fn connect(
    started: container_host::ExecSession,
    end: EndOfSession,
    request: &ExecRequest,
) -> std::io::Result<ExecSession> {
    let guard = Box::new(end);
    let (tell, exit) = oneshot::channel();
    tokio::spawn(async move {
        let exit = match started.exit.await {
            Ok(exit) => ExecExit::Code(exit.code),
            Err(_) => ExecExit::Unknown("the keeper went away while the command ran".to_owned()),
        };
        // the client may have left
        let _ = tell.send(exit);
    });
    if let Some(master) = started.terminal {
        let terminal = terminal::Terminal::new(master, request.size)?;
        let stdin = request.stdin.then(|| terminal.input()).transpose()?;
        return Ok(ExecSession {
            stdin,
            stdout: terminal.output()?,
            stderr: None,
            resize: Some(terminal.resizer()?),
            exit,
            guard,
        });
    }
    let missing = || std::io::Error::other("a pipe is missing");
    let stdout = pipe::Receiver::from_owned_fd(nonblocking(started.stdout.ok_or_else(missing)?)?)?;
    let stderr = pipe::Receiver::from_owned_fd(nonblocking(started.stderr.ok_or_else(missing)?)?)?;
    let stdin = match started.stdin.filter(|_| request.stdin) {
        Some(fd) => Some(Box::new(pipe::Sender::from_owned_fd(nonblocking(fd)?)?)
            as Box<dyn tokio::io::AsyncWrite + Send + Unpin>),
        None => None,
    };
    Ok(ExecSession {
        stdin,
        stdout: Box::new(stdout),
        stderr: Some(Box::new(stderr)),
        resize: None,
        exit,
        guard,
    })
}
