//! Takes the steps, with their records.

use serde_json::json;
use time::OffsetDateTime;

use crate::enrol::error::EnrolError;
use crate::enrol::lifecycle::{Step, next};
use crate::policy::terms::{Membership, OdsCode, Target};
use crate::store::audit::NewAudit;
use crate::store::error::StoreError;
use crate::store::member::{Attested, Member, Transition, Withdrawn};
use crate::store::port::Store;

/// Who does something, when and why.
#[derive(Debug, Clone)]
pub struct By<'a> {
    pub actor: &'a str,
    /// Never empty.
    pub reason: &'a str,
    /// In UTC.
    pub now: OffsetDateTime,
}

impl By<'_> {
    /// That there is a reason.
    pub fn check(&self) -> Result<(), EnrolError> {
        if self.reason.trim().is_empty() { Err(EnrolError::NoReason) } else { Ok(()) }
    }

    fn transition(&self, member: &OdsCode, from: Option<Membership>, to: Membership) -> Transition {
        Transition {
            member: member.clone(),
            from,
            to,
            at: self.now,
            actor: self.actor.to_owned(),
            reason: self.reason.trim().to_owned(),
        }
    }

    /// The audit record of what is done.
    pub fn audit(&self, action: &str, member: &OdsCode, detail: serde_json::Value) -> NewAudit {
        NewAudit {
            at: self.now,
            actor: self.actor.to_owned(),
            action: action.to_owned(),
            member: Some(member.clone()),
            detail,
        }
    }
}

/// What of `asked` another member holds already, and who: a requester must stand for exactly one member, and a domain
/// must be one member's, or an enrolment could take people over.
fn held_by(other: &Member, asked: &Member) -> Option<(String, OdsCode)> {
    if other.ods == asked.ods || other.state == Membership::Left {
        return None;
    }
    let connector = asked
        .connectors
        .iter()
        .find(|mine| other.connectors.iter().any(|theirs| theirs.sha256 == mine.sha256))
        .map(|mine| format!("the connector certificate `{}`", mine.subject));
    let suffix = || {
        asked.upn_suffixes.intersection(&other.upn_suffixes).next().map(|s| format!("the UPN suffix `{s}`"))
    };
    let domain = || {
        asked.mail_domains.intersection(&other.mail_domains).next().map(|d| format!("the mail domain `{d}`"))
    };
    connector.or_else(suffix).or_else(domain).map(|held| (held, other.ods.clone()))
}

/// Records a request. A member that has left may ask again; any other is refused. The member's `state`, its times and its
/// revision are set here, whatever the caller wrote.
pub fn request(store: &dyn Store, asked: Member, by: &By<'_>) -> Result<Member, EnrolError> {
    by.check()?;
    if let Some(fault) = incomplete(&asked) {
        return Err(EnrolError::Incomplete(fault));
    }
    // names below `o=federation` are the same in capitals and small letters
    if asked.ods.as_str().eq_ignore_ascii_case(Target::National.unit()) {
        return Err(EnrolError::NationalName(asked.ods));
    }
    let before = store.member(&asked.ods)?;
    if before.as_ref().is_some_and(|member| member.state != Membership::Left) {
        return Err(EnrolError::AlreadyThere(asked.ods));
    }
    if let Some((held, owner)) = store.members()?.iter().find_map(|other| held_by(other, &asked)) {
        return Err(EnrolError::Held { held, owner });
    }
    let revision = before.as_ref().map_or(0, |member| member.revision);
    let attested =
        before.as_ref().map_or_else(|| asked.attested.clone(), |before| returning(before, &asked, by));
    let member = Member {
        attested,
        state: Membership::Requested,
        requested_at: by.now,
        state_since: by.now,
        state_reason: by.reason.trim().to_owned(),
        revision,
        ..asked
    };
    let transition = by.transition(&member.ods, before.map(|member| member.state), Membership::Requested);
    let detail = json!({
        "name": member.name,
        "controllers": member.connection.controllers.len(),
        "connectors": member.connectors.iter().map(|c| &c.sha256).collect::<Vec<_>>(),
        "attestation_key": member.attested.key,
        "reason": by.reason,
    });
    Ok(store.save_member(&member, Some(&transition), &by.audit("member.request", &member.ods, detail))?)
}

/// What a member that left had stated holds no more when it asks again, and does not come again.
fn returning(before: &Member, asked: &Member, by: &By<'_>) -> Attested {
    let mut attested = Attested { key: asked.attested.key.clone(), ..before.attested.clone() };
    for kept in attested.kept.values_mut() {
        let withdrawn = Withdrawn { at: by.now, by: by.actor.to_owned(), reason: "it left".to_owned() };
        kept.withdrawn.get_or_insert(withdrawn);
    }
    attested
}

/// What is missing from a request, as one sentence.
fn incomplete(member: &Member) -> Option<String> {
    let connection = &member.connection;
    let in_dns = connection.realm.is_some() || connection.base_dn.to_lowercase().contains("dc=");
    let missing = if connection.controllers.is_empty() && !in_dns {
        "at least one domain controller (--controller), or a realm in whose DNS they are (--realm)"
    } else if connection.base_dn.trim().is_empty() {
        "the base DN (--base-dn)"
    } else if connection.bind_dn.trim().is_empty() {
        "the account to bind as (--bind-dn)"
    } else if connection.anchors.trim().is_empty() {
        "the trust anchors of its controllers (--anchors)"
    } else if member.name.trim().is_empty() {
        "its name (--name)"
    } else {
        return None;
    };
    Some(format!("give {missing}"))
}

/// Takes one step.
pub fn take(store: &dyn Store, ods: &OdsCode, step: Step, by: &By<'_>) -> Result<Member, EnrolError> {
    by.check()?;
    let member = store.member(ods)?.ok_or_else(|| EnrolError::NoMember(ods.clone()))?;
    let from = member.state;
    let suspended_from = if step == Step::Resume { before_suspension(store, ods)? } else { None };
    let to = next(from, step, suspended_from)
        .map_err(|refused| EnrolError::Step { member: ods.clone(), refused })?;
    let changed =
        Member { state: to, state_since: by.now, state_reason: by.reason.trim().to_owned(), ..member };
    let detail = json!({ "from": from, "to": to, "reason": by.reason });
    let audit = by.audit(&format!("member.{}", step.as_str()), ods, detail);
    Ok(store.save_member(&changed, Some(&by.transition(ods, Some(from), to)), &audit)?)
}

/// Takes steps one after the other until the member stands at `goal`: the way from checked to federated, each step recorded.
pub fn advance(
    store: &dyn Store,
    ods: &OdsCode,
    goal: Membership,
    by: &By<'_>,
) -> Result<Member, EnrolError> {
    let mut member = store.member(ods)?.ok_or_else(|| EnrolError::NoMember(ods.clone()))?;
    loop {
        let step = match member.state {
            state if state == goal => return Ok(member),
            Membership::Approved => Step::Pilot,
            Membership::Piloting => Step::Federate,
            _ => Step::Approve,
        };
        member = take(store, ods, step, by)?;
    }
}

/// Records that the member was measured, when that was what it waited for. Any later state stays as it is.
pub fn measured(store: &dyn Store, ods: &OdsCode, by: &By<'_>) -> Result<Member, EnrolError> {
    loop {
        let member = store.member(ods)?.ok_or_else(|| EnrolError::NoMember(ods.clone()))?;
        if member.state != Membership::Requested {
            return Ok(member);
        }
        match take(store, ods, Step::Check, by) {
            // the gateway and a person may measure at the same time: one of them records it
            Err(EnrolError::Store(StoreError::Conflict(_)) | EnrolError::Step { .. }) => {}
            other => return other,
        }
    }
}

fn before_suspension(store: &dyn Store, ods: &OdsCode) -> Result<Option<Membership>, EnrolError> {
    let transitions = store.transitions(ods)?;
    let last = transitions.iter().rev().find(|step| step.to == Membership::Suspended);
    Ok(last.and_then(|step| step.from))
}
