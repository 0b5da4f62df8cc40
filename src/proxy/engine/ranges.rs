//! Entries whose directory cut an attribute into ranges (MS-ADTS section 3.1.1.3.1.3.3), while they wait for the rest.

use std::collections::{HashSet, VecDeque};

use crate::ldap::attribute::Description;
use crate::ldap::entry::{Attribute, AttributeView, Entry, EntryReader};
use crate::ldap::error::DecodeError;
use crate::ldap::message::{ResultCode, Scope};
use crate::proxy::engine::scope::lies_in;
use crate::proxy::settings::Settings;

/// How often an attribute that changes while it is read is read from its beginning again.
const TRIES: u32 = 3;

/// What the directory's answer came to; it is acted upon when every entry is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Then {
    pub code: ResultCode,
    /// There is a next page.
    pub cookie: Option<Vec<u8>>,
}

/// The entries of one question that are not whole.
#[derive(Debug, Default)]
pub struct Ranges(Option<Box<Pending>>);

#[derive(Debug, Default)]
struct Pending {
    entries: VecDeque<Cut>,
    /// Set while the rest is read: the directory's answer itself has ended.
    then: Option<Then>,
}

/// One entry that is not whole.
#[derive(Debug)]
struct Cut {
    /// With the values that came, under names without the option.
    entry: Entry,
    gaps: Vec<Gap>,
    /// Of the values that it holds.
    bytes: usize,
    tries: u32,
    /// The last question for more brought something.
    moved: bool,
    /// It holds more than an entry may: what is cut is left out.
    too_large: bool,
}

/// An attribute that is not whole.
#[derive(Debug)]
struct Gap {
    description: String,
    /// How many values came, so the index of the next one.
    next: u32,
    whole: bool,
}

/// What is to be done about the entries.
#[derive(Debug)]
pub enum Step {
    /// More is to be asked for: of the entry with this name these attributes.
    Ask(String, Vec<String>),
    /// An entry is whole, or, when the flag is not set, as whole as it may become.
    Show(Entry, bool),
    /// None is left.
    Over(Then),
}

impl Ranges {
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Whether the question that is on its way asks for the rest of an entry.
    pub fn are_read(&self) -> bool {
        self.0.as_ref().is_some_and(|pending| pending.then.is_some())
    }

    /// Whether one more entry may wait.
    pub fn has_room(&self, settings: &Settings) -> bool {
        match &self.0 {
            None => settings.ranged_entries > 0,
            Some(pending) => {
                pending.entries.len() < settings.ranged_entries && pending.bytes() < settings.ranged_bytes
            }
        }
    }

    /// Keeps an entry that has to wait.
    ///
    /// # Errors
    ///
    /// It does not decode.
    pub fn keep(&mut self, entry: &EntryReader<'_>) -> Result<(), DecodeError> {
        let mut cut = Cut {
            entry: Entry { dn: entry.dn.to_owned(), attributes: Vec::new() },
            gaps: Vec::new(),
            bytes: 0,
            tries: 0,
            moved: true,
            too_large: false,
        };
        for attribute in entry.attributes() {
            cut.begin(&attribute?);
        }
        self.0.get_or_insert_default().entries.push_back(cut);
        Ok(())
    }

    /// The directory's answer has ended: now the rest is read.
    pub fn begin(&mut self, then: Then) {
        if let Some(pending) = &mut self.0 {
            pending.then = Some(then);
        }
    }

    /// Takes what the directory sends of the rest.
    ///
    /// # Errors
    ///
    /// It does not decode.
    pub fn take(&mut self, entry: &EntryReader<'_>, most: usize) -> Result<(), DecodeError> {
        let Some(pending) = &mut self.0 else { return Ok(()) };
        let Some(cut) = pending.entries.front_mut() else { return Ok(()) };
        if !lies_in(entry.dn, &cut.entry.dn, Scope::Base) {
            return Ok(());
        }
        for attribute in entry.attributes() {
            cut.append(&attribute?);
        }
        if pending.bytes() > most
            && let Some(cut) = pending.entries.front_mut()
        {
            cut.too_large = true;
        }
        Ok(())
    }

    /// The question for the rest of the first entry has ended. False when the directory cannot tell the rest.
    pub fn ended(&mut self, code: ResultCode) -> bool {
        let Some(pending) = &mut self.0 else { return true };
        let Some(cut) = pending.entries.front_mut() else { return true };
        if code == ResultCode::NO_SUCH_OBJECT {
            // It was deleted meanwhile.
            pending.entries.pop_front();
            return true;
        }
        if code != ResultCode::SUCCESS || !std::mem::take(&mut cut.moved) {
            cut.tries += 1;
            cut.restart();
        }
        cut.tries <= TRIES
    }

    /// What is to be done next.
    pub fn step(&mut self) -> Step {
        let nothing = Then { code: ResultCode::UNAVAILABLE, cookie: None };
        let Some(pending) = &mut self.0 else { return Step::Over(nothing) };
        match pending.entries.front() {
            Some(cut) if !cut.too_large && cut.gaps.iter().any(|gap| !gap.whole) => {
                let open = cut.gaps.iter().filter(|gap| !gap.whole);
                let asked = open.map(|gap| format!("{};range={}-*", gap.description, gap.next)).collect();
                Step::Ask(cut.entry.dn.clone(), asked)
            }
            Some(_) => {
                let whole = pending.entries.pop_front().map(Cut::into_entry);
                whole.map_or(Step::Over(nothing), |(entry, whole)| Step::Show(entry, whole))
            }
            None => {
                let then = pending.then.take().unwrap_or(nothing);
                self.0 = None;
                Step::Over(then)
            }
        }
    }

    /// Gives up: the directory does not tell the rest.
    pub fn give_up(&mut self) {
        self.0 = None;
    }
}

impl Pending {
    fn bytes(&self) -> usize {
        self.entries.iter().map(|cut| cut.bytes).sum()
    }
}

impl Cut {
    /// Takes over one attribute of the entry as it came first.
    fn begin(&mut self, attribute: &AttributeView<'_>) {
        let range = Description::parse(attribute.name).ok().and_then(|description| description.range());
        let (description, values) = (without_range(attribute.name), attribute.values().map(<[u8]>::to_vec));
        let mut taken = Attribute { description, values: values.collect() };
        if range.is_none() && taken.values.is_empty() {
            // Beside a range, Active Directory sends the attribute without the option and without values.
            return;
        }
        if let Some((first, last)) = range {
            let next = u32::try_from(taken.values.len()).unwrap_or(u32::MAX);
            let mut gap = Gap { description: taken.description.clone(), next, whole: last.is_none() };
            if first != 0 || last.is_some_and(|last| last.wrapping_add(1) != next) {
                taken.values.clear();
                (gap.next, gap.whole) = (0, false);
            }
            self.gaps.push(gap);
        }
        self.bytes += taken.values.iter().map(Vec::len).sum::<usize>();
        self.entry.attributes.push(taken);
    }

    /// Takes over more values, if they are the next ones.
    fn append(&mut self, attribute: &AttributeView<'_>) {
        let bare = without_range(attribute.name);
        let Some(gap) = self.gaps.iter_mut().find(|gap| !gap.whole && gap.is(&bare)) else { return };
        let held = self.entry.attributes.iter_mut().find(|a| gap.is(&a.description));
        let Some(held) = held.filter(|_| attribute.count > 0) else { return };
        let count = u32::try_from(attribute.count).unwrap_or(u32::MAX);
        let range = Description::parse(attribute.name).ok().and_then(|description| description.range());
        match range {
            Some((first, last)) if first == gap.next => {
                let next = first.saturating_add(count);
                if last.is_some_and(|last| last.wrapping_add(1) != next) {
                    return;
                }
                (gap.next, gap.whole) = (next, last.is_none());
            }
            // It has become short enough to come in one piece.
            None => {
                held.values.clear();
                (gap.next, gap.whole) = (count, true);
            }
            Some(_) => return,
        }
        held.values.extend(attribute.values().map(<[u8]>::to_vec));
        self.bytes += attribute.values_size;
        self.moved = true;
    }

    /// What was read does not fit together: from the beginning again.
    fn restart(&mut self) {
        for gap in self.gaps.iter_mut().filter(|gap| !gap.whole) {
            gap.next = 0;
            let held = self.entry.attributes.iter_mut().find(|a| gap.is(&a.description));
            held.into_iter().for_each(|held| held.values.clear());
        }
        let attributes = self.entry.attributes.iter();
        self.bytes = attributes.flat_map(|a| &a.values).map(Vec::len).sum();
    }

    /// The entry, and whether it is whole. A value that moved while it was read came twice; a set holds it once.
    fn into_entry(mut self) -> (Entry, bool) {
        for gap in &self.gaps {
            if !gap.whole {
                self.entry.attributes.retain(|a| !gap.is(&a.description));
                continue;
            }
            for held in self.entry.attributes.iter_mut().filter(|a| gap.is(&a.description)) {
                let mut known = HashSet::with_capacity(held.values.len());
                held.values.retain(|value| known.insert(value.clone()));
            }
        }
        let whole = self.gaps.iter().all(|gap| gap.whole);
        (self.entry, whole)
    }
}

impl Gap {
    fn is(&self, description: &str) -> bool {
        self.description.eq_ignore_ascii_case(description)
    }
}

/// The description without its `range` option, otherwise as written.
fn without_range(description: &str) -> String {
    let is_range = |option: &str| option.get(..6).is_some_and(|o| o.eq_ignore_ascii_case("range="));
    description.split(';').filter(|option| !is_range(option)).collect::<Vec<_>>().join(";")
}
