use super::*;

fn routes() -> Routes {
    let mount = |code: &str, domain: &str| Mount {
        target: Target::Member(code.parse().unwrap()),
        mail_domains: BTreeSet::from([domain.to_owned()]),
    };
    let national = Mount { target: Target::National, mail_domains: BTreeSet::new() };
    Routes::new([mount("RXB", "rxb.test"), mount("RXA", "rxa.test"), national])
}

fn go(
    base: &str,
    scope: Scope,
    filter: &str,
    limit: usize,
) -> Result<(Vec<String>, Vec<String>), RouteError> {
    let (base, filter) = (Dn::parse(base).unwrap(), Filter::parse(filter).unwrap());
    let route = routes().route(&base, scope, &filter, &|_| true, limit)?;
    Ok((
        route.synthesised.iter().map(|s| s.released(|_| true).dn).collect(),
        route
            .legs
            .iter()
            .map(|l| format!("{}{}", l.base, if l.at_mount { " (mount)" } else { "" }))
            .collect(),
    ))
}

#[test]
fn below_a_mount() {
    let (own, legs) = go("CN=Jo, ou=rxa,o=Federation", Scope::Base, "(cn=*)", 9).unwrap();
    assert!(own.is_empty());
    assert_eq!(legs, ["CN=Jo,ou=rxa,o=Federation"]);
    let at = |scope| go("ou=RXA,o=federation", scope, "(cn=*)", 9).unwrap();
    assert_eq!(at(Scope::Base), (vec!["ou=RXA,o=federation".to_owned()], vec![]));
    assert_eq!(at(Scope::One), (vec![], vec!["ou=RXA,o=federation (mount)".to_owned()]));
    assert_eq!(at(Scope::Subtree).0.len(), 1);
    assert_eq!(routes().owner(&Dn::parse("cn=x,ou=national,o=federation").unwrap()), Some(&Target::National));
}

#[test]
fn the_root() {
    assert_eq!(go(ROOT, Scope::Base, "(cn=*)", 9).unwrap(), (vec![ROOT.to_owned()], vec![]));
    let (own, legs) = go(ROOT, Scope::One, "(cn=*)", 0).unwrap();
    assert_eq!(own, ["ou=national,o=federation", "ou=RXA,o=federation", "ou=RXB,o=federation"]);
    assert!(legs.is_empty());
    assert_eq!(go(ROOT, Scope::Subtree, "(cn=*)", 2), Err(RouteError::TooBroad { asked: 3, limit: 2 }));
    assert_eq!(go(ROOT, Scope::Subtree, "(cn=*)", 3).unwrap().1.len(), 3);
    for nowhere in ["", "o=other", "ou=RXZ,o=federation", "cn=x,o=federation", "dc=rxa,dc=test"] {
        assert_eq!(go(nowhere, Scope::Subtree, "(cn=*)", 9), Err(RouteError::NoSuchObject), "{nowhere}");
    }
}

#[test]
fn an_address_goes_to_its_owner() {
    let legs = |filter| go(ROOT, Scope::Subtree, filter, 9).unwrap().1;
    let owner = ["ou=national,o=federation (mount)", "ou=RXA,o=federation (mount)"];
    assert_eq!(legs("(mail=jo@RXA.test)"), owner);
    assert_eq!(legs("(&(cn=x)(userPrincipalName=jo@rxa.test))"), owner);
    assert_eq!(legs("(|(mail=jo@rxa.test)(mail=jo@rxb.test))").len(), 3);
    assert_eq!(legs("(|(mail=jo@rxa.test)(cn=x))").len(), 3);
    assert_eq!(legs("(!(mail=jo@rxa.test))").len(), 3);
    assert_eq!(legs("(mail=jo@nobody.test)").len(), 3);
    assert_eq!(legs("(&(mail=a@rxa.test)(mail=a@rxb.test))"), ["ou=national,o=federation (mount)"]);
    assert!(legs("(|)").is_empty());
}

#[test]
fn who_has_no_permit_sees_no_mount() {
    let filter = Filter::parse("(cn=*)").unwrap();
    let reachable = |t: &Target| *t == Target::National;
    let route = routes().route(&Dn::parse(ROOT).unwrap(), Scope::Subtree, &filter, &reachable, 9).unwrap();
    assert_eq!((route.synthesised.len(), route.legs.len()), (2, 1));
    let released = route.synthesised[1].released(|name| name == "objectClass");
    assert_eq!(released.attributes.len(), 1);
}
