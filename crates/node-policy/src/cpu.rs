//! Millicores as the scheduler of the kernel takes them.

use pod_model::Quantity;

/// The least share there is, and what a container without a request gets.
pub const MIN_SHARES: u64 = 2;
pub const MAX_SHARES: u64 = 262_144;
/// 100 ms.
pub const DEFAULT_PERIOD_US: u64 = 100_000;
/// The kernel takes no quota below 1 ms.
pub const MIN_QUOTA_US: u64 = 1_000;

/// `cpu.shares` of cgroup v1: 1,024 per core, within the kernel's bounds.
pub fn shares(cpu: Quantity) -> u64 {
    u64::try_from(cpu.milli().max(0).saturating_mul(1024) / 1000)
        .unwrap_or(MAX_SHARES)
        .clamp(MIN_SHARES, MAX_SHARES)
}

/// `cpu.weight` of cgroup v2 (1..=10000) for shares of v1: the curve through (2, 1), (1024, 100) and (262144, 10000) that runc ≥ 1.3 and
/// crun ≥ 1.23 use, so that a default share stays a default weight. The straight line of before gave 1,024 shares a weight of 39.
pub fn weight(shares: u64) -> u64 {
    if shares <= MIN_SHARES {
        return 1;
    }
    if shares >= MAX_SHARES {
        return 10_000;
    }
    // 2..262144 is exact in an f64; the result lies in 1..10000
    let l = (shares as f64).log2();
    let exponent = (l * l + 125.0 * l) / 612.0 - 7.0 / 34.0;
    (10f64.powf(exponent).ceil() as u64).clamp(1, 10_000)
}

/// The CFS quota in microseconds per period for a limit; `None` when there is no limit.
pub fn quota_us(limit: Option<Quantity>, period_us: u64) -> Option<u64> {
    let milli = limit?.milli();
    if milli <= 0 {
        return None;
    }
    let quota = milli.saturating_mul(i128::from(period_us)) / 1000;
    Some(u64::try_from(quota).unwrap_or(u64::MAX).max(MIN_QUOTA_US))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn milli(m: i128) -> Quantity {
        Quantity::from_milli(m)
    }

    #[test]
    fn shares_are_1024_per_core_within_the_kernels_bounds() {
        for (cpu, expected) in [
            (0, 2),
            (1, 2),
            (2, 2),
            (3, 3),
            (100, 102),
            (1000, 1024),
            (1500, 1536),
            (256_000, 262_144),
            (1_000_000, 262_144),
        ] {
            assert_eq!(shares(milli(cpu)), expected, "{cpu}m");
        }
    }

    #[test]
    fn weights_are_runcs() {
        for (shares, expected) in [
            (0, 1),
            (2, 1),
            (1024, 100),
            (262_144, 10_000),
            (300_000, 10_000),
            (102, 17),
            (512, 59),
            (2048, 174),
        ] {
            assert_eq!(weight(shares), expected, "{shares}");
        }
    }

    #[test]
    fn quotas_are_at_least_a_millisecond_and_absent_without_a_limit() {
        assert_eq!(quota_us(None, DEFAULT_PERIOD_US), None);
        assert_eq!(quota_us(Some(milli(0)), DEFAULT_PERIOD_US), None);
        assert_eq!(quota_us(Some(milli(1)), DEFAULT_PERIOD_US), Some(1_000));
        assert_eq!(quota_us(Some(milli(250)), DEFAULT_PERIOD_US), Some(25_000));
        assert_eq!(
            quota_us(Some(milli(2500)), DEFAULT_PERIOD_US),
            Some(250_000)
        );
    }
}
