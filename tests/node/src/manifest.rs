//! Manifests as tests write them: a pod with a name, containers of busybox, and any field by its path.

use serde_json::{Value, json};

/// The image that [`crate::Node::start`] loads.
pub const BUSYBOX: &str = "localhost/busybox:1";

#[derive(Clone, Debug)]
pub struct Manifest {
    pub value: Value,
}

/// A pod without containers that gives its containers one second to end.
pub fn pod(name: &str) -> Manifest {
    Manifest {
        value: json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name},
            "spec": {"terminationGracePeriodSeconds": 1, "containers": []},
        }),
    }
}

/// A container of busybox that runs a script. The script is PID 1's: it dies by TERM only if it traps it.
pub fn sh(name: &str, script: &str) -> Value {
    json!({"name": name, "image": BUSYBOX, "command": ["/bin/sh", "-c", script]})
}

/// A container that does nothing until it is told to end, and then ends at once with 0.
pub fn idle(name: &str) -> Value {
    sh(
        name,
        "trap 'exit 0' TERM; while :; do sleep 3600 & wait $!; done",
    )
}

impl Manifest {
    pub fn name(&self) -> &str {
        self.value["metadata"]["name"].as_str().unwrap_or_default()
    }

    pub fn container(mut self, container: Value) -> Self {
        if let Some(list) = self.value["spec"]["containers"].as_array_mut() {
            list.push(container);
        }
        self
    }

    pub fn init(mut self, container: Value) -> Self {
        let spec = &mut self.value["spec"];
        if spec["initContainers"].is_null() {
            spec["initContainers"] = json!([]);
        }
        if let Some(list) = spec["initContainers"].as_array_mut() {
            list.push(container);
        }
        self
    }

    /// A field of the metadata.
    pub fn meta(mut self, field: &str, value: Value) -> Self {
        self.value["metadata"][field] = value;
        self
    }

    /// A field of the spec.
    pub fn spec(mut self, field: &str, value: Value) -> Self {
        self.value["spec"][field] = value;
        self
    }

    /// A field of the container that was added last.
    pub fn with(mut self, field: &str, value: Value) -> Self {
        if let Some(last) = self.value["spec"]["containers"]
            .as_array_mut()
            .and_then(|list| list.last_mut())
        {
            last[field] = value;
        }
        self
    }

    pub fn once(self) -> Self {
        self.spec("restartPolicy", json!("Never"))
    }

    /// As text: JSON, which YAML is a superset of.
    pub fn text(&self) -> String {
        format!("{:#}\n", self.value)
    }
}
