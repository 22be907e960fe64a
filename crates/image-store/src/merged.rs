//! Looking into the layers of an image as a container would see them, without mounting anything.
//!
//! Names are resolved component by component over all layers at once: whiteouts and opaque directories hide, symbolic links are
//! followed inside the image only. Everything is done by descriptors, so that a link can never lead out of the layers.

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

const MOST_LINKS: usize = 40;
const MOST_COMPONENTS: usize = 4096;

/// The layers of an image, uppermost first.
pub(crate) struct Merged {
    roots: Vec<PathBuf>,
}

/// What stands at a name.
enum Found {
    /// The directories of that name, uppermost first.
    Directory(Vec<OwnedFd>),
    /// Something else, with the directory that holds it.
    Other(OwnedFd, Stat),
}

impl Merged {
    pub(crate) fn new(roots: Vec<PathBuf>) -> Merged {
        Merged { roots }
    }

    fn open_roots(&self) -> io::Result<Vec<OwnedFd>> {
        self.roots.iter().map(|root| open_directory(root)).collect()
    }

    /// The attributes of a directory; nothing if there is none, or if a link stands on the way.
    pub(crate) fn directory(&self, components: &[&[u8]]) -> io::Result<Option<OwnedFd>> {
        let mut at = self.open_roots()?;
        for name in components {
            match look(&at, name)? {
                Some(Found::Directory(next)) => at = next,
                _ => return Ok(None),
            }
        }
        Ok(at.into_iter().next())
    }

    /// Reads a regular file of at most `most` bytes. `None`: there is nothing at that path.
    ///
    /// # Errors
    /// `InvalidData` for something that is not a regular file, `FileTooLarge`, `FilesystemLoop` for links in a circle.
    pub(crate) fn read_file(&self, path: &str, most: u64) -> io::Result<Option<Vec<u8>>> {
        let mut left: VecDeque<Vec<u8>> = split(path.as_bytes());
        // The way down, to be able to go up again.
        let mut way: Vec<Vec<OwnedFd>> = vec![self.open_roots()?];
        let mut links = 0;
        while let Some(name) = left.pop_front() {
            if name == b".." {
                if way.len() > 1 {
                    way.pop();
                }
                continue;
            }
            let Some(at) = way.last() else {
                return Ok(None);
            };
            match look(at, &name)? {
                None => return Ok(None),
                Some(Found::Directory(next)) => way.push(next),
                Some(Found::Other(parent, stat)) => match FileType::from_raw_mode(stat.st_mode) {
                    FileType::Symlink => {
                        links += 1;
                        let target = rustix::fs::readlinkat(&parent, name.as_slice(), Vec::new())?
                            .into_bytes();
                        if links > MOST_LINKS || left.len() > MOST_COMPONENTS {
                            return Err(Errno::LOOP.into());
                        }
                        if target.starts_with(b"/") {
                            way.truncate(1);
                        }
                        for component in split(&target).into_iter().rev() {
                            left.push_front(component);
                        }
                    }
                    _ if !left.is_empty() => return Ok(None),
                    FileType::RegularFile => {
                        return read_regular(&parent, &name, most).map(Some);
                    }
                    _ => return Err(not_a_file()),
                },
            }
        }
        Err(not_a_file())
    }
}

fn not_a_file() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it is not a regular file")
}

fn split(path: &[u8]) -> VecDeque<Vec<u8>> {
    path.split(|b| *b == b'/')
        .filter(|component| !component.is_empty() && *component != b".")
        .map(<[u8]>::to_vec)
        .collect()
}

fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// One name in a merged directory.
fn look(layers: &[OwnedFd], name: &[u8]) -> io::Result<Option<Found>> {
    let mut directories = Vec::new();
    for layer in layers {
        let stat = match rustix::fs::statat(layer, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT | Errno::NAMETOOLONG) => continue,
            Err(errno) => return Err(errno.into()),
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Directory {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let directory = rustix::fs::openat(layer, name, flags, Mode::empty())?;
            let opaque = is_opaque(&directory)?;
            directories.push(directory);
            if opaque {
                break;
            }
            continue;
        }
        if !directories.is_empty() {
            // A file, a link or a whiteout below a directory: hidden, and so is everything below it.
            break;
        }
        if kind == FileType::CharacterDevice && stat.st_rdev == 0 {
            return Ok(None);
        }
        let parent = rustix::io::fcntl_dupfd_cloexec(layer, 0)?;
        return Ok(Some(Found::Other(parent, stat)));
    }
    Ok((!directories.is_empty()).then_some(Found::Directory(directories)))
}

fn is_opaque(directory: &OwnedFd) -> io::Result<bool> {
    let mut value = [0u8; 4];
    match rustix::fs::fgetxattr(directory, "trusted.overlay.opaque", &mut value[..]) {
        Ok(length) => Ok(value.get(..length) == Some(b"y")),
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::RANGE) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

fn read_regular(parent: &OwnedFd, name: &[u8], most: u64) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    let stat = rustix::fs::fstat(file.as_fd())?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(not_a_file());
    }
    let mut bytes = Vec::new();
    std::fs::File::from(file)
        .take(most.saturating_add(1))
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it is larger than the {most} bytes allowed"),
        ));
    }
    Ok(bytes)
}
