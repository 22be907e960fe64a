//! The allocator's habits, where the C library has any to change.

/// Makes a process that must stay small give memory back soon: one arena, a low threshold for separate mappings (a big message is
/// unmapped when it is freed) and for returning the top of the heap. With another C library than glibc this does nothing.
pub fn stay_small() {
    #[cfg(target_env = "gnu")]
    {
        for (what, value) in [
            (libc::M_ARENA_MAX, 1),
            (libc::M_MMAP_THRESHOLD, 64 << 10),
            (libc::M_TRIM_THRESHOLD, 64 << 10),
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

#[cfg(test)]
mod tests {
    use super::*;

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
