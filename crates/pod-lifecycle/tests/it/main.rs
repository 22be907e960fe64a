//! How pods live, told in scenarios. Each runs the production core on a machine in memory, in virtual time; every step of every
//! scenario is checked against the invariants.

mod admitting;
mod changing;
mod deadline;
mod dispatching;
mod ephemeral;
mod evicting;
mod hooks;
mod images;
mod init;
mod invariants;
mod observing;
mod ordering;
mod probing;
mod random;
mod rebooting;
mod recovering;
mod refusals;
mod replacing;
mod restart_all;
mod restarting;
mod sidecars;
mod starting;
mod status;
mod terminating;
