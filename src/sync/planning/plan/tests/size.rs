//! What it costs to survey and to plan, by the number of people.

use super::*;

/// Processor time of this thread in nanoseconds: what others do on the machine does not count.
fn spent() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split_whitespace().next().unwrap().parse().unwrap()
}

fn account(number: usize, title: &str) -> Object {
    let text = |prefix: &str| format!("{prefix}{number}");
    let mut bytes = [0xaa; 16];
    bytes[..8].copy_from_slice(&(number as u64).to_be_bytes());
    let (name, mail) = (text("n"), format!("m{number}@rxa.nhs.test"));
    let attributes = [
        ("objectclass", "user"),
        ("sn", "Surname"),
        ("samaccountname", &name),
        ("displayname", &name),
        ("mail", &mail),
        ("useraccountcontrol", "512"),
        ("title", title),
    ];
    object(Guid(bytes), Some(STAFF), &text("CN=Person "), &attributes)
}

fn everybody(people: usize, title: impl Fn(usize) -> &'static str) -> Vec<Object> {
    let accounts = (0..people).map(|number| account(number, title(number)));
    tree().into_iter().chain(accounts).collect()
}

/// Everybody is new; then one in ten has another title, and everybody else is as published.
fn cost(people: usize) -> u64 {
    let began = spent();
    let mut bench = Bench::new();
    bench.view.base_exists = true;
    let (plan, _) = bench.surveyed(everybody(people, |_| "Nurse"), true, start(), usize::MAX);
    assert_eq!(plan.steps.len(), people);
    bench.view.entries = plan
        .steps
        .iter()
        .map(|step| TargetEntry {
            dn: step.dn.clone(),
            entry_uuid: step.dn.clone(),
            entry_csn: "1".into(),
            attributes: step.changes.iter().map(|c| (c.attribute.clone(), c.after.clone())).collect(),
            written_for: None,
        })
        .collect();
    let changed = everybody(people, |number| if number.is_multiple_of(10) { "Matron" } else { "Nurse" });
    let (plan, others) = bench.surveyed(changed, true, start(), usize::MAX);
    assert_eq!((plan.steps.len(), others.people), (people / 10, (people - people / 10) as u64));
    spent() - began
}

/// Ten times the people may take ten times the work, and half as much again for the depth of trees; four times would be a square's beginning.
#[test]
fn work_grows_with_the_number_of_people() {
    cost(500);
    let (few, many) = (cost(3_000), cost(30_000));
    assert!(many < few * 25, "3,000: {few} ns, 30,000: {many} ns");
}
