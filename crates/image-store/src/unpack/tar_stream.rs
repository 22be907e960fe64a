//! The entries of a tar stream, one after another.
//!
//! The `tar` crate knows the header's fields; walking the stream is done here, because its iterator reads extended headers and
//! long names of any length into memory, and because a stranger's archive must mean one thing only: wherever Go's, GNU's and our
//! reading could differ (a size for an entry without data, two extended headers, a lone zero block, numbers in odd forms) the archive is
//! refused.

use super::error::{UnpackError, from_io};
use super::pax::Pax;
use std::io::{BufRead, ErrorKind};
use tar::{EntryType, Header};

pub(super) const BLOCK: usize = 512;
/// As Go's reader allows (`maxSpecialFileSize`).
const LONGEST_EXTENSION: u64 = 1 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    HardLink,
    Symlink,
    Directory,
    Fifo,
    /// Character or block.
    Device,
}

#[derive(Debug)]
pub(crate) struct Entry {
    /// As the archive says it.
    pub(crate) path: Vec<u8>,
    pub(crate) kind: Kind,
    pub(crate) link: Vec<u8>,
    /// Permission bits with set-uid, set-gid and sticky.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: (i64, u32),
    /// Of the file, in bytes.
    pub(crate) size: u64,
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Where the bytes that follow belong; everything else is a hole. `None`: an ordinary file.
    pub(crate) sparse: Option<Vec<(u64, u64)>>,
}

/// Reads entries and, between them, their data.
pub(crate) struct TarStream<R> {
    input: R,
    /// Bytes of the stream taken so far.
    at: u64,
    /// Data of the current entry that nobody has read yet.
    pub(super) data_left: u64,
    padding: u64,
    ended: bool,
}

impl<R: BufRead> TarStream<R> {
    pub(crate) fn new(input: R) -> Self {
        TarStream {
            input,
            at: 0,
            data_left: 0,
            padding: 0,
            ended: false,
        }
    }

    pub(crate) fn into_inner(self) -> R {
        self.input
    }

    /// Where the current entry's data begins in the stream.
    pub(crate) fn position(&self) -> u64 {
        self.at
    }

    /// The next entry, or `None` at the end mark. Unread data of the entry before it is skipped.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, UnpackError> {
        let mut pax: Option<Pax> = None;
        let mut long_name: Option<Vec<u8>> = None;
        let mut long_link: Option<Vec<u8>> = None;
        loop {
            self.skip_rest()?;
            let Some(header) = self.header()? else {
                if pax.is_some() || long_name.is_some() || long_link.is_some() {
                    return Err(self.bad("it ends after an extended header"));
                }
                return Ok(None);
            };
            let kind = header.entry_type();
            let known = header.as_ustar().is_some() || header.as_gnu().is_some();
            match kind {
                EntryType::XHeader if known => {
                    let data = self.extension(&header)?;
                    let parsed = Pax::parse(&data).map_err(|what| self.bad(what))?;
                    if pax.replace(parsed).is_some() {
                        return Err(self.bad("an entry has two extended headers"));
                    }
                }
                EntryType::XGlobalHeader if known => {
                    let data = self.extension(&header)?;
                    Pax::check_global(&data).map_err(|what| self.bad(what))?;
                }
                EntryType::GNULongName if known => {
                    let name = until_nul(self.extension(&header)?);
                    if long_name.replace(name).is_some() {
                        return Err(self.bad("an entry has two long names"));
                    }
                }
                EntryType::GNULongLink if known => {
                    let name = until_nul(self.extension(&header)?);
                    if long_link.replace(name).is_some() {
                        return Err(self.bad("an entry has two long link names"));
                    }
                }
                _ => {
                    return self
                        .entry(&header, pax.unwrap_or_default(), long_name, long_link)
                        .map(Some);
                }
            }
        }
    }

    fn entry(
        &mut self,
        header: &Header,
        pax: Pax,
        long_name: Option<Vec<u8>>,
        long_link: Option<Vec<u8>>,
    ) -> Result<Entry, UnpackError> {
        if (pax.path.is_some() && long_name.is_some())
            || (pax.linkpath.is_some() && long_link.is_some())
        {
            return Err(self.bad("an entry has a name in two forms"));
        }
        let old = header.as_old();
        let path = pax
            .path
            .or(long_name)
            .unwrap_or_else(|| header.path_bytes().into_owned());
        let kind = match header.entry_type() {
            // Version 7 had no type for directories: a slash at the end says it.
            EntryType::Regular if old.linkflag[0] == 0 && path.ends_with(b"/") => Kind::Directory,
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => Kind::File,
            EntryType::Link => Kind::HardLink,
            EntryType::Symlink => Kind::Symlink,
            EntryType::Directory => Kind::Directory,
            EntryType::Fifo => Kind::Fifo,
            EntryType::Char | EntryType::Block => Kind::Device,
            _ => return Err(self.bad("an entry has an unknown type")),
        };
        let stored = match pax.size {
            Some(size) => size,
            None => self.number(&old.size, || header.entry_size())?,
        };
        if kind != Kind::File && stored != 0 {
            return Err(self.bad("an entry that is not a file has data"));
        }
        let link = pax
            .linkpath
            .or(long_link)
            .or_else(|| header.link_name_bytes().map(|name| name.into_owned()))
            .unwrap_or_default();
        let id = |this: &Self,
                  from_pax: Option<u64>,
                  field: &[u8],
                  read: &dyn Fn() -> std::io::Result<u64>| {
            let id = match from_pax {
                Some(id) => id,
                None => this.number(field, read)?,
            };
            // The largest number means "no change" to chown(2).
            u32::try_from(id)
                .ok()
                .filter(|id| *id != u32::MAX)
                .ok_or_else(|| this.bad("an owner is not a 32-bit number"))
        };
        let mut entry = Entry {
            kind,
            link,
            mode: (self.number(&old.mode, || header.mode().map(u64::from))? & 0o7777) as u32,
            uid: id(self, pax.uid, &old.uid, &|| header.uid())?,
            gid: id(self, pax.gid, &old.gid, &|| header.gid())?,
            mtime: match pax.mtime {
                Some(time) => time,
                // Base-256 times before the epoch come as the two's complement.
                None => (self.number(&old.mtime, || header.mtime())?.cast_signed(), 0),
            },
            size: stored,
            xattrs: pax.xattrs,
            sparse: None,
            path,
        };
        self.data_left = stored;
        self.padding = padding_of(stored);
        if header.entry_type() == EntryType::GNUSparse {
            self.old_sparse(header, &mut entry)?;
        }
        if pax.sparse.present {
            self.pax_sparse(pax.sparse, &mut entry)?;
        }
        Ok(entry)
    }

    /// Hands out up to `most` bytes of the current entry's data in pieces, without copying them.
    pub(crate) fn data(
        &mut self,
        most: u64,
        mut take: impl FnMut(&[u8]) -> Result<(), UnpackError>,
    ) -> Result<(), UnpackError> {
        let mut wanted = most.min(self.data_left);
        while wanted > 0 {
            let piece = fill(&mut self.input, self.at)?;
            if piece.is_empty() {
                return Err(UnpackError::Truncated { at: self.at });
            }
            let length = piece
                .len()
                .min(usize::try_from(wanted).unwrap_or(usize::MAX));
            take(&piece[..length])?;
            self.input.consume(length);
            self.at += length as u64;
            self.data_left -= length as u64;
            wanted -= length as u64;
        }
        Ok(())
    }

    /// Reads the stream to its end, so that its digest covers everything.
    pub(crate) fn drain(&mut self) -> Result<(), UnpackError> {
        loop {
            let piece = fill(&mut self.input, self.at)?;
            let length = piece.len();
            if length == 0 {
                return Ok(());
            }
            self.input.consume(length);
            self.at += length as u64;
        }
    }

    fn skip_rest(&mut self) -> Result<(), UnpackError> {
        self.data(u64::MAX, |_| Ok(()))?;
        let mut rest = [0; BLOCK];
        let padding = std::mem::take(&mut self.padding) as usize;
        self.read_exact_here(&mut rest[..padding])
    }

    /// A header with a valid checksum, or `None` at the end mark or the end of the stream.
    fn header(&mut self) -> Result<Option<Header>, UnpackError> {
        if self.ended {
            return Ok(None);
        }
        let mut header = Header::new_old();
        if !self.read_block(header.as_mut_bytes())? {
            // No end mark: as Go and GNU tar, take the end of the stream for it.
            self.ended = true;
            return Ok(None);
        }
        if header.as_bytes().iter().all(|b| *b == 0) {
            let mut second = [0; BLOCK];
            if self.read_block(&mut second)? && second.iter().any(|b| *b != 0) {
                return Err(self.bad("a lone zero block stands between entries"));
            }
            self.ended = true;
            return Ok(None);
        }
        let bytes = header.as_bytes();
        let sum: u32 = bytes[..148]
            .iter()
            .chain(&bytes[156..])
            .map(|b| u32::from(*b))
            .sum::<u32>()
            + 8 * 32;
        if header.cksum().ok() != Some(sum) {
            return Err(self.bad("the checksum of a header is wrong"));
        }
        Ok(Some(header))
    }

    fn extension(&mut self, header: &Header) -> Result<Vec<u8>, UnpackError> {
        let size = self.number(&header.as_old().size, || header.entry_size())?;
        if size > LONGEST_EXTENSION {
            return Err(self.bad("an extended header is longer than 1 MiB"));
        }
        self.data_left = size;
        self.padding = padding_of(size);
        let mut data = Vec::with_capacity(size as usize);
        self.data(size, |piece| {
            data.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(data)
    }

    /// A numeric field; one that was left blank is zero.
    fn number(
        &self,
        field: &[u8],
        read: impl FnOnce() -> std::io::Result<u64>,
    ) -> Result<u64, UnpackError> {
        if field.iter().all(|b| matches!(b, 0 | b' ')) {
            return Ok(0);
        }
        read().map_err(|_| self.bad("a number in a header is malformed"))
    }

    /// `false`: the stream ended before the first byte.
    fn read_block(&mut self, block: &mut [u8; BLOCK]) -> Result<bool, UnpackError> {
        if fill(&mut self.input, self.at)?.is_empty() {
            return Ok(false);
        }
        self.read_exact_here(block).map(|()| true)
    }

    pub(super) fn read_exact_here(&mut self, mut into: &mut [u8]) -> Result<(), UnpackError> {
        while !into.is_empty() {
            let piece = fill(&mut self.input, self.at)?;
            if piece.is_empty() {
                return Err(UnpackError::Truncated { at: self.at });
            }
            let length = piece.len().min(into.len());
            into[..length].copy_from_slice(&piece[..length]);
            self.input.consume(length);
            self.at += length as u64;
            into = &mut into[length..];
        }
        Ok(())
    }

    pub(super) fn bad(&self, what: &'static str) -> UnpackError {
        UnpackError::Archive { at: self.at, what }
    }
}

fn fill<R: BufRead>(input: &mut R, at: u64) -> Result<&[u8], UnpackError> {
    match input.fill_buf() {
        Ok(piece) => Ok(piece),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
            Err(UnpackError::Truncated { at })
        }
        Err(error) => Err(from_io(error, UnpackError::Decompress)),
    }
}

fn padding_of(size: u64) -> u64 {
    (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64
}

fn until_nul(mut name: Vec<u8>) -> Vec<u8> {
    if let Some(nul) = name.iter().position(|b| *b == 0) {
        name.truncate(nul);
    }
    name
}
