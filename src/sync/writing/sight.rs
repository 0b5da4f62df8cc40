//! What a plan looks at: everything staged and everything published, read as streams, and of them only what needs something.

use std::collections::{BTreeMap, BTreeSet};

use crate::directory::client::Directory;
use crate::directory::request::{Scope as Depth, Search};
use crate::directory::sink::Sink;
use crate::ldap::dn::Dn;
use crate::ldap::entry::Entry;
use crate::ldap::filter::Filter;
use crate::policy::terms::OdsCode;
use crate::sync::keeping::bases::{self, Base};
use crate::sync::keeping::shelf::Shelf;
use crate::sync::people::desired::{self, Fate};
use crate::sync::people::naming;
use crate::sync::people::survey::{Frame, Recall, Sight, Survey};
use crate::sync::terms::error::{Broken, SyncError};
use crate::sync::terms::guid::Guid;
use crate::sync::terms::settings::{Origin, Scope};
use crate::sync::terms::staged::{Object, Staged};
use crate::sync::terms::target::{ANCHOR, Anchor, TargetEntry};
use crate::sync::writing::national::National;
use crate::sync::writing::observe::{attributes, entry_at, target};
use crate::sync::writing::owners::{self, Kept};

const NO_SUCH_OBJECT: u32 = 32;
/// National entries that are compared at a time.
const CHUNK: usize = 500;

/// What a look came to.
#[derive(Debug)]
pub struct Look {
    pub sight: Sight,
    /// The scope's bases; none: the whole tree.
    pub bases: Option<Vec<Base>>,
    /// Entries outside the member's unit that have a mail, or are of a person, that somebody who needs something is to have.
    pub elsewhere: Vec<TargetEntry>,
}

/// Mails and persons that are looked for at a time.
const QUESTIONS: usize = 100;

/// What is staged, and what is to be thought of as staged instead.
#[derive(Debug)]
pub struct Stock<'a> {
    pub shelf: &'a Shelf,
    pub instead: BTreeMap<Guid, Object>,
}

impl Stock<'_> {
    async fn objects(&self, guids: Vec<Guid>) -> Result<Vec<Option<Object>>, SyncError> {
        let kept = self.shelf.objects(guids.clone()).await?;
        let both = guids.iter().zip(kept);
        Ok(both.map(|(guid, kept)| self.instead.get(guid).cloned().or(kept)).collect())
    }
}

/// Reads all, or an error.
pub async fn look(frame: Frame, stock: &Stock<'_>, directory: &mut Directory) -> Result<Look, SyncError> {
    let (base, scope, member) = (frame.base.clone(), frame.scope.clone(), frame.member.clone());
    let shelf = stock.shelf;
    let aside: BTreeSet<Guid> = stock.instead.keys().copied().collect();
    let mut survey = shelf.survey(Survey::new(frame), aside).await?;
    stock.instead.values().for_each(|object| survey.staged(object.clone()));
    let bases = pins(&survey.tree(), &scope, shelf).await?;
    survey.place(bases::guids(&bases).as_ref());
    let mut survey = compare(survey, &base, &scope, stock, directory).await?;
    let everywhere = base.parent();
    let everywhere = everywhere.as_ref();
    let owners = owners::of(shelf, Kept::Here, everywhere, survey.unclear()).await?;
    survey.written_for(&owners);
    let outside = Outside::of(&base, &scope, directory).await?;
    for leavers in survey.leavers().chunks(QUESTIONS) {
        let anchors = leavers.iter().map(|guid| anchor_of(&member, guid)).collect();
        let moved = outside.find(anchors, directory).await?;
        survey.look_for(moved.iter().filter_map(|entry| entry.person(&member)));
    }
    let sight = recall(survey, &scope, stock, directory).await?;
    let questions = questions(sight.staged.objects(), &sight.view.entries, &member, &scope);
    let mut elsewhere = outside.find(questions, directory).await?;
    let unclear = elsewhere.iter().filter(|entry| is_unclear(entry, &member));
    let mut owners = owners::of(shelf, Kept::Elsewhere, everywhere, unclear).await?;
    elsewhere.iter_mut().for_each(|entry| entry.written_for = owners.remove(&entry.entry_uuid));
    Ok(Look { sight, bases, elsewhere })
}

/// What to ask for: an attribute and its value.
type Question = (String, String);

fn anchor_of(member: &OdsCode, guid: &Guid) -> Question {
    (ANCHOR.to_owned(), Anchor { member: member.clone(), guid: *guid }.to_string())
}

/// What to ask the whole national directory for: mails that an entry here is to have and has not, and anchors and persons of those who have
/// no entry here.
fn questions<'a>(
    objects: impl Iterator<Item = &'a Object>,
    here: &[TargetEntry],
    member: &OdsCode,
    scope: &Scope,
) -> BTreeSet<Question> {
    let mine: BTreeMap<Guid, &TargetEntry> =
        here.iter().filter_map(|entry| Some((entry.person(member)?, entry))).collect();
    let mut questions = BTreeSet::new();
    for object in objects.filter(|object| desired::is_person(object)) {
        let fate = desired::fate(member, object, true, scope, &mut BTreeSet::new());
        let entry = mine.get(&object.guid);
        if let (Fate::Publish(_) | Fate::Leave(_), None) = (&fate, entry) {
            questions.insert(anchor_of(member, &object.guid));
        }
        if let (Fate::Leave(desired::NOT_PUBLISHED), None, Some(Origin::Local(local))) =
            (&fate, entry, scope.attributes.get("mail"))
        {
            // a wish finds its entry without an anchor as well
            let mails = object.attributes.get(local).into_iter().flatten();
            questions.extend(mails.map(|mail| ("mail".to_owned(), mail.clone())));
        }
        let Fate::Publish(wish) = fate else { continue };
        let has = |mail: &String| {
            entry.is_some_and(|entry| entry.values("mail").iter().any(|one| one.eq_ignore_ascii_case(mail)))
        };
        let mails = wish.attributes.get("mail").into_iter().flatten().filter(|mail| !has(mail));
        questions.extend(mails.map(|mail| ("mail".to_owned(), mail.clone())));
        if let (Some(key), None) = (&scope.person, entry) {
            let persons = wish.attributes.get(key).into_iter().flatten();
            questions.extend(persons.map(|person| (key.clone(), person.clone())));
        }
    }
    questions
}

/// Whether an entry outside the member's unit does not say plainly whose it is: it carries the member's anchor, or none that can be read.
pub fn is_unclear(entry: &TargetEntry, member: &OdsCode) -> bool {
    entry.anchor().is_none_or(|anchor| anchor.member == *member)
}

/// What outside the member's unit these people have or need, whose entries `here` are.
pub async fn elsewhere<'a>(
    people: impl Iterator<Item = &'a Object>,
    here: &[TargetEntry],
    member: &OdsCode,
    base: &Dn,
    scope: &Scope,
    directory: &mut Directory,
) -> Result<Vec<TargetEntry>, SyncError> {
    let questions = questions(people, here, member, scope);
    Outside::of(base, scope, directory).await?.find(questions, directory).await
}

/// The national directory outside the member's unit.
struct Outside<'a> {
    base: &'a Dn,
    /// What all members' units lie below; none: nothing lies outside.
    everywhere: Option<Dn>,
    national: National,
    names: Vec<String>,
}

impl<'a> Outside<'a> {
    async fn of(base: &'a Dn, scope: &Scope, directory: &mut Directory) -> Result<Outside<'a>, SyncError> {
        let national = National::of(directory).await?;
        Ok(Outside { base, everywhere: base.parent(), names: attributes(scope, &national), national })
    }

    /// The entries there of which one of these is so.
    async fn find(
        &self,
        questions: BTreeSet<Question>,
        directory: &mut Directory,
    ) -> Result<Vec<TargetEntry>, SyncError> {
        let questions: Vec<Question> = questions.into_iter().collect();
        let Some(everywhere) = self.everywhere.as_ref() else { return Ok(Vec::new()) };
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        let mut found = BTreeMap::new();
        for part in questions.chunks(QUESTIONS) {
            let any = part.iter().map(|(name, value)| Filter::equal(name, value.as_bytes()).into_owned());
            let search =
                Search::new(&everywhere.to_string(), Depth::Subtree, Filter::Or(any.collect()), &names);
            let (entries, done) = directory.read(&search).await.map_err(SyncError::Target)?;
            if !done.is_complete() {
                let text = format!(
                    "looking for mails and anchors in {everywhere} ended with result code {}: index mail and portcullisAnchor for equality, and lift its limits for our account",
                    done.code
                );
                return Err(SyncError::Unusable(text));
            }
            for entry in entries {
                let here = Dn::parse(&entry.dn).is_ok_and(|dn| dn.is_at_or_below(self.base));
                if !here {
                    found.insert(naming::key(&entry.dn), target(&self.national, entry)?);
                }
            }
        }
        Ok(found.into_values().collect())
    }
}

/// Compares national entries with what is staged, as they come.
struct Comparing<'a> {
    survey: Survey,
    own: String,
    national: National,
    stock: &'a Stock<'a>,
    waiting: Vec<Entry>,
}

impl Comparing<'_> {
    async fn flush(&mut self) -> Result<(), SyncError> {
        let waiting = std::mem::take(&mut self.waiting).into_iter();
        let entries = waiting.map(|entry| target(&self.national, entry)).collect::<Result<Vec<_>, _>>()?;
        let needs: Vec<Option<Guid>> = entries.iter().map(|entry| self.survey.needs(entry)).collect();
        let mut objects = self.stock.objects(needs.iter().flatten().copied().collect()).await?.into_iter();
        for (entry, needed) in entries.into_iter().zip(needs) {
            let object = needed.and_then(|_| objects.next()).flatten();
            self.survey.compare(entry, object);
        }
        Ok(())
    }
}

impl Sink for Comparing<'_> {
    type Error = Broken;

    async fn take(&mut self, entries: Vec<Entry>) -> Result<(), Broken> {
        for entry in entries {
            if naming::key(&entry.dn) == self.own {
                self.survey.base_exists();
            } else {
                self.waiting.push(entry);
            }
        }
        if self.waiting.len() >= CHUNK { Ok(self.flush().await?) } else { Ok(()) }
    }
}

async fn compare(
    survey: Survey,
    base: &Dn,
    scope: &Scope,
    stock: &Stock<'_>,
    directory: &mut Directory,
) -> Result<Survey, SyncError> {
    let national = National::of(directory).await?;
    let names = attributes(scope, &national);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let page = directory.settings().page_size;
    let search =
        Search::new(&base.to_string(), Depth::Subtree, Filter::present("objectClass"), &names).paged(page);
    let mut comparing = Comparing { survey, own: base.normal(), national, stock, waiting: Vec::new() };
    let done = directory.search_into(&search, &mut comparing).await;
    let done = done.map_err(|broken| broken.in_directory(SyncError::Target))?;
    // without the unit there is nothing below it either
    if done.code != NO_SUCH_OBJECT && !done.is_complete() {
        let text =
            format!("reading {base} ended with result code {}: lift its limits for our account", done.code);
        return Err(SyncError::Unusable(text));
    }
    comparing.flush().await?;
    Ok(comparing.survey)
}

async fn recall(
    mut survey: Survey,
    scope: &Scope,
    stock: &Stock<'_>,
    directory: &mut Directory,
) -> Result<Sight, SyncError> {
    let national = National::of(directory).await?;
    let names = attributes(scope, &national);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    loop {
        let recalls = survey.recall();
        if recalls.is_empty() {
            return Ok(survey.finish());
        }
        for part in recalls.chunks(CHUNK) {
            let objects = stock.objects(part.iter().map(|recall| recall.guid).collect()).await?;
            for (Recall { dn, .. }, object) in part.iter().zip(objects) {
                let mut entry = None;
                if let Some(dn) = dn {
                    entry = entry_at(directory, &national, dn, &names).await?;
                    if entry.is_none() {
                        // it was there a moment ago: whoever is taken for unpublished would get a second entry
                        return Err(SyncError::Unusable(
                            "an entry was moved or removed while it was looked at: the next run looks anew"
                                .to_owned(),
                        ));
                    }
                }
                if let Some(object) = object {
                    survey.look_at(object, entry);
                }
            }
        }
    }
}

/// The scope's bases, and keeps where those are that were looked up by name.
async fn pins(staged: &Staged, scope: &Scope, shelf: &Shelf) -> Result<Option<Vec<Base>>, SyncError> {
    if scope.bases.is_empty() {
        return Ok(None);
    }
    let found = bases::locate(scope, staged, &shelf.pins().await?);
    let new = found.iter().flatten().filter(|base| !base.followed);
    let new: Vec<_> =
        new.filter_map(|base| Some((bases::key(&base.name), Some(base.guid?.0.to_vec())))).collect();
    if !new.is_empty() {
        shelf.set(new).await?;
    }
    Ok(found)
}
