//! Pod + image config + node facts → one complete [`LaunchDescription`]. Pure: no I/O, no clock.
pub mod description;
pub use description::*;
