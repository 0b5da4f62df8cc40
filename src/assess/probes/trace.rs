//! What MIT's trace of a logon (`KRB5_TRACE`) tells that the message of `kinit` does not: which error the KDC sent, whether the
//! card was used at all, and why not. Pure.

/// `ERROR_TABLE_BASE_krb5`: an error of a KDC is this and its code (RFC 4120 section 7.5.9, RFC 4556 section 3.1.3).
const BASE: i64 = -1_765_328_384;
/// KDC_ERR_PREAUTH_REQUIRED and KRB_ERR_RESPONSE_TOO_BIG are steps of every logon.
const STEPS: [i64; 2] = [25, 52];
/// Longer texts are cut.
const TEXT_MAX: usize = 200;

/// The course of one logon.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trace {
    /// The first error of the KDC, as the code of RFC 4120; after the card was sent only what answers it.
    pub refusal: Option<i64>,
    /// Whether the KDC offers logon with a certificate; none when it did not say.
    pub offers_certificates: Option<bool>,
    /// A request that the card had signed was sent.
    pub card_sent: bool,
    /// Why the card signed nothing.
    pub card_problem: Option<String>,
    /// Why the answer to the card is not believed.
    pub reply_problem: Option<String>,
    /// The answer could not be read with the key that was agreed on.
    pub reply_unreadable: bool,
}

impl Trace {
    /// Reads what a program said to its standard error; lines that are no trace are passed over.
    pub fn read(said: &str) -> Trace {
        let mut trace = Trace::default();
        // what went wrong comes first, that the card is given up last
        let (mut cause, mut given_up) = (None, None);
        for event in said.lines().filter_map(event) {
            if let Some(error) = event.strip_prefix("Received error from KDC: ") {
                let code = code(error).map(|code| code - BASE).filter(|code| !STEPS.contains(code));
                trace.refusal = trace.refusal.or(code);
            } else if let Some(kinds) = event.strip_prefix("Processing preauth types: ") {
                trace.offers_certificates.get_or_insert(kinds.contains("PA-PK-AS-REQ (16)"));
            } else if event.starts_with("Produced preauth for next request: PA-PK-AS-REQ (16)") {
                trace.card_sent = true;
                trace.refusal = None;
            } else if event.starts_with("Decrypt with preauth AS key failed") {
                trace.reply_unreadable = true;
            } else if let Some(result) = event.strip_prefix("Preauth module pkinit (17) (real) returned: ") {
                trace.reply_problem = trace.reply_problem.or_else(|| failure(result));
            } else if let Some(result) = event.strip_prefix("Preauth module pkinit (16) (real) returned: ") {
                given_up = given_up.or_else(|| failure(result));
            } else if let Some(own) = event.strip_prefix("PKINIT ") {
                cause = cause.or_else(|| own_fault(own));
            }
        }
        if !trace.card_sent {
            trace.card_problem = cause.or(given_up);
        }
        trace
    }
}

/// An event, without process and time; none when the line is no trace.
pub fn event(line: &str) -> Option<&str> {
    let (stamp, event) = line.strip_prefix('[')?.split_once(": ")?;
    let (process, time) = stamp.split_once("] ")?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    (digits(process) && digits(time)).then_some(event)
}

/// The code of `-1765328360/Preauthentication failed`.
fn code(result: &str) -> Option<i64> {
    result.split('/').next()?.parse().ok()
}

/// What a module that did not succeed says.
fn failure(result: &str) -> Option<String> {
    let text = result.split_once('/').map_or(result, |(_, text)| text);
    (code(result) != Some(0)).then(|| shown(text))
}

/// A file that cannot be read, a module that cannot be loaded, a PIN that is wrong, a certificate that does not hold.
fn own_fault(event: &str) -> Option<String> {
    if let Some(error) = event.strip_prefix("OpenSSL error: ") {
        return Some(shown(error));
    }
    event.contains(" failed: ").then(|| shown(event))
}

fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(TEXT_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As MIT Kerberos 1.20 writes it.
    fn traced(events: &[&str]) -> Trace {
        let lines: Vec<String> = events.iter().map(|event| format!("[71] 1795907144.62: {event}")).collect();
        Trace::read(&format!("{}\nkinit: something while getting initial credentials\n", lines.join("\n")))
    }

    const HINT: [&str; 2] = [
        "Received error from KDC: -1765328359/Additional pre-authentication required",
        "Processing preauth types: PA-PK-AS-REQ (16), PA-PK-AS-REP_OLD (15), PA-ENC-TIMESTAMP (2), 655",
    ];
    const SENT: &str = "Produced preauth for next request: PA-PK-AS-REQ (16)";

    #[test]
    fn a_card_that_is_refused() {
        let trace = traced(&[
            HINT[0],
            HINT[1],
            "Preauth module pkinit (16) (real) returned: 0/Success",
            SENT,
            "Received error from KDC: -1765328309/Client name mismatch",
            "Received error from KDC: -1765328360/Preauthentication failed",
        ]);
        let expected =
            Trace { refusal: Some(75), offers_certificates: Some(true), card_sent: true, ..Trace::default() };
        assert_eq!(trace, expected);
        // parameters that the KDC does not take are tried again with its own
        let again = traced(&[SENT, "Received error from KDC: -1765328319/Key parameters not accepted", SENT]);
        assert_eq!((again.refusal, again.card_sent), (None, true));
    }

    #[test]
    fn a_card_that_was_not_used() {
        for (event, expected) in [
            ("PKINIT PKCS11 C_Login failed: pin incorrect", "PKCS11 C_Login failed: pin incorrect"),
            (
                "PKINIT PKCS#11 module open failed: unable to load plugin [/nope.so]",
                "PKCS#11 module open failed: unable to load plugin [/nope.so]",
            ),
            ("PKINIT OpenSSL error: Cannot read certificate file 'x'", "Cannot read certificate file 'x'"),
            ("PKINIT PKCS#11 slotid 7 token t", "Preauthentication failed"),
        ] {
            let trace = traced(&[
                HINT[0],
                HINT[1],
                event,
                "PKINIT OpenSSL error: error:80000002:system library::No such file or directory",
                "PKINIT client has no configured identity; giving up",
                "Preauth module pkinit (16) (real) returned: -1765328360/Preauthentication failed",
            ]);
            let told = trace.card_problem.unwrap();
            match event.contains("slotid") {
                true => assert!(told.starts_with("error:80000002"), "{told}"),
                false => assert_eq!(told, expected),
            }
            assert_eq!((trace.card_sent, trace.refusal), (false, None));
        }
        let broken = traced(&["Preauth module pkinit (16) (real) returned: 22/Invalid argument"]);
        assert_eq!(broken.card_problem.as_deref(), Some("Invalid argument"));
    }

    #[test]
    fn an_answer_that_is_not_believed_or_not_read() {
        let trace =
            traced(&[SENT, "Preauth module pkinit (17) (real) returned: -1765328308/KDC name mismatch"]);
        assert_eq!(trace.reply_problem.as_deref(), Some("KDC name mismatch"));
        let trace = traced(&[
            SENT,
            "Preauth module pkinit (17) (real) returned: 0/Success",
            "Decrypt with preauth AS key failed: -1765328353/Decrypt integrity check failed",
        ]);
        assert!(trace.reply_unreadable && trace.reply_problem.is_none());
    }

    #[test]
    fn passwords_and_other_lines() {
        let wrong =
            traced(&[HINT[0], HINT[1], "Received error from KDC: -1765328360/Preauthentication failed"]);
        assert_eq!((wrong.refusal, wrong.card_sent), (Some(24), false));
        // what comes of changing it does not hide that it ran out
        let expired = traced(&[
            "Received error from KDC: -1765328361/Password has expired",
            "Received error from KDC: -1765328372/KDC policy rejects request",
        ]);
        assert_eq!(expired.refusal, Some(23));
        let none = traced(&["Processing preauth types: PA-ENC-TIMESTAMP (2), PA-ETYPE-INFO2 (19)"]);
        assert_eq!(none.offers_certificates, Some(false));
        for line in
            ["", "[", "[x] 1.2: y", "[1] x: y", "kinit: [1] 1.2: Received error from KDC: -1765328372/x"]
        {
            assert_eq!(Trace::read(line), Trace::default(), "{line}");
        }
    }
}
