//! Turns a panic of a future into a value.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

/// The future inside panicked. Its state is lost; what it held is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Panicked;

/// A future that gives `Err(Panicked)` when the one inside panics.
pub struct Contained<F>(Pin<Box<F>>);

/// Contains `future`.
pub fn contain<F: Future>(future: F) -> Contained<F> {
    Contained(Box::pin(future))
}

impl<F: Future> Future for Contained<F> {
    type Output = Result<F::Output, Panicked>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match catch_unwind(AssertUnwindSafe(|| self.0.as_mut().poll(context))) {
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Ok(Poll::Pending) => Poll::Pending,
            Err(_) => Poll::Ready(Err(Panicked)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_a_value() {
        assert_eq!(contain(async { 7 }).await, Ok(7));
        let panics = async {
            tokio::task::yield_now().await;
            panic!("broken");
        };
        assert_eq!(contain(panics).await, Err::<(), _>(Panicked));
    }
}
