//! An account in Active Directory: how it is found, and whether it may log on.

use std::borrow::Cow;

use time::OffsetDateTime;

use crate::directory::request::{Scope, Search};
use crate::ldap::entry::Entry;
use crate::ldap::filter::Filter;
use crate::proxy::home::question::Verdict;
use crate::proxy::requesters::{Account, Home};

/// `ACCOUNTDISABLE`, [MS-ADTS] section 2.2.16.
const DISABLED: i64 = 0x2;
/// Seconds from 1601 to 1970.
const EPOCH_SECONDS: i128 = 11_644_473_600;
/// `accountExpires` of an account that never ends, beside 0 ([MS-ADA1] section 2.2).
const NEVER: i64 = i64::MAX;

const ATTRIBUTES: &[&str] = &[
    "userPrincipalName",
    "sAMAccountName",
    "objectSid",
    "userAccountControl",
    "accountExpires",
    "lockoutTime",
];

/// The question for the one account; None when its identifier cannot be asked for.
pub fn search(home: &Home, base: &str) -> Option<Search> {
    let (base, scope, filter) = match &home.account {
        Account::Principal(name) => (base, Scope::Subtree, user("userPrincipalName", name.as_bytes())),
        Account::Name(name) => (base, Scope::Subtree, user("sAMAccountName", name.as_bytes())),
        Account::Sid(sid) => (base, Scope::Subtree, user("objectSid", &sid_bytes(sid)?)),
        Account::Dn(dn) => (dn.as_str(), Scope::Base, Filter::present("objectClass")),
    };
    let mut search = Search::new(base, scope, filter, ATTRIBUTES);
    // A second one is enough to know that it is not the one.
    search.entries = Some(2);
    Some(search)
}

fn user(attribute: &'static str, value: &[u8]) -> Filter<'static> {
    Filter::And(vec![
        Filter::equal("objectClass", &b"user"[..]),
        Filter::equal(attribute, Cow::Owned(value.to_vec())),
    ])
}

/// What the entries that came say. `lockout`: a `lockoutTime` counts.
pub fn judge(home: &Home, entries: &[Entry], lockout: bool, now: OffsetDateTime) -> Verdict {
    let [entry] = entries else { return Verdict::Refused };
    if !is_the_one(home, entry) {
        return Verdict::Refused;
    }
    let number = |name| entry.text(name).map(str::parse::<i64>);
    let (Some(Ok(control)), Some(Ok(expires))) = (number("userAccountControl"), number("accountExpires"))
    else {
        tracing::error!(
            member = %home.member,
            "an account's state cannot be read: let the gateway's account read userAccountControl and accountExpires"
        );
        return Verdict::Unavailable;
    };
    let ticks = (i128::from(now.unix_timestamp()) + EPOCH_SECONDS) * 10_000_000;
    let expired = expires != 0 && expires != NEVER && i128::from(expires) <= ticks;
    let locked = lockout && !matches!(number("lockoutTime"), None | Some(Ok(0)));
    if control & DISABLED != 0 || expired || locked { Verdict::Refused } else { Verdict::Good }
}

/// A directory compares more loosely than we do (it passes over characters that show nothing): the name must be the very
/// one of the certificate, without case.
fn is_the_one(home: &Home, entry: &Entry) -> bool {
    let named = |attribute, name: &str| entry.text(attribute).is_some_and(|text| text.to_lowercase() == name);
    let sid = |sid: &str| sid_bytes(sid).is_some_and(|bytes| entry.first("objectSid") == Some(&bytes));
    let found = match &home.account {
        Account::Principal(name) => named("userPrincipalName", name),
        Account::Name(name) => named("sAMAccountName", name),
        Account::Sid(text) => sid(text),
        Account::Dn(_) => true,
    };
    found && home.sid.as_deref().is_none_or(sid)
}

/// A SID from its text ([MS-DTYP] sections 2.4.2.1 and 2.4.2.2).
fn sid_bytes(text: &str) -> Option<Vec<u8>> {
    let mut parts = text.strip_prefix("S-1-")?.split('-');
    let authority: u64 = parts.next()?.parse().ok()?;
    let subs: Vec<u32> = parts.map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let count = u8::try_from(subs.len()).ok().filter(|count| (1..=15).contains(count))?;
    let mut bytes = vec![1, count];
    bytes.extend(authority.to_be_bytes().get(2..)?);
    (authority < 1 << 48).then_some(())?;
    subs.iter().for_each(|sub| bytes.extend(sub.to_le_bytes()));
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ldap::entry::Attribute;

    const NOW: OffsetDateTime = time::macros::datetime!(2026-11-24 12:00 UTC);
    const SID: &str = "S-1-5-21-1-2-3-1104";

    fn home(account: Account, sid: Option<&str>) -> Home {
        Home { member: "RXA".parse().unwrap(), account, sid: sid.map(str::to_owned) }
    }

    fn entry(change: &[(&str, Option<&str>)]) -> Entry {
        let mut all = vec![
            ("userPrincipalName", "Ann@rxa.test".as_bytes().to_vec()),
            ("sAMAccountName", b"ann".to_vec()),
            ("objectSid", sid_bytes(SID).unwrap()),
            ("userAccountControl", b"512".to_vec()),
            ("accountExpires", b"9223372036854775807".to_vec()),
        ];
        for (name, value) in change {
            all.retain(|(known, _)| known != name);
            all.extend(value.map(|value| (*name, value.as_bytes().to_vec())));
        }
        let attribute =
            |(name, value): (&str, Vec<u8>)| Attribute { description: name.to_owned(), values: vec![value] };
        Entry { dn: "CN=Ann".to_owned(), attributes: all.into_iter().map(attribute).collect() }
    }

    fn verdict(change: &[(&str, Option<&str>)]) -> Verdict {
        let home = home(Account::Principal("ann@rxa.test".to_owned()), Some(SID));
        judge(&home, &[entry(change)], true, NOW)
    }

    #[test]
    fn accounts_that_may_not_log_on_are_refused() {
        assert_eq!(verdict(&[]), Verdict::Good);
        assert_eq!(verdict(&[("userAccountControl", Some("514"))]), Verdict::Refused);
        assert_eq!(verdict(&[("userAccountControl", Some("262656"))]), Verdict::Good, "smartcard required");
        // 1601 counted in tenths of microseconds; 2026-11-24 12:00 is 134085672000000000.
        for (ticks, expected) in [
            ("0", Verdict::Good),
            ("9223372036854775807", Verdict::Good),
            ("134400024000000000", Verdict::Good),
            ("134085000000000000", Verdict::Refused),
            ("1", Verdict::Refused),
        ] {
            assert_eq!(verdict(&[("accountExpires", Some(ticks))]), expected, "{ticks}");
        }
        assert_eq!(verdict(&[("lockoutTime", Some("0"))]), Verdict::Good);
        assert_eq!(verdict(&[("lockoutTime", Some("133000000000000000"))]), Verdict::Refused);
        let patient = home(Account::Name("ann".to_owned()), None);
        let locked = entry(&[("lockoutTime", Some("133000000000000000"))]);
        assert_eq!(judge(&patient, &[locked], false, NOW), Verdict::Good);
    }

    #[test]
    fn what_cannot_be_told_is_not_good() {
        for name in ["userAccountControl", "accountExpires"] {
            assert_eq!(verdict(&[(name, None)]), Verdict::Unavailable, "{name}");
            assert_eq!(verdict(&[(name, Some("many"))]), Verdict::Unavailable, "{name}");
        }
    }

    #[test]
    fn only_the_very_account_counts() {
        let ann = home(Account::Principal("ann@rxa.test".to_owned()), None);
        assert_eq!(judge(&ann, &[], true, NOW), Verdict::Refused);
        assert_eq!(judge(&ann, &[entry(&[]), entry(&[])], true, NOW), Verdict::Refused);
        assert_eq!(verdict(&[("userPrincipalName", Some("an\u{200b}n@rxa.test"))]), Verdict::Refused);
        assert_eq!(verdict(&[("userPrincipalName", None)]), Verdict::Refused);
        // The certificate's SID is another account's: a name that was given to somebody new (KB5014754).
        let former = home(Account::Principal("ann@rxa.test".to_owned()), Some("S-1-5-21-1-2-3-1105"));
        assert_eq!(judge(&former, &[entry(&[])], true, NOW), Verdict::Refused);
        let by_sid = home(Account::Sid(SID.to_owned()), None);
        assert_eq!(judge(&by_sid, &[entry(&[])], true, NOW), Verdict::Good);
    }

    #[test]
    fn identifiers_as_bytes() {
        let bytes = sid_bytes("S-1-5-32-544").unwrap();
        assert_eq!(bytes, [1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 0x20, 2, 0, 0]);
        for bad in ["S-1-5", "S-1-", "S-2-5-32", "S-1-5-4294967296", "S-1-281474976710656-1", "S-1-5--1"] {
            assert_eq!(sid_bytes(bad), None, "{bad}");
        }
        assert_eq!(search(&home(Account::Sid("S-1-5".to_owned()), None), "DC=x").map(|_| ()), None);
        let asked = search(&home(Account::Name("a*)(b".to_owned()), None), "DC=x").unwrap();
        assert_eq!(asked.filter.to_string(), r"(&(objectClass=user)(sAMAccountName=a\2a\29\28b))");
    }
}
