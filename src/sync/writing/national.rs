//! What the national directory can do, and how a write of an existing entry is made conditional there.
//!
//! A write may only hit the entry that was planned against. What a server offers for that is read from its root DSE, once per
//! connection, and never guessed:
//!
//! | | OpenLDAP | 389 Directory Server |
//! | --- | --- | --- |
//! | identity of an entry | `entryUUID` (RFC 4530) | `nsUniqueId` |
//! | its version | `entryCSN` | `entryusn` (USN plug-in) |
//! | condition | assertion control (RFC 4528) | values in the request itself |
//!
//! With the assertion control the server holds identity, version and anchor against the entry in the same instant as the write.
//!
//! Without it the entry is read just before: identity, version and anchor must be the planned ones, or nothing is written. What
//! happens between that and the write is caught by the write: a modify takes away the very values that it was planned against,
//! anchor and stamp among them, before it sets the new ones, all or nothing, and one that is not there fails all of it. A rename
//! and a delete carry no values; such a modify, which changes nothing, goes before them. What is left is a rename or delete of
//! an entry that was put under that very name in the instant between the two requests; the answer tells which entry it was, and
//! the step then counts as failed, a rename is taken back. A change of an attribute that a step does not touch may be missed,
//! and is then drift, found by the next look.

use crate::directory::client::Directory;
use crate::directory::error::DirectoryError;
use crate::directory::request::{Change as Write, Outcome, RawControl};
use crate::ldap::control::Control;
use crate::ldap::dn::Dn;
use crate::ldap::entry::{Attribute, Entry};
use crate::ldap::filter::Filter;
use crate::ldap::limits::Limits;
use crate::ldap::typed_control::{self, ASSERTION, POST_READ, PRE_READ};
use crate::sync::people::naming;
use crate::sync::terms::error::SyncError;
use crate::sync::terms::step::{Action, Step};
use crate::sync::terms::target::{ANCHOR, STAMP};

/// Result codes (RFC 4511 section 4.1.9, RFC 4528).
const NO_SUCH_ATTRIBUTE: u32 = 16;
const NO_SUCH_OBJECT: u32 = 32;
const OBJECT_CLASS_VIOLATION: u32 = 65;
pub const ASSERTION_FAILED: u32 = 122;
/// The attribute of the root DSE that the USN plug-in of 389 Directory Server brings, with or without an option.
const LAST_USN: &str = "lastusn";

/// How writes are made conditional.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// By the assertion control.
    Assertion,
    /// By a look just before, and by values in the request.
    Values,
}

/// What a server offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct National {
    /// Attribute that never changes.
    pub identity: &'static str,
    /// Attribute that changes with every write.
    pub version: &'static str,
    pub condition: Condition,
}

impl National {
    /// Asks the server.
    ///
    /// # Errors
    /// No answer, or a server on which no write can be made conditional.
    pub async fn of(directory: &mut Directory) -> Result<National, SyncError> {
        let root =
            directory.read_root_dse(&["supportedControl", LAST_USN]).await.map_err(SyncError::Target)?;
        National::by(&root)
    }

    /// What this root DSE tells.
    pub fn by(root: &Entry) -> Result<National, SyncError> {
        let offers = |oid: &str| root.texts("supportedControl").any(|one| one == oid);
        let counts = root.attributes.iter().any(|attribute| {
            let name = attribute.description.split(';').next().unwrap_or_default();
            name.eq_ignore_ascii_case(LAST_USN)
        });
        let (identity, version) = if counts { ("nsUniqueId", "entryusn") } else { ("entryUUID", "entryCSN") };
        let condition = match () {
            () if offers(ASSERTION) => Condition::Assertion,
            () if counts && offers(PRE_READ) && offers(POST_READ) => Condition::Values,
            () => {
                return Err(SyncError::Unusable(
                    "it offers neither the assertion control (RFC 4528) nor entries with a version: on 389 Directory Server \
                     switch on the USN plug-in (`dsconf INSTANCE plugin usn enable`, then restart it)"
                        .to_owned(),
                ));
            }
        };
        Ok(National { identity, version, condition })
    }

    /// Identity and version of an entry that was read. An entry of others, from before the USN plug-in was switched on, may have no
    /// version yet: that is a version, too, the empty one. One of ours that shows none has one that we may not read.
    ///
    /// # Errors
    /// The entry does not show what its writes would have to be held against.
    pub fn known(&self, entry: &Entry) -> Result<(String, String), SyncError> {
        let text = |name: &str| entry.text(name).unwrap_or_default().to_owned();
        let (identity, version) = (text(self.identity), text(self.version));
        let old = self.condition == Condition::Values && entry.text(ANCHOR).is_none();
        let bare = version.is_empty() && !old;
        if identity.is_empty() || bare {
            return Err(SyncError::Unusable(format!(
                "an entry shows no {} or no {}: let our account read them (on 389 Directory Server an aci must name them)",
                self.identity, self.version
            )));
        }
        Ok((identity, version))
    }

    /// The version that an answer tells, when it does.
    pub fn version_after(&self, outcome: &Outcome) -> Option<String> {
        told(outcome, POST_READ)?.text(self.version).map(str::to_owned)
    }

    /// What the directory calls the entry after a write, by itself.
    pub fn identity_after(&self, outcome: &Outcome) -> Option<String> {
        told(outcome, POST_READ)?.text(self.identity).map(str::to_owned)
    }

    /// Does the step, if the entry still is what it was planned against. A condition that does not hold is a result code
    /// ([`ASSERTION_FAILED`]) like any other.
    pub async fn write(&self, directory: &Directory, step: &Step) -> Result<Outcome, DirectoryError> {
        match (step.action, self.condition) {
            (Action::Prepare | Action::Create, _) => {
                let attributes: Vec<Attribute> = step
                    .changes
                    .iter()
                    .map(|change| Attribute {
                        description: change.attribute.clone(),
                        values: bytes(&change.after),
                    })
                    .collect();
                directory.add(&step.dn, &attributes, vec![self.read(POST_READ)]).await
            }
            (_, Condition::Assertion) => self.asserted(directory, step).await,
            (_, Condition::Values) => self.looked_at(directory, step).await,
        }
    }

    async fn asserted(&self, directory: &Directory, step: &Step) -> Result<Outcome, DirectoryError> {
        let assertion = self.assertion(step);
        match step.action {
            Action::Rename => {
                // of a name that somebody else gave the values stay: what is ours among them the next plan puts right
                let (rdn, superior) = place(step)?;
                let controls = vec![assertion, self.read(POST_READ)];
                let goes = naming::is_plain(&step.dn);
                directory.rename(&step.dn, &rdn, goes, Some(&superior), controls).await
            }
            Action::Delete => directory.delete(&step.dn, vec![assertion, self.whole()]).await,
            _ => {
                let changes: Vec<Write> = step
                    .changes
                    .iter()
                    .map(|change| Write::Replace {
                        attribute: change.attribute.clone(),
                        values: bytes(&change.after),
                    })
                    .collect();
                directory.modify(&step.dn, &changes, vec![assertion, self.read(POST_READ)]).await
            }
        }
    }

    /// That the entry is the one that was planned against.
    fn assertion(&self, step: &Step) -> RawControl {
        let mut all = Vec::new();
        if let Some(identity) = &step.entry_uuid {
            all.push(Filter::equal(self.identity, identity.as_bytes()));
        }
        match step.entry_csn.as_deref() {
            Some("") => all.push(Filter::present(self.version).negate()),
            Some(version) => all.push(Filter::equal(self.version, version.as_bytes())),
            None => {}
        }
        match (step.anchor_before(), &step.anchor) {
            (Some(anchor), _) => all.push(Filter::equal(ANCHOR, anchor.into_bytes())),
            (None, Some(_)) => all.push(Filter::present(ANCHOR).negate()),
            (None, None) => {}
        }
        raw(typed_control::assertion(&Filter::And(all), true))
    }

    async fn looked_at(&self, directory: &Directory, step: &Step) -> Result<Outcome, DirectoryError> {
        let names = [self.identity, self.version, ANCHOR, STAMP];
        let (entry, done) = directory.read_entry(&step.dn, &names).await?;
        let Some(entry) = entry else {
            let code = if done.is_success() { NO_SUCH_OBJECT } else { done.code };
            return Ok(Outcome { code, text: done.text, controls: Vec::new() });
        };
        if !self.is_planned(step, &entry) {
            return Ok(changed());
        }
        let stamp = entry.text(STAMP);
        match step.action {
            Action::Rename | Action::Delete => {
                let claim = claim(step, stamp);
                // nothing to hold against it beyond what was just read
                if !claim.is_empty() {
                    let claimed =
                        directory.modify(&step.dn, &claim, vec![self.read(POST_READ)]).await.map(failed)?;
                    if !claimed.is_success() {
                        return Ok(claimed);
                    }
                }
                if step.action == Action::Rename {
                    self.renamed(directory, step).await
                } else {
                    let outcome = directory.delete(&step.dn, vec![self.whole()]).await?;
                    Ok(self.hit(step, PRE_READ, outcome))
                }
            }
            _ => {
                let changes = conditional(step, stamp);
                directory.modify(&step.dn, &changes, vec![self.read(POST_READ)]).await.map(failed)
            }
        }
    }

    async fn renamed(&self, directory: &Directory, step: &Step) -> Result<Outcome, DirectoryError> {
        let (rdn, superior) = place(step)?;
        let controls = vec![self.read(POST_READ)];
        let goes = naming::is_plain(&step.dn);
        let outcome = directory.rename(&step.dn, &rdn, goes, Some(&superior), controls).await?;
        let outcome = self.hit(step, POST_READ, outcome);
        if outcome.code == ASSERTION_FAILED
            && let (Some(to), Some((rdn, superior))) = (step.to.as_deref(), split(&step.dn))
        {
            directory.rename(to, &rdn, true, Some(&superior), Vec::new()).await?;
        }
        Ok(outcome)
    }

    /// The outcome, unless another entry was hit than the planned one.
    fn hit(&self, step: &Step, control: &str, outcome: Outcome) -> Outcome {
        let entry = told(&outcome, control);
        let other = entry.is_some_and(|entry| entry.text(self.identity) != step.entry_uuid.as_deref());
        if outcome.is_success() && other { changed() } else { outcome }
    }

    fn is_planned(&self, step: &Step, entry: &Entry) -> bool {
        let text = |name: &str| entry.text(name).unwrap_or_default();
        let anchor = step.anchor_before().unwrap_or_default();
        step.entry_uuid.as_deref().is_none_or(|identity| text(self.identity) == identity)
            && step.entry_csn.as_deref().is_none_or(|version| text(self.version) == version)
            && text(ANCHOR) == anchor
    }

    /// Everything that goes with a deleted entry, others' attributes too: undoing makes it again.
    fn whole(&self) -> RawControl {
        raw(typed_control::read_entry(PRE_READ, &["*", self.identity, self.version], false))
    }

    fn read(&self, oid: &'static str) -> RawControl {
        raw(typed_control::read_entry(oid, &[self.identity, self.version], false))
    }
}

/// What somebody else did first.
fn changed() -> Outcome {
    Outcome { code: ASSERTION_FAILED, text: String::new(), controls: Vec::new() }
}

/// A value that was to be there and is not, or an anchor that is there already, is a condition that did not hold.
fn failed(outcome: Outcome) -> Outcome {
    let taken = outcome.code == OBJECT_CLASS_VIOLATION && names_anchor(&outcome.text);
    if outcome.code == NO_SUCH_ATTRIBUTE || taken { changed() } else { outcome }
}

fn names_anchor(text: &str) -> bool {
    text.to_ascii_lowercase().contains(ANCHOR)
}

fn told(outcome: &Outcome, control: &str) -> Option<Entry> {
    let value = outcome.control(control)?.value.as_deref()?;
    typed_control::read_entry_answer(value, &Limits::default()).ok()
}

/// A modify that changes nothing, and fails when the entry is another one or has another stamp.
fn claim(step: &Step, stamp: Option<&str>) -> Vec<Write> {
    let mut changes = Vec::new();
    changes.extend(step.anchor_before().into_iter().flat_map(|anchor| same(ANCHOR, &anchor)));
    changes.extend(stamp.into_iter().flat_map(|stamp| same(STAMP, stamp)));
    changes
}

fn same(attribute: &str, value: &str) -> [Write; 2] {
    let (attribute, values) = (attribute.to_owned(), vec![value.as_bytes().to_vec()]);
    [Write::Delete { attribute: attribute.clone(), values: values.clone() }, Write::Add { attribute, values }]
}

/// The step's changes, each after the removal of the values that it was planned against.
fn conditional(step: &Step, stamp: Option<&str>) -> Vec<Write> {
    let touches = |name: &str| step.changes.iter().any(|change| change.attribute == name);
    let mut changes = Vec::new();
    if let Some(anchor) = step.anchor.as_ref().filter(|_| !touches(ANCHOR)) {
        changes.extend(same(ANCHOR, &anchor.to_string()));
    }
    if let Some(stamp) = stamp.filter(|_| !touches(STAMP)) {
        changes.extend(same(STAMP, stamp));
    }
    // what is not there before and after says only that it is not there
    for change in step.changes.iter().filter(|change| !change.before.is_empty() || !change.after.is_empty()) {
        let attribute = change.attribute.clone();
        // classes cannot be away for a moment, and nobody is published by them
        if !change.before.is_empty() && attribute != "objectclass" {
            changes.push(Write::Delete { attribute: attribute.clone(), values: bytes(&change.before) });
        }
        // an anchor where there is one already must not replace it
        changes.push(if attribute == ANCHOR && change.before.is_empty() {
            Write::Add { attribute, values: bytes(&change.after) }
        } else {
            Write::Replace { attribute, values: bytes(&change.after) }
        });
    }
    changes
}

fn raw(control: Control<'_>) -> RawControl {
    RawControl {
        oid: control.oid.into_owned(),
        critical: control.critical,
        value: control.value.map(std::borrow::Cow::into_owned),
    }
}

fn bytes(values: &[String]) -> Vec<Vec<u8>> {
    values.iter().map(|value| value.clone().into_bytes()).collect()
}

fn place(step: &Step) -> Result<(String, String), DirectoryError> {
    let place = step.to.as_deref().and_then(split);
    place.ok_or_else(|| DirectoryError::Request("a rename without a name".to_owned()))
}

fn split(dn: &str) -> Option<(String, String)> {
    let dn = Dn::parse(dn).ok()?;
    Some((dn.rdn()?.to_string(), dn.parent()?.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::terms::step::Change;
    use crate::sync::terms::target::Anchor;

    fn root(values: &[(&str, &[&str])]) -> Entry {
        let attribute = |(name, values): &(&str, &[&str])| Attribute {
            description: (*name).to_owned(),
            values: values.iter().map(|value| value.as_bytes().to_vec()).collect(),
        };
        Entry { dn: String::new(), attributes: values.iter().map(attribute).collect() }
    }

    #[test]
    fn what_a_server_offers_is_read_from_its_root() {
        let openldap = National::by(&root(&[("supportedControl", &[ASSERTION, PRE_READ])])).unwrap();
        assert_eq!(openldap.condition, Condition::Assertion);
        assert_eq!((openldap.identity, openldap.version), ("entryUUID", "entryCSN"));
        let controls: &[&str] = &[PRE_READ, POST_READ];
        let counting = root(&[("supportedControl", controls), ("lastusn;userroot", &["7"])]);
        let other = National::by(&counting).unwrap();
        assert_eq!(other.condition, Condition::Values);
        assert_eq!((other.identity, other.version), ("nsUniqueId", "entryusn"));
        for poor in [root(&[("supportedControl", controls)]), root(&[("lastusn", &["7"])]), root(&[])] {
            let refused = National::by(&poor).unwrap_err().to_string();
            assert!(refused.contains("USN plug-in"), "{refused}");
        }
    }

    #[test]
    fn an_entry_without_identity_is_of_no_use() {
        let values = National { identity: "nsUniqueId", version: "entryusn", condition: Condition::Values };
        let known = values.known(&root(&[("nsuniqueid", &["a-b"])]));
        assert_eq!(known.unwrap(), ("a-b".to_owned(), String::new()));
        assert!(values.known(&root(&[("entryusn", &["1"])])).is_err());
        assert!(values.known(&root(&[("nsuniqueid", &["a-b"]), (ANCHOR, &["x"])])).is_err());
        let assertion =
            National { identity: "entryUUID", version: "entryCSN", condition: Condition::Assertion };
        assert!(assertion.known(&root(&[("entryuuid", &["a"])])).is_err());
    }

    fn step(action: Action, changes: Vec<Change>) -> Step {
        Step {
            action,
            anchor: Anchor::parse("RXA/00000000-0000-0000-0000-000000000001"),
            dn: "uid=a,ou=RXA,dc=n".to_owned(),
            to: None,
            entry_uuid: Some("u".to_owned()),
            entry_csn: Some("1".to_owned()),
            changes,
            reason: String::new(),
            rule: String::new(),
            needs: Vec::new(),
        }
    }

    fn change(attribute: &str, before: &[&str], after: &[&str]) -> Change {
        let texts = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
        Change { attribute: attribute.to_owned(), before: texts(before), after: texts(after) }
    }

    #[test]
    fn a_modify_takes_away_what_it_was_planned_against() {
        let one = |value: &str| vec![value.as_bytes().to_vec()];
        let anchor = "RXA/00000000-0000-0000-0000-000000000001";
        let step = step(Action::Modify, vec![change("title", &["a"], &["b"]), change("l", &[], &["c"])]);
        let changes = conditional(&step, Some("s"));
        let [anchored @ .., title_off, title, l] = changes.as_slice() else { panic!("{changes:?}") };
        let all = [same(ANCHOR, anchor), same(STAMP, "s")].concat();
        assert_eq!(anchored, all.as_slice());
        assert_eq!(*title_off, Write::Delete { attribute: "title".into(), values: one("a") });
        assert_eq!(*title, Write::Replace { attribute: "title".into(), values: one("b") });
        assert_eq!(*l, Write::Replace { attribute: "l".into(), values: one("c") });
    }

    #[test]
    fn a_stamp_that_changes_is_its_own_condition_and_an_anchor_is_never_replaced() {
        let one = |value: &str| vec![value.as_bytes().to_vec()];
        let step = step(Action::Join, vec![change(ANCHOR, &[], &["x"]), change(STAMP, &["old"], &["new"])]);
        let changes = conditional(&step, Some("old"));
        let expected = [
            Write::Add { attribute: ANCHOR.into(), values: one("x") },
            Write::Delete { attribute: STAMP.into(), values: one("old") },
            Write::Replace { attribute: STAMP.into(), values: one("new") },
        ];
        assert_eq!(changes, expected);
        // an entry is claimed by the anchor that it carries, whosever that is
        assert_eq!(claim(&step, None), []);
        let misled = Step { changes: vec![change(ANCHOR, &["theirs"], &[])], ..step };
        assert_eq!(claim(&misled, None), same(ANCHOR, "theirs"));
    }
}
