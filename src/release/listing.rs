//! People who asked not to be listed, or not wholly: four levels, kept in one attribute of the member directory.

use crate::ldap::filter::Filter;
use crate::policy::documents;
use crate::release::hide;

/// What an agreement makes of the wishes of people. Names are federated ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    attribute: String,
    not_findable: Vec<String>,
    by_address_only: Vec<String>,
    without_contact: Vec<String>,
    contact: Vec<String>,
}

/// People who are listed without these attributes: for the requester they do not have them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reserve {
    /// The federated attribute that holds the wish.
    pub attribute: String,
    /// The values that mean it; case does not count.
    pub values: Vec<String>,
    /// The federated attributes that such a person does not have.
    pub contact: Vec<String>,
}

impl Listing {
    pub(in crate::release) fn of(written: &documents::Listing) -> Listing {
        let name = |name: &str| hide::federated_name(name).to_owned();
        Listing {
            attribute: name(&written.attribute.value),
            not_findable: written.not_findable.clone(),
            by_address_only: written.by_address_only.clone(),
            without_contact: written.without_contact.clone(),
            contact: written.contact.iter().map(|one| name(&one.value)).collect(),
        }
    }

    /// The agreement's entry filter with the people left out who are not findable, and, unless the search knows the exact
    /// address, those who are found by it only.
    pub(in crate::release) fn entries(
        &self,
        entries: Option<&Filter<'static>>,
        knows_address: bool,
    ) -> Option<Filter<'static>> {
        let by_address: &[String] = if knows_address { &[] } else { &self.by_address_only };
        let left_out = self.not_findable.iter().chain(by_address);
        let left_out =
            left_out.map(|value| Filter::equal(self.attribute.clone(), value.clone().into_bytes()).negate());
        let mut all: Vec<Filter<'static>> = entries.cloned().into_iter().chain(left_out).collect();
        match all.len() {
            0 | 1 => all.pop(),
            _ => Some(Filter::And(all)),
        }
    }

    /// Whether anybody is not found by everybody.
    pub(in crate::release) fn leaves_out(&self) -> bool {
        !self.not_findable.is_empty() || self.has_by_address()
    }

    /// Whether anybody is found by the exact address only.
    pub(in crate::release) fn has_by_address(&self) -> bool {
        !self.by_address_only.is_empty()
    }

    pub(in crate::release) fn reserve(&self) -> Option<Reserve> {
        (!self.without_contact.is_empty() && !self.contact.is_empty()).then(|| Reserve {
            attribute: self.attribute.clone(),
            values: self.without_contact.clone(),
            contact: self.contact.clone(),
        })
    }
}

/// Whether a concealed filter is true only of entries whose mail address it names in full.
pub fn knows_address(filter: &Filter<'_>) -> bool {
    match filter {
        Filter::And(parts) => parts.iter().any(knows_address),
        Filter::Or(parts) => !parts.is_empty() && parts.iter().all(knows_address),
        Filter::Equality(a) => a.attribute == "mail" && a.value.contains(&b'@'),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_known_when_nothing_else_can_match() {
        for (filter, knows) in [
            ("(mail=a@b)", true),
            ("(&(objectClass=person)(|(mail=a@b)(mail=c@d)))", true),
            ("(|)", false),
            ("(mail=a)", false),
            ("(mail=a@*)", false),
            ("(!(mail=a@b))", false),
            ("(|(mail=a@b)(cn=x))", false),
            ("(&(cn=a@b)(mail=*))", false),
        ] {
            assert_eq!(knows_address(&Filter::parse(filter).unwrap()), knows, "{filter}");
        }
    }
}
