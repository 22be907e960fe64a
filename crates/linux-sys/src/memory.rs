//! Memory that a process holds and does not need: the allocator's habits, and pages of its program that only its start needed.

use std::io;
use std::ops::Range;

/// Makes a process that must stay small give memory back soon: one arena, a low threshold for separate mappings (a big message is
/// unmapped when it is freed), and no more than `slack` bytes free at the top of the heap: what is needed and freed again many times a
/// second should fit there. With another C library than glibc this does nothing.
pub fn stay_small(slack: usize) {
    #[cfg(target_env = "gnu")]
    {
        let slack = i32::try_from(slack).unwrap_or(i32::MAX);
        for (what, value) in [
            (libc::M_ARENA_MAX, 1),
            (libc::M_MMAP_THRESHOLD, 64 << 10),
            (libc::M_TRIM_THRESHOLD, slack),
            (libc::M_TOP_PAD, 16 << 10),
        ] {
            // SAFETY: mallopt(3) with a known parameter and a plain number.
            unsafe { libc::mallopt(what, value) };
        }
    }
}

/// Gives every free page of the heap back to the kernel. Returns whether there was one.
pub fn trim() -> bool {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: takes the allocator's own locks and touches free memory only.
        unsafe { libc::malloc_trim(0) == 1 }
    }
    #[cfg(not(target_env = "gnu"))]
    {
        false
    }
}

/// Takes the pages of the program's and the libraries' files out of this process that can be read from there again: what was needed
/// once does not count as resident for ever, and what is needed comes back at a touch. Returns how many bytes were looked at.
///
/// # Errors
/// When `/proc/self/smaps` cannot be read.
pub fn forget_file_pages() -> io::Result<usize> {
    let text = std::fs::read_to_string("/proc/self/smaps")?;
    let ranges = unchanged_file_ranges(&text);
    for range in &ranges {
        // SAFETY: madvise(2) on a mapping that was just listed. It may not be written, and holds no page of the process's own, so each
        // page that goes is read from the file again. Were it unmapped in between, the call would fail, and nothing would be lost.
        unsafe {
            libc::madvise(
                std::ptr::with_exposed_provenance_mut(range.start),
                range.len(),
                libc::MADV_DONTNEED,
            )
        };
    }
    Ok(ranges.iter().map(ExactSizeIterator::len).sum())
}

/// The mappings of files that may not be written and of which the process has no copies (relocated data, although read-only, is one).
fn unchanged_file_ranges(smaps: &str) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut candidate = None;
    for line in smaps.lines() {
        if let Some(range) = mapping(line) {
            candidate = range;
        } else if line.split_whitespace().eq(["Anonymous:", "0", "kB"]) {
            ranges.extend(candidate.take());
        }
    }
    ranges
}

/// `None` if the line begins no mapping, `Some(None)` if it begins one that is of no file or may be written.
fn mapping(line: &str) -> Option<Option<Range<usize>>> {
    let mut words = line.split_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let number = |text| usize::from_str_radix(text, 16).ok();
    let range = number(start)?..number(end)?;
    let (may, path) = (words.next()?, words.nth(3));
    let is_fixed = path.is_some_and(|path| path.starts_with('/')) && !may.contains(['w', 's']);
    Some(is_fixed.then_some(range))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &str = "\
00400000-00500000 r-xp 00000000 fe:01 42                 /usr/bin/program with a name
Size:               1024 kB
Anonymous:             0 kB
00500000-00501000 r--p 00100000 fe:01 42                 /usr/bin/program with a name
Anonymous:             4 kB
00501000-00502000 rw-p 00101000 fe:01 42                 /usr/bin/program with a name
Anonymous:             0 kB
7f0000000000-7f0000001000 r--s 00000000 fe:01 43         /shared
Anonymous:             0 kB
7f0000001000-7f0000002000 r--p 00000000 00:00 0
Anonymous:             0 kB
7f0000002000-7f0000003000 r-xp 00000000 00:00 0          [vdso]
Anonymous:             0 kB
";

    #[test]
    fn only_what_the_file_can_give_back_is_forgotten() {
        let program = 0x40_0000..0x50_0000;
        assert_eq!(unchanged_file_ranges(SMAPS), vec![program]);
    }

    #[test]
    fn a_program_goes_on_after_its_pages_were_forgotten() {
        let before = resident_bytes();
        let looked_at = forget_file_pages().expect("smaps");
        assert!(looked_at > 1 << 20, "{looked_at}");
        assert!(resident_bytes() < before);
    }

    fn resident_bytes() -> usize {
        let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let pages = text.split(' ').nth(1).and_then(|n| n.parse::<usize>().ok());
        pages.unwrap_or(0) * 4096
    }

    #[test]
    fn freed_memory_goes_back_to_the_kernel() {
        let before = resident_bytes();
        let blocks: Vec<Vec<u8>> = (0..4000).map(|_| vec![1; 8 << 10]).collect();
        let keep = vec![1_u8; 8 << 10]; // pins the top of the heap
        let full = resident_bytes();
        drop(blocks);
        trim();
        let after = resident_bytes();
        drop(keep);
        assert!(full > before + (24 << 20), "{before} {full}");
        if cfg!(target_env = "gnu") {
            assert!(after < full - (16 << 20), "{full} {after}");
        }
    }
}
