//! What a member stated, as it stands when evidence is judged: a statement may have ended or been worded anew since it was collected.

use std::borrow::Cow;
use std::collections::BTreeMap;

use time::OffsetDateTime;

use crate::baseline::assessment::Stated;
use crate::baseline::attestation::{Attestation, Problem, last_day};
use crate::baseline::compile::Compiled;
use crate::baseline::facts::{Evidence, Fact, Facts};
use crate::policy::documents::Statement;

/// The facts of the evidence, with those failed whose attestation does not answer any more. The signatures were checked when the evidence
/// was collected, and the evidence is signed itself.
pub fn in_force<'a>(baseline: &Compiled, evidence: &'a Evidence, now: OffsetDateTime) -> Cow<'a, Facts> {
    let statements = &baseline.requirements().statements;
    let held = |a: &Attestation| evidence.facts.get(&a.subject) == Fact::boolean(true);
    let over = evidence.attestations.iter().filter(|a| held(a)).filter_map(|attestation| {
        let statement = statements.get(&attestation.subject)?;
        Some((attestation, attestation.answers(statement, now).err()?))
    });
    let mut facts = Cow::Borrowed(&evidence.facts);
    for (attestation, problem) in over {
        facts.to_mut().set(&attestation.subject, Fact::Failed(problem.to_string()));
    }
    // what no attestation in the evidence says was not stated, whatever the fact says
    let attested = |subject: &&String| evidence.attestations.iter().any(|a| a.subject == **subject);
    let claimed = |subject: &&String| matches!(evidence.facts.get(subject), Fact::Known(_));
    for subject in statements.keys().filter(|subject| !attested(subject) && claimed(subject)) {
        facts.to_mut().set(subject, Fact::Failed("the evidence holds no attestation of it".to_owned()));
    }
    facts
}

/// The attestations that the baseline asks for, as reports list them.
pub fn list(baseline: &Compiled, evidence: &Evidence, facts: &Facts) -> Vec<Stated> {
    let statements: &BTreeMap<String, Statement> = &baseline.requirements().statements;
    let asked = evidence.attestations.iter().filter(|a| statements.contains_key(&a.subject));
    let of = |attestation: &Attestation| Stated {
        subject: attestation.subject.clone(),
        statement: attestation.statement.clone(),
        by: attestation.by.clone(),
        note: attestation.note.clone(),
        signed_at: attestation.signed_at,
        until: attestation.until,
        key: attestation.key.clone(),
        unregistered: attestation.unregistered,
        problem: match facts.get(&attestation.subject) {
            Fact::Known(_) => None,
            fact => Some(found(&fact).unwrap_or_default()),
        },
    };
    asked.map(of).collect()
}

/// What was found of a fact that comes from an attestation, in place of the words for what is read.
pub fn found(fact: &Fact) -> Option<String> {
    match fact {
        Fact::Absent => Some("not attested".to_owned()),
        Fact::Failed(reason) | Fact::NotCollected(reason) => Some(reason.clone()),
        Fact::Hidden => Some("hidden".to_owned()),
        Fact::Known(_) => None,
    }
}

/// Where a fact comes from that an attestation gave.
pub fn provenance(attestation: &Attestation) -> String {
    let (by, until) = (&attestation.by, last_day(attestation.until));
    let key = attestation.key.get(..16).unwrap_or(&attestation.key);
    let unchecked = if attestation.unregistered { ", which was not held against a registration" } else { "" };
    format!(
        "stated by the member, not measured: attested by {by} until {until}, signed with key {key}{unchecked}"
    )
}

/// The two facts of one attestation: whether it holds, and until when.
pub fn facts_of(attestation: &Attestation, checked: Result<(), Problem>) -> (Fact, Fact) {
    let until = Fact::Known(crate::baseline::value::Value::Instant(attestation.until));
    match checked {
        Ok(()) => (Fact::boolean(true), until),
        // it is the member's own, and its end is true
        Err(problem @ Problem::Ended(_)) => (Fact::Failed(problem.to_string()), until),
        Err(problem) => (Fact::Failed(problem.to_string()), Fact::Failed(problem.to_string())),
    }
}
