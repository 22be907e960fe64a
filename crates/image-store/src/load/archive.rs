//! The files of an archive and where they lie in it.

use super::ArchiveSource;
use crate::config::Limits;
use crate::error::PullError;
use crate::manifest::{Descriptor, json};
use crate::store::Store;
use crate::unpack::tar_stream::{Kind, TarStream};
use crate::unpack::{Budget, Compression, Decoder};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

const PIECE: usize = 256 << 10;
/// Files in an archive: three for each layer of every image it may hold would be plenty.
const MOST_FILES: usize = 100_000;

/// A file within the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) offset: u64,
    pub(super) size: u64,
}

pub(super) struct Archive {
    file: File,
    places: HashMap<Vec<u8>, Place>,
    links: HashMap<Vec<u8>, Vec<u8>>,
}

fn broken(error: io::Error) -> PullError {
    PullError::ReadArchive(Arc::new(error))
}

fn refused(what: impl Into<String>) -> PullError {
    PullError::Archive(what.into())
}

impl Archive {
    pub(super) fn open(
        source: ArchiveSource,
        store: &Store,
        limits: &Limits,
    ) -> Result<Archive, PullError> {
        let file = match source {
            ArchiveSource::Path(path) => {
                let mut file = File::open(path).map_err(broken)?;
                let mut start = [0; 4];
                let is_plain = file.metadata().map_err(broken)?.is_file() && {
                    let read = read_up_to(&mut file, &mut start).map_err(broken)?;
                    file.seek(SeekFrom::Start(0)).map_err(broken)?;
                    Compression::of(&start[..read]) == Compression::None
                };
                if is_plain {
                    file
                } else {
                    spool(Box::new(file), store, limits)?
                }
            }
            ArchiveSource::Reader(reader) => spool(reader, store, limits)?,
        };
        Archive::scan(file)
    }

    fn scan(mut file: File) -> Result<Archive, PullError> {
        let mut places = HashMap::new();
        let mut links = HashMap::new();
        let bad = |error: crate::unpack::UnpackError| refused(error.to_string());
        let mut tar = TarStream::new(BufReader::with_capacity(PIECE, &mut file));
        while let Some(entry) = tar.next().map_err(bad)? {
            if places.len() + links.len() >= MOST_FILES {
                return Err(refused(format!("it holds more than {MOST_FILES} files")));
            }
            let name = normal(&entry.path);
            let place = Place {
                offset: tar.position(),
                size: entry.size,
            };
            let twice = match entry.kind {
                Kind::File if entry.sparse.is_none() => places.insert(name, place).is_some(),
                Kind::Symlink | Kind::HardLink => {
                    let target = match entry.kind {
                        Kind::Symlink => beside(&name, &entry.link),
                        _ => normal(&entry.link),
                    };
                    links.insert(name, target).is_some()
                }
                _ => false,
            };
            if twice {
                return Err(refused(format!(
                    "{:?} comes twice",
                    String::from_utf8_lossy(&entry.path)
                )));
            }
        }
        Ok(Archive {
            file,
            places,
            links,
        })
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.places.contains_key(name.as_bytes())
    }

    /// Where a file lies. Old versions of `docker save` write a layer once and links to it.
    pub(super) fn place(&self, name: &str) -> Result<Place, PullError> {
        let name = normal(name.as_bytes());
        let target = self.links.get(&name).unwrap_or(&name);
        self.places.get(target).copied().ok_or_else(|| {
            refused(format!(
                "{:?} is missing in it",
                String::from_utf8_lossy(&name)
            ))
        })
    }

    /// A small file, whole.
    pub(super) fn bytes(&self, place: Place, most: u64) -> Result<Vec<u8>, PullError> {
        if place.size > most {
            return Err(refused(format!(
                "a file of {} bytes is larger than the {most} allowed",
                place.size
            )));
        }
        let mut bytes = vec![0; usize::try_from(place.size).unwrap_or_default()];
        self.file
            .read_exact_at(&mut bytes, place.offset)
            .map_err(broken)?;
        Ok(bytes)
    }

    pub(super) fn json<T: DeserializeOwned>(&self, name: &str, most: u64) -> Result<T, PullError> {
        let bytes = self.bytes(self.place(name)?, most)?;
        json(&bytes).map_err(|error| refused(format!("{name}: {error}")))
    }

    /// Where a blob of an OCI layout lies; its length must be the stated one.
    pub(super) fn blob(&self, descriptor: &Descriptor) -> Result<Place, PullError> {
        let name = descriptor.digest.to_string().replace(':', "/");
        let place = self.place(&format!("blobs/{name}"))?;
        if place.size != descriptor.size {
            return Err(refused(format!(
                "blob {} is {} bytes long, not {}",
                descriptor.digest, place.size, descriptor.size
            )));
        }
        Ok(place)
    }

    /// A small blob of an OCI layout, verified.
    pub(super) fn blob_bytes(
        &self,
        descriptor: &Descriptor,
        most: u64,
    ) -> Result<Vec<u8>, PullError> {
        let bytes = self.bytes(self.blob(descriptor)?, most)?;
        if !descriptor.digest.matches(&bytes) {
            return Err(refused(format!(
                "blob {} does not have its digest",
                descriptor.digest
            )));
        }
        Ok(bytes)
    }

    /// Hands out a large file piece by piece, until `take` has enough.
    pub(super) fn pieces(
        &self,
        place: Place,
        mut take: impl FnMut(Bytes) -> bool,
    ) -> Result<(), PullError> {
        let mut done = 0;
        while done < place.size {
            let length = (place.size - done).min(PIECE as u64);
            let mut piece = vec![0; length as usize];
            self.file
                .read_exact_at(&mut piece, place.offset + done)
                .map_err(broken)?;
            done += length;
            if !take(Bytes::from(piece)) {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// Decompresses what cannot be read in place into a file without a name: it is gone with the last descriptor, whatever happens.
fn spool(reader: Box<dyn Read + Send>, store: &Store, limits: &Limits) -> Result<File, PullError> {
    let mut file = store.nameless_file()?;
    let budget = Budget::new(*limits);
    let counted = Counted { reader, count: 0 };
    let mut decoder = Decoder::new(
        BufReader::with_capacity(PIECE, counted),
        limits.zstd_window_log,
    )
    .map_err(broken)?;
    let mut piece = vec![0; PIECE];
    let mut total = 0;
    let over = |error: crate::unpack::UnpackError| refused(error.to_string());
    loop {
        let filled = decoder.fill(&mut piece).map_err(broken)?;
        if filled == 0 {
            break;
        }
        total += filled as u64;
        budget.take_bytes(filled as u64).map_err(over)?;
        budget
            .check_expansion(decoder.input().get_ref().count, total)
            .map_err(over)?;
        file.write_all(&piece[..filled]).map_err(broken)?;
    }
    file.seek(SeekFrom::Start(0)).map_err(broken)?;
    Ok(file)
}

struct Counted {
    reader: Box<dyn Read + Send>,
    count: u64,
}

impl Read for Counted {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(into)?;
        self.count += read as u64;
        Ok(read)
    }
}

fn read_up_to(file: &mut File, into: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < into.len() {
        match file.read(&mut into[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

/// The names in an archive are keys here and never become paths: `.`, `..` and slashes at the front are only taken out to compare.
fn normal(name: &[u8]) -> Vec<u8> {
    let mut components: Vec<&[u8]> = Vec::new();
    for component in name.split(|b| *b == b'/') {
        match component {
            b"" | b"." => {}
            b".." => {
                components.pop();
            }
            component => components.push(component),
        }
    }
    components.join(&b'/')
}

fn beside(link: &[u8], target: &[u8]) -> Vec<u8> {
    let mut path = link.to_vec();
    path.extend_from_slice(b"/../");
    path.extend_from_slice(target);
    normal(&path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_in_one_form() {
        assert_eq!(normal(b"./a//b/../c"), b"a/c");
        assert_eq!(normal(b"/../../a"), b"a");
        assert_eq!(beside(b"x/layer.tar", b"../y/layer.tar"), b"y/layer.tar");
    }
}
