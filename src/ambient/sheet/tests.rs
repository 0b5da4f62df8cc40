use proptest::prelude::*;

use super::*;

const COLUMNS: Columns = Columns { known: &["id", "name", "note"], required: &["id"], ours: &["result"] };
const LIMITS: Settings = Settings { rows: 3, bytes: 1 << 20, cell_chars: 8 };

/// A table, and lines with parts of what is told of them.
type Case = (&'static [u8], &'static [(u64, &'static str)]);

fn told(text: &[u8]) -> Vec<(u64, String)> {
    match Sheet::open(text, COLUMNS, &LIMITS) {
        Err(faults) => faults.into_iter().map(|fault| (fault.line, fault.text)).collect(),
        Ok(sheet) => sheet.rows().flat_map(|row| row.faults).map(|fault| (fault.line, fault.text)).collect(),
    }
}

#[test]
fn a_spreadsheet_s_file_is_read() {
    let text = b"\xef\xbb\xbfID, Name ,result\r\n 1 ,\"a, \"\"b\"\"\",old\r\n,,\r\n2,\xc3\xa9,\r\n";
    let sheet = Sheet::open(text, COLUMNS, &LIMITS).unwrap();
    let rows: Vec<Row> = sheet.rows().collect();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0].cells, BTreeMap::from([("id", "1".to_owned()), ("name", "a, \"b\"".to_owned())]));
    assert_eq!((rows[1].line, rows[1].value("name"), rows[1].value("note")), (4, Some("é"), None));
    assert!(rows.iter().all(|row| row.faults.is_empty()));
    assert_eq!(sheet.again().row(&rows[1].at).unwrap().cells, rows[1].cells);
    assert_eq!(sheet.passed_over(), BTreeSet::from([2]));
}

#[test]
fn every_fault_has_its_line() {
    let cases: &[Case] = &[
        (b"", &[(1, "is empty")]),
        (b"\xff\xfei\0d\0", &[(1, "not UTF-8")]),
        (b"i\0d\0,\0n\0", &[(1, "NUL byte")]),
        (b"id,name\n1,a\n2,\0b\n3,c\0\n", &[(3, "NUL byte"), (4, "NUL byte")]),
        (b"id,name\r1,a\r", &[(1, "line ends")]),
        (b"id;name\n1;a\n", &[(1, "not separated by commas")]),
        (b"name,colour,name\n", &[(1, "is no column"), (1, "there twice"), (1, "is missing")]),
        (b"id,name\n1\n2,a,b\n", &[(2, "has 1 cells"), (3, "has 3 cells")]),
        (b"id,name\n1,\"a\n2,b\n", &[(2, "not closed")]),
        (
            b"id,name\n1,\xe9\n2,123456789\n3,\"a\nb\"\n",
            &[(2, "is not UTF-8"), (3, "more than 8"), (4, "line break")],
        ),
        (b"id\n1\n2\n3\n4\n5\n", &[(5, "more than 3 rows")]),
    ];
    for (text, wanted) in cases {
        let told = told(text);
        assert_eq!(told.len(), wanted.len(), "{told:?}");
        for (line, part) in *wanted {
            assert!(
                told.iter().any(|(at, text)| at == line && text.contains(part)),
                "{line} {part}: {told:?}"
            );
        }
    }
}

#[test]
fn what_goes_to_a_spreadsheet_is_harmless() {
    assert_eq!(harmless("=cmd()"), "'=cmd()");
    assert_eq!(harmless("a\nb"), "a b");
}

proptest! {
    /// Whatever comes: no panic, lines that rise, and a row read again is the same row.
    #[test]
    fn anything_is_read(body in prop::collection::vec(prop_oneof![
        Just(b','), Just(b'"'), Just(b'\n'), Just(b'\r'), Just(b'a'), any::<u8>()
    ], 0..200)) {
        let text = [b"id,name\n".as_slice(), &body].concat();
        if let Ok(sheet) = Sheet::open(&text, COLUMNS, &LIMITS) {
            let rows: Vec<Row> = sheet.rows().collect();
            prop_assert!(rows.len() <= 4);
            prop_assert!(rows.is_sorted_by(|a, b| a.line <= b.line));
            for row in rows {
                let again = sheet.again().row(&row.at).unwrap();
                prop_assert_eq!(&again.raw, &row.raw);
                prop_assert!(row.faults.is_empty() || row.faults.iter().all(|fault| fault.line == row.line));
                prop_assert!(!row.cells.values().any(|value| value.chars().any(steers)));
            }
        }
    }

    /// What a careful writer wrote comes back as it was.
    #[test]
    fn what_was_written_comes_back(cells in prop::collection::vec("[a-z,\" é]{1,6}", 1..=3)) {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(["id", "name"]).unwrap();
        for cell in &cells {
            writer.write_record(["1", cell]).unwrap();
        }
        let text = writer.into_inner().unwrap();
        let sheet = Sheet::open(&text, COLUMNS, &LIMITS).unwrap();
        let read: Vec<String> = sheet.rows().map(|row| row.value("name").unwrap_or_default().to_owned()).collect();
        let wanted: Vec<String> = cells.iter().map(|cell| cell.trim().to_owned()).collect();
        prop_assert_eq!(read, wanted);
    }
}
