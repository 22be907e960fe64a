//! Container logs: what a container prints, on disk in the CRI log format and back again.
//!
//! Two sides that share nothing but the files:
//!
//! - The **writer** runs in the keeper: [`Spool::transfer`] moves what is in a container's FIFO into its [`LogFile`] such that a
//!   `kill -9` at any instruction neither loses nor doubles a byte, and such that no log file is ever larger than its limit. It uses
//!   blocking system calls, a fixed set of buffers for all containers, and no runtime.
//! - The **reader** runs in the agent: [`Reader`] finds the lines that `coracle logs` asks for and follows the file across rotation.
//!   [`housekeep()`] compresses and drops rotated files.
//!
//! In: FIFOs, bytes of a terminal, log paths. Out: log files, lines. It knows no pods: a log is a path. It trusts the directory that
//! logs lie in down to its last three components; those may be in a tenant's hands and are resolved without following links.
//!
//! ```text
//!   FIFO ──splice──► spool file ──format──► <attempt>.log ──rename at the limit──► <attempt>.log.<time> ──housekeep──► ….gz
//!                    journal (what is under way)
//! ```

mod housekeep;
mod journal;
mod line;
mod log_file;
mod place;
mod reader;
mod rotated;
mod spool;

pub use housekeep::{HousekeepError, housekeep};
pub use line::Stream;
pub use log_file::{LogError, LogFile, SMALLEST_LIMIT};
pub use reader::{LogWatch, Progress, ReadError, ReadOptions, Reader};
pub use spool::{Recovered, Spool, SpoolError, Transferred};
