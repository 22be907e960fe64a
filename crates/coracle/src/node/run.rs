//! Construction in order, and the agent's life. Configuration, building and running are three steps.

use super::accountant::Accountant;
use super::executor::NodeExecutor;
use super::parts::{Parts, SystemClock, now};
use super::view::NodeView;
use super::{boot, eviction, facts, housekeeping, last_words, probing, seccomp, source};
use anyhow::{Context, Result, bail};
use cgroup_tree::{CgroupKind, CgroupTree, Placement};
use container_host::{ContainerHost, HostConfig, HostPaths};
use image_store::{ImageStore, ImageStoreConfig};
use manifest_source::ManifestSource;
use node_config::NodeConfig;
use node_policy::NodeNumbers;
use node_server::{NodeInfo, Server, ServerConfig};
use pod_lifecycle::{Input, NodeCore, PodRecord, Settings};
use pod_network::{NetworkConfig, NodeDns, PodNetwork};
use pod_volumes::PodVolumes;
use pod_worker::{Board, RECORD_VERSION, RecordFiles, StoredPod, Worker};
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use telemetry::NodeMetrics;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Threads that may block: the kernel stage, pulls, file reading.
const BLOCKING_THREADS: usize = 32;
const THREAD_STACK: usize = 512 << 10;
/// Network slots that wait ready.
const NETWORK_POOL: usize = 8;

/// Runs the agent until a signal or `coracle down`.
pub(crate) fn run(mut config: NodeConfig) -> Result<()> {
    for directory in [
        &mut config.root,
        &mut config.run_dir,
        &mut config.pod_logs_dir,
    ] {
        *directory = std::path::absolute(&*directory)
            .with_context(|| format!("cannot tell where {} is", directory.display()))?;
    }
    if !rustix::process::geteuid().is_root() {
        bail!("coracle run makes namespaces and cgroups: run it as root");
    }
    let _alone = boot::lock(&[&config.run_dir, &config.root])?;
    if boot::notice_boot(&config.run_dir)? == boot::Boot::New {
        boot::drop_container_layers(&config.root)?;
    }
    // One thread carries all tasks: they are short, and to wake another thread costs more than most of them take. What takes time, or may
    // wait for the disk, has threads of its own.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_stack_size(THREAD_STACK)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let ended = runtime.block_on(live(&config))?;
    // tasks that are under way belong to nobody any more; the kernel and the records know what there is
    runtime.shutdown_timeout(Duration::from_millis(200));
    if ended == Ended::Down {
        // nothing of the node is left but its images
        std::fs::remove_dir_all(&config.run_dir)
            .with_context(|| format!("cannot remove {}", config.run_dir.display()))?;
    }
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Signal,
    Down,
}

async fn live(config: &NodeConfig) -> Result<Ended> {
    let server = ServerConfig {
        listen: Some(config.listen()),
        socket: config.run_dir.join("agent.sock"),
    };
    let server = Server::bind(&server).await.context("cannot listen")?;
    let built = build(config)?;
    let Built {
        parts,
        exits,
        core,
        records,
        notes,
    } = built;
    for note in notes {
        tracing::warn!("{note}");
    }
    let metrics = Arc::clone(&parts.metrics);

    let (look, mut look_due) = tokio::sync::mpsc::unbounded_channel();
    let account = Box::new(Accountant(Arc::clone(&metrics)));
    let worker = Worker::new(
        core,
        Arc::new(NodeExecutor(Arc::clone(&parts))),
        records,
        SystemClock,
        parts.board.clone(),
        Box::new(move || {
            // whoever looks lives as long as the worker
            let _ = look.send(());
        }),
        account,
    );
    let inputs = worker.inputs();
    let (prober, probes) = probing::build(&parts, inputs.clone(), Arc::clone(&metrics));
    let worker = worker.probing(probes);
    let (end_of_sources, sources_end) = watch::channel(false);
    let (ended, mut has_ended) = watch::channel(false);

    tokio::spawn(parts.host.clone().run());
    tokio::spawn(forward_exits(Arc::clone(&parts), exits, inputs.clone()));
    let looked_at = Arc::clone(&parts);
    let (host, network, to) = (parts.host.clone(), parts.network.clone(), inputs.clone());
    tokio::spawn(async move {
        while look_due.recv().await.is_some() {
            match network.repair().await {
                Ok(true) => tracing::warn!("the node's network rules were gone, and are back"),
                Ok(false) => {}
                Err(error) => tracing::warn!("the node's network rules: {}", error.chain()),
            }
            let Some(mut observed) = host.look().await else {
                continue;
            };
            last_words::of_all(&looked_at, &mut observed).await;
            if to.observe(Input::Observed(observed)).is_err() {
                return;
            }
        }
    });
    let worker = tokio::spawn(worker.run());
    tokio::spawn(prober.run());
    tokio::spawn(housekeeping::run(
        Arc::clone(&parts),
        config.container_log_max_files,
    ));
    tokio::spawn(housekeeping::keep_shares(Arc::clone(&parts)));
    tokio::spawn(housekeeping::keep_small(parts.board.clone()));
    tokio::spawn(eviction::run(
        Arc::clone(&parts),
        inputs.clone(),
        Arc::clone(&metrics),
    ));

    let manifests = ManifestSource::new(&config.manifests, &parts.node.node_name)
        .reread_every(config.file_check_frequency);
    let manifests = manifests.run().context("cannot follow the manifests")?;
    tokio::spawn(source::follow(
        manifests.snapshots(),
        parts.board.clone(),
        inputs.clone(),
        now,
        sources_end,
    ));
    leftovers(&parts, &inputs);

    let view = NodeView {
        info: info(config, &parts),
        parts: Arc::clone(&parts),
        inputs,
        config: config.clone(),
        end_of_sources,
        ended,
    };
    let ending = CancellationToken::new();
    let address = server.address();
    let serving = tokio::spawn(server.serve(Arc::new(view), metrics, ending.clone()));
    tracing::info!(
        node = parts.node.node_name,
        manifests = %config.manifests.display(),
        listen = address.map(tracing::field::display),
        "the agent runs"
    );

    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let why = tokio::select! {
        _ = terminate.recv() => Ended::Signal,
        result = tokio::signal::ctrl_c() => { result?; Ended::Signal }
        _ = has_ended.wait_for(|ended| *ended) => Ended::Down,
    };
    if why == Ended::Signal {
        tracing::info!("the agent ends; pods go on (`coracle down` stops them)");
    }
    ending.cancel();
    // answers that are under way get their moment; the server bounds it
    let _ = serving.await;
    // with the worker goes the writer of records, when everything that waits lies on disk
    worker.abort();
    let _ = worker.await;
    parts.network.shutdown();
    Ok(why)
}

struct Built {
    parts: Arc<Parts>,
    exits: tokio::sync::mpsc::UnboundedReceiver<pod_model::ExitSeen>,
    core: NodeCore,
    records: RecordFiles,
    /// To be said once.
    notes: Vec<String>,
}

/// Everything that needs the machine, in the order in which one needs the other.
fn build(config: &NodeConfig) -> Result<Built> {
    let mut notes = Vec::new();
    let node_name = if config.node_name.is_empty() {
        facts::host_name()
    } else {
        config.node_name.clone()
    };
    let node = facts::read(config, &node_name)?;
    let paths = HostPaths {
        root: config.root.clone(),
        run: config.run_dir.clone(),
        pod_logs: config.pod_logs_dir.clone(),
    };

    let cgroups = CgroupTree::detect(&config.cgroup_root).context("no usable cgroups")?;
    let numbers = NodeNumbers {
        cpu_millis: node.allocatable_cpu_millis,
        memory_limit_bytes: None,
        pids_limit: None,
    };
    cgroups
        .create_node_level(&numbers)
        .context("cannot make the kubepods cgroup")?;
    let node_hash = NetworkConfig::hash_of(&config.run_dir);
    let keeper_cgroup = format!("coracle-keeper-{node_hash:04x}");
    let placement = cgroups
        .create_service(&keeper_cgroup)
        .context("cannot make the keeper's cgroup")?;
    let cgroups = Arc::new(cgroups);

    let pod_cidr = config.pod_cidr.parse().context("pod CIDR")?;
    let network = NetworkConfig {
        run_dir: config.run_dir.clone(),
        pod_cidr,
        pool_size: NETWORK_POOL,
        node_hash,
    };
    let network = PodNetwork::start(network).context("cannot set up the pod network")?;
    notes.extend(network.notices().iter().map(ToString::to_string));

    let images = ImageStore::open(image_config(config)).context("cannot open the image store")?;
    let host_config = HostConfig {
        paths: paths.clone(),
        keeper_program: std::env::current_exe().context("cannot tell what program this is")?,
        keeper_arguments: keeper_arguments(config, placement),
    };
    let (host, exits) = ContainerHost::new(host_config, Arc::clone(&cgroups));

    let loaded = RecordFiles::load(&config.run_dir, &config.root)
        .context("cannot read the pods' records")?;
    notes.extend(loaded.quarantined);
    let settings = Settings {
        node: facts::admitting(config, &node).context("allowedUnsafeSysctls")?,
        host_ips: node.host_ips.iter().map(ToString::to_string).collect(),
        max_container_restart_period: config.max_container_restart_period,
        kernel_slots: 2 * std::thread::available_parallelism().map_or(2, std::num::NonZero::get),
        max_parallel_image_pulls: usize::try_from(config.max_parallel_image_pulls).unwrap_or(1),
        check: cfg!(debug_assertions),
    };
    let mut core = NodeCore::new(settings);
    core.restore(
        loaded
            .pods
            .into_iter()
            .map(|stored| restored(stored, &mut notes))
            .collect(),
        now(),
    );

    let parts = Parts {
        cgroups,
        network,
        volumes: PodVolumes::new(&config.root),
        images,
        host,
        programs: seccomp::Programs::new(&config.root)?,
        board: Board::default(),
        node,
        dns: NodeDns {
            resolv_conf: config.resolv_conf.clone(),
            cluster_dns: config.cluster_dns.clone(),
            cluster_domain: config.cluster_domain.clone(),
        },
        pod_pids_limit: config.pod_pids_limit.map(u64::from),
        log_max_bytes: config.container_log_max_size.0,
        log_max_files: config.container_log_max_files,
        keeper_cgroup,
        paths,
        now,
        metrics: Arc::new(NodeMetrics::new()),
    };
    let records =
        RecordFiles::open(&config.run_dir, &config.root).context("cannot keep records")?;
    Ok(Built {
        parts: Arc::new(parts),
        exits,
        core,
        records,
        notes,
    })
}

/// A record that cannot be read is begun anew: what the kernel shows of the pod is believed.
fn restored(stored: StoredPod, notes: &mut Vec<String>) -> (PodRecord, pod_model::AdmittedPod) {
    let StoredPod {
        pod,
        record,
        from_earlier_boot,
    } = stored;
    let read = record.and_then(|(version, bytes)| match serde_json::from_slice(&bytes) {
        Ok(record) if version == RECORD_VERSION => Some(record),
        _ => {
            notes.push(format!(
                "the record of pod {} is of a version that is not understood; it is begun anew",
                pod.name()
            ));
            None
        }
    });
    let record: PodRecord = read.unwrap_or_else(|| PodRecord::new(&pod, now()));
    (
        if from_earlier_boot {
            record.rebooted(now())
        } else {
            record
        },
        pod,
    )
}

fn image_config(config: &NodeConfig) -> ImageStoreConfig {
    let mut images = ImageStoreConfig::new(config.root.join("images"));
    images
        .registries
        .mirrors
        .clone_from(&config.registry_mirrors);
    images
        .registries
        .insecure
        .clone_from(&config.insecure_registries);
    images
        .registries
        .docker_config
        .clone_from(&config.docker_config);
    images
        .registries
        .ca_directory
        .clone_from(&config.registry_ca_directory);
    let limits = &mut images.limits;
    if let Some(layers) = config.image_max_layers {
        limits.layers = usize::try_from(layers).unwrap_or(usize::MAX);
    }
    if let Some(size) = config.image_max_layer_size {
        limits.layer_bytes = size.0;
    }
    if let Some(size) = config.image_max_unpacked_size {
        limits.unpacked_bytes = size.0;
    }
    if let Some(entries) = config.image_max_entries {
        limits.entries = entries;
    }
    images
}

fn keeper_arguments(config: &NodeConfig, placement: Placement) -> Vec<OsString> {
    let directories: Vec<PathBuf> = match placement {
        Placement::V2 { directory } => vec![directory],
        Placement::V1 { directories } => directories,
    };
    let mut arguments: Vec<OsString> = vec![
        "keeper".into(),
        "--run-dir".into(),
        config.run_dir.clone().into(),
    ];
    for directory in directories {
        arguments.extend(["--cgroup".into(), directory.into()]);
    }
    arguments
}

async fn forward_exits(
    parts: Arc<Parts>,
    mut exits: tokio::sync::mpsc::UnboundedReceiver<pod_model::ExitSeen>,
    inputs: pod_worker::Inputs,
) {
    while let Some(mut exit) = exits.recv().await {
        let (parts, inputs) = (Arc::clone(&parts), inputs.clone());
        // one whose last words take time holds up no other
        tokio::spawn(async move {
            exit.last_words = last_words::of(&parts, &exit.container, &exit.exit).await;
            // the worker ends with the agent
            let _ = inputs.observe(Input::Exit(exit));
        });
    }
}

/// Tells the core of everything on the machine that bears a pod's uid; what nobody wants it takes away.
fn leftovers(parts: &Parts, inputs: &pod_worker::Inputs) {
    let mut uids = std::collections::BTreeSet::new();
    match parts.cgroups.list() {
        Ok(found) => uids.extend(found.into_iter().map(|pod| pod.uid)),
        Err(error) => tracing::warn!(
            error = &error as &dyn std::error::Error,
            "cgroups of earlier pods are not found"
        ),
    }
    uids.extend(parts.network.leased_pods());
    for directory in [parts.paths.root.join("pods"), parts.paths.attempts()] {
        let names = std::fs::read_dir(directory).into_iter().flatten().flatten();
        uids.extend(
            names.filter_map(|entry| {
                pod_model::PodUid::new(entry.file_name().to_string_lossy()).ok()
            }),
        );
    }
    // the worker was spawned a moment ago
    let _ = inputs.observe(Input::Leftovers(uids.into_iter().collect()));
    parts.volumes.empty_trash();
}

fn info(config: &NodeConfig, parts: &Parts) -> NodeInfo {
    NodeInfo {
        node_name: parts.node.node_name.clone(),
        kubelet_version: format!("v1.36.0-coracle.{}", env!("CARGO_PKG_VERSION")),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        git_commit: option_env!("CORACLE_COMMIT")
            .unwrap_or("unknown")
            .to_owned(),
        cgroup_version: match parts.cgroups.kind() {
            CgroupKind::V1 => 1,
            CgroupKind::V2 => 2,
        },
        started_at: now().wall,
        pod_logs: config.pod_logs_dir.clone(),
    }
}
