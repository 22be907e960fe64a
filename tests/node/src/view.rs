//! What the node says of a pod, read by name.

use serde_json::Value;

#[derive(Debug, Clone)]
pub struct PodView {
    pub value: Value,
}

impl PodView {
    pub fn uid(&self) -> &str {
        self.value["metadata"]["uid"].as_str().unwrap_or_default()
    }
    pub fn phase(&self) -> &str {
        self.value["status"]["phase"].as_str().unwrap_or_default()
    }
    /// Why the whole pod is as it is.
    pub fn reason(&self) -> &str {
        self.value["status"]["reason"].as_str().unwrap_or_default()
    }
    pub fn ip(&self) -> &str {
        self.value["status"]["podIP"].as_str().unwrap_or_default()
    }
    pub fn condition(&self, kind: &str) -> Option<&str> {
        self.value["status"]["conditions"]
            .as_array()?
            .iter()
            .find(|condition| condition["type"] == kind)?["status"]
            .as_str()
    }
    /// Running, and every container ready.
    pub fn is_ready(&self) -> bool {
        self.phase() == "Running" && self.condition("Ready") == Some("True")
    }
    /// A container of any kind by name. Panics if the status has none: use it once the pod was seen to have one.
    #[track_caller]
    pub fn container(&self, name: &str) -> ContainerView<'_> {
        self.try_container(name)
            .unwrap_or_else(|| panic!("no status of container {name}: {:#}", self.value["status"]))
    }
    pub fn try_container(&self, name: &str) -> Option<ContainerView<'_>> {
        let lists = [
            "containerStatuses",
            "initContainerStatuses",
            "ephemeralContainerStatuses",
        ];
        lists
            .into_iter()
            .filter_map(|list| self.value["status"][list].as_array())
            .flatten()
            .find(|status| status["name"] == name)
            .map(|value| ContainerView { value })
    }
}

#[derive(Debug, Clone, Copy)]
pub struct ContainerView<'a> {
    pub value: &'a Value,
}

impl<'a> ContainerView<'a> {
    pub fn restarts(&self) -> u64 {
        self.value["restartCount"].as_u64().unwrap_or_default()
    }
    /// `coracle://…` without its scheme.
    pub fn id(&self) -> &'a str {
        let uri = self.value["containerID"].as_str().unwrap_or_default();
        uri.split_once("://").map_or("", |(_, id)| id)
    }
    pub fn is_running(&self) -> bool {
        self.value["state"]["running"].is_object()
    }
    /// The reason while it waits, as `ImagePullBackOff`.
    pub fn waiting(&self) -> &'a str {
        self.value["state"]["waiting"]["reason"]
            .as_str()
            .unwrap_or_default()
    }
    pub fn message(&self) -> String {
        ["waiting", "terminated"]
            .into_iter()
            .filter_map(|state| self.value["state"][state]["message"].as_str())
            .collect()
    }
    pub fn ended(&self) -> Option<Ended<'a>> {
        Ended::of(&self.value["state"]["terminated"])
    }
    pub fn ended_before(&self) -> Option<Ended<'a>> {
        Ended::of(&self.value["lastState"]["terminated"])
    }
}

#[derive(Debug, Clone, Copy)]
pub struct Ended<'a> {
    pub value: &'a Value,
}

impl<'a> Ended<'a> {
    fn of(value: &'a Value) -> Option<Self> {
        value.is_object().then_some(Self { value })
    }
    pub fn exit_code(&self) -> i64 {
        self.value["exitCode"].as_i64().unwrap_or(-1)
    }
    pub fn reason(&self) -> &'a str {
        self.value["reason"].as_str().unwrap_or_default()
    }
    pub fn message(&self) -> &'a str {
        self.value["message"].as_str().unwrap_or_default()
    }
}
