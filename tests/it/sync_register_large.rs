//! Large tables, with their figures. Slow: only when asked for.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::sync_register::{HEADING, Rig, row};

fn organisations(many: usize) -> String {
    let rows = (0..many).map(|n| format!("B{n:05},Practice {n},practice,7,2999-01-01,p{n}.nhs.test\n"));
    "ods,name,kind,wave,planned,mail_domains\n".to_owned() + &rows.collect::<String>()
}

fn table(rows: usize, organisations: usize) -> String {
    let rows = (0..rows).map(|number| {
        let one = number % organisations;
        row(&format!("B{one:05}"), &format!("p{one}"), number)
    });
    HEADING.to_owned() + &rows.collect::<String>()
}

/// Writes that the journal has as done, of every organisation.
fn done(rig: &Rig) -> usize {
    let store = rusqlite::Connection::open(rig.stage.path("data/portcullis.sqlite")).unwrap();
    store.busy_timeout(Duration::from_secs(10)).unwrap();
    let count: i64 =
        store.query_row("SELECT count(*) FROM journal WHERE phase = 'done'", [], |row| row.get(0)).unwrap();
    usize::try_from(count).unwrap()
}

/// Registers, is interrupted, goes on, and again changes nothing.
fn wave(test: &str, rows: usize, organisations_many: usize) {
    let Some(rig) = Rig::start(test, "") else { return };
    let organisations = rig.table("more.csv", &organisations(organisations_many));
    assert_eq!(rig.run(&["programme", "import", &organisations]).0, 0);
    let file = rig.table("wave.csv", &table(rows, organisations_many));
    let began = Instant::now();
    let (code, said) = rig.run(&["register", &file]);
    assert_eq!((code, &said["results"]), (0, &serde_json::json!({"create": rows})));
    eprintln!(
        "{rows} rows, {organisations_many} organisations: validated in {:.1} s",
        began.elapsed().as_secs_f64()
    );
    let began = Instant::now();
    let mut command = rig.stage.portcullis(&["register", &file, "--apply"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // in the midst of writing
    while done(&rig) < rows / 3 {
        std::thread::sleep(Duration::from_millis(500));
        assert!(child.try_wait().unwrap().is_none(), "it ended before it was interrupted");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let there = rig.people().len();
    rig.stage.end_lease();
    let first = began.elapsed();
    let began = Instant::now();
    let (code, said) = rig.apply(&file);
    let second = began.elapsed();
    assert_eq!(code, 0, "{}", said["organisations"]);
    assert_eq!(rig.people().len(), rows);
    eprintln!(
        "killed after {:.1} s with {there} there, the rest in {:.1} s; together {:.0} rows a second",
        first.as_secs_f64(),
        second.as_secs_f64(),
        rows as f64 / (first + second).as_secs_f64()
    );
    let began = Instant::now();
    let (code, said) = rig.apply(&file);
    assert_eq!((code, &said["results"]), (0, &serde_json::json!({"nothing": rows})));
    eprintln!("again, nothing to do: {:.1} s", began.elapsed().as_secs_f64());
}

#[test]
#[ignore = "slow: runs with tests/run --all"]
fn ten_thousand_rows() {
    wave("ten_thousand_rows", 10_000, 20);
}

#[test]
#[ignore = "slow: runs with tests/run --all"]
fn a_hundred_thousand_rows_over_many_organisations() {
    wave("a_hundred_thousand_rows_over_many_organisations", 100_000, 500);
}

#[test]
#[ignore = "slow: runs with tests/run --all"]
fn a_hundred_thousand_rows_of_one_organisation() {
    wave("a_hundred_thousand_rows_of_one_organisation", 100_000, 1);
}
