//! Who is behind a connection: binds that wait for a word from home, passwords, and what is left of an identity after.

use std::collections::BTreeSet;

use super::*;
use crate::policy::people::{Passwords, People};
use crate::proxy::home::question::{Ask, Question, Verdict};
use crate::proxy::requesters::Account;
use crate::tls::identity::SMARTCARD_LOGON;

const PEOPLE: &str = "\
kind: Release
id: cards
title: People with cards
purpose: To test.
audience: { category: person, members: all, authenticated_by: [smartcard] }
targets: { members: all, national: false }
attributes: [uid, cn, mail]
limits: { size: 100, time: 30s, rate: 50/s, in_flight: 10 }
until: 2099-12-31
---
kind: Release
id: passwords
title: People with passwords
purpose: To test.
audience: { category: person, members: [RXA], authenticated_by: [password] }
targets: { members: all, national: false }
attributes: [cn]
limits: { size: 100, time: 30s, rate: 50/s, in_flight: 10 }
until: 2099-12-31
";

/// What an agreement that names no way of authentication is with.
const ANY_WAY: &str = "\
kind: Release
id: any-way
title: People
purpose: To test.
audience: { category: person, members: all }
targets: { members: all, national: false }
attributes: [cn]
limits: { size: 100, time: 30s, rate: 50/s, in_flight: 10 }
until: 2099-12-31
";

const NAME: &str = "cn=Ann,ou=Staff,ou=RXA,o=federation";

fn world(rig: &Rig, text: &str, passwords: Passwords) -> Arc<Snapshot> {
    let (set, faults) = PolicySet::from_sources(&[Source::inline("test", text)]);
    assert!(faults.is_empty(), "{faults:?}");
    let mut requesters = Requesters::new(b"key");
    requesters.add_application("aa", "test", None);
    requesters.add_domain("rxa.test", &rxa());
    assert!(requesters.add_people(&rxa(), &People { passwords, ..People::default() }));
    Arc::new(Snapshot {
        agreements: Arc::new(Agreements::compile(set.releases.values()).unwrap()),
        routes: rig.snapshot.routes.clone(),
        mounts: rig.snapshot.mounts.clone(),
        requesters: Arc::new(requesters),
    })
}

fn stage(text: &str, passwords: Passwords) -> Rig {
    let mut rig = Rig::new(None);
    rig.snapshot = world(&rig, text, passwords);
    rig.turn(0);
    rig
}

fn rig() -> Rig {
    stage(PEOPLE, Passwords::Forward)
}

impl Rig {
    fn with_card(&mut self, until: time::Duration) -> usize {
        let key = self.engine.client_opened([127, 0, 0, 1].into(), Phase::Handshake).unwrap();
        let identity = ClientIdentity {
            subject: "cn=Ann".to_owned(),
            upn: Some("ann@rxa.test".to_owned()),
            sid: None,
            extended_key_usage: vec![SMARTCARD_LOGON.to_owned()],
            fingerprint: "cc".to_owned(),
            not_after: START + time::Duration::days(1),
            authorities: Vec::new(),
        };
        self.engine.client_secured(key, Some(Proof { identity, chain: Vec::new(), until: START + until }));
        key
    }

    fn card(&mut self) -> usize {
        self.with_card(time::Duration::days(1))
    }

    fn bind_card(&mut self, client: usize, id: i32) {
        let authentication = Authentication::Sasl { mechanism: "EXTERNAL".into(), credentials: None };
        self.say(client, id, Wire::BindRequest(Bind { version: 3, name: "".into(), authentication }));
    }

    fn bind_name(&mut self, client: usize, id: i32, name: &str, password: &[u8]) {
        let authentication = Authentication::Simple(password.into());
        self.say(client, id, Wire::BindRequest(Bind { version: 3, name: name.into(), authentication }));
    }

    /// The one question that was asked of home.
    fn asked_home(&mut self) -> (usize, u64, Question) {
        assert_eq!(self.homes.len(), 1, "{:?}", self.homes);
        self.homes.pop().unwrap()
    }

    fn answer_home(&mut self, verdict: Verdict) {
        let (client, serial, _) = self.asked_home();
        self.engine.home_answered(client, serial, verdict);
        self.wishes();
    }

    fn who(&mut self, client: usize) -> String {
        let extended =
            crate::ldap::message::Extended { name: crate::ldap::message::WHO_AM_I.into(), value: None };
        self.engine
            .client_bytes(client, &codec::to_bytes(&Message::new(900, Wire::ExtendedRequest(extended))));
        let bytes = self.engine.client_output(client).map(std::mem::take).unwrap_or_default();
        let Wire::ExtendedResponse(response) =
            codec::decode(&bytes, &Limits::from_directory()).unwrap().operation
        else {
            panic!("no answer")
        };
        String::from_utf8(response.value.unwrap().into_owned()).unwrap()
    }

    /// Turns in steps, as the driver's timer makes them, until something is heard.
    fn until_heard(&mut self, client: usize, most: u64) -> (u64, Vec<String>) {
        let start = self.now;
        loop {
            self.turn(20_000);
            let heard = self.heard(client);
            if !heard.is_empty() || self.now - start > most {
                return (self.now - start, heard);
            }
        }
    }
}

/// T24: a bind that waits for home lets nothing through, and what came behind it is done by whoever is bound then.
#[test]
fn t24_requests_behind_an_outstanding_bind_wait_for_it() {
    let mut rig = rig();
    let client = rig.card();
    rig.bind_card(client, 1);
    assert!(rig.engine.client_paused(client), "nothing more is read");
    rig.search(client, 2, "(uid=ann)");
    rig.say(client, 3, Wire::AbandonRequest(1));
    assert_eq!((rig.heard(client), rig.dialled.len()), (vec![], 0));
    let asked = &rig.homes[0].2;
    assert!(matches!(&asked.ask, Ask::Account(home)
        if home.account == Account::Principal("ann@rxa.test".to_owned()) && home.member == rxa()));
    rig.answer_home(Verdict::Good);
    assert_eq!(rig.heard(client), ["1 bind success (0)"]);
    assert!(!rig.engine.client_paused(client));
    assert_eq!(rig.dialled.len(), 1, "the search went on its way");
    let upstream = rig.connect();
    let id = id_of(&rig.asked(upstream)[0]);
    rig.tell(upstream, id, done());
    assert_eq!(rig.heard(client), ["2 done success (0)"]);
    assert_eq!(rig.who(client), "u:ann@rxa.test");
}

#[test]
fn t24_what_was_asked_before_a_bind_is_abandoned_and_an_unbind_behind_it_is_kept() {
    let mut rig = rig();
    let client = rig.card();
    rig.bind_card(client, 1);
    rig.answer_home(Verdict::Good);
    rig.heard(client);
    rig.search(client, 2, "(uid=ann)");
    let upstream = rig.connect();
    let old = id_of(&rig.asked(upstream)[0]);
    rig.bind_card(client, 3);
    rig.tell(upstream, old, Wire::SearchEntry(person("ann").as_wire()));
    rig.tell(upstream, old, done());
    rig.say(client, 4, Wire::UnbindRequest);
    assert_eq!(rig.engine.counts().0, 1);
    rig.answer_home(Verdict::Good);
    assert_eq!(rig.engine.counts().0, 0, "the unbind was read after the bind");
}

/// A verdict belongs to one bind of one connection: a connection that took the place of another hears nothing of it.
#[test]
fn a_verdict_is_for_the_bind_it_was_asked_for() {
    let mut rig = rig();
    let first = rig.card();
    rig.bind_card(first, 1);
    let (_, serial, _) = rig.asked_home();
    rig.engine.client_ended(first);
    rig.wishes();
    let second = rig.card();
    assert_eq!(second, first, "the same place");
    rig.engine.home_answered(second, serial, Verdict::Good);
    assert_eq!((rig.who(second), rig.heard(second)), (String::new(), vec![]));
    rig.bind_card(second, 1);
    rig.engine.home_answered(second, serial, Verdict::Good);
    assert_eq!(rig.heard(second), Vec::<String>::new());
    rig.answer_home(Verdict::Refused);
    assert_eq!(rig.heard(second), ["1 bind invalidCredentials (49)"]);
    assert_eq!(rig.who(second), "");
}

/// T25: whatever comes of a bind, the earlier identity is gone.
#[test]
fn t25_a_bind_that_fails_leaves_nobody_bound() {
    for (verdict, code) in
        [(Verdict::Refused, "invalidCredentials (49)"), (Verdict::Unavailable, "unavailable (52)")]
    {
        let mut rig = rig();
        let client = rig.card();
        rig.bind_card(client, 1);
        rig.answer_home(Verdict::Good);
        rig.heard(client);
        rig.bind_card(client, 2);
        rig.answer_home(verdict);
        assert_eq!(rig.heard(client), [format!("2 bind {code}")]);
        assert_eq!(rig.who(client), "");
        rig.search(client, 3, "(uid=ann)");
        assert_eq!(rig.heard(client), ["3 done strongerAuthRequired (8)"]);
    }
}

#[test]
fn a_home_that_does_not_answer_lets_nobody_in() {
    let mut rig = rig();
    let client = rig.card();
    rig.bind_card(client, 1);
    let (after, heard) = rig.until_heard(client, 10_000_000);
    assert_eq!(heard, ["1 bind unavailable (52)"]);
    assert!((6_000_000..6_300_000).contains(&after), "{after}");
    rig.answer_home(Verdict::Good);
    assert_eq!(rig.who(client), "", "too late");
    // Nor does a member whose directory is not mounted.
    let mut gone = world(&rig, PEOPLE, Passwords::Refuse);
    Arc::get_mut(&mut gone).unwrap().mounts.clear();
    rig.snapshot = gone;
    rig.turn(0);
    rig.bind_card(client, 2);
    assert_eq!(rig.heard(client), ["2 bind unavailable (52)"]);
}

#[test]
fn members_that_change_while_home_is_asked_count() {
    let mut rig = rig();
    let client = rig.card();
    rig.bind_card(client, 1);
    rig.snapshot = Arc::new(Snapshot {
        agreements: rig.snapshot.agreements.clone(),
        routes: rig.snapshot.routes.clone(),
        mounts: rig.snapshot.mounts.clone(),
        requesters: Arc::new(Requesters::new(b"key")),
    });
    rig.turn(1_000);
    rig.answer_home(Verdict::Good);
    assert_eq!(rig.heard(client), ["1 bind invalidCredentials (49)"]);
}

/// Whoever is bound is looked up again when the kept answer ends.
#[test]
fn an_account_that_is_disabled_later_is_disconnected() {
    let mut rig = rig();
    let client = rig.card();
    rig.bind_card(client, 1);
    rig.answer_home(Verdict::Good);
    rig.heard(client);
    rig.turn(299_000_000);
    assert!(rig.homes.is_empty());
    rig.turn(1_300_000);
    rig.answer_home(Verdict::Good);
    rig.turn(299_000_000);
    assert!(rig.homes.is_empty(), "good for as long again");
    rig.turn(1_300_000);
    rig.answer_home(Verdict::Refused);
    assert_eq!(rig.engine.counts().0, 0);
}

#[test]
fn a_home_that_goes_away_is_asked_again_for_a_while() {
    let mut rig = rig();
    let client = rig.card();
    rig.bind_card(client, 1);
    rig.answer_home(Verdict::Good);
    rig.heard(client);
    rig.turn(300_300_000);
    let mut asked = 0;
    let start = rig.now;
    while rig.engine.counts().0 > 0 {
        assert!(rig.now - start < 90_000_000, "still connected");
        if !rig.homes.is_empty() {
            asked += 1;
            rig.answer_home(Verdict::Unavailable);
        }
        rig.turn(250_000);
    }
    assert!((60_000_000..70_000_000).contains(&(rig.now - start)), "{}", rig.now - start);
    assert!((8..=13).contains(&asked), "asked {asked} times");
}

/// T10: a wrong name, a wrong password, a member that takes none, and one that cannot be asked are one and the same.
#[test]
fn t10_every_password_that_is_not_taken_looks_the_same() {
    let mut seen = BTreeSet::new();
    for (name, verdict) in [
        (NAME, Some(Verdict::Refused)),
        (NAME, Some(Verdict::Unavailable)),
        ("ann@rxa.test", Some(Verdict::Refused)),
        ("ann@elsewhere.test", None),
        ("ann@@rxa.test", None),
        ("cn=Ann,ou=RXZ,o=federation", None),
        ("cn=Ann,dc=rxa,dc=test", None),
        ("ou=national,o=federation", None),
        ("nonsense", None),
    ] {
        let mut rig = rig();
        let client = rig.card();
        rig.bind_name(client, 1, name, b"secret");
        match verdict {
            Some(verdict) => rig.answer_home(verdict),
            None => assert!(rig.homes.is_empty(), "{name}"),
        }
        rig.turn(0);
        let bytes_early = rig.engine.client_output(client).unwrap().len();
        assert_eq!(bytes_early, 0, "{name}: nothing before its time");
        let (after, _) = {
            let start = rig.now;
            while rig.engine.client_output(client).unwrap().is_empty() {
                rig.turn(20_000);
            }
            (rig.now - start, ())
        };
        seen.insert((after, rig.engine.client_output(client).unwrap().clone()));
        assert_eq!(rig.who_is_bound(client), None);
    }
    assert_eq!(seen.len(), 1, "{seen:?}");
    let (after, bytes) = seen.first().unwrap();
    assert_eq!(short(bytes), "1 bind invalidCredentials (49)");
    assert!((1_000_000..1_100_000).contains(after), "{after}");
}

impl Rig {
    fn who_is_bound(&self, client: usize) -> Option<String> {
        let bound = self.engine.clients.get(client)?.bound.as_ref()?;
        Some(bound.requester.authentication.as_str().to_owned())
    }
}

/// T23: an empty password is refused before anybody is asked.
#[test]
fn t23_a_name_without_a_password_is_refused_at_once() {
    let mut rig = rig();
    let client = rig.card();
    for (id, name) in [(1, NAME), (2, "ann@rxa.test"), (3, "nonsense")] {
        rig.bind_name(client, id, name, b"");
        assert_eq!(rig.heard(client), [format!("{id} bind unwillingToPerform (53)")]);
        assert!(rig.homes.is_empty());
    }
}

#[test]
fn passwords_are_taken_only_where_member_and_agreement_say_so() {
    // The member does not: nobody's password is even waited for.
    let mut closed = stage(PEOPLE, Passwords::Refuse);
    let client = closed.card();
    closed.bind_name(client, 1, NAME, b"secret");
    assert_eq!(closed.heard(client), ["1 bind authMethodNotSupported (7)"]);
    // No agreement does.
    let mut unused = stage(ANY_WAY, Passwords::Forward);
    let client = unused.card();
    unused.bind_name(client, 1, NAME, b"secret");
    assert!(unused.homes.is_empty());
    // Both do; and then one of them no longer.
    let mut rig = rig();
    let client = rig.card();
    rig.bind_name(client, 1, "CN=Ann , OU=Staff,OU=rxa,O=Federation", b"secret");
    let (_, serial, question) = rig.asked_home();
    let Ask::Password(password) = question.ask else { panic!("{question:?}") };
    assert_eq!(password.password.expose(), "secret");
    assert_eq!(Dn::parse(&password.name).unwrap(), Dn::parse("CN=Ann,OU=Staff,DC=rxa,DC=test").unwrap());
    assert_eq!(password.key, Dn::parse("CN=Ann,OU=Staff,DC=rxa,DC=test").unwrap().normal());
    rig.engine.home_answered(client, serial, Verdict::Good);
    assert_eq!(rig.heard(client), ["1 bind success (0)"]);
    assert_eq!(rig.who_is_bound(client).as_deref(), Some("password"));
    rig.snapshot = world(&rig, PEOPLE, Passwords::Refuse);
    rig.turn(1_000);
    assert_eq!(rig.engine.counts().0, 0, "disconnected");
}

use crate::ldap::dn::Dn;

/// T25, T20: what a connection may see follows the last bind, not the best one.
#[test]
fn t25_a_level_of_authentication_is_never_kept() {
    let mut rig = rig();
    let client = rig.card();
    let sees = |rig: &mut Rig, id: i32| {
        rig.search(client, id, "(mail=*)");
        let upstream = *rig.dialled.last().unwrap();
        if rig
            .engine
            .upstreams
            .get(upstream)
            .is_some_and(|u| u.stage != super::super::super::upstream::Stage::Ready)
        {
            rig.connect();
        }
        let asked = rig.asked(upstream);
        for question in &asked {
            rig.tell(upstream, id_of(question), done());
        }
        rig.heard(client);
        !asked.is_empty()
    };
    rig.bind_card(client, 1);
    rig.answer_home(Verdict::Good);
    assert!(sees(&mut rig, 2), "a card may ask for mail");
    rig.bind_name(client, 3, "ann@rxa.test", b"secret");
    assert_eq!(rig.who_is_bound(client), None, "nobody while it is asked");
    rig.answer_home(Verdict::Good);
    assert_eq!(rig.who_is_bound(client).as_deref(), Some("password"));
    assert!(!sees(&mut rig, 4), "a password may not: the filter on what is hidden matches nothing");
    rig.bind_card(client, 5);
    rig.answer_home(Verdict::Good);
    assert!(sees(&mut rig, 6));
    rig.bind_name(client, 7, "ann@rxa.test", b"wrong");
    rig.answer_home(Verdict::Refused);
    let (_, heard) = rig.until_heard(client, 3_000_000);
    assert_eq!(heard, ["7 bind invalidCredentials (49)"]);
    rig.search(client, 8, "(cn=*)");
    assert_eq!(rig.heard(client), ["8 done strongerAuthRequired (8)"]);
}

/// An agreement that names no way is not for passwords.
#[test]
fn a_password_must_be_named_by_the_agreement() {
    let both = format!("{ANY_WAY}---\n{}", PEOPLE.split("---\n").nth(1).unwrap());
    let mut rig = stage(&both, Passwords::Forward);
    let client = rig.card();
    rig.bind_name(client, 1, "ann@rxa.test", b"secret");
    rig.answer_home(Verdict::Good);
    rig.heard(client);
    rig.search(client, 2, "(cn=*)");
    rig.connect();
    let audit = String::from_utf8(rig.engine.take_audit(true).unwrap()).unwrap();
    assert!(!audit.contains("any-way") && !audit.contains("ann@"), "{audit}");
    let operation = rig.engine.operations.iter().next().unwrap().1;
    assert_eq!(operation.parts[0].permit.agreement(), "passwords");
}

#[test]
fn a_password_holds_for_its_time() {
    let mut rig = rig();
    let client = rig.card();
    rig.bind_name(client, 1, "ann@rxa.test", b"secret");
    rig.answer_home(Verdict::Good);
    rig.heard(client);
    // The account is looked up again, without the password, which nobody has kept.
    rig.turn(300_300_000);
    assert!(matches!(rig.homes[0].2.ask, Ask::Account(_)));
    rig.answer_home(Verdict::Good);
    while rig.now < 28_700_000_000 {
        rig.turn(100_000_000);
        if !rig.homes.is_empty() {
            rig.answer_home(Verdict::Good);
        }
        // Something is asked now and then, so that the connection is not idle.
        rig.who(client);
    }
    assert_eq!(rig.engine.counts().0, 1);
    rig.turn(200_000_000);
    assert_eq!(rig.engine.counts().0, 0);
}

/// The driver is told to wipe what a password was read from, and no question shows it.
#[test]
fn t44_bytes_that_held_a_password_are_told_of() {
    let bind = |password: &[u8]| {
        let authentication = Authentication::Simple(password.to_vec().into());
        codec::to_bytes(&Message::new(
            1,
            Wire::BindRequest(Bind { version: 3, name: NAME.into(), authentication }),
        ))
    };
    for passwords in [Passwords::Forward, Passwords::Refuse] {
        let mut rig = stage(PEOPLE, passwords);
        let client = rig.card();
        let bytes = bind(b"canary-4711");
        let (first, last) = bytes.split_at(bytes.len() - 4);
        rig.engine.client_bytes(client, first);
        assert!(!rig.engine.take_wipe());
        rig.engine.client_bytes(client, last);
        assert!(rig.engine.take_wipe() && !rig.engine.take_wipe());
        rig.wishes();
        assert!(!format!("{:?}", rig.homes).contains("canary"));
    }
}

/// A certificate or a list that ends takes the connection with it.
#[test]
fn a_proof_that_ends_ends_the_connection() {
    let mut rig = rig();
    let client = rig.with_card(time::Duration::seconds(10));
    rig.bind_card(client, 1);
    rig.answer_home(Verdict::Good);
    assert_eq!(rig.heard(client), ["1 bind success (0)"]);
    rig.turn(9_900_000);
    assert_eq!(rig.engine.counts().0, 1);
    rig.turn(400_000);
    assert_eq!(rig.engine.counts().0, 0);
}
