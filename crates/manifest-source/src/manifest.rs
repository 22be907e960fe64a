//! The text of one file: its documents, its lists, its pods.
//!
//! A file is believed as a whole or not at all. One bad document among good ones would otherwise be taken for a pod that somebody
//! removed, and a half-obeyed file is harder to explain than one that waits to be mended.

use crate::admit::admit;
use crate::identity::Origin;
use crate::problem::Problem;
use located_yaml::{Kind, Node, Place};
use pod_model::AdmittedPod;

/// Pods of one file. A kubelet's `maxPods` is 110; this only keeps one file from being a flood.
const MAX_PODS: usize = 1_000;

/// Reads every `v1` Pod, `List` and `PodList` of a manifest's text.
///
/// # Errors
/// Everything that is wrong in any document of it, with line and field.
pub fn read_manifest(text: &str, origin: &Origin<'_>) -> Result<Vec<AdmittedPod>, Vec<Problem>> {
    let file = origin.file;
    if text.trim_start_matches('\u{feff}').trim().is_empty() {
        let message = "the file is empty; to remove its pods, delete it";
        return Err(vec![Problem::of_file(file, message)]);
    }
    let documents = located_yaml::read(text)
        .map_err(|e| vec![Problem::at(file, e.at, String::new(), e.message)])?;
    let mut reading = Reading {
        origin,
        pods: Vec::new(),
        problems: Vec::new(),
    };
    for document in &documents {
        reading.object(document, "");
    }
    if reading.problems.is_empty() {
        Ok(reading.pods)
    } else {
        Err(reading.problems)
    }
}

struct Reading<'o> {
    origin: &'o Origin<'o>,
    pods: Vec<AdmittedPod>,
    problems: Vec<Problem>,
}

impl Reading<'_> {
    /// One object; `prefix` is where it stands in its document (`items[3]`).
    fn object(&mut self, node: &Node, prefix: &str) {
        if !matches!(node.kind, Kind::Map(_)) {
            let message = format!("expected an object, found {}", node.describe());
            return self.say(node.at, prefix, "", message);
        }
        let version = text_of(node, "apiVersion");
        let kind = text_of(node, "kind");
        match (version, kind) {
            ("v1", "Pod") => self.pod(node, prefix),
            ("v1", "PodList") if prefix.is_empty() => self.list(node, true),
            ("v1", "List") if prefix.is_empty() => self.list(node, false),
            ("", _) => self.say(node.at, prefix, "apiVersion", "Required value".to_owned()),
            (_, "") => self.say(node.at, prefix, "kind", "Required value".to_owned()),
            (version, kind) => {
                let message = format!(
                    "{kind:?} of {version:?} is not supported by this node: it runs \"Pod\" of \"v1\", alone or in a \"List\""
                );
                self.say(node.locate("kind"), prefix, "kind", message);
            }
        }
    }

    fn list(&mut self, node: &Node, of_pods: bool) {
        for entry in node.entries() {
            match (entry.key.as_str(), &entry.value.kind) {
                ("apiVersion" | "kind", _) => {}
                // `resourceVersion: ""` and the like: nothing in it is about a pod.
                ("metadata", Kind::Map(_) | Kind::Null) => {}
                ("items", Kind::List(items)) => {
                    for (index, item) in items.iter().enumerate() {
                        let prefix = format!("items[{index}]");
                        // The items of a typed list need not say their type.
                        if of_pods && item.get("kind").is_none() && item.get("apiVersion").is_none()
                        {
                            self.pod(item, &prefix);
                        } else {
                            self.object(item, &prefix);
                        }
                    }
                }
                ("items", Kind::Null) => {}
                ("items" | "metadata", _) => {
                    let message = format!("unexpected {}", entry.value.describe());
                    self.say(entry.key_at, "", &entry.key, message);
                }
                _ => self.say(entry.key_at, "", &entry.key, "unknown field".to_owned()),
            }
        }
    }

    fn pod(&mut self, node: &Node, prefix: &str) {
        if self.pods.len() >= MAX_PODS {
            let message = format!("a file may not have more than {MAX_PODS} pods");
            return self.say(node.at, prefix, "", message);
        }
        match admit(node.to_json(), self.origin) {
            Ok(pod) => self.pods.push(pod),
            Err(errors) => {
                for error in errors {
                    self.say(node.locate(&error.path), prefix, &error.path, error.message);
                }
            }
        }
    }

    fn say(&mut self, at: Place, prefix: &str, path: &str, message: String) {
        let dot = if prefix.is_empty() || path.is_empty() {
            ""
        } else {
            "."
        };
        // A broken list of a thousand pods need not be told a thousand times.
        if self.problems.len() < 100 {
            let path = format!("{prefix}{dot}{path}");
            self.problems
                .push(Problem::at(self.origin.file, at, path, message));
        }
    }
}

fn text_of<'n>(node: &'n Node, key: &str) -> &'n str {
    node.get(key).and_then(Node::as_text).unwrap_or_default()
}
