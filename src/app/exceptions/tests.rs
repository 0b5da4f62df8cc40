use prometheus::Registry;
use time::Duration;
use time::macros::datetime;

use super::*;
use crate::app::metrics::Metrics;
use crate::telemetry::registry::text;

const NOW: OffsetDateTime = datetime!(2026-11-24 12:00 UTC);

fn record(id: &str, control: &str, lasts: Duration) -> ExceptionRecord {
    ExceptionRecord {
        id: id.into(),
        member: "RXA".parse().unwrap(),
        control: control.into(),
        objects: Vec::new(),
        owner: "Jo Bloggs".into(),
        reason: "r".into(),
        compensating_control: "c".into(),
        requested_by: Some("one".into()),
        requested_at: Some(NOW),
        approver: "two".into(),
        approval_reason: None,
        granted_at: NOW,
        ends_at: NOW + lasts,
        withdrawn_at: None,
        withdrawn_by: None,
        withdrawal_reason: None,
    }
}

#[test]
fn metrics_follow_the_time() {
    let (registry, exceptions) = (Registry::new(), Exceptions::default());
    let metrics = Metrics::register(&registry).unwrap();
    let waits = ExceptionRecord { approver: String::new(), ..record("x4", "names", Duration::days(50)) };
    let of = |object: &str, record| ExceptionRecord { objects: vec![object.to_owned()], ..record };
    let all = [
        of("porter", record("x1", "cards", Duration::days(40))),
        of("nurse", record("x2", "cards", Duration::days(20))),
        record("x3", "tls", Duration::days(90)),
        waits,
    ];
    *exceptions.records.lock().unwrap() = all.to_vec();
    let shown = |after| {
        exceptions.show(&metrics.exceptions, None, NOW + Duration::days(after));
        let body = String::from_utf8(text(&registry).unwrap()).unwrap();
        assert!(!body.contains("Bloggs"));
        let mine = |line: &&str| line.starts_with("portcullis_exception");
        let mine: Vec<String> = body
            .lines()
            .filter(mine)
            .map(|line| line.replace("portcullis_exception", "").replace("member=\"RXA\"", ""))
            .collect();
        mine.join("\n")
    };
    assert_eq!(
        shown(0),
        "_ends_seconds{control=\"cards\",} 1728000\n_ends_seconds{control=\"tls\",} 7776000\ns_ending{} 1\ns_in_force{} 3\n\
         s_requested{} 1"
    );
    assert_eq!(shown(100), "s_ending{} 0\ns_in_force{} 0\ns_requested{} 0");
    exceptions.records.lock().unwrap().clear();
    assert_eq!(shown(100), "s_ending{} 0\ns_in_force{} 0\ns_requested{} 0");
}

#[test]
fn what_another_follows_does_not_end_soon() {
    let first = record("x1", "cards", Duration::days(2));
    let next = ExceptionRecord { granted_at: first.ends_at, ..record("x2", "cards", Duration::days(40)) };
    let told = |next: &ExceptionRecord| {
        let all = exceptions::all(None, &[first.clone(), next.clone()], NOW);
        (ends_soon(&all[0], &all, NOW), exceptions::lasts(&all[0], &all) - NOW)
    };
    assert_eq!(told(&next), (false, Duration::days(40)));
    let late = ExceptionRecord { granted_at: first.ends_at + Duration::SECOND, ..next.clone() };
    let asked = ExceptionRecord { approver: String::new(), ..next.clone() };
    let other = ExceptionRecord { objects: vec!["porter".to_owned()], ..next };
    for next in [late, asked, other] {
        assert_eq!(told(&next), (true, Duration::days(2)), "{next:?}");
    }
}

#[test]
fn each_is_told_once_a_day_and_at_its_end() {
    let all = [record("x1", "cards", Duration::days(2)), record("x2", "tls", Duration::days(90))];
    let mut reminders = Reminders::default();
    let mut look = |after: Duration| {
        let now = NOW + after;
        reminders.look(&exceptions::all(None, &all, now), now);
        (reminders.warned.get("x1").copied(), reminders.held.len())
    };
    assert_eq!(look(Duration::ZERO), (Some(NOW.date()), 2));
    assert_eq!(look(Duration::HOUR), (Some(NOW.date()), 2));
    assert_eq!(look(Duration::DAY), (NOW.date().next_day(), 2));
    assert_eq!(look(Duration::days(2)), (None, 1));
}
