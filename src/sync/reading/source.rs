//! Which of a member's domain controllers is read.

use crate::directory::client::Directory;
use crate::directory::endpoint::Endpoint;
use crate::sync::keeping::job::{Hands, Job, Mode};
use crate::sync::keeping::shelf::{self, Shelf};
use crate::sync::reading::read::read;
use crate::sync::terms::error::SyncError;
use crate::sync::terms::pass::{Pass, Reading};

/// The address of a controller, as it is kept.
pub fn address(endpoint: &Endpoint) -> String {
    format!("{}:{}", endpoint.host, endpoint.port)
}

/// The controllers in the order in which they are tried: first the one that the cookie is from.
pub fn order(endpoints: &[Endpoint], kept: Option<&str>) -> Vec<Endpoint> {
    let mut endpoints = endpoints.to_vec();
    // stable: the others stay in the member's order
    endpoints.sort_by_key(|endpoint| Some(address(endpoint).as_str()) != kept);
    endpoints
}

/// Reads what changed. A controller that cannot be reached or is not to be read now leaves its turn to the next; one that breaks off
/// while it is read does not: the next run goes on there.
pub async fn read_source(job: &Job, hands: &Hands, mode: Mode, shelf: &Shelf) -> Result<Pass, SyncError> {
    let source = job.source.as_ref().ok_or_else(|| SyncError::NoDirectory(job.member.clone()))?;
    let kept = shelf.value(shelf::ENDPOINT).await?.and_then(|bytes| String::from_utf8(bytes).ok());
    let mut last = SyncError::Internal("no endpoint to connect to".to_owned());
    for endpoint in order(&source.endpoints, kept.as_deref()) {
        let connected =
            Directory::connect(&endpoint, source.tls.clone(), &source.credential, &source.settings).await;
        let mut directory = match connected {
            Ok(directory) => directory,
            Err(error) => {
                last = SyncError::Source(error);
                continue;
            }
        };
        let reading = Reading {
            base: &job.source_base,
            canary: job.canary.as_deref(),
            scope: &job.scope,
            settings: &hands.settings,
            complete: mode.complete,
            endpoint: &address(&endpoint),
        };
        let read = read(&mut directory, shelf, &reading).await;
        directory.unbind().await;
        match read {
            Err(SyncError::Controller(why)) => last = SyncError::Controller(why),
            other => return other,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_controller_of_the_cookie_comes_first_and_the_others_as_the_member_named_them() {
        let endpoints = ["dc1", "dc2", "dc3"].map(|host| Endpoint::ldaps(host, 636, None));
        let order = |kept| order(&endpoints, kept).into_iter().map(|one| one.host).collect::<Vec<_>>();
        assert_eq!(order(Some("dc2:636")), ["dc2", "dc1", "dc3"]);
        assert_eq!(order(Some("gone:636")), ["dc1", "dc2", "dc3"]);
        assert_eq!(order(None), ["dc1", "dc2", "dc3"]);
    }
}
