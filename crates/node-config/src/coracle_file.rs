//! `coracle.yaml`, the file for people: the flags of `coracle run` by their names, and what is too long for a flag.

use crate::mistake::Mistake;
use crate::settings::Settings;
use crate::values::{self, Parsed};
use located_yaml::{Kind, Node, nearest};
use node_policy::admission::SysctlAllowList;
use std::path::Path;

type Set = fn(&mut Settings, &Node) -> Parsed<()>;

/// A key and what becomes of its value.
enum Key {
    Value(&'static str, Set),
    Group(&'static str, &'static [Key]),
}

use Key::{Group, Value};

macro_rules! set {
    ($field:ident, $parse:expr) => {
        |settings, node| {
            settings.$field = Some($parse(node)?);
            Ok(())
        }
    };
}

static KEYS: &[Key] = &[
    Value("manifests", set!(manifests, values::absolute_path)),
    Value("root", set!(root, values::absolute_path)),
    Value("runDir", set!(run_dir, values::absolute_path)),
    Value("nodeName", set!(node_name, values::node_name)),
    Value("cgroupRoot", set!(cgroup_root, cgroup)),
    Value("podCIDR", set!(pod_cidr, values::cidr)),
    Value("listen", |settings, node| {
        let address = values::socket_address(node)?;
        settings.listen_address = Some(address.ip());
        settings.listen_port = Some(address.port());
        Ok(())
    }),
    Value("podLogsDir", set!(pod_logs_dir, values::absolute_path)),
    Value("logLevel", set!(log_level, values::text)),
    Value(
        "clusterDNS",
        set!(cluster_dns, |n| values::list(n, values::address)),
    ),
    Value(
        "clusterDomain",
        set!(cluster_domain, |n| values::text(n).map(Some)),
    ),
    Value("resolvConf", set!(resolv_conf, resolv_conf)),
    Value(
        "containerLogMaxSize",
        set!(container_log_max_size, log_size),
    ),
    Value(
        "containerLogMaxFiles",
        set!(container_log_max_files, |n| values::count(n, 2)),
    ),
    Value(
        "maxContainerRestartPeriod",
        set!(max_container_restart_period, |n| values::duration_within(
            n, "1s", "300s"
        )),
    ),
    Value(
        "maxParallelImagePulls",
        set!(max_parallel_image_pulls, |n| values::count(n, 1)),
    ),
    Value("podPidsLimit", set!(pod_pids_limit, pids_limit)),
    Value("maxPods", set!(max_pods, |n| values::count(n, 0))),
    Value("podsPerCore", set!(pods_per_core, |n| values::count(n, 0))),
    Value(
        "allowedUnsafeSysctls",
        set!(allowed_unsafe_sysctls, sysctls),
    ),
    Value(
        "fileCheckFrequency",
        set!(file_check_frequency, file_check_frequency),
    ),
    Value("seccompDefault", set!(seccomp_default, values::flag)),
    Group(
        "registries",
        &[
            Value("mirrors", set!(registry_mirrors, mirrors)),
            Value("insecure", |settings, node| {
                let hosts = values::list(node, host)?;
                settings.insecure_registries = Some(hosts.into_iter().collect());
                Ok(())
            }),
            Value(
                "dockerConfig",
                set!(docker_config, |n| values::absolute_path(n).map(Some)),
            ),
            Value(
                "caDirectory",
                set!(registry_ca_directory, |n| values::absolute_path(n)
                    .map(Some)),
            ),
        ],
    ),
    Group(
        "images",
        &[
            Value(
                "maxLayers",
                set!(image_max_layers, |n| values::count(n, 1).map(Some)),
            ),
            Value(
                "maxLayerSize",
                set!(image_max_layer_size, |n| values::size(n).map(Some)),
            ),
            Value(
                "maxUnpackedSize",
                set!(image_max_unpacked_size, |n| values::size(n).map(Some)),
            ),
            Value(
                "maxEntries",
                set!(image_max_entries, |n| values::within(n, 1, i64::MAX)
                    .map(Some)),
            ),
        ],
    ),
];

/// Takes in one document of `coracle.yaml`.
pub(crate) fn read(
    document: &Node,
    file: &Path,
    settings: &mut Settings,
    mistakes: &mut Vec<Mistake>,
) {
    group(document, KEYS, "", file, settings, mistakes);
}

fn group(
    node: &Node,
    keys: &'static [Key],
    prefix: &str,
    file: &Path,
    settings: &mut Settings,
    mistakes: &mut Vec<Mistake>,
) {
    let mut say = |at, key: &str, message| {
        mistakes.push(Mistake {
            file: file.to_owned(),
            at: Some(at),
            key: key.to_owned(),
            message,
        });
    };
    if !matches!(node.kind, Kind::Map(_)) {
        let message = format!("expected a mapping, found {}", node.describe());
        return say(node.at, prefix.trim_end_matches('.'), message);
    }
    for entry in node.entries() {
        let name = format!("{prefix}{}", entry.key);
        // `key:` with nothing after it says nothing.
        if entry.value.kind == Kind::Null && keys.iter().any(|k| k.name() == entry.key) {
            continue;
        }
        match keys.iter().find(|k| k.name() == entry.key) {
            Some(Value(_, set)) => {
                if let Err(message) = set(settings, &entry.value) {
                    say(entry.key_at, &name, message);
                }
            }
            Some(Group(_, inner)) => {
                let mut of_group = Vec::new();
                let prefix = format!("{name}.");
                group(&entry.value, inner, &prefix, file, settings, &mut of_group);
                for mistake in of_group {
                    say(
                        mistake.at.unwrap_or_default(),
                        &mistake.key,
                        mistake.message,
                    );
                }
            }
            None => say(
                entry.key_at,
                &name,
                unknown(&entry.key, keys.iter().map(Key::name)),
            ),
        }
    }
}

impl Key {
    fn name(&self) -> &'static str {
        match self {
            Value(name, _) | Group(name, _) => name,
        }
    }
}

pub(crate) fn unknown(key: &str, known: impl IntoIterator<Item = &'static str>) -> String {
    match nearest(key, known) {
        Some(guess) => format!("unknown key; did you mean {guess:?}?"),
        None => "unknown key".to_owned(),
    }
}

pub(crate) fn cgroup(node: &Node) -> Parsed<String> {
    let path = values::text(node)?;
    let good = path.starts_with('/') && !path.split('/').any(|part| part == ".." || part == ".");
    if good {
        Ok(path)
    } else {
        Err(format!(
            "{path:?} is no path of a cgroup, such as \"/\" or \"/nodes/a\""
        ))
    }
}

pub(crate) fn resolv_conf(node: &Node) -> Parsed<std::path::PathBuf> {
    match values::text(node)?.as_str() {
        // A kubelet's way to say that pods get nothing of the node's.
        "" => Ok(std::path::PathBuf::new()),
        _ => values::absolute_path(node),
    }
}

pub(crate) fn log_size(node: &Node) -> Parsed<crate::ByteSize> {
    let size = values::size(node)?;
    if size.0 < 4096 {
        return Err("must be 4Ki or more".to_owned());
    }
    Ok(size)
}

pub(crate) fn pids_limit(node: &Node) -> Parsed<Option<u32>> {
    match values::integer(node)? {
        -1 => Ok(None),
        _ => values::count(node, 1).map(Some),
    }
}

pub(crate) fn sysctls(node: &Node) -> Parsed<Vec<String>> {
    let patterns = values::list(node, values::text)?;
    match SysctlAllowList::with(&patterns) {
        Ok(_) => Ok(patterns),
        Err(wrong) => Err(wrong.to_string()),
    }
}

pub(crate) fn file_check_frequency(node: &Node) -> Parsed<std::time::Duration> {
    values::duration_within(node, "1s", "24h")
}

fn mirrors(node: &Node) -> Parsed<std::collections::BTreeMap<String, Vec<String>>> {
    if !matches!(node.kind, Kind::Map(_)) {
        return Err(format!(
            "expected registries with their mirrors, found {}",
            node.describe()
        ));
    }
    let mut mirrors = std::collections::BTreeMap::new();
    for entry in node.entries() {
        check_host(&entry.key)?;
        mirrors.insert(entry.key.clone(), values::list(&entry.value, mirror)?);
    }
    Ok(mirrors)
}

fn mirror(node: &Node) -> Parsed<String> {
    let text = values::text(node)?;
    let rest = text
        .strip_prefix("http://")
        .or_else(|| text.strip_prefix("https://"))
        .unwrap_or(&text);
    check_host(rest.split('/').next().unwrap_or_default())?;
    Ok(text)
}

fn host(node: &Node) -> Parsed<String> {
    let text = values::text(node)?;
    check_host(&text)?;
    Ok(text)
}

/// `host[:port]`.
fn check_host(text: &str) -> Parsed<()> {
    let bad =
        || format!("{text:?} is not a registry such as \"registry.example\" or \"10.0.0.5:5000\"");
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => rest
            .split_once(']')
            .map(|(name, port)| (name, port.strip_prefix(':')))
            .ok_or_else(bad)?,
        None => match text.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (text, None),
        },
    };
    let good_name = !name.is_empty()
        && name.bytes().all(|b| {
            b.is_ascii_alphanumeric() || b".-".contains(&b) || (text.starts_with('[') && b == b':')
        });
    let good_port = port.is_none_or(|p| p.parse::<u16>().is_ok_and(|p| p > 0));
    if good_name && good_port {
        Ok(())
    } else {
        Err(bad())
    }
}
