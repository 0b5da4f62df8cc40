//! Which domain controller answers, and what that means for the cookie: delta, complete pass, or not at all.

use serde::{Deserialize, Serialize};

use crate::directory::client::Directory;
use crate::directory::request::{Scope, Search};
use crate::ldap::filter::Filter;
use crate::sync::terms::error::SyncError;
use crate::sync::terms::guid::Guid;

/// A domain controller as it shows itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Controller {
    pub host: String,
    /// The identity of its database; none when we may not read it.
    pub invocation: Option<Guid>,
    /// highestCommittedUSN.
    pub usn: u64,
    /// False while it still builds its copy.
    pub synchronized: bool,
    pub read_only: bool,
}

/// It has less than it had.
pub const ROLLED_BACK: &str = "rolled_back";
/// It is not the one before.
pub const OTHER: &str = "other_controller";

/// What to do with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Go on from the cookie.
    Delta,
    /// Read everything, and why.
    Complete(&'static str),
    /// Do not read it, and why.
    Refuse(&'static str),
}

/// Whether the same database has less than it had.
pub fn is_set_back(kept: &Controller, seen: &Controller) -> bool {
    seen.invocation.is_some() && seen.invocation == kept.invocation && seen.usn < kept.usn
}

/// Decides. `kept` is the controller that the cookie is from.
pub fn decide(kept: Option<&Controller>, seen: &Controller) -> Decision {
    if !seen.synchronized {
        return Decision::Refuse("it still builds its copy of the directory: use another one");
    }
    if seen.read_only {
        return Decision::Refuse("it is a read-only domain controller: use a writable one");
    }
    let Some(kept) = kept else { return Decision::Complete("first") };
    let same = kept.invocation == seen.invocation;
    match (same, kept.host == seen.host) {
        _ if is_set_back(kept, seen) => Decision::Complete(ROLLED_BACK),
        (true, true) => Decision::Delta,
        (false, true) => Decision::Complete("restored"),
        // the cookie may be good on a partner; nothing proves that it has all that we have seen
        (_, false) => Decision::Complete(OTHER),
    }
}

/// Asks the controller who it is.
pub async fn identify(directory: &mut Directory) -> Result<Controller, SyncError> {
    let names = ["dsServiceName", "highestCommittedUSN", "isSynchronized", "dnsHostName"];
    let root = directory.read_root_dse(&names).await.map_err(SyncError::Source)?;
    let mut seen = Controller {
        host: root.text("dnsHostName").unwrap_or_default().to_owned(),
        invocation: None,
        usn: root.text("highestCommittedUSN").and_then(|usn| usn.parse().ok()).unwrap_or(0),
        synchronized: root.text("isSynchronized").is_none_or(|text| !text.eq_ignore_ascii_case("false")),
        read_only: false,
    };
    if let Some(service) = root.text("dsServiceName") {
        let any = Filter::present("objectClass");
        let search = Search::new(service, Scope::Base, any, &["invocationId", "msDS-isRODC"]);
        let (entries, _) = directory.read(&search).await.map_err(SyncError::Source)?;
        if let Some(entry) = entries.first() {
            seen.invocation = entry.first("invocationId").and_then(Guid::from_wire);
            seen.read_only = entry.text("msDS-isRODC").is_some_and(|text| text.eq_ignore_ascii_case("true"));
        }
    }
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_used_only_where_it_is_from() {
        let kept = Controller {
            host: "dc1".into(),
            invocation: Some(Guid([1; 16])),
            usn: 100,
            synchronized: true,
            read_only: false,
        };
        let with = |change: fn(&mut Controller)| {
            let mut seen = kept.clone();
            change(&mut seen);
            decide(Some(&kept), &seen)
        };
        assert_eq!(decide(None, &kept), Decision::Complete("first"));
        assert_eq!(with(|seen| seen.usn = 101), Decision::Delta);
        assert_eq!(with(|seen| seen.usn = 99), Decision::Complete("rolled_back"));
        assert_eq!(with(|seen| seen.invocation = Some(Guid([2; 16]))), Decision::Complete("restored"));
        assert_eq!(with(|seen| seen.host = "dc2".into()), Decision::Complete("other_controller"));
        assert!(matches!(with(|seen| seen.synchronized = false), Decision::Refuse(_)));
        assert!(matches!(with(|seen| seen.read_only = true), Decision::Refuse(_)));
    }
}
