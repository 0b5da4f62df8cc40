//! What the outcome of a logon proves. Only what is listed here is a refusal: everything else is no verdict, and says why. Pure.

use crate::assess::probes::kinit::{Logon, Said};
use crate::baseline::facts::Fact;
use crate::baseline::value::Value;

/// RFC 4120 section 7.5.9.
const CLIENT_UNKNOWN: i64 = 6;
const POLICY: i64 = 12;
const CLIENT_REVOKED: i64 = 18;
const KEY_EXPIRED: i64 = 23;
const PREAUTH_FAILED: i64 = 24;
const BAD_INTEGRITY: i64 = 31;
/// How a KDC refuses a card: RFC 4120 section 7.5.9, RFC 4556 section 3.1.3. 16 is that of a Windows KDC without a certificate of its
/// own, 31 that of Heimdal where PKINIT is off.
const CARD_REFUSED: [i64; 21] = [
    POLICY,
    16,
    PREAUTH_FAILED,
    BAD_INTEGRITY,
    62,
    63,
    64,
    65,
    66,
    70,
    71,
    72,
    73,
    74,
    75,
    76,
    77,
    78,
    79,
    80,
    81,
];

/// What a password proves by being wrong.
const WRONG: &str = "the password was refused as a wrong one";

/// `password_logon_works`: a password that is only wrong proves something of an account that needs a card, because setting that
/// replaces the password by one that nobody knows.
pub fn password(logon: &Logon, requires_card: &Fact) -> Fact {
    let said = match logon {
        Logon::Granted => return Fact::boolean(true),
        Logon::Failed(said) => said,
    };
    match code(said) {
        Some(POLICY) => Fact::boolean(false),
        Some(PREAUTH_FAILED | BAD_INTEGRITY) => wrong(requires_card),
        Some(CLIENT_REVOKED) => no_verdict(BARRED, said),
        Some(KEY_EXPIRED) => no_verdict(STALE, said),
        Some(CLIENT_UNKNOWN) => no_verdict("the KDC does not know the card's account", said),
        _ => no_verdict("the KDC neither took the password nor refused it", said),
    }
}

const BARRED: &str = "the account is locked, disabled or past its end, so that its password was not tried";
const STALE: &str = "the password has run out or must be changed, so that nothing but that was refused";

fn no_verdict(what: &str, said: &Said) -> Fact {
    Fact::Failed(format!("{what}: {}", said.message))
}

/// The KDC's own code; from the words of MIT's programs (krb5_err.et, kinit.c) when there is no trace.
fn code(said: &Said) -> Option<i64> {
    const WORDS: [(&str, i64); 7] = [
        ("Password incorrect", PREAUTH_FAILED),
        ("Preauthentication failed", PREAUTH_FAILED),
        ("Decrypt integrity check failed", BAD_INTEGRITY),
        ("KDC policy rejects request", POLICY),
        ("Client's credentials have been revoked", CLIENT_REVOKED),
        ("Password has expired", KEY_EXPIRED),
        ("not found in Kerberos database", CLIENT_UNKNOWN),
    ];
    let spoken = || WORDS.iter().find(|(words, _)| said.message.ends_with(words)).map(|(_, code)| *code);
    said.trace.refusal.or_else(spoken)
}

fn wrong(requires_card: &Fact) -> Fact {
    let advice =
        "set \"Smart card is required for interactive logon\" on it, or register the password that it has";
    match requires_card {
        Fact::Known(Value::Boolean(true)) => Fact::boolean(false),
        Fact::Known(_) => Fact::Failed(format!(
            "{WRONG}, which proves nothing of an account that does not require a card: {advice}"
        )),
        other => {
            let reason = match other {
                Fact::Failed(reason) | Fact::NotCollected(reason) => reason,
                _ => "our account may not read its userAccountControl",
            };
            Fact::Failed(format!(
                "{WRONG}, which proves nothing while it is not known that the account requires a card: {reason}"
            ))
        }
    }
}

/// `simple_bind_works`, by result code and text. Active Directory writes why into the text of invalidCredentials
/// (`... AcceptSecurityContext error, data 52e, v4563`), as Samba does.
pub fn simple_bind(code: u32, text: &str, requires_card: &Fact) -> Fact {
    match code {
        0 => Fact::boolean(true),
        // strongerAuthRequired: no password binds here
        8 => Fact::boolean(false),
        49 => match data(text) {
            // a wrong password; an account that is restricted
            Some("52e" | "52f") => wrong(requires_card),
            Some("532" | "773") => Fact::Failed(STALE.to_owned()),
            Some("533" | "701" | "775") => Fact::Failed(BARRED.to_owned()),
            Some("525") => Fact::Failed("the directory does not know the card's account".to_owned()),
            Some("530" | "531") => Fact::Failed(
                "the account may not log on now, or not from here: its password was not refused".to_owned(),
            ),
            other => {
                let other = other.map_or_else(String::new, |data| format!(" (data {data})"));
                Fact::Failed(format!("the bind was refused, and the directory does not say why{other}"))
            }
        },
        other => Fact::Failed(format!("the bind ended with result code {other}, which refuses no password")),
    }
}

fn data(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("AcceptSecurityContext error, data ")?;
    let end = rest.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(rest.len());
    rest.get(..end).filter(|data| (1..=8).contains(&data.len()))
}

/// How a logon with the card ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CardLogon {
    Works,
    /// The KDC said no, or what it said is not to be believed.
    Refused(String),
    /// The answer could not be read with the key that was agreed on, which happens by chance.
    Unreadable(String),
    /// Nothing was refused: our side did not come so far.
    NotTried(String),
}

/// Whose fault it is that a card got no ticket.
pub fn card(logon: &Logon) -> CardLogon {
    let said = match logon {
        Logon::Granted => return CardLogon::Works,
        Logon::Failed(said) => said,
    };
    let (trace, message) = (&said.trace, &said.message);
    if !trace.card_sent {
        return match (&trace.card_problem, trace.refusal, trace.offers_certificates) {
            (_, Some(_), _) => CardLogon::NotTried(format!("the KDC asked for no card: {message}")),
            (_, None, Some(false)) => {
                CardLogon::Refused("the KDC does not offer logon with a certificate".to_owned())
            }
            (Some(problem), None, _) => {
                CardLogon::NotTried(format!("the card could not be used here: {problem}"))
            }
            (None, None, _) => CardLogon::NotTried(format!("no logon took place: {message}")),
        };
    }
    if let Some(problem) = &trace.reply_problem {
        return CardLogon::Refused(format!("the KDC's answer is not to be believed: {problem}"));
    }
    match trace.refusal {
        Some(code) if CARD_REFUSED.contains(&code) => {
            CardLogon::Refused(format!("the KDC refuses the card: {}", refusal(code, message)))
        }
        Some(CLIENT_REVOKED) => CardLogon::NotTried(format!(
            "the monitoring account is locked, disabled or past its end: {message}"
        )),
        Some(_) => CardLogon::NotTried(format!("the KDC neither took the card nor refused it: {message}")),
        None if trace.reply_unreadable => CardLogon::Unreadable(
            "the KDC's answer could not be read with the key that was agreed on".to_owned(),
        ),
        None => CardLogon::NotTried(format!("no logon took place: {message}")),
    }
}

/// MIT calls everything that is not decrypted a wrong password; no password was sent.
fn refusal(code: i64, message: &str) -> String {
    match code {
        PREAUTH_FAILED | BAD_INTEGRITY => format!("pre-authentication failed (error {code})"),
        _ => format!("{message} (error {code})"),
    }
}

#[cfg(test)]
mod tests;
