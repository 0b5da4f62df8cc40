//! Raw attribute values to facts: the one place where the directory's units end.

use std::collections::BTreeSet;

use time::{Date, Duration, Month, OffsetDateTime, Time};

use crate::baseline::binary;
use crate::baseline::catalogue::decoded_type;
use crate::baseline::certificate;
use crate::baseline::facts::Fact;
use crate::baseline::literal;
use crate::baseline::value::Value;
use crate::policy::documents::{AttributeFact, Decode};

/// Seconds from 1601-01-01 (FILETIME) to 1970-01-01.
const FILETIME_TO_UNIX: i64 = 11_644_473_600;
/// How far the clocks of a controller and ours may be apart.
const CLOCKS: Duration = Duration::hours(1);
/// 100 ns in a second.
const TICKS: i64 = 10_000_000;

/// The fact that `values` (as the directory sent them, in its order) say. `at` is the time of collection: ages are
/// taken at it.
pub fn decode(attribute: &AttributeFact, values: &[&[u8]], at: OffsetDateTime) -> Fact {
    match (&attribute.decode, values.is_empty()) {
        (Decode::Count, _) => Fact::integer(i64::try_from(values.len()).unwrap_or(i64::MAX)),
        (Decode::Present, _) => Fact::boolean(!values.is_empty()),
        (_, true) if attribute.mandatory => Fact::Hidden,
        (_, true) => absent(attribute),
        (decode, false) => match value(decode, values, at) {
            Ok(Some(value)) => Fact::Known(value),
            Ok(None) => absent(attribute),
            Err(reason) => Fact::Failed(format!("{}: {reason}", attribute.from)),
        },
    }
}

fn absent(attribute: &AttributeFact) -> Fact {
    let default = attribute.default.as_ref();
    match default.and_then(|node| literal::value(node, &decoded_type(&attribute.decode)).ok()) {
        Some(value) => Fact::Known(value),
        None => Fact::Absent,
    }
}

/// Seconds since a moment. Clocks differ a little; what is to come has no age.
fn age(bytes: &[u8], at: OffsetDateTime) -> Result<Option<i64>, String> {
    match moment(bytes)? {
        Some(then) if then > at + CLOCKS => Err("lies in the future".to_owned()),
        then => Ok(then.map(|then| (at - then).whole_seconds().max(0))),
    }
}

/// `Ok(None)` is a sentinel that means "never" or "not set".
fn value(decode: &Decode, values: &[&[u8]], at: OffsetDateTime) -> Result<Option<Value>, String> {
    let one = || match values {
        [only] => Ok(*only),
        _ => Err(format!("{} values where one is expected", values.len())),
    };
    let number = || one().and_then(integer);
    Ok(Some(match decode {
        Decode::Integer => Value::Integer(number()?),
        Decode::String => Value::Text(text(one()?)?),
        Decode::Boolean => match one()? {
            b"TRUE" => Value::Boolean(true),
            b"FALSE" => Value::Boolean(false),
            _ => return Err("neither TRUE nor FALSE".into()),
        },
        Decode::Flag(mask) => Value::Boolean(bits(number()?)? & mask == *mask),
        Decode::NoFlag(mask) => Value::Boolean(bits(number()?)? & mask == 0),
        Decode::Flags(names) => {
            let set = bits(number()?)?;
            let named = names.iter().filter(|(_, mask)| set & **mask == **mask);
            Value::Flags(named.map(|(name, _)| name.clone()).collect())
        }
        Decode::Enum(names) => {
            let n = number()?;
            Value::Word(names.get(&n).cloned().ok_or_else(|| format!("{n} has no name"))?)
        }
        Decode::Filetime => match filetime(number()?)? {
            Some(at) => Value::Instant(at),
            None => return Ok(None),
        },
        Decode::Age => match age(one()?, at)? {
            Some(seconds) => Value::Duration(seconds),
            None => return Ok(None),
        },
        Decode::Interval => match number()? {
            0 | i64::MIN => return Ok(None),
            ticks => Value::Duration((ticks / TICKS).saturating_abs()),
        },
        Decode::GeneralizedTime => Value::Instant(generalized_time(&text(one()?)?)?),
        Decode::Sid => Value::Sid(sid(one()?)?),
        Decode::Guid => Value::Guid(guid(one()?)?),
        Decode::Dn => Value::Dn(text(one()?)?),
        Decode::Count => Value::Integer(i64::try_from(values.len()).unwrap_or(i64::MAX)),
        Decode::Present => Value::Boolean(true),
        Decode::Strings | Decode::Oids | Decode::Dns => Value::Set(texts(values)?),
        Decode::Sids => Value::Set(values.iter().map(|value| sid(value)).collect::<Result<_, _>>()?),
        Decode::KeyFingerprints => {
            let fingerprint = |value: &&[u8]| certificate::key_sha256(value).ok_or("not a certificate");
            Value::Set(values.iter().map(fingerprint).collect::<Result<_, _>>()?)
        }
        Decode::CertificateFaults => {
            let faults = values.iter().flat_map(|value| certificate::faults(value, at));
            Value::Set(faults.map(str::to_owned).collect())
        }
        Decode::ZoneUpdate => match zone_update(values)? {
            Some(word) => Value::Word(word.to_owned()),
            None => return Ok(None),
        },
        Decode::BinaryInterval => Value::Duration(binary::period(one()?)?),
        Decode::ChangeAge(attribute) | Decode::ChangeCount(attribute) => {
            let counts = matches!(decode, Decode::ChangeCount(_));
            return Ok(binary::last_change(one()?, *attribute)?.map(|change| changed(change, counts, at)));
        }
        Decode::Character(position) => {
            let index = usize::try_from(*position).unwrap_or(usize::MAX).saturating_sub(1);
            let found = text(one()?)?.chars().nth(index).unwrap_or('0');
            Value::Text(found.to_string())
        }
        Decode::FunctionalLevel => Value::Version(functional_level(number()?)?.to_owned()),
    }))
}

/// How often it changed, or how long ago.
fn changed(change: binary::Change, counts: bool, at: OffsetDateTime) -> Value {
    match counts {
        true => Value::Integer(i64::from(change.version)),
        false => Value::Duration((at - change.at).whole_seconds()),
    }
}

fn text(bytes: &[u8]) -> Result<String, String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| "not a text".into())
}

fn texts(values: &[&[u8]]) -> Result<BTreeSet<String>, String> {
    values.iter().map(|value| text(value)).collect()
}

fn integer(bytes: &[u8]) -> Result<i64, String> {
    let text = text(bytes)?;
    text.trim().parse().map_err(|_| "not an integer".into())
}

/// AD writes flags as signed 32-bit numbers.
fn bits(number: i64) -> Result<u32, String> {
    u32::try_from(number)
        .or_else(|_| i32::try_from(number).map(i32::cast_unsigned))
        .map_err(|_| "not a 32-bit number".into())
}

fn filetime(ticks: i64) -> Result<Option<OffsetDateTime>, String> {
    if ticks == 0 || ticks == i64::MAX {
        return Ok(None);
    }
    let seconds = ticks.div_euclid(TICKS) - FILETIME_TO_UNIX;
    let nanoseconds = ticks.rem_euclid(TICKS) * 100;
    OffsetDateTime::from_unix_timestamp(seconds)
        .ok()
        .and_then(|at| at.checked_add(Duration::nanoseconds(nanoseconds)))
        .map(Some)
        .ok_or_else(|| "not a time".into())
}

/// A FILETIME or a GeneralizedTime.
fn moment(bytes: &[u8]) -> Result<Option<OffsetDateTime>, String> {
    let text = text(bytes)?;
    match text.parse() {
        Ok(ticks) => filetime(ticks),
        Err(_) => generalized_time(&text).map(Some),
    }
}

/// `YYYYMMDDHHMMSS[.f]Z` (RFC 4517 section 3.3.13; AD always writes UTC and seconds).
fn generalized_time(text: &str) -> Result<OffsetDateTime, String> {
    let wrong = || "not a GeneralizedTime".to_owned();
    let body = text.strip_suffix('Z').ok_or_else(wrong)?;
    let digits = body.split(['.', ',']).next().unwrap_or("");
    if digits.len() != 14 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong());
    }
    let part = |from: usize, to: usize| -> Result<u16, String> {
        digits.get(from..to).and_then(|d| d.parse().ok()).ok_or_else(wrong)
    };
    let small = |from, to| part(from, to).and_then(|n| u8::try_from(n).map_err(|_| wrong()));
    let month = Month::try_from(small(4, 6)?).map_err(|_| wrong())?;
    let date = Date::from_calendar_date(i32::from(part(0, 4)?), month, small(6, 8)?).map_err(|_| wrong())?;
    let time = Time::from_hms(small(8, 10)?, small(10, 12)?, small(12, 14)?.min(59)).map_err(|_| wrong())?;
    Ok(date.with_time(time).assume_utc())
}

/// [MS-DTYP] 2.4.2.2.
fn sid(bytes: &[u8]) -> Result<String, String> {
    let wrong = || "not a SID".to_owned();
    let (head, rest) = bytes.split_at_checked(8).ok_or_else(wrong)?;
    let [1, count, authority @ ..] = head else { return Err(wrong()) };
    if rest.len() != usize::from(*count) * 4 {
        return Err(wrong());
    }
    let authority = authority.iter().fold(0u64, |n, b| n << 8 | u64::from(*b));
    let mut out = format!("S-1-{authority}");
    for part in rest.as_chunks::<4>().0 {
        out.push_str(&format!("-{}", u32::from_le_bytes(*part)));
    }
    Ok(out)
}

/// [MS-DTYP] 2.3.4.2: the first three groups are little-endian.
fn guid(bytes: &[u8]) -> Result<String, String> {
    let bytes: [u8; 16] = bytes.try_into().map_err(|_| "not a GUID".to_owned())?;
    Ok(uuid::Uuid::from_bytes_le(bytes).to_string())
}

/// The property DSPROPERTY_ZONE_ALLOW_UPDATE of a zone ([MS-DNSP] 2.3.2.1): lengths of data and name, flag, version, id (4
/// bytes each, little-endian), then the data.
fn zone_update(values: &[&[u8]]) -> Result<Option<&'static str>, String> {
    const ALLOW_UPDATE: u32 = 2;
    let wrong = || "not a property of a zone".to_owned();
    for value in values {
        let (head, rest) = value.split_at_checked(20).ok_or_else(wrong)?;
        let [length, _, _, _, id] = head.as_chunks::<4>().0 else { return Err(wrong()) };
        if u32::from_le_bytes(*id) != ALLOW_UPDATE {
            continue;
        }
        let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| wrong())?;
        let word = match rest.get(..length).ok_or_else(wrong)? {
            [] => return Err(wrong()),
            [0, ..] => "none",
            [1, ..] => "unsecured",
            [2, ..] => "secure",
            [other, ..] => return Err(format!("{other} says nothing about updates that is known")),
        };
        return Ok(Some(word));
    }
    Ok(None)
}

/// [MS-ADTS] 6.1.4.2.
fn functional_level(number: i64) -> Result<&'static str, String> {
    Ok(match number {
        0 => "windows2000",
        1 => "windows2003interim",
        2 => "windows2003",
        3 => "windows2008",
        4 => "windows2008r2",
        5 => "windows2012",
        6 => "windows2012r2",
        7 => "windows2016",
        10 => "windows2025",
        _ => return Err(format!("{number} is no functional level that is known")),
    })
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::policy::fault::Place;

    const NOW: OffsetDateTime = datetime!(2026-11-24 12:00 UTC);

    fn fact(decode_as: Decode, values: &[&str]) -> Fact {
        let attribute = AttributeFact {
            at: Place::nowhere(),
            from: "x".into(),
            decode: decode_as,
            default: None,
            mandatory: false,
            title: None,
        };
        let values: Vec<Vec<u8>> = values.iter().map(|v| v.as_bytes().to_vec()).collect();
        let values: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
        decode(&attribute, &values, NOW)
    }

    #[test]
    fn both_never_sentinels_are_absent() {
        for never in ["0", "9223372036854775807"] {
            assert_eq!(fact(Decode::Filetime, &[never]), Fact::Absent);
            assert_eq!(fact(Decode::Age, &[never]), Fact::Absent);
        }
        for never in ["0", "-9223372036854775808"] {
            assert_eq!(fact(Decode::Interval, &[never]), Fact::Absent);
        }
    }

    #[test]
    fn units() {
        assert_eq!(fact(Decode::Interval, &["-18000000000"]), Fact::duration(1_800));
        let at = Fact::Known(Value::Instant(datetime!(2012-12-14 15:06:40 UTC)));
        assert_eq!(fact(Decode::Filetime, &["129999712000000000"]), at);
        assert_eq!(fact(Decode::Age, &["20261123120000.0Z"]), Fact::duration(86_400));
        assert_eq!(fact(Decode::Flag(0x40000), &["262656"]), Fact::boolean(true));
        assert_eq!(fact(Decode::Flag(0x8000_0000), &["-2147483640"]), Fact::boolean(true));
        assert_eq!(fact(Decode::Count, &[]), Fact::integer(0));
        assert_eq!(fact(Decode::Character(7), &["0000002"]), Fact::text("2"));
        assert_eq!(fact(Decode::Character(7), &["001"]), Fact::text("0"));
        let level = Fact::Known(Value::Version("windows2016".into()));
        assert_eq!(fact(Decode::FunctionalLevel, &["7"]), level);
        assert!(matches!(fact(Decode::Integer, &["1", "2"]), Fact::Failed(_)));
        assert!(matches!(fact(Decode::Integer, &["x"]), Fact::Failed(_)));
    }

    #[test]
    fn identifiers() {
        let sid_bytes = [1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 32, 2, 0, 0];
        assert_eq!(sid(&sid_bytes), Ok("S-1-5-32-544".into()));
        assert!(sid(&[1, 9, 0]).is_err());
    }

    #[test]
    fn zones() {
        let property = |id: u8, data: &[u8]| {
            let mut bytes = vec![u8::try_from(data.len()).unwrap(), 0, 0, 0];
            bytes.extend([0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, id, 0, 0, 0]);
            bytes.extend(data);
            bytes.push(0);
            bytes
        };
        assert_eq!(zone_update(&[&property(1, &[1, 0, 0, 0]), &property(2, &[1])]), Ok(Some("unsecured")));
        assert_eq!(zone_update(&[&property(2, &[2, 0, 0, 0])]), Ok(Some("secure")));
        assert_eq!(zone_update(&[&property(1, &[1, 0, 0, 0])]), Ok(None));
        assert!(zone_update(&[&property(2, &[])]).is_err());
        assert!(zone_update(&[&[1, 0, 0]]).is_err());
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..40)) {
            for kind in [Decode::Integer, Decode::Filetime, Decode::Age, Decode::Interval, Decode::Sid, Decode::Guid,
                Decode::GeneralizedTime, Decode::Flag(1), Decode::Boolean, Decode::Sids, Decode::KeyFingerprints,
                Decode::CertificateFaults, Decode::ZoneUpdate, Decode::Strings, Decode::FunctionalLevel] {
                let _ = value(&kind, &[&bytes], NOW);
            }
        }

        #[test]
        fn no_number_panics(n in proptest::num::i64::ANY) {
            for kind in [Decode::Filetime, Decode::Age, Decode::Interval, Decode::Flag(1)] {
                let _ = value(&kind, &[n.to_string().as_bytes()], NOW);
            }
        }
    }
}
