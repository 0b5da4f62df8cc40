//! A whole pass over the lab's hardened and weak members.

use std::collections::{BTreeMap, BTreeSet};

use portcullis::ambient::clock::Clock;
use portcullis::assess::collect::collect;
use portcullis::assess::settings::{Lists, Settings};
use portcullis::assess::target::Target;
use portcullis::baseline::compile::{Read, Requirements};
use portcullis::baseline::facts::{Evidence, Fact};
use portcullis::baseline::value::Value;
use portcullis::directory::endpoint::Endpoint;
use portcullis::policy::documents::{AttributeFact, Decode, SearchScope, Shape};
use portcullis::policy::fault::Place;
use portcullis::secret::reference::SecretReference;
use portcullis::store::member::Card;

use crate::lab::Lab;

const PASSWORD: &str = "Gateway-Svc-Acc0unt-2026!";

pub fn target(lab: &Lab, member: &str, folder: &std::path::Path) -> Target {
    let password = folder.join("password");
    crate::app_stage::secret(&password, PASSWORD);
    let lower = member.to_lowercase();
    let address = lab.address(member);
    let controller = Endpoint::ldaps(&address, 636, Some(&format!("dc1.{lower}.trust.test")));
    Target::new(
        member.parse().unwrap(),
        vec![controller],
        &format!("DC={lower},DC=trust,DC=test"),
        &format!("svc-portcullis@{lower}.trust.test"),
        SecretReference::File(password),
        &std::fs::read_to_string(lab.pki("good/ca.crt")).unwrap(),
    )
    .unwrap()
}

fn requirements() -> Requirements {
    let attribute = |from: &str, decode| AttributeFact {
        at: Place::nowhere(),
        from: from.to_owned(),
        decode,
        default: None,
        mandatory: false,
        title: None,
    };
    let read = |name: &str,
                shape,
                scope,
                filter: &str,
                attributes: Vec<(&str, AttributeFact)>,
                computed: &[&str]| Read {
        name: name.to_owned(),
        shape,
        base: "{domain}".to_owned(),
        scope,
        filter: Some(filter.to_owned()),
        may_hide: false,
        attributes: attributes.into_iter().map(|(n, a)| (n.to_owned(), a)).collect::<BTreeMap<_, _>>(),
        computed: computed.iter().map(|n| (*n).to_owned()).collect::<BTreeSet<_>>(),
    };
    Requirements {
        reads: vec![
            read(
                "domain",
                Shape::Record,
                SearchScope::Base,
                "(objectClass=*)",
                vec![("machine_account_quota", attribute("ms-DS-MachineAccountQuota", Decode::Integer))],
                &[],
            ),
            read(
                "users",
                Shape::Collection,
                SearchScope::Subtree,
                "(&(objectCategory=person)(objectClass=user))",
                vec![("smartcard_required", attribute("userAccountControl", Decode::Flag(0x4_0000)))],
                &["privileged"],
            ),
        ],
        probes: ["controller_revocation", "card_revocation"].map(str::to_owned).into(),
        statements: BTreeMap::new(),
    }
}

async fn evidence(lab: &Lab, member: &str) -> Evidence {
    let folder = tempfile::tempdir().unwrap();
    let mut target = target(lab, member, folder.path());
    if member == "RXA" {
        let pki = |f: &str| lab.pki(f).display().to_string();
        target.card = Some(Card {
            principal: "card-monitor@RXA.TRUST.TEST".to_owned(),
            identity: format!("FILE:{},{}", pki("good/sc-rxa-monitor.crt"), pki("good/sc-rxa-monitor.key")),
            anchors: None,
            pin: None,
            password: Some(SecretReference::File(folder.path().join("password"))),
        });
    }
    let lists =
        Lists { ports: [8880].into(), networks: [format!("{}.60.1/32", lab.net)].into(), ..Lists::default() };
    let settings = Settings { lists, ..Settings::default() };
    let evidence =
        collect(&target, &requirements(), &settings, &Clock::system(), settings.pass_timeout()).await;
    if std::env::var_os("PORTCULLIS_SHOW").is_some() {
        for (name, record) in &evidence.facts.records {
            for (short, fact) in record {
                eprintln!("{member} {name}.{short} = {fact:?}");
            }
        }
        for (name, collection) in &evidence.facts.collections {
            let privileged =
                collection.records.iter().filter(|r| *r.fact("privileged") == Fact::boolean(true));
            let privileged: Vec<_> = privileged.filter_map(|r| r.get("name")).collect();
            eprintln!(
                "{member} {name}: {} {:?} privileged {privileged:?}",
                collection.records.len(),
                collection.complete
            );
        }
        for p in &evidence.provenance {
            eprintln!("{member} {} {} ms {} entries: {}", p.facts, p.took_ms, p.entries, p.by);
        }
    }
    evidence
}

fn names(fact: &Fact) -> Vec<String> {
    match fact.known() {
        Some(Value::Set(names)) => names.iter().cloned().collect(),
        _ => panic!("{fact:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hardened_and_weak_members_differ_where_they_should() {
    let Some(lab) = Lab::of("hardened_and_weak_members_differ_where_they_should") else { return };
    let (hardened, weak) = tokio::join!(evidence(&lab, "RXA"), evidence(&lab, "RXB"));
    let (hardened, weak) = (hardened.facts, weak.facts);
    assert_eq!(names(&hardened.get("tls.versions")), ["tls1.2", "tls1.3"]);
    assert!(names(&weak.get("tls.versions")).contains(&"tls1.0".to_owned()));
    for (fact, good, bad) in [
        ("tls.chain_valid", true, true),
        ("tls.name_matches", true, true),
        ("ldap.cleartext_simple_bind", false, true),
        ("ldap.unsigned_sasl", false, true),
        ("rights.write", false, false),
        ("rights.get_changes_all", false, false),
        ("canary.readable", true, true),
        ("kerberos.preauth_required", true, true),
    ] {
        assert_eq!(hardened.get(fact), Fact::boolean(good), "{fact} of the hardened member");
        assert_eq!(weak.get(fact), Fact::boolean(bad), "{fact} of the weak member");
    }
    let word = |word: &str| Fact::Known(Value::Word(word.to_owned()));
    assert_eq!(hardened.get("ldap.channel_binding"), word("sasl-refused"));
    assert_eq!(weak.get("ldap.channel_binding"), word("not-enforced"));
    // the monitoring account's card logs on; a password, though not its own, proves only that it is refused
    assert_eq!(hardened.get("smartcard.card_logon_works"), Fact::boolean(true));
    assert_eq!(hardened.get("smartcard.password_logon_works"), Fact::boolean(false));
    assert_eq!(hardened.get("smartcard.simple_bind_works"), Fact::boolean(false));
    assert_eq!(hardened.get("smartcard.account_requires_card"), Fact::boolean(true));
    assert_eq!(hardened.get("smartcard.account_enabled"), Fact::boolean(true));
    assert_eq!(hardened.get("smartcard.card_logon_problem"), Fact::Absent);
    assert!(matches!(weak.get("smartcard.card_logon_works"), Fact::NotCollected(_)));
    // the weak member's list has run out, the hardened one's has not; the monitoring card names a list too
    for (facts, collection, in_date) in [
        (&hardened, "controller_revocation", true),
        (&weak, "controller_revocation", false),
        (&hardened, "card_revocation", true),
    ] {
        let lists = &facts.collections[collection];
        assert_eq!((lists.records.len(), &lists.complete), (1, &Fact::boolean(true)), "{collection}");
        let list = lists.records.get(0).unwrap().to_record();
        assert_eq!(list["signed"], Fact::boolean(true), "{list:?}");
        assert_eq!(list["revoked"], Fact::boolean(false), "{list:?}");
        assert!(matches!(list["remaining"], Fact::Known(Value::Duration(left)) if (left > 0) == in_date));
    }
    let rc4 = "rc4-hmac".to_owned();
    assert!(!names(&hardened.get("kerberos.etypes")).contains(&rc4));
    assert!(names(&weak.get("kerberos.etypes")).contains(&rc4));
    assert_eq!(hardened.get("users.complete"), Fact::boolean(true));
    assert!(hardened.collections["users"].records.len() > 1_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_cannot_be_tried_is_no_refusal() {
    let Some(lab) = Lab::of("a_relay_that_cannot_be_tried_is_no_refusal") else { return };
    let folder = tempfile::tempdir().unwrap();
    let collected = async |target: &Target, settings: &Settings| {
        collect(target, &Requirements::default(), settings, &Clock::system(), settings.pass_timeout()).await
    };
    let facts = ["ldap.unsigned_sasl", "ldap.channel_binding"];
    // not installed here
    let mut rxb = target(&lab, "RXB", folder.path());
    let settings = Settings { kvno: "/nowhere/kvno".to_owned(), ..Settings::default() };
    let evidence = collected(&rxb, &settings).await;
    for fact in facts {
        assert!(matches!(evidence.facts.get(fact), Fact::NotCollected(text) if text.contains("krb5-user")));
    }
    // no KDC answers: tickets that there are none of refuse nothing
    rxb.kdcs = vec![format!("{}:1", lab.address("RXB"))];
    let settings = Settings { probe_seconds: 1, ..Settings::default() };
    let evidence = collected(&rxb, &settings).await;
    for fact in facts {
        assert!(matches!(evidence.facts.get(fact), Fact::Failed(_)), "{:?}", evidence.facts.get(fact));
    }
    // where nothing listens on the plain port nobody logs on there
    let rxb = target(&lab, "RXB", folder.path());
    let settings = Settings { plain_port: 9, ..Settings::default() };
    let evidence = collected(&rxb, &settings).await;
    assert_eq!(evidence.facts.get("ldap.unsigned_sasl"), Fact::boolean(false));
}
