use super::*;
use crate::sync::hand::undo::RULE;
use crate::sync::terms::step::Change;
use crate::sync::terms::target::Anchor;

const ONE: Guid = Guid([1; 16]);
const BOSS: Guid = Guid([2; 16]);
const BOSS_DN: &str = "uid=boss,ou=rxa,ou=people";

fn anchor(guid: Guid) -> Anchor {
    Anchor { member: "RXA".parse().unwrap(), guid }
}

fn standing(one: Account, boss: Account) -> Standing {
    Standing {
        accounts: Some(BTreeMap::from([(anchor(ONE), one), (anchor(BOSS), boss)])),
        contact: BTreeSet::from(["mail".to_owned()]),
        named: BTreeMap::from([(naming::key(BOSS_DN), Some(anchor(BOSS)))]),
        taken: BTreeSet::new(),
    }
}

fn change(attribute: &str, before: &[&str], after: &[&str]) -> Change {
    let values = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
    Change { attribute: attribute.to_owned(), before: values(before), after: values(after) }
}

fn step(action: Action, changes: Vec<Change>) -> Step {
    Step {
        action,
        anchor: Some(anchor(ONE)),
        dn: "uid=one,ou=rxa,ou=people".to_owned(),
        to: None,
        entry_uuid: None,
        entry_csn: None,
        changes,
        reason: String::new(),
        rule: RULE.to_owned(),
        needs: Vec::new(),
    }
}

fn held() -> Account {
    Account { unpublished: Some("held back".to_owned()), ..Account::default() }
}

fn gone() -> Account {
    Account { leaves: true, ..held() }
}

#[test]
fn what_takes_away_or_hides_is_never_left_out() {
    let standing = standing(gone(), gone());
    for step in [
        step(Action::Delete, vec![change("mail", &["a@x"], &[])]),
        step(
            Action::Modify,
            vec![change("title", &["Nurse"], &[]), change("portcullisstamp", &["a"], &["b"])],
        ),
        step(Action::Mark, vec![change(LEFT_AT, &[], &["20200101000000Z"]), change("title", &[], &["x"])]),
        step(Action::Rename, Vec::new()),
    ] {
        assert_eq!(standing.against(&step), None, "{step:?}");
    }
}

#[test]
fn who_is_held_back_is_not_listed_anew_but_what_is_listed_is_mended() {
    let standing = standing(held(), Account::default());
    let unmark = step(Action::Modify, vec![change(LEFT_AT, &["20200101000000Z"], &[])]);
    assert!(standing.against(&unmark).is_some());
    assert!(standing.against(&step(Action::Create, Vec::new())).is_some());
    assert_eq!(standing.against(&step(Action::Modify, vec![change("title", &["a"], &["b"])])), None);
}

#[test]
fn nobody_is_named_by_others_who_is_not_to_be() {
    let names = step(Action::Modify, vec![change("manager", &[], &[&BOSS_DN.to_uppercase()])]);
    let hidden = Account { unnamed: true, ..Account::default() };
    for boss in [hidden, gone()] {
        let told = standing(Account::default(), boss).against(&names).unwrap();
        assert!(told.contains("name a person"), "{told}");
    }
    let mut standing = standing(Account::default(), Account::default());
    assert_eq!(standing.against(&names), None);
    standing.named = BTreeMap::from([(naming::key(BOSS_DN), None)]);
    assert!(standing.against(&names).is_some(), "nobody is called so any more");
}

#[test]
fn without_a_directory_nothing_is_left_out() {
    assert_eq!(Standing::default().against(&step(Action::Create, Vec::new())), None);
}
