//! `<files.run>/pid`: which process a container is, for whoever comes when the keeper that launched it is gone.
//!
//! `pid start_ticks started_wall started_mono\n`. The first two are an identity for the whole boot; a line that ends early was never whole.

use pod_model::{MonoTime, Now, WallTime};
use std::fs;
use std::io;
use std::path::Path;

pub use crate::protocol::Process;

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
