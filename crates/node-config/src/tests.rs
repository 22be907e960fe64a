//! What the files say, as tables: text in, settings or mistakes out.

use crate::{
    ByteSize, ConfigError, Files, NodeConfig, Settings, format_duration, load, parse_duration,
};
use proptest::prelude::*;
use std::fs;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

struct Written {
    directory: TempDir,
    files: Files,
}

impl Written {
    fn new() -> Self {
        Self {
            directory: TempDir::new().expect("a temporary directory"),
            files: Files::default(),
        }
    }
    fn coracle(mut self, text: &str) -> Self {
        self.files.coracle = Some(self.write("coracle.yaml", text));
        self
    }
    fn kubelet(mut self, text: &str) -> Self {
        let text = format!(
            "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n{text}"
        );
        self.files.kubelet = Some(self.write("kubelet.yaml", &text));
        self
    }
    fn drop_in(mut self, name: &str, text: &str) -> Self {
        let directory = self.directory.path().join("conf.d");
        fs::create_dir_all(&directory).expect("the drop-in directory");
        let text = format!(
            "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n{text}"
        );
        fs::write(directory.join(name), text).expect("write a drop-in");
        self.files.kubelet_drop_ins = Some(directory);
        self
    }
    fn write(&self, name: &str, text: &str) -> std::path::PathBuf {
        let path = self.directory.path().join(name);
        fs::write(&path, text).expect("write a file");
        path
    }
    fn config(&self) -> NodeConfig {
        load(&self.files, Settings::default())
            .expect("a configuration")
            .config
    }
    fn warnings(&self) -> Vec<String> {
        load(&self.files, Settings::default())
            .expect("a configuration")
            .warnings
    }
    /// The mistakes, without the directory.
    fn mistakes(&self) -> String {
        match load(&self.files, Settings::default()) {
            Ok(loaded) => format!("no mistake: {loaded:?}"),
            Err(error) => error
                .to_string()
                .replace(&format!("{}/", self.directory.path().display()), ""),
        }
    }
}

#[test]
fn without_files_and_flags_everything_is_by_default() {
    let config = Written::new().config();
    assert_eq!(config, NodeConfig::default());
    assert_eq!(config.manifests, Path::new("/etc/coracle/manifests"));
    assert_eq!(config.root, Path::new("/var/lib/coracle"));
    assert_eq!(config.run_dir, Path::new("/run/coracle"));
    assert_eq!(config.cgroup_root, "/");
    assert_eq!(config.pod_cidr, "10.88.0.0/16");
    assert_eq!(config.listen().to_string(), "127.0.0.1:10250");
    assert_eq!(config.container_log_max_size.to_string(), "10Mi");
    assert_eq!(
        config.max_container_restart_period,
        Duration::from_secs(300)
    );
}

#[test]
fn coracle_yaml_sets_everything_by_the_names_of_the_flags() {
    let config = Written::new()
        .coracle(
            "manifests: /m\nroot: /r\nrunDir: /x\nnodeName: edge-1.lan\ncgroupRoot: /nodes/a\npodCIDR: 10.9.0.0/20\nlisten: '[::1]:99'\n\
             podLogsDir: /logs\nlogLevel: debug\nclusterDNS: [10.96.0.10]\nclusterDomain: cluster.local\nresolvConf: ''\n\
             containerLogMaxSize: 1Mi\ncontainerLogMaxFiles: 2\nmaxContainerRestartPeriod: 1m\nmaxParallelImagePulls: 2\n\
             podPidsLimit: -1\nmaxPods: 10\nfileCheckFrequency: 5s\nseccompDefault: no\n\
             registries:\n  mirrors:\n    docker.io: ['http://10.0.0.5:5000', mirror.example/prefix]\n  insecure: ['10.0.0.5:5000']\n\
             \x20 dockerConfig: /root/config.json\n  caDirectory: /ca\n\
             images:\n  maxLayers: 100\n  maxLayerSize: 1Gi\n  maxUnpackedSize: 8Gi\n  maxEntries: 100000\n",
        )
        .config();
    assert_eq!(config.manifests, Path::new("/m"));
    assert_eq!(
        (config.root.as_path(), config.run_dir.as_path()),
        (Path::new("/r"), Path::new("/x"))
    );
    assert_eq!(config.node_name, "edge-1.lan");
    assert_eq!(config.cgroup_root, "/nodes/a");
    assert_eq!(config.pod_cidr, "10.9.0.0/20");
    assert_eq!(config.listen().to_string(), "[::1]:99");
    assert_eq!(config.pod_logs_dir, Path::new("/logs"));
    assert_eq!(config.log_level, "debug");
    assert_eq!(config.cluster_dns[0].to_string(), "10.96.0.10");
    assert_eq!(config.cluster_domain.as_deref(), Some("cluster.local"));
    assert_eq!(config.resolv_conf, Path::new(""));
    assert_eq!(config.container_log_max_size, ByteSize(1 << 20));
    assert_eq!(config.container_log_max_files, 2);
    assert_eq!(config.max_container_restart_period, Duration::from_secs(60));
    assert_eq!(config.max_parallel_image_pulls, 2);
    assert_eq!(config.pod_pids_limit, None);
    assert_eq!(config.max_pods, 10);
    assert_eq!(config.file_check_frequency, Duration::from_secs(5));
    assert!(!config.seccomp_default);
    assert_eq!(
        config.registry_mirrors["docker.io"],
        ["http://10.0.0.5:5000", "mirror.example/prefix"]
    );
    assert!(config.insecure_registries.contains("10.0.0.5:5000"));
    assert_eq!(
        config.docker_config.as_deref(),
        Some(Path::new("/root/config.json"))
    );
    assert_eq!(
        config.registry_ca_directory.as_deref(),
        Some(Path::new("/ca"))
    );
    assert_eq!(config.image_max_layers, Some(100));
    assert_eq!(config.image_max_layer_size, Some(ByteSize(1 << 30)));
    assert_eq!(config.image_max_unpacked_size, Some(ByteSize(8 << 30)));
    assert_eq!(config.image_max_entries, Some(100_000));
}

#[test]
fn a_mistake_in_coracle_yaml_is_told_with_its_line_and_the_name_that_was_meant() {
    for (text, mistake) in [
        (
            "root: /r\nrunDirr: /x\n",
            "coracle.yaml:2:1: runDirr: unknown key; did you mean \"runDir\"?",
        ),
        ("flavour: x\n", "coracle.yaml:1:1: flavour: unknown key"),
        (
            "registries:\n  mirorrs: {}\n",
            "coracle.yaml:2:3: registries.mirorrs: unknown key; did you mean \"mirrors\"?",
        ),
        (
            "images: 5\n",
            "coracle.yaml:1:9: images: expected a mapping, found the number 5",
        ),
        (
            "root: r\n",
            "coracle.yaml:1:1: root: must be an absolute path, not \"r\"",
        ),
        (
            "nodeName: 7\n",
            "coracle.yaml:1:1: nodeName: expected a text, found the number 7; put it in quotes",
        ),
        (
            "nodeName: Edge_1\n",
            "coracle.yaml:1:1: nodeName: \"Edge_1\" is no name for a node: it consists of lower case letters, digits, '-' and '.', with a letter or digit at both ends of each part",
        ),
        (
            "podCIDR: 10.88.0.0\n",
            "coracle.yaml:1:1: podCIDR: \"10.88.0.0\" is not a network such as \"10.88.0.0/16\"",
        ),
        (
            "podCIDR: 10.88.0.0/33\n",
            "coracle.yaml:1:1: podCIDR: \"10.88.0.0/33\" is not a network such as \"10.88.0.0/16\"",
        ),
        (
            "listen: localhost\n",
            "coracle.yaml:1:1: listen: \"localhost\" is not an address with a port, such as \"127.0.0.1:10250\"",
        ),
        (
            "maxPods: -1\n",
            "coracle.yaml:1:1: maxPods: must be 0 or more, not -1",
        ),
        (
            "maxPods: 1.5\n",
            "coracle.yaml:1:1: maxPods: expected an integer, found 1.5",
        ),
        (
            "containerLogMaxFiles: 1\n",
            "coracle.yaml:1:1: containerLogMaxFiles: must be 2 or more, not 1",
        ),
        (
            "containerLogMaxSize: 10MB\n",
            "coracle.yaml:1:1: containerLogMaxSize: \"10MB\" is not a size such as \"10Mi\", \"1G\" or \"4096\"",
        ),
        (
            "maxContainerRestartPeriod: 10m\n",
            "coracle.yaml:1:1: maxContainerRestartPeriod: must be between 1s and 300s",
        ),
        (
            "fileCheckFrequency: 20\n",
            "coracle.yaml:1:1: fileCheckFrequency: expected a text such as \"20s\", found the number 20; put it in quotes",
        ),
        (
            "cgroupRoot: /a/../b\n",
            "coracle.yaml:1:1: cgroupRoot: \"/a/../b\" is no path of a cgroup, such as \"/\" or \"/nodes/a\"",
        ),
        (
            "registries:\n  insecure: [http://x]\n",
            "coracle.yaml:2:3: registries.insecure: \"http://x\" is not a registry such as \"registry.example\" or \"10.0.0.5:5000\"",
        ),
        (
            "seccompDefault: maybe\n",
            "coracle.yaml:1:1: seccompDefault: expected true or false, found the text \"maybe\"",
        ),
        (
            "root: /a\nroot: /b\n",
            "coracle.yaml:2:1: duplicate mapping key: root not allowed here",
        ),
        (
            "- root\n",
            "coracle.yaml:1:1: expected a mapping, found a list",
        ),
        (
            "a: 1\n---\nb: 2\n",
            "coracle.yaml:3:1: has more than one document",
        ),
        ("a: [\n", "coracle.yaml:1:4: unclosed bracket '['"),
    ] {
        assert_eq!(Written::new().coracle(text).mistakes(), mistake, "{text:?}");
    }
}

#[test]
fn every_mistake_of_every_file_is_told_at_once() {
    let written = Written::new()
        .coracle("a: 1\nmaxPods: x\n")
        .kubelet("b: 1\n");
    assert_eq!(
        written.mistakes().lines().collect::<Vec<_>>(),
        [
            "coracle.yaml:1:1: a: unknown key",
            "coracle.yaml:2:1: maxPods: expected an integer, found the text \"x\"",
            "kubelet.yaml:3:1: b: unknown key",
        ]
    );
}

#[test]
fn a_key_with_nothing_after_it_says_nothing() {
    let written = Written::new()
        .coracle("root:\nmanifests: ~\nregistries:\n")
        .kubelet("maxPods:\nauthentication: null\n");
    assert_eq!(written.config(), NodeConfig::default());
    assert_eq!(
        Written::new().coracle("# all by default\n").config(),
        NodeConfig::default()
    );
}

#[test]
fn a_kubelet_configuration_sets_what_this_node_implements() {
    let config = Written::new()
        .kubelet(
            "staticPodPath: /etc/kubernetes/manifests\npodCIDR: 10.1.0.0/24\ncgroupRoot: /k\naddress: 0.0.0.0\nport: 10255\n\
             clusterDNS:\n- 10.96.0.10\nclusterDomain: cluster.local\nresolvConf: /run/systemd/resolve/resolv.conf\n\
             containerLogMaxSize: 5Mi\ncontainerLogMaxFiles: 3\ncrashLoopBackOff:\n  maxContainerRestartPeriod: 1m30s\n\
             serializeImagePulls: false\nmaxParallelImagePulls: 7\npodPidsLimit: 100\nmaxPods: 50\npodsPerCore: 8\nallowedUnsafeSysctls:\n- net.core.*\nfileCheckFrequency: 1m0s\n\
             seccompDefault: true\npodLogsDir: /var/log/k\n",
        )
        .config();
    assert_eq!(config.manifests, Path::new("/etc/kubernetes/manifests"));
    assert_eq!(config.pod_cidr, "10.1.0.0/24");
    assert_eq!(config.cgroup_root, "/k");
    assert_eq!(config.listen().to_string(), "0.0.0.0:10255");
    assert_eq!(config.cluster_dns.len(), 1);
    assert_eq!(config.cluster_domain.as_deref(), Some("cluster.local"));
    assert_eq!(config.container_log_max_size, ByteSize(5 << 20));
    assert_eq!(config.container_log_max_files, 3);
    assert_eq!(config.max_container_restart_period, Duration::from_secs(90));
    assert_eq!(config.max_parallel_image_pulls, 7);
    assert_eq!(config.pod_pids_limit, Some(100));
    assert_eq!(config.max_pods, 50);
    assert_eq!(config.pods_per_core, 8);
    assert_eq!(config.allowed_unsafe_sysctls, ["net.core.*"]);
    assert_eq!(config.file_check_frequency, Duration::from_secs(60));
    assert_eq!(config.pod_logs_dir, Path::new("/var/log/k"));
}

#[test]
fn what_changes_nothing_here_is_accepted_with_one_warning() {
    let written = Written::new()
        .kubelet("syncFrequency: 0s\ncgroupDriver: systemd\nrotateCertificates: true\nlogging:\n  verbosity: 2\n")
        .drop_in("10.conf", "failSwapOn: false\n");
    assert_eq!(
        written.warnings(),
        [
            "the KubeletConfiguration has keys that change nothing on this node and are ignored: cgroupDriver, failSwapOn, logging, rotateCertificates, syncFrequency"
        ]
    );
    assert_eq!(Written::new().kubelet("maxPods: 5\n").warnings(), [""; 0]);
}

#[test]
fn what_is_not_implemented_is_refused_by_name_and_accepted_when_it_asks_for_nothing() {
    for (text, mistake) in [
        (
            "readOnlyPort: 10255\n",
            "kubelet.yaml:3:1: readOnlyPort: not supported by this node: it has no read-only port",
        ),
        (
            "evictionHard:\n  memory.available: 100Mi\n",
            "kubelet.yaml:3:1: evictionHard: not supported by this node: it evicts no pods",
        ),
        (
            "featureGates: {A: true}\n",
            "kubelet.yaml:3:1: featureGates: not supported by this node: it has no feature gates",
        ),
        (
            "authentication:\n  anonymous:\n    enabled: false\n",
            "kubelet.yaml:3:1: authentication: not supported by this node: its HTTP API has no authentication yet, and ignoring this would leave open what you want closed",
        ),
        (
            "cpuManagerPolicy: static\n",
            "kubelet.yaml:3:1: cpuManagerPolicy: not supported by this node: it assigns no CPUs, memory or devices to single pods",
        ),
        (
            "staticPodPth: /x\n",
            "kubelet.yaml:3:1: staticPodPth: unknown key; did you mean \"staticPodPath\"?",
        ),
        (
            "crashLoopBackOff:\n  maxContainerRestartPeriod: 0s\n",
            "kubelet.yaml:3:1: crashLoopBackOff: maxContainerRestartPeriod: must be between 1s and 300s",
        ),
        (
            "serializeImagePulls: true\nmaxParallelImagePulls: 3\n",
            "kubelet.yaml:4:1: maxParallelImagePulls: cannot be larger than 1 unless serializeImagePulls is false",
        ),
        (
            "allowedUnsafeSysctls:\n- vm.swappiness\n",
            "kubelet.yaml:3:1: allowedUnsafeSysctls: the sysctls \"vm.swappiness\" are not known to be namespaced",
        ),
        (
            "port: 0\n",
            "kubelet.yaml:3:1: port: must be between 1 and 65535, not 0",
        ),
    ] {
        assert_eq!(Written::new().kubelet(text).mistakes(), mistake, "{text:?}");
    }
    for text in [
        "readOnlyPort: 0\n",
        "evictionHard:\n  nodefs.available: 0%\n  imagefs.available: 0%\n",
        "featureGates: {}\nstaticPodURL: ''\n",
        "cpuManagerPolicy: none\nmemorySwap: {}\nshutdownGracePeriod: 0s\nenforceNodeAllocatable: [pods]\n",
        "imageGCHighThresholdPercent: 100\n",
    ] {
        assert_eq!(
            Written::new().kubelet(text).config(),
            NodeConfig::default(),
            "{text:?}"
        );
    }
    assert_eq!(
        Written::new()
            .kubelet("serializeImagePulls: true\n")
            .config()
            .max_parallel_image_pulls,
        1
    );
}

#[test]
fn a_file_of_another_kind_is_no_kubelet_configuration() {
    let mut written = Written::new();
    written.files.kubelet = Some(written.write("k.yaml", "apiVersion: v1\nmaxPods: 3\n"));
    assert_eq!(
        written.mistakes().lines().collect::<Vec<_>>(),
        [
            "k.yaml:1:13: apiVersion: must be \"kubelet.config.k8s.io/v1beta1\"",
            "k.yaml:1:1: kind: is missing; it must be \"KubeletConfiguration\"",
        ]
    );
}

#[test]
fn the_stronger_source_wins_setting_by_setting() {
    let written = Written::new()
        .coracle("maxPods: 1\ncontainerLogMaxFiles: 11\nclusterDomain: one\nroot: /one\nlisten: 1.1.1.1:1\n")
        .kubelet("maxPods: 2\ncontainerLogMaxFiles: 12\nclusterDomain: two\nport: 2\n")
        .drop_in("20-last.conf", "maxPods: 4\n")
        .drop_in("10-first.conf", "maxPods: 3\ncontainerLogMaxFiles: 13\n")
        .drop_in("ignored.yaml", "maxPods: nonsense\n");
    let flags = Settings {
        cluster_domain: Some(Some("flag".to_owned())),
        ..Settings::default()
    };
    let config = load(&written.files, flags).expect("a configuration").config;
    assert_eq!(
        config.root,
        Path::new("/one"),
        "coracle.yaml over the default"
    );
    assert_eq!(
        config.listen().to_string(),
        "1.1.1.1:2",
        "the KubeletConfiguration over half of it"
    );
    assert_eq!(
        config.container_log_max_files, 13,
        "a drop-in over its file"
    );
    assert_eq!(config.max_pods, 4, "the later drop-in over the earlier");
    assert_eq!(
        config.cluster_domain.as_deref(),
        Some("flag"),
        "a flag over all"
    );
}

#[test]
fn a_file_that_was_named_has_to_be_there() {
    let files = Files {
        coracle: Some("/nonexistent/coracle.yaml".into()),
        ..Files::default()
    };
    let error = load(&files, Settings::default()).expect_err("there is no file");
    assert!(
        matches!(&error, ConfigError::Read { path, .. } if path == Path::new("/nonexistent/coracle.yaml")),
        "{error}"
    );
}

#[test]
fn durations_are_those_of_go() {
    for (text, nanos) in [
        ("0", 0),
        ("0s", 0),
        ("20s", 20_000_000_000),
        ("1m30s", 90_000_000_000),
        ("1h2m3.5s", 3_723_500_000_000),
        ("1.5h", 5_400_000_000_000),
        (".5s", 500_000_000),
        ("300ms", 300_000_000),
        ("2us3ns", 2_003),
        ("+1s", 1_000_000_000),
    ] {
        assert_eq!(
            parse_duration(text),
            Ok(Duration::from_nanos(nanos)),
            "{text}"
        );
    }
    for text in [
        "",
        "+",
        "20",
        "s",
        "1x",
        "-1s",
        "1 s",
        "1.2.3s",
        ".s",
        "9999999999h",
        "1s2",
    ] {
        assert!(parse_duration(text).is_err(), "{text:?} is no duration");
    }
}

#[test]
fn sizes_are_quantities() {
    for (text, bytes) in [
        ("0", 0),
        ("4096", 4096),
        ("10Mi", 10 << 20),
        ("1G", 1_000_000_000),
        ("1.5Ki", 1536),
    ] {
        assert_eq!(ByteSize::parse(text), Ok(ByteSize(bytes)), "{text}");
    }
    for text in ["", "-1", "10MB", "1e40"] {
        assert!(ByteSize::parse(text).is_err(), "{text:?} is no size");
    }
    assert_eq!(
        [0, 1000, 1024, 10 << 20].map(|b| ByteSize(b).to_string()),
        ["0", "1000", "1Ki", "10Mi"]
    );
}

proptest! {
    #[test]
    fn a_duration_written_is_read_back(nanos in 0..i64::MAX.cast_unsigned()) {
        let duration = Duration::from_nanos(nanos);
        prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
    }

    #[test]
    fn no_text_makes_the_readers_panic(text in "\\PC{0,60}|[0-9.hmsun+-]{0,20}", key in "(root|listen|registries|maxPods|podCIDR|images)") {
        let _ = parse_duration(&text);
        let _ = ByteSize::parse(&text);
        let yaml = format!("{key}: {text}\n");
        if let Ok(documents) = located_yaml::read(&yaml) {
            for document in documents {
                let mut mistakes = Vec::new();
                crate::coracle_file::read(&document, Path::new("x"), &mut Settings::default(), &mut mistakes);
                crate::kubelet_file::Reading::default().take(&document, Path::new("x"), &mut mistakes);
            }
        }
    }
}
