//! Values that somebody else wrote.

use std::fmt;

/// A value out of an image, an archive or a container's file: not to be believed. Only the validating functions of this crate look inside;
/// what they return is an ordinary value again.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct FromTenant<T>(T);

impl<T> FromTenant<T> {
    pub fn new(value: T) -> Self {
        Self(value)
    }
    pub(crate) fn unchecked(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for FromTenant<T> {
    /// Not the value: it may be long, and it may be written to hurt whoever reads the log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FromTenant<{}>", std::any::type_name::<T>())
    }
}
