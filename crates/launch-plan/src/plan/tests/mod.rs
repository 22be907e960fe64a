//! Whole plans: what an ordinary container gets, and what the fields of a pod change.

use super::*;
use crate::description::{CgroupPlacement, ContainerFiles, FdIndex, Mount, MountKind, Propagation};
use crate::exec::{ExecRequest, exec_plan};
use crate::facts::{
    HostFacts, ImageConfig, ImageFacts, SandboxFacts, SecurityDefaults, VolumeFacts,
};
use crate::fds::{BindSource, PodFile};
use crate::security::SeccompSource;
use crate::tenant::FromTenant;
use k8s_openapi::api::core::v1::Pod;
use pod_model::{Attempt, ContainerName};
use serde_json::{Value, json};
use std::error::Error;

mod never;
mod refused;

type Answer = Result<(), Box<dyn Error>>;

/// Everything but the pod.
struct World {
    image: ImageFacts,
    node: NodeFacts,
    sandbox: SandboxFacts,
    host: HostFacts,
}

fn world() -> World {
    let strings = |l: &[&str]| l.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
    World {
        image: ImageFacts {
            layers: vec!["/images/b".into(), "/images/a".into()],
            config: FromTenant::new(ImageConfig {
                entrypoint: strings(&["/bin/app"]),
                cmd: strings(&["--serve"]),
                env: strings(&["PATH=/app/bin:/bin", "LANG=C.UTF-8"]),
                ..ImageConfig::default()
            }),
            passwd: Some(FromTenant::new(
                b"root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n".to_vec(),
            )),
            group: None,
        },
        node: NodeFacts {
            hostname: "machine".to_owned(),
            node_name: "node-a".to_owned(),
            host_ips: vec![[192, 0, 2, 1].into()],
            allocatable_cpu_millis: 1900,
            allocatable_memory_bytes: 8 << 30,
            allocatable_ephemeral_bytes: 100 << 30,
            memory_capacity_bytes: 10 << 30,
            last_capability: 40,
            throttle_cpus: vec![0, 1],
            host_devices: vec![Device {
                path: "/dev/vda".to_owned(),
                kind: DeviceKind::Block,
                major: 254,
                minor: 0,
                mode: 0o660,
            }],
            security: SecurityDefaults::default(),
        },
        sandbox: SandboxFacts {
            net: true,
            ipc: true,
            uts: true,
            hostname: "web-1".to_owned(),
            pod_ips: vec![[10, 88, 0, 7].into()],
            volumes: ["data", "config", "tmp"]
                .into_iter()
                .map(|n| (n.to_owned(), VolumeFacts::default()))
                .collect(),
        },
        host: HostFacts {
            cgroup: CgroupPlacement::V2 {
                directory: "/sys/fs/cgroup/kubepods/podu/c.2".into(),
            },
            writable: "/var/lib/coracle/pods/u/containers/c.2".into(),
            files: ContainerFiles {
                run: "/run/coracle/containers/u/c.2".into(),
                exit: "/var/lib/coracle/pods/u/containers/c.2/exit".into(),
                log: "/var/log/pods/default_web_u/c/2.log".into(),
                log_max_bytes: 10 << 20,
                log_max_files: 5,
            },
        },
    }
}

/// A pod of one container `c`; both halves are merged over the least there must be.
fn pod(container: Value, spec: Value) -> Result<AdmittedPod, Box<dyn Error>> {
    let mut c = json!({"name": "c", "image": "app"});
    merge(&mut c, container);
    let mut s = json!({"containers": [c]});
    merge(&mut s, spec);
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "default", "uid": "u"},
        "spec": s,
    }))?;
    let spec = pod.spec.clone().unwrap_or_default();
    Ok(AdmittedPod::from_validated(
        pod,
        node_policy::qos_class(&spec),
    )?)
}

fn merge(into: &mut Value, from: Value) {
    if let (Value::Object(into), Value::Object(from)) = (into, from) {
        into.extend(from);
    }
}

fn planned(pod: &AdmittedPod, world: &World) -> Result<Planned, Box<dyn Error>> {
    Ok(plan(&PlanInput {
        pod,
        container: &ContainerName::new("c")?,
        attempt: Attempt(2),
        image: &world.image,
        node: &world.node,
        sandbox: &world.sandbox,
        host: &world.host,
    })?)
}

/// The plan of a container with these fields.
fn of(container: Value) -> Result<Planned, Box<dyn Error>> {
    planned(&pod(container, json!({}))?, &world())
}

fn targets(planned: &Planned) -> Vec<&str> {
    planned
        .description
        .mounts
        .iter()
        .map(|m| m.target.as_str())
        .collect()
}

fn bind<'a>(planned: &'a Planned, target: &str) -> Option<(&'a Mount, &'a BindSource)> {
    let mount = planned
        .description
        .mounts
        .iter()
        .find(|m| m.target == target)?;
    let MountKind::Bind { source, .. } = mount.what else {
        return None;
    };
    match &planned.fds[source.0 as usize] {
        FdSource::Bind(source) => Some((mount, source)),
        _ => None,
    }
}

#[test]
fn an_ordinary_container_gets_the_safe_defaults() -> Answer {
    let planned = of(json!({}))?;
    let d = &planned.description;
    assert_eq!(d.process.argv, ["/bin/app", "--serve"]);
    assert_eq!(
        d.process.env,
        [
            "PATH=/app/bin:/bin",
            "HOSTNAME=web-1",
            "LANG=C.UTF-8",
            "HOME=/root"
        ]
    );
    assert_eq!((d.process.uid, d.process.gid), (0, 0));
    assert_eq!(d.process.cwd, "/");
    assert_eq!(d.process.capabilities.bounding, 0xa804_25fb);
    assert_eq!(d.process.oom_score_adj, 1000);
    assert!(!d.process.no_new_privileges, "follows the pod");
    assert_eq!(d.hostname.as_deref(), Some("web-1"));
    assert_eq!(d.container.dir_name(), "c.2");
    assert!(!d.rootfs.readonly);
    assert_eq!(
        targets(&planned),
        [
            "/proc",
            "/dev",
            "/dev/pts",
            "/dev/mqueue",
            "/sys",
            "/sys/fs/cgroup",
            "/etc/hosts",
            "/dev/termination-log",
            "/etc/hostname",
            "/etc/resolv.conf",
            "/dev/shm"
        ]
    );
    assert!(
        d.mounts
            .iter()
            .any(|m| m.what == MountKind::Sysfs { readonly: true })
    );
    assert!(
        d.mounts
            .iter()
            .any(|m| m.what == MountKind::Cgroup { readonly: true })
    );
    assert!(d.masked_paths.contains(&"/proc/kcore".to_owned()));
    assert!(
        d.masked_paths
            .contains(&"/sys/devices/system/cpu/cpu1/thermal_throttle".to_owned())
    );
    assert_eq!(d.readonly_paths, READONLY_PATHS);
    assert_eq!(d.devices.len(), DEVICES.len());
    // descriptors in the order in which the description names them
    assert_eq!(
        planned.fds,
        [
            FdSource::Namespace(NamespaceKind::Net),
            FdSource::Namespace(NamespaceKind::Ipc),
            FdSource::Namespace(NamespaceKind::Uts),
            FdSource::Bind(BindSource::PodFile(PodFile::Hosts)),
            FdSource::Bind(BindSource::TerminationLog),
            FdSource::Bind(BindSource::PodFile(PodFile::Hostname)),
            FdSource::Bind(BindSource::PodFile(PodFile::ResolvConf)),
            FdSource::Bind(BindSource::PodShm),
            FdSource::Seccomp {
                source: SeccompSource::RuntimeDefault,
                capabilities: 0xa804_25fb
            },
        ]
    );
    assert_eq!(d.process.seccomp, Some(FdIndex(8)));
    assert_eq!(d.namespaces.pid, PidNamespace::Private);
    Ok(())
}

#[test]
fn a_privileged_container_gets_the_machine() -> Answer {
    let planned = of(json!({"securityContext": {"privileged": true}}))?;
    let d = &planned.description;
    assert_eq!(d.process.capabilities.bounding, (1 << 41) - 1);
    assert_eq!(d.process.seccomp, None);
    assert_eq!((d.masked_paths.len(), d.readonly_paths.len()), (0, 0));
    assert!(
        d.mounts
            .iter()
            .any(|m| m.what == MountKind::Sysfs { readonly: false })
    );
    assert!(
        d.mounts
            .iter()
            .any(|m| m.what == MountKind::Cgroup { readonly: false })
    );
    assert!(d.devices.iter().any(|d| d.path == "/dev/vda"));
    Ok(())
}

#[test]
fn an_ephemeral_container_enters_the_processes_of_its_target_unless_the_pod_shares_its_own()
-> Answer {
    let debugged = |shares: bool, target: Value| -> Result<Planned, Box<dyn Error>> {
        let ephemeral = json!({"name": "c", "image": "tools", "targetContainerName": target});
        let spec = json!({"shareProcessNamespace": shares, "ephemeralContainers": [ephemeral]});
        planned(&pod(json!({"name": "app"}), spec)?, &world())
    };
    let plan = debugged(false, json!("app"))?;
    let PidNamespace::Target(FdIndex(at)) = plan.description.namespaces.pid else {
        return Err(format!("{:?}", plan.description.namespaces).into());
    };
    let app = ContainerName::new("app")?;
    assert_eq!(plan.fds[at as usize], FdSource::FirstProcess(app));
    let pid = |plan: Planned| plan.description.namespaces.pid;
    assert_eq!(pid(debugged(true, json!("app"))?), PidNamespace::Pod);
    assert_eq!(pid(debugged(false, Value::Null)?), PidNamespace::Private);
    Ok(())
}

#[test]
fn the_pods_namespaces_are_entered_or_the_hosts_kept() -> Answer {
    let mut world = world();
    world.sandbox.net = false;
    world.sandbox.uts = false;
    let pod = pod(
        json!({}),
        json!({"hostNetwork": true, "hostPID": true, "hostIPC": true}),
    )?;
    let plan = planned(&pod, &world)?;
    let d = &plan.description;
    assert_eq!(d.namespaces.net, SharedNamespace::Host);
    assert_eq!(d.namespaces.ipc, SharedNamespace::Enter(FdIndex(0)));
    assert_eq!(d.namespaces.pid, PidNamespace::Host);
    assert_eq!(d.hostname, None);
    assert!(d.process.env.contains(&"HOSTNAME=machine".to_owned()));
    assert_eq!(
        bind(&plan, "/dev/shm").map(|b| b.1),
        Some(&BindSource::HostShm)
    );
    Ok(())
}

#[test]
fn variables_refer_to_the_pod_the_node_and_each_other() -> Answer {
    let container = json!({
        "command": ["/bin/$(WHO)", "$(NODE)", "$$(NODE)", "$(LANG)"],
        "resources": {"requests": {"cpu": "250m", "memory": "64Mi"}, "limits": {"memory": "100M"}},
        "tty": true,
        "env": [
            {"name": "WHO", "value": "app"},
            {"name": "EARLY", "value": "$(LATE)"},
            {"name": "LATE", "value": "$(WHO)-$(WHO)"},
            {"name": "LANG", "value": "de_DE"},
            {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
            {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "NS", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
            {"name": "UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
            {"name": "LABEL", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['none']"}}},
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "HOST_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIPs"}}},
            {"name": "CPU_REQ", "valueFrom": {"resourceFieldRef": {"resource": "requests.cpu"}}},
            {"name": "CPU_REQ_M", "valueFrom": {"resourceFieldRef": {"resource": "requests.cpu", "divisor": "1m"}}},
            {"name": "CPU_LIM", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
            {"name": "MEM_LIM", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory"}}},
            {"name": "MEM_LIM_MI", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
            {"name": "DISK", "valueFrom": {"resourceFieldRef": {"resource": "limits.ephemeral-storage", "divisor": "1Gi", "containerName": "c"}}},
            {"name": "WHO", "value": "again"},
        ],
    });
    let d = of(container)?.description;
    assert_eq!(d.process.argv, ["/bin/again", "node-a", "$(NODE)", "de_DE"]);
    assert_eq!(
        d.process.env,
        [
            "PATH=/app/bin:/bin",
            "TERM=xterm",
            "HOSTNAME=web-1",
            "LANG=de_DE",
            "WHO=again",
            "EARLY=$(LATE)",
            "LATE=app-app",
            "NODE=node-a",
            "POD=web",
            "NS=default",
            "UID=u",
            "LABEL=",
            "IP=10.88.0.7",
            "HOST_IP=192.0.2.1",
            "CPU_REQ=1",
            "CPU_REQ_M=250",
            "CPU_LIM=2",
            "MEM_LIM=100000000",
            "MEM_LIM_MI=96",
            "DISK=100",
            "HOME=/root"
        ]
    );
    assert!(d.stdio.terminal);
    Ok(())
}

#[test]
fn volumes_take_their_places_in_the_right_order() -> Answer {
    let container = json!({
        "securityContext": {"readOnlyRootFilesystem": true},
        "env": [{"name": "DIR", "value": "a"}],
        "terminationMessagePath": "/tmp/last",
        "volumeMounts": [
            {"name": "data", "mountPath": "/var/lib/data/deep", "subPathExpr": "x/$(DIR)//."},
            {"name": "config", "mountPath": "/etc/hosts", "subPath": "hosts", "readOnly": true, "recursiveReadOnly": "IfPossible"},
            {"name": "tmp", "mountPath": "tmp/", "mountPropagation": "HostToContainer"},
            {"name": "tmp", "mountPath": "/dev/shm"},
        ],
    });
    let planned = of(container)?;
    let d = &planned.description;
    assert!(d.rootfs.readonly);
    assert_eq!(
        targets(&planned)[6..],
        [
            "/tmp",
            "/etc/hosts",
            "/dev/shm",
            "/tmp/last",
            "/etc/hostname",
            "/etc/resolv.conf",
            "/var/lib/data/deep"
        ]
    );
    let deep = bind(&planned, "/var/lib/data/deep").map(|b| b.1);
    let expected = BindSource::Volume {
        name: "data".to_owned(),
        sub_path: Some("x/a".to_owned()),
        readonly: false,
    };
    assert_eq!(deep, Some(&expected));
    let hosts = bind(&planned, "/etc/hosts").map(|b| &b.0.what);
    assert!(
        matches!(
            hosts,
            Some(MountKind::Bind {
                readonly: true,
                recursive_readonly: true,
                recursive: true,
                propagation: Propagation::Private,
                ..
            })
        ),
        "{hosts:?}"
    );
    let tmp = bind(&planned, "/tmp").map(|b| &b.0.what);
    assert!(
        matches!(
            tmp,
            Some(MountKind::Bind {
                readonly: false,
                propagation: Propagation::HostToContainer,
                ..
            })
        ),
        "{tmp:?}"
    );
    let hostname = bind(&planned, "/etc/hostname").map(|b| &b.0.what);
    assert!(
        matches!(hostname, Some(MountKind::Bind { readonly: true, .. })),
        "the root is read-only"
    );
    Ok(())
}

#[test]
fn a_volume_on_dev_takes_the_place_of_ours() -> Answer {
    let planned = of(json!({"volumeMounts": [{"name": "data", "mountPath": "/dev"}]}))?;
    assert_eq!(planned.description.devices, []);
    let dev: Vec<_> = targets(&planned)
        .into_iter()
        .filter(|t| t.starts_with("/dev"))
        .collect();
    assert_eq!(dev, ["/dev", "/dev/termination-log", "/dev/shm"]);
    Ok(())
}

#[test]
fn security_follows_container_then_pod_then_node() -> Answer {
    let seccomp = |plan: &Planned| -> Option<SeccompSource> {
        plan.fds.iter().find_map(|f| match f {
            FdSource::Seccomp { source, .. } => Some(source.clone()),
            _ => None,
        })
    };
    let unconfined = json!({"securityContext": {"seccompProfile": {"type": "Unconfined"}}});
    let local = json!({"securityContext": {
        "seccompProfile": {"type": "Localhost", "localhostProfile": "a/b.json"},
        "allowPrivilegeEscalation": false, "runAsUser": 1000,
    }});
    let world = world();
    let by_pod = planned(&pod(json!({}), unconfined.clone())?, &world)?;
    assert_eq!(seccomp(&by_pod), None);
    let by_container = planned(&pod(local, unconfined)?, &world)?;
    assert_eq!(
        seccomp(&by_container),
        Some(SeccompSource::Localhost("a/b.json".to_owned()))
    );
    assert!(by_container.description.process.no_new_privileges);
    assert_eq!(by_container.description.process.uid, 1000);
    assert!(
        by_container
            .description
            .process
            .env
            .contains(&"HOME=/home/app".to_owned())
    );

    let mut milder = self::world();
    milder.node.security.seccomp_runtime_default = false;
    assert_eq!(
        seccomp(&planned(&pod(json!({}), json!({}))?, &milder)?),
        None
    );
    let mut hardened = self::world();
    hardened.node.security.hardened = true;
    let plan = planned(&pod(json!({}), json!({}))?, &hardened)?;
    assert!(plan.description.process.no_new_privileges);
    assert_eq!(plan.description.process.capabilities.bounding, 0x5fb);
    Ok(())
}

#[test]
fn descriptions_of_earlier_agents_are_understood() -> Answer {
    let planned = of(json!({}))?;
    let mut description = serde_json::to_value(&planned.description)?;
    let files = description["files"].as_object_mut().ok_or("no files")?;
    assert!(files.remove("log_max_files").is_some());
    let read: LaunchDescription = serde_json::from_value(description)?;
    assert_eq!(read, planned.description);

    let request = ExecRequest {
        session: 1,
        argv: vec!["sh".to_owned()],
        terminal: true,
        size: None,
        cgroup: planned.description.cgroup.clone(),
    };
    let exec = exec_plan(&planned, request)?;
    let mut description = serde_json::to_value(&exec.description)?;
    let fields = description.as_object_mut().ok_or("no fields")?;
    assert!(fields.remove("size").is_some());
    let read: crate::ExecDescription = serde_json::from_value(description)?;
    assert_eq!(read, exec.description);
    Ok(())
}

#[test]
fn an_exec_session_is_the_container_with_another_command() -> Answer {
    let planned =
        of(json!({"securityContext": {"runAsUser": 1000, "allowPrivilegeEscalation": false}}))?;
    // what a restarted agent reads back
    let planned: Planned = serde_json::from_str(&serde_json::to_string(&planned)?)?;
    let request = |argv: &[&str]| ExecRequest {
        session: 9,
        argv: argv.iter().map(|s| (*s).to_owned()).collect(),
        terminal: true,
        size: Some(crate::TerminalSize {
            rows: 33,
            columns: 77,
        }),
        cgroup: planned.description.cgroup.clone(),
    };
    let exec = exec_plan(&planned, request(&["sh", "-c", "$(WHO)"]))?;
    let (main, this) = (&planned.description.process, &exec.description.process);
    assert_eq!(this.argv, ["sh", "-c", "$(WHO)"]);
    assert_eq!(
        (
            this.uid,
            this.gid,
            &this.cwd,
            this.capabilities,
            this.no_new_privileges
        ),
        (
            main.uid,
            main.gid,
            &main.cwd,
            main.capabilities,
            main.no_new_privileges
        )
    );
    assert_eq!(this.env.last().map(String::as_str), Some("TERM=xterm"));
    assert_eq!(
        exec.description.size.map(|s| (s.rows, s.columns)),
        Some((33, 77))
    );
    assert_eq!(this.seccomp, Some(FdIndex(0)));
    assert!(matches!(exec.fds[..], [FdSource::Seccomp { .. }]));
    assert_eq!(exec_plan(&planned, request(&[])), Err(PlanError::NoCommand));
    Ok(())
}
