//! The store as its users see it: against a registry that lies, a real registry, archives good and bad, a full disk, and a killed process.

mod archives;
mod attacks;
mod crash;
mod full_disk;
mod hostile;
mod kit;
mod lies;
mod logins;
mod lying_registry;
mod real_registry;
mod removal;
mod sharing;
mod transfers;
mod trees;
