//! Signs of life on standard error while a directory is asked, for a person who waits. When standard error is no terminal
//! nothing is said: it would only fill somebody's log.

use std::future::Future;
use std::time::{Duration, Instant};

use crate::cli::context::Context;

/// How often a person hears that it goes on.
const EVERY: Duration = Duration::from_secs(5);

/// Does the work; says `what` it is when it begins, and every few seconds how long it has taken.
pub async fn told<T>(context: &Context, what: &str, work: impl Future<Output = T>) -> T {
    if !context.is_watched() {
        return work.await;
    }
    context.note(format_args!("{what} ..."));
    let began = Instant::now();
    let mut work = std::pin::pin!(work);
    loop {
        match tokio::time::timeout(EVERY, &mut work).await {
            Ok(done) => return done,
            Err(_) => context.note(format_args!("... {} s passed, still at it", began.elapsed().as_secs())),
        }
    }
}
