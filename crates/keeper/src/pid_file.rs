//! `<files.run>/pid`: which process a container is, for whoever comes when the keeper that launched it is gone; and `<files.run>/executed`,
//! empty until that process is the container's program.
//!
//! `pid start_ticks started_wall started_mono\n`. The first two are an identity for the whole boot; a line that ends early was never whole.

use pod_model::{MonoTime, Now, WallTime};
use std::fs;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

pub use crate::protocol::Process;

const MARK: &str = "executed";

/// Written under another name and renamed, so that it is whole or not there.
///
/// # Errors
/// Of the file system.
pub fn write(directory: &Path, process: &Process) -> io::Result<()> {
    write_as(directory, "pid", process)
}

/// What [`write()`] wrote; `None` when nothing did, or nothing that can be understood.
pub fn read(directory: &Path) -> Option<Process> {
    read_as(directory, "pid")
}

/// Makes the mark that a child leaves on itself before exec: empty until then. Made before the process, so that whoever finds the pid file
/// finds the mark.
pub(crate) fn make_mark(directory: &Path) -> io::Result<OwnedFd> {
    let file = fs::File::create(directory.join(MARK))?;
    Ok(file.into())
}

/// Leaves it, in the child: the next thing it does is exec, and the keeper's death no longer ends it.
pub(crate) fn mark(made: BorrowedFd<'_>) -> io::Result<()> {
    rustix::io::write(made, b"!")?;
    Ok(())
}

/// Whether the process of the pid file has come as far as its program. `false`: it was still being prepared, and died with its keeper or will.
#[must_use]
pub fn has_executed(directory: &Path) -> bool {
    fs::metadata(directory.join(MARK)).is_ok_and(|mark| mark.len() > 0)
}

pub(crate) fn write_as(directory: &Path, name: &str, process: &Process) -> io::Result<()> {
    let Process {
        pid,
        start_ticks,
        started_at,
    } = process;
    let line = format!(
        "{pid} {start_ticks} {} {}\n",
        started_at.wall.0, started_at.mono.0
    );
    let new = directory.join(format!(".{name}"));
    fs::write(&new, line)?;
    fs::rename(new, directory.join(name))
}

pub(crate) fn read_as(directory: &Path, name: &str) -> Option<Process> {
    parse(&fs::read_to_string(directory.join(name)).ok()?)
}

fn parse(line: &str) -> Option<Process> {
    let mut words = line.strip_suffix('\n')?.split(' ');
    Some(Process {
        pid: words.next()?.parse().ok()?,
        start_ticks: words.next()?.parse().ok()?,
        started_at: Now {
            wall: WallTime(words.next()?.parse().ok()?),
            mono: MonoTime(words.next()?.parse().ok()?),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() -> io::Result<()> {
        let directory = tempfile::tempdir()?;
        assert_eq!(read(directory.path()), None);
        let process = Process {
            pid: 7,
            start_ticks: 4711,
            started_at: Now {
                mono: MonoTime(1),
                wall: WallTime(-2),
            },
        };
        write(directory.path(), &process)?;
        assert_eq!(read(directory.path()), Some(process));
        for bad in ["", "7 4711 -2 1", "7 4711\n", "x 1 2 3\n"] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
        Ok(())
    }
}
