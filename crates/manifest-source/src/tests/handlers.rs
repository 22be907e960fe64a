//! Probes and hooks: what is filled in, and what is refused in which words.

use crate::defaults;
use crate::field_path::Findings;
use crate::validate;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

fn defaulted(spec: Value) -> Pod {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default"}, "spec": spec
    });
    let mut pod: Pod = serde_json::from_value(pod).unwrap();
    defaults::fill_in(&mut pod);
    pod
}

/// What is wrong with a spec, a line each.
fn judged(spec: Value) -> String {
    let mut findings = Findings::default();
    validate::pod(&defaulted(spec), "n1", &mut findings);
    let lines = findings
        .into_errors()
        .into_iter()
        .map(|error| error.to_string());
    lines.collect::<Vec<_>>().join("\n")
}

/// Each set of fields of a container with a port `web` is refused with this path below the container and this message.
fn containers(cases: &[(Value, &str)]) {
    for (fields, said) in cases {
        let mut container =
            json!({"name": "c", "image": "i:1", "ports": [{"name": "web", "containerPort": 80}]});
        let more = fields.as_object().unwrap().clone();
        container.as_object_mut().unwrap().extend(more);
        let expected: Vec<_> = said
            .lines()
            .map(|line| format!("spec.containers[0].{line}"))
            .collect();
        let judged = judged(json!({"containers": [container]}));
        assert_eq!(judged, expected.join("\n"), "{fields}");
    }
}

fn probe(more: Value) -> Value {
    let mut probe = json!({"exec": {"command": ["true"]}});
    probe
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    probe
}

#[test]
fn a_probe_has_the_api_servers_defaults() {
    let http = json!({"httpGet": {"port": 80}, "periodSeconds": 0});
    let grpc = json!({"grpc": {"port": 80}, "timeoutSeconds": 7, "initialDelaySeconds": 3});
    let hook = json!({"preStop": {"httpGet": {"port": 80, "path": "/end"}}});
    let pod = defaulted(json!({"containers": [
        {"name": "c", "image": "i:1", "livenessProbe": http, "readinessProbe": grpc, "lifecycle": hook}
    ]}));
    let container = serde_json::to_value(&pod.spec.unwrap().containers[0]).unwrap();
    assert_eq!(
        container["livenessProbe"],
        json!({
            "httpGet": {"path": "/", "port": 80, "scheme": "HTTP"},
            "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3
        })
    );
    assert_eq!(
        container["readinessProbe"],
        json!({
            "grpc": {"port": 80, "service": ""}, "initialDelaySeconds": 3,
            "timeoutSeconds": 7, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3
        })
    );
    let hook = json!({"preStop": {"httpGet": {"path": "/end", "port": 80, "scheme": "HTTP"}}});
    assert_eq!(container["lifecycle"], hook);
}

#[test]
fn what_a_probe_may_say() {
    containers(&[
        (json!({"livenessProbe": probe(json!({}))}), ""),
        (
            json!({"readinessProbe": probe(json!({"successThreshold": 3}))}),
            "",
        ),
        (json!({"startupProbe": {"tcpSocket": {"port": "web"}}}), ""),
        (
            json!({"readinessProbe": {"httpGet": {"port": 8080, "host": "fd00::1", "httpHeaders": [{"name": "X-A", "value": "b"}]}}}),
            "",
        ),
        (
            json!({"livenessProbe": probe(json!({"terminationGracePeriodSeconds": 1}))}),
            "",
        ),
        (
            json!({"livenessProbe": {}}),
            "livenessProbe: Required value: must specify a handler type",
        ),
        (
            json!({"livenessProbe": {"exec": {"command": ["a"]}, "httpGet": {"port": 80}, "tcpSocket": {"port": 80}}}),
            "livenessProbe.httpGet: Forbidden: may not specify more than 1 handler type\n\
             livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type",
        ),
        (
            json!({"livenessProbe": {"exec": {}}}),
            "livenessProbe.exec.command: Required value",
        ),
        (
            json!({"readinessProbe": probe(json!({
                "initialDelaySeconds": -1, "timeoutSeconds": -2, "periodSeconds": -3, "successThreshold": -4, "failureThreshold": -5
            }))}),
            "readinessProbe.initialDelaySeconds: Invalid value: -1: must be greater than or equal to 0\n\
             readinessProbe.timeoutSeconds: Invalid value: -2: must be greater than or equal to 0\n\
             readinessProbe.periodSeconds: Invalid value: -3: must be greater than or equal to 0\n\
             readinessProbe.successThreshold: Invalid value: -4: must be greater than or equal to 0\n\
             readinessProbe.failureThreshold: Invalid value: -5: must be greater than or equal to 0",
        ),
        (
            json!({"livenessProbe": probe(json!({"successThreshold": 2}))}),
            "livenessProbe.successThreshold: Invalid value: 2: must be 1",
        ),
        (
            json!({"startupProbe": probe(json!({"successThreshold": 2}))}),
            "startupProbe.successThreshold: Invalid value: 2: must be 1",
        ),
        (
            json!({"livenessProbe": probe(json!({"terminationGracePeriodSeconds": 0}))}),
            "livenessProbe.terminationGracePeriodSeconds: Invalid value: 0: must be greater than 0",
        ),
        (
            json!({"readinessProbe": probe(json!({"terminationGracePeriodSeconds": 5}))}),
            "readinessProbe.terminationGracePeriodSeconds: Invalid value: 5: must not be set for readinessProbes",
        ),
    ]);
}

#[test]
fn where_a_probe_may_go() {
    let http = |get: Value| json!({"livenessProbe": {"httpGet": get}});
    containers(&[
        (
            http(json!({"port": 0})),
            "livenessProbe.httpGet.port: Invalid value: 0: must be between 1 and 65535, inclusive",
        ),
        (
            json!({"livenessProbe": {"tcpSocket": {"port": 65536}}}),
            "livenessProbe.tcpSocket.port: Invalid value: 65536: must be between 1 and 65535, inclusive",
        ),
        (
            json!({"livenessProbe": {"grpc": {"port": -1}}}),
            "livenessProbe.grpc.port: Invalid value: -1: must be between 1 and 65535, inclusive",
        ),
        (
            http(json!({"port": "other"})),
            "livenessProbe.httpGet.port: Not found: \"other\"",
        ),
        (
            http(json!({"port": "8080"})),
            "livenessProbe.httpGet.port: Invalid value: \"8080\": must contain at least one letter (a-z)",
        ),
        (
            http(json!({"port": "web", "scheme": "http"})),
            "livenessProbe.httpGet.scheme: Unsupported value: \"http\": supported values: \"HTTP\", \"HTTPS\"",
        ),
        (
            http(json!({"port": "web", "host": "a/b"})),
            "livenessProbe.httpGet.host: Invalid value: \"a/b\": must be a host name or an IP address",
        ),
        (
            http(json!({"port": "web", "httpHeaders": [{"name": "X A", "value": ""}]})),
            "livenessProbe.httpGet.httpHeaders: Invalid value: \"X A\": a valid HTTP header must consist of alphanumeric characters or '-' \
             (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')",
        ),
        (
            http(json!({"port": "web", "httpHeaders": [{"name": "X-A", "value": "a\r\nX-B: c"}]})),
            "livenessProbe.httpGet.httpHeaders: Invalid value: \"a\\r\\nX-B: c\": must not contain control characters",
        ),
    ]);
}

#[test]
fn what_a_hook_may_say() {
    let hook = |handler: Value| json!({"lifecycle": {"postStart": handler}});
    containers(&[
        (hook(json!({"exec": {"command": ["a"]}})), ""),
        (hook(json!({"sleep": {"seconds": 0}})), ""),
        (hook(json!({"sleep": {"seconds": 30}})), ""),
        (hook(json!({"httpGet": {"port": "web"}})), ""),
        (json!({"lifecycle": {}}), ""),
        (
            hook(json!({})),
            "lifecycle.postStart: Required value: must specify a handler type",
        ),
        (
            hook(json!({"sleep": {"seconds": 31}})),
            "lifecycle.postStart.sleep: Invalid value: 31: must be non-negative and less than terminationGracePeriodSeconds (30)",
        ),
        (
            json!({"lifecycle": {"preStop": {"sleep": {"seconds": -1}}}}),
            "lifecycle.preStop.sleep: Invalid value: -1: must be non-negative and less than terminationGracePeriodSeconds (30)",
        ),
        (
            json!({"lifecycle": {"preStop": {"exec": {"command": ["a"]}, "sleep": {"seconds": 1}}}}),
            "lifecycle.preStop.sleep: Forbidden: may not specify more than 1 handler type",
        ),
    ]);
}

#[test]
fn an_init_container_that_has_to_end_has_no_probes() {
    let main = json!([{"name": "c", "image": "i:1"}]);
    let init = |policy: Value| {
        let init = json!({
            "name": "s", "image": "i:1", "restartPolicy": policy, "lifecycle": {"preStop": {"sleep": {"seconds": 1}}},
            "livenessProbe": probe(json!({})), "startupProbe": probe(json!({}))
        });
        judged(json!({"containers": main.clone(), "initContainers": [init]}))
    };
    assert_eq!(init(json!("Always")), "");
    assert_eq!(
        init(Value::Null),
        "spec.initContainers[0].lifecycle: Forbidden: may not be set for init containers without restartPolicy=Always\n\
         spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always\n\
         spec.initContainers[0].startupProbe: Forbidden: may not be set for init containers without restartPolicy=Always"
    );
    assert_eq!(init(json!("Never")), init(Value::Null));
}

#[test]
fn what_a_container_says_of_its_restarts() {
    let rule = |codes: Value| json!([{"action": "Restart", "exitCodes": codes}]);
    let with =
        |policy: &str, rules: Value| json!({"restartPolicy": policy, "restartPolicyRules": rules});
    containers(&[
        (json!({"restartPolicy": "OnFailure"}), ""),
        (
            with("Never", rule(json!({"operator": "In", "values": [3]}))),
            "",
        ),
        (
            json!({"restartPolicy": "Sometimes"}),
            "restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"Never\", \"OnFailure\"",
        ),
        (
            json!({"restartPolicyRules": rule(json!({"operator": "In", "values": [3]}))}),
            "restartPolicy: Required value: must specify restartPolicy when restart rules are used",
        ),
        (
            with(
                "Never",
                rule(json!({"operator": "Among", "values": vec![1; 256]})),
            ),
            "restartPolicyRules[0].exitCodes.operator: Unsupported value: \"Among\": supported values: \"In\", \"NotIn\"\n\
             restartPolicyRules[0].exitCodes.values: Too many: 256: must have at most 255 items",
        ),
        (
            json!({"restartPolicy": "Always", "restartPolicyRules": [
                {"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [88]}},
            ]}),
            "",
        ),
        (
            with(
                "Never",
                json!([{"action": "RestartPod", "exitCodes": {"operator": "In", "values": [88]}}]),
            ),
            "restartPolicyRules[0].action: Unsupported value: \"RestartPod\": supported values: \"Restart\", \"RestartAllContainers\"",
        ),
        (
            with("Never", json!([{"action": "Restart"}])),
            "restartPolicyRules[0].exitCodes: Required value: must be specified",
        ),
    ]);
}

#[test]
fn a_stop_signal_is_one_of_linux() {
    let judge = |signal: &str, os: Value| {
        judged(
            json!({"os": os, "containers": [{"name": "c", "image": "i:1", "lifecycle": {"stopSignal": signal}}]}),
        )
    };
    let linux = || json!({"name": "linux"});
    for signal in [
        "SIGUSR1",
        "SIGXFSZ",
        "SIGRTMIN",
        "SIGRTMIN+15",
        "SIGRTMAX-14",
    ] {
        assert_eq!(judge(signal, linux()), "", "{signal}");
    }
    for signal in ["USR1", "15", "SIGRTMIN+16", "SIGRTMAX-0"] {
        let said = judge(signal, linux());
        let expected = format!(
            "spec.containers[0].lifecycle.stopSignal: Unsupported value: {signal:?}: supported values: "
        );
        assert!(said.starts_with(&expected), "{said}");
    }
    assert_eq!(
        judge("SIGUSR1", Value::Null),
        "spec.containers[0].lifecycle.stopSignal: Forbidden: may not be set for containers with empty `spec.os.name`"
    );
}

#[test]
fn deadlines_and_gates() {
    let main = json!([{"name": "c", "image": "i:1"}]);
    for (key, value, said) in [
        ("activeDeadlineSeconds", json!(1), ""),
        (
            "activeDeadlineSeconds",
            json!(0),
            "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive",
        ),
        (
            "readinessGates",
            json!([{"conditionType": "example.org/up"}]),
            "",
        ),
        (
            "readinessGates",
            json!([{"conditionType": "a/"}]),
            "spec.readinessGates[0].conditionType: Invalid value: \"a/\": name part must be non-empty",
        ),
    ] {
        let mut spec = json!({"containers": main.clone()});
        spec[key] = value;
        assert_eq!(judged(spec), said);
    }
}
