//! `get`: pods and events as tables or as they are.

use crate::agent::{Agent, path};
use crate::command::{Format, Get, Resource};
use crate::error::ClientError;
use crate::output::{self, complain};
use crate::select::{self, items, name_of, namespace_of};
use crate::{event_row, pod_row, tabs};
use http::Method;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use node_server::wire;
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(crate) async fn get(agent: &Agent, wanted: Get) -> Result<(), ClientError> {
    if wanted.watch {
        return watch(agent, &wanted).await;
    }
    let list: Value = agent.get(&list_path(wanted.resource, false)).await?;
    let chosen = choose(&wanted, items(list))?;
    show(&wanted, &chosen)
}

fn list_path(resource: Resource, watch: bool) -> String {
    let last = match resource {
        Resource::Pods => "pods",
        Resource::Events => "events",
    };
    let query: &[_] = if watch { &[("watch", "true")] } else { &[] };
    format!("{}{}", wire::PREFIX, path(&[last], query))
}

/// What was asked for, in the order in which it is shown.
fn choose(wanted: &Get, all: Vec<Value>) -> Result<Vec<Value>, ClientError> {
    let namespace = wanted.namespace.namespace.as_str();
    let mut chosen: Vec<Value> = if wanted.names.is_empty() {
        all.into_iter()
            .filter(|o| wanted.all_namespaces || namespace_of(o) == namespace)
            .collect()
    } else if wanted.all_namespaces {
        return Err(ClientError::Said(
            "a resource cannot be retrieved by name across all namespaces".to_owned(),
        ));
    } else if wanted.resource == Resource::Pods {
        let found = wanted
            .names
            .iter()
            .map(|name| select::find(&all, namespace, name));
        let found: Result<Vec<_>, _> = found.collect();
        return Ok(found?.into_iter().cloned().collect());
    } else {
        let is_named = |o: &&Value| wanted.names.iter().any(|name| name == name_of(o));
        let found: Vec<_> = all.iter().filter(is_named).cloned().collect();
        if let Some(missing) = wanted
            .names
            .iter()
            .find(|name| !found.iter().any(|o| name_of(o) == *name))
        {
            return Err(ClientError::not_found("events", missing));
        }
        found
    };
    if wanted.resource == Resource::Events {
        chosen.sort_by(|a, b| time_of(a).cmp(time_of(b)));
    }
    Ok(chosen)
}

/// Times of one form and zone sort as text.
fn time_of(event: &Value) -> &str {
    event["lastTimestamp"].as_str().unwrap_or_default()
}

fn show(wanted: &Get, chosen: &[Value]) -> Result<(), ClientError> {
    match wanted.output {
        Some(Format::Json) => output::print(&output::json(&whole(wanted, chosen))?),
        Some(Format::Yaml) => output::print(&output::yaml(&whole(wanted, chosen))?),
        _ if chosen.is_empty() => {
            if wanted.all_namespaces {
                complain("No resources found");
            } else {
                complain(&format!(
                    "No resources found in {} namespace.",
                    wanted.namespace.namespace
                ));
            }
            Ok(())
        }
        Some(Format::Name) => output::print(&names(wanted, chosen)),
        Some(Format::Wide) | None => {
            let mut rows = Vec::new();
            if !wanted.no_headers {
                rows.push(headings(wanted));
            }
            for object in chosen {
                rows.push(row(wanted, object, Timestamp::now())?);
            }
            output::print(&tabs::table(&rows, &mut Vec::new()))
        }
    }
}

/// One object that was named is itself; anything else is a list.
fn whole(wanted: &Get, chosen: &[Value]) -> Value {
    if let ([one], [_]) = (chosen, wanted.names.as_slice()) {
        return one.clone();
    }
    json!({ "apiVersion": "v1", "items": chosen, "kind": "List", "metadata": { "resourceVersion": "" } })
}

fn names(wanted: &Get, chosen: &[Value]) -> String {
    let kind = match wanted.resource {
        Resource::Pods => "pod",
        Resource::Events => "event",
    };
    chosen
        .iter()
        .map(|o| format!("{kind}/{}\n", name_of(o)))
        .collect()
}

fn is_wide(wanted: &Get) -> bool {
    wanted.output == Some(Format::Wide)
}

fn headings(wanted: &Get) -> Vec<String> {
    let mut headings = Vec::new();
    if wanted.all_namespaces {
        headings.push("NAMESPACE");
    }
    match wanted.resource {
        Resource::Pods => {
            headings.extend(pod_row::HEADINGS);
            if is_wide(wanted) {
                headings.extend(pod_row::WIDE_HEADINGS);
            }
        }
        Resource::Events if is_wide(wanted) => headings.extend(event_row::WIDE_HEADINGS),
        Resource::Events => headings.extend(event_row::HEADINGS),
    }
    headings.into_iter().map(str::to_owned).collect()
}

fn row(wanted: &Get, object: &Value, now: Timestamp) -> Result<Vec<String>, ClientError> {
    let cells = match wanted.resource {
        Resource::Pods => pod_row::row(&select::parse(object)?, is_wide(wanted), now),
        Resource::Events => {
            let event: Event = serde_json::from_value(object.clone())
                .map_err(|e| ClientError::Answer(e.to_string()))?;
            event_row::row(&event, is_wide(wanted), now)
        }
    };
    let mut row = Vec::new();
    if wanted.all_namespaces {
        row.push(namespace_of(object).to_owned());
    }
    row.extend(cells);
    Ok(row)
}

/// A row for each object that is new, changed or gone, for ever.
async fn watch(agent: &Agent, wanted: &Get) -> Result<(), ClientError> {
    let mut parts = agent
        .stream(Method::GET, &list_path(wanted.resource, true))
        .await?;
    let mut known: BTreeMap<String, Value> = BTreeMap::new();
    let mut widths = Vec::new();
    let mut headings_left = !wanted.no_headers;
    while let Some(list) = parts.line::<Value>().await? {
        // A name that is not there (any more) is no error of a watch.
        let chosen = match choose(wanted, items(list)) {
            Ok(chosen) => chosen,
            Err(ClientError::Server { .. }) if !known.is_empty() => Vec::new(),
            Err(e) => return Err(e),
        };
        let now: BTreeMap<String, Value> = chosen
            .into_iter()
            .map(|o| (format!("{}/{}", namespace_of(&o), name_of(&o)), o))
            .collect();
        let changed = now.iter().filter(|(key, o)| known.get(*key) != Some(*o));
        let gone = known.iter().filter(|(key, _)| !now.contains_key(*key));
        let changed: Vec<Value> = changed.chain(gone).map(|(_, o)| o.clone()).collect();
        known = now;
        match wanted.output {
            Some(Format::Json) => {
                for object in &changed {
                    output::print(&output::json(object)?)?;
                }
            }
            Some(Format::Yaml) => {
                for object in &changed {
                    output::print(&format!("---\n{}", output::yaml(object)?))?;
                }
            }
            Some(Format::Name) => output::print(&names(wanted, &changed))?,
            Some(Format::Wide) | None => {
                let mut rows = Vec::new();
                if std::mem::take(&mut headings_left) && !changed.is_empty() {
                    rows.push(headings(wanted));
                } else if changed.is_empty() && widths.is_empty() {
                    headings_left = !wanted.no_headers;
                }
                for object in &changed {
                    rows.push(row(wanted, object, Timestamp::now())?);
                }
                output::print(&tabs::table(&rows, &mut widths))?;
            }
        }
    }
    Err(ClientError::BrokenOff("it has ended".to_owned()))
}
