//! Entries on their way out: one mapping seen through one view, compiled once and kept.

use std::ops::Range;

use crate::ldap::attribute;
use crate::ldap::ber;
use crate::ldap::entry::{AttributeView, EntryReader, SEARCH_ENTRY};
use crate::ldap::matching::Key;
use crate::ldap::schema::Syntax;
use crate::namespace::error::EntryError;
use crate::namespace::mapping::{Mapping, Pair};
use crate::namespace::names;
use crate::namespace::values::{self, Translation};

/// Chain end in the name index.
const NONE: u16 = u16::MAX;

/// A [`Mapping`] restricted to what exists for one view. Build one per mount and view, and keep it.
#[derive(Debug, Clone)]
pub struct Projection {
    mapping: Mapping,
    reserve: Option<Reserve>,
    rows: Vec<Row>,
    /// By a small hash of the local name: the first row, then along `Row::next`.
    index: Box<[u16; 256]>,
}

#[derive(Debug, Clone)]
struct Row {
    pair: Pair,
    /// Entries that are reserved do not have it.
    contact: bool,
    next: u16,
}

/// Entries that do not have some of the attributes: those with one of these values in a local attribute.
#[derive(Debug, Clone)]
struct Reserve {
    local: String,
    values: Vec<String>,
}

impl Reserve {
    fn holds(&self, entry: &EntryReader<'_>) -> bool {
        let mut attributes = entry.attributes().filter_map(Result::ok);
        attributes.any(|found| self.is_it(found.name) && found.values().any(|value| self.means(value)))
    }

    /// A directory answers with the name that it was asked for, or with a number.
    fn is_it(&self, description: &str) -> bool {
        let name = description.split(';').next().unwrap_or_default();
        name.eq_ignore_ascii_case(&self.local)
            || (name.contains('.')
                && attribute::canonical_name(name) == attribute::canonical_name(&self.local))
    }

    fn means(&self, value: &[u8]) -> bool {
        let plain = |text: &[u8]| text.iter().all(u8::is_ascii_graphic);
        let key = |text: &[u8]| Key::of(Syntax::CaseIgnore, text);
        self.values.iter().map(String::as_bytes).any(|one| match plain(one) && plain(value) {
            true => one.eq_ignore_ascii_case(value),
            false => key(one) == key(value),
        })
    }
}

/// Which attributes of a projection a search gets back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// `None`: all.
    rows: Option<Vec<bool>>,
    types_only: bool,
}

/// Reusable memory of [`Projection::entry_to_federated`]; one per shard.
#[derive(Debug, Default)]
pub struct Scratch {
    pieces: Vec<Piece>,
    built: Vec<u8>,
}

#[derive(Debug)]
enum Piece {
    /// Bytes of the local attribute list that go out as they are.
    Raw(Range<usize>),
    /// Bytes of `Scratch::built`.
    Built(Range<usize>),
}

/// What came of one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Attributes that the directory sent and the requester does not get.
    pub withheld: u32,
    /// The directory cut an attribute into ranges (MS-ADTS 3.1.1.3.1.3.3): it was left out as a whole, and the answer
    /// is not complete. The result of the search must not be success.
    pub ranged: bool,
    /// The entry is the mount point itself, which `routes` answers for: nothing was written.
    pub mount_point: bool,
}

impl Projection {
    /// `visible`: the federated names of everything that exists (`View::names`).
    pub fn new<'a>(mapping: &Mapping, visible: impl IntoIterator<Item = &'a str>) -> Projection {
        let mut projection = Projection {
            mapping: mapping.clone(),
            reserve: None,
            rows: Vec::new(),
            index: Box::new([NONE; 256]),
        };
        for name in visible {
            let pair = mapping.pair(name).into_owned();
            let Ok(at) = u16::try_from(projection.rows.len()) else { break };
            if projection.find(&pair.local).is_some() {
                continue;
            }
            let mut next = NONE;
            if let Some(slot) = projection.index.get_mut(hash(pair.local.as_bytes())) {
                next = std::mem::replace(slot, at);
            }
            projection.rows.push(Row { pair, contact: false, next });
        }
        projection
    }

    /// The same, with entries that do not have the attributes `contact`: those with one of `values` (case does not count) in
    /// `attribute`. Federated names; the attribute itself need not be visible.
    #[must_use]
    pub fn reserving(mut self, attribute: &str, values: &[String], contact: &[String]) -> Projection {
        for row in &mut self.rows {
            row.contact = contact.iter().any(|name| name.eq_ignore_ascii_case(&row.pair.federated));
        }
        let local = self.mapping.pair(attribute).local.clone();
        self.reserve = Some(Reserve { local, values: values.to_vec() });
        self
    }

    /// The mapping that is seen through.
    pub fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    #[inline]
    fn find(&self, local: &str) -> Option<(usize, &Row)> {
        let mut at = *self.index.get(hash(local.as_bytes()))?;
        while at != NONE {
            let row = self.rows.get(usize::from(at))?;
            // directories mostly send the name as it was asked for
            if row.pair.local == local || row.pair.local.eq_ignore_ascii_case(local) {
                return Some((usize::from(at), row));
            }
            at = row.next;
        }
        None
    }

    /// Everything that exists.
    pub fn all(&self, types_only: bool) -> Selection {
        Selection { rows: None, types_only }
    }

    /// These federated names (`View::wanted`) only. `types_only` is done here: the directory is always asked for values,
    /// because an attribute whose every value is withheld must not be there.
    pub fn only<'a>(&self, names: impl IntoIterator<Item = &'a str>, types_only: bool) -> Selection {
        let mut rows = vec![false; self.rows.len()];
        for name in names {
            let at = self.rows.iter().position(|r| r.pair.federated.eq_ignore_ascii_case(name));
            if let Some(row) = at.and_then(|at| rows.get_mut(at)) {
                *row = true;
            }
        }
        Selection { rows: Some(rows), types_only }
    }

    /// The attribute list for the directory: local names of what is selected, and of `also` (federated names that the
    /// re-check needs); `1.1` when that is nothing. Never `*`: hidden attributes are not even asked for.
    pub fn attributes_to_local<'p, 'a>(
        &'p self,
        selection: &Selection,
        also: impl IntoIterator<Item = &'a str>,
    ) -> Vec<&'p str> {
        let mut list: Vec<&str> = Vec::with_capacity(self.rows.len() + 1);
        for (at, row) in self.rows.iter().enumerate() {
            if selection.has(at) {
                list.push(&row.pair.local);
            }
        }
        for name in also {
            if let Some(row) = self.rows.iter().find(|r| r.pair.federated.eq_ignore_ascii_case(name))
                && !list.contains(&row.pair.local.as_str())
            {
                list.push(&row.pair.local);
            }
        }
        if let Some(reserve) = &self.reserve
            && !list.iter().any(|name| name.eq_ignore_ascii_case(&reserve.local))
        {
            list.push(&reserve.local);
        }
        if list.is_empty() {
            list.push("1.1");
        }
        list
    }

    /// Writes a directory's entry as the requester may see it: a whole SearchResultEntry message with the id `id`,
    /// appended to `out`. Every byte is checked; attributes that do not exist for the requester are left out; names and
    /// values are translated; lengths are the shortest. Controls of the message are not passed on.
    ///
    /// Two passes and no allocation once `scratch` has grown: the first checks everything and notes what goes out
    /// (neighbours that go out as they are, joined), the second writes lengths and copies.
    ///
    /// # Errors
    ///
    /// The entry does not check. It is refused as a whole: nothing was written.
    pub fn entry_to_federated(
        &self,
        entry: &EntryReader<'_>,
        id: i32,
        selection: &Selection,
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) -> Result<Written, EntryError> {
        let (local, federated) = (&self.mapping.local, &self.mapping.federated);
        let carried = names::carry(entry.dn, local, federated).map_err(|_| EntryError::Name)?;
        let (prefix, suffix) = carried.ok_or(EntryError::Outside)?;
        scratch.pieces.clear();
        scratch.built.clear();
        let mut written = Written { withheld: 0, ranged: false, mount_point: prefix.is_empty() };
        let reserved = self.reserve.as_ref().is_some_and(|reserve| reserve.holds(entry));
        let mut run = 0..0;
        for attribute in entry.attributes() {
            let attribute = attribute?;
            let Some((at, row)) = self.passing(&attribute, &mut written) else { continue };
            if !selection.has(at) || (reserved && row.contact) {
                continue;
            }
            if row.goes_as_it_is(&attribute, selection) {
                if run.end != attribute.range.start || run.start == run.end {
                    scratch.flush(&mut run);
                    run.start = attribute.range.start;
                }
                run.end = attribute.range.end;
                continue;
            }
            scratch.flush(&mut run);
            if !self.build(row, &attribute, selection, &mut scratch.built, &mut scratch.pieces)? {
                written.withheld += 1;
            }
        }
        scratch.flush(&mut run);
        if written.mount_point {
            return Ok(written);
        }
        scratch.write(id, (&prefix, suffix), entry.list(), out)?;
        Ok(written)
    }

    /// The row of an attribute that exists for the requester.
    #[inline]
    fn passing(&self, attribute: &AttributeView<'_>, written: &mut Written) -> Option<(usize, &Row)> {
        let (name, options) = match attribute.name.bytes().position(|byte| byte == b';') {
            Some(at) => attribute.name.split_at_checked(at).unwrap_or((attribute.name, "")),
            None => (attribute.name, ""),
        };
        let found = self.find(name);
        if found.is_none() {
            written.withheld += 1;
            return None;
        }
        let is_range = |o: &str| o.get(..6).is_some_and(|o| o.eq_ignore_ascii_case("range="));
        if !options.is_empty() && options.split(';').any(is_range) {
            written.ranged = true;
            return None;
        }
        // a directory that was asked for values and sends none has none to show (AD does so beside a range)
        if attribute.count == 0 { None } else { found }
    }

    /// Builds one attribute that cannot go out as it is; false when no value is left.
    fn build(
        &self,
        row: &Row,
        attribute: &AttributeView<'_>,
        selection: &Selection,
        built: &mut Vec<u8>,
        pieces: &mut Vec<Piece>,
    ) -> Result<bool, EntryError> {
        let start = built.len();
        let sequence = ber::open(built, ber::SEQUENCE);
        let options = attribute.name.find(';').and_then(|at| attribute.name.get(at..)).unwrap_or_default();
        ber::put_header(built, ber::OCTET_STRING, row.pair.federated.len() + options.len());
        built.extend_from_slice(row.pair.federated.as_bytes());
        built.extend_from_slice(options.as_bytes());
        let set = ber::open(built, ber::SET);
        let first = built.len();
        let (from, to) = (&self.mapping.local, &self.mapping.federated);
        let count = values::translate(row.pair.translation, attribute.values(), from, to, built)?;
        if count == 0 {
            built.truncate(start);
            return Ok(false);
        }
        if selection.types_only {
            built.truncate(first);
        }
        ber::close(built, set);
        ber::close(built, sequence);
        pieces.push(Piece::Built(start..built.len()));
        Ok(true)
    }
}

impl Row {
    #[inline]
    fn goes_as_it_is(&self, attribute: &AttributeView<'_>, selection: &Selection) -> bool {
        self.pair.translation == Translation::Copy
            && attribute.canonical
            && !selection.types_only
            && self.pair.federated == attribute.name
    }
}

impl Selection {
    #[inline]
    fn has(&self, row: usize) -> bool {
        match &self.rows {
            None => true,
            Some(rows) => rows.get(row).copied().unwrap_or(false),
        }
    }
}

impl Scratch {
    #[inline]
    fn flush(&mut self, run: &mut Range<usize>) {
        if run.start < run.end {
            self.pieces.push(Piece::Raw(run.clone()));
        }
        *run = 0..0;
    }

    /// The second pass.
    fn write(&self, id: i32, name: (&str, &str), raw: &[u8], out: &mut Vec<u8>) -> Result<(), EntryError> {
        let list: usize = self.pieces.iter().map(|p| p.range().len()).sum();
        let dn = name.0.len() + name.1.len();
        let body = ber::tlv_size(dn) + ber::tlv_size(list);
        let message = ber::int_size(id) + ber::tlv_size(body);
        if u32::try_from(message).is_err() {
            return Err(EntryError::TooLarge);
        }
        out.reserve(ber::tlv_size(message));
        ber::put_header(out, ber::SEQUENCE, message);
        ber::put_int(out, ber::INTEGER, id);
        ber::put_header(out, SEARCH_ENTRY, body);
        ber::put_header(out, ber::OCTET_STRING, dn);
        out.extend_from_slice(name.0.as_bytes());
        out.extend_from_slice(name.1.as_bytes());
        ber::put_header(out, ber::SEQUENCE, list);
        for piece in &self.pieces {
            let bytes = match piece {
                Piece::Raw(range) => raw.get(range.clone()),
                Piece::Built(range) => self.built.get(range.clone()),
            };
            out.extend_from_slice(bytes.unwrap_or_default());
        }
        Ok(())
    }
}

impl Piece {
    fn range(&self) -> &Range<usize> {
        match self {
            Piece::Raw(range) | Piece::Built(range) => range,
        }
    }
}

#[inline]
fn hash(name: &[u8]) -> usize {
    let (first, last) = (name.first().copied().unwrap_or(0), name.last().copied().unwrap_or(0));
    (name.len().wrapping_mul(31) ^ usize::from(first | 0x20) ^ (usize::from(last | 0x20) << 3)) & 255
}

#[cfg(test)]
mod tests;
