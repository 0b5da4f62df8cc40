//! Scalars with a meaning: durations, percentages, dates, rates.

use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, Duration, OffsetDateTime, Time};

/// Seconds of a text like `15m`, `180d`, `2y`; the unit is required. `0` alone is allowed to nobody.
///
/// # Errors
/// One sentence that says what is wrong.
pub fn duration(text: &str) -> Result<i64, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let number: i64 =
        digits.parse().map_err(|_| format!("`{text}` is not a duration such as `15m` or `180d`"))?;
    let size = match unit.trim() {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 604_800,
        "y" => 31_536_000,
        "" => return Err(format!("the duration `{text}` has no unit")),
        other => return Err(format!("`{other}` is no unit of time")),
    };
    let seconds = number.checked_mul(size).filter(|seconds| *seconds <= DURATION_MAX);
    seconds.ok_or_else(|| {
        format!("the duration `{text}` is too long: 100y is the most, and nothing here lasts so long")
    })
}

/// A hundred years: what bounds something by more bounds nothing, and a date so far away may not exist.
const DURATION_MAX: i64 = 100 * 31_536_000;

/// What to do about a duration that was refused.
pub const DURATION_HINT: &str =
    "write a number with s, m, h, d, w or y (365 days), for example `15m` or `180d`";

/// Hundredths of a percent of a text like `2%` or `0.5%`.
///
/// # Errors
/// One sentence that says what is wrong.
pub fn percent(text: &str) -> Result<u32, String> {
    let wrong = || format!("`{text}` is not a percentage such as `2%`");
    let number = text.strip_suffix('%').ok_or_else(wrong)?.trim();
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if part.len() > 2 || whole.is_empty() || !part.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong());
    }
    let whole: u32 = whole.parse().map_err(|_| wrong())?;
    let hundredths: u32 = format!("{part:0<2}").parse().map_err(|_| wrong())?;
    whole.checked_mul(100).and_then(|w| w.checked_add(hundredths)).ok_or_else(wrong)
}

/// The start of a day written `2027-03-31`, in UTC.
///
/// # Errors
/// One sentence that says what is wrong.
pub fn date(text: &str) -> Result<OffsetDateTime, String> {
    Date::parse(text, format_description!("[year]-[month]-[day]"))
        .map(|date| date.with_time(Time::MIDNIGHT).assume_utc())
        .map_err(|_| match text.len() == 10 && text.split('-').all(|part| part.parse::<u32>().is_ok()) {
            true => format!("there is no day `{text}`"),
            false => format!("`{text}` is not a date such as `2027-03-31`"),
        })
}

/// An instant: a date, or a date with time and offset as in RFC 3339; in UTC.
///
/// # Errors
/// One sentence that says what is wrong.
pub fn instant(text: &str) -> Result<OffsetDateTime, String> {
    date(text).or_else(|_| {
        OffsetDateTime::parse(text, &Rfc3339)
            .ok()
            .and_then(|at| at.checked_to_offset(time::UtcOffset::UTC))
            .ok_or_else(|| {
                format!("`{text}` is neither a date nor an instant such as `2027-03-31T12:00:00Z`")
            })
    })
}

/// The end of the day `date`: the first instant that is no longer part of it.
///
/// # Errors
/// One sentence that says what is wrong.
pub fn end_of_day(text: &str) -> Result<OffsetDateTime, String> {
    let start = date(text)?;
    start.checked_add(Duration::DAY).ok_or_else(|| format!("`{text}` is too late"))
}

/// Operations per second of a text like `20/s`.
///
/// # Errors
/// One sentence that says what is wrong.
pub fn rate(text: &str) -> Result<u32, String> {
    text.strip_suffix("/s")
        .and_then(|n| n.trim().parse().ok())
        .ok_or_else(|| format!("`{text}` is not a rate such as `20/s`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_required() {
        assert_eq!(duration("15m"), Ok(900));
        assert_eq!(duration("2y"), Ok(63_072_000));
        assert!(duration("180").unwrap_err().contains("no unit"));
        for long in ["99999999999999999d", "1000000000000000000d", "100000000000000d", "101y"] {
            assert!(duration(long).unwrap_err().contains("too long"), "{long}");
        }
        assert!(duration("100y").is_ok());
        assert!(duration("-1d").is_err() && duration("").is_err() && duration("1 fortnight").is_err());
        assert_eq!(percent("2%"), Ok(200));
        assert_eq!(percent("0.5%"), Ok(50));
        assert!(percent("2").is_err() && percent("%").is_err() && percent("0.555%").is_err());
        assert_eq!(rate("20/s"), Ok(20));
        assert!(date("2027-02-30").is_err());
        assert_eq!(end_of_day("2026-12-31").unwrap(), date("2027-01-01").unwrap());
    }
}
