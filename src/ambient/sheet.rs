//! Tables that people send as CSV (RFC 4180), read strictly: nothing is guessed, and every fault of every row is told with its
//! line and column, what is wrong and what to do.
//!
//! The whole file is in memory, of a size that the caller bounds; rows are read one at a time and can be read again by where they
//! begin. Cells are taken without the blanks around them; rows without any value are none.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;

use csv::{ByteRecord, Position, Reader, ReaderBuilder};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ambient::bounds::{Bounds, Checked};
use crate::ambient::text::steers;

/// The byte order mark of UTF-8, which spreadsheets write.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// Lines with a NUL byte that are told: a file in another encoding has one in each.
const NULS_TOLD: usize = 100;

/// Which columns a table has.
#[derive(Debug, Clone, Copy)]
pub struct Columns {
    /// Every name, lower case.
    pub known: &'static [&'static str],
    /// Those of them that must be there.
    pub required: &'static [&'static str],
    /// Columns that our own answers add: they are passed over.
    pub ours: &'static [&'static str],
}

/// How large a table may be; a larger one is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Rows beneath the heading.
    pub rows: u64,
    /// Bytes of the whole file. It is held in memory.
    pub bytes: u64,
    /// Characters of one cell.
    pub cell_chars: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { rows: 200_000, bytes: 64 << 20, cell_chars: 256 }
    }
}

impl Checked for Settings {
    fn bounds(&self) -> Bounds {
        Bounds::default()
            .within("rows", self.rows, 1..=5_000_000)
            .within("bytes", self.bytes, 1 << 10..=1 << 31)
            .within("cell_chars", self.cell_chars, 64..=4_096)
    }
}

/// Something wrong, for the person who sent the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// From 1, as an editor counts.
    pub line: u64,
    /// The column, when it is about one.
    pub column: Option<String>,
    /// What is wrong, and what to do.
    pub text: String,
}

impl Fault {
    /// About the whole row.
    pub fn row(line: u64, text: impl Into<String>) -> Fault {
        Fault { line, column: None, text: text.into() }
    }

    /// About one cell of it.
    pub fn cell(line: u64, column: &str, text: impl Into<String>) -> Fault {
        Fault { line, column: Some(column.to_owned()), text: text.into() }
    }
}

/// One row.
#[derive(Debug, Clone)]
pub struct Row {
    /// Where it begins, to read it again.
    pub at: Position,
    /// From 1.
    pub line: u64,
    /// As it was written.
    pub raw: ByteRecord,
    /// Column to value for the columns that the table has; empty where the cell is.
    pub cells: BTreeMap<&'static str, String>,
    pub faults: Vec<Fault>,
}

impl Row {
    /// The value of a column; none when it is empty or not there.
    pub fn value(&self, column: &str) -> Option<&str> {
        self.cells.get(column).map(String::as_str).filter(|value| !value.is_empty())
    }
}

/// A table whose heading is right.
#[derive(Debug)]
pub struct Sheet<'a> {
    bytes: &'a [u8],
    /// As written.
    pub heading: ByteRecord,
    /// What each column is; none for those that are passed over.
    columns: Vec<Option<&'static str>>,
    first: Position,
    limits: Settings,
}

fn reader(bytes: &[u8]) -> Reader<Cursor<&[u8]>> {
    // a row that is too long or too short is told, not refused by the reader
    ReaderBuilder::new().has_headers(false).flexible(true).from_reader(Cursor::new(bytes))
}

impl<'a> Sheet<'a> {
    /// Reads the heading.
    ///
    /// # Errors
    /// Everything that is wrong with it: the rows cannot be told without.
    pub fn open(bytes: &'a [u8], columns: Columns, limits: &Settings) -> Result<Sheet<'a>, Vec<Fault>> {
        let bytes = bytes.strip_prefix(MARK).unwrap_or(bytes);
        if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
            return Err(vec![Fault::row(1, "the file is not UTF-8: save it as `CSV UTF-8`")]);
        }
        let nul = nul(bytes);
        if !nul.is_empty() {
            return Err(nul);
        }
        if bytes.contains(&b'\r') && !bytes.contains(&b'\n') {
            return Err(vec![Fault::row(1, "the line ends are of another time: save it as `CSV UTF-8`")]);
        }
        let mut reader = reader(bytes);
        let mut heading = ByteRecord::new();
        match reader.read_byte_record(&mut heading) {
            Ok(true) => {}
            _ => return Err(vec![Fault::row(1, "the file is empty: `--template` prints a heading")]),
        }
        let first = reader.position().clone();
        let columns = name(&heading, columns)?;
        Ok(Sheet { bytes, heading, columns, first, limits: limits.clone() })
    }

    /// Which columns of the heading are ours, by number.
    pub fn passed_over(&self) -> BTreeSet<usize> {
        let columns = self.columns.iter().enumerate();
        columns.filter(|(_, column)| column.is_none()).map(|(number, _)| number).collect()
    }

    /// What each column of the heading is; none for those that are passed over.
    pub fn columns(&self) -> &[Option<&'static str>] {
        &self.columns
    }

    /// Every row, in order. The last fault is that there are too many, when there are.
    pub fn rows(&self) -> Rows<'_, 'a> {
        let mut reader = reader(self.bytes);
        let lost = reader.seek(self.first.clone()).is_err();
        Rows { sheet: self, reader, seen: 0, ended: lost }
    }

    /// Rows that are read again, each from where it begins.
    pub fn again(&self) -> Again<'_, 'a> {
        Again(Rows { sheet: self, reader: reader(self.bytes), seen: 0, ended: false })
    }

    /// Where the row's first byte is: the reader counts the line ends before it as part of it.
    fn begin(&self, at: &Position) -> Position {
        let mut begin = at.clone();
        let rest =
            usize::try_from(at.byte()).ok().and_then(|from| self.bytes.get(from..)).unwrap_or_default();
        for byte in rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')) {
            let line = begin.line() + u64::from(*byte == b'\n');
            let next = begin.byte() + 1;
            begin.set_line(line).set_byte(next);
        }
        begin
    }

    fn check(&self, at: Position, end: u64, raw: ByteRecord) -> Row {
        let line = at.line();
        let mut row = Row { line, raw, cells: BTreeMap::new(), faults: Vec::new(), at };
        let written = usize::try_from(row.at.byte()).ok().zip(usize::try_from(end).ok());
        let written = written.and_then(|(from, to)| self.bytes.get(from..to)).unwrap_or_default();
        if !written.iter().filter(|byte| **byte == b'"').count().is_multiple_of(2) {
            row.faults.push(Fault::row(line, "a quotation mark is not closed: close it, or write it twice"));
            return row;
        }
        let (found, wanted) = (row.raw.len(), self.columns.len());
        if found != wanted {
            let text = format!(
                "has {found} cells where the heading has {wanted}: put quotation marks around a value with a comma"
            );
            row.faults.push(Fault::row(line, text));
            return row;
        }
        for (column, cell) in self.columns.iter().zip(&row.raw) {
            let Some(column) = column else { continue };
            match self.cell(cell) {
                Ok(value) => _ = row.cells.insert(column, value),
                Err(text) => row.faults.push(Fault::cell(line, column, text)),
            }
        }
        row
    }

    fn cell(&self, cell: &[u8]) -> Result<String, String> {
        let text = std::str::from_utf8(cell)
            .map_err(|_| "is not UTF-8: save the file as `CSV UTF-8`".to_owned())?
            .trim();
        if text.chars().count() > usize::try_from(self.limits.cell_chars).unwrap_or(usize::MAX) {
            return Err(format!("has more than {} characters: shorten it", self.limits.cell_chars));
        }
        if text.chars().any(steers) {
            return Err("has a line break, a tab or an invisible character: type it again".to_owned());
        }
        Ok(text.to_owned())
    }
}

/// The rows of a table, one at a time.
#[derive(Debug)]
pub struct Rows<'s, 'a> {
    sheet: &'s Sheet<'a>,
    reader: Reader<Cursor<&'a [u8]>>,
    seen: u64,
    ended: bool,
}

impl Iterator for Rows<'_, '_> {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        while !self.ended {
            let mut raw = ByteRecord::new();
            // in memory nothing can fail but the end
            if !matches!(self.reader.read_byte_record(&mut raw), Ok(true)) {
                break;
            }
            let at = self.sheet.begin(raw.position()?);
            if raw.iter().all(|cell| cell.iter().all(u8::is_ascii_whitespace)) {
                continue;
            }
            self.seen += 1;
            let end = self.reader.position().byte();
            let mut row = self.sheet.check(at, end, raw);
            if self.seen > self.sheet.limits.rows {
                self.ended = true;
                let text = format!(
                    "the file has more than {} rows, and nothing from here on was read: split it",
                    self.sheet.limits.rows
                );
                (row.faults, row.cells) = (vec![Fault::row(row.line, text)], BTreeMap::new());
            }
            return Some(row);
        }
        self.ended = true;
        None
    }
}

/// Reads rows again. One reader for all of them: making one costs more than reading a row.
#[derive(Debug)]
pub struct Again<'s, 'a>(Rows<'s, 'a>);

impl Again<'_, '_> {
    /// The row that begins at `at`.
    pub fn row(&mut self, at: &Position) -> Option<Row> {
        self.0.reader.seek(at.clone()).ok()?;
        (self.0.seen, self.0.ended) = (0, false);
        self.0.next()
    }
}

/// The lines with a NUL byte, which no cell can hold.
fn nul(bytes: &[u8]) -> Vec<Fault> {
    let text = "has a NUL byte, a byte of value 0: take it out; where a whole file is full of them, save it as `CSV UTF-8`";
    let lines = bytes.split(|byte| *byte == b'\n').zip(1..).filter(|(line, _)| line.contains(&0));
    lines.take(NULS_TOLD).map(|(_, number)| Fault::row(number, text)).collect()
}

fn name(heading: &ByteRecord, columns: Columns) -> Result<Vec<Option<&'static str>>, Vec<Fault>> {
    let (mut names, mut faults) = (Vec::new(), Vec::new());
    for cell in heading {
        let text = String::from_utf8_lossy(cell).trim().to_ascii_lowercase();
        match columns.known.iter().find(|known| **known == text) {
            Some(known) if names.contains(&Some(*known)) => {
                faults.push(Fault::cell(1, known, "is there twice: leave one"));
            }
            Some(known) => names.push(Some(*known)),
            None if columns.ours.contains(&text.as_str()) => names.push(None),
            None if text.is_empty() => {
                faults.push(Fault::row(1, "a column has no name: name it or take it out"));
            }
            None => {
                let known = columns.known.join(", ");
                let shown: String = text.chars().take(64).collect();
                faults.push(Fault::cell(1, &shown, format!("is no column of this table: it has {known}")));
            }
        }
    }
    let separated = heading.len() == 1
        && heading.get(0).is_some_and(|cell| cell.contains(&b';') || cell.contains(&b'\t'));
    if separated {
        return Err(vec![Fault::row(
            1,
            "the columns are not separated by commas: save the file with commas",
        )]);
    }
    for required in columns.required {
        if !names.contains(&Some(*required)) {
            faults.push(Fault::cell(1, required, "is missing: add the column"));
        }
    }
    if faults.is_empty() { Ok(names) } else { Err(faults) }
}

/// What a spreadsheet takes a value for that begins so: a formula. The wide forms count in some languages.
const FORMULA: [char; 8] = ['=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'];

/// The sign by which a spreadsheet takes a value for a formula.
pub fn formula(value: &str) -> Option<char> {
    // a sign alone stands for nothing
    value.chars().next().filter(|first| FORMULA.contains(first) && value.chars().nth(1).is_some())
}

/// A value that no spreadsheet takes for a formula or for a line of its own.
pub fn harmless(value: &str) -> String {
    let text: String = value.chars().map(|c| if steers(c) { ' ' } else { c }).collect();
    if formula(&text).is_some() { format!("'{text}") } else { text }
}

#[cfg(test)]
mod tests;
