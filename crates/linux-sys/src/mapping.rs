//! A small file mapped shared: a store into it is in the page cache at once, so it survives a SIGKILL of the process that made it.
//!
//! The mapping is never lent out as a slice: another process may change the file at any time, so every access is a copy by single
//! atomic loads and stores. [`SharedMapping::store_u64`] releases what was written before it; together with
//! [`SharedMapping::load_u64`] it is the commit mark of a journal.

use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

/// `len` bytes of a file, mapped read-write and shared. The file must not be truncated while it is mapped (that would be SIGBUS):
/// it lies in a directory that only its owner may enter.
#[derive(Debug)]
pub struct SharedMapping {
    start: NonNull<libc::c_void>,
    len: usize,
}

// SAFETY: the mapping belongs to this value alone and is accessed by atomics only.
unsafe impl Send for SharedMapping {}

impl SharedMapping {
    /// Maps the first `len` bytes; the file is made as long as that, with its blocks allocated so that a full disk cannot turn a
    /// later store into SIGBUS.
    ///
    /// # Errors
    /// `ENOSPC` when there is no room, `EINVAL` when `len` is 0, and those of `mmap`.
    pub fn new(file: &File, len: usize) -> io::Result<Self> {
        let length = NonZeroUsize::new(len).ok_or(io::ErrorKind::InvalidInput)?;
        let size = u64::try_from(len).map_err(|_| io::ErrorKind::InvalidInput)?;
        if file.metadata()?.len() < size {
            rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, size)?;
        }
        // SAFETY: a fresh mapping at an address of the kernel's choice aliases nothing of this program.
        let start = unsafe {
            mmap(
                None,
                length,
                ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
                MapFlags::MAP_SHARED,
                file,
                0,
            )
        }?;
        Ok(Self { start, len })
    }

    pub fn len(&self) -> usize {
        self.len
    }
    pub fn is_empty(&self) -> bool {
        false
    }

    fn byte(&self, offset: usize) -> &AtomicU8 {
        assert!(offset < self.len, "offset {offset} of {}", self.len);
        // SAFETY: inside the mapping, which lives as long as `self`; every byte is a valid `AtomicU8`.
        unsafe { self.start.cast::<AtomicU8>().add(offset).as_ref() }
    }

    fn word(&self, offset: usize) -> &AtomicU64 {
        assert!(
            offset.is_multiple_of(8) && offset.checked_add(8).is_some_and(|end| end <= self.len),
            "word at {offset} of {}",
            self.len
        );
        // SAFETY: inside the mapping and, as mappings start on a page, aligned; every bit pattern is a valid `AtomicU64`.
        unsafe {
            self.start
                .cast::<u8>()
                .add(offset)
                .cast::<AtomicU64>()
                .as_ref()
        }
    }

    /// Copies bytes in. Not atomic as a whole: commit with [`Self::store_u64`].
    ///
    /// # Panics
    /// When they do not fit.
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        for (at, byte) in bytes.iter().enumerate() {
            self.byte(offset + at).store(*byte, Ordering::Relaxed);
        }
    }

    /// Copies bytes out.
    ///
    /// # Panics
    /// When there are not that many.
    pub fn read(&self, offset: usize, into: &mut [u8]) {
        for (at, byte) in into.iter_mut().enumerate() {
            *byte = self.byte(offset + at).load(Ordering::Relaxed);
        }
    }

    /// Stores eight bytes at once, after everything written before.
    ///
    /// # Panics
    /// When `offset` is no multiple of 8 or outside.
    pub fn store_u64(&self, offset: usize, value: u64) {
        self.word(offset).store(value, Ordering::Release);
    }

    /// Loads eight bytes at once, before everything read after.
    ///
    /// # Panics
    /// When `offset` is no multiple of 8 or outside.
    pub fn load_u64(&self, offset: usize) -> u64 {
        self.word(offset).load(Ordering::Acquire)
    }
}

impl Drop for SharedMapping {
    fn drop(&mut self) {
        // SAFETY: exactly what `new` mapped; no reference into it outlives `self`.
        let unmapped = unsafe { munmap(self.start, self.len) };
        debug_assert!(unmapped.is_ok());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    #[test]
    fn what_is_stored_is_in_the_file_at_once() -> io::Result<()> {
        let file = tempfile::tempfile()?;
        let mapping = SharedMapping::new(&file, 4096)?;
        mapping.write(16, b"a batch");
        mapping.store_u64(0, 0x0102_0304);
        let mut bytes = [0; 7];
        file.read_exact_at(&mut bytes, 16)?;
        assert_eq!(&bytes, b"a batch");
        let mut word = [0; 8];
        file.read_exact_at(&mut word, 0)?;
        assert_eq!(u64::from_ne_bytes(word), 0x0102_0304);
        Ok(())
    }

    #[test]
    fn a_second_mapping_reads_what_the_first_one_left() -> io::Result<()> {
        let file = tempfile::tempfile()?;
        let first = SharedMapping::new(&file, 64)?;
        first.write(8, b"xyz");
        first.store_u64(0, 7);
        drop(first);
        let second = SharedMapping::new(&file, 64)?;
        let mut bytes = [0; 3];
        second.read(8, &mut bytes);
        assert_eq!((second.load_u64(0), &bytes, second.len()), (7, b"xyz", 64));
        Ok(())
    }

    #[test]
    #[should_panic(expected = "offset 64 of 64")]
    fn nothing_outside_is_touched() {
        let Ok(file) = tempfile::tempfile() else {
            return;
        };
        let Ok(mapping) = SharedMapping::new(&file, 64) else {
            return;
        };
        mapping.write(60, b"too long");
    }
}
