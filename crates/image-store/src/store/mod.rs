//! The store's directory and what is known of it in memory.
//!
//! ```text
//! <root>/lock            held while the store is open: one owner
//! <root>/ingest/N/       layers being unpacked; private; whatever is here at start is thrown away
//! <root>/layers/ID/fs    a layer, as overlayfs wants it     ID is short: many layers must fit into one page of mount options
//! <root>/layers/ID/mark  says that the layer is complete; without it, there is no layer
//! <root>/images/HEX      an image: its configuration and its layers; written after the last layer
//! <root>/names/HASH      a name: the image it means; written after the image
//! <root>/trash/N/        on the way out; deleted in the background
//! <root>/empty           the root of an image without layers
//! ```
//!
//! Each arrow of "written after" is a point at which the machine may lose power: what stands before it is usable, what stands after it
//! does not exist yet. Removal goes the other way round.

mod index;
mod layer;
mod layout;
mod open;
mod reaper;
mod records;
mod remove;
mod write;

pub(crate) use index::{LayerKey, LayerLease};
pub(crate) use layer::Staged;
pub(crate) use open::Store;
pub(crate) use records::NewImage;
pub(crate) use remove::{NotRemoved, Removal};
