use std::collections::{BTreeMap, BTreeSet};

use time::macros::datetime;

use super::*;
use crate::gate::decide::{GateDecision, GateReason, GateState};
use crate::policy::documents::{
    Audience, AudienceCategory, AuthenticatedBy, FilterRules, Listing, Members, Release, ReleaseLimits,
    Targets,
};
use crate::policy::fault::{Place, Placed};
use crate::release::explain::{Outcome, explain};
use crate::release::requester::{Authentication, Category};

const NOW: OffsetDateTime = datetime!(2026-11-24 12:00 UTC);

fn ods(code: &str) -> OdsCode {
    code.parse().unwrap()
}

fn placed(text: &str) -> Placed<String> {
    Placed::new(text.to_owned(), Place::nowhere())
}

fn document(id: &str, attributes: &[&str]) -> Release {
    Release {
        at: Place::nowhere(),
        id: id.to_owned(),
        title: String::new(),
        purpose: "find colleagues".to_owned(),
        audience: Audience {
            at: Place::nowhere(),
            category: AudienceCategory::Person,
            authenticated_by: BTreeSet::from([AuthenticatedBy::Smartcard]),
            members: Members::All,
            names: Vec::new(),
        },
        targets: Targets { members: Members::All, national: false },
        attributes: attributes.iter().map(|a| placed(a)).collect(),
        entries: Some(placed("(&(objectClass=person)(!(notListed=TRUE)))")),
        listing: None,
        filters: FilterRules::default(),
        limits: ReleaseLimits::default(),
        from: None,
        until: datetime!(2027-12-31 00:00 UTC),
    }
}

fn requester() -> Requester {
    Requester {
        category: Category::Person,
        member: Some(ods("RXA")),
        name: None,
        id: "p1".to_owned(),
        authentication: Authentication::Smartcard,
        not_after: datetime!(2026-12-01 00:00 UTC),
    }
}

fn gates(open: &[&str], closed: &[&str]) -> Snapshot {
    let decision = |state| GateDecision {
        state,
        reasons: vec![GateReason {
            code: "control".to_owned(),
            control: None,
            text: "krbtgt is old".to_owned(),
        }],
        assessment: Some("as-7".to_owned()),
        valid_until: Some(datetime!(2026-11-25 00:00 UTC)),
    };
    let gate = |code: &&str, state| (ods(code), BTreeMap::from([(Grant::Lookup, decision(state))]));
    let open = open.iter().map(|c| gate(c, GateState::Open));
    Snapshot::of(open.chain(closed.iter().map(|c| gate(c, GateState::Closed))))
}

fn member(code: &str) -> Target {
    Target::Member(ods(code))
}

fn asked(
    who: &Requester,
    target: &Target,
    gate: &Snapshot,
    agreements: &Agreements,
) -> Result<Permit, Refusal> {
    decide(who, Operation::Search, target, gate, agreements, NOW)
}

#[test]
fn a_permit_carries_the_first_agreement_alone() {
    let agreements =
        Agreements::compile(&[document("first", &["cn", "mail"]), document("second", &["cn", "mobile"])])
            .unwrap();
    let permit = asked(&requester(), &member("RXB"), &gates(&["RXA", "RXB"], &[]), &agreements).unwrap();
    assert_eq!(permit.agreement(), "first");
    assert!(permit.view().visible("mail") && !permit.view().visible("mobile"));
    assert_eq!(permit.until(), datetime!(2026-11-25 00:00 UTC));
    assert_eq!((permit.size_limit(), permit.rate(), permit.in_flight()), (500, 20, 8));
    assert_eq!(permit.entry_filter().unwrap().to_string(), "(&(objectClass=person)(!(notListed=TRUE)))");
}

#[test]
fn a_closed_member_looks_like_none_to_strangers_and_is_told_itself() {
    let agreements = Agreements::compile(&[document("a", &["cn"])]).unwrap();
    let none = Agreements::default();
    let closed = asked(&requester(), &member("RXB"), &gates(&["RXA"], &["RXB"]), &agreements).unwrap_err();
    let absent = asked(&requester(), &member("RXZ"), &gates(&["RXA"], &[]), &agreements).unwrap_err();
    let unreleased = asked(&requester(), &member("RXB"), &gates(&["RXA", "RXB"], &[]), &none).unwrap_err();
    for refusal in [&closed, &absent, &unreleased] {
        assert_eq!((refusal.code, refusal.text.as_str()), (32, ""));
    }
    assert_eq!(closed.reasons, ["control: krbtgt is old"]);
    let own = asked(&requester(), &member("RXA"), &gates(&[], &["RXA"]), &agreements).unwrap_err();
    assert_eq!(own.code, 50);
    assert!(own.text.contains("RXA") && own.text.contains("as-7") && !own.text.contains("krbtgt"));
    assert_eq!(own.kind, Kind::OwnGateClosed(ods("RXA")));
    let elsewhere = asked(&requester(), &member("RXB"), &gates(&["RXB"], &["RXA"]), &agreements).unwrap_err();
    assert_eq!(elsewhere.kind, Kind::OwnGateClosed(ods("RXA")));
    // the same where no directory is named
    assert_eq!(barred(&requester(), &gates(&["RXB"], &["RXA"]), NOW), Some(elsewhere));
    assert_eq!(barred(&requester(), &gates(&["RXA"], &["RXB"]), NOW), None);
    let stranger = Requester { member: None, ..requester() };
    assert_eq!(barred(&stranger, &gates(&[], &["RXA", "RXB"]), NOW), None);
}

#[test]
fn out_of_date_is_closed_and_expired_is_refused() {
    let agreements = Agreements::compile(&[document("a", &["cn"])]).unwrap();
    let gate = gates(&["RXA", "RXB"], &[]);
    let at = |now| decide(&requester(), Operation::Compare, &member("RXB"), &gate, &agreements, now);
    assert!(at(NOW).is_ok());
    assert_eq!(at(datetime!(2026-11-25 00:00 UTC)).unwrap_err().kind, Kind::OwnGateClosed(ods("RXA")));
    assert_eq!(at(datetime!(2026-12-01 00:00 UTC)).unwrap_err().kind, Kind::Expired);
}

#[test]
fn every_condition_of_an_agreement_counts() {
    let gate = gates(&["RXA", "RXB"], &[]);
    let ok = |document: Release, who: &Requester, target: &Target| {
        asked(who, target, &gate, &Agreements::compile(&[document]).unwrap()).is_ok()
    };
    let base = || document("a", &["cn"]);
    assert!(ok(base(), &requester(), &member("RXB")));
    assert!(!ok(base(), &requester(), &Target::National));
    assert!(!ok(
        base(),
        &Requester { authentication: Authentication::Certificate, ..requester() },
        &member("RXB")
    ));
    assert!(!ok(base(), &Requester { category: Category::Connector, ..requester() }, &member("RXB")));
    let only = Members::These(BTreeSet::from([ods("RXB")]));
    let mut theirs = base();
    theirs.audience.members = only.clone();
    assert!(!ok(theirs.clone(), &requester(), &member("RXB")));
    assert!(!ok(theirs, &Requester { member: None, ..requester() }, &member("RXB")));
    let mut there = base();
    there.targets.members = only;
    assert!(ok(there.clone(), &requester(), &member("RXB")));
    assert!(!ok(there, &requester(), &member("RXA")));
    assert!(!ok(Release { until: NOW, ..base() }, &requester(), &member("RXB")));
    assert!(!ok(
        Release { from: Some(datetime!(2027-01-01 00:00 UTC)), ..base() },
        &requester(),
        &member("RXB")
    ));
    let mut named = base();
    named.audience.names = vec![placed("rota")];
    assert!(!ok(named.clone(), &requester(), &member("RXB")));
    assert!(ok(named, &Requester { name: Some("rota".to_owned()), ..requester() }, &member("RXB")));
}

#[test]
fn agreements_that_cannot_hold_are_faults() {
    let faults = |attributes: &[&str]| -> Vec<String> {
        Agreements::compile(&[document("a", attributes)])
            .map_or_else(|faults| faults.into_iter().map(|f| f.message).collect(), |_| vec![])
    };
    assert_eq!(faults(&["cn", "mail"]), Vec::<String>::new());
    assert_eq!(faults(&["mail"]).len(), 1);
    assert_eq!(faults(&["cn", "userPassword"]).len(), 1);
    assert_eq!(faults(&["cn", "2.5.4.35", "unicodePwd", "OID.2.5.4.41"]).len(), 3);
    assert_eq!(faults(&["cn", "cn;lang-en"]).len(), 1);
    // T13: what tells of an attribute is released with it or not at all
    for (tells, told) in [
        ("member", "memberOf"),
        ("memberOf", "member"),
        ("manager", "directReports"),
        ("directReports", "manager"),
        ("primaryGroupID", "memberOf"),
    ] {
        let messages = faults(&["cn", tells]);
        assert!(messages.iter().any(|m| m.contains(tells) && m.contains(told)), "{tells}: {messages:?}");
    }
    for never in
        ["tokenGroups", "canonicalName", "msDS-ReplAttributeMetaData", "nTSecurityDescriptor", "entryDN"]
    {
        assert_eq!(faults(&["cn", never]).len(), 1, "{never}");
    }
    assert_eq!(faults(&["cn", "manager", "directReports", "member", "memberOf"]), Vec::<String>::new());
    let mut bad = document("b", &["cn"]);
    bad.entries = Some(placed("(cn=x"));
    // two filters that do not parse, one id twice
    assert_eq!(Agreements::compile(&[bad.clone(), bad]).unwrap_err().len(), 3);
}

/// T03: who is left out of a listing is not named by others either.
#[test]
fn what_names_people_does_not_go_with_a_listing() {
    let listed = |attributes: &[&str], not_findable: &[&str]| {
        let mut release = document("a", attributes);
        release.listing = Some(Box::new(Listing {
            at: Place::nowhere(),
            attribute: placed("employeeType"),
            not_findable: not_findable.iter().map(|value| (*value).to_owned()).collect(),
            by_address_only: Vec::new(),
            without_contact: vec!["private".to_owned()],
            contact: vec![placed("mail")],
        }));
        Agreements::compile(&[release]).map_or_else(|faults| faults.len(), |_| 0)
    };
    assert_eq!(listed(&["cn", "mail"], &["gone"]), 0);
    assert_eq!(listed(&["cn", "manager", "directReports"], &["gone"]), 2);
    assert_eq!(listed(&["cn", "member", "memberOf"], &["gone"]), 1);
    assert_eq!(listed(&["cn", "member", "memberOf"], &[]), 0, "everybody is found");
}

#[test]
fn explanations_say_which_and_why_not() {
    let mut second = document("second", &["cn"]);
    second.audience.category = AudienceCategory::Application;
    let agreements = Agreements::compile(&[second, document("first", &["cn", "mail"])]).unwrap();
    let said = explain(&requester(), &member("RXB"), &gates(&["RXA", "RXB"], &[]), &agreements, NOW);
    assert!(matches!(said.outcome, Outcome::Permitted(ref permitted) if permitted.agreement == "first"));
    assert!(said.agreements[0].why_not.is_some() && said.agreements[1].why_not.is_none());
    assert_eq!(
        said.gates.iter().map(|gate| (gate.member.as_str(), gate.open)).collect::<Vec<_>>(),
        [("RXA", true), ("RXB", true)]
    );
    let said = explain(&requester(), &member("RXB"), &gates(&["RXA"], &["RXB"]), &agreements, NOW);
    assert!(matches!(said.outcome, Outcome::Refused { code: 32, .. }));
    assert_eq!((said.gates[1].open, said.gates[1].state), (false, "closed"));
    assert_eq!(said.gates[1].reasons, ["control: krbtgt is old"]);
    serde_json::to_string(&said).unwrap();
}
