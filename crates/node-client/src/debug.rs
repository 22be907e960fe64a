//! `debug`: one more container in a pod that runs, with tools that its own containers do not have.

use crate::agent::{Agent, path};
use crate::command::Debug;
use crate::error::ClientError;
use crate::output::print;
use crate::select;
use node_server::wire::PREFIX;
use serde_json::{Value, json};
use std::hash::{BuildHasher, Hasher, RandomState};

/// Letters and digits of which no word is made, as in the names that an API server makes up.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
const NO_ATTACH: &str = "this node cannot attach to a container: leave -i and -t out, give the container something to do (-- sleep 1d), and run a shell in it with \"coracle exec -it POD -c NAME -- sh\"";

pub(crate) async fn debug(agent: &Agent, wanted: Debug) -> Result<(), ClientError> {
    if wanted.stdin || wanted.tty {
        return Err(ClientError::Said(NO_ATTACH.to_owned()));
    }
    let namespace = &wanted.namespace.namespace;
    let pod = select::one_pod(agent, namespace, &wanted.pod).await?;
    let pod_name = pod.metadata.name.clone().unwrap_or_default();
    let name = match &wanted.container {
        Some(name) => name.clone(),
        None => {
            let name = format!(
                "debugger-{}",
                suffix(RandomState::new().build_hasher().finish())
            );
            print(&format!("Defaulting debug container name to {name}.\n"))?;
            name
        }
    };
    let container = container(&wanted, &name)?;
    let path = path(&["ephemeralcontainers", namespace, &pod_name], &[]);
    agent.post(&format!("{PREFIX}{path}"), &container).await
}

fn container(wanted: &Debug, name: &str) -> Result<Value, ClientError> {
    let mut container = json!({"name": name, "image": wanted.image});
    if let Some(target) = &wanted.target {
        container["targetContainerName"] = json!(target);
    }
    if let Some(policy) = &wanted.image_pull_policy {
        container["imagePullPolicy"] = json!(policy);
    }
    if !wanted.command.is_empty() {
        container["command"] = json!(wanted.command);
    }
    let variables: Result<Vec<Value>, ClientError> =
        wanted.env.iter().map(|v| variable(v)).collect();
    let variables = variables?;
    if !variables.is_empty() {
        container["env"] = json!(variables);
    }
    Ok(container)
}

fn variable(text: &str) -> Result<Value, ClientError> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok(json!({"name": name, "value": value})),
        _ => Err(ClientError::Said(format!("invalid env: {text}"))),
    }
}

/// Five letters of a number.
fn suffix(mut number: u64) -> String {
    let base = ALPHABET.len() as u64;
    let letters = (0..5).map(|_| {
        let letter = ALPHABET[usize::try_from(number % base).unwrap_or(0)];
        number /= base;
        char::from(letter)
    });
    letters.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Namespace;

    #[test]
    fn what_is_asked_for_becomes_an_ephemeral_container() {
        let words = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect();
        let mut wanted = Debug {
            pod: "web".to_owned(),
            namespace: Namespace {
                namespace: "default".to_owned(),
            },
            image: "busybox".to_owned(),
            target: Some("app".to_owned()),
            container: None,
            env: words(&["A=b=c", "EMPTY="]),
            image_pull_policy: None,
            stdin: false,
            tty: false,
            command: words(&["sleep", "1d"]),
        };
        assert_eq!(
            container(&wanted, "debugger-x").unwrap(),
            json!({
                "name": "debugger-x", "image": "busybox", "targetContainerName": "app",
                "command": ["sleep", "1d"],
                "env": [{"name": "A", "value": "b=c"}, {"name": "EMPTY", "value": ""}],
            })
        );
        wanted.env = words(&["A"]);
        let error = container(&wanted, "x").unwrap_err();
        assert_eq!(error.to_string(), "error: invalid env: A");
    }

    #[test]
    fn a_made_up_name_is_a_good_name() {
        assert_eq!(suffix(0), "bbbbb");
        assert!(suffix(u64::MAX).bytes().all(|b| ALPHABET.contains(&b)));
    }
}
