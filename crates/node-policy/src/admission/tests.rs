//! The verdicts of a kubelet, as tables.

use super::{
    AdmittingNode, Allocatable, RejectionReason, Requests, SysctlAllowList, Verdict, admit,
};
use crate::qos_class;
use k8s_openapi::api::core::v1::{
    Affinity, Container, ContainerPort, NodeAffinity, NodeSelector, NodeSelectorRequirement,
    NodeSelectorTerm, Pod, PodOS, PodSecurityContext, PodSpec, Sysctl,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use pod_model::AdmittedPod;
use std::collections::BTreeMap;

type Amounts<'a> = &'a [(&'a str, &'a str)];

fn node() -> AdmittingNode {
    AdmittingNode {
        name: "n1".to_owned(),
        labels: AdmittingNode::own_labels("host", "amd64"),
        allocatable: Allocatable {
            pods: 3,
            cpu_millis: 3000,
            memory_bytes: 1 << 30,
            ephemeral_bytes: 10 << 30,
        },
        sysctls: SysctlAllowList::default(),
    }
}

/// Of an API server, so that it is critical only if its priority says so.
fn pod_of(uid: &str, source: &str, spec: PodSpec) -> AdmittedPod {
    let annotations = BTreeMap::from([(super::preemption::SOURCE.to_owned(), source.to_owned())]);
    let metadata = ObjectMeta {
        name: Some(uid.to_owned()),
        uid: Some(uid.to_owned()),
        annotations: Some(annotations),
        ..ObjectMeta::default()
    };
    let qos = qos_class(&spec);
    let pod = Pod {
        metadata,
        spec: Some(spec),
        status: None,
    };
    AdmittedPod::from_validated(pod, qos).expect("a pod")
}

fn asking(requests: Amounts<'_>) -> PodSpec {
    crate::fixtures::pod(&[], &[crate::fixtures::container("c", requests, &[])])
}
fn burstable(uid: &str, requests: Amounts<'_>) -> AdmittedPod {
    pod_of(uid, "api", asking(requests))
}
fn guaranteed(uid: &str, cpu: &str) -> AdmittedPod {
    let both = [("cpu", cpu), ("memory", "1Mi")];
    let container = crate::fixtures::container("c", &both, &both);
    pod_of(uid, "api", crate::fixtures::pod(&[], &[container]))
}
fn with_priority(uid: &str, source: &str, priority: i32, requests: Amounts<'_>) -> AdmittedPod {
    let spec = PodSpec {
        priority: Some(priority),
        ..asking(requests)
    };
    pod_of(uid, source, spec)
}

/// In a line: `ok`, `REASON: MESSAGE`, or `SIGNAL: VICTIMS`.
fn say(pod: &AdmittedPod, node: &AdmittingNode, others: &[AdmittedPod]) -> String {
    let mut used = Requests::default();
    for other in others {
        used.add(Requests::of(other));
    }
    match admit(pod, node, &used, || others.iter().collect()) {
        Verdict::Admitted => "ok".to_owned(),
        Verdict::Rejected(r) => format!("{}: {}", r.reason.as_str(), r.message),
        Verdict::Preempts { victims, signal } => {
            let victims: Vec<&str> = victims.iter().map(pod_model::PodUid::as_str).collect();
            format!("{signal}: {}", victims.join(" "))
        }
    }
}

#[test]
fn what_is_not_there_cannot_be_had() {
    let one = || burstable("other", &[("cpu", "1500m"), ("memory", "512Mi")]);
    for (asked, others, said) in [
        (&[("cpu", "1500m")][..], vec![one()], "ok"),
        (
            &[("cpu", "2")],
            vec![one()],
            "OutOfcpu: Node didn't have enough resource: cpu, requested: 2000, used: 1500, capacity: 3000",
        ),
        (
            &[("memory", "513Mi")],
            vec![one()],
            "OutOfmemory: Node didn't have enough resource: memory, requested: 537919488, used: 536870912, capacity: 1073741824",
        ),
        (
            &[("ephemeral-storage", "11Gi")],
            vec![],
            "OutOfephemeral-storage: Node didn't have enough resource: ephemeral-storage, requested: 11811160064, used: 0, capacity: 10737418240",
        ),
        (
            &[("cpu", "2"), ("memory", "1Gi")],
            vec![one(), one(), one()],
            "OutOfpods: Node didn't have enough resource: pods, requested: 1, used: 3, capacity: 3",
        ),
        // what nobody asks for may be short
        (
            &[("memory", "1Mi")],
            vec![burstable("all", &[("cpu", "4")])],
            "ok",
        ),
    ] {
        let pod = burstable("new", asked);
        assert_eq!(say(&pod, &node(), &others), said, "{asked:?}");
    }
}

#[test]
fn the_overhead_of_a_runtime_class_counts() {
    let amount = |text: &str| k8s_openapi::apimachinery::pkg::api::resource::Quantity(text.into());
    let spec = PodSpec {
        overhead: Some(BTreeMap::from([("cpu".to_owned(), amount("100m"))])),
        ..asking(&[("cpu", "2950m")])
    };
    let said = say(&pod_of("new", "api", spec), &node(), &[]);
    assert!(said.contains("requested: 3050"), "{said}");
}

#[test]
fn only_linux_runs_here() {
    let os = |name: &str| PodSpec {
        os: Some(PodOS { name: name.into() }),
        ..asking(&[])
    };
    assert_eq!(say(&pod_of("a", "file", os("linux")), &node(), &[]), "ok");
    assert_eq!(
        say(&pod_of("a", "file", os("windows")), &node(), &[]),
        "PodOSNotSupported: Failed to admit pod as the OS field doesn't match node OS"
    );
    let mut pod = pod_of("a", "file", asking(&[])).pod().clone();
    pod.metadata.labels = Some(BTreeMap::from([(
        "kubernetes.io/os".to_owned(),
        "windows".to_owned(),
    )]));
    let pod = AdmittedPod::from_validated(pod, pod_model::QosClass::BestEffort).expect("a pod");
    assert_eq!(
        say(&pod, &node(), &[]),
        "PodOSSelectorNodeLabelDoesNotMatch: Failed to admit pod as the `kubernetes.io/os` label doesn't match node label"
    );
}

fn requirement(text: &str) -> NodeSelectorRequirement {
    let mut words = text.split_whitespace();
    let mut word = || words.next().unwrap_or_default().to_owned();
    let (key, operator) = (word(), word());
    let values: Vec<String> = words.map(str::to_owned).collect();
    NodeSelectorRequirement {
        key,
        operator,
        values: (!values.is_empty()).then_some(values),
    }
}

fn requiring(node_selector_terms: Vec<NodeSelectorTerm>) -> PodSpec {
    let required = NodeSelector {
        node_selector_terms,
    };
    PodSpec {
        affinity: Some(Affinity {
            node_affinity: Some(NodeAffinity {
                required_during_scheduling_ignored_during_execution: Some(required),
                ..NodeAffinity::default()
            }),
            ..Affinity::default()
        }),
        ..asking(&[])
    }
}

const NO_AFFINITY: &str = "NodeAffinity: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector";

#[test]
fn a_pod_runs_on_a_node_that_it_asks_for() {
    let mut node = node();
    node.labels.insert("size".to_owned(), "7".to_owned());
    for (expression, matches) in [
        ("kubernetes.io/arch In arm64 amd64", true),
        ("kubernetes.io/arch In arm64", false),
        ("kubernetes.io/arch NotIn arm64", true),
        ("zone NotIn a", true),
        ("zone In a", false),
        ("zone Exists", false),
        ("zone DoesNotExist", true),
        ("size Exists", true),
        ("size Gt 6", true),
        ("size Gt 7", false),
        ("size Lt 8", true),
        ("size Lt many", false),
        ("kubernetes.io/os Gt 1", false),
        ("zone Lt 1", false),
        ("size Near 7", false),
    ] {
        let term = NodeSelectorTerm {
            match_expressions: Some(vec![requirement(expression)]),
            match_fields: None,
        };
        let said = say(&pod_of("a", "file", requiring(vec![term])), &node, &[]);
        assert_eq!(
            said,
            if matches { "ok" } else { NO_AFFINITY },
            "{expression}"
        );
    }
}

#[test]
fn one_of_the_terms_is_enough_and_an_empty_one_selects_nothing() {
    let here = || NodeSelectorTerm {
        match_expressions: None,
        match_fields: Some(vec![requirement("metadata.name In n1")]),
    };
    let nowhere = || NodeSelectorTerm {
        match_expressions: Some(vec![requirement("zone Exists")]),
        ..here()
    };
    for (terms, said) in [
        (vec![here()], "ok"),
        (vec![nowhere(), here()], "ok"),
        (vec![nowhere()], NO_AFFINITY),
        (vec![NodeSelectorTerm::default()], NO_AFFINITY),
        (vec![], NO_AFFINITY),
    ] {
        let spec = requiring(terms.clone());
        assert_eq!(
            say(&pod_of("a", "file", spec), &node(), &[]),
            said,
            "{terms:?}"
        );
    }
    for (value, said) in [("host", "ok"), ("other", NO_AFFINITY)] {
        let selector = BTreeMap::from([("kubernetes.io/hostname".to_owned(), value.to_owned())]);
        let spec = PodSpec {
            node_selector: Some(selector),
            ..asking(&[])
        };
        assert_eq!(say(&pod_of("a", "file", spec), &node(), &[]), said);
    }
}

fn with_port(uid: &str, ip: &str, protocol: &str, host_port: i32) -> AdmittedPod {
    let container = Container {
        ports: Some(vec![ContainerPort {
            container_port: 80,
            host_port: (host_port > 0).then_some(host_port),
            host_ip: (!ip.is_empty()).then(|| ip.to_owned()),
            protocol: Some(protocol.to_owned()),
            name: None,
        }]),
        ..crate::fixtures::container("c", &[], &[])
    };
    pod_of(uid, "api", crate::fixtures::pod(&[], &[container]))
}

#[test]
fn a_port_of_the_host_has_one_owner() {
    let taken = [
        with_port("a", "", "TCP", 80),
        with_port("b", "10.0.0.1", "TCP", 443),
    ];
    for (ip, protocol, port, is_free) in [
        ("", "TCP", 0, true),
        ("", "TCP", 81, true),
        ("", "TCP", 80, false),
        ("", "UDP", 80, true),
        ("10.0.0.9", "TCP", 80, false),
        ("10.0.0.9", "TCP", 443, true),
        ("10.0.0.1", "TCP", 443, false),
        ("0.0.0.0", "TCP", 443, false),
    ] {
        let said = say(&with_port("new", ip, protocol, port), &node(), &taken);
        let no = "NodePorts: Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports";
        assert_eq!(
            said,
            if is_free { "ok" } else { no },
            "{ip} {protocol} {port}"
        );
    }
}

fn with_sysctl(name: &str, configure: impl Fn(&mut PodSpec)) -> AdmittedPod {
    let mut spec = asking(&[]);
    spec.security_context = Some(PodSecurityContext {
        sysctls: Some(vec![Sysctl {
            name: name.to_owned(),
            value: "1".to_owned(),
        }]),
        ..PodSecurityContext::default()
    });
    configure(&mut spec);
    pod_of("a", "file", spec)
}

#[test]
fn a_pod_has_settings_of_its_own_namespaces_only() {
    let mut node = node();
    node.sysctls = SysctlAllowList::with(&["net.core.*", "kernel/msgmax"]).expect("patterns");
    let forbidden = |what: &str| format!("SysctlForbidden: forbidden sysctl: {what}");
    for (name, said) in [
        ("kernel.shm_rmid_forced", "ok".to_owned()),
        ("net/ipv4/tcp_syncookies", "ok".to_owned()),
        ("net.core.somaxconn", "ok".to_owned()),
        ("kernel.msgmax", "ok".to_owned()),
        (
            "kernel.msgmni",
            forbidden("\"kernel.msgmni\" not allowlisted"),
        ),
        (
            "vm/swappiness",
            forbidden("\"vm.swappiness\" not allowlisted"),
        ),
    ] {
        assert_eq!(say(&with_sysctl(name, |_| {}), &node, &[]), said, "{name}");
    }
    let host_network = |spec: &mut PodSpec| spec.host_network = Some(true);
    let host_ipc = |spec: &mut PodSpec| spec.host_ipc = Some(true);
    assert_eq!(
        say(&with_sysctl("net.core.somaxconn", host_network), &node, &[]),
        forbidden("\"net.core.somaxconn\" not allowed with host Net enabled")
    );
    assert_eq!(
        say(&with_sysctl("kernel.msgmax", host_ipc), &node, &[]),
        forbidden("\"kernel.msgmax\" not allowed with host IPC enabled")
    );
    assert_eq!(
        say(&with_sysctl("kernel.msgmax", host_network), &node, &[]),
        "ok"
    );
}

#[test]
fn only_what_a_namespace_holds_can_be_allowed() {
    for (pattern, wrong) in [
        ("net.*", None),
        ("fs.mqueue.msg_max", None),
        ("net/ipv4/ip_forward", None),
        ("kernel.shm*", None),
        ("*", Some("the sysctls \"\" are not known to be namespaced")),
        (
            "vm.swappiness",
            Some("the sysctls \"vm.swappiness\" are not known to be namespaced"),
        ),
        (
            "Net.core",
            Some("sysctl \"Net.core\" must have at most 253 characters and match regex"),
        ),
        (
            "net.*.x",
            Some("sysctl \"net.*.x\" must have at most 253 characters"),
        ),
        ("", Some("sysctl \"\" must have")),
    ] {
        let said = SysctlAllowList::with(&[pattern])
            .err()
            .map(|e| e.to_string());
        match (said, wrong) {
            (None, None) => {}
            (Some(said), Some(wrong)) => assert!(said.starts_with(wrong), "{said}"),
            (said, wrong) => panic!("{pattern}: {said:?}, not {wrong:?}"),
        }
    }
}

#[test]
fn a_critical_pod_is_made_room_for_at_the_least_cost() {
    let critical = |requests: Amounts<'_>| pod_of("new", "file", asking(requests));
    let mut roomy = node();
    roomy.allocatable.pods = 100;
    for (about, asked, others, said) in [
        (
            "the fewest",
            "2",
            vec![
                burstable("s", &[("cpu", "1")]),
                burstable("t", &[("cpu", "1")]),
                burstable("u", &[("cpu", "1")]),
            ],
            "cpu: u t",
        ),
        (
            "one that is enough rather than two",
            "1",
            vec![
                burstable("s", &[("cpu", "500m")]),
                burstable("m", &[("cpu", "1")]),
                burstable("l", &[("cpu", "1500m")]),
            ],
            "cpu: m",
        ),
        (
            "a guaranteed one only if there is no other way",
            "2500m",
            vec![guaranteed("g", "1"), burstable("b", &[("cpu", "2")])],
            "cpu: b g",
        ),
        (
            "a guaranteed one is spared",
            "1",
            vec![guaranteed("g", "1"), burstable("b", &[("cpu", "2")])],
            "cpu: b",
        ),
        (
            "who takes no part in the shortage is left alone",
            "1",
            vec![burstable("e", &[]), burstable("b", &[("cpu", "3")])],
            "cpu: b",
        ),
    ] {
        assert_eq!(
            say(&critical(&[("cpu", asked)]), &roomy, &others),
            said,
            "{about}"
        );
    }
    let others = [
        burstable("b", &[("cpu", "100m")]),
        guaranteed("g", "100m"),
        burstable("e", &[]),
    ];
    assert_eq!(say(&critical(&[]), &node(), &others), "pods: e");
}

#[test]
fn a_critical_pod_for_which_nobody_can_make_room_is_rejected() {
    let unexpected = |needs: &str| {
        format!(
            "UnexpectedAdmissionError: Unexpected error while attempting to recover from admission failure: preemption: error finding a \
             set of pods to preempt: no set of running pods found to reclaim resources: [{needs}]"
        )
    };
    let static_pod = |uid: &str, asked| pod_of(uid, "file", asking(asked));
    let huge = static_pod("new", &[("cpu", "100")]);
    assert_eq!(
        say(&huge, &node(), &[]),
        unexpected("(res: cpu, q: 97000), ")
    );
    // static pods are critical themselves
    let three = ["a", "b", "c"].map(|uid| static_pod(uid, &[]));
    assert_eq!(
        say(&static_pod("new", &[]), &node(), &three),
        unexpected("(res: pods, q: 1), ")
    );
}

#[test]
fn among_critical_pods_the_priority_decides_where_both_have_one() {
    let others = [
        with_priority("low", "file", 10, &[("cpu", "1")]),
        with_priority("high", "file", 30, &[("cpu", "1")]),
        pod_of("none", "file", asking(&[("cpu", "1")])),
    ];
    let new = |source: &str, priority| with_priority("new", source, priority, &[("cpu", "1")]);
    assert_eq!(say(&new("file", 20), &node(), &others), "pods: low");
    assert!(say(&new("file", 10), &node(), &others).starts_with("UnexpectedAdmissionError"));
    // a priority alone makes nobody critical below two milliards
    assert!(say(&new("api", 1_999_999_999), &node(), &others).starts_with("OutOfpods"));
    assert_eq!(
        say(&new("api", 2_000_000_000), &node(), &others),
        "pods: high"
    );
}

#[test]
fn a_critical_pod_that_lacks_more_than_room_ends_nobody() {
    let spec = PodSpec {
        node_selector: Some(BTreeMap::from([("zone".to_owned(), "a".to_owned())])),
        ..asking(&[("cpu", "2")])
    };
    let others = [burstable("b", &[("cpu", "2")])];
    assert_eq!(
        say(&pod_of("new", "file", spec.clone()), &node(), &others),
        NO_AFFINITY
    );
    let said = say(&pod_of("new", "api", spec), &node(), &others);
    assert!(said.starts_with("OutOfcpu"), "{said}");
}

#[test]
fn the_metric_has_the_reasons_of_a_kubelets_list() {
    assert_eq!(RejectionReason::OutOfPods.metric_label(), "OutOfpods");
    assert_eq!(RejectionReason::NodeAffinity.metric_label(), "Other");
}

#[test]
fn the_other_pods_are_looked_at_only_for_ports_and_for_room() {
    let asked = std::cell::Cell::new(0);
    let verdict = |pod: &AdmittedPod, used: &[AdmittedPod]| {
        let mut sum = Requests::default();
        for other in used {
            sum.add(Requests::of(other));
        }
        admit(pod, &node(), &sum, || {
            asked.set(asked.get() + 1);
            Vec::new()
        })
    };
    let one = || burstable("other", &[("cpu", "2")]);
    assert_eq!(verdict(&one(), &[]), Verdict::Admitted);
    assert!(matches!(verdict(&one(), &[one()]), Verdict::Rejected(_)));
    assert_eq!(asked.get(), 0, "the sum is enough");
}

#[test]
fn what_is_added_and_taken_away_again_leaves_nothing() {
    let all = [
        burstable("a", &[("cpu", "1500m"), ("memory", "1Gi")]),
        burstable("b", &[("ephemeral-storage", "1Ei"), ("memory", "8Ei")]),
        burstable("c", &[]),
    ];
    let mut sum = Requests::default();
    for _ in 0..3 {
        for pod in &all {
            sum.add(Requests::of(pod));
        }
    }
    let said = say(&all[0], &node(), &all[..2]);
    assert!(
        said.contains("used: 9223372036854775807"),
        "a sum beyond what the message has room for: {said}"
    );
    for _ in 0..3 {
        for pod in &all {
            sum.remove(Requests::of(pod));
        }
    }
    assert_eq!(sum, Requests::default());
}
