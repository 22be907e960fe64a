//! Amounts, as kubectl and crictl write them.

/// `64MB` with three significant figures, by powers of ten: sizes of images.
pub(crate) fn decimal(bytes: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    let digits = match value {
        _ if unit == 0 => 0,
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.digits$}{}", units[unit])
}

/// `64Mi`: memory, as `kubectl top` has it.
pub(crate) fn mebibytes(bytes: u64) -> String {
    format!("{}Mi", bytes >> 20)
}

/// `250m` of a core: nanoseconds of CPU in nanoseconds of time, rounded up as metrics are.
pub(crate) fn millicores(used_ns: u64, in_ns: u64) -> String {
    let millis = (u128::from(used_ns) * 1000).div_ceil(u128::from(in_ns.max(1)));
    format!("{millis}m")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_three_figures() {
        for (bytes, want) in [
            (0, "0B"),
            (999, "999B"),
            (1000, "1.00kB"),
            (1_234_567, "1.23MB"),
            (64_000_000, "64.0MB"),
            (999_400_000, "999MB"),
            (999_600_000, "1.00GB"),
            (12_345_678_901, "12.3GB"),
        ] {
            assert_eq!(decimal(bytes), want, "{bytes}");
        }
        assert_eq!(mebibytes(67_108_864), "64Mi");
        assert_eq!(millicores(250_000_000, 1_000_000_000), "250m");
        assert_eq!(millicores(1, 1_000_000_000), "1m");
        assert_eq!(millicores(0, 0), "0m");
    }
}
