//! The account of the monitoring card as the member's directory holds it: a refused password proves something only of an account
//! that needs a card and is alive.

use time::OffsetDateTime;

use crate::assess::probes::logon::Session;
use crate::baseline::decode::decode;
use crate::baseline::facts::Fact;
use crate::baseline::value::Value;
use crate::directory::request::{Scope, Search};
use crate::ldap::entry::Entry;
use crate::ldap::filter::Filter;
use crate::policy::documents::{AttributeFact, Decode};
use crate::policy::fault::Place;

/// Bits of userAccountControl ([MS-ADTS] section 2.2.16).
const DISABLED: u32 = 0x2;
const SMARTCARD_REQUIRED: u32 = 0x4_0000;
const WANTED: &[&str] = &["userAccountControl", "accountExpires"];

/// What is known of the account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub requires_card: Fact,
    /// Neither disabled nor past its end.
    pub enabled: Fact,
}

impl Account {
    /// It could not be read.
    pub fn unread(reason: &str) -> Account {
        let fact = Fact::Failed(reason.to_owned());
        Account { requires_card: fact.clone(), enabled: fact }
    }

    fn of(entry: &Entry, at: OffsetDateTime) -> Account {
        let fact = |from: &str, decode_as| {
            let attribute = AttributeFact {
                at: Place::nowhere(),
                from: from.to_owned(),
                decode: decode_as,
                default: None,
                // every account has both: what is not there is kept from ours
                mandatory: true,
                title: None,
            };
            decode(&attribute, &entry.values(from).collect::<Vec<_>>(), at)
        };
        let enabled = match (
            fact("userAccountControl", Decode::NoFlag(DISABLED)),
            fact("accountExpires", Decode::Filetime),
        ) {
            (Fact::Known(Value::Boolean(true)), Fact::Known(Value::Instant(end))) => Fact::boolean(at < end),
            (Fact::Known(Value::Boolean(true)), Fact::Absent) => Fact::boolean(true),
            (Fact::Known(Value::Boolean(true)), unknown) => unknown,
            (other, _) => other,
        };
        Account { requires_card: fact("userAccountControl", Decode::Flag(SMARTCARD_REQUIRED)), enabled }
    }
}

/// Finds the account as a KDC does: by its name in the domain, or by its principal name.
pub async fn look(session: &mut Session, principal: &str, realm: &str, at: OffsetDateTime) -> Account {
    let Some((name, own)) = parts(principal, realm) else {
        return Account::unread("the card's principal is none of this domain");
    };
    let mut names = vec![
        Filter::equal("sAMAccountName", name.as_bytes().to_vec()),
        Filter::equal("userPrincipalName", format!("{name}@{own}").into_bytes()),
    ];
    if name.contains('@') {
        names.push(Filter::equal("userPrincipalName", name.into_bytes()));
    }
    let either = Filter::Or(names.into_iter().map(Filter::into_owned).collect()).into_owned();
    let search = Search::new(&session.contexts.domain, Scope::Subtree, either, WANTED);
    match session.directory.read(&search).await {
        Err(error) => Account::unread(&error.to_string()),
        Ok((_, done)) if done.code != 0 => {
            Account::unread(&format!("the card's account cannot be read: result code {}", done.code))
        }
        Ok((entries, _)) => match entries.as_slice() {
            [entry] => Account::of(entry, at),
            [] => Account::unread("the domain shows our account none that has the card's principal name"),
            _ => Account::unread("several accounts have the card's principal name"),
        },
    }
}

/// Name and realm of a principal as MIT Kerberos reads it; none when the realm is another.
fn parts(principal: &str, realm: &str) -> Option<(String, String)> {
    let (mut name, mut own) = (String::new(), None::<String>);
    let mut letters = principal.chars();
    while let Some(letter) = letters.next() {
        let (letter, plain) = match letter {
            '\\' => (letters.next()?, true),
            other => (other, false),
        };
        match &mut own {
            None if letter == '@' && !plain => own = Some(String::new()),
            None => name.push(letter),
            Some(own) => own.push(letter),
        }
    }
    let own = own.unwrap_or_else(|| realm.to_owned());
    (!name.is_empty() && own.eq_ignore_ascii_case(realm)).then_some((name, own))
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::ldap::entry::Attribute;

    #[test]
    fn principals_are_read_as_kerberos_reads_them() {
        let parts = |text: &str| parts(text, "X.TEST").map(|(name, realm)| format!("{name} {realm}"));
        assert_eq!(parts("monitor@X.TEST").as_deref(), Some("monitor X.TEST"));
        assert_eq!(parts("monitor@x.test").as_deref(), Some("monitor x.test"));
        assert_eq!(parts("monitor").as_deref(), Some("monitor X.TEST"));
        assert_eq!(parts("monitor\\@y.test@X.TEST").as_deref(), Some("monitor@y.test X.TEST"));
        for none in ["", "@X.TEST", "monitor@Y.TEST", "monitor@X.TEST@X.TEST", "monitor\\"] {
            assert_eq!(parts(none), None, "{none}");
        }
    }

    fn read(attributes: &[(&str, &str)]) -> Account {
        let attribute = |(name, value): &(&str, &str)| Attribute {
            description: (*name).to_owned(),
            values: vec![value.as_bytes().to_vec()],
        };
        let attributes = attributes.iter().map(attribute).collect();
        let entry = Entry { dn: "CN=monitor".to_owned(), attributes };
        Account::of(&entry, datetime!(2026-11-10 12:00 UTC))
    }

    #[test]
    fn flags_and_end() {
        const NEVER: &str = "9223372036854775807";
        let card = read(&[("userAccountControl", "262656"), ("accountExpires", NEVER)]);
        assert_eq!(card, Account { requires_card: Fact::boolean(true), enabled: Fact::boolean(true) });
        let disabled = read(&[("userAccountControl", "514"), ("accountExpires", "0")]);
        assert_eq!(disabled, Account { requires_card: Fact::boolean(false), enabled: Fact::boolean(false) });
        let ended = read(&[("userAccountControl", "262656"), ("accountExpires", "132000000000000000")]);
        assert_eq!((ended.requires_card, ended.enabled), (Fact::boolean(true), Fact::boolean(false)));
        // what our account may not see proves nothing
        assert_eq!(read(&[]), Account { requires_card: Fact::Hidden, enabled: Fact::Hidden });
        assert_eq!(read(&[("userAccountControl", "262656")]).enabled, Fact::Hidden);
        assert!(matches!(read(&[("userAccountControl", "x")]).requires_card, Fact::Failed(_)));
    }
}
