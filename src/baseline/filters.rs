//! What is wrong with the search filters of policy documents, and with what sync scopes ask for.

use std::collections::BTreeSet;

use crate::ldap::filter::Filter;
use crate::policy::fault::{Fault, Place, Placed};
use crate::policy::scope::{SyncScope, is_told};
use crate::secret::attributes::is_secret;

/// What is wrong with a filter.
pub fn fault(filter: &Placed<String>) -> Option<Fault> {
    let parsed = match Filter::parse(&filter.value) {
        Ok(parsed) => parsed,
        Err(error) => {
            let fault = Fault::new(&filter.at, format!("this is not a search filter: {error}"));
            return Some(fault.hint("write it as in RFC 4515, for example `(objectClass=user)`"));
        }
    };
    let secret = parsed.compares(&is_secret)?;
    let message = format!("the filter holds a value against `{secret}`, which holds or may hold a secret");
    Some(Fault::new(&filter.at, message).hint(
        "only whether an attribute is there may be asked, as in `(userPassword=*)`; write it by its name",
    ))
}

/// What is wrong with the filter of a scope, and with the local attributes that it asks for. That there is no filter was told already.
pub fn of_scope(scope: &SyncScope) -> Vec<Fault> {
    let mut faults: Vec<Fault> =
        Some(&scope.filter).filter(|one| !one.value.is_empty()).and_then(fault).into_iter().collect();
    if let Ok(filter) = Filter::parse(&scope.filter.value) {
        let mut untold = BTreeSet::new();
        filter.each_attribute(&mut |name| {
            untold.extend(Some(name).filter(|name| !is_told(name)));
        });
        faults.extend(untold.into_iter().map(|name| never_told(&scope.filter.at, name)));
    }
    let named = scope.local_attributes().filter(|name| !is_told(&name.value));
    faults.extend(named.map(|name| never_told(&name.at, &name.value)));
    faults
}

fn never_told(at: &Place, name: &str) -> Fault {
    let message = format!("nobody is told when `{name}` of a person changes, so that a run would miss it");
    Fault::new(at, message)
        .hint("use an attribute of the person's own: groups and the directory itself make up this one")
}
