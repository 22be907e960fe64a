//! What a pod or an image asks for and cannot have, with the kubelet's reason.

use super::*;
use pod_model::FailureReason;

/// The error and its reason.
fn refused(
    container: Value,
    spec: Value,
    world: &World,
) -> Result<(FailureReason, String), Box<dyn Error>> {
    let pod = pod(container, spec)?;
    let error = plan(&PlanInput {
        pod: &pod,
        container: &ContainerName::new("c")?,
        attempt: Attempt(2),
        image: &world.image,
        node: &world.node,
        sandbox: &world.sandbox,
        host: &world.host,
    })
    .err()
    .ok_or("it was not refused")?;
    let failure = error.failure();
    Ok((failure.reason, failure.message))
}

#[test]
fn bad_input_is_refused_with_a_kubelets_reason() -> Answer {
    use FailureReason::{CreateContainerConfigError, CreateContainerError, RunContainerError};
    let w = world();
    let env = |e: Value| json!({"env": [e]});
    let mounted = |m: Value| json!({"volumeMounts": [m]});
    for (container, reason, part) in [
        (
            env(json!({"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.nope"}}})),
            CreateContainerConfigError,
            "unsupported fieldPath: spec.nope",
        ),
        (
            env(
                json!({"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "containerName": "zz"}}}),
            ),
            CreateContainerConfigError,
            "container zz not found",
        ),
        (
            env(json!({"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}})),
            CreateContainerConfigError,
            "\"A\"",
        ),
        (
            env(json!({"name": "A", "value": "x\0y"})),
            CreateContainerConfigError,
            "NUL",
        ),
        (
            env(json!({"name": "A=B", "value": "x"})),
            CreateContainerConfigError,
            "'='",
        ),
        (
            env(json!({"name": "HOME", "value": "/root\nroot::0:0"})),
            CreateContainerConfigError,
            "HOME",
        ),
        (
            json!({"workingDir": "/proc/self/fd/8"}),
            RunContainerError,
            "/proc/self/fd/8",
        ),
        (json!({"workingDir": "here"}), RunContainerError, "absolute"),
        (json!({"command": [""]}), RunContainerError, "empty"),
        (
            json!({"command": ["/x", "y".repeat(3 << 20)]}),
            CreateContainerError,
            "bytes",
        ),
        (
            json!({"securityContext": {"capabilities": {"add": ["NET_ADNIM"]}}}),
            CreateContainerError,
            "NET_ADNIM",
        ),
        (
            json!({"securityContext": {"seccompProfile": {"type": "Localhost"}}}),
            CreateContainerError,
            "localhostProfile",
        ),
        (
            json!({"securityContext": {"seccompProfile": {"type": "Localhost", "localhostProfile": "../x"}}}),
            CreateContainerError,
            "'..'",
        ),
        (
            json!({"securityContext": {"seccompProfile": {"type": "Localhost", "localhostProfile": "/x"}}}),
            CreateContainerError,
            "relative",
        ),
        (
            json!({"securityContext": {"seccompProfile": {"type": "None"}}}),
            CreateContainerError,
            "None",
        ),
        (
            json!({"securityContext": {"procMount": "Unmasked"}}),
            CreateContainerConfigError,
            "Unmasked",
        ),
        (
            json!({"securityContext": {"runAsUser": -1}}),
            CreateContainerConfigError,
            "runAsUser -1",
        ),
        (
            mounted(json!({"name": "nope", "mountPath": "/x"})),
            CreateContainerConfigError,
            "nope",
        ),
        (
            mounted(json!({"name": "data", "mountPath": "/"})),
            CreateContainerError,
            "root directory",
        ),
        (
            mounted(json!({"name": "data", "mountPath": "/x/../proc/sys"})),
            CreateContainerError,
            "inside /proc",
        ),
        (
            mounted(json!({"name": "data", "mountPath": "/proc"})),
            CreateContainerError,
            "inside /proc",
        ),
        (
            json!({"terminationMessagePath": "/proc/sysrq-trigger"}),
            CreateContainerError,
            "termination message",
        ),
        (
            json!({"terminationMessagePath": "/tmp/.."}),
            CreateContainerError,
            "root directory",
        ),
        (
            mounted(json!({"name": "data", "mountPath": "/x", "subPath": "a/../b"})),
            CreateContainerConfigError,
            "must not contain '..'",
        ),
        (
            mounted(json!({"name": "data", "mountPath": "/x", "subPath": "/a"})),
            CreateContainerConfigError,
            "absolute",
        ),
        (
            mounted(json!({"name": "data", "mountPath": "/x", "subPathExpr": "$(NOBODY)/a"})),
            CreateContainerConfigError,
            "NOBODY",
        ),
        (
            mounted(json!({"name": "data", "mountPath": "/x", "recursiveReadOnly": "Enabled"})),
            CreateContainerError,
            "readOnly",
        ),
        (
            mounted(json!({"name": "data", "mountPath": "/x", "mountPropagation": "Both"})),
            CreateContainerError,
            "Both",
        ),
    ] {
        let (got, message) = refused(container, json!({}), &w)?;
        assert!(message.contains(part), "{message:?} does not say {part:?}");
        assert!(!message.contains('\n'), "{message:?} is more than a line");
        assert_eq!(got, reason, "{message}");
    }
    Ok(())
}

#[test]
fn a_bad_image_is_refused_with_a_kubelets_reason() -> Answer {
    use FailureReason::{CreateContainerConfigError, CreateContainerError, RunContainerError};
    let strings = |l: &[&str]| l.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
    for (config, reason, part) in [
        (
            ImageConfig {
                entrypoint: strings(&["/a"]),
                env: strings(&["NOVALUE"]),
                ..ImageConfig::default()
            },
            CreateContainerConfigError,
            "NOVALUE",
        ),
        (
            ImageConfig {
                entrypoint: strings(&["/a"]),
                env: strings(&["=x"]),
                ..ImageConfig::default()
            },
            CreateContainerConfigError,
            "=x",
        ),
        (
            ImageConfig {
                entrypoint: strings(&["/a"]),
                user: "ghost".to_owned(),
                ..ImageConfig::default()
            },
            CreateContainerConfigError,
            "ghost",
        ),
        (
            ImageConfig {
                entrypoint: strings(&["/a"]),
                user: "4294967296".to_owned(),
                ..ImageConfig::default()
            },
            CreateContainerConfigError,
            "4294967296",
        ),
        (
            ImageConfig {
                entrypoint: strings(&["/a"]),
                working_dir: "/proc/self/fd/3".to_owned(),
                ..ImageConfig::default()
            },
            RunContainerError,
            "/proc",
        ),
        (
            ImageConfig::default(),
            CreateContainerError,
            "no command specified",
        ),
    ] {
        let world = World {
            image: ImageFacts {
                config: FromTenant::new(config),
                ..world().image
            },
            ..world()
        };
        let (got, message) = refused(json!({}), json!({}), &world)?;
        assert!(message.contains(part), "{message:?} does not say {part:?}");
        assert_eq!(got, reason, "{message}");
    }
    Ok(())
}
