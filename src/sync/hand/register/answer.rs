//! What became, or would become, of each row.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use csv::ByteRecord;
use serde::Serialize;

use crate::ambient::sheet::{formula, harmless};
use crate::sync::hand::register::check::{Checked, Number};
use crate::sync::hand::register::person::{COLUMNS, Person, is_number};
use crate::sync::people::desired::is_not_published;
use crate::sync::terms::guid::Guid;
use crate::sync::terms::settings::Scope;
use crate::sync::terms::staged::Object;
use crate::sync::terms::step::{Action, Plan, Quarantine};
use crate::sync::writing::execute::Undone;

/// What a row comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// The person's entry was, or would be, created.
    Create,
    Change,
    /// An entry that was there before is the person's from now on.
    Join,
    /// Marked as a leaver.
    Leave,
    /// Deleted: the time to keep a leaver is over.
    Delete,
    /// Everything is as the row says.
    Nothing,
    /// The scope does not publish this person.
    NotPublished,
    /// A guard holds it until the plan is approved.
    Waits,
    /// Something beside the row keeps the person or a value back.
    HeldBack,
    /// Nothing of it was done; running again goes on.
    NotDone,
    /// The row is good, and was not applied because others are not.
    NotApplied,
    /// The row is wrong.
    Refused,
}

impl Word {
    /// As files and messages write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Word::Create => "create",
            Word::Change => "change",
            Word::Join => "join",
            Word::Leave => "leave",
            Word::Delete => "delete",
            Word::Nothing => "nothing",
            Word::NotPublished => "not_published",
            Word::Waits => "waits",
            Word::HeldBack => "held_back",
            Word::NotDone => "not_done",
            Word::NotApplied => "not_applied",
            Word::Refused => "refused",
        }
    }

    /// Whether it is as whoever sent the row wanted it.
    pub const fn is_well(self) -> bool {
        !matches!(self, Word::Waits | Word::HeldBack | Word::NotDone | Word::NotApplied | Word::Refused)
    }
}

/// The answer to one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub word: Word,
    /// Why, and what to do; empty when there is nothing to say.
    pub detail: String,
}

impl Answer {
    /// With a sentence.
    pub fn of(word: Word, detail: impl Into<String>) -> Answer {
        Answer { word, detail: detail.into() }
    }
}

/// Why somebody who is no leaver is not published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unpublished {
    /// The person's own wish.
    Listing,
    Filter,
}

impl Unpublished {
    /// Whether, and why, the scope publishes nobody like this.
    pub fn of(object: &Object, scope: &Scope) -> Option<Unpublished> {
        match () {
            () if is_not_published(object, scope) => Some(Unpublished::Listing),
            () if !object.matches(&scope.filter) => Some(Unpublished::Filter),
            () => None,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Unpublished::Listing => "the row's `listing` says that the person is not published",
            Unpublished::Filter => "the sync scope does not select the person: see its filter",
        }
    }
}

/// What a run has to say of single people.
#[derive(Debug, Default)]
pub struct Findings {
    actions: BTreeMap<Guid, Action>,
    held: BTreeSet<Guid>,
    held_hash: String,
    kept_back: BTreeMap<Guid, (bool, String)>,
    undone: BTreeMap<Guid, String>,
    /// Why steps may not have been done though nothing is known of the single one.
    stopped: Option<String>,
}

impl Findings {
    /// From a plan and what became of it. `held` are the steps that wait now.
    pub fn of(plan: &Plan, held: Option<&Plan>, quarantine: &[Quarantine], undone: &[Undone]) -> Findings {
        let mut findings = Findings::default();
        for step in &plan.steps {
            if let Some(anchor) = &step.anchor {
                // the telling one of several: creating and marking come before a rename
                let kept = findings.actions.entry(anchor.guid).or_insert(step.action);
                if matches!(kept, Action::Release | Action::Rename) {
                    *kept = step.action;
                }
            }
        }
        if let Some(held) = held {
            findings.held_hash.clone_from(&held.hash);
            let guids = held.steps.iter().filter_map(|step| step.anchor.as_ref());
            findings.held = guids.map(|anchor| anchor.guid).collect();
        }
        for one in quarantine {
            let text = match &one.attribute {
                Some(attribute) => format!("{attribute}: {} ({})", one.text, one.code),
                None => format!("{} ({})", one.text, one.code),
            };
            findings.kept_back.insert(one.guid, (one.attribute.is_none(), text));
        }
        for one in undone {
            if let Some(guid) = one.guid.as_deref().and_then(|guid| guid.parse().ok()) {
                findings.undone.insert(guid, one.text.clone());
            }
        }
        findings
    }

    /// The run ended before all steps were begun.
    pub fn stop(&mut self, why: impl Into<String>) {
        self.stopped = Some(why.into());
    }

    /// The answer to a person's row. `unpublished`: why the scope publishes nobody like this, when it does not.
    pub fn answer(&self, person: &Person, unpublished: Option<Unpublished>) -> Answer {
        let unpublished = unpublished.filter(|_| !person.is_leaver).map(Unpublished::as_str);
        let guid = &person.guid;
        if let Some(text) = self.undone.get(guid) {
            return Answer::of(Word::NotDone, text.clone());
        }
        if self.held.contains(guid) {
            let hash = &self.held_hash;
            return Answer::of(
                Word::Waits,
                format!("a guard stopped it: portcullis sync approve {hash}, then run this again"),
            );
        }
        if let Some((_, text)) = self.kept_back.get(guid) {
            return Answer::of(Word::HeldBack, text.clone());
        }
        let action = self.actions.get(guid);
        if let (Some(_), Some(why)) = (action, &self.stopped) {
            return Answer::of(Word::NotDone, why.clone());
        }
        match action {
            Some(Action::Create | Action::Prepare) => Answer::of(Word::Create, ""),
            Some(Action::Modify | Action::Rename | Action::Release) => Answer::of(Word::Change, ""),
            Some(Action::Join) => Answer::of(Word::Join, "an entry that was there before is this person's"),
            Some(Action::Claim) => {
                Answer::of(Word::Join, "the organisation before has released the entry of this person")
            }
            Some(Action::Mark) if person.is_leaver => Answer::of(Word::Leave, ""),
            Some(Action::Mark) => Answer::of(
                Word::NotPublished,
                unpublished.unwrap_or("the sync scope no longer selects the person"),
            ),
            Some(Action::Delete) => match unpublished {
                Some(why) => Answer::of(Word::NotPublished, format!("{why}; there is no entry any more")),
                None => Answer::of(Word::Delete, "the time to keep a leaver is over"),
            },
            None if unpublished.is_some() => Answer::of(Word::NotPublished, unpublished.unwrap_or_default()),
            None => Answer::of(Word::Nothing, ""),
        }
    }
}

/// Writes the table again, each row with its answer in two more columns.
pub fn write(checked: &Checked<'_>, answers: &[Option<Answer>], out: &mut dyn Write) -> io::Result<()> {
    let sheet = checked.sheet();
    let ours = sheet.passed_over();
    let kept_of = |record: &ByteRecord| {
        let cells = record.iter().enumerate().filter(|(number, _)| !ours.contains(number));
        let column = |number: usize| sheet.columns().get(number).copied().flatten().unwrap_or_default();
        cells.map(|(number, cell)| kept(cell, is_number(column(number)))).collect::<Vec<_>>()
    };
    let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(out);
    let mut heading = kept_of(&sheet.heading);
    let width = heading.len();
    heading.extend(COLUMNS.ours.iter().map(|name| name.as_bytes().to_vec()));
    writer.write_record(&heading)?;
    for (number, row) in sheet.rows().enumerate() {
        let mut cells = kept_of(&row.raw);
        let (word, detail) = answer(checked, answers, number);
        // the answer stands in its columns even where cells are missing; what is too much comes behind it
        let surplus = cells.split_off(width.min(cells.len()));
        cells.resize(width, Vec::new());
        cells.extend([word.as_str().as_bytes().to_vec(), harmless(&detail).into_bytes()]);
        cells.extend(surplus);
        writer.write_record(&cells)?;
    }
    writer.flush()
}

/// A cell as it was written; what a spreadsheet would take for a formula comes with an apostrophe, and is a fault with it, too.
fn kept(cell: &[u8], may_begin_with_a_sign: bool) -> Vec<u8> {
    let text = String::from_utf8_lossy(cell);
    match formula(text.trim_start()) {
        Some('+' | '-') if may_begin_with_a_sign => cell.to_vec(),
        Some(_) => [b"'", cell.trim_ascii_start()].concat(),
        None => cell.to_vec(),
    }
}

fn answer(checked: &Checked<'_>, answers: &[Option<Answer>], number: Number) -> (Word, String) {
    if let Some(faults) = checked.faults().get(&number) {
        let told: Vec<String> = faults
            .iter()
            .map(|fault| match &fault.column {
                Some(column) => format!("{column} {}", fault.text),
                None => fault.text.clone(),
            })
            .collect();
        return (Word::Refused, told.join("; "));
    }
    match answers.get(number).and_then(Option::as_ref) {
        Some(answer) => (answer.word, answer.detail.clone()),
        None => (Word::NotDone, "it was not come to: run this again".to_owned()),
    }
}

/// How many rows come to what.
pub fn count(checked: &Checked<'_>, answers: &[Option<Answer>]) -> BTreeMap<Word, u64> {
    let mut counts = BTreeMap::new();
    for number in 0..checked.len() {
        *counts.entry(answer_word(checked, answers, number)).or_insert(0) += 1;
    }
    counts
}

fn answer_word(checked: &Checked<'_>, answers: &[Option<Answer>], number: Number) -> Word {
    if checked.faults().contains_key(&number) {
        return Word::Refused;
    }
    answers.get(number).and_then(Option::as_ref).map_or(Word::NotDone, |answer| answer.word)
}
