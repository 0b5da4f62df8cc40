//! A small baseline and evidence for it, judged for real.

use time::OffsetDateTime;
use time::macros::datetime;

use crate::baseline::assessment::Assessment;
use crate::baseline::compile::Compiled;
use crate::baseline::document::SCHEMA;
use crate::baseline::evaluate::evaluate;
use crate::baseline::facts::{Collection, Evidence, Fact, Facts, Record};
use crate::policy::documents::Exception;
use crate::policy::fault::Place;
use crate::policy::set::PolicySet;
use crate::policy::source::Source;

pub const NOW: OffsetDateTime = datetime!(2026-11-24 12:00 UTC);

pub const POLICY: &str = r#"
kind: Baseline
id: x
title: X
owner: o
revision: 1
stage: enforce
include: [x.yaml]
grants:
  lookup: { deny_on: critical, unknown: deny }
  sync: { deny_on: [critical, high], grace: { high: 14d }, unknown: deny }
evidence_valid_for: 24h
---
kind: Facts
facts:
  - name: users
    read: { base: "{domain}", scope: subtree }
    attributes:
      card: { from: userAccountControl, type: flag, flag: 0x40000 }
      old: { from: userAccountControl, type: flag, flag: 0x20000 }
---
kind: Controls
controls:
  - { id: names, title: The certificate bears its name, severity: high, require: { tls.name_matches: true }, why: w, fix: f }
  - { id: cards, title: Everybody has a card, severity: high, for_each: users, require: { card: true }, why: w, fix: f }
  - { id: young, title: Nobody is old, severity: low, for_each: users, require: { old: false }, why: w, fix: f }
  - { id: chain, title: The chain is valid, severity: critical, require: { tls.chain_valid: true }, why: w, fix: f }
  - { id: later, title: The chain will count, severity: critical, stage: warn, enforce_from: 2026-12-01,
      require: { tls.chain_valid: true }, why: w, fix: f }
  - { id: rarely, title: Only for other names, severity: critical, when: { tls.name_matches: false },
      require: { tls.chain_valid: true }, why: w, fix: f }
"#;

/// The baseline, compiled from a text like [`POLICY`].
pub fn compiled(policy: &str) -> Compiled {
    let (set, faults) = PolicySet::from_sources(&[Source::inline("x.yaml", policy)]);
    assert_eq!(faults, []);
    Compiled::compile(&set, "x", None).unwrap()
}

/// People by name, and whether each has a card.
pub fn evidence(chain: Fact, name: Fact, users: &[(&str, bool)], complete: Fact) -> Evidence {
    let mut facts = Facts::default();
    facts.set("tls.chain_valid", chain);
    facts.set("tls.name_matches", name);
    let record = |(name, card): &(&str, bool)| {
        Record::from([
            ("name".to_owned(), Fact::text(*name)),
            ("dn".to_owned(), Fact::text(format!("CN={name},DC=rxa"))),
            ("card".to_owned(), Fact::boolean(*card)),
            ("old".to_owned(), Fact::boolean(false)),
        ])
    };
    let records = users.iter().map(record).collect();
    facts.collections.insert("users".to_owned(), Collection { records, complete });
    let evidence = Evidence {
        schema: SCHEMA,
        member: "RXA".parse().unwrap(),
        collected_at: NOW,
        collector: "test".into(),
        controllers: Vec::new(),
        facts,
        provenance: Vec::new(),
        attestations: Vec::new(),
        previous: None,
        hash: String::new(),
        signature: String::new(),
    };
    evidence.sealed()
}

/// The people of [`evidence`] with everything else in order.
pub fn people(users: &[(&str, bool)]) -> Evidence {
    evidence(yes(), yes(), users, yes())
}

pub fn yes() -> Fact {
    Fact::boolean(true)
}

pub fn no() -> Fact {
    Fact::boolean(false)
}

pub fn assess(evidence: &Evidence, exceptions: &[Exception]) -> Assessment {
    evaluate(&compiled(POLICY), evidence, exceptions, NOW)
}

/// Until 2026-12-24.
pub fn exception(control: &str) -> Exception {
    Exception {
        at: Place::nowhere(),
        control: control.into(),
        member: "RXA".parse().unwrap(),
        objects: Vec::new(),
        owner: "head.of.it@rxa.example".into(),
        reason: "The new build service is late.".into(),
        compensating_control: "Looked at daily.".into(),
        approver: "officer@national.example".into(),
        from: datetime!(2026-11-01 00:00 UTC),
        until: datetime!(2026-12-24 00:00 UTC),
    }
}
