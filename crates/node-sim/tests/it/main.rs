//! The simulator's own promises: a history is the same each time, crash points are met, failures found once stay found,
//! cores that are wrong on purpose are found out.

mod crash_points;
mod determinism;
mod mutants;
mod regressions;
