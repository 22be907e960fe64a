//! Capabilities of this thread by bit masks: bit *n* is capability number *n*, also for numbers that no library knows yet.

use rustix::thread::{CapabilitySet, CapabilitySets};
use std::io;

/// Three of the five sets of capabilities(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CapabilityMasks {
    pub effective: u64,
    pub permitted: u64,
    pub inheritable: u64,
}

/// Number of `CAP_SYS_ADMIN`.
pub const CAP_SYS_ADMIN: u32 = 21;

/// What this thread has.
///
/// # Errors
/// Of `capget`.
pub fn capabilities() -> io::Result<CapabilityMasks> {
    let sets = rustix::thread::capabilities(None)?;
    Ok(CapabilityMasks {
        effective: sets.effective.bits(),
        permitted: sets.permitted.bits(),
        inheritable: sets.inheritable.bits(),
    })
}

/// Sets what this thread has.
///
/// # Errors
/// `EPERM` when it asks for more than is permitted.
pub fn set_capabilities(masks: CapabilityMasks) -> io::Result<()> {
    let sets = CapabilitySets {
        effective: CapabilitySet::from_bits_retain(masks.effective),
        permitted: CapabilitySet::from_bits_retain(masks.permitted),
        inheritable: CapabilitySet::from_bits_retain(masks.inheritable),
    };
    Ok(rustix::thread::set_capabilities(None, sets)?)
}

/// Drops from the bounding set every capability that the kernel knows and `keep` lacks.
///
/// # Errors
/// `EPERM` without `CAP_SETPCAP`, when there is one to drop.
pub fn limit_bounding_set(keep: u64) -> io::Result<()> {
    for number in (0..64_u32).filter(|number| keep & (1 << number) == 0) {
        match bounding_set(libc::PR_CAPBSET_DROP, number) {
            Ok(_) => {}
            // the kernel knows no more
            Err(e) if e.raw_os_error() == Some(libc::EINVAL) => break,
            // none is dropped that is not there
            Err(_) if bounding_set(libc::PR_CAPBSET_READ, number).is_ok_and(|has| has == 0) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

fn bounding_set(operation: libc::c_int, number: u32) -> io::Result<libc::c_int> {
    // SAFETY: prctl(2) with plain numbers; it touches no memory.
    match unsafe { libc::prctl(operation, libc::c_ulong::from(number), 0, 0, 0) } {
        -1 => Err(io::Error::last_os_error()),
        answer => Ok(answer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_gives_its_capabilities_away() -> io::Result<()> {
        if !rustix::process::geteuid().is_root() {
            assert!(std::env::var_os("CI").is_none(), "needs root");
            return Ok(());
        }
        let result = std::thread::spawn(|| -> io::Result<(CapabilityMasks, String)> {
            limit_bounding_set(1 << 10)?;
            let before = capabilities()?;
            set_capabilities(CapabilityMasks {
                effective: before.permitted & (1 << 10),
                permitted: before.permitted & (1 << 10),
                inheritable: 0,
            })?;
            let status = std::fs::read_to_string("/proc/thread-self/status")?;
            Ok((capabilities()?, status))
        })
        .join();
        let Ok(Ok((masks, status))) = result else {
            panic!("{result:?}")
        };
        assert_eq!(
            (masks.effective, masks.permitted, masks.inheritable),
            (1 << 10, 1 << 10, 0)
        );
        assert!(status.contains("CapBnd:\t0000000000000400"), "{status}");
        Ok(())
    }
}
