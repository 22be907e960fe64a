//! The API server's rules: what each refuses, where it says so, and how.

use super::{verdict, with_container, with_metadata, with_spec};

/// Each body of a pod's spec is refused with this path below `spec` and this message.
pub(super) fn specs(cases: &[(&str, &str)]) {
    for (body, said) in cases {
        let expected: Vec<String> = said.lines().map(|l| format!("spec.{l}")).collect();
        assert_eq!(verdict(&with_spec(body)), expected.join("\n"), "{body}");
    }
}

/// The same of a container's fields.
fn containers(cases: &[(&str, &str)]) {
    for (body, said) in cases {
        let expected: Vec<String> = said
            .lines()
            .map(|l| format!("spec.containers[0].{l}"))
            .collect();
        assert_eq!(
            verdict(&with_container(body)),
            expected.join("\n"),
            "{body}"
        );
    }
}

const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";

#[test]
fn names_labels_and_annotations() {
    let long = "a".repeat(300);
    let huge = "x".repeat(300_000);
    for (metadata, said) in [
        ("{}", "metadata.name: Required value: name is required".to_owned()),
        ("{name: ''}", "metadata.name: Required value: name is required".to_owned()),
        ("{name: Web}", "metadata.name: Invalid value: \"Web\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')".to_owned()),
        (&format!("{{name: {long}}}"), format!("metadata.name: Invalid value: \"{}…: must be no more than 253 characters", &long[..199])),
        (&format!("{{name: {}}}", &long[..240]), format!("metadata.name: Too long: \"{}-n1\" may not be more than 214 bytes, for namespace, name and uid name its log directory", &long[..240])),
        ("{name: p, namespace: a.b}", format!("metadata.namespace: Invalid value: \"a.b\": {LABEL}")),
        ("{name: p, labels: {'a b': c}}", "metadata.labels: Invalid value: \"a b\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')".to_owned()),
        ("{name: p, labels: {/a: c}}", "metadata.labels: Invalid value: \"/a\": prefix part must be non-empty".to_owned()),
        ("{name: p, labels: {x/: c}}", "metadata.labels: Invalid value: \"x/\": name part must be non-empty".to_owned()),
        ("{name: p, labels: {a: 'b c'}}", "metadata.labels[a]: Invalid value: \"b c\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')".to_owned()),
        (&format!("{{name: p, annotations: {{a: {huge}}}}}"), "metadata.annotations: Too long: may not be more than 262144 bytes".to_owned()),
        ("{name: p, annotations: {kubernetes.io/config.source: api}}", "metadata.annotations[kubernetes.io/config.source]: Forbidden: is made by the node for a static pod".to_owned()),
    ] {
        assert_eq!(verdict(&with_metadata(metadata)), said, "{}", &metadata[..metadata.len().min(80)]);
    }
    for metadata in [
        "{name: a.b-c.d, namespace: kube-system}",
        "{name: p, labels: {app.kubernetes.io/name: A_b.c, empty: ''}, annotations: {Example.com/Some_Key: 'any text: {}'}}",
    ] {
        assert_eq!(verdict(&with_metadata(metadata)), "ok", "{metadata}");
    }
}

#[test]
fn fields_of_the_pod() {
    specs(&[
        (
            "restartPolicy: Sometimes",
            "restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"OnFailure\", \"Never\"",
        ),
        (
            "terminationGracePeriodSeconds: -1",
            "terminationGracePeriodSeconds: Invalid value: -1: must be greater than or equal to 0",
        ),
        (
            "nodeName: n2",
            "nodeName: Invalid value: \"n2\": this node is \"n1\"",
        ),
        (
            "shareProcessNamespace: true\nhostPID: true",
            "shareProcessNamespace: Invalid value: true: ShareProcessNamespace and HostPID cannot both be enabled",
        ),
        (
            "hostname: A",
            &format!("hostname: Invalid value: \"A\": {LABEL}"),
        ),
        (
            "subdomain: a.b",
            &format!("subdomain: Invalid value: \"a.b\": {LABEL}"),
        ),
        ("containers: []", "containers: Required value"),
        (
            "containers:\n- {name: a, image: x}\n- {name: a, image: x}",
            "containers[1].name: Duplicate value: \"a\"",
        ),
        (
            "initContainers: [{name: c, image: x}]",
            "containers[0].name: Duplicate value: \"c\"",
        ),
        (
            "initContainers: [{name: i}]",
            "initContainers[0].image: Required value",
        ),
    ]);
}

#[test]
fn dns_and_host_aliases() {
    let many: String = (0..33).map(|i| format!("s{i},")).collect();
    let (_, too_many) = verdict(&with_spec(&format!("dnsConfig: {{searches: [{many}]}}")))
        .rsplit_once(": ")
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap_or_default();
    assert_eq!(too_many, "must not have more than 32 search paths");
    specs(&[
        (
            "dnsPolicy: Cluster",
            "dnsPolicy: Unsupported value: \"Cluster\": supported values: \"ClusterFirst\", \"ClusterFirstWithHostNet\", \"Default\", \"None\"",
        ),
        (
            "dnsPolicy: None",
            "dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None",
        ),
        (
            "dnsPolicy: None\ndnsConfig: {}",
            "dnsConfig.nameservers: Required value: must provide at least one DNS nameserver when `dnsPolicy` is None",
        ),
        (
            "dnsConfig: {nameservers: [a]}",
            "dnsConfig.nameservers[0]: Invalid value: \"a\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
        ),
        (
            "dnsConfig: {nameservers: [1.1.1.1, 1.1.1.1, 1.1.1.1, 1.1.1.1]}",
            "dnsConfig.nameservers: Invalid value: [\"1.1.1.1\", \"1.1.1.1\", \"1.1.1.1\", \"1.1.1.1\"]: must not have more than 3 nameservers",
        ),
        (
            "dnsConfig: {options: [{value: '1'}]}",
            "dnsConfig.options[0].name: Required value",
        ),
        (
            "dnsConfig: {options: [{name: \"a\\nnameserver 6.6.6.6\"}]}",
            "dnsConfig.options[0].name: Invalid value: \"a\\nnameserver 6.6.6.6\": must be one word",
        ),
        (
            "hostAliases: [{ip: here, hostnames: [a]}]",
            "hostAliases[0].ip: Invalid value: \"here\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
        ),
    ]);
    for bad in ["a b", "-a", "A.b", "a..b"] {
        assert!(
            verdict(&with_spec(&format!("dnsConfig: {{searches: ['{bad}']}}")))
                .starts_with("spec.dnsConfig.searches[0]: Invalid value:"),
            "{bad}"
        );
        assert!(
            verdict(&with_spec(&format!(
                "hostAliases: [{{ip: 1.1.1.1, hostnames: ['{bad}']}}]"
            )))
            .starts_with("spec.hostAliases[0].hostnames[0]: Invalid value:"),
            "{bad}"
        );
    }
    let good = "dnsPolicy: None\ndnsConfig: {nameservers: ['2001:db8::1'], searches: [., a.b., _x.c], options: [{name: ndots, value: '2'}, {name: edns0}]}\nhostAliases: [{ip: '::1', hostnames: [a, b.c]}]";
    assert_eq!(verdict(&with_spec(good)), "ok");
}

#[test]
fn names_and_images_of_containers() {
    specs(&[
        (
            "containers: [{image: x}]",
            "containers[0].name: Required value",
        ),
        (
            "containers: [{name: A, image: x}]",
            &format!("containers[0].name: Invalid value: \"A\": {LABEL}"),
        ),
        (
            "containers: [{name: a.b, image: x}]",
            &format!("containers[0].name: Invalid value: \"a.b\": {LABEL}"),
        ),
        (
            "containers: [{name: a}]",
            "containers[0].image: Required value",
        ),
        (
            "containers: [{name: a, image: ' x'}]",
            "containers[0].image: Invalid value: \" x\": must not have leading or trailing whitespace",
        ),
    ]);
    containers(&[
        (
            "imagePullPolicy: Sometimes",
            "imagePullPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"IfNotPresent\", \"Never\"",
        ),
        (
            "terminationMessagePolicy: Sometimes",
            "terminationMessagePolicy: Unsupported value: \"Sometimes\": supported values: \"File\", \"FallbackToLogsOnError\"",
        ),
    ]);
}

#[test]
fn ports() {
    containers(&[
        ("ports: [{}]", "ports[0].containerPort: Required value"),
        (
            "ports: [{containerPort: 65536}]",
            "ports[0].containerPort: Invalid value: 65536: must be between 1 and 65535, inclusive",
        ),
        (
            "ports: [{containerPort: -1}]",
            "ports[0].containerPort: Invalid value: -1: must be between 1 and 65535, inclusive",
        ),
        (
            "ports: [{containerPort: 1, hostPort: 70000}]",
            "ports[0].hostPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
        ),
        (
            "ports: [{containerPort: 1, protocol: tcp}]",
            "ports[0].protocol: Unsupported value: \"tcp\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
        ),
        (
            "ports: [{containerPort: 1, hostIP: a}]",
            "ports[0].hostIP: Invalid value: \"a\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
        ),
        (
            "ports: [{containerPort: 1, hostIP: '::1'}]",
            "ports[0].hostIP: IPv6 addresses of the host are not supported by this node",
        ),
        (
            "ports: [{containerPort: 1, name: a-very-long-name}]",
            "ports[0].name: Invalid value: \"a-very-long-name\": must be no more than 15 characters",
        ),
        (
            "ports: [{containerPort: 1, name: '80'}]",
            "ports[0].name: Invalid value: \"80\": must contain at least one letter (a-z)",
        ),
        (
            "ports: [{containerPort: 1, name: a--b}]",
            "ports[0].name: Invalid value: \"a--b\": must not contain consecutive hyphens",
        ),
        (
            "ports: [{containerPort: 1, name: a-}]",
            "ports[0].name: Invalid value: \"a-\": must not begin or end with a hyphen",
        ),
        (
            "ports: [{containerPort: 1, name: A}]",
            "ports[0].name: Invalid value: \"A\": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
        ),
        (
            "ports: [{containerPort: 1, name: a}, {containerPort: 2, name: a}]",
            "ports[1].name: Duplicate value: \"a\"",
        ),
        (
            "ports: [{containerPort: 1, hostPort: 80}, {containerPort: 2, hostPort: 80}]",
            "ports[1].hostPort: Duplicate value: \"TCP//80\"",
        ),
    ]);
    specs(&[
        (
            "hostNetwork: true\ncontainers: [{name: c, image: x, ports: [{containerPort: 80, hostPort: 81}]}]",
            "containers[0].ports[0].containerPort: Invalid value: 80: must match `hostPort` when `hostNetwork` is true",
        ),
        (
            "containers:\n- {name: a, image: x, ports: [{containerPort: 1, hostPort: 80}]}\n- {name: b, image: x, ports: [{containerPort: 1, hostPort: 80}]}",
            "containers[1].ports[0].hostPort: Duplicate value: \"TCP//80\"",
        ),
    ]);
    let good = "ports: [{containerPort: 1, hostPort: 80}, {containerPort: 1, hostPort: 80, protocol: UDP}, {containerPort: 2, hostPort: 80, hostIP: 127.0.0.1, name: web-1}]";
    assert_eq!(verdict(&with_container(good)), "ok");
}

#[test]
fn environment() {
    const FIELDS: &str = "supported values: \"metadata.annotations['<key>']\", \"metadata.labels['<key>']\", \"metadata.name\", \"metadata.namespace\", \"metadata.uid\", \"spec.nodeName\", \"spec.serviceAccountName\", \"status.hostIP\", \"status.hostIPs\", \"status.podIP\", \"status.podIPs\"";
    containers(&[
        ("env: [{value: a}]", "env[0].name: Required value"),
        (
            "env: [{name: A=B}]",
            "env[0].name: Invalid value: \"A=B\": a valid environment variable name must consist only of printable ASCII characters other than '='",
        ),
        (
            "env: [{name: A, valueFrom: {}}]",
            "env[0].valueFrom: Invalid value: \"\": must specify one of: `fieldRef`, `resourceFieldRef`",
        ),
        (
            "env: [{name: A, value: b, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]",
            "env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty",
        ),
        (
            "env: [{name: A, valueFrom: {fieldRef: {fieldPath: metadata.name}, resourceFieldRef: {resource: limits.cpu}}}]",
            "env[0].valueFrom: Invalid value: \"\": may not have more than one field specified at a time",
        ),
        (
            "env: [{name: A, valueFrom: {fieldRef: {}}}]",
            "env[0].valueFrom.fieldRef.fieldPath: Required value",
        ),
        (
            "env: [{name: A, valueFrom: {fieldRef: {fieldPath: spec.hostname}}}]",
            &format!(
                "env[0].valueFrom.fieldRef.fieldPath: Unsupported value: \"spec.hostname\": {FIELDS}"
            ),
        ),
        (
            "env: [{name: A, valueFrom: {fieldRef: {fieldPath: metadata.labels}}}]",
            &format!(
                "env[0].valueFrom.fieldRef.fieldPath: Unsupported value: \"metadata.labels\": {FIELDS}"
            ),
        ),
        (
            "env: [{name: A, valueFrom: {fieldRef: {fieldPath: \"metadata.labels['<key>']\"}}}]",
            "env[0].valueFrom.fieldRef.fieldPath: Invalid value: \"metadata.labels['<key>']\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
        ),
        (
            "env: [{name: A, valueFrom: {resourceFieldRef: {resource: limits.gpu}}}]",
            "env[0].valueFrom.resourceFieldRef.resource: Unsupported value: \"limits.gpu\": supported values: \"limits.cpu\", \"limits.ephemeral-storage\", \"limits.memory\", \"requests.cpu\", \"requests.ephemeral-storage\", \"requests.memory\"",
        ),
        (
            "env: [{name: A, valueFrom: {resourceFieldRef: {resource: limits.cpu, containerName: x}}}]",
            "env[0].valueFrom.resourceFieldRef.containerName: Not found: \"x\"",
        ),
        (
            "env: [{name: A, valueFrom: {resourceFieldRef: {resource: limits.cpu, divisor: 1Mi}}}]",
            "env[0].valueFrom.resourceFieldRef.divisor: Invalid value: \"1Mi\": only divisor's values 1m and 1 are supported with the cpu resource",
        ),
        (
            "env: [{name: A, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 5}}}]",
            "env[0].valueFrom.resourceFieldRef.divisor: Invalid value: \"5\": only divisor's values 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are supported with the memory resource",
        ),
    ]);
    let good = "env:\n- {name: A}\n- {name: a.b-c d, value: $(A)}\n- {name: B, valueFrom: {fieldRef: {apiVersion: v1, fieldPath: \"metadata.annotations['Example.com/x']\"}}}\n- {name: C, valueFrom: {resourceFieldRef: {resource: requests.memory, containerName: c, divisor: 1Mi}}}";
    assert_eq!(verdict(&with_container(good)), "ok");
}

#[test]
fn resources() {
    containers(&[
        (
            "resources: {limits: {cpu: '-1'}}",
            "resources.limits[cpu]: Invalid value: \"-1\": must be greater than or equal to 0\nresources.requests[cpu]: Invalid value: \"-1\": must be greater than or equal to 0",
        ),
        (
            "resources: {requests: {cpu: 1x}}",
            "resources.requests[cpu]: Invalid value: \"1x\": \"1x\" is not a quantity: quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        (
            "resources: {requests: {cpu: 2}, limits: {cpu: 1500m}}",
            "resources.requests[cpu]: Invalid value: \"2\": must be less than or equal to cpu limit of 1500m",
        ),
        (
            "resources: {requests: {memory: 128m}}",
            "resources.requests[memory]: Invalid value: \"128m\": fractional byte value, must be an integer",
        ),
        (
            "resources: {requests: {gpu: 1}}",
            "resources.requests[gpu]: Unsupported value: \"gpu\": supported values: \"cpu\", \"memory\", \"ephemeral-storage\"",
        ),
        (
            "resources: {requests: {hugepages-2Mi: 2Mi}}",
            "resources.requests[hugepages-2Mi]: Unsupported value: \"hugepages-2Mi\": supported values: \"cpu\", \"memory\", \"ephemeral-storage\"",
        ),
        (
            "resources: {requests: {ephemeral-storage: 2Gi}, limits: {ephemeral-storage: 1Gi}}",
            "resources.requests[ephemeral-storage]: Invalid value: \"2Gi\": must be less than or equal to ephemeral-storage limit of 1Gi",
        ),
    ]);
    for good in [
        "resources: {requests: {ephemeral-storage: 1Gi, cpu: 0.1}}",
        "resources: {limits: {ephemeral-storage: 1Gi}}",
        "resources: {limits: {cpu: 0, memory: 0}}",
        "resources: {requests: {memory: 1.5Gi}, limits: {memory: 1536Mi}}",
    ] {
        assert_eq!(verdict(&with_container(good)), "ok", "{good}");
    }
}

#[test]
fn volumes() {
    specs(&[
        (
            "volumes: [{emptyDir: {}}]",
            "volumes[0].name: Required value",
        ),
        (
            "volumes: [{name: v}, {name: v}]",
            "volumes[1].name: Duplicate value: \"v\"",
        ),
        (
            "volumes: [{name: V}]",
            &format!("volumes[0].name: Invalid value: \"V\": {LABEL}"),
        ),
        (
            "volumes: [{name: v, emptyDir: {}, hostPath: {path: /x}}]",
            "volumes[0].hostPath: Forbidden: may not specify more than 1 volume type",
        ),
        (
            "volumes: [{name: v, emptyDir: {medium: HugePages}}]",
            "volumes[0].emptyDir.medium: Unsupported value: \"HugePages\": supported values: \"\", \"Memory\"",
        ),
        (
            "volumes: [{name: v, emptyDir: {sizeLimit: '-1'}}]",
            "volumes[0].emptyDir.sizeLimit: Forbidden: SizeLimit field must be a valid resource quantity",
        ),
        (
            "volumes: [{name: v, hostPath: {}}]",
            "volumes[0].hostPath.path: Required value",
        ),
        (
            "volumes: [{name: v, hostPath: {path: x}}]",
            "volumes[0].hostPath.path: Invalid value: \"x\": must be an absolute path",
        ),
        (
            "volumes: [{name: v, hostPath: {path: /a/../b}}]",
            "volumes[0].hostPath.path: Invalid value: \"/a/../b\": must not contain '..'",
        ),
        (
            "volumes: [{name: v, hostPath: {path: /a, type: Folder}}]",
            "volumes[0].hostPath.type: Unsupported value: \"Folder\": supported values: \"\", \"BlockDevice\", \"CharDevice\", \"Directory\", \"DirectoryOrCreate\", \"File\", \"FileOrCreate\", \"Socket\"",
        ),
    ]);
    assert_eq!(
        verdict(&with_spec(
            "volumes: [{name: a, emptyDir: {medium: Memory, sizeLimit: 1Mi}}, {name: b, hostPath: {path: /..a, type: Socket}}]"
        )),
        "ok"
    );
}

#[test]
fn mounts() {
    let mounts = |body: &str| {
        with_spec(&format!(
            "volumes: [{{name: v}}]\ncontainers:\n- name: c\n  image: x\n  volumeMounts:\n  - {body}"
        ))
    };
    for (body, said) in [
        ("{mountPath: /x}", "name: Required value"),
        ("{name: w, mountPath: /x}", "name: Not found: \"w\""),
        ("{name: v}", "mountPath: Required value"),
        (
            "{name: v, mountPath: /}",
            "mountPath: Invalid value: \"/\": must not be the root",
        ),
        (
            "{name: v, mountPath: x}",
            "mountPath: Invalid value: \"x\": must be an absolute path",
        ),
        (
            "{name: v, mountPath: /x, subPath: /a}",
            "subPath: Invalid value: \"/a\": must be a relative path",
        ),
        (
            "{name: v, mountPath: /x, subPath: a/../b}",
            "subPath: Invalid value: \"a/../b\": must not contain '..'",
        ),
        (
            "{name: v, mountPath: /x, subPathExpr: ../$(A)}",
            "subPathExpr: Invalid value: \"../$(A)\": must not contain '..'",
        ),
        (
            "{name: v, mountPath: /x, subPath: a, subPathExpr: b}",
            "subPathExpr: Invalid value: \"b\": subPathExpr and subPath are mutually exclusive",
        ),
        (
            "{name: v, mountPath: /x, mountPropagation: Both}",
            "mountPropagation: Unsupported value: \"Both\": supported values: \"Bidirectional\", \"HostToContainer\", \"None\"",
        ),
        (
            "{name: v, mountPath: /x, mountPropagation: Bidirectional}",
            "mountPropagation: Forbidden: Bidirectional mount propagation is available only to privileged containers",
        ),
        (
            "{name: v, mountPath: /x, recursiveReadOnly: Yes}",
            "recursiveReadOnly: expected a text, found the boolean true; put it in quotes",
        ),
        (
            "{name: v, mountPath: /x, recursiveReadOnly: Enabled}",
            "recursiveReadOnly: Forbidden: may only be specified when readOnly is true",
        ),
        (
            "{name: v, mountPath: /x, readOnly: true, mountPropagation: HostToContainer, recursiveReadOnly: IfPossible}",
            "recursiveReadOnly: Forbidden: may only be specified when mountPropagation is None or not specified",
        ),
    ] {
        assert_eq!(
            verdict(&mounts(body)),
            format!("spec.containers[0].volumeMounts[0].{said}"),
            "{body}"
        );
    }
    assert_eq!(
        verdict(&mounts(
            "{name: v, mountPath: /x}\n  - {name: v, mountPath: /x/}"
        )),
        "spec.containers[0].volumeMounts[1].mountPath: Invalid value: \"/x/\": must be unique"
    );
    assert_eq!(
        verdict(&mounts(
            "{name: v, mountPath: /x, subPathExpr: a/$(B), readOnly: true, recursiveReadOnly: Enabled}"
        )),
        "ok"
    );
    let privileged = mounts("{name: v, mountPath: /x, mountPropagation: Bidirectional}").replace(
        "image: x",
        "image: x\n    securityContext: {privileged: true}",
    );
    assert_eq!(verdict(&privileged), "ok");
}

#[test]
fn security_contexts() {
    let seccomp = "supported values: \"Localhost\", \"RuntimeDefault\", \"Unconfined\"";
    for (body, said) in [
        ("{runAsUser: -1}", "runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive".to_owned()),
        ("{runAsGroup: 2147483648}", "runAsGroup: Invalid value: 2147483648: must be between 0 and 2147483647, inclusive".to_owned()),
        ("{seccompProfile: {}}", "seccompProfile.type: Required value".to_owned()),
        ("{seccompProfile: {type: Default}}", format!("seccompProfile.type: Unsupported value: \"Default\": {seccomp}")),
        ("{seccompProfile: {type: Localhost}}", "seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost".to_owned()),
        ("{seccompProfile: {type: Localhost, localhostProfile: ''}}", "seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost".to_owned()),
        ("{seccompProfile: {type: Localhost, localhostProfile: /etc/x}}", "seccompProfile.localhostProfile: Invalid value: \"/etc/x\": must be a relative path".to_owned()),
        ("{seccompProfile: {type: Localhost, localhostProfile: ../x}}", "seccompProfile.localhostProfile: Invalid value: \"../x\": must not contain '..'".to_owned()),
        ("{seccompProfile: {type: Unconfined, localhostProfile: x}}", "seccompProfile.localhostProfile: Invalid value: \"x\": can only be set when seccomp type is Localhost".to_owned()),
    ] {
        assert_eq!(verdict(&with_container(&format!("securityContext: {body}"))), format!("spec.containers[0].securityContext.{said}"), "{body}");
        assert_eq!(verdict(&with_spec(&format!("securityContext: {body}"))), format!("spec.securityContext.{said}"), "{body}");
    }
    specs(&[
        (
            "securityContext: {fsGroup: -1}",
            "securityContext.fsGroup: Invalid value: -1: must be between 0 and 2147483647, inclusive",
        ),
        (
            "securityContext: {supplementalGroups: [0, -1]}",
            "securityContext.supplementalGroups[1]: Invalid value: -1: must be between 0 and 2147483647, inclusive",
        ),
        (
            "securityContext: {supplementalGroupsPolicy: Some}",
            "securityContext.supplementalGroupsPolicy: Unsupported value: \"Some\": supported values: \"Merge\", \"Strict\"",
        ),
    ]);
    containers(&[
        (
            "securityContext: {allowPrivilegeEscalation: false, privileged: true}",
            "securityContext: Invalid value: \"\": cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
        ),
        (
            "securityContext: {allowPrivilegeEscalation: false, capabilities: {add: [SYS_ADMIN]}}",
            "securityContext: Invalid value: \"\": cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN",
        ),
    ]);
    let good = "securityContext: {runAsUser: 0, runAsNonRoot: true, capabilities: {add: [NET_ADMIN], drop: [ALL]}, readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, seccompProfile: {type: Localhost, localhostProfile: profiles/a.json}}";
    assert_eq!(verdict(&with_container(good)), "ok");
}
