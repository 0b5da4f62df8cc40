//! Somebody asks for an end: a person at the keyboard, or whoever stops the gateway. What only reads ends where it is; what writes ends after
//! the batch that is under way, so that the lease is never given back while a write may still be sent.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::watch;

use crate::sync::terms::error::SyncError;

/// Whether an end was asked for. Every copy is the same one, and it is never taken back.
#[derive(Debug, Clone)]
pub struct Interruption(Arc<watch::Sender<bool>>);

impl Default for Interruption {
    fn default() -> Self {
        Interruption(Arc::new(watch::channel(false).0))
    }
}

impl Interruption {
    /// Asks for an end.
    pub fn ask(&self) {
        self.0.send_replace(true);
    }

    /// Whether it was asked for.
    pub fn is_asked(&self) -> bool {
        *self.0.borrow()
    }

    /// Does what may be dropped anywhere, so nothing that writes to the national directory; [`SyncError::Interrupted`] as soon as an end is
    /// asked for.
    pub fn unless<T>(
        &self,
        work: impl Future<Output = Result<T, SyncError>>,
    ) -> impl Future<Output = Result<T, SyncError>> {
        let (mut asked, work) = (self.0.subscribe(), Box::pin(work));
        async move {
            tokio::select! {
                biased;
                // the sender is ours: it is never gone
                _ = asked.wait_for(|asked| *asked) => Err(SyncError::Interrupted),
                done = work => done,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_may_be_dropped_ends_as_soon_as_it_is_asked_for() {
        let interruption = Interruption::default();
        assert_eq!(interruption.unless(async { Ok(1) }).await.unwrap(), 1);
        let forever = std::future::pending::<Result<(), SyncError>>();
        let (copy, never) = (interruption.clone(), interruption.unless(forever));
        let (ended, ()) = tokio::join!(never, async { copy.ask() });
        assert!(matches!(ended, Err(SyncError::Interrupted)));
        let begun = interruption.unless(async { panic!("it is not even begun") });
        assert!(matches!(begun.await, Err::<(), _>(SyncError::Interrupted)) && interruption.is_asked());
    }
}
