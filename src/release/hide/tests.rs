use proptest::prelude::*;

use super::*;
use crate::ldap::attribute;
use crate::ldap::entry::{Attribute, Entry};
use crate::ldap::truth::{self, Lookup, Truth};

fn view() -> View {
    View::new(["cn", "sn", "givenName", "uid", "mail", "manager", "entryUUID", "userAccountControl"])
}

fn concealed(filter: &str) -> String {
    let (filter, view) = (Filter::parse(filter).unwrap(), view());
    conceal(&filter, &view).to_string()
}

#[test]
fn hidden_leaves_are_false_whichever_way_round() {
    assert_eq!(concealed("(title=x)"), "(|)");
    assert_eq!(concealed("(!(title=x))"), "(|)");
    assert_eq!(concealed("(!(!(title=*)))"), "(|)");
    assert_eq!(concealed("(|(title=x)(cn=y))"), "(cn=y)");
    assert_eq!(concealed("(!(|(title=x)(cn=y)))"), "(|)");
    assert_eq!(concealed("(!(&(title=x)(cn=y)))"), "(!(cn=y))");
    assert_eq!(concealed("(&(cn=y)(!(&(a=1)(b=2))))"), "(|)");
    assert_eq!(concealed("(&)"), "(&)");
    assert_eq!(concealed("(!(&))"), "(|)");
}

#[test]
fn spellings_come_down_to_one() {
    for filter in [
        "(cn=x)",
        "(CN=x)",
        "(commonName=x)",
        "(2.5.4.3=x)",
        "(oid.2.5.4.3=x)",
        "(cn~=x)",
        "(cn:=x)",
        "(cn:caseIgnoreMatch:=x)",
        "(cn:2.5.13.2:=x)",
        "(cn;binary=x)",
    ] {
        assert_eq!(concealed(filter), "(cn=x)", "{filter}");
    }
    for filter in [
        "(cn;lang-en=x)",
        "(cn:dn:=x)",
        "(:caseIgnoreMatch:=x)",
        "(cn:1.2.840.113556.1.4.1941:=x)",
        "(cn:caseExactMatch:=x)",
        "(name=x)",
        "(distinguishedName=x)",
        "(manager=nonsense)",
        "(manager=*x)",
        "(entryUUID>=a)",
        "(entryUUID=nonsense)",
        "(userAccountControl=x)",
        "(userPassword=x)",
        "(manager:1.2.840.113556.1.4.1941:=cn=x,o=federation)",
    ] {
        assert_eq!(concealed(filter), "(|)", "{filter}");
    }
    assert_eq!(concealed("(sAMAccountName=x)"), "(uid=x)");
    assert_eq!(concealed("(objectClass=user)"), "(objectClass=inetOrgPerson)");
    assert_eq!(concealed("(objectCategory=Person)"), "(objectClass=person)");
    assert_eq!(concealed("(objectCategory=CN=Computer,CN=Schema,DC=x)"), "(objectClass=device)");
    assert_eq!(
        concealed(r"(objectGUID=\40\fc\29\6b\47\ca\67\10\b3\1d\00\dd\01\06\62\da)"),
        "(entryUUID=6b29fc40-ca47-1067-b31d-00dd010662da)"
    );
    assert_eq!(
        concealed("(userAccountControl:1.2.840.113556.1.4.803:=2)"),
        "(userAccountControl:1.2.840.113556.1.4.803:=2)"
    );
}

#[test]
fn anr_looks_at_what_is_visible() {
    assert_eq!(concealed("(anr=smi)"), "(|(sn=smi*)(givenName=smi*)(uid=smi*))");
    assert_eq!(concealed("(anr==smi)"), "(|(sn=smi)(givenName=smi)(uid=smi))");
    assert_eq!(concealed("(!(anr=s))"), "(&(!(sn=s*))(!(givenName=s*))(!(uid=s*)))");
    assert!(concealed("(anr=jo smi)").contains("(&(givenName=jo*)(sn=smi*))"));
    let (filter, none) = (Filter::parse("(anr=x)").unwrap(), View::new(["cn"]));
    assert_eq!(conceal(&filter, &none), Filter::FALSE);
}

#[test]
fn compares() {
    let view = view();
    assert!(comparable(&Assertion::new("title", &b"x"[..]), &view).is_none());
    let known = Assertion::new("2.5.4.3", &b"x"[..]);
    assert_eq!(comparable(&known, &view), Some(Filter::equal("cn", &b"x"[..])));
}

/// The entry with nothing but the view in it: the definition that `conceal` must meet.
struct Only<'a>(&'a Entry, &'a View);

impl Lookup for Only<'_> {
    fn is_known(&self, name: &str) -> bool {
        self.1.visible(name)
    }

    fn visit(&self, name: &str, visit: &mut dyn FnMut(&str, &[u8]) -> bool) -> bool {
        self.0.visit(name, visit)
    }

    fn visit_all(&self, _: &mut dyn FnMut(&str, &[u8]) -> bool) {}

    fn dn(&self) -> &str {
        &self.0.dn
    }
}

fn any_filter() -> impl Strategy<Value = Filter<'static>> {
    let name = prop::sample::select(vec!["cn", "sn", "mail", "title", "info", "noSuchThing", "2.5.4.4"]);
    let value = prop::sample::select(vec!["a", "ab", "b"]);
    let leaf = (name, value, 0..5u8).prop_map(|(name, value, kind)| match kind {
        0 => Filter::present(name),
        1 => Filter::GreaterOrEqual(Assertion::new(name, value.as_bytes())),
        2 => Filter::LessOrEqual(Assertion::new(name, value.as_bytes())),
        3 => Filter::Substrings(Substrings {
            attribute: name.into(),
            initial: Some(value.as_bytes().into()),
            any: vec![],
            last: None,
        }),
        _ => Filter::equal(name, value.as_bytes()),
    });
    leaf.prop_recursive(6, 40, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Filter::And),
            prop::collection::vec(inner.clone(), 0..4).prop_map(Filter::Or),
            inner.prop_map(Filter::negate),
        ]
    })
}

fn any_entry() -> impl Strategy<Value = Entry> {
    let values = || prop::collection::vec(prop::sample::select(vec!["a", "ab", "b", "ba"]), 0..3);
    prop::collection::vec(values(), 5).prop_map(|lists| {
        let attributes = ["cn", "sn", "mail", "title", "info"].iter().zip(lists);
        let attributes =
            attributes.filter(|(_, values)| !values.is_empty()).map(|(name, values)| Attribute {
                description: (*name).to_owned(),
                values: values.iter().map(|v| v.as_bytes().to_vec()).collect(),
            });
        Entry { dn: "cn=x".to_owned(), attributes: attributes.collect() }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn true_of_exactly_the_same_entries(filter in any_filter(), entry in any_entry()) {
        let view = view();
        let expected = truth::evaluate(&filter, &Only(&entry, &view)) == Truth::True;
        let concealed = conceal(&filter, &view);
        // on the whole entry, hidden attributes and all, as a directory would
        prop_assert_eq!(truth::evaluate(&concealed, &entry) == Truth::True, expected, "{} {}", filter, concealed);
    }

    #[test]
    fn nothing_hidden_is_named(filter in any_filter()) {
        let view = view();
        let text = conceal(&filter, &view).to_string();
        for name in ["title", "info", "noSuchThing"] {
            prop_assert!(!text.contains(name));
        }
        prop_assert!(attribute::known("title").is_some());
    }
}
