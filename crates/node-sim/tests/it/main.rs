//! The simulator's own promises: a history is the same each time, crash points are met, failures found once stay found.

mod crash_points;
mod determinism;
mod regressions;
