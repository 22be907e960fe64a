use super::*;
use serde_json::json;

#[test]
fn a_pod_is_described_as_by_kubectl() {
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {
            "name": "hello-n", "namespace": "default", "uid": "u",
            "labels": { "app": "hello", "tier": "web" },
        },
        "spec": {
            "nodeName": "n", "priority": 0,
            "containers": [{
                "name": "main", "image": "demo:1", "command": ["/demo", "-v"],
                "ports": [{ "containerPort": 8080 }],
                "env": [{ "name": "A", "value": "b" }],
                "resources": { "limits": { "memory": "64Mi" } },
                "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
            }],
            "volumes": [{ "name": "data", "emptyDir": {} }],
            "tolerations": [{ "operator": "Exists", "effect": "NoExecute" }],
        },
        "status": {
            "phase": "Running", "hostIP": "10.0.0.1", "podIP": "10.88.0.2", "podIPs": [{ "ip": "10.88.0.2" }],
            "startTime": "2026-11-21T09:59:00Z", "qosClass": "Burstable",
            "conditions": [{ "type": "Initialized", "status": "True" }, { "type": "Ready", "status": "True" }],
            "containerStatuses": [{
                "name": "main", "ready": true, "restartCount": 1, "image": "demo:1", "imageID": "sha256:1",
                "containerID": "coracle://2",
                "state": { "running": { "startedAt": "2026-11-21T09:59:10Z" } },
                "lastState": { "terminated": {
                    "exitCode": 137, "reason": "OOMKilled", "signal": 9,
                    "startedAt": "2026-11-21T09:59:01Z", "finishedAt": "2026-11-21T09:59:09Z",
                } },
            }],
        },
    }))
    .unwrap();
    let event = |uid: &str, reason: &str, count: i32| -> Event {
        serde_json::from_value(json!({
            "metadata": {}, "involvedObject": { "uid": uid }, "type": "Normal", "reason": reason,
            "message": format!("{reason} it"), "count": count, "source": { "component": "kubelet" },
            "firstTimestamp": "2026-11-21T09:59:00Z", "lastTimestamp": "2026-11-21T09:59:50Z",
        }))
        .unwrap()
    };
    let events = [
        event("u", "Pulled", 1),
        event("other", "Killing", 1),
        event("u", "Started", 2),
    ];
    let text = describe(&pod, &events, "2026-11-21T10:00:00Z".parse().unwrap());
    let want = "\
Name:         hello-n
Namespace:    default
Priority:     0
Node:         n/10.0.0.1
Start Time:   Sat, 21 Nov 2026 09:59:00 +0000
Labels:       app=hello
              tier=web
Annotations:  <none>
Status:       Running
IP:           10.88.0.2
IPs:
  IP:  10.88.0.2
Containers:
  main:
    Container ID:  coracle://2
    Image:         demo:1
    Image ID:      sha256:1
    Port:          8080/TCP
    Host Port:     0/TCP
    Command:
      /demo
      -v
    State:          Running
      Started:      Sat, 21 Nov 2026 09:59:10 +0000
    Last State:     Terminated
      Reason:       OOMKilled
      Exit Code:    137
      Signal:       9
      Started:      Sat, 21 Nov 2026 09:59:01 +0000
      Finished:     Sat, 21 Nov 2026 09:59:09 +0000
    Ready:          True
    Restart Count:  1
    Limits:
      memory:  64Mi
    Environment:
      A:  b
    Mounts:
      /data from data (rw)
Conditions:
  Type          Status
  Initialized   True 
  Ready         True 
Volumes:
  data:
    Type:        EmptyDir (a temporary directory that shares a pod's lifetime)
    Medium:      
    SizeLimit:   <unset>
QoS Class:       Burstable
Node-Selectors:  <none>
Tolerations:     :NoExecute op=Exists
Events:
  Type    Reason   Age                From     Message
  ----    ------   ----               ----     -------
  Normal  Pulled   60s                kubelet  Pulled it
  Normal  Started  10s (x2 over 60s)  kubelet  Started it
";
    assert_eq!(text, want);
}

/// The lines of a description from one that begins with `from` to the one before `until`.
fn part(pod: Value, from: &str, until: &str) -> String {
    let pod: Pod = serde_json::from_value(pod).unwrap();
    let text = describe(&pod, &[], "2026-11-21T10:00:00Z".parse().unwrap());
    let lines = text.lines().skip_while(|line| !line.starts_with(from));
    let lines: Vec<&str> = lines.take_while(|line| !line.starts_with(until)).collect();
    lines.join("\n")
}

#[test]
fn probes_stand_between_resources_and_environment() {
    let pod = json!({
        "metadata": {"name": "p"},
        "spec": {"containers": [{
            "name": "main", "image": "demo:1",
            "resources": {"requests": {"cpu": "1"}},
            "livenessProbe": {"httpGet": {"path": "/healthz", "port": 8080}},
            "readinessProbe": {"exec": {"command": ["true"]}, "periodSeconds": 1},
            "startupProbe": {"grpc": {"port": 9}, "failureThreshold": 30},
        }]},
    });
    let want = "    Requests:
      cpu:        1
    Liveness:     http-get http://:8080/healthz delay=0s timeout=1s period=10s #success=1 #failure=3
    Readiness:    exec [true] delay=0s timeout=1s period=1s #success=1 #failure=3
    Startup:      grpc <pod>:9  delay=0s timeout=1s period=10s #success=1 #failure=30";
    assert_eq!(part(pod, "    Requests:", "    Environment:"), want);
}

#[test]
fn a_readiness_gate_has_the_status_of_its_condition() {
    let pod = json!({
        "metadata": {"name": "p"},
        "spec": {"containers": [], "readinessGates": [{"conditionType": "example.org/door"}, {"conditionType": "other"}]},
        "status": {"conditions": [{"type": "Ready", "status": "False"}, {"type": "example.org/door", "status": "True"}]},
    });
    let want = "Readiness Gates:
  Type               Status
  example.org/door   True 
  other              <none> ";
    assert_eq!(part(pod, "Readiness Gates:", "Conditions:"), want);
}

#[test]
fn a_sidecar_stands_with_the_init_containers_and_runs() {
    let status = |name: &str, state: Value| {
        json!({
            "name": name, "ready": true, "restartCount": 0, "image": "demo:1", "imageID": "sha256:1",
            "containerID": "coracle://2", "state": state,
        })
    };
    let pod = json!({
        "metadata": {"name": "p"},
        "spec": {
            "initContainers": [{"name": "side", "image": "demo:1", "restartPolicy": "Always"}],
            "containers": [{"name": "main", "image": "demo:1"}],
        },
        "status": {
            "initContainerStatuses": [status("side", json!({"running": {"startedAt": "2026-11-21T09:59:10Z"}}))],
            "containerStatuses": [status("main", json!({"waiting": {"reason": "PodInitializing"}}))],
        },
    });
    let want = "    State:          Running
      Started:      Sat, 21 Nov 2026 09:59:10 +0000
    Ready:          True
    Restart Count:  0";
    let init = part(pod, "Init Containers:", "Containers:");
    assert!(init.starts_with("Init Containers:\n  side:\n"), "{init}");
    assert!(init.contains(want), "{init}");
}
