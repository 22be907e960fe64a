//! The path of a field while validation walks down to it, printed as the API server prints it.

use pod_model::FieldError;
use std::fmt;

/// `spec.containers[0].image`, as a chain on the stack: walking down costs nothing, only an error is written out.
#[derive(Clone, Copy)]
pub(crate) enum FieldPath<'a> {
    Root,
    Key(&'a FieldPath<'a>, &'a str),
    Index(&'a FieldPath<'a>, usize),
    /// A key of a map that is data, not schema: `metadata.labels[app]`.
    MapKey(&'a FieldPath<'a>, &'a str),
}

impl<'a> FieldPath<'a> {
    pub(crate) fn key(&'a self, key: &'a str) -> FieldPath<'a> {
        FieldPath::Key(self, key)
    }
    pub(crate) fn index(&'a self, index: usize) -> FieldPath<'a> {
        FieldPath::Index(self, index)
    }
    pub(crate) fn map_key(&'a self, key: &'a str) -> FieldPath<'a> {
        FieldPath::MapKey(self, key)
    }
}

impl fmt::Display for FieldPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FieldPath::Root => Ok(()),
            FieldPath::Key(FieldPath::Root, key) => f.write_str(key),
            FieldPath::Key(parent, key) => write!(f, "{parent}.{key}"),
            FieldPath::Index(parent, index) => write!(f, "{parent}[{index}]"),
            FieldPath::MapKey(parent, key) => write!(f, "{parent}[{key}]"),
        }
    }
}

/// What was found wrong so far. A text repeats from the manifest only so much of a value as a person needs to find it.
#[derive(Default)]
pub(crate) struct Findings {
    errors: Vec<FieldError>,
}

/// More than this many mistakes in one pod are not listed.
const MAX_FINDINGS: usize = 32;

impl Findings {
    pub(crate) fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }
    pub(crate) fn into_errors(self) -> Vec<FieldError> {
        self.errors
    }
    pub(crate) fn say(&mut self, path: &FieldPath<'_>, message: impl Into<String>) {
        if self.errors.len() < MAX_FINDINGS {
            self.errors.push(FieldError {
                path: path.to_string(),
                message: message.into(),
            });
        }
    }
    pub(crate) fn required(&mut self, path: &FieldPath<'_>, detail: &str) {
        let colon = if detail.is_empty() { "" } else { ": " };
        self.say(path, format!("Required value{colon}{detail}"));
    }
    pub(crate) fn invalid(&mut self, path: &FieldPath<'_>, value: impl fmt::Debug, detail: &str) {
        self.say(path, format!("Invalid value: {}: {detail}", short(&value)));
    }
    pub(crate) fn unsupported(
        &mut self,
        path: &FieldPath<'_>,
        value: impl fmt::Debug,
        supported: &[&str],
    ) {
        let list: Vec<String> = supported.iter().map(|s| format!("{s:?}")).collect();
        self.say(
            path,
            format!(
                "Unsupported value: {}: supported values: {}",
                short(&value),
                list.join(", ")
            ),
        );
    }
    pub(crate) fn duplicate(&mut self, path: &FieldPath<'_>, value: impl fmt::Debug) {
        self.say(path, format!("Duplicate value: {}", short(&value)));
    }
    pub(crate) fn not_found(&mut self, path: &FieldPath<'_>, value: impl fmt::Debug) {
        self.say(path, format!("Not found: {}", short(&value)));
    }
    pub(crate) fn forbidden(&mut self, path: &FieldPath<'_>, detail: &str) {
        self.say(path, format!("Forbidden: {detail}"));
    }
    pub(crate) fn too_long(&mut self, path: &FieldPath<'_>, max_bytes: usize) {
        self.say(
            path,
            format!("Too long: may not be more than {max_bytes} bytes"),
        );
    }
}

/// At most 200 characters of a value; the debug form keeps control characters out of terminals.
pub(crate) fn short(value: &impl fmt::Debug) -> String {
    let text = format!("{value:?}");
    match text.char_indices().nth(200) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
