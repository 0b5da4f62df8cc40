//! Reading a member directory by uSNChanged, for controllers that refuse DirSync to our account, or when the settings say so.
//!
//! The number is each controller's own and is not replicated: what was read from one says nothing about another. Whole objects come, of
//! any that changed since; deletions come from the Deleted Objects container where it may be read, else from complete passes.

use crate::directory::client::Directory;
use crate::directory::request::{RawControl, Scope as Depth, Search};
use crate::ldap::filter::Filter;
use crate::ldap::typed_control::SHOW_DELETED;
use crate::sync::keeping::shelf::Shelf;
use crate::sync::reading::arrival::{LAST_PARENT, PARENT};
use crate::sync::reading::controller::Controller;
use crate::sync::reading::staging::{Staging, in_full, with_guids};
use crate::sync::terms::error::SyncError;
use crate::sync::terms::pass::{DELETED_OBJECTS, LIVING, Pass, Reading};

/// What our cookie begins with when it is a number of this kind.
const MARK: &str = "usn:";

/// The number that a cookie holds; none when it is DirSync's.
pub fn bound(cookie: &[u8]) -> Option<u64> {
    std::str::from_utf8(cookie).ok()?.strip_prefix(MARK)?.parse().ok()
}

/// The cookie for the next time: what the controller had before it was searched, so that nothing falls between.
pub fn cookie(controller: &Controller) -> Vec<u8> {
    format!("{MARK}{}", controller.usn).into_bytes()
}

/// From which number on is asked. Changes may be committed in another order than their numbers: some are asked for again.
fn from(bound: u64, overlap: u64) -> u64 {
    bound.saturating_sub(overlap).saturating_add(1)
}

/// Reads what changed after `bound`, or with none everything, and stages it. An error, whatever it is, leaves the bound as it was.
pub async fn poll(
    directory: &mut Directory,
    shelf: &Shelf,
    reading: &Reading<'_>,
    (number, asked): (u64, &[String]),
    bound: Option<u64>,
    pass: &mut Pass,
) -> Result<bool, SyncError> {
    let from = bound.map(|bound| from(bound, u64::from(reading.settings.usn_overlap)));
    let since = |filter: &str| {
        let text = match from {
            Some(from) => format!("(&(uSNChanged>={from}){filter})"),
            None => filter.to_owned(),
        };
        Filter::parse(&text).map(Filter::into_owned).map_err(|error| SyncError::Internal(error.to_string()))
    };
    let page = directory.settings().page_size;
    let names: Vec<&str> = asked.iter().map(String::as_str).collect();
    let mut staging = Staging::new(shelf, number, pass.complete);
    staging.whole(Some(asked));
    let living = Search::new(reading.base, Depth::Subtree, since(LIVING)?, &names).paged(page);
    pages(directory, &living.control(with_guids()), &mut staging, pass).await?;
    if let Some(guid) = staging.placeless {
        // without its place an object seems to be outside of every scope
        return Err(SyncError::Unreadable(format!(
            "{PARENT} of the object {guid} is not told: let the account read it"
        )));
    }
    staging.whole(None);
    if pass.deletions_told {
        let container = format!("<WKGUID={DELETED_OBJECTS},{}>", reading.base);
        let names = ["objectGUID", "isDeleted", LAST_PARENT];
        let gone = Search::new(&container, Depth::One, since("(isDeleted=TRUE)")?, &names).paged(page);
        let gone = gone.control(RawControl::critical(SHOW_DELETED)).control(with_guids());
        pages(directory, &gone, &mut staging, pass).await?;
    }
    pass.objects += staging.objects;
    pass.deleted += staging.deleted;
    let (changed, partial) = (staging.changed > 0, staging.partial);
    in_full(directory, shelf, asked, number, partial).await?;
    Ok(changed)
}

async fn pages(
    directory: &mut Directory,
    search: &Search,
    staging: &mut Staging<'_>,
    pass: &mut Pass,
) -> Result<(), SyncError> {
    let done = directory.search_into(search, staging).await;
    let done = done.map_err(|broken| broken.in_directory(SyncError::Source))?;
    if !done.is_complete() {
        return Err(incomplete(done.code));
    }
    pass.pages += u64::from(done.pages);
    staging.shelf().meter.pages(u64::from(done.pages));
    staging.flush().await
}

/// A search that did not bring everything that it was to bring.
pub fn incomplete(code: u32) -> SyncError {
    SyncError::Unreadable(format!("a page ended with result code {code}: it is incomplete and not used"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_before_the_search_counts_and_some_are_asked_for_again() {
        let controller = Controller { usn: 5_000, ..Controller::default() };
        assert_eq!(bound(&cookie(&controller)), Some(5_000));
        assert_eq!((from(5_000, 500), from(5_000, 0), from(3, 500)), (4_501, 5_001, 1));
        for other in [&b"usn:"[..], b"usn:x", b"MSDS\x03\0\0\0", b"", b"\xff"] {
            assert_eq!(bound(other), None);
        }
    }
}
