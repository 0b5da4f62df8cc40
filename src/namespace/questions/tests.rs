use super::*;

fn asked(filter: &str) -> (String, bool) {
    let mapping = Mapping::active_directory("ou=RXA,o=federation", "DC=rxa,DC=test").unwrap();
    let filter = Filter::parse(filter).unwrap();
    let question = filter_to_local(&filter, &mapping, &[]);
    (question.filter.map_or_else(|| "-".to_owned(), |f| f.to_string()), question.needs_recheck)
}

fn exact(filter: &str) -> String {
    let (text, recheck) = asked(filter);
    assert!(!recheck, "{filter}");
    text
}

fn wide(filter: &str) -> String {
    let (text, recheck) = asked(filter);
    assert!(recheck, "{filter}");
    text
}

#[test]
fn what_may_pass_is_asked_exactly() {
    assert_eq!(exact("(&(uid=jo)(!(mail=*)))"), "(&(sAMAccountName=jo)(!(mail=*)))");
    assert_eq!(exact("(ou=x*)"), "(department=x*)");
    assert_eq!(exact("(manager=cn=A,ou=RXA,o=federation)"), "(manager=cn=A,DC=rxa,DC=test)");
    assert_eq!(exact("(!(manager=cn=A,ou=RXA,o=federation))"), "(!(manager=cn=A,DC=rxa,DC=test))");
    assert_eq!(exact("(description=x)"), "(description=x)");
    assert_eq!(exact("(objectClass=inetOrgPerson)"), "(&(objectClass=user)(!(objectClass=computer)))");
    assert_eq!(exact("(&)"), "(objectClass=*)");
}

/// T39, T43: names with something beside them, both ways; names that only the directory could resolve mean nothing.
#[test]
fn compound_and_alternative_names() {
    assert_eq!(
        exact("(manager=B:4:0a0b:cn=A,ou=RXA,o=federation)"),
        "(manager=B:4:0a0b:cn=A,DC=rxa,DC=test)"
    );
    assert_eq!(
        exact("(uniqueMember=cn=A,ou=RXA,o=federation#'01'B)"),
        "(uniqueMember=cn=A,DC=rxa,DC=test#'01'B)"
    );
    assert_eq!(exact("(manager=S:3:a b:cn=A,ou=RXB,o=federation)"), "-");
    assert_eq!(exact("(manager=S:14:DC=rxa,DC=test:cn=A,ou=RXA,o=federation)"), "-");
    for name in [
        "<GUID=4db40800-7fc2-47a1-b529-829b96a124c2>",
        "<SID=S-1-5-21-1-2-3-500>",
        "<WKGUID=a9d1ca15768811d1aded00c04fd8d5cd,DC=rxa,DC=test>",
        "<GUID=4db40800-7fc2-47a1-b529-829b96a124c2>;cn=A,ou=RXA,o=federation",
    ] {
        assert_eq!(exact(&format!("(manager={name})")), "-");
        assert!(crate::ldap::dn::Dn::parse(name).is_err());
    }
}

#[test]
fn what_lies_outside_is_not_asked() {
    assert_eq!(exact("(manager=cn=A,ou=RXB,o=federation)"), "-");
    assert_eq!(exact("(manager=CN=A,DC=rxa,DC=test)"), "-");
    assert_eq!(exact("(!(manager=CN=A,DC=rxa,DC=test))"), "(objectClass=*)");
    assert_eq!(exact("(|(uid=a)(manager=cn=A,ou=RXB,o=federation))"), "(sAMAccountName=a)");
    assert_eq!(exact("(description=in DC=rxa, DC=test)"), "-");
    assert_eq!(exact("(objectClass=msSecretClass)"), "-");
    assert_eq!(exact("(entryUUID=nonsense)"), "-");
}

#[test]
fn where_values_may_be_withheld_the_question_is_wider() {
    assert_eq!(wide("(manager=*)"), "(manager=*)");
    assert_eq!(wide("(&(uid=a)(!(manager=*)))"), "(sAMAccountName=a)");
    assert_eq!(wide("(!(manager=*))"), "(objectClass=*)");
    assert_eq!(wide("(!(description=a*))"), "(objectClass=*)");
    assert_eq!(wide("(description=in DC=rx\u{e1}, DC=test)"), "(description=in DC=rx\u{e1}, DC=test)");
    assert_eq!(wide("(!(description=x\u{ff1d}))"), "(objectClass=*)");
    assert_eq!(wide("(description>=a)"), "(description>=a)");
    assert_eq!(wide("(|(uid=a)(!(memberOf=*)))"), "(objectClass=*)");
}

#[test]
fn what_some_entries_do_not_have_for_the_requester_is_asked_widely() {
    let mapping = Mapping::active_directory("ou=RXA,o=federation", "DC=rxa,DC=test").unwrap();
    let reserved = ["mobile".to_owned()];
    let asked = |filter: &str| {
        let filter = Filter::parse(filter).unwrap();
        let question = filter_to_local(&filter, &mapping, &reserved);
        (question.filter.unwrap().to_string(), question.needs_recheck)
    };
    assert_eq!(asked("(mobile=1)"), ("(mobile=1)".to_owned(), true));
    assert_eq!(asked("(&(cn=a)(!(mobile=*)))"), ("(cn=a)".to_owned(), true));
    assert_eq!(asked("(cn=a)"), ("(cn=a)".to_owned(), false));
}

#[test]
fn the_national_directory_is_asked_in_its_own_words() {
    let mapping = Mapping::standard("ou=national,o=federation", "dc=national,dc=test").unwrap();
    let filter = Filter::parse(
        "(&(uid=a)(objectClass=inetOrgPerson)(manager=uid=b,ou=people,ou=national,o=federation))",
    )
    .unwrap();
    let question = filter_to_local(&filter, &mapping, &[]);
    assert_eq!(
        question.filter.unwrap().to_string(),
        "(&(uid=a)(objectClass=inetOrgPerson)(manager=uid=b,ou=people,dc=national,dc=test))"
    );
}
