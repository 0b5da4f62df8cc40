//! For how long a member directory shows what was deleted.

use time::Duration;

use crate::directory::client::Directory;
use crate::directory::request::{Scope, Search};
use crate::ldap::filter::Filter;
use crate::sync::terms::error::SyncError;

/// Where the forest keeps it, below the configuration naming context (MS-ADTS 6.1.1.2.4.1.1).
const PLACE: &str = "CN=Directory Service,CN=Windows NT,CN=Services";
const TOMBSTONES: &str = "tombstoneLifetime";
const DELETED: &str = "msDS-deletedObjectLifetime";
/// Days when tombstoneLifetime is not set, or may not be read (MS-ADTS 6.1.1.2.4.1.1).
const DAYS: i64 = 60;

/// How long a deletion can be seen. With the recycle bin a deleted object is shown for `msDS-deletedObjectLifetime` and is then
/// recycled, without it for `tombstoneLifetime`: the shorter of the two holds either way.
pub async fn visible(directory: &mut Directory) -> Result<Duration, SyncError> {
    let root = directory.read_root_dse(&["configurationNamingContext"]).await.map_err(SyncError::Source)?;
    let Some(configuration) = root.text("configurationNamingContext") else {
        return Ok(shortest(None, None));
    };
    let any = Filter::present("objectClass");
    let search = Search::new(&format!("{PLACE},{configuration}"), Scope::Base, any, &[TOMBSTONES, DELETED]);
    let (entries, _) = directory.read(&search).await.map_err(SyncError::Source)?;
    let days = |name: &str| entries.first()?.text(name)?.parse::<i64>().ok();
    Ok(shortest(days(TOMBSTONES), days(DELETED)))
}

fn shortest(tombstones: Option<i64>, deleted: Option<i64>) -> Duration {
    let tombstones = tombstones.unwrap_or(DAYS);
    // a forest keeps nothing for less than two days, whatever is written there
    Duration::days(deleted.unwrap_or(tombstones).min(tombstones).max(2))
}

/// The part of it after which nobody relies on being told of deletions.
pub fn trusted(visible: Duration) -> Duration {
    visible * 4 / 5
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shorter_life_counts_and_nothing_known_is_sixty_days() {
        let days = |tombstones, deleted| shortest(tombstones, deleted).whole_days();
        assert_eq!((days(None, None), days(Some(180), None), days(Some(180), Some(30))), (60, 180, 30));
        assert_eq!((days(None, Some(365)), days(Some(180), Some(365)), days(Some(0), None)), (60, 180, 2));
        assert_eq!(trusted(Duration::days(60)), Duration::days(48));
    }
}
