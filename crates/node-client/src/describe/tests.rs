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
