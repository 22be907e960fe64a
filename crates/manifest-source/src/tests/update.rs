//! A manifest that kept its uid: what of its pod may be changed.

use super::origin;
use crate::identity::Origin;
use crate::manifest::read_manifest;
use crate::{updated, with_ephemeral};
use pod_model::{AdmittedPod, WallTime};
use serde_json::json;
use std::path::Path;

const OTHER_THAN: &str = "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative); changed: ";

fn read(metadata: &str, spec: &str, origin: &Origin<'_>) -> AdmittedPod {
    let mut text = format!("apiVersion: v1\nkind: Pod\nmetadata: {{uid: u1, {metadata}}}\nspec:\n");
    if !spec.contains("containers: ") {
        text += "  containers: [{name: c, image: 'i:1'}]\n";
    }
    for line in spec.lines() {
        text += &format!("  {line}\n");
    }
    match read_manifest(&text, origin).as_deref() {
        Ok([pod]) => pod.clone(),
        other => panic!("{text}\n{other:#?}"),
    }
}

fn pod(spec: &str) -> AdmittedPod {
    read("name: p", spec, &origin())
}

/// What is wrong with the change of a spec, a line each; `ok` when nothing is.
fn change(before: &str, after: &str) -> String {
    said(&pod(before), &pod(after))
}

fn said(before: &AdmittedPod, after: &AdmittedPod) -> String {
    match updated(before, after) {
        Ok(_) => "ok".to_owned(),
        Err(errors) => {
            let lines: Vec<_> = errors.iter().map(ToString::to_string).collect();
            lines.join("\n")
        }
    }
}

#[test]
fn images_may_change() {
    let of = |init: &str, main: &str| {
        pod(&format!(
            "initContainers: [{{name: setup, image: '{init}'}}]\ncontainers: [{{name: c, image: '{main}'}}]"
        ))
    };
    let changed = updated(&of("i:1", "i:1"), &of("i:2", "i:3")).expect("allowed");
    let images: Vec<_> = changed
        .containers()
        .map(|(.., c)| c.image.clone())
        .collect();
    assert_eq!(images, [Some("i:2".into()), Some("i:3".into())]);
}

#[test]
fn a_pull_policy_that_nobody_said_goes_with_the_image() {
    let with =
        |image: &str, more: &str| format!("containers: [{{name: c, image: '{image}'{more}}}]");
    assert_eq!(change(&with("i:latest", ""), &with("i:2", "")), "ok");
    assert_eq!(
        change(
            &with("i:latest", ""),
            &with("i:latest", ", imagePullPolicy: Never")
        ),
        format!("{OTHER_THAN}spec.containers[0].imagePullPolicy")
    );
}

#[test]
fn a_deadline_may_be_set_and_lowered() {
    for (before, after, said) in [
        ("", "10", "ok"),
        ("10", "9", "ok"),
        ("10", "10", "ok"),
        (
            "10",
            "11",
            "spec.activeDeadlineSeconds: Invalid value: 11: must be less than or equal to previous value",
        ),
        (
            "10",
            "",
            "spec.activeDeadlineSeconds: Invalid value: null: must not update from a positive integer to nil value",
        ),
    ] {
        let with = |seconds: &str| match seconds {
            "" => String::new(),
            seconds => format!("activeDeadlineSeconds: {seconds}"),
        };
        assert_eq!(
            change(&with(before), &with(after)),
            said,
            "{before} {after}"
        );
    }
}

#[test]
fn tolerations_may_be_added() {
    const ONE: &str = "tolerations: [{key: a, operator: Exists}]";
    const LATER: &str = "tolerations: [{key: a, operator: Exists, tolerationSeconds: 9}]";
    const TWO: &str = "tolerations: [{key: b, value: x}, {key: a, operator: Exists}]";
    for (before, after) in [("", ONE), (ONE, LATER), (ONE, TWO)] {
        assert_eq!(change(before, after), "ok", "{before} {after}");
    }
    let refusal = "spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds";
    for (before, after) in [(TWO, ONE), (ONE, ""), (ONE, "tolerations: [{key: a}]")] {
        assert_eq!(change(before, after), refusal, "{before} {after}");
    }
}

#[test]
fn a_negative_grace_period_may_become_one_second() {
    // no manifest may say a negative one any more
    let with = |seconds: i64| {
        let mut of = pod("").pod().clone();
        of.metadata.annotations = None;
        of.spec
            .get_or_insert_default()
            .termination_grace_period_seconds = Some(seconds);
        AdmittedPod::from_validated(of, pod_model::QosClass::BestEffort).expect("a pod")
    };
    let one = pod("terminationGracePeriodSeconds: 1");
    let two = pod("terminationGracePeriodSeconds: 2");
    let refusal = format!("{OTHER_THAN}spec.terminationGracePeriodSeconds");
    assert_eq!(said(&with(-3), &one), "ok");
    assert_eq!(said(&with(-3), &two), refusal);
    assert_eq!(said(&with(3), &one), refusal);
}

#[test]
fn labels_and_annotations_may_change() {
    let with = |more: &str| read(&format!("name: p{more}"), "", &origin());
    let changed = updated(
        &with(", labels: {a: b}"),
        &with(", labels: {a: c}, annotations: {d: e}"),
    );
    let changed = changed.expect("allowed");
    let labels = changed.pod().metadata.labels.clone().unwrap_or_default();
    assert_eq!(labels.get("a").map(String::as_str), Some("c"));
}

#[test]
fn another_name_or_namespace_is_refused() {
    let of = |metadata: &str| read(metadata, "", &origin());
    assert_eq!(
        said(&of("name: p"), &of("name: q")),
        "metadata.name: Invalid value: \"q-n1\": field is immutable"
    );
    assert_eq!(
        said(&of("name: p"), &of("name: p, namespace: shop")),
        "metadata.namespace: Invalid value: \"shop\": field is immutable"
    );
}

#[test]
fn containers_may_not_come_or_go() {
    const ONE: &str = "containers: [{name: c, image: 'i:1'}]";
    const TWO: &str = "containers: [{name: c, image: 'i:1'}, {name: d, image: 'i:1'}]";
    let init = format!("{ONE}\ninitContainers: [{{name: d, image: 'i:1'}}]");
    for (after, list) in [(TWO, "containers"), (&init, "initContainers")] {
        let refusal =
            format!("spec.{list}: Forbidden: pod updates may not add or remove containers");
        assert_eq!(change(ONE, after), refusal);
        assert_eq!(change(after, ONE), refusal);
    }
}

#[test]
fn anything_else_of_the_spec_is_refused_and_named() {
    const VOLUMES: &str = "volumes: [{name: a, emptyDir: {}}]";
    for (before, after, fields) in [
        (
            "containers: [{name: c, image: 'i:1'}]",
            "containers: [{name: c, image: 'i:1', env: [{name: A, value: b}]}]",
            "spec.containers[0].env",
        ),
        (
            "containers: [{name: c, image: 'i:1', args: [a, b]}]",
            "containers: [{name: d, image: 'i:2', args: [a, c]}]",
            "spec.containers[0].args[1], spec.containers[0].name",
        ),
        (
            "containers: [{name: c, image: 'i:1', resources: {limits: {cpu: 1}}}]",
            "containers: [{name: c, image: 'i:1', resources: {limits: {cpu: 2}}}]",
            "spec.containers[0].resources.limits[cpu], spec.containers[0].resources.requests[cpu]",
        ),
        ("", "hostNetwork: true", "spec.hostNetwork"),
        ("", "restartPolicy: Never", "spec.restartPolicy"),
        (
            "",
            "terminationGracePeriodSeconds: 1",
            "spec.terminationGracePeriodSeconds",
        ),
        ("", VOLUMES, "spec.volumes"),
        (
            VOLUMES,
            "volumes: [{name: a, hostPath: {path: /x}}]",
            "spec.volumes[0].emptyDir, spec.volumes[0].hostPath",
        ),
        (
            "nodeSelector: {a: b}",
            "nodeSelector: {a: c}",
            "spec.nodeSelector[a]",
        ),
    ] {
        assert_eq!(change(before, after), format!("{OTHER_THAN}{fields}"));
    }
}

#[test]
fn what_means_the_same_is_no_change() {
    for (before, after) in [
        (
            "",
            "volumes: []\nnodeSelector: {}\nhostname: ''\nhostNetwork: false",
        ),
        (
            "containers: [{name: c, image: 'i:1', resources: {limits: {cpu: 1, memory: 1Gi}}}]",
            "containers: [{name: c, image: 'i:1', resources: {limits: {cpu: 1000m, memory: 1024Mi}}}]",
        ),
        (
            "containers: [{name: c, image: 'i:1'}]",
            "containers: [{name: c, image: 'i:1', stdin: false, command: [], terminationMessagePolicy: File}]",
        ),
    ] {
        assert_eq!(change(before, after), "ok", "{after}");
        assert_eq!(change(after, before), "ok", "{after}");
    }
    assert_ne!(
        change("", "shareProcessNamespace: false"),
        "ok",
        "there, absence is something else"
    );
}

#[test]
fn what_was_put_into_the_pod_is_no_change_of_its_manifest() {
    let container = json!({"name": "tools", "image": "busybox"});
    let before = with_ephemeral(&pod(""), container).expect("it is good");
    assert_eq!(
        said(&before, &pod("containers: [{name: c, image: 'i:2'}]")),
        "ok"
    );
}

#[test]
fn the_same_values_are_the_same_pod_and_another_file_only_says_so() {
    let before = pod("");
    let later = Origin {
        seen: WallTime(0),
        ..origin()
    };
    let same = updated(&before, &read("name: p", "", &later)).expect("allowed");
    assert_eq!(same, before, "with the time when it was first seen");
    let moved = Origin {
        file: Path::new("/m/q.yaml"),
        ..later
    };
    let moved = updated(&before, &read("name: p", "", &moved)).expect("allowed");
    assert_eq!(crate::manifest_file(&moved), Some(Path::new("/m/q.yaml")));
    let seen = |pod: &AdmittedPod| {
        let annotations = pod.pod().metadata.annotations.clone().unwrap_or_default();
        annotations.get("kubernetes.io/config.seen").cloned()
    };
    assert_eq!(seen(&moved), seen(&before));
}

#[test]
fn a_default_that_the_agent_has_learnt_is_no_change() {
    let wanted = pod("containers: [{name: c, image: 'i:2'}]");
    let mut known = pod("").pod().clone();
    known.spec.get_or_insert_default().enable_service_links = None;
    let before = AdmittedPod::from_validated(known, wanted.qos()).expect("a pod");
    assert_eq!(said(&before, &wanted), "ok");
}
