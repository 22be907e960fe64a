//! Fields that are not in the table, and values of the wrong type.

use super::{located, verdict, with_container, with_metadata, with_spec};

#[test]
fn an_unknown_field_is_refused_by_its_path_and_line_with_the_name_that_was_meant() {
    let text = "\
apiVersion: v1
kind: Pod
metadata:
  name: web
  lables: {a: b}
spec:
  containers:
  - name: a
    image: x:1
    restartPolicyy: Never
  - name: b
    image: x:1
    volumeMounts:
    - name: v
      mountPth: /x
  flavour: sweet
";
    assert_eq!(
        located(text),
        "\
p.yaml:5:3: metadata.lables: unknown field; did you mean \"labels\"?
p.yaml:10:5: spec.containers[0].restartPolicyy: unknown field; did you mean \"restartPolicy\"?
p.yaml:15:7: spec.containers[1].volumeMounts[0].mountPth: unknown field; did you mean \"mountPath\"?
p.yaml:16:3: spec.flavour: unknown field"
    );
}

#[test]
fn a_field_that_this_node_does_not_honour_yet_is_refused_with_the_reason() {
    for (body, said) in [
        (
            "lifecycle: {preStop: {tcpSocket: {port: 1}}}",
            "lifecycle.preStop.tcpSocket: is deprecated, and no node carries it out",
        ),
        (
            "livenessProbe: {httpGet: {port: true}}",
            "livenessProbe.httpGet.port: expected a number or a name, found the boolean true",
        ),
        (
            "envFrom: [{configMapRef: {name: x}}]",
            "envFrom: ConfigMaps and Secrets are not supported by this node",
        ),
        (
            "env: [{name: A, valueFrom: {secretKeyRef: {name: x, key: y}}}]",
            "env[0].valueFrom.secretKeyRef: ConfigMaps and Secrets are not supported by this node",
        ),
        (
            "stdinOnce: true",
            "stdinOnce: attach is not supported by this node",
        ),
        (
            "volumeDevices: [{name: x, devicePath: /dev/x}]",
            "volumeDevices: block devices are not supported by this node",
        ),
        (
            "securityContext: {procMount: Unmasked}",
            "securityContext.procMount: only \"Default\" is supported by this node",
        ),
        // known to Kubernetes, and not in our table at all
        (
            "securityContext: {seLinuxOptions: {level: s0}}",
            "securityContext.seLinuxOptions: not supported by this node",
        ),
        (
            "securityContext: {appArmorProfile: {type: Unconfined}}",
            "securityContext.appArmorProfile: not supported by this node",
        ),
        (
            "securityContext: {windowsOptions: 7}",
            "securityContext.windowsOptions: not supported by this node",
        ),
    ] {
        assert_eq!(
            verdict(&with_container(body)),
            format!("spec.containers[0].{said}"),
            "{body}"
        );
    }
    for (body, said) in [
        (
            "serviceAccountName: x",
            "serviceAccountName: a static pod may not reference a service account",
        ),
        (
            "automountServiceAccountToken: true",
            "automountServiceAccountToken: a static pod may not reference a service account",
        ),
        (
            "imagePullSecrets: [{name: x}]",
            "imagePullSecrets: a static pod may not reference secrets; give the node the credentials of its registries",
        ),
        (
            "hostUsers: false",
            "hostUsers: user namespaces are not supported by this node",
        ),
        (
            "runtimeClassName: x",
            "runtimeClassName: runtime classes are not supported by this node",
        ),
        (
            "securityContext: {fsGroupChangePolicy: Always}",
            "securityContext.fsGroupChangePolicy: not supported by this node",
        ),
        (
            "hostnameOverride: x",
            "hostnameOverride: not supported by this node",
        ),
        ("overhead: {cpu: 1}", "overhead: not supported by this node"),
        (
            "volumes: [{name: v, configMap: {name: x}}]",
            "volumes[0].configMap: ConfigMaps and Secrets are not supported by this node",
        ),
        (
            "volumes: [{name: v, gitRepo: {repository: x}}]",
            "volumes[0].gitRepo: gitRepo volumes run git as root on content that others write, and are refused for good",
        ),
        (
            "volumes: [{name: v, rbd: {image: x}}]",
            "volumes[0].rbd: not supported by this node",
        ),
        (
            "volumes: [{name: v, emptydir: {}}]",
            "volumes[0].emptydir: unknown field; did you mean \"emptyDir\"?",
        ),
    ] {
        assert_eq!(verdict(&with_spec(body)), format!("spec.{said}"), "{body}");
    }
    for (body, said) in [
        (
            "{name: p, uid: A_b}",
            "uid: Invalid value: \"A_b\": must be 1 to 64 of a-z, 0-9 and '-', with a letter or digit at both ends",
        ),
        (
            "{name: p, generateName: p-}",
            "generateName: a static pod needs a name of its own",
        ),
        (
            "{name: p, resourceVersion: '1'}",
            "resourceVersion: is set by the system; remove it",
        ),
        (
            "{name: p, finalizers: [x]}",
            "finalizers: a static pod has no finalizers; remove them",
        ),
    ] {
        assert_eq!(
            verdict(&with_metadata(body)),
            format!("metadata.{said}"),
            "{body}"
        );
    }
}

#[test]
fn what_asks_for_nothing_is_accepted() {
    for body in [
        "enableServiceLinks: false",
        "automountServiceAccountToken: false\nserviceAccountName: ''",
        "hostUsers: true",
        "imagePullSecrets: []\nephemeralContainers: []\nreadinessGates: []",
        "volumes: null\ninitContainers: []",
        "livenessProbe: null",
        "securityContext: {}",
        "os: {name: linux}",
        "os: {name: windows}",
        "nodeName: n1",
    ] {
        assert_eq!(verdict(&with_spec(body)), "ok", "{body}");
    }
    for body in [
        "livenessProbe: null\nenvFrom: []\nvolumeDevices: []\nresizePolicy: []",
        "stdinOnce: false\nterminationMessagePath: last/words\nterminationMessagePolicy: FallbackToLogsOnError",
        "resources: {}\nsecurityContext: {procMount: Default}",
    ] {
        assert_eq!(verdict(&with_container(body)), "ok", "{body}");
    }
    let dry_run = with_metadata("{name: p, creationTimestamp: null}") + "status: {}\n";
    assert_eq!(
        verdict(&dry_run),
        "ok",
        "as kubectl create --dry-run writes it"
    );
}

#[test]
fn what_only_schedulers_read_is_accepted_and_its_names_are_checked() {
    let body = "\
schedulerName: mine
priority: 7
priorityClassName: system-node-critical
preemptionPolicy: Never
tolerations: [{operator: Exists}, {key: a, effect: NoSchedule, tolerationSeconds: null}]
topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule}]
affinity:
  nodeAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
    - {weight: 1, preference: {matchExpressions: [{key: a, operator: In, values: [b]}]}}
";
    assert_eq!(verdict(&with_spec(body)), "ok");
    assert_eq!(
        verdict(&with_spec(
            "tolerations: [{operator: Exists}, {opertor: Exists}]"
        )),
        "spec.tolerations[1].opertor: unknown field"
    );
    assert_eq!(
        verdict(&with_spec("affinity: {nodeAffinity: {required: {}}}")),
        "spec.affinity.nodeAffinity.required: unknown field"
    );
    assert_eq!(
        verdict(&with_spec("priority: high")),
        "spec.priority: expected an integer, found the text \"high\"; take the quotes away"
    );
}

#[test]
fn a_value_of_the_wrong_type_is_refused_with_what_to_do() {
    for (body, said) in [
        (
            "env: [{name: PORT, value: 8080}]",
            "env[0].value: expected a text, found the number 8080; put it in quotes",
        ),
        (
            "env: [{name: E, value: yes}]",
            "env[0].value: expected a text, found the boolean true; put it in quotes",
        ),
        (
            "args: [-c, 5]",
            "args[1]: expected a text, found the number 5; put it in quotes",
        ),
        ("args: x", "args: expected a list, found the text \"x\""),
        ("env: {A: b}", "env: expected a list, found a mapping"),
        (
            "tty: 'true'",
            "tty: expected true or false, found the text \"true\"; take the quotes away",
        ),
        (
            "ports: [{containerPort: '80'}]",
            "ports[0].containerPort: expected an integer, found the text \"80\"; take the quotes away",
        ),
        (
            "ports: [{containerPort: 80.5}]",
            "ports[0].containerPort: expected an integer, found 80.5",
        ),
        (
            "ports: [{containerPort: 99999999999}]",
            "ports[0].containerPort: expected an integer, found 99999999999",
        ),
        (
            "resources: {limits: {cpu: [1]}}",
            "resources.limits[cpu]: expected a quantity, found a list",
        ),
        (
            "command: [null]",
            "command[0]: expected a text, found nothing",
        ),
        (
            "workingDir: \"a\\0b\"",
            "workingDir: must not contain a NUL character",
        ),
    ] {
        assert_eq!(
            verdict(&with_container(body)),
            format!("spec.containers[0].{said}"),
            "{body}"
        );
    }
    assert_eq!(
        verdict(&with_metadata("{name: p, labels: {v: 1}}")),
        "metadata.labels[v]: expected a text, found the number 1; put it in quotes"
    );
    assert_eq!(
        verdict(&with_metadata("[p]")),
        "metadata: expected a mapping, found a list"
    );
    assert_eq!(
        verdict(&with_container("ports: [{containerPort: 80.0}]")),
        "ok",
        "as Go reads it"
    );
}
