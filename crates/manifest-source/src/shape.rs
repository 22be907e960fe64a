//! Checks a manifest's value against the table of supported fields, before anything is decoded.
//!
//! After this every field that is left is one that the agent honours and has the type that the API gives it. A field that is not in the
//! table is refused by name: as unknown, with the nearest name that is known, or as one that Kubernetes knows and this agent does not.

use crate::field_path::{FieldPath, Findings};
use k8s_openapi::api::core::v1::Pod;
use located_yaml::{describe, nearest};
use serde_json::{Map, Value};

/// The type of a field's value.
#[derive(Clone, Copy)]
pub(crate) enum Shape {
    Text,
    Bool,
    Int32,
    Int64,
    /// A text or a number: `100m`, `1`.
    Quantity,
    /// A number, or the name of one: a port.
    IntOrName,
    List(&'static Shape),
    Map(&'static Shape),
    Object(&'static [Field]),
    /// Read by schedulers and clients only: checked for unknown names against the API's own types, kept, and not looked at.
    Foreign,
}

pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) rule: Rule,
}

pub(crate) enum Rule {
    /// Honoured.
    Yes(Shape),
    /// Honoured with this one value, which is what happens in any case. Otherwise the text says why not.
    Only(Shape, fn(&Value) -> bool, &'static str),
    /// Known, and refused for this reason.
    No(&'static str),
}

pub(crate) const fn yes(name: &'static str, shape: Shape) -> Field {
    Field {
        name,
        rule: Rule::Yes(shape),
    }
}
pub(crate) const fn only(
    name: &'static str,
    shape: Shape,
    accepted: fn(&Value) -> bool,
    otherwise: &'static str,
) -> Field {
    Field {
        name,
        rule: Rule::Only(shape, accepted, otherwise),
    }
}
pub(crate) const fn no(name: &'static str, why: &'static str) -> Field {
    Field {
        name,
        rule: Rule::No(why),
    }
}

/// Checks `value` against `fields` and brings it into the form that the API's types decode: quantities as texts, whole floats as
/// integers, nothing where `null` stood.
pub(crate) fn check(value: &mut Value, fields: &'static [Field], findings: &mut Findings) {
    let mut check = Check {
        findings,
        trail: Vec::new(),
    };
    check.value(value, &Shape::Object(fields), &FieldPath::Root);
}

struct Check<'f> {
    findings: &'f mut Findings,
    /// The way from the pod to the field in hand, for asking the API's types about it.
    trail: Vec<Hop>,
}

enum Hop {
    Key(String),
    Item,
}

impl Check<'_> {
    fn value(&mut self, value: &mut Value, shape: &Shape, path: &FieldPath<'_>) {
        match (shape, &mut *value) {
            // What ends a text for the kernel ends it nowhere else.
            (Shape::Text | Shape::IntOrName, Value::String(text)) if text.contains('\0') => {
                self.findings.say(path, "must not contain a NUL character");
            }
            (Shape::Text | Shape::IntOrName, Value::String(_)) | (Shape::Bool, Value::Bool(_)) => {}
            (Shape::Quantity, Value::String(_)) => {}
            (Shape::Quantity, Value::Number(number)) => *value = Value::String(number.to_string()),
            (Shape::Int32 | Shape::Int64 | Shape::IntOrName, Value::Number(number)) => {
                match whole(number) {
                    Some(n) if matches!(shape, Shape::Int64) || i32::try_from(n).is_ok() => {
                        *value = n.into();
                    }
                    _ => self
                        .findings
                        .say(path, format!("expected an integer, found {number}")),
                }
            }
            (Shape::List(item), Value::Array(items)) => {
                self.trail.push(Hop::Item);
                for (index, inner) in items.iter_mut().enumerate() {
                    self.value(inner, item, &path.index(index));
                }
                self.trail.pop();
            }
            (Shape::Map(item), Value::Object(map)) => {
                map.retain(|_, v| !v.is_null());
                for (key, inner) in map.iter_mut() {
                    self.trail.push(Hop::Key(key.clone()));
                    self.value(inner, item, &path.map_key(key));
                    self.trail.pop();
                }
            }
            (Shape::Object(fields), Value::Object(map)) => {
                map.retain(|_, v| !v.is_null());
                self.object(map, fields, path);
            }
            (Shape::Foreign, _) => self.foreign(value, path),
            _ => self.findings.say(path, mismatch(shape, value)),
        }
    }

    fn object(
        &mut self,
        map: &mut Map<String, Value>,
        fields: &'static [Field],
        path: &FieldPath<'_>,
    ) {
        for (key, value) in map.iter_mut() {
            let path = path.key(key);
            self.trail.push(Hop::Key(key.clone()));
            match fields.iter().find(|f| f.name == key).map(|f| &f.rule) {
                Some(Rule::Yes(shape)) => self.value(value, shape, &path),
                Some(Rule::Only(shape, accepted, otherwise)) => {
                    self.value(value, shape, &path);
                    if fits(shape, value) && !accepted(value) {
                        self.findings.say(&path, *otherwise);
                    }
                }
                Some(Rule::No(why)) => self.findings.say(&path, *why),
                None => {
                    let message = self.unlisted(key, value, fields);
                    self.findings.say(&path, message);
                }
            }
            self.trail.pop();
        }
    }

    /// What to say of a field that the table does not have.
    fn unlisted(&self, key: &str, value: &Value, fields: &'static [Field]) -> String {
        if self.api_knows(value) {
            return "not supported by this node".to_owned();
        }
        match nearest(key, fields.iter().map(|f| f.name)) {
            Some(guess) => format!("unknown field; did you mean {guess:?}?"),
            None => "unknown field".to_owned(),
        }
    }

    /// Whether the API's own types have a field at the end of the trail: a pod with nothing but this field is decoded, and it either
    /// comes out again or was at least tried.
    fn api_knows(&self, value: &Value) -> bool {
        let pod = self.wrap(value.clone());
        let Ok(decoded) = serde_json::from_value::<Pod>(pod) else {
            return true;
        };
        let encoded = serde_json::to_value(decoded).unwrap_or_default();
        self.unwrap(&encoded).is_some()
    }

    fn wrap(&self, value: Value) -> Value {
        self.trail.iter().rev().fold(value, |inner, hop| match hop {
            Hop::Item => Value::Array(vec![inner]),
            Hop::Key(key) => Value::Object([(key.clone(), inner)].into_iter().collect()),
        })
    }

    fn unwrap<'v>(&self, pod: &'v Value) -> Option<&'v Value> {
        self.trail.iter().try_fold(pod, |value, hop| match hop {
            Hop::Item => value.get(0),
            Hop::Key(key) => value.get(key),
        })
    }

    /// A subtree that only others read: nothing in it may be unknown to the API's types.
    fn foreign(&mut self, value: &mut Value, path: &FieldPath<'_>) {
        match serde_path_to_error::deserialize::<_, Pod>(self.wrap(value.clone())) {
            Err(e) => self.findings.say(path, e.into_inner().to_string()),
            Ok(decoded) => {
                let encoded = serde_json::to_value(decoded).unwrap_or_default();
                if let Some(understood) = self.unwrap(&encoded) {
                    unknown_within(value, understood, path, self.findings);
                }
            }
        }
    }
}

fn unknown_within(
    given: &mut Value,
    understood: &Value,
    path: &FieldPath<'_>,
    findings: &mut Findings,
) {
    match (given, understood) {
        (Value::Object(given), Value::Object(understood)) => {
            given.retain(|_, v| !v.is_null());
            for (key, inner) in given.iter_mut() {
                let path = path.key(key);
                match understood.get(key) {
                    Some(counterpart) => unknown_within(inner, counterpart, &path, findings),
                    None => findings.say(&path, "unknown field"),
                }
            }
        }
        (Value::Array(given), Value::Array(understood)) => {
            for (index, (inner, counterpart)) in given.iter_mut().zip(understood).enumerate() {
                unknown_within(inner, counterpart, &path.index(index), findings);
            }
        }
        _ => {}
    }
}

/// The integer that a number is, also when it was written `80.0`.
fn whole(number: &serde_json::Number) -> Option<i64> {
    number.as_i64().or_else(|| {
        let float = number.as_f64()?;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "within 2^53, checked just before"
        )]
        (float.fract() == 0.0 && float.abs() < 9.0e15).then_some(float as i64)
    })
}

fn fits(shape: &Shape, value: &Value) -> bool {
    match shape {
        Shape::Text | Shape::Quantity => value.is_string(),
        Shape::Bool => value.is_boolean(),
        Shape::Int32 | Shape::Int64 => value.is_i64(),
        Shape::IntOrName => value.is_i64() || value.is_string(),
        Shape::List(_) => value.is_array(),
        Shape::Map(_) | Shape::Object(_) => value.is_object(),
        Shape::Foreign => true,
    }
}

fn mismatch(shape: &Shape, value: &Value) -> String {
    let expected = match shape {
        Shape::Text => "a text",
        Shape::Bool => "true or false",
        Shape::Int32 | Shape::Int64 => "an integer",
        Shape::Quantity => "a quantity",
        Shape::IntOrName => "a number or a name",
        Shape::List(_) => "a list",
        Shape::Map(_) | Shape::Object(_) | Shape::Foreign => "a mapping",
    };
    let found = describe(value);
    let hint = match (shape, value) {
        (Shape::Text, Value::Number(_) | Value::Bool(_)) => "; put it in quotes",
        (Shape::Bool | Shape::Int32 | Shape::Int64, Value::String(_)) => "; take the quotes away",
        _ => "",
    };
    let mut message = format!("expected {expected}, found {found}");
    if message.len() > 200 {
        message = format!("expected {expected}, found a long text");
    }
    message + hint
}
