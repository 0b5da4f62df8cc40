//! Attributes that the schema itself keeps from ordinary accounts, whatever the lists of access say.

use std::collections::BTreeSet;

use crate::assess::plan::PlannedSearch;
use crate::assess::probes::logon::Session;
use crate::assess::probes::unseen::{Reach, Unseen};
use crate::assess::settings::Settings;
use crate::directory::request::{Scope, Search};
use crate::ldap::filter::Filter;

/// Attributes with fCONFIDENTIAL in `searchFlags` ([MS-ADTS] section 3.1.1.2.3): to read one takes a right of its own, which is not
/// ours to have. A directory lets whoever rules its schema set it on nearly every attribute.
const CONFIDENTIAL: &str = "(searchFlags:1.2.840.113556.1.4.803:=128)";
/// What the sweeps rest on, beside what the planned searches ask for.
const SWEPT: [&str; 7] = [
    "adminCount",
    "gPLink",
    "member",
    "nTSecurityDescriptor",
    "objectClass",
    "objectSid",
    "userAccountControl",
];

/// What is not seen for it, anywhere in the domain and the configuration.
pub async fn probe(session: &mut Session, searches: &[PlannedSearch], settings: &Settings) -> Vec<Unseen> {
    let reasons = match hidden(session, settings).await {
        Err(reason) => vec![format!("whether the schema hides attributes cannot be told: {reason}")],
        Ok(hidden) => {
            let asked = searches.iter().flat_map(|search| search.attributes.iter().map(String::as_str));
            let asked: BTreeSet<String> = asked.chain(SWEPT).map(str::to_lowercase).collect();
            let mine = hidden.iter().filter(|name| asked.contains(&name.to_lowercase()));
            mine.map(|name| format!("the schema hides `{name}` from ordinary accounts (searchFlags)"))
                .collect()
        }
    };
    let contexts = &session.contexts;
    let everywhere = |reason: String| {
        [&contexts.domain, &contexts.configuration].map(|dn| Unseen::new(dn, Reach::Both, reason.clone()))
    };
    reasons.into_iter().flat_map(everywhere).collect()
}

async fn hidden(session: &mut Session, settings: &Settings) -> Result<Vec<String>, String> {
    let filter = Filter::parse(CONFIDENTIAL).map_err(|error| error.to_string())?;
    let search = Search::new(&session.contexts.schema, Scope::One, filter, &["lDAPDisplayName"])
        .paged(settings.directory.page_size);
    let (entries, done) = session.directory.read(&search).await.map_err(|error| error.to_string())?;
    match done.is_complete() {
        true => Ok(entries.iter().filter_map(|e| e.text("lDAPDisplayName").map(str::to_owned)).collect()),
        false => Err(format!("a search of the schema ended with result code {}", done.code)),
    }
}
