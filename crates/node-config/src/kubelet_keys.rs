//! The one table of what the keys of a `KubeletConfiguration` mean here: every key of `kubelet.config.k8s.io/v1beta1` as of
//! Kubernetes 1.36.

use crate::coracle_file::{
    cgroup, file_check_frequency, log_size, pids_limit, resolv_conf, sysctls, unknown,
};
use crate::settings::Settings;
use crate::values::{self, Parsed};
use located_yaml::{Kind, Node};

/// What the implemented keys have said so far.
#[derive(Default)]
pub(crate) struct Said {
    pub(crate) settings: Settings,
    pub(crate) serialize_image_pulls: Option<bool>,
}

pub(crate) enum Rule {
    /// Implemented.
    Set(fn(&mut Said, &Node) -> Parsed<()>),
    /// Not implemented, and no pod can tell: accepted with the one warning.
    Harmless,
    /// Not implemented; accepted only with the values that ask for nothing, otherwise refused for this reason.
    Only(fn(&Node) -> bool, &'static str),
}

use Rule::{Harmless, Only, Set};

macro_rules! set {
    ($field:ident, $parse:expr) => {
        Set(|said, node| {
            said.settings.$field = Some($parse(node)?);
            Ok(())
        })
    };
}

const NO_AUTHENTICATION: &str = "its HTTP API has no authentication yet, and ignoring this would leave open what you want closed";
const NO_TLS: &str = "its HTTP API has no TLS yet";
const NO_EVICTION: &str = "it evicts no pods";
const NO_RESERVE: &str = "it reserves no resources";
const NO_SHUTDOWN: &str = "it does not hold back the machine's shutdown";
const NO_MANAGERS: &str = "it assigns no CPUs, memory or devices to single pods";
const NO_URL: &str = "it takes pods from files only";
const NO_IMAGE_GC: &str = "it deletes no images by itself";

pub(crate) static KEYS: &[(&str, Rule)] = &[
    // implemented
    ("staticPodPath", set!(manifests, values::absolute_path)),
    ("podCIDR", set!(pod_cidr, values::cidr)),
    ("cgroupRoot", set!(cgroup_root, cgroup)),
    ("address", set!(listen_address, values::address)),
    ("port", set!(listen_port, |n| values::within(n, 1, 65535))),
    (
        "clusterDNS",
        set!(cluster_dns, |n| values::list(n, values::address)),
    ),
    (
        "clusterDomain",
        set!(cluster_domain, |n| values::text(n).map(Some)),
    ),
    ("resolvConf", set!(resolv_conf, resolv_conf)),
    (
        "containerLogMaxSize",
        set!(container_log_max_size, log_size),
    ),
    (
        "containerLogMaxFiles",
        set!(container_log_max_files, |n| values::count(n, 2)),
    ),
    ("crashLoopBackOff", Set(crash_loop_back_off)),
    (
        "maxParallelImagePulls",
        set!(max_parallel_image_pulls, |n| values::count(n, 1)),
    ),
    (
        "serializeImagePulls",
        Set(|said, node| {
            said.serialize_image_pulls = Some(values::flag(node)?);
            Ok(())
        }),
    ),
    ("podPidsLimit", set!(pod_pids_limit, pids_limit)),
    ("maxPods", set!(max_pods, |n| values::count(n, 0))),
    ("podsPerCore", set!(pods_per_core, |n| values::count(n, 0))),
    (
        "allowedUnsafeSysctls",
        set!(allowed_unsafe_sysctls, sysctls),
    ),
    (
        "fileCheckFrequency",
        set!(file_check_frequency, file_check_frequency),
    ),
    ("seccompDefault", set!(seccomp_default, values::flag)),
    ("podLogsDir", set!(pod_logs_dir, values::absolute_path)),
    // about an API server, and there is none
    ("syncFrequency", Harmless),
    ("nodeStatusUpdateFrequency", Harmless),
    ("nodeStatusReportFrequency", Harmless),
    ("nodeStatusMaxImages", Harmless),
    ("nodeLeaseDurationSeconds", Harmless),
    ("eventRecordQPS", Harmless),
    ("eventBurst", Harmless),
    ("kubeAPIQPS", Harmless),
    ("kubeAPIBurst", Harmless),
    ("contentType", Harmless),
    ("registerNode", Harmless),
    ("registerWithTaints", Harmless),
    ("providerID", Harmless),
    ("enableControllerAttachDetach", Harmless),
    ("configMapAndSecretChangeDetectionStrategy", Harmless),
    ("rotateCertificates", Harmless),
    ("serverTLSBootstrap", Harmless),
    // about a runtime of its own, iptables or a cgroup driver, which this node has not
    ("containerRuntimeEndpoint", Harmless),
    ("imageServiceEndpoint", Harmless),
    ("runtimeRequestTimeout", Harmless),
    ("cgroupDriver", Harmless),
    ("makeIPTablesUtilChains", Harmless),
    ("iptablesMasqueradeBit", Harmless),
    ("iptablesDropBit", Harmless),
    ("hairpinMode", Harmless),
    ("volumePluginDir", Harmless),
    ("failSwapOn", Harmless),
    ("failCgroupV1", Harmless),
    ("imagePullCredentialsVerificationPolicy", Harmless),
    ("preloadedImagesVerificationAllowlist", Harmless),
    ("userNamespaces", Harmless),
    // about how the agent itself works
    ("registryPullQPS", Harmless),
    ("registryBurst", Harmless),
    ("containerLogMaxWorkers", Harmless),
    ("containerLogMonitorInterval", Harmless),
    ("streamingConnectionIdleTimeout", Harmless),
    ("volumeStatsAggPeriod", Harmless),
    ("maxOpenFiles", Harmless),
    ("oomScoreAdj", Harmless),
    ("kubeletCgroups", Harmless),
    ("systemCgroups", Harmless),
    ("kernelMemcgNotification", Harmless),
    ("healthzPort", Harmless),
    ("healthzBindAddress", Harmless),
    ("logging", Harmless),
    ("tracing", Harmless),
    ("showHiddenMetricsForVersion", Harmless),
    ("enableContentionProfiling", Harmless),
    ("enableProfilingHandler", Harmless),
    ("enableDebugFlagsHandler", Harmless),
    ("enableSystemLogHandler", Harmless),
    ("enableSystemLogQuery", Harmless),
    // fine print of what is refused below, or of features that are off upstream too
    ("httpCheckFrequency", Harmless),
    ("tlsMinVersion", Harmless),
    ("tlsCipherSuites", Harmless),
    ("tlsCurvePreferences", Harmless),
    ("evictionPressureTransitionPeriod", Harmless),
    ("evictionMaxPodGracePeriod", Harmless),
    ("mergeDefaultEvictionSettings", Harmless),
    ("imageMinimumGCAge", Harmless),
    ("imageGCLowThresholdPercent", Harmless),
    ("localStorageCapacityIsolation", Harmless),
    ("cpuManagerReconcilePeriod", Harmless),
    ("topologyManagerScope", Harmless),
    ("memoryThrottlingFactor", Harmless),
    ("memoryReservationPolicy", Harmless),
    // not implemented
    (
        "enableServer",
        Only(is_true, "it always serves its HTTP API"),
    ),
    (
        "enableDebuggingHandlers",
        Only(is_true, "logs are always served"),
    ),
    ("readOnlyPort", Only(is_zero, "it has no read-only port")),
    ("tlsCertFile", Only(is_empty, NO_TLS)),
    ("tlsPrivateKeyFile", Only(is_empty, NO_TLS)),
    ("authentication", Only(is_empty, NO_AUTHENTICATION)),
    ("authorization", Only(is_empty, NO_AUTHENTICATION)),
    ("staticPodURL", Only(is_empty, NO_URL)),
    ("staticPodURLHeader", Only(is_empty, NO_URL)),
    ("featureGates", Only(is_empty, "it has no feature gates")),
    ("evictionHard", Only(is_no_eviction, NO_EVICTION)),
    ("evictionSoft", Only(is_no_eviction, NO_EVICTION)),
    ("evictionSoftGracePeriod", Only(is_empty, NO_EVICTION)),
    ("evictionMinimumReclaim", Only(is_empty, NO_EVICTION)),
    (
        "imageGCHighThresholdPercent",
        Only(|n| is_number(n, 100), NO_IMAGE_GC),
    ),
    ("imageMaximumGCAge", Only(is_no_time, NO_IMAGE_GC)),
    ("systemReserved", Only(is_empty, NO_RESERVE)),
    ("kubeReserved", Only(is_empty, NO_RESERVE)),
    ("systemReservedCgroup", Only(is_empty, NO_RESERVE)),
    ("kubeReservedCgroup", Only(is_empty, NO_RESERVE)),
    ("reservedSystemCPUs", Only(is_empty, NO_RESERVE)),
    ("reservedMemory", Only(is_empty, NO_RESERVE)),
    ("qosReserved", Only(is_empty, NO_RESERVE)),
    (
        "enforceNodeAllocatable",
        Only(
            |n| is_list_of(n, &["none", "pods"]),
            "it enforces no limits on anything but pods",
        ),
    ),
    ("cpuManagerPolicy", Only(is_none, NO_MANAGERS)),
    ("cpuManagerPolicyOptions", Only(is_empty, NO_MANAGERS)),
    ("memoryManagerPolicy", Only(is_none, NO_MANAGERS)),
    ("topologyManagerPolicy", Only(is_none, NO_MANAGERS)),
    ("topologyManagerPolicyOptions", Only(is_empty, NO_MANAGERS)),
    (
        "cgroupsPerQOS",
        Only(is_true, "its cgroups always follow the QoS class"),
    ),
    (
        "cpuCFSQuota",
        Only(is_true, "limits of CPU are always enforced"),
    ),
    (
        "cpuCFSQuotaPeriod",
        Only(|n| is_text(n, &["100ms", "0s"]), "its period is 100ms"),
    ),
    (
        "singleProcessOOMKill",
        Only(
            |n| n.kind == Kind::Bool(false),
            "a container dies as a whole",
        ),
    ),
    ("memorySwap", Only(is_no_swap, "it gives pods no swap")),
    (
        "protectKernelDefaults",
        Only(is_false, "it does not check the kernel's settings"),
    ),
    ("shutdownGracePeriod", Only(is_no_time, NO_SHUTDOWN)),
    (
        "shutdownGracePeriodCriticalPods",
        Only(is_no_time, NO_SHUTDOWN),
    ),
    (
        "shutdownGracePeriodByPodPriority",
        Only(is_empty, NO_SHUTDOWN),
    ),
];

fn crash_loop_back_off(said: &mut Said, node: &Node) -> Parsed<()> {
    if !matches!(node.kind, Kind::Map(_)) {
        return Err(format!("expected a mapping, found {}", node.describe()));
    }
    for entry in node.entries() {
        match entry.key.as_str() {
            "maxContainerRestartPeriod" if entry.value.kind == Kind::Null => {}
            "maxContainerRestartPeriod" => {
                let period = values::duration_within(&entry.value, "1s", "300s");
                let period = period.map_err(|e| format!("maxContainerRestartPeriod: {e}"))?;
                said.settings.max_container_restart_period = Some(period);
            }
            other => {
                let message = unknown(other, ["maxContainerRestartPeriod"]);
                return Err(format!("{other}: {message}"));
            }
        }
    }
    Ok(())
}

fn is_true(node: &Node) -> bool {
    node.kind == Kind::Bool(true)
}
fn is_false(node: &Node) -> bool {
    node.kind == Kind::Bool(false)
}
fn is_number(node: &Node, number: i64) -> bool {
    matches!(&node.kind, Kind::Number(n) if n.as_i64() == Some(number))
}
fn is_zero(node: &Node) -> bool {
    is_number(node, 0)
}
fn is_text(node: &Node, texts: &[&str]) -> bool {
    node.as_text().is_some_and(|t| texts.contains(&t))
}
fn is_none(node: &Node) -> bool {
    is_text(node, &["", "none", "None"])
}
fn is_no_time(node: &Node) -> bool {
    values::duration(node).is_ok_and(|d| d.is_zero())
}
fn is_empty(node: &Node) -> bool {
    match &node.kind {
        Kind::List(items) => items.is_empty(),
        Kind::Map(entries) => entries.is_empty(),
        Kind::Text(text) => text.is_empty(),
        _ => false,
    }
}
fn is_list_of(node: &Node, texts: &[&str]) -> bool {
    matches!(&node.kind, Kind::List(items) if items.iter().all(|i| is_text(i, texts)))
}
/// Thresholds that are never reached, as kind writes them.
fn is_no_eviction(node: &Node) -> bool {
    matches!(&node.kind, Kind::Map(entries) if entries.iter().all(|e| is_text(&e.value, &["0%", "0"])))
}
fn is_no_swap(node: &Node) -> bool {
    matches!(&node.kind, Kind::Map(entries) if entries.iter().all(|e| e.key == "swapBehavior" && is_text(&e.value, &["", "NoSwap"])))
}
