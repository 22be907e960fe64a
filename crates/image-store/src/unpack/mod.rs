//! From a compressed layer to a directory that overlayfs can use.
//!
//! ```text
//!  registry ──► bounded queue ──► [thread 1] digest, inflate ──► bounded queue ──► [thread 2] diffID, tar, files
//! ```
//!
//! The queues bound the memory of one layer to about 2 MB and make a slow disk slow the network down. Nothing compressed touches
//! the disk. What comes out lies in a private directory; making it visible is the store's business.
//!
//! An archive is a stranger's. It is refused, not repaired: see [`extract`] for what counts as an attack.

mod budget;
mod decompress;
mod error;
mod extract;
mod leaf;
mod name;
mod pax;
mod pipeline;
mod sparse;
pub(crate) mod tar_stream;
mod tree;
mod xattrs;

pub(crate) use budget::Budget;
pub(crate) use decompress::{Compression, Decoder};
pub use error::UnpackError;
pub(crate) use pipeline::{Expected, Fed, Feed, LayerPipeline, Unpacked};
