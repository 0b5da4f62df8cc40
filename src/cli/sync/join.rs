//! `portcullis sync join`: which national entry is an account's, decided by hand.

use serde::Serialize;
use serde_json::json;

use crate::cli::context::Context;
use crate::cli::failure::{Answer, Failure};
use crate::cli::sync::hands::{known, runtime};
use crate::cli::sync::publisher::Publisher;
use crate::policy::terms::OdsCode;
use crate::sync::hand::look::{self, look};
use crate::sync::people::naming;
use crate::sync::terms::decision::{Decision, decisions, key};
use crate::sync::terms::guid::Guid;
use crate::sync::terms::target::ANCHOR;

#[derive(Debug, Serialize)]
struct Decided {
    member: OdsCode,
    guid: Guid,
    /// None: no decision holds any more.
    decision: Option<Decision>,
}

/// Decides, or takes a decision back when there is no `dn`.
pub fn go(
    context: &Context,
    member: &OdsCode,
    guid: Guid,
    dn: Option<&str>,
    reason: &str,
) -> Result<Answer, Failure> {
    let reason = reason.trim();
    if reason.is_empty() {
        return Err(Failure::refused("a reason is missing: say why with --reason TEXT"));
    }
    known(context, member)?;
    let store = context.store()?;
    let known = decisions(store.as_ref(), member).map_err(Failure::could_not)?;
    let decision = match dn {
        Some(dn) => {
            let other =
                known.iter().find(|(other, one)| **other != guid && naming::key(&one.dn) == naming::key(dn));
            if let Some((other, _)) = other {
                return Err(Failure::refused(format!(
                    "that entry was decided to be {other}'s: take that back first (--forget)"
                )));
            }
            Some(Decision {
                dn: free(context, member, &guid, dn)?,
                by: context.actor.clone(),
                reason: reason.to_owned(),
                at: context.clock.now(),
            })
        }
        None if known.contains_key(&guid) => None,
        None => return Err(Failure::refused("nothing was decided about this account")),
    };
    let value = decision.as_ref().map(serde_json::to_vec).transpose().map_err(Failure::could_not)?;
    // no name of a person in the audit: the decision is kept beside it
    let audit = context.audit(
        "sync.join",
        Some(member),
        json!({"guid": guid.to_string(), "reason": reason, "decided": decision.is_some()}),
    );
    store.change_sync(Some(member), &[(key(&guid), value)], &audit).map_err(Failure::could_not)?;
    let decided = Decided { member: member.clone(), guid, decision };
    context.print(&decided, |it| match &it.decision {
        Some(decision) => format!("{}/{} is {}: the next run joins them", it.member, it.guid, decision.dn),
        None => format!("nothing is decided about {}/{} any more", it.member, it.guid),
    })?;
    Ok(Answer::Yes)
}

/// The name of an entry that can be the account's, as the national directory writes it.
fn free(context: &Context, member: &OdsCode, guid: &Guid, dn: &str) -> Result<String, Failure> {
    let (config, store) = (context.config()?, context.store()?.as_ref());
    let national = config.national.for_sync();
    let set = context.policies()?;
    let known = look(store, Publisher::of(context, member)?.subject(), &set, &national)
        .map_err(Failure::could_not)?;
    if !known.staged.get(guid).is_some_and(|object| object.is_a("user") && !object.deleted) {
        return Err(Failure::refused(format!(
            "{member} has no living account with the GUID {guid}, as it was read last: portcullis sync explain {guid}"
        )));
    }
    let seen = runtime()?
        .block_on(look::national(store, &known, &national, &config.sync.national_attributes, |_| false))
        .map_err(Failure::could_not)?;
    let entry = seen.view.entries.iter().find(|entry| naming::key(&entry.dn) == naming::key(dn));
    match entry {
        None => Err(Failure::refused(format!("there is no entry {dn} below {}", known.base))),
        Some(entry) => match entry.first(ANCHOR) {
            Some(anchor) => Err(Failure::refused(format!("{dn} is {anchor}'s already"))),
            None => match entry.person(member) {
                Some(owner) => Err(Failure::refused(format!(
                    "{dn} is {member}/{owner}'s, by the journal, though its anchor was taken away: the next run puts it back"
                ))),
                None => Ok(entry.dn.clone()),
            },
        },
    }
}
