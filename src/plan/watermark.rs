//! How far a pass has read. Pure.

use std::time::Duration;

use crate::model::Timestamp;

/// The watermark after a complete read: the tenant's own clock when the pass began, less an overlap; never
/// "now at the end", because what changed while the pass ran has not been read.
///
/// `date` is the `Date` of the first successful list answer, `began` our clock at the start of the pass, and
/// `newest` the newest `lastModified` seen up to that answer, which stands in for a missing `Date`: one that was seen
/// later may be newer than a change on a page that had been read by then. The smaller of the two clocks counts.
/// `None` leaves the watermark where it is.
#[must_use]
pub fn watermark(
    date: Option<Timestamp>,
    began: Timestamp,
    newest: Option<Timestamp>,
    overlap: Duration,
) -> Option<Timestamp> {
    let tenant = date.or(newest)?;
    Some(tenant.min(began).minus(overlap))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    #[test]
    fn the_smaller_clock_counts_less_the_overlap() {
        let overlap = Duration::from_mins(2);
        for (date, began, newest, expected) in [
            (Some(1000), 1000, Some(5000), Some(880)),
            (Some(1000), 4600, None, Some(880)),
            (Some(4600), 1000, None, Some(880)),
            (None, 1000, Some(700), Some(580)),
            (None, 1000, Some(9000), Some(880)),
            (None, 1000, None, None),
        ] {
            let after = watermark(date.map(at), at(began), newest.map(at), overlap);
            assert_eq!(after, expected.map(at), "{date:?} {began} {newest:?}");
        }
    }
}
