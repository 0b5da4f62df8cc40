//! Places that paged and sorted searches hold between two pages: when all are taken, whoever holds the most loses its
//! oldest one to whoever holds few, so that nobody keeps others from paging and sorting.

use crate::ldap::message::ResultCode;
use crate::proxy::engine::answer::Answer;
use crate::proxy::engine::core::Engine;
use crate::proxy::engine::extras::Extras;
use crate::proxy::engine::operation::Operation;
use crate::proxy::engine::parked::Parked;
use crate::release::requester::Requester;

const TOO_MANY: &str = "too many paged searches at once; try again later";

impl Engine {
    /// Whether `requester` may begin one more paged search; makes room for it where it can.
    pub(super) fn admit_walk(&mut self, requester: &Requester) -> Result<(), Answer> {
        let (all, own) = self.held(&requester.id, |extras| extras.walk.is_some());
        let may = own < self.settings.walks_per_requester
            && (all < self.settings.walks || self.make_room(requester, own, |_| true));
        if may {
            return Ok(());
        }
        self.metrics.busy.with_label_values(&["paged_searches"]).inc();
        Err(Answer::new(ResultCode::BUSY, TOO_MANY))
    }

    /// Whether `requester` may have one more sorted result; makes room for it where it can.
    pub(super) fn admit_sort(&mut self, requester: &Requester) -> bool {
        let (all, own) = self.held(&requester.id, Extras::is_sorted);
        own < self.settings.sorts_per_requester
            && (all < self.settings.sorts
                || self.make_room(requester, own, |parked| parked.extras.is_sorted()))
    }

    /// Of what runs or is parked and is chosen by `of`: how many there are, and how many of them are the requester's.
    fn held(&self, requester: &str, of: impl Fn(&Extras) -> bool) -> (usize, usize) {
        let running = self.operations.iter().filter_map(|(_, operation)| {
            operation.extras.as_deref().map(|extras| (operation.requester.as_ref(), extras))
        });
        let parked =
            self.walks.parked.iter().map(|(_, parked)| (parked.requester.as_ref(), parked.extras.as_ref()));
        let chosen = running.chain(parked).filter(|(_, extras)| of(extras));
        chosen.fold((0, 0), |(all, own), (who, _)| (all + 1, own + usize::from(who.id == requester)))
    }

    /// What is held between requests, for whoever looks at the gauges.
    pub(super) fn count_held(&mut self) {
        let (sorts, _) = self.held("", Extras::is_sorted);
        self.sorts_held.set(sorts);
        self.walks_waiting.set(self.walks.parked.len());
    }

    /// Ends the oldest parked search, of those that `of` chooses, of whoever has the most of them; false when that would not
    /// be fairer: nobody has two more than the `own` ones of this requester.
    pub(super) fn make_room(
        &mut self,
        requester: &Requester,
        own: usize,
        of: impl Fn(&Parked) -> bool,
    ) -> bool {
        let Some((count, place)) = self.walks.greediest(&requester.id, of) else { return false };
        if count <= own + 1 {
            return false;
        }
        self.forget_walk(place);
        true
    }

    /// Operations of this requester that are chosen by `of`.
    pub(super) fn running(&self, requester: &Requester, of: impl Fn(&Operation) -> bool) -> usize {
        let own = self.operations.iter().filter(|(_, operation)| operation.requester.id == requester.id);
        own.filter(|(_, operation)| of(operation)).count()
    }
}

#[cfg(test)]
mod tests;
