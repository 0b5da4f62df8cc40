//! Any bytes: a table is refused by its heading, or each of its rows is good or has faults on its own line; a row that is read
//! again where it begins is the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::ambient::sheet::{Settings, Sheet};
use portcullis::sync::hand::register::person::{COLUMNS, Person};

fuzz_target!(|bytes: &[u8]| {
    // most inputs would end at the heading
    let text = [b"ods,local_id,given_name,sn,mail,status\n".as_slice(), bytes].concat();
    for table in [bytes, &text] {
        let Ok(sheet) = Sheet::open(table, COLUMNS, &Settings::default()) else { continue };
        for row in sheet.rows() {
            let again = sheet.again().row(&row.at);
            assert!(again.is_some_and(|again| again.raw == row.raw && again.line == row.line));
            match Person::read(&row) {
                Ok(person) => {
                    let object = person.object(None, "Surgery");
                    assert_eq!(object.is_none(), person.is_leaver);
                    assert!(object.is_none_or(|one| person.object(Some(one.clone()), "Surgery") == Some(one)));
                }
                Err(faults) => assert!(faults.iter().all(|fault| fault.line == row.line)),
            }
        }
    }
});
