//! `portcullis member attestation-key`: what it answers.

use serde::Serialize;

use crate::ambient::text::printable;
use crate::baseline::attestation::{fingerprint, public_key};
use crate::cli::context::Context;
use crate::cli::failure::{Answer, Failure};
use crate::cli::member::answer::{by, refused, standing};
use crate::enrol::attestations;
use crate::policy::terms::OdsCode;
use crate::store::member::Member;

/// The member with what was registered.
#[derive(Debug, Serialize)]
struct Registered {
    #[serde(flatten)]
    member: Member,
    fingerprint: String,
    /// The key in whose place it stands now.
    before: Option<String>,
    /// Other members with the same key.
    shared_with: Vec<OdsCode>,
    /// Attestations that another key signed: they do not hold any more.
    no_longer_hold: Vec<String>,
}

/// Registers the key and says what that comes to.
pub fn register(ods: &OdsCode, key: &str, reason: &str, context: &Context) -> Result<Answer, Failure> {
    let before = standing(context, ods)?.attested.key;
    let store = context.store()?.as_ref();
    let member = attestations::register(store, ods, key, &by(context, reason)).map_err(refused)?;
    let kept = member.attested.kept.iter();
    let other = kept.filter(|(_, kept)| kept.withdrawn.is_none() && kept.attestation.key != key);
    let registered = Registered {
        fingerprint: fingerprint(&public_key(key).unwrap_or_default()),
        before,
        shared_with: attestations::others_with(store, ods, key).map_err(refused)?,
        no_longer_hold: other.map(|(subject, _)| subject.clone()).collect(),
        member,
    };
    warn_shared(&registered.shared_with, ods, context);
    context.print(&registered, |registered| text(registered, key))?;
    Ok(Answer::Yes)
}

/// Says who else has the member's key.
pub fn warn_shared(with: &[OdsCode], ods: &OdsCode, context: &Context) {
    if with.is_empty() {
        return;
    }
    let codes: Vec<&str> = with.iter().map(OdsCode::as_str).collect();
    context.note(format!(
        "WARNING: the same key is registered for {}: whoever has it signs for all of them; unless one organisation answers for all, have \
         {ods} make a key of its own and register that",
        codes.join(", ")
    ));
}

fn text(it: &Registered, key: &str) -> String {
    let (ods, name) = (&it.member.ods, printable(&it.member.name));
    let mut lines = vec![
        format!("registered for {ods} {name}: attestations are to be signed with"),
        format!("  key          {key}"),
        format!("  fingerprint  {}", it.fingerprint),
        match &it.before {
            Some(before) if before == key => "it was registered already".to_owned(),
            Some(before) => format!("in place of {before}"),
            None => "the first key of this member".to_owned(),
        },
    ];
    if !it.no_longer_hold.is_empty() {
        let subjects = it.no_longer_hold.join(", ");
        lines.push(format!(
            "signed with another key, from the next assessment on they do not hold: {subjects}"
        ));
    }
    lines.push(
        "next: let a person whom you know there read the fingerprint to you; theirs is shown by".to_owned(),
    );
    lines.push("  portcullis attestation key --show FILE".to_owned());
    lines.push(format!("then add what {ods} signs: portcullis attestation add FILE"));
    lines.join("\n")
}
