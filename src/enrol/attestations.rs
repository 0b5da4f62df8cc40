//! What a member states: its key is registered by an officer, attestations are checked before they are kept, and withdrawn for good.
//! Each is one transaction of the store with its audit record.

use serde_json::json;

use crate::baseline::attestation::{Attestation, Registered, public_key};
use crate::enrol::error::EnrolError;
use crate::enrol::run::By;
use crate::policy::documents::Statement;
use crate::policy::terms::{Membership, OdsCode};
use crate::store::member::{Attested, KeptAttestation, Member, Withdrawn};
use crate::store::port::Store;

/// Registers the key that the member signs with, in place of the one before. What that one signed does not hold any more.
pub fn register(store: &dyn Store, ods: &OdsCode, key: &str, by: &By<'_>) -> Result<Member, EnrolError> {
    by.check()?;
    public_key(key).ok_or_else(|| EnrolError::NotAKey(key.to_owned()))?;
    let member = staying(store, ods)?;
    let detail = json!({ "key": key, "before": member.attested.key, "reason": by.reason });
    let attested = Attested { key: Some(key.to_owned()), ..member.attested.clone() };
    let changed = Member { attested, ..member };
    Ok(store.save_member(&changed, None, &by.audit("member.attestation_key", ods, detail))?)
}

/// Who else is registered with a key: what one of them signs, the other could have signed as well.
pub fn others_with(store: &dyn Store, ods: &OdsCode, key: &str) -> Result<Vec<OdsCode>, EnrolError> {
    let same = |member: &Member| member.ods != *ods && member.attested.key.as_deref() == Some(key);
    Ok(store.members()?.into_iter().filter(same).map(|member| member.ods).collect())
}

/// Keeps an attestation of the member that it names, in place of the one before of its subject. It must hold now, and be signed after the
/// one before, and after that one was withdrawn: nothing that was once replaced or taken back comes again.
pub fn add(
    store: &dyn Store,
    attestation: Attestation,
    statement: &Statement,
    by: &By<'_>,
) -> Result<Member, EnrolError> {
    by.check()?;
    let ods = attestation.member.clone();
    let member = staying(store, &ods)?;
    let subject = attestation.subject.clone();
    let refused =
        |why: String| EnrolError::Attestation { member: ods.clone(), subject: subject.clone(), why };
    let registered = member.attested.key.clone().map_or(Registered::Nothing, Registered::Key);
    let checked = attestation.is_of(&ods, &registered).and_then(|()| attestation.answers(statement, by.now));
    checked.map_err(|problem| refused(format!("was not added: {problem}")))?;
    if let Some(before) = member.attested.kept.get(&subject) {
        if let Some(withdrawn) = before.withdrawn.as_ref().filter(|w| attestation.signed_at <= w.at) {
            let why = format!(
                "was withdrawn on {} and this was signed before: sign a new one",
                withdrawn.at.date()
            );
            return Err(refused(why));
        }
        if attestation.signed_at <= before.attestation.signed_at {
            return Err(refused("is kept already, as signed at the same time or later".to_owned()));
        }
    }
    let detail = json!({
        "subject": subject,
        "key": attestation.key,
        "signed_at": attestation.signed_at.unix_timestamp(),
        "last_day": attestation.last_day(),
        "reason": by.reason,
    });
    let kept =
        KeptAttestation { attestation, added_at: by.now, added_by: by.actor.to_owned(), withdrawn: None };
    save(store, member, &subject, kept, &by.audit("attestation.add", &ods, detail))
}

/// Takes an attestation back: its fact is absent from the next pass on.
pub fn withdraw(store: &dyn Store, ods: &OdsCode, subject: &str, by: &By<'_>) -> Result<Member, EnrolError> {
    by.check()?;
    let member = store.member(ods)?.ok_or_else(|| EnrolError::NoMember(ods.clone()))?;
    let refused =
        |why: String| EnrolError::Attestation { member: ods.clone(), subject: subject.to_owned(), why };
    let kept =
        member.attested.kept.get(subject).cloned().ok_or_else(|| {
            refused(format!("is not kept: `portcullis attestation list {ods}` shows what is"))
        })?;
    if kept.withdrawn.is_some() {
        return Err(refused("was withdrawn already".to_owned()));
    }
    let withdrawn = Withdrawn { at: by.now, by: by.actor.to_owned(), reason: by.reason.trim().to_owned() };
    let kept = KeptAttestation { withdrawn: Some(withdrawn), ..kept };
    let detail = json!({ "subject": subject, "reason": by.reason });
    save(store, member, subject, kept, &by.audit("attestation.withdraw", ods, detail))
}

fn save(
    store: &dyn Store,
    mut member: Member,
    subject: &str,
    kept: KeptAttestation,
    audit: &crate::store::audit::NewAudit,
) -> Result<Member, EnrolError> {
    member.attested.kept.insert(subject.to_owned(), kept);
    Ok(store.save_member(&member, None, audit)?)
}

fn staying(store: &dyn Store, ods: &OdsCode) -> Result<Member, EnrolError> {
    let member = store.member(ods)?.ok_or_else(|| EnrolError::NoMember(ods.clone()))?;
    if member.state == Membership::Left { Err(EnrolError::HasLeft(ods.clone())) } else { Ok(member) }
}
