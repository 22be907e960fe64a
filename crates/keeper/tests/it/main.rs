//! The keeper on the real kernel, as root: each test has its own keeper, directories, cgroups and namespaces, and leaves none.

mod adoption;
mod confinement;
mod footprint;
mod full_disk;
mod launching;
mod mounting;
mod node;
mod replacing;
mod sessions;
mod shared_pids;
mod terminals;
