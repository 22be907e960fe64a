//! Pods in one line: `pod("web").init("setup").container("app").never().build()`.

use k8s_openapi::api::core::v1::{
    Container, ContainerRestartRule, ContainerRestartRuleOnExitCodes, EphemeralContainer,
    ExecAction, LifecycleHandler, Pod, PodCondition, PodReadinessGate, PodSpec, PodStatus, Probe,
    ResourceRequirements, TCPSocketAction, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use pod_model::{AdmittedPod, ProbeKind, QosClass};
use std::collections::BTreeMap;

/// A pod of that name in namespace `default`, static, with uid `NAME-uid`, no containers yet and every default an API server fills in.
pub fn pod(name: &str) -> PodBuilder {
    PodBuilder {
        pod: Pod {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                namespace: Some("default".to_owned()),
                uid: Some(format!("{name}-uid")),
                annotations: Some(BTreeMap::from([(
                    "kubernetes.io/config.source".to_owned(),
                    "file".to_owned(),
                )])),
                ..ObjectMeta::default()
            },
            spec: Some(PodSpec {
                restart_policy: Some("Always".to_owned()),
                termination_grace_period_seconds: Some(30),
                dns_policy: Some("ClusterFirst".to_owned()),
                enable_service_links: Some(true),
                scheduler_name: Some("default-scheduler".to_owned()),
                security_context: Some(Default::default()),
                ..PodSpec::default()
            }),
            status: None,
        },
        qos: None,
        last_is_init: false,
    }
}

/// See [`pod`]. Methods about a container are about the one added last.
#[derive(Debug, Clone)]
pub struct PodBuilder {
    pod: Pod,
    qos: Option<QosClass>,
    last_is_init: bool,
}

impl PodBuilder {
    #[must_use]
    pub fn init(mut self, name: &str) -> Self {
        self.last_is_init = true;
        self.spec_mut()
            .init_containers
            .get_or_insert_default()
            .push(container(name));
        self
    }
    #[must_use]
    pub fn container(mut self, name: &str) -> Self {
        self.last_is_init = false;
        self.spec_mut().containers.push(container(name));
        self
    }

    /// An init container that runs on.
    #[must_use]
    pub fn sidecar(self, name: &str) -> Self {
        self.init(name)
            .configure(|c| c.restart_policy = Some("Always".to_owned()))
    }
    /// An ephemeral container, which sees the processes of `target` if there is one.
    #[must_use]
    pub fn ephemeral(mut self, name: &str, target: Option<&str>) -> Self {
        let container = EphemeralContainer {
            name: name.to_owned(),
            image: Some(format!("registry.test/{name}:1")),
            image_pull_policy: Some("IfNotPresent".to_owned()),
            target_container_name: target.map(str::to_owned),
            ..EphemeralContainer::default()
        };
        let spec = self.spec_mut();
        spec.ephemeral_containers
            .get_or_insert_default()
            .push(container);
        self
    }
    /// A restart policy of its own, and exit codes with which it is started again whatever that says.
    #[must_use]
    pub fn own_policy(self, policy: &str, restart_on: &[i32]) -> Self {
        let rule = ContainerRestartRule {
            action: "Restart".to_owned(),
            exit_codes: Some(ContainerRestartRuleOnExitCodes {
                operator: "In".to_owned(),
                values: Some(restart_on.to_vec()),
            }),
        };
        self.configure(|c| {
            c.restart_policy = Some(policy.to_owned());
            c.restart_policy_rules = (!restart_on.is_empty()).then(|| vec![rule]);
        })
    }
    #[must_use]
    pub fn post_start(self) -> Self {
        self.configure(|c| c.lifecycle.get_or_insert_default().post_start = Some(hook()))
    }
    #[must_use]
    pub fn pre_stop(self) -> Self {
        self.configure(|c| c.lifecycle.get_or_insert_default().pre_stop = Some(hook()))
    }
    /// A probe of this kind, with a grace period of its own if there is one.
    #[must_use]
    pub fn probe(self, kind: ProbeKind, grace_seconds: Option<i64>) -> Self {
        let probe = Probe {
            tcp_socket: Some(TCPSocketAction::default()),
            termination_grace_period_seconds: grace_seconds,
            ..Probe::default()
        };
        self.configure(|c| match kind {
            ProbeKind::Startup => c.startup_probe = Some(probe),
            ProbeKind::Readiness => c.readiness_probe = Some(probe),
            ProbeKind::Liveness => c.liveness_probe = Some(probe),
        })
    }

    #[must_use]
    pub fn uid(mut self, uid: &str) -> Self {
        self.pod.metadata.uid = Some(uid.to_owned());
        self
    }
    #[must_use]
    pub fn namespace(mut self, namespace: &str) -> Self {
        self.pod.metadata.namespace = Some(namespace.to_owned());
        self
    }
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.pod
            .metadata
            .labels
            .get_or_insert_default()
            .insert(key.to_owned(), value.to_owned());
        self
    }
    #[must_use]
    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        self.pod
            .metadata
            .annotations
            .get_or_insert_default()
            .insert(key.to_owned(), value.to_owned());
        self
    }
    #[must_use]
    pub fn generation(mut self, generation: i64) -> Self {
        self.pod.metadata.generation = Some(generation);
        self
    }
    /// With one readiness gate, and what its condition says.
    #[must_use]
    pub fn gate(mut self, type_: &str, is_open: bool) -> Self {
        self.spec_mut().readiness_gates = Some(vec![PodReadinessGate {
            condition_type: type_.to_owned(),
        }]);
        let condition = PodCondition {
            type_: type_.to_owned(),
            status: if is_open { "True" } else { "False" }.to_owned(),
            ..PodCondition::default()
        };
        self.pod.status = Some(PodStatus {
            conditions: Some(vec![condition]),
            ..PodStatus::default()
        });
        self
    }
    /// As an API server's pod, not a static one.
    #[must_use]
    pub fn from_api(self) -> Self {
        self.annotation("kubernetes.io/config.source", "api")
    }
    #[must_use]
    pub fn never(self) -> Self {
        self.restart_policy("Never")
    }
    #[must_use]
    pub fn on_failure(self) -> Self {
        self.restart_policy("OnFailure")
    }
    #[must_use]
    pub fn restart_policy(mut self, policy: &str) -> Self {
        self.spec_mut().restart_policy = Some(policy.to_owned());
        self
    }
    #[must_use]
    pub fn grace_seconds(mut self, seconds: i64) -> Self {
        self.spec_mut().termination_grace_period_seconds = Some(seconds);
        self
    }
    #[must_use]
    pub fn host_network(mut self) -> Self {
        self.spec_mut().host_network = Some(true);
        self
    }
    #[must_use]
    pub fn volume(mut self, volume: Volume) -> Self {
        self.spec_mut().volumes.get_or_insert_default().push(volume);
        self
    }
    /// Anything else of the spec.
    #[must_use]
    pub fn spec(mut self, change: impl FnOnce(&mut PodSpec)) -> Self {
        change(self.spec_mut());
        self
    }

    #[must_use]
    pub fn image(self, image: &str) -> Self {
        let policy = pull_policy(image).to_owned();
        self.configure(|c| {
            c.image = Some(image.to_owned());
            c.image_pull_policy = Some(policy);
        })
    }
    #[must_use]
    pub fn pull(self, policy: &str) -> Self {
        self.configure(|c| c.image_pull_policy = Some(policy.to_owned()))
    }
    #[must_use]
    pub fn command<S: AsRef<str>>(self, command: &[S]) -> Self {
        self.configure(|c| {
            c.command = Some(command.iter().map(|s| s.as_ref().to_owned()).collect())
        })
    }
    #[must_use]
    pub fn mount(self, volume: &str, path: &str) -> Self {
        let mount = VolumeMount {
            name: volume.to_owned(),
            mount_path: path.to_owned(),
            ..VolumeMount::default()
        };
        self.configure(|c| c.volume_mounts.get_or_insert_default().push(mount))
    }
    /// A request of `cpu` or `memory`.
    #[must_use]
    pub fn request(self, resource: &str, quantity: &str) -> Self {
        self.resources(|r| {
            r.requests
                .get_or_insert_default()
                .insert(resource.to_owned(), Quantity(quantity.to_owned()));
        })
    }
    /// A limit; where nothing is requested, the request is defaulted to it.
    #[must_use]
    pub fn limit(self, resource: &str, quantity: &str) -> Self {
        let quantity = Quantity(quantity.to_owned());
        self.resources(|r| {
            r.limits
                .get_or_insert_default()
                .insert(resource.to_owned(), quantity.clone());
            r.requests
                .get_or_insert_default()
                .entry(resource.to_owned())
                .or_insert(quantity);
        })
    }
    fn resources(self, change: impl FnOnce(&mut ResourceRequirements)) -> Self {
        self.configure(|c| change(c.resources.get_or_insert_default()))
    }
    /// Anything else of the container added last.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn configure(mut self, change: impl FnOnce(&mut Container)) -> Self {
        let is_init = self.last_is_init;
        let spec = self.spec_mut();
        let list = if is_init {
            spec.init_containers.get_or_insert_default()
        } else {
            &mut spec.containers
        };
        change(list.last_mut().expect("the pod has a container"));
        self
    }

    /// Instead of what requests and limits say.
    #[must_use]
    pub fn qos(mut self, qos: QosClass) -> Self {
        self.qos = Some(qos);
        self
    }

    pub fn to_pod(&self) -> Pod {
        self.pod.clone()
    }
    /// # Panics
    /// When a name or the uid is none.
    pub fn build(self) -> AdmittedPod {
        let qos = self.qos.unwrap_or_else(|| qos(&self.pod));
        AdmittedPod::from_validated(self.pod, qos).expect("names and uid are valid")
    }

    fn spec_mut(&mut self) -> &mut PodSpec {
        self.pod.spec.get_or_insert_default()
    }
}

fn hook() -> LifecycleHandler {
    LifecycleHandler {
        exec: Some(ExecAction {
            command: Some(vec!["hook".to_owned()]),
        }),
        ..LifecycleHandler::default()
    }
}

fn container(name: &str) -> Container {
    Container {
        name: name.to_owned(),
        image: Some(format!("registry.test/{name}:1")),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        termination_message_path: Some("/dev/termination-log".to_owned()),
        termination_message_policy: Some("File".to_owned()),
        resources: Some(ResourceRequirements::default()),
        ..Container::default()
    }
}

fn pull_policy(image: &str) -> &'static str {
    let last = image.rsplit('/').next().unwrap_or(image);
    let is_latest =
        !last.contains('@') && last.split_once(':').is_none_or(|(_, tag)| tag == "latest");
    if is_latest { "Always" } else { "IfNotPresent" }
}

/// Enough for tests; the rule itself is `node_policy`'s.
fn qos(pod: &Pod) -> QosClass {
    let spec = pod.spec.iter();
    let mut all = spec
        .flat_map(|s| {
            s.containers
                .iter()
                .chain(s.init_containers.iter().flatten())
        })
        .filter_map(|c| c.resources.as_ref());
    if all.all(|r| r.requests.is_none() && r.limits.is_none()) {
        QosClass::BestEffort
    } else {
        QosClass::Burstable
    }
}
