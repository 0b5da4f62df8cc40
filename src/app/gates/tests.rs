use time::Duration;
use time::macros::datetime;

use super::*;

#[test]
fn attestations_are_counted_as_they_stand_now() {
    let now = datetime!(2026-11-24 12:00 UTC);
    let until = |until, problem: Option<&str>| Stated {
        subject: "attested.spooler_off".into(),
        statement: "The spooler is off.".into(),
        by: "Jo Bloggs, Head of IT".into(),
        note: None,
        signed_at: now,
        until,
        key: String::new(),
        unregistered: false,
        problem: problem.map(str::to_owned),
    };
    let (long, soon) = (now + Duration::days(200), now + Duration::days(30));
    let all = [
        until(long, None),
        until(soon, None),
        until(soon + Duration::SECOND, None),
        until(now, None),
        until(long, Some("the statement was worded anew")),
    ];
    assert_eq!(standings(&all, now), [2, 1, 2]);
}
