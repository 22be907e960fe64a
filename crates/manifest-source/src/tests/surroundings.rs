//! What a pod says of the machine that it wants: its node, its system, settings of its kernel.

use super::validation::specs;
use super::{verdict, with_spec};

#[test]
fn what_a_pod_asks_of_its_node() {
    let required = "affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [TERMS]}}}";
    let path =
        "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms";
    for (terms, said) in [
        ("{}", "ok"),
        (
            "{matchExpressions: [{key: zone, operator: In, values: [a]}, {key: size, operator: Gt, values: ['7']}], matchFields: [{key: metadata.name, operator: In, values: [n1]}]}",
            "ok",
        ),
        (
            "",
            ": Required value: must have at least one node selector term",
        ),
        (
            "{matchExpressions: [{key: zone, operator: In}]}",
            "[0].matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
        ),
        (
            "{matchExpressions: [{key: zone, operator: Exists, values: [a]}]}",
            "[0].matchExpressions[0].values: Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
        ),
        (
            "{matchExpressions: [{key: zone, operator: Lt, values: ['1', '2']}]}",
            "[0].matchExpressions[0].values: Required value: must be specified single value when `operator` is 'Lt' or 'Gt'",
        ),
        (
            "{matchExpressions: [{key: /a, operator: Near}]}",
            "[0].matchExpressions[0].operator: Invalid value: \"Near\": not a valid selector operator\n[0].matchExpressions[0].key: Invalid value: \"/a\": prefix part must be non-empty",
        ),
        (
            "{matchFields: [{key: spec.x, operator: Exists}]}",
            "[0].matchFields[0].operator: Invalid value: \"Exists\": not a valid selector operator\n[0].matchFields[0].key: Invalid value: \"spec.x\": not a valid field selector key",
        ),
        (
            "{matchFields: [{key: metadata.name, operator: In}]}",
            "[0].matchFields[0].values: Required value: must be only one value when `operator` is 'In' or 'NotIn' for node field selector",
        ),
    ] {
        let lines = said.lines().map(|line| match line {
            "ok" => line.to_owned(),
            line => format!("spec.{path}{line}"),
        });
        let body = required.replace("TERMS", terms);
        let expected: Vec<String> = lines.collect();
        assert_eq!(verdict(&with_spec(&body)), expected.join("\n"), "{terms}");
    }
    specs(&[(
        "nodeSelector: {/a: b}",
        "nodeSelector: Invalid value: \"/a\": prefix part must be non-empty",
    )]);
}

#[test]
fn a_pod_of_another_system_says_nothing_of_linux() {
    specs(&[
        (
            "os: {name: plan9}",
            "os: Unsupported value: \"plan9\": supported values: \"linux\", \"windows\"",
        ),
        ("os: {name: ''}", "os.name: Required value"),
        (
            "os: {name: windows}\nhostPID: true\nsecurityContext: {runAsUser: 1}\ncontainers: [{name: c, image: i, securityContext: {privileged: true}}]",
            "hostPID: Forbidden: cannot be set for a windows pod\nsecurityContext.runAsUser: Forbidden: cannot be set for a windows pod\ncontainers[0].securityContext.privileged: Forbidden: cannot be set for a windows pod",
        ),
    ]);
}

#[test]
fn sysctls_have_names_and_namespaces_of_the_pod() {
    let regex = "must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
    let of = |name: &str| format!("securityContext: {{sysctls: [{{name: {name}, value: '1'}}]}}");
    for name in [
        "kernel.shm_rmid_forced",
        "net/ipv4/tcp_syncookies",
        "vm.swappiness",
    ] {
        assert_eq!(verdict(&with_spec(&of(name))), "ok", "{name}");
    }
    let twice = "securityContext: {sysctls: [{name: a, value: '1'}, {name: a, value: '2'}]}";
    specs(&[
        (&of("''"), "securityContext.sysctls[0].name: Required value"),
        (
            &of("../a"),
            &format!("securityContext.sysctls[0].name: Invalid value: \"../a\": {regex}"),
        ),
        (
            twice,
            "securityContext.sysctls[1].name: Duplicate value: \"a\"",
        ),
        (
            &format!("hostNetwork: true\n{}", of("net/ipv4/tcp_syncookies")),
            "securityContext.sysctls[0].name: Invalid value: \"net/ipv4/tcp_syncookies\": may not be specified when 'hostNetwork' is true",
        ),
        (
            &format!("hostIPC: true\n{}", of("kernel.shm_rmid_forced")),
            "securityContext.sysctls[0].name: Invalid value: \"kernel.shm_rmid_forced\": may not be specified when 'hostIPC' is true",
        ),
    ]);
}
