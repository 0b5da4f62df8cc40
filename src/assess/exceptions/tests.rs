use time::macros::datetime;

use super::*;

const NOW: OffsetDateTime = datetime!(2026-11-24 12:00 UTC);

fn record() -> ExceptionRecord {
    ExceptionRecord {
        id: "x1".into(),
        member: "RXA".parse().unwrap(),
        control: "cards".into(),
        objects: Vec::new(),
        owner: "o".into(),
        reason: "r".into(),
        compensating_control: "c".into(),
        requested_by: Some("asker".into()),
        requested_at: Some(NOW - Duration::HOUR),
        approver: "approver".into(),
        approval_reason: None,
        granted_at: NOW - Duration::MINUTE,
        ends_at: NOW + Duration::days(90),
        withdrawn_at: None,
        withdrawn_by: None,
        withdrawal_reason: None,
    }
}

fn standing(change: impl FnOnce(&mut ExceptionRecord)) -> Standing {
    let mut record = record();
    change(&mut record);
    of_record(&record, None, NOW).standing
}

#[test]
fn a_record_stands_where_two_persons_and_time_left_it() {
    assert_eq!(standing(|_| ()), Standing::InForce);
    assert_eq!(standing(|r| r.ends_at = NOW + SOON), Standing::EndsSoon);
    assert_eq!(standing(|r| r.ends_at = NOW + SOON + Duration::SECOND), Standing::InForce);
    assert_eq!(standing(|r| r.ends_at = NOW), Standing::Ended);
    assert_eq!(standing(|r| r.approver.clear()), Standing::Requested);
    assert_eq!(standing(|r| r.approver = " ASKER ".into()), Standing::WithoutEffect);
    assert_eq!(standing(|r| (r.approver, r.requested_by) = (" ".into(), None)), Standing::WithoutEffect);
    assert_eq!(standing(|r| r.requested_by = None), Standing::InForce, "granted before two were needed");
    assert_eq!(standing(|r| r.withdrawn_at = Some(NOW)), Standing::Withdrawn);
    let refused = |r: &mut ExceptionRecord| (r.withdrawn_at, r.approver) = (Some(NOW), String::new());
    assert_eq!(standing(refused), Standing::Refused);
    // whatever wrote such an end
    assert_eq!(
        standing(|r| (r.granted_at, r.ends_at) = (NOW - Duration::days(366), NOW + Duration::days(9_999))),
        Standing::Ended
    );
}

#[test]
fn only_what_shares_an_object_overlaps() {
    let some = |objects: &[&str]| ExceptionRecord {
        objects: objects.iter().map(|o| (*o).to_owned()).collect(),
        ..record()
    };
    let overlap = |one: &[&str], other: &[&str]| {
        let (one, other) = (some(one), some(other));
        let (from, until) = (NOW, NOW + Duration::DAY);
        let (member, control) = (&other.member, other.control.as_str());
        of_record(&one, None, NOW).overlaps(&Wanted { member, control, objects: &other.objects, from, until })
    };
    assert!(overlap(&[], &[]) && overlap(&["a"], &[]) && overlap(&[], &["a"]));
    assert!(overlap(&["a", "B"], &["b", "c"]) && !overlap(&["a"], &["b"]));
}
