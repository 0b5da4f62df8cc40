//! Who takes what a search brings.

use std::future::Future;

use crate::directory::error::DirectoryError;
use crate::ldap::entry::Entry;

/// Takes entries as they come, some at a time. The directory waits until it is done with them: what it cannot take at once stays
/// in the network, and not in memory.
pub trait Sink: Send {
    type Error: From<DirectoryError> + Send;

    /// Takes some entries, in the order in which they came. An error ends the search.
    fn take(&mut self, entries: Vec<Entry>) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// Gives each entry to a function that needs no time to speak of.
#[derive(Debug)]
pub struct Each<F>(pub F);

impl<F: FnMut(Entry) + Send> Sink for Each<F> {
    type Error = DirectoryError;

    async fn take(&mut self, entries: Vec<Entry>) -> Result<(), DirectoryError> {
        entries.into_iter().for_each(&mut self.0);
        Ok(())
    }
}
