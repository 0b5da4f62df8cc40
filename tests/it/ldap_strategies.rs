//! Random LDAP values for the property and differential tests.

use std::borrow::Cow;

use portcullis::ldap::control::Control;
use portcullis::ldap::entry::{WireAttribute, WireEntry};
use portcullis::ldap::filter::{Assertion, Extensible, Filter, Substrings};
use portcullis::ldap::message::{
    Authentication, Bind, BindOutcome, Change, ChangeKind, Compare, Dereference, Extended, ExtendedOutcome,
    Intermediate, Message, Modify, ModifyDn, Operation, Outcome, ResultCode, Scope, Search,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

pub fn name() -> impl Strategy<Value = Cow<'static, str>> {
    prop_oneof![
        "[a-zA-Z][a-zA-Z0-9-]{0,12}".prop_filter("`dn` is a flag", |name| !name.eq_ignore_ascii_case("dn")),
        "[0-2](\\.[1-9][0-9]{0,4}){1,6}",
        "[a-z]{1,8};(lang-en|binary|x-a)",
    ]
    .prop_map(Cow::Owned)
}

fn text() -> impl Strategy<Value = Cow<'static, str>> {
    prop_oneof!["\\PC{0,20}", "[ -~]{0,150}"].prop_map(Cow::Owned)
}

fn bytes(size: std::ops::Range<usize>) -> impl Strategy<Value = Cow<'static, [u8]>> {
    vec(any::<u8>(), size).prop_map(Cow::Owned)
}

fn oid() -> impl Strategy<Value = Cow<'static, str>> {
    "[0-2](\\.[1-9][0-9]{0,4}){1,8}".prop_map(Cow::Owned)
}

fn assertion() -> impl Strategy<Value = Assertion<'static>> {
    (name(), bytes(0..20)).prop_map(|(attribute, value)| Assertion { attribute, value })
}

pub fn filter() -> impl Strategy<Value = Filter<'static>> {
    let part = || bytes(1..6);
    let substrings = (name(), option::of(part()), vec(part(), 0..3), option::of(part()))
        .prop_filter("at least one part", |(_, initial, any, last)| {
            initial.is_some() || !any.is_empty() || last.is_some()
        })
        .prop_map(|(attribute, initial, any, last)| Substrings { attribute, initial, any, last });
    let extensible = (option::of(name()), name(), bytes(0..10), any::<bool>(), any::<bool>()).prop_map(
        |(rule, attribute, value, dn_attributes, bare)| {
            let attribute = if bare && rule.is_some() { None } else { Some(attribute) };
            Extensible { rule, attribute, value, dn_attributes }
        },
    );
    let leaf = prop_oneof![
        assertion().prop_map(Filter::Equality),
        assertion().prop_map(Filter::GreaterOrEqual),
        assertion().prop_map(Filter::LessOrEqual),
        assertion().prop_map(Filter::Approximate),
        name().prop_map(Filter::Present),
        substrings.prop_map(Filter::Substrings),
        extensible.prop_map(Filter::Extensible),
    ];
    leaf.prop_recursive(6, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Filter::And),
            vec(inner.clone(), 0..4).prop_map(Filter::Or),
            inner.prop_map(Filter::negate),
        ]
    })
}

fn attribute(least: usize) -> impl Strategy<Value = WireAttribute<'static>> {
    (name(), vec(bytes(0..200), least..4))
        .prop_map(|(description, values)| WireAttribute { description, values })
}

pub fn entry(least: usize) -> impl Strategy<Value = WireEntry<'static>> {
    (text(), vec(attribute(least), 0..6)).prop_map(|(dn, attributes)| WireEntry { dn, attributes })
}

fn outcome() -> impl Strategy<Value = Outcome<'static>> {
    let code = prop::sample::select(vec![0, 1, 2, 4, 5, 10, 12, 14, 32, 49, 50, 53, 80]);
    (code, text(), text(), vec(text(), 0..3)).prop_map(|(code, matched, diagnostic, referral)| Outcome {
        code: ResultCode(code),
        matched,
        diagnostic,
        referral,
    })
}

fn search() -> impl Strategy<Value = Search<'static>> {
    let scope = prop::sample::select(vec![Scope::Base, Scope::One, Scope::Subtree]);
    let dereference = prop::sample::select(vec![
        Dereference::Never,
        Dereference::InSearching,
        Dereference::FindingBase,
        Dereference::Always,
    ]);
    let limit = 0..=i32::MAX.cast_unsigned();
    (text(), scope, dereference, limit.clone(), limit, any::<bool>(), filter(), vec(name(), 0..4)).prop_map(
        |(base, scope, dereference, size_limit, time_limit, types_only, filter, attributes)| Search {
            base,
            scope,
            dereference,
            size_limit,
            time_limit,
            types_only,
            filter,
            attributes,
        },
    )
}

fn bind() -> impl Strategy<Value = Bind<'static>> {
    let authentication = prop_oneof![
        bytes(0..20).prop_map(|password| Hidden(Authentication::Simple(password))),
        ("[A-Z0-9-]{1,20}", option::of(bytes(0..20))).prop_map(|(mechanism, credentials)| {
            Hidden(Authentication::Sasl { mechanism: Cow::Owned(mechanism), credentials })
        }),
    ];
    (1_u8..=127, text(), authentication).prop_map(|(version, name, Hidden(authentication))| Bind {
        version,
        name,
        authentication,
    })
}

/// Secrets have no `Debug`, which proptest asks for.
#[derive(Clone)]
struct Hidden(Authentication<'static>);

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("hidden")
    }
}

fn requests() -> impl Strategy<Value = Operation<'static>> {
    let kind = prop::sample::select(vec![ChangeKind::Add, ChangeKind::Delete, ChangeKind::Replace]);
    let change = (kind, attribute(0)).prop_map(|(kind, attribute)| Change { kind, attribute });
    prop_oneof![
        bind().prop_map(Operation::BindRequest),
        Just(Operation::UnbindRequest),
        search().prop_map(Operation::SearchRequest),
        (text(), vec(change, 0..4))
            .prop_map(|(dn, changes)| Operation::ModifyRequest(Modify { dn, changes })),
        entry(1).prop_map(Operation::AddRequest),
        text().prop_map(Operation::DeleteRequest),
        (text(), text(), any::<bool>(), option::of(text())).prop_map(
            |(dn, new_rdn, delete_old_rdn, new_superior)| {
                Operation::ModifyDnRequest(ModifyDn { dn, new_rdn, delete_old_rdn, new_superior })
            }
        ),
        (text(), assertion())
            .prop_map(|(dn, assertion)| Operation::CompareRequest(Compare { dn, assertion })),
        (0..=i32::MAX).prop_map(Operation::AbandonRequest),
        (oid(), option::of(bytes(0..20)))
            .prop_map(|(name, value)| Operation::ExtendedRequest(Extended { name, value })),
    ]
}

fn responses() -> impl Strategy<Value = Operation<'static>> {
    prop_oneof![
        (outcome(), option::of(bytes(0..20)))
            .prop_map(|(outcome, credentials)| Operation::BindResponse(BindOutcome { outcome, credentials })),
        entry(0).prop_map(Operation::SearchEntry),
        vec(text(), 1..4).prop_map(Operation::SearchReference),
        outcome().prop_map(Operation::SearchDone),
        outcome().prop_map(Operation::ModifyResponse),
        outcome().prop_map(Operation::AddResponse),
        outcome().prop_map(Operation::DeleteResponse),
        outcome().prop_map(Operation::ModifyDnResponse),
        outcome().prop_map(Operation::CompareResponse),
        (outcome(), option::of(oid()), option::of(bytes(0..20))).prop_map(|(outcome, name, value)| {
            Operation::ExtendedResponse(ExtendedOutcome { outcome, name, value })
        }),
        (option::of(oid()), option::of(bytes(0..20)))
            .prop_map(|(name, value)| Operation::IntermediateResponse(Intermediate { name, value })),
    ]
}

pub fn message() -> impl Strategy<Value = Message<'static>> {
    let control = (oid(), any::<bool>(), option::of(bytes(0..20)))
        .prop_map(|(oid, critical, value)| Control { oid, critical, value });
    (0..=i32::MAX, prop_oneof![requests(), responses()], vec(control, 0..3))
        .prop_map(|(id, operation, controls)| Message { id, operation, controls })
}

/// Changes to bytes: (where, what), the place taken modulo the length.
pub fn mutations() -> impl Strategy<Value = Vec<(usize, u8)>> {
    vec((any::<usize>(), any::<u8>()), 1..6)
}

pub fn mutate(bytes: &mut [u8], mutations: &[(usize, u8)]) {
    for (at, byte) in mutations {
        let length = bytes.len();
        bytes[at % length] = *byte;
    }
}
