//! What an ephemeral container may say, and what not.

use super::{origin, with_spec};
use crate::manifest::read_manifest;
use crate::with_ephemeral;
use pod_model::{AdmittedPod, ContainerName, ContainerRole};
use serde_json::{Value, json};

fn pod() -> AdmittedPod {
    let text = with_spec(
        "initContainers: [{name: setup, image: 'i:1'}]\ncontainers: [{name: app, image: 'i:1'}]\nvolumes: [{name: data}]",
    );
    let mut pods = read_manifest(&text, &origin()).expect("a good manifest");
    pods.remove(0)
}

/// `path: message` of what is wrong with it, a line each, without what all paths begin with.
fn refused(mut container: Value) -> String {
    let fields = container.as_object_mut().expect("an object");
    fields.entry("name").or_insert_with(|| json!("debugger"));
    fields.entry("image").or_insert_with(|| json!("busybox"));
    let errors = with_ephemeral(&pod(), container).err().unwrap_or_default();
    let lines = errors
        .iter()
        .map(|e| e.to_string().replace("spec.ephemeralContainers[0].", ""));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn one_more_container_is_the_same_pod() {
    let before = pod();
    let container = json!({
        "name": "debugger", "image": "busybox", "targetContainerName": "app",
        "command": ["sh"], "stdin": true, "tty": true, "env": [{"name": "A", "value": "b"}],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    });
    let after = with_ephemeral(&before, container).expect("it is good");
    assert_eq!(after.uid(), before.uid());
    let name = ContainerName::new("debugger").expect("a name");
    let (role, added) = after.container(&name).expect("it is there");
    assert_eq!(role, ContainerRole::Ephemeral);
    assert_eq!(added.image_pull_policy.as_deref(), Some("Always"));
    assert_eq!(
        added.termination_message_path.as_deref(),
        Some("/dev/termination-log")
    );
    let target = after.target_of(&name);
    assert_eq!(target.as_ref().map(ContainerName::as_str), Some("app"));
    // another one comes after it, and may not have its name
    let again = with_ephemeral(&after, json!({"name": "debugger", "image": "busybox"}));
    assert_eq!(
        again.expect_err("it is there already")[0].to_string(),
        "spec.ephemeralContainers[1].name: Duplicate value: \"debugger\""
    );
    let other = with_ephemeral(&after, json!({"name": "other", "image": "busybox"}));
    let roles = other
        .expect("it is good")
        .containers()
        .map(|(role, ..)| role)
        .collect::<Vec<_>>();
    assert_eq!(
        roles[2..],
        [ContainerRole::Ephemeral, ContainerRole::Ephemeral]
    );
}

#[test]
fn a_pod_from_its_source_takes_over_what_was_put_into_the_running_one() {
    let container = json!({"name": "debugger", "image": "busybox", "targetContainerName": "app"});
    let running = with_ephemeral(&pod(), container).expect("it is good");
    assert_eq!(pod().with_ephemeral_of(&running), running);
    let names = |pod: &AdmittedPod| -> Vec<String> {
        pod.containers().map(|(_, n, _)| n.to_string()).collect()
    };
    let merged = pod().with_ephemeral_of(&running);
    assert_eq!(names(&merged), ["setup", "app", "debugger"]);
    let name = ContainerName::new("debugger").expect("a name");
    assert_eq!(merged.container(&name), running.container(&name));
    assert_eq!(running.with_ephemeral_of(&pod()), pod());
}

#[test]
fn what_a_service_needs_is_forbidden() {
    for field in [
        json!({"ports": [{"containerPort": 80}]}),
        json!({"resources": {"limits": {"cpu": "1"}}}),
        json!({"livenessProbe": {"exec": {"command": ["x"]}}}),
        json!({"readinessProbe": {"exec": {"command": ["x"]}}}),
        json!({"startupProbe": {"exec": {"command": ["x"]}}}),
        json!({"lifecycle": {"preStop": {"exec": {"command": ["x"]}}}}),
        json!({"restartPolicy": "Always"}),
        json!({"restartPolicyRules": []}),
    ] {
        let name = field
            .as_object()
            .and_then(|o| o.keys().next().cloned())
            .unwrap_or_default();
        let said = format!("{name}: Forbidden: cannot be set for an Ephemeral Container");
        assert_eq!(refused(field), said);
    }
    assert_eq!(
        refused(json!({"volumeMounts": [{"name": "data", "mountPath": "/d", "subPath": "x"}]})),
        "volumeMounts[0].subPath: Forbidden: cannot be set for an Ephemeral Container"
    );
}

#[test]
fn names_and_targets() {
    for (container, said) in [
        (json!({"name": ""}), "name: Required value"),
        (json!({"image": ""}), "image: Required value"),
        (json!({"name": "app"}), "name: Duplicate value: \"app\""),
        (json!({"name": "setup"}), "name: Duplicate value: \"setup\""),
        (
            json!({"targetContainerName": "web"}),
            "targetContainerName: Not found: \"web\"",
        ),
        (
            json!({"stdinOnce": true}),
            "stdinOnce: attach is not supported by this node",
        ),
        (
            json!({"comand": ["sh"]}),
            "comand: unknown field; did you mean \"command\"?",
        ),
        (
            json!({"volumeMounts": [{"name": "none", "mountPath": "/d"}]}),
            "volumeMounts[0].name: Not found: \"none\"",
        ),
    ] {
        assert_eq!(refused(container), said);
    }
}
