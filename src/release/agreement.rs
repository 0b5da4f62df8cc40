//! Release agreements, compiled from policy documents.

use std::collections::BTreeSet;
use std::sync::Arc;

use time::OffsetDateTime;

use crate::ldap::filter::Filter;
use crate::policy::documents::{
    AudienceCategory, AuthenticatedBy, FilterRules, Members, Release, ReleaseLimits, Targets,
};
use crate::policy::fault::{Fault, Placed};
use crate::policy::terms::{OdsCode, Target};
use crate::release::hide;
use crate::release::listing::{self, Listing, Reserve};
use crate::release::requester::{Authentication, Category, Operation, Requester};
use crate::release::spelling;
use crate::release::view::View;

/// One agreement: who may see what of which entries, how much, until when.
#[derive(Debug)]
pub struct Agreement {
    id: String,
    purpose: String,
    category: Category,
    /// Empty: any way but a password, which must be named to count.
    authenticated_by: BTreeSet<Authentication>,
    members: Members,
    /// Applications by name; empty: every one.
    names: Vec<String>,
    targets: Targets,
    view: Arc<View>,
    entries: Option<Filter<'static>>,
    /// For searches that know the exact address, when that makes a difference.
    entries_by_address: Option<Option<Filter<'static>>>,
    reserve: Option<Reserve>,
    population: Arc<str>,
    filters: FilterRules,
    limits: ReleaseLimits,
    from: Option<OffsetDateTime>,
    until: OffsetDateTime,
}

impl Agreement {
    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn purpose(&self) -> &str {
        &self.purpose
    }

    pub fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// Over federated names; see [`Permit::entry_filter`](crate::release::permit::Permit::entry_filter).
    pub fn entry_filter(&self) -> Option<&Filter<'static>> {
        self.entries.as_ref()
    }

    /// The entry filter for a search with this concealed filter: whoever knows somebody's exact address finds more.
    pub fn entry_filter_for(&self, concealed: &Filter<'_>) -> Option<&Filter<'static>> {
        match &self.entries_by_address {
            Some(entries) if listing::knows_address(concealed) => entries.as_ref(),
            _ => self.entries.as_ref(),
        }
    }

    /// Which people exist for whom, as a text: agreements with the same let the same people exist, with the same attributes of
    /// contact.
    pub fn population(&self) -> &Arc<str> {
        &self.population
    }

    /// See [`Permit::entry_filter_by_address`](crate::release::permit::Permit::entry_filter_by_address).
    pub fn entry_filter_by_address(&self) -> Option<Option<&Filter<'static>>> {
        self.entries_by_address.as_ref().map(Option::as_ref)
    }

    /// People who are listed without some attributes.
    pub fn reserve(&self) -> Option<&Reserve> {
        self.reserve.as_ref()
    }

    /// Which shapes of filter are taken.
    pub fn filters(&self) -> &FilterRules {
        &self.filters
    }

    pub fn limits(&self) -> &ReleaseLimits {
        &self.limits
    }

    pub fn until(&self) -> OffsetDateTime {
        self.until
    }

    /// Where it lets its audience look.
    pub fn targets(&self) -> &Targets {
        &self.targets
    }

    /// Whether the agreement covers a request.
    pub fn matches(
        &self,
        requester: &Requester,
        operation: Operation,
        target: &Target,
        now: OffsetDateTime,
    ) -> bool {
        self.targets.cover(target) && self.is_with(requester, operation, now)
    }

    /// Whether the agreement is in force and with this requester, wherever it looks.
    pub fn is_with(&self, requester: &Requester, operation: Operation, now: OffsetDateTime) -> bool {
        // Whoever may search may compare: a compare tells no more than a search for the same value.
        let (Operation::Search | Operation::Compare) = operation;
        self.from.is_none_or(|from| now >= from)
            && now < self.until
            && requester.category == self.category
            && self.takes(requester.authentication)
            && match (&requester.member, &self.members) {
                (_, Members::All) => true,
                (Some(member), members) => members.contains(member),
                (None, _) => false,
            }
            && (self.names.is_empty()
                || requester.name.as_ref().is_some_and(|name| self.names.contains(name)))
    }

    /// Whether this proof is enough. A password must be named: it is what a requester can give away.
    fn takes(&self, authentication: Authentication) -> bool {
        match self.authenticated_by.is_empty() {
            true => authentication != Authentication::Password,
            false => self.authenticated_by.contains(&authentication),
        }
    }

    /// Why the agreement does not cover a request; `None` when it does. For reasons and explanations, never sent.
    pub fn mismatch(
        &self,
        requester: &Requester,
        operation: Operation,
        target: &Target,
        now: OffsetDateTime,
    ) -> Option<String> {
        if self.matches(requester, operation, target, now) {
            return None;
        }
        if self.from.is_some_and(|from| now < from) {
            return Some("is not in force yet".to_owned());
        }
        if now >= self.until {
            return Some("has ended".to_owned());
        }
        if requester.category != self.category {
            let (ours, theirs) = (self.category.as_str(), requester.category.as_str());
            return Some(format!("is with category {ours}, the requester is of category {theirs}"));
        }
        if !self.takes(requester.authentication) {
            let mut ways: Vec<&str> = self.authenticated_by.iter().map(|a| a.as_str()).collect();
            if ways.is_empty() {
                ways.extend([Authentication::Smartcard.as_str(), Authentication::Certificate.as_str()]);
            }
            let way = requester.authentication.as_str();
            return Some(format!(
                "asks for authentication by {}, the requester used {way}",
                ways.join(" or ")
            ));
        }
        match (&requester.member, &self.members) {
            (_, Members::All) => {}
            (Some(member), members) if members.contains(member) => {}
            _ => return Some("is not with the requester's member".to_owned()),
        }
        if !self.names.is_empty() && !requester.name.as_ref().is_some_and(|name| self.names.contains(name)) {
            return Some("is not with this application".to_owned());
        }
        Some(format!("does not cover {target}"))
    }
}

/// Every agreement of a policy set, in document order.
#[derive(Debug, Default)]
pub struct Agreements {
    list: Vec<Arc<Agreement>>,
}

impl Agreements {
    /// Checks and compiles the `Release` documents of a policy set, in their order.
    ///
    /// # Errors
    ///
    /// Every fault of every document: an attribute that is never released, a linked attribute without its other side,
    /// a view without `cn` (names carry it), an entry filter that does not parse, an empty list, a repeated id.
    pub fn compile<'a>(
        documents: impl IntoIterator<Item = &'a Release, IntoIter: Clone>,
    ) -> Result<Agreements, Vec<Fault>> {
        let documents = documents.into_iter();
        let mut faults: Vec<Fault> = documents.clone().flat_map(name_faults).collect();
        match Agreements::compile_where_nobody_is_named(documents) {
            Ok(agreements) if faults.is_empty() => Ok(agreements),
            Ok(_) => Err(faults),
            Err(others) => {
                faults.extend(others);
                Err(faults)
            }
        }
    }

    /// The same for directories of which it is known that nobody who is left out of a listing is named by others: an
    /// agreement with a listing may release names of people there. No directory that people keep is one.
    ///
    /// # Errors
    ///
    /// See [`Agreements::compile`].
    pub fn compile_where_nobody_is_named<'a>(
        documents: impl IntoIterator<Item = &'a Release>,
    ) -> Result<Agreements, Vec<Fault>> {
        let mut faults = Vec::new();
        let mut list: Vec<Arc<Agreement>> = Vec::new();
        for document in documents {
            if list.iter().any(|a| a.id == document.id) {
                faults.push(Fault::new(
                    &document.at,
                    format!("release agreement `{}` exists twice", document.id),
                ));
            }
            attribute_faults(document, &mut faults);
            let entries = match document.entries.as_ref().map(entry_filter).transpose() {
                Ok(entries) => entries,
                Err(fault) => {
                    faults.push(fault);
                    None
                }
            };
            let listing = document.listing.as_deref().map(Listing::of);
            let existing = match &listing {
                Some(listing) => listing.entries(entries.as_ref(), false),
                None => entries.clone(),
            };
            let reserve = listing.as_ref().and_then(Listing::reserve);
            list.push(Arc::new(Agreement {
                id: document.id.clone(),
                purpose: document.purpose.clone(),
                category: category(document.audience.category),
                authenticated_by: document
                    .audience
                    .authenticated_by
                    .iter()
                    .map(|a| authentication(*a))
                    .collect(),
                members: document.audience.members.clone(),
                names: document.audience.names.iter().map(|n| n.value.clone()).collect(),
                targets: document.targets.clone(),
                view: Arc::new(View::new(document.attributes.iter().map(|a| a.value.as_str()))),
                population: population(existing.as_ref(), reserve.as_ref()),
                entries: existing,
                entries_by_address: listing
                    .as_ref()
                    .filter(|listing| listing.has_by_address())
                    .map(|listing| listing.entries(entries.as_ref(), true)),
                reserve,
                filters: document.filters,
                limits: document.limits,
                from: document.from,
                until: document.until,
            }));
        }
        if faults.is_empty() { Ok(Agreements { list }) } else { Err(faults) }
    }

    /// Whether any agreement in force is with persons of `member` who proved a password: without one there is no reason to
    /// take a password at all.
    pub fn takes_passwords(&self, member: &OdsCode, now: OffsetDateTime) -> bool {
        self.list.iter().any(|agreement| {
            let in_force = agreement.from.is_none_or(|from| from <= now) && now < agreement.until;
            let with = agreement.members.contains(member);
            in_force
                && with
                && agreement.category == Category::Person
                && agreement.authenticated_by.contains(&Authentication::Password)
        })
    }

    /// Those in force and with this requester, in document order: of those that cover a directory the first decides.
    pub fn with<'a>(
        &'a self,
        requester: &'a Requester,
        operation: Operation,
        now: OffsetDateTime,
    ) -> impl Iterator<Item = &'a Arc<Agreement>> {
        self.list.iter().filter(move |agreement| agreement.is_with(requester, operation, now))
    }

    /// In document order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Agreement>> {
        self.list.iter()
    }
}

/// Attributes whose values name people would name those whom the listing leaves out.
fn name_faults(document: &Release) -> Vec<Fault> {
    if !document.listing.as_deref().map(Listing::of).is_some_and(|listing| listing.leaves_out()) {
        return Vec::new();
    }
    let view = View::new(document.attributes.iter().map(|a| a.value.as_str()));
    let names_people = |attribute: &&Placed<String>| {
        view.resolve(&attribute.value).is_some_and(|visible| {
            visible.syntax == spelling::Syntax::Name && !visible.name.eq_ignore_ascii_case("memberOf")
        })
    };
    let fault = |attribute: &Placed<String>| {
        let message = format!("`{}` names people, also those whom `listing` leaves out", attribute.value);
        Fault::new(&attribute.at, message)
            .hint("remove it, or release it in an agreement for those who may see everybody")
    };
    document.attributes.iter().filter(names_people).map(fault).collect()
}

fn category(written: AudienceCategory) -> Category {
    match written {
        AudienceCategory::Person => Category::Person,
        AudienceCategory::Connector => Category::Connector,
        AudienceCategory::Application => Category::Application,
    }
}

fn authentication(written: AuthenticatedBy) -> Authentication {
    match written {
        AuthenticatedBy::Smartcard => Authentication::Smartcard,
        AuthenticatedBy::Certificate => Authentication::Certificate,
        AuthenticatedBy::Password => Authentication::Password,
    }
}

fn population(entries: Option<&Filter<'_>>, reserve: Option<&Reserve>) -> Arc<str> {
    let entries = entries.map_or_else(|| "(&)".to_owned(), ToString::to_string);
    match reserve {
        None => entries.into(),
        Some(reserve) => format!("{entries} {reserve:?}").into(),
    }
}

fn entry_filter(text: &Placed<String>) -> Result<Filter<'static>, Fault> {
    Filter::parse(&text.value).map(hide::spelled).map_err(|e| {
        Fault::new(&text.at, format!("`entries` is not a filter: {e}"))
            .hint("write it as RFC 4515 does, for example `(&(objectClass=person)(!(notListed=TRUE)))`")
    })
}

fn attribute_faults(document: &Release, faults: &mut Vec<Fault>) {
    for attribute in &document.attributes {
        let (name, options) = spelling::split(&attribute.value);
        if options.is_some() || name.is_empty() {
            faults.push(
                Fault::new(&attribute.at, format!("`{}` is not an attribute name", attribute.value))
                    .hint("write the name without options; its options are released with it"),
            );
        } else if let Some(why) = spelling::never(name) {
            faults.push(
                Fault::new(&attribute.at, format!("`{name}` is never released: {why}")).hint("remove it"),
            );
        }
    }
    let view = View::new(document.attributes.iter().map(|a| a.value.as_str()));
    for contact in document.listing.iter().flat_map(|listing| &listing.contact) {
        if spelling::split(&contact.value).0.eq_ignore_ascii_case("objectClass")
            || hide::federated_name(&contact.value) == "cn"
        {
            let fault =
                Fault::new(&contact.at, format!("`{}` cannot be left out of a listing", contact.value));
            faults.push(fault.hint("an entry always has objectClass, and its name carries cn"));
        }
    }
    if !view.visible("cn") {
        faults.push(
            Fault::new(&document.at, format!("release agreement `{}` leaves out `cn`", document.id))
                .hint("the names of entries carry cn, so it cannot be hidden; add it"),
        );
    }
    for (tells, told, why) in spelling::TELLS {
        if !view.visible(tells) || view.visible(told) {
            continue;
        }
        let message = format!("`{tells}` is released and `{told}`, which {why}, is not");
        faults.push(Fault::new(&document.at, message).hint(format!("add `{told}` or remove `{tells}`")));
    }
}
