//! The keeper on the real kernel, as root: each test has its own keeper, directories, cgroups and namespaces, and leaves none.

mod adoption;
mod footprint;
mod launching;
mod node;
