//! From text to trees: serde-saphyr parses, resolves scalars and aliases and keeps the budget; this visitor keeps the places.

use crate::node::{Entry, Kind, Node, Place};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Number;
use serde_saphyr::{Location, MessageFormatter, Spanned, UserMessageFormatter};
use std::fmt;

/// Mappings and lists inside one another. Kubernetes' deepest objects stay under 20.
const MAX_DEPTH: usize = 48;
/// Keys, values and items of one text, aliases expanded.
const MAX_NODES: usize = 100_000;
/// Documents in one text.
const MAX_DOCUMENTS: usize = 1_024;

/// Why a text is not YAML or JSON, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SyntaxError {
    pub at: Place,
    pub message: String,
}

/// Reads every document of `text`. Documents that hold nothing (only comments) are left out.
///
/// # Errors
/// The first place where the text is not YAML, repeats a key, or costs more than any manifest may.
pub fn read(text: &str) -> Result<Vec<Node>, SyntaxError> {
    let options = serde_saphyr::options! {
        legacy_octal_numbers: true,
        strict_booleans: false,
        with_snippet: false,
        emit_comments: false,
        reject_unsupported_tags: true,
        non_finite_float_policy: serde_saphyr::options::NonFiniteFloatPolicy::Reject,
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
            max_events: 3 * MAX_NODES,
            max_nodes: MAX_NODES,
            max_documents: MAX_DOCUMENTS,
            max_aliases: 1_000,
            max_anchors: 1_000,
            max_merge_keys: 1_000,
            max_recorded_anchor_events: MAX_NODES,
            max_recorded_anchor_bytes: 8 << 20,
            max_total_scalar_bytes: 8 << 20,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: MAX_NODES,
        },
    };
    let documents: Vec<Spanned<Tree>> =
        serde_saphyr::from_multiple_with_options(text, options).map_err(|e| syntax_error(&e))?;
    let nodes: Vec<Node> = documents.into_iter().map(Tree::into_node).collect();
    nodes.iter().try_for_each(refuse_twins)?;
    Ok(nodes)
}

/// Two keys may be spelt differently and yet be one text: `1: …` and `"1": …`.
fn refuse_twins(node: &Node) -> Result<(), SyntaxError> {
    match &node.kind {
        Kind::List(items) => items.iter().try_for_each(refuse_twins),
        Kind::Map(entries) => {
            let mut sorted: Vec<&Entry> = entries.iter().collect();
            sorted.sort_by(|a, b| (&a.key, a.key_at).cmp(&(&b.key, b.key_at)));
            if let Some(pair) = sorted.windows(2).find(|w| w[0].key == w[1].key) {
                return Err(SyntaxError {
                    at: pair[1].key_at,
                    message: format!(
                        "duplicate mapping key: {} not allowed here",
                        pair[1].key.escape_debug()
                    ),
                });
            }
            entries.iter().try_for_each(|e| refuse_twins(&e.value))
        }
        _ => Ok(()),
    }
}

fn place(location: Location) -> Place {
    Place {
        line: u32::try_from(location.line()).unwrap_or(u32::MAX),
        column: u32::try_from(location.column()).unwrap_or(u32::MAX),
    }
}

fn syntax_error(error: &serde_saphyr::Error) -> SyntaxError {
    SyntaxError {
        at: error.location().map(place).unwrap_or_default(),
        message: UserMessageFormatter
            .format_message(error.without_snippet())
            .replace(char::is_control, " "),
    }
}

/// A node on its way in; its own place is known to the [`Spanned`] around it.
struct Tree(Kind);

impl Tree {
    fn into_node(spanned: Spanned<Tree>) -> Node {
        Node {
            at: place(spanned.referenced),
            kind: spanned.value.0,
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor).map(Tree)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }
    fn visit_unit<E>(self) -> Result<Kind, E> {
        Ok(Kind::Null)
    }
    fn visit_none<E>(self) -> Result<Kind, E> {
        Ok(Kind::Null)
    }
    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<Kind, D::Error> {
        inner.deserialize_any(self)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Kind, E> {
        Ok(Kind::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Kind, E> {
        Ok(Kind::Number(value.into()))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Kind, E> {
        Ok(Kind::Number(value.into()))
    }
    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Kind, E> {
        Number::from_f64(value)
            .map(Kind::Number)
            .ok_or_else(|| E::custom("infinity and NaN are no values here"))
    }
    fn visit_str<E>(self, value: &str) -> Result<Kind, E> {
        Ok(Kind::Text(value.to_owned()))
    }
    fn visit_string<E>(self, value: String) -> Result<Kind, E> {
        Ok(Kind::Text(value))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Kind, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element::<Spanned<Tree>>()? {
            items.push(Tree::into_node(item));
        }
        Ok(Kind::List(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Kind, A::Error> {
        let mut entries: Vec<Entry> = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let value = map.next_value::<Spanned<Tree>>()?;
            entries.push(Entry {
                key: key.value,
                key_at: place(key.referenced),
                value: Tree::into_node(value),
            });
        }
        Ok(Kind::Map(entries))
    }
}
