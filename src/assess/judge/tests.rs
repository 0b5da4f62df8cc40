use time::Duration;
use time::macros::datetime;

use super::*;

#[test]
fn without_two_persons_nothing_is_set_aside() {
    let now = datetime!(2026-11-24 12:00 UTC);
    let approved = ExceptionRecord {
        id: "x1".into(),
        member: "RXA".parse().unwrap(),
        control: "cards".into(),
        objects: vec!["mabel.okoro".into()],
        owner: "o".into(),
        reason: "r".into(),
        compensating_control: "c".into(),
        requested_by: Some("one".into()),
        requested_at: Some(now),
        approver: "two".into(),
        approval_reason: None,
        granted_at: now,
        ends_at: now + Duration::days(10),
        withdrawn_at: None,
        withdrawn_by: None,
        withdrawal_reason: None,
    };
    let holds = |change: fn(&mut ExceptionRecord)| {
        let mut record = approved.clone();
        change(&mut record);
        exception(&record, now)
    };
    let told = holds(|_| ()).unwrap();
    assert_eq!((told.objects, told.from, told.until), (approved.objects.clone(), now, approved.ends_at));
    assert!(holds(|r| r.approver = "One ".into()).is_none());
    assert!(holds(|r| r.approver = " ".into()).is_none());
    assert!(holds(|r| (r.requested_by, r.approver) = (None, String::new())).is_none());
    assert!(holds(|r| r.withdrawn_at = Some(r.granted_at)).is_none());
    assert!(holds(|r| r.requested_by = None).is_some(), "granted before two were needed");
    let open_ended = holds(|r| r.ends_at += Duration::days(100_000)).unwrap();
    assert_eq!(open_ended.until, now + Duration::days(366));
}
