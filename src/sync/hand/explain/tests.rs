use super::*;

#[test]
fn what_is_asked_for_is_told_by_its_form() {
    let guid = "04030201-0605-0807-090a-0b0c0d0e0f10";
    assert!(matches!(Who::of(&format!("RXA/{guid}")), Who::Anchor(_)));
    assert!(matches!(Who::of(guid), Who::Guid(_)));
    assert_eq!(Who::of("A@RXA.nhs.test"), Who::Mail("a@rxa.nhs.test".to_owned()));
    assert!(matches!(Who::of("CN=A,OU=Staff,DC=rxa"), Who::Dn(_)));
    assert_eq!(Who::of("Jones.B"), Who::Account("jones.b".to_owned()));
}

#[test]
fn the_failing_part_of_a_filter_is_told() {
    let object = Object {
        guid: Guid([1; 16]),
        parent: None,
        moved_from: None,
        rdn: "CN=A".to_owned(),
        deleted: false,
        unseen: false,
        partial: false,
        attributes: BTreeMap::from([
            ("objectclass".to_owned(), vec!["user".to_owned()]),
            ("employeetype".to_owned(), vec!["bank".to_owned()]),
        ]),
        references: BTreeMap::new(),
    };
    let told = |text: &str| failing(&Filter::parse(text).unwrap(), &object).join("; ");
    assert_eq!(told("(objectClass=user)"), "");
    assert_eq!(told("(&(objectClass=user)(mail=*))"), "(mail=*) is not so");
    assert_eq!(
        told("(&(mail=*)(!(employeeType=bank)))"),
        "(mail=*) is not so; (!(employeeType=bank)) is not so"
    );
    assert_eq!(
        told("(|(employeeType=x)(title=*))"),
        "none of (|(employeeType=x)(title=*)): (employeeType=x) is not so, (title=*) is not so"
    );
}
