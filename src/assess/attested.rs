//! What the member stated: every signature is checked again in each pass, whoever kept the document.

use std::collections::BTreeMap;

use time::OffsetDateTime;

use crate::assess::gathered::Gathered;
use crate::baseline::attestation::{Attestation, Held, Registered};
use crate::baseline::facts::{Fact, Provenance};
use crate::baseline::stated::{facts_of, provenance};
use crate::policy::documents::Statement;
use crate::policy::read::attest::UNTIL;
use crate::policy::terms::OdsCode;

/// The facts of everything that the policies ask the member to state, and the attestations that they come from.
pub fn attested(
    statements: &BTreeMap<String, Statement>,
    held: &Held,
    member: &OdsCode,
    at: OffsetDateTime,
) -> (Gathered, Vec<Attestation>) {
    let (mut gathered, mut attestations) = (Gathered::default(), Vec::new());
    for (subject, statement) in statements {
        let until = format!("{subject}{UNTIL}");
        let Some(attestation) = held.attestations.iter().find(|a| a.subject == *subject) else {
            gathered.set_all(&[subject, &until], &Fact::Absent);
            continue;
        };
        let unregistered = held.registered == Registered::Unchecked;
        let attestation = Attestation { unregistered, ..attestation.clone() };
        let checked =
            attestation.is_of(member, &held.registered).and_then(|()| attestation.answers(statement, at));
        let (fact, end) = facts_of(&attestation, checked);
        gathered.set(subject, fact);
        gathered.set(&until, end);
        gathered.provenance.push(Provenance {
            facts: subject.clone(),
            by: provenance(&attestation),
            controller: String::new(),
            at,
            took_ms: 0,
            pages: 0,
            entries: 0,
            result: None,
            truncated: false,
        });
        attestations.push(attestation);
    }
    (gathered, attestations)
}

#[cfg(test)]
mod tests {
    use time::Duration;
    use time::macros::datetime;

    use super::*;
    use crate::baseline::value::Value;
    use crate::policy::fault::Place;
    use crate::secret::signing::Signer;
    use crate::store::audit::hex;

    const NOW: OffsetDateTime = datetime!(2026-11-24 12:00 UTC);

    fn signed(signer: &Signer, until: OffsetDateTime) -> Attestation {
        let unsigned = Attestation {
            member: "RXA".parse().unwrap(),
            subject: "attested.spooler_off".into(),
            statement: "The spooler is off.".into(),
            by: "Jo Bloggs, Head of IT".into(),
            note: None,
            signed_at: NOW - Duration::days(20),
            until,
            key: hex(signer.public_key()),
            signature: String::new(),
            unregistered: false,
        };
        let signature = signer.sign(&unsigned.signed_bytes());
        unsigned.signed(&signature)
    }

    fn found(attestations: Vec<Attestation>, registered: Registered) -> (Gathered, Vec<Attestation>) {
        let at_most = Duration::days(366);
        let statement = Statement { at: Place::nowhere(), text: "The spooler is off.".into(), at_most };
        let statements = BTreeMap::from([("attested.spooler_off".to_owned(), statement)]);
        let held = Held { attestations, registered };
        attested(&statements, &held, &"RXA".parse().unwrap(), NOW)
    }

    #[test]
    fn what_is_not_stated_is_absent_and_what_does_not_hold_has_failed() {
        let signer = Signer::ephemeral().unwrap();
        let registered = || Registered::Key(hex(signer.public_key()));
        let end = NOW + Duration::days(100);
        let of = |gathered: &Gathered, name: &str| gathered.facts.get(&format!("attested.spooler_off{name}"));

        let (nothing, kept) = found(Vec::new(), registered());
        assert_eq!((of(&nothing, ""), of(&nothing, UNTIL), kept.len()), (Fact::Absent, Fact::Absent, 0));
        assert!(nothing.provenance.is_empty());

        let (good, kept) = found(vec![signed(&signer, end)], registered());
        assert_eq!(
            (of(&good, ""), of(&good, UNTIL)),
            (Fact::boolean(true), Fact::Known(Value::Instant(end)))
        );
        assert!(
            !kept[0].unregistered && good.provenance[0].by.contains("until 2027-03-04, signed with key ")
        );

        let (ended, _) = found(vec![signed(&signer, NOW)], registered());
        assert!(matches!(of(&ended, ""), Fact::Failed(reason) if reason.contains("ended on 2026-11-24")));
        assert_eq!(of(&ended, UNTIL), Fact::Known(Value::Instant(NOW)), "its end is true all the same");

        let other = Signer::ephemeral().unwrap();
        let (foreign, kept) = found(vec![signed(&other, end)], registered());
        assert!(matches!((of(&foreign, ""), of(&foreign, UNTIL)), (Fact::Failed(_), Fact::Failed(_))));
        assert_eq!(kept.len(), 1, "the evidence shows what did not hold");

        let (unchecked, kept) = found(vec![signed(&other, end)], Registered::Unchecked);
        assert_eq!(of(&unchecked, ""), Fact::boolean(true));
        assert!(
            kept[0].unregistered && unchecked.provenance[0].by.contains("not held against a registration")
        );
    }
}
