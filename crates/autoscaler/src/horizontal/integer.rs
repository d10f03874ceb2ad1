//! Integers as the Kubernetes controller has them on amd64, where a float that does not fit becomes
//! the smallest integer. Decisions must agree even there.

/// Truncates to 32 bits; what does not fit, and NaN, is `i32::MIN`.
pub(super) fn to_i32(value: f64) -> i32 {
    let truncated = value.trunc();
    if (-2_147_483_648.0..=2_147_483_647.0).contains(&truncated) {
        truncated as i32
    } else {
        i32::MIN
    }
}

/// Truncates to 64 bits; what does not fit, and NaN, is `i64::MIN`.
pub(super) fn to_i64(value: f64) -> i64 {
    let truncated = value.trunc();
    // 2^63 itself does not fit.
    if (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&truncated) {
        truncated as i64
    } else {
        i64::MIN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_becomes_the_smallest_integer() {
        assert_eq!(to_i32(2_147_483_647.9), i32::MAX);
        assert_eq!(to_i32(2_147_483_648.0), i32::MIN);
        assert_eq!(to_i32(-7.9), -7);
        assert_eq!(to_i32(f64::NAN), i32::MIN);
        assert_eq!(to_i64(f64::INFINITY), i64::MIN);
        assert_eq!(to_i64(9.0e15), 9_000_000_000_000_000);
    }
}
