//! Maps of sparse files: which bytes of a file stand in the archive; the rest are holes. Three of GNU tar's formats are read: the old
//! one (`--format=gnu`), and 0.1 and 1.0 in extended headers (`--format=posix`).

use super::error::UnpackError;
use super::pax;
use super::tar_stream::{BLOCK, Entry, Kind, TarStream};
use std::io::BufRead;
use tar::{GnuExtSparseHeader, Header};

const MOST_SPARSE_REGIONS: usize = 100_000;

impl<R: BufRead> TarStream<R> {
    /// The map of a sparse file in GNU's old format: four regions in the header, more in blocks after it.
    pub(super) fn old_sparse(
        &mut self,
        header: &Header,
        entry: &mut Entry,
    ) -> Result<(), UnpackError> {
        let Some(gnu) = header.as_gnu() else {
            return Err(self.bad("a sparse file has no GNU header"));
        };
        let bad = |this: &Self| this.bad("the map of a sparse file is malformed");
        let mut regions = Vec::new();
        let mut take = |this: &Self, blocks: &[tar::GnuSparseHeader]| {
            for block in blocks.iter().filter(|block| !block.is_empty()) {
                match (block.offset(), block.length()) {
                    (Ok(offset), Ok(length)) if regions.len() < MOST_SPARSE_REGIONS => {
                        regions.push((offset, length));
                    }
                    _ => return Err(bad(this)),
                }
            }
            Ok(())
        };
        take(self, &gnu.sparse)?;
        let mut more = gnu.is_extended();
        while more {
            let mut block = GnuExtSparseHeader::new();
            // These blocks stand before the data and are not counted in its size.
            self.read_exact_here(block.as_mut_bytes())?;
            take(self, block.sparse())?;
            more = block.is_extended();
        }
        entry.size = gnu.real_size().map_err(|_| bad(self))?;
        self.accept_map(regions, entry)
    }

    /// The map of a sparse file in pax formats 0.1 (in the header) and 1.0 (before the data).
    pub(super) fn pax_sparse(
        &mut self,
        records: pax::SparseRecords,
        entry: &mut Entry,
    ) -> Result<(), UnpackError> {
        const UNSUPPORTED: &str = "a sparse file is written in a form that is not supported";
        if entry.kind != Kind::File || entry.sparse.is_some() {
            return Err(self.bad("something other than a file has a sparse map"));
        }
        let Some(real_size) = records.real_size else {
            return Err(self.bad(UNSUPPORTED));
        };
        let numbers = match (records.major, records.minor, records.map) {
            (Some(1), Some(0), None) => self.map_before_data()?,
            (None | Some(0), None | Some(1), Some(map)) => map
                .split(|b| *b == b',')
                .take(2 * MOST_SPARSE_REGIONS + 1)
                .map(pax::number)
                .collect::<Result<Vec<_>, _>>()
                .map_err(|what| self.bad(what))?,
            _ => return Err(self.bad(UNSUPPORTED)),
        };
        if numbers.len() % 2 != 0 || numbers.len() > 2 * MOST_SPARSE_REGIONS {
            return Err(self.bad("the map of a sparse file is malformed"));
        }
        if let Some(name) = records.name {
            entry.path = name;
        }
        entry.size = real_size;
        let regions = numbers.chunks_exact(2).map(|p| (p[0], p[1])).collect();
        self.accept_map(regions, entry)
    }

    /// Format 1.0: decimal numbers, one a line, padded to a block: the count, then offset and length of each region.
    fn map_before_data(&mut self) -> Result<Vec<u64>, UnpackError> {
        const BAD: &str = "the map of a sparse file is malformed";
        let mut numbers = Vec::new();
        let mut digits = Vec::new();
        let mut wanted = None;
        loop {
            let mut block = [0; BLOCK];
            if self.data_left < BLOCK as u64 {
                return Err(self.bad(BAD));
            }
            self.read_exact_here(&mut block)?;
            self.data_left -= BLOCK as u64;
            for byte in block {
                if byte != b'\n' {
                    digits.push(byte);
                    if digits.len() > 20 {
                        return Err(self.bad(BAD));
                    }
                    continue;
                }
                let number = pax::number(&digits).map_err(|_| self.bad(BAD))?;
                digits.clear();
                match wanted {
                    None if number > MOST_SPARSE_REGIONS as u64 => return Err(self.bad(BAD)),
                    None => wanted = Some(2 * number as usize),
                    Some(_) => numbers.push(number),
                }
                if wanted == Some(numbers.len()) {
                    return Ok(numbers);
                }
            }
        }
    }

    fn accept_map(
        &mut self,
        regions: Vec<(u64, u64)>,
        entry: &mut Entry,
    ) -> Result<(), UnpackError> {
        let mut end = 0u64;
        let mut data = 0u64;
        for (offset, length) in &regions {
            let sum = offset.checked_add(*length);
            match sum {
                Some(sum) if *offset >= end && sum <= entry.size => end = sum,
                _ => return Err(self.bad("the map of a sparse file overlaps or leaves the file")),
            }
            data += length;
        }
        if data != self.data_left || i64::try_from(entry.size).is_err() {
            return Err(self.bad("the map of a sparse file does not fit its data"));
        }
        entry.sparse = Some(regions);
        Ok(())
    }
}
