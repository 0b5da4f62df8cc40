use super::*;
use crate::assess::probes::trace::Trace;

fn failed(message: &str, trace: Trace) -> Logon {
    Logon::Failed(Said { message: message.to_owned(), trace })
}

fn refused(code: i64, message: &str) -> Logon {
    failed(message, Trace { refusal: Some(code), ..Trace::default() })
}

fn reason(fact: &Fact) -> &str {
    match fact {
        Fact::Failed(reason) => reason,
        other => panic!("{other:?}"),
    }
}

const CARD: Fact = Fact::Known(Value::Boolean(true));
const NO_CARD: Fact = Fact::Known(Value::Boolean(false));

#[test]
fn a_wrong_password_proves_something_of_an_account_that_needs_a_card() {
    for logon in [
        refused(24, "Password incorrect"),
        refused(31, "Password incorrect"),
        // without a trace the words are all there is
        failed("Password incorrect", Trace::default()),
        failed("Preauthentication failed", Trace::default()),
    ] {
        assert_eq!(password(&logon, &CARD), Fact::boolean(false), "{logon:?}");
        assert!(reason(&password(&logon, &NO_CARD)).contains("set \"Smart card is required"), "{logon:?}");
        assert!(reason(&password(&logon, &Fact::Hidden)).contains("userAccountControl"), "{logon:?}");
        let unread = password(&logon, &Fact::Failed("denied".to_owned()));
        assert!(reason(&unread).ends_with("denied"), "{unread:?}");
    }
    assert_eq!(password(&Logon::Granted, &CARD), Fact::boolean(true));
    assert_eq!(password(&refused(12, "KDC policy rejects request"), &NO_CARD), Fact::boolean(false));
    let spoken = failed("KDC policy rejects request", Trace::default());
    assert_eq!(password(&spoken, &CARD), Fact::boolean(false));
}

#[test]
fn what_is_not_listed_refuses_no_password() {
    for (logon, expected) in [
        (refused(18, "Client's credentials have been revoked"), "locked, disabled"),
        (refused(23, "Cannot read password"), "has run out"),
        (refused(6, "Client 'x@Y' not found in Kerberos database"), "does not know"),
        (refused(14, "KDC has no support for encryption type"), "no support for encryption type"),
        (refused(37, "Clock skew too great"), "Clock skew"),
        (refused(60, "Generic error (see e-text)"), "Generic error"),
        (failed("Client's credentials have been revoked", Trace::default()), "locked, disabled"),
        (failed("Cannot contact any KDC for realm 'X'", Trace::default()), "Cannot contact"),
        (failed("Cannot read password", Trace::default()), "Cannot read"),
        (failed("it said nothing", Trace::default()), "it said nothing"),
    ] {
        let found = password(&logon, &CARD);
        assert!(reason(&found).contains(expected), "{logon:?}: {found:?}");
    }
}

/// As Active Directory and Samba write it.
fn said(data: &str) -> String {
    format!("80090308: LdapErr: DSID-0C0903A9, comment: AcceptSecurityContext error, data {data}, v1db1")
}

#[test]
fn binds_are_told_by_their_data() {
    assert_eq!(simple_bind(0, "", &CARD), Fact::boolean(true));
    assert_eq!(simple_bind(8, "", &NO_CARD), Fact::boolean(false));
    assert_eq!(simple_bind(49, &said("52e"), &CARD), Fact::boolean(false));
    assert_eq!(simple_bind(49, &said("52f"), &CARD), Fact::boolean(false));
    assert!(reason(&simple_bind(49, &said("52e"), &NO_CARD)).contains("proves nothing"));
    for (data, expected) in [
        ("532", "run out"),
        ("773", "must be changed"),
        ("533", "disabled"),
        ("701", "past its end"),
        ("775", "locked"),
        ("525", "does not know"),
        ("530", "not log on now"),
        ("531", "not from here"),
        ("52e9", "data 52e9"),
        ("zz", "does not say why"),
    ] {
        let found = simple_bind(49, &said(data), &CARD);
        assert!(reason(&found).contains(expected), "{data}: {found:?}");
    }
    assert!(reason(&simple_bind(49, "", &CARD)).contains("does not say why"));
    for code in [1, 48, 51, 53, 80] {
        assert!(reason(&simple_bind(code, &said("52e"), &CARD)).contains("refuses no password"), "{code}");
    }
}

fn sent(refusal: Option<i64>) -> Trace {
    Trace { refusal, card_sent: true, offers_certificates: Some(true), ..Trace::default() }
}

#[test]
fn a_card_that_the_kdc_refuses() {
    assert_eq!(card(&Logon::Granted), CardLogon::Works);
    for (code, message, expected) in [
        (75, "Client name mismatch", "Client name mismatch (error 75)"),
        (72, "Revoked certificate", "Revoked certificate"),
        (62, "Client not trusted", "Client not trusted"),
        (16, "KDC has no support for padata type", "padata type"),
        (31, "Password incorrect", "pre-authentication failed (error 31)"),
    ] {
        let CardLogon::Refused(text) = card(&failed(message, sent(Some(code)))) else { panic!("{code}") };
        assert!(text.contains(expected), "{text}");
    }
    let trace = Trace { reply_problem: Some("KDC name mismatch".to_owned()), ..sent(None) };
    assert!(matches!(card(&failed("x", trace)), CardLogon::Refused(text) if text.contains("name mismatch")));
    let none = Trace { offers_certificates: Some(false), ..Trace::default() };
    assert!(matches!(card(&failed("x", none)), CardLogon::Refused(text) if text.contains("does not offer")));
}

#[test]
fn what_is_our_own_fault_is_no_refusal() {
    let problem = |text: &str| Trace {
        card_problem: Some(text.to_owned()),
        offers_certificates: Some(true),
        ..Trace::default()
    };
    for (logon, expected) in [
        (failed("x", problem("PKCS11 C_Login failed: pin incorrect")), "pin incorrect"),
        (failed("Cannot contact any KDC for realm 'X'", Trace::default()), "Cannot contact"),
        (refused(6, "Client 'x@Y' not found in Kerberos database"), "not found"),
        (failed("Client's credentials have been revoked", sent(Some(18))), "locked, disabled"),
        (failed("Clock skew too great", sent(Some(37))), "Clock skew"),
        (failed("Cannot read password", sent(None)), "Cannot read"),
    ] {
        let CardLogon::NotTried(text) = card(&logon) else { panic!("{logon:?}") };
        assert!(text.contains(expected), "{text}");
    }
    let unreadable = Trace { reply_unreadable: true, ..sent(None) };
    assert!(matches!(card(&failed("Cannot read password", unreadable)), CardLogon::Unreadable(_)));
}
