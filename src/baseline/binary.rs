//! Attribute values that are structures of bytes.

use time::OffsetDateTime;

/// Seconds from 1601-01-01 (DSTIME) to 1970-01-01.
const DSTIME_TO_UNIX: i64 = 11_644_473_600;
/// 100 ns in a second.
const TICKS: i64 = 10_000_000;
/// Bytes of the head and of one entry of `replPropertyMetaData`.
const HEAD: usize = 16;
const ENTRY: usize = 48;

/// The last change of one attribute of an object, as replication has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// How many times it was changed.
    pub version: u32,
    pub at: OffsetDateTime,
}

/// Seconds of a validity or renewal period: eight bytes, little-endian, a negative count of 100 ns ([MS-CRTD] section 2.22).
///
/// # Errors
/// Not eight bytes, or a period that is not negative.
pub fn period(bytes: &[u8]) -> Result<i64, String> {
    let ticks = bytes.try_into().map(i64::from_le_bytes).map_err(|_| "not a period of eight bytes")?;
    match ticks {
        ..0 => Ok((ticks / TICKS).saturating_abs()),
        _ => Err("a period that is not negative".to_owned()),
    }
}

/// The last change of the attribute with this identifier in `replPropertyMetaData`: version 1, a count, and so many entries of
/// identifier, version, time, originating controller and two sequence numbers ([MS-DRSR] section 5.166). None when the
/// attribute was never set.
///
/// # Errors
/// Anything that is not so, to the last byte.
pub fn last_change(bytes: &[u8], attribute: u32) -> Result<Option<Change>, String> {
    let wrong = || "not metadata of replication".to_owned();
    let word = |bytes: &[u8], at: usize| {
        let four = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>());
        four.map(|four| u32::from_le_bytes(*four)).ok_or_else(wrong)
    };
    if word(bytes, 0)? != 1 {
        return Err(wrong());
    }
    let count = usize::try_from(word(bytes, 8)?).map_err(|_| wrong())?;
    let entries = bytes.get(HEAD..).ok_or_else(wrong)?;
    if count.checked_mul(ENTRY) != Some(entries.len()) {
        return Err(wrong());
    }
    for entry in entries.as_chunks::<ENTRY>().0 {
        if word(entry, 0)? == attribute {
            let time = entry.get(8..).and_then(|rest| rest.first_chunk::<8>()).ok_or_else(wrong)?;
            let seconds = i64::from_le_bytes(*time).checked_sub(DSTIME_TO_UNIX).ok_or_else(wrong)?;
            let at = OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| wrong())?;
            return Ok(Some(Change { version: word(entry, 4)?, at }));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    fn metadata(entries: &[(u32, u32, i64)]) -> Vec<u8> {
        let mut out = [1u32, 0, u32::try_from(entries.len()).unwrap(), 0].map(u32::to_le_bytes).concat();
        for (attribute, version, seconds) in entries {
            out.extend(attribute.to_le_bytes());
            out.extend(version.to_le_bytes());
            out.extend(seconds.to_le_bytes());
            out.extend([0; 32]);
        }
        out
    }

    #[test]
    fn a_period_is_a_negative_count() {
        let year = -(365 * 86_400 * TICKS);
        assert_eq!(period(&year.to_le_bytes()), Ok(365 * 86_400));
        // the value of one year in a template that comes with Windows
        assert_eq!(period(&[0x00, 0x40, 0x39, 0x87, 0x2e, 0xe1, 0xfe, 0xff]), Ok(365 * 86_400));
        assert!(period(&[0; 8]).is_err() && period(&[0; 7]).is_err());
        assert_eq!(period(&i64::MIN.to_le_bytes()), Ok((i64::MIN / TICKS).abs()));
    }

    #[test]
    fn the_change_of_one_attribute() {
        let bytes = metadata(&[(3, 1, 0), (0x9_005a, 2, 13_440_359_615)]);
        let found = last_change(&bytes, 0x9_005a).unwrap().unwrap();
        assert_eq!(found, Change { version: 2, at: datetime!(2026-11-28 17:13:35 UTC) });
        assert_eq!(last_change(&bytes, 0x9_0060), Ok(None));
        assert!(last_change(&bytes[..bytes.len() - 1], 3).is_err());
        assert!(last_change(&metadata(&[(3, 1, i64::MIN)]), 3).is_err());
        assert!(last_change(&[], 3).is_err());
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..150)) {
            let _ = (period(&bytes), last_change(&bytes, 3));
        }
    }
}
