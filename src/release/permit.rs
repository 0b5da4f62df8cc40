//! A yes and everything that it is bound to. Only [`decide`](crate::release::decide) makes one.

use std::sync::Arc;

use time::{Duration, OffsetDateTime};

use crate::ldap::filter::Filter;
use crate::policy::documents::FilterRules;
use crate::policy::terms::Target;
use crate::release::agreement::Agreement;
use crate::release::hide;
use crate::release::listing::Reserve;
use crate::release::shape;
use crate::release::view::View;

/// A yes. It names what may be asked and shown, and it ends.
#[derive(Debug, Clone)]
pub struct Permit {
    agreement: Arc<Agreement>,
    target: Target,
    until: OffsetDateTime,
}

impl Permit {
    /// `until`: when whatever else the yes rests on ends (the requester's proof, the gate decisions).
    pub(in crate::release) fn new(
        agreement: &Arc<Agreement>,
        target: &Target,
        until: OffsetDateTime,
    ) -> Permit {
        Permit {
            agreement: Arc::clone(agreement),
            target: target.clone(),
            until: until.min(agreement.until()),
        }
    }

    /// The directory that may be asked.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// What exists. The same `Arc` for every permit of one agreement: a key for what is compiled per view.
    pub fn view(&self) -> &Arc<View> {
        self.agreement.view()
    }

    /// An entry that does not match is as if it were not there. Over federated names, of which it may use hidden ones;
    /// to be sent along, never concealed.
    pub fn entry_filter(&self) -> Option<&Filter<'static>> {
        self.agreement.entry_filter()
    }

    /// [`Permit::entry_filter`] for a search with this concealed filter: people who are found by their exact address only
    /// exist for whoever names it.
    pub fn entry_filter_for(&self, concealed: &Filter<'_>) -> Option<&Filter<'static>> {
        self.agreement.entry_filter_for(concealed)
    }

    /// [`Permit::entry_filter`] for whoever names an exact address, when it is another (the inner `None`: every entry).
    pub fn entry_filter_by_address(&self) -> Option<Option<&Filter<'static>>> {
        self.agreement.entry_filter_by_address()
    }

    /// Which shapes of filter are taken.
    pub fn filters(&self) -> &FilterRules {
        self.agreement.filters()
    }

    /// People who do not have some of the attributes for this requester.
    pub fn reserve(&self) -> Option<&Reserve> {
        self.agreement.reserve()
    }

    /// Why a filter has a shape that the agreement does not take, for the requester.
    pub fn filter_fault(&self, filter: &Filter<'_>) -> Option<&'static str> {
        let rules = self.agreement.filters();
        if *rules == FilterRules::default() {
            return None;
        }
        shape::fault(&hide::conceal(filter, self.view()), rules)
    }

    /// Entries per search, applied after everything that is withheld was withheld.
    pub fn size_limit(&self) -> u32 {
        self.agreement.limits().size
    }

    /// Time per operation.
    pub fn time_limit(&self) -> Duration {
        self.agreement.limits().time
    }

    /// Operations per second and requester.
    pub fn rate(&self) -> u32 {
        self.agreement.limits().rate
    }

    /// Operations at once and requester.
    pub fn in_flight(&self) -> u32 {
        self.agreement.limits().in_flight
    }

    /// When the yes ends: the agreement, the requester's proof or a gate decision, whichever ends first.
    pub fn until(&self) -> OffsetDateTime {
        self.until
    }

    /// The id of the release agreement, for the audit record.
    pub fn agreement(&self) -> &str {
        self.agreement.id()
    }

    /// What the agreement is for, for the audit record.
    pub fn purpose(&self) -> &str {
        self.agreement.purpose()
    }
}
