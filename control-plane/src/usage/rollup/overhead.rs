//! How much Tollgate added to calls, counted in buckets, so that percentiles of any span of hours can be told without
//! looking at its records.
//!
//! Below eight microseconds each has its own bucket; above, every octave has eight.
//!
//! Invariant: a percentile is at most an eighth off.

use crate::usage::fact::COUNT_MAX;

/// Buckets of one octave.
const PER_OCTAVE: i64 = 8;

/// The bucket of so many microseconds; what is less than none is none.
pub(super) fn bucket(overhead_us: i64) -> i32 {
    let overhead = overhead_us.max(0);
    let octave = i64::from(overhead.max(PER_OCTAVE).ilog2() - PER_OCTAVE.ilog2());
    let bucket = octave * PER_OCTAVE + (overhead >> octave);
    i32::try_from(bucket).expect("63 octaves have 504 buckets")
}

/// Where every bucket but the first begins, as Postgres' `width_bucket` takes it.
pub(super) fn bounds() -> Vec<i64> {
    (1..=bucket(COUNT_MAX)).map(first_us).collect()
}

/// The first microsecond of a bucket.
fn first_us(bucket: i32) -> i64 {
    let bucket = i64::from(bucket);
    let octave = (bucket / PER_OCTAVE - 1).max(0);
    (bucket - octave * PER_OCTAVE) << octave
}

/// The 95th percentile in milliseconds of calls counted by bucket, in the order of buckets; `None` without calls.
#[allow(clippy::cast_precision_loss, reason = "nobody has 2^53 calls in a day, or waits for as many microseconds")]
pub(in crate::usage) fn p95_ms(calls: &[(i32, i64)]) -> Option<f64> {
    let total: i64 = calls.iter().map(|(_, calls)| calls).sum();
    let wanted = total as f64 * 0.95;
    let mut below = 0;
    for (bucket, calls) in calls {
        if (below + calls) as f64 >= wanted && *calls > 0 {
            let (first, end) = (first_us(*bucket) as f64, first_us(bucket + 1) as f64);
            let share = (wanted - below as f64) / *calls as f64;
            return Some((first + (end - first) * share) / 1_000.0);
        }
        below += calls;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_meet_and_are_an_eighth_wide_at_most() {
        for bucket in 0..400 {
            let (first, end) = (first_us(bucket), first_us(bucket + 1));
            assert_eq!((super::bucket(first), super::bucket(end - 1)), (bucket, bucket));
            assert!(end - first <= (first / 8).max(1), "{bucket}");
        }
        assert_eq!((bucket(-5), bucket(0), bucket(i64::MAX)), (0, 0, 487));
    }

    #[test]
    fn the_95th_percentile_is_where_19_of_20_calls_are_below() {
        assert_eq!(p95_ms(&[]), None);
        let even: Vec<_> = (0..20).map(|_| (bucket(1_000), 1)).collect();
        let p95 = p95_ms(&even).expect("calls");
        assert!((0.875..=1.125).contains(&p95), "{p95}");
        let p95 = p95_ms(&[(bucket(100), 90), (bucket(50_000), 10)]).expect("calls");
        assert!((43.0..=57.0).contains(&p95), "{p95}");
    }
}
