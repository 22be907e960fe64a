//! Finding the pod and the container that a person means.

use crate::agent::{Agent, path};
use crate::error::ClientError;
use crate::output::complain;
use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;

/// All pods of the node, as the agent sent them.
pub(crate) async fn all_pods(agent: &Agent) -> Result<Vec<Value>, ClientError> {
    let list: Value = agent.get(&path(&["pods"], &[])).await?;
    Ok(items(list))
}

/// The items of a `v1` list.
pub(crate) fn items(mut list: Value) -> Vec<Value> {
    match list.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    }
}

pub(crate) fn parse(value: &Value) -> Result<Pod, ClientError> {
    serde_json::from_value(value.clone()).map_err(|e| ClientError::Answer(e.to_string()))
}

pub(crate) fn namespace_of(object: &Value) -> &str {
    object["metadata"]["namespace"].as_str().unwrap_or_default()
}

pub(crate) fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// The pod of this name: its own, or its manifest's, which lacks the node's name at the end. `pod/` before it is understood.
pub(crate) fn find<'a>(
    pods: &'a [Value],
    namespace: &str,
    name: &str,
) -> Result<&'a Value, ClientError> {
    let name = ["pod/", "pods/", "po/"]
        .iter()
        .find_map(|prefix| name.strip_prefix(prefix))
        .unwrap_or(name);
    let here = || pods.iter().filter(|p| namespace_of(p) == namespace);
    let of_manifest = |pod: &&Value| {
        let node = pod["spec"]["nodeName"].as_str().unwrap_or_default();
        let own = name_of(pod)
            .strip_suffix(node)
            .and_then(|n| n.strip_suffix('-'));
        !node.is_empty() && own == Some(name)
    };
    here()
        .find(|pod| name_of(pod) == name)
        .or_else(|| here().find(of_manifest))
        .ok_or_else(|| ClientError::not_found("pods", name))
}

/// The pod that a command is about.
pub(crate) async fn one_pod(
    agent: &Agent,
    namespace: &str,
    name: &str,
) -> Result<Pod, ClientError> {
    let pods = all_pods(agent).await?;
    parse(find(&pods, namespace, name)?)
}

/// Names of a pod's containers in kubectl's order, with what kind they are.
pub(crate) fn containers(pod: &Pod) -> Vec<(String, &'static str)> {
    let spec = pod.spec.as_ref();
    let main = spec.map(|s| s.containers.as_slice()).unwrap_or_default();
    let init = spec
        .and_then(|s| s.init_containers.as_deref())
        .unwrap_or_default();
    let ephemeral = spec
        .and_then(|s| s.ephemeral_containers.as_deref())
        .unwrap_or_default();
    main.iter()
        .map(|c| (c.name.clone(), ""))
        .chain(ephemeral.iter().map(|c| (c.name.clone(), " (ephem)")))
        .chain(init.iter().map(|c| (c.name.clone(), " (init)")))
        .collect()
}

/// The container that was named, or the one that is meant when none is; which one, is said if there are others.
pub(crate) fn container(pod: &Pod, named: Option<&str>) -> Result<String, ClientError> {
    let all = containers(pod);
    let pod_name = pod.metadata.name.as_deref().unwrap_or_default();
    if let Some(named) = named {
        return match all.iter().find(|(name, _)| name == named) {
            Some((name, _)) => Ok(name.clone()),
            None => Err(ClientError::Said(format!(
                "container {named} not found in pod {pod_name}"
            ))),
        };
    }
    let annotated = pod
        .metadata
        .annotations
        .as_ref()
        .and_then(|a| a.get("kubectl.kubernetes.io/default-container"))
        .filter(|name| all.iter().any(|(known, _)| known == *name));
    if let Some(name) = annotated {
        return Ok(name.clone());
    }
    let Some((first, _)) = all.first() else {
        return Err(ClientError::Said(format!(
            "pod {pod_name} has no containers"
        )));
    };
    if let Some(line) = defaulted(first, &all) {
        complain(&line);
    }
    Ok(first.clone())
}

fn defaulted(first: &str, all: &[(String, &str)]) -> Option<String> {
    let names: Vec<_> = all
        .iter()
        .map(|(name, kind)| format!("{name}{kind}"))
        .collect();
    let list = names.join(", ");
    (all.len() > 1).then(|| format!("Defaulted container \"{first}\" out of: {list}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(namespace: &str, name: &str) -> Value {
        json!({
            "metadata": { "name": name, "namespace": namespace },
            "spec": { "nodeName": "node-1", "containers": [{ "name": "a" }, { "name": "b" }], "initContainers": [{ "name": "c" }] },
        })
    }

    #[test]
    fn a_pod_is_found_by_its_name_or_its_manifests() {
        let pods = [
            pod("default", "hello-node-1"),
            pod("other", "hello-node-1"),
            pod("default", "both-node-1"),
            pod("default", "both"),
        ];
        for (namespace, name, want) in [
            ("default", "hello-node-1", Some(0)),
            ("default", "hello", Some(0)),
            ("default", "pod/hello", Some(0)),
            ("other", "hello", Some(1)),
            ("default", "both", Some(3)),
            ("default", "hell", None),
            ("default", "hello-node", None),
            ("nowhere", "hello", None),
        ] {
            let found = find(&pods, namespace, name);
            match want {
                Some(index) => assert_eq!(found.unwrap(), &pods[index], "{namespace}/{name}"),
                None => assert_eq!(
                    found.unwrap_err().to_string(),
                    format!("Error from server (NotFound): pods \"{name}\" not found")
                ),
            }
        }
    }

    #[test]
    fn the_first_container_is_meant_when_none_is_named() {
        let mut value = pod("default", "p");
        let parsed = parse(&value).unwrap();
        assert_eq!(
            defaulted("a", &containers(&parsed)).unwrap(),
            "Defaulted container \"a\" out of: a, b, c (init)"
        );
        assert_eq!(container(&parsed, None).unwrap(), "a");
        assert_eq!(container(&parsed, Some("c")).unwrap(), "c");
        let missing = container(&parsed, Some("x")).unwrap_err();
        assert_eq!(missing.to_string(), "error: container x not found in pod p");
        value["metadata"]["annotations"] =
            json!({ "kubectl.kubernetes.io/default-container": "b" });
        assert_eq!(container(&parse(&value).unwrap(), None).unwrap(), "b");
    }
}
