//! Whether what changed is enough, or everything has to be read, or this controller is not to be read now.

use time::Duration;

use crate::directory::client::Directory;
use crate::sync::keeping::shelf::{self, Shelf};
use crate::sync::reading::controller::{self, Controller, Decision};
use crate::sync::reading::vector;
use crate::sync::reading::window;
use crate::sync::terms::error::SyncError;
use crate::sync::terms::pass::Reading;

/// So much time went by that deletions may have come and gone unseen.
pub const FORGOTTEN: &str = "deletions_forgotten";

/// Nothing forgets deletions sooner: until then nobody asks how long they are shown.
const ALWAYS_SHOWN: Duration = Duration::DAY;

/// Why everything is read, if it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Because {
    pub why: Option<&'static str>,
    /// It is another controller than the time before.
    pub failover: bool,
}

/// Whether another controller than before has all that the one before had shown us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CaughtUp {
    /// It says so.
    Yes,
    /// It does not say, and had enough time.
    Probably,
    No,
}

/// Decides, in this order: the controller, what is asked for, what was interrupted, who wants it, and time.
pub async fn why_complete(
    directory: &mut Directory,
    shelf: &Shelf,
    reading: &Reading<'_>,
    controller: &Controller,
    asked: &[String],
    told: bool,
) -> Result<Because, SyncError> {
    let kept: Option<Controller> = shelf.json(shelf::CONTROLLER).await?;
    let cookie = shelf.value(shelf::COOKIE).await?;
    let mut failover = false;
    if let Some(kept) = kept.as_ref().filter(|kept| kept.host != controller.host) {
        failover = true;
        // asked even when everything is read anew: a copy that is behind lacks people, and has values that are no more
        if caught_up(directory, shelf, reading, kept).await? == CaughtUp::No {
            return Err(SyncError::Controller(format!(
                "{} may not have everything yet that {} had: it is read when it says so, or in {} seconds after the last reading",
                controller.host, kept.host, reading.settings.failover_seconds
            )));
        }
    }
    let because = |why| Ok(Because { why: Some(why), failover });
    // also where a pass was broken off that had given up the cookie
    let set_back = kept.as_ref().is_some_and(|kept| controller::is_set_back(kept, controller));
    match controller::decide(kept.as_ref().filter(|_| set_back || cookie.is_some()), controller) {
        Decision::Refuse(why) => return Err(SyncError::Controller(why.to_owned())),
        Decision::Complete(why) => return because(why),
        Decision::Delta => {}
    }
    if shelf.json::<Vec<String>>(shelf::ASKED).await?.as_deref() != Some(asked) {
        return because("scope_changed");
    }
    if shelf.value(shelf::COMPLETING).await?.is_some() {
        return because("resumed");
    }
    if reading.complete {
        return because("asked_for");
    }
    // what was deleted before the right was granted is told to nobody
    if told && shelf.value(shelf::TOLD).await?.as_deref() == Some(b"no") {
        return because("deletions_told");
    }
    if told && forgotten(directory, shelf).await? {
        return because(FORGOTTEN);
    }
    let every =
        if told { reading.settings.complete_seconds } else { reading.settings.complete_blind_seconds };
    let due = age(shelf, shelf::COMPLETE_AT).await?.is_none_or(|age| age >= Duration::seconds(every.into()));
    Ok(Because { why: due.then_some("due"), failover })
}

/// How long ago a moment of the member's state is; none when it never was.
async fn age(shelf: &Shelf, key: &'static str) -> Result<Option<Duration>, SyncError> {
    let at = shelf.number(key).await?.and_then(|at| i64::try_from(at).ok());
    Ok(at.map(|at| Duration::seconds(shelf.now().unix_timestamp().saturating_sub(at))))
}

/// Whether the last reading is so long ago that a deletion may have come and gone unseen.
async fn forgotten(directory: &mut Directory, shelf: &Shelf) -> Result<bool, SyncError> {
    let Some(age) = age(shelf, shelf::READ_AT).await?.filter(|age| *age > ALWAYS_SHOWN) else {
        return Ok(false);
    };
    Ok(age > window::trusted(window::visible(directory).await?))
}

async fn caught_up(
    directory: &mut Directory,
    shelf: &Shelf,
    reading: &Reading<'_>,
    kept: &Controller,
) -> Result<CaughtUp, SyncError> {
    let position = match &kept.invocation {
        Some(invocation) => vector::position(directory, reading.base, invocation).await?,
        None => None,
    };
    if position.is_some_and(|position| position >= kept.usn) {
        return Ok(CaughtUp::Yes);
    }
    let wait = Duration::seconds(reading.settings.failover_seconds.into());
    let waited = age(shelf, shelf::READ_AT).await?.is_none_or(|age| age >= wait);
    Ok(if waited { CaughtUp::Probably } else { CaughtUp::No })
}
