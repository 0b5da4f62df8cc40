use super::*;
use crate::namespace::index::{Builder, Indexed};
use crate::policy::terms::OdsCode;

fn member(code: &str) -> Target {
    Target::Member(code.parse().unwrap())
}

fn mount(code: &str, domain: &str, upn: &str) -> Mount {
    Mount {
        mail_domains: BTreeSet::from([domain.to_owned()]),
        upn_suffixes: BTreeSet::from([upn.to_owned()]),
        ..Mount::new(member(code))
    }
}

fn routes() -> Routes {
    Routes::new([
        mount("RXB", "rxb.test", "b.internal"),
        mount("RXA", "rxa.test", "@A.internal"),
        Mount::new(Target::National),
    ])
}

fn everywhere() -> Targets {
    Targets { members: Members::All, national: true }
}

/// What a search from the root comes to, with everybody that was asked for a permit.
#[derive(Debug, PartialEq)]
struct Gone {
    own: Vec<String>,
    legs: Vec<String>,
    permits: Vec<Target>,
}

struct Search<'a> {
    scope: Scope,
    targets: Targets,
    entries: Option<&'a str>,
    population: Option<&'a str>,
    limit: usize,
    size: usize,
    closed: &'a [Target],
}

impl Default for Search<'_> {
    fn default() -> Self {
        Search {
            scope: Scope::Subtree,
            targets: everywhere(),
            entries: None,
            population: Some("everybody"),
            limit: 9,
            size: 100,
            closed: &[],
        }
    }
}

fn go_with(routes: &Routes, search: &Search<'_>, filter: &str) -> Result<Gone, RouteError> {
    let filter = Filter::parse(filter).unwrap();
    let entries = search.entries.map(|text| Filter::parse(text).unwrap());
    let sought = [Sought::new(&search.targets, &filter, entries.as_ref()).among(search.population)];
    let from = FromRoot {
        scope: search.scope,
        sought: &sought,
        limit: search.limit,
        entries: search.size,
        indexes_since: 100,
    };
    let mut permits = Vec::new();
    let mut permit = |target: &Target| {
        permits.push(target.clone());
        (!search.closed.contains(target)).then_some(())
    };
    let (route, _) = routes.from_root(&from, &mut permit)?;
    assert!(route.from_root && route.legs.iter().all(|leg| leg.at_mount));
    Ok(Gone {
        own: route.synthesised.iter().map(|s| s.released(|_| true).dn).collect(),
        legs: route.legs.iter().map(|leg| leg.target.to_string()).collect(),
        permits,
    })
}

fn go(scope: Scope, filter: &str, limit: usize) -> Result<Gone, RouteError> {
    go_with(&routes(), &Search { scope, limit, ..Search::default() }, filter)
}

fn legs(filter: &str) -> Vec<String> {
    go(Scope::Subtree, filter, 9).unwrap().legs
}

#[test]
fn names_belong_to_the_mount_one_below_the_root() {
    let routes = routes();
    let owner = |name: &str| routes.owner(&Dn::parse(name).unwrap()).map(ToString::to_string);
    for name in
        ["ou=RXA,o=federation", "cn=x, 2.5.4.11=rxa , O=Federation", r"cn=x\\,ou=RXB,ou=r\58a,o=federation"]
    {
        assert_eq!(owner(name).as_deref(), Some("RXA"), "{name}");
    }
    assert_eq!(owner("cn=x,ou=National,o=federation").as_deref(), Some("national"));
    for name in
        ["", ROOT, "ou=RXZ,o=federation", "cn=rxa,o=federation", "ou=RXA,o=other", "ou=RXA+cn=x,o=federation"]
    {
        assert_eq!(owner(name), None, "{name}");
    }
}

#[test]
fn the_root() {
    let base = go(Scope::Base, "(objectClass=*)", 0).unwrap();
    assert_eq!((base.own, base.legs.len(), base.permits), (vec![ROOT.to_owned()], 0, vec![Target::National]));
    assert_eq!(go(Scope::Base, "(cn=*)", 0).unwrap().own, Vec::<String>::new());
    let one = go(Scope::One, "(objectClass=*)", 0).unwrap();
    assert_eq!(one.own, ["ou=national,o=federation", "ou=RXA,o=federation", "ou=RXB,o=federation"]);
    assert!(one.legs.is_empty());
    assert_eq!(go(Scope::Subtree, "(cn=*)", 2), Err(RouteError::TooBroad { limit: 2 }));
    assert_eq!(go(Scope::Subtree, "(cn=*)", 3).unwrap().legs.len(), 3);
}

#[test]
fn an_address_goes_to_its_owner() {
    let owner = ["national", "RXA"];
    assert_eq!(legs("(mail=jo@RXA.test)"), owner);
    assert_eq!(legs("(rfc822Mailbox=jo@rxa.test )"), owner);
    assert_eq!(legs("(mail=*@rxa.test)"), owner);
    assert_eq!(legs("(&(cn=x)(userPrincipalName=jo@a.INTERNAL))"), owner);
    assert_eq!(legs("(odsCode=rxa)"), owner);
    assert_eq!(legs("(odsCode=no code)"), ["national"]);
    // a domain of mail is no suffix of names
    assert_eq!(legs("(userPrincipalName=jo@rxa.test)").len(), 3);
    assert_eq!(legs("(|(mail=jo@rxa.test)(mail=jo@rxb.test))").len(), 3);
    assert_eq!(legs("(|(mail=jo@rxa.test)(cn=x))").len(), 3);
    assert_eq!(legs("(!(mail=jo@rxa.test))").len(), 3);
    assert_eq!(legs("(mail=jo@nobody.test)").len(), 3);
    assert_eq!(legs("(mail=*jo@rxa.test*)").len(), 3);
    assert_eq!(legs("(&(mail=a@rxa.test)(mail=a@rxb.test))"), ["national"]);
    assert!(legs("(|)").is_empty());
}

/// T56: what a routed search costs does not depend on how many directories are mounted.
#[test]
fn a_routed_search_asks_for_as_many_permits_among_1565_mounts_as_among_10() {
    let tree = |count: usize| {
        let one = |n| mount(&format!("R{n:04}"), &format!("m{n}.test"), &format!("u{n}.test"));
        Routes::new((0..count).map(one).chain([Mount::new(Target::National)]))
    };
    let (few, many) = (tree(10), tree(1_565));
    for (filter, permits) in [
        ("(mail=jo@m7.test)", 2),
        ("(&(objectClass=person)(|(mail=a@m7.test)(userPrincipalName=b@u3.test)))", 3),
        ("(odsCode=R0007)", 2),
        ("(|)", 0),
    ] {
        for routes in [&few, &many] {
            let gone = go_with(routes, &Search::default(), filter).unwrap();
            assert_eq!((gone.permits.len(), gone.legs.len()), (permits, permits), "{filter}");
        }
    }
    // one level below the root is answered here, and a mount that is named costs one permit
    for routes in [&few, &many] {
        let search = Search { scope: Scope::One, ..Search::default() };
        let gone = go_with(routes, &search, "(&(objectClass=organizationalUnit)(ou=r0003))").unwrap();
        assert_eq!((gone.own.len(), gone.permits), (1, vec![member("R0003")]));
        assert!(go_with(routes, &search, "(cn=*)").unwrap().permits.is_empty());
    }
    // an agreement on few directories is looked through, not the tree
    let one = Members::These(["R0001".parse::<OdsCode>().unwrap()].into());
    for routes in [&few, &many] {
        let targets = Targets { members: one.clone(), national: false };
        let search = Search { targets, ..Search::default() };
        assert_eq!(go_with(routes, &search, "(cn=*)").unwrap().permits, [member("R0001")]);
    }
    // what names nothing stops at the limit, and the list of mounts at the size that is wanted
    assert_eq!(go_with(&many, &Search::default(), "(cn=*)"), Err(RouteError::TooBroad { limit: 9 }));
    let search = Search { scope: Scope::One, size: 20, ..Search::default() };
    assert_eq!(go_with(&many, &search, "(objectClass=*)").unwrap().permits.len(), 21);
}

#[test]
fn who_has_no_permit_sees_no_mount() {
    let closed = [member("RXA"), member("RXB")];
    let search = Search { closed: &closed, limit: 1, ..Search::default() };
    // closed directories do not count towards the limit: they are as if they were not mounted
    let gone = go_with(&routes(), &search, "(objectClass=*)").unwrap();
    assert_eq!(gone.own, [ROOT, "ou=national,o=federation"]);
    assert_eq!(gone.legs, ["national"]);
    let released = Synthetic::mount(&Target::National).released(|name| name == "objectClass");
    assert_eq!(released.attributes.len(), 1);
}

#[test]
fn of_several_agreements_the_first_that_covers_a_directory_counts_for_it() {
    let routes = routes();
    let national = Targets { members: Members::These(BTreeSet::new()), national: true };
    let (nothing, address) = (Filter::FALSE, Filter::parse("(mail=a@rxa.test)").unwrap());
    let all = everywhere();
    let sought = [Sought::new(&national, &nothing, None), Sought::new(&all, &address, None)];
    let from = FromRoot { scope: Scope::Subtree, sought: &sought, limit: 9, entries: 9, indexes_since: 0 };
    let (route, permits) = routes.from_root(&from, &mut |target| Some(target.clone())).unwrap();
    assert_eq!((route.legs.len(), permits), (1, vec![member("RXA")]));
}

fn indexed(read_at: i64) -> Routes {
    let index = |surname: &str| {
        let mut builder = Builder::new();
        builder.cover(Indexed::Sn);
        builder.add(Indexed::Sn, surname);
        vec![("everybody".into(), Arc::new(builder.build(read_at)))]
    };
    Routes::new([
        Mount { indexes: index("Smith"), ..Mount::new(member("RXA")) },
        Mount { indexes: index("Jones"), ..Mount::new(member("RXB")) },
        Mount::new(member("RXC")),
        Mount::new(Target::National),
    ])
}

/// An index prunes only where it can tell: people's accounts, indexed attributes, read lately.
#[test]
fn members_that_surely_hold_nothing_are_not_asked() {
    let entries = Some("(&(objectClass=inetOrgPerson)(!(employeeType=x)))");
    let (people, plain) = (Search { entries, ..Search::default() }, Search::default());
    let fresh = indexed(100);
    let legs = |search: &Search<'_>, filter: &str| go_with(&fresh, search, filter).unwrap().legs;
    assert_eq!(legs(&people, "(sn=SMITH)"), ["national", "RXA", "RXC"]);
    assert_eq!(legs(&people, "(&(title=x)(sn=jon*))"), ["national", "RXB", "RXC"]);
    assert_eq!(legs(&people, "(sn=nobody)"), ["national", "RXC"]);
    assert_eq!(legs(&plain, "(&(objectClass=inetOrgPerson)(sn=smith))"), ["national", "RXA", "RXC"]);
    for all in ["(sn=smith)", "(&(objectClass=person)(sn=smith))", "(|(objectClass=inetOrgPerson)(sn=smith))"]
    {
        assert_eq!(legs(&plain, all).len(), 4, "{all}");
    }
    for all in
        ["(sn=sm\u{ef}th)", "(sn=*)", "(sn=*th)", "(!(sn=smith))", "(|(sn=smith)(title=x))", "(givenName=jo)"]
    {
        assert_eq!(legs(&people, all).len(), 4, "{all}");
    }
    let old = go_with(&indexed(99), &people, "(sn=nobody)").unwrap();
    assert_eq!(old.legs.len(), 4, "an old index says nothing");
    // people who do not exist for a population are in no index of it: the index of another says nothing
    for population in [None, Some("others")] {
        let others = Search { population, entries, ..Search::default() };
        assert_eq!(legs(&others, "(sn=nobody)").len(), 4, "{population:?}");
    }
    // no permit is asked for where nothing is
    assert_eq!(go_with(&fresh, &people, "(sn=nobody)").unwrap().permits, [Target::National, member("RXC")]);
}
