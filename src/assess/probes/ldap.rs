//! How a controller treats those who should not get in. Only made-up names are used, so that no account is ever locked.

use std::fmt::Write as _;
use std::sync::Arc;

use rustls::ClientConfig;

use crate::ambient::chance;
use crate::ambient::clock::Clock;
use crate::assess::gathered::{Gathered, Stopwatch};
use crate::assess::settings::Settings;
use crate::assess::target::Target;
use crate::baseline::facts::Fact;
use crate::directory;
use crate::directory::client::Directory;
use crate::directory::endpoint::{Endpoint, Transport};
use crate::directory::error::DirectoryError;
use crate::directory::request::{Scope, Search};
use crate::ldap::filter::Filter;

/// What it finds.
pub const NAMES: [&str; 3] =
    ["ldap.cleartext_simple_bind", "ldap.anonymous_search", "ldap.unauthenticated_bind"];

/// Result codes (RFC 4511 appendix A) with which a directory refuses before it looks at the password.
const REFUSED_BEFORE_LOOKING: [u32; 2] = [8, 13];

/// Facts `ldap.*` over all reachable controllers: true when any of them lets it happen.
pub async fn probe(
    target: &Target,
    reachable: &[Endpoint],
    tls: &Arc<ClientConfig>,
    settings: &Settings,
    clock: &Clock,
) -> Gathered {
    let mut gathered = Gathered::default();
    let mut found: [Vec<Result<bool, String>>; 3] = Default::default();
    let [cleartext, anonymous, unauthenticated] = &mut found;
    let plain_port = settings.plain_port;
    let settings = &settings.for_probes();
    for controller in reachable {
        let watch = Stopwatch::start(clock);
        let plain = controller.with(plain_port, Transport::Plain);
        cleartext.push(cleartext_simple_bind(target, &plain, tls, settings).await);
        anonymous.push(anonymous_search(target, controller, tls, settings).await);
        unauthenticated.push(unauthenticated_bind(target, controller, tls, settings).await);
        let place = format!("{}:{}", controller.host, controller.port);
        gathered.provenance.push(watch.provenance(
            "ldap",
            "binds with made-up names, a search as nobody",
            &place,
        ));
    }
    for (name, found) in NAMES.iter().zip(found) {
        gathered.set(name, any(found));
    }
    gathered
}

/// True when it happens at any controller; known false when it happens at none.
pub fn any(found: Vec<Result<bool, String>>) -> Fact {
    if found.is_empty() {
        return Fact::Failed("no controller could be reached".to_owned());
    }
    if found.contains(&Ok(true)) {
        return Fact::boolean(true);
    }
    match found.into_iter().find_map(Result::err) {
        Some(reason) => Fact::Failed(reason),
        None => Fact::boolean(false),
    }
}

/// True when a password sent in the clear would be looked at.
async fn cleartext_simple_bind(
    target: &Target,
    plain: &Endpoint,
    tls: &Arc<ClientConfig>,
    settings: &directory::settings::Settings,
) -> Result<bool, String> {
    let mut directory = match Directory::open(plain, Arc::clone(tls), settings).await {
        Ok(directory) => directory,
        // nothing listens there
        Err(DirectoryError::Unreachable { .. }) => return Ok(false),
        Err(error) => return Err(error.to_string()),
    };
    let (name, password) = made_up(target).map_err(|error| error.to_string())?;
    match directory.try_bind(&name, &password).await {
        Ok(outcome) => Ok(!REFUSED_BEFORE_LOOKING.contains(&outcome.code)),
        // hanging up is a refusal too
        Err(DirectoryError::Closed(_)) => Ok(false),
        Err(error) => Err(error.to_string()),
    }
}

/// True when somebody who did not bind can read below the root DSE.
async fn anonymous_search(
    target: &Target,
    controller: &Endpoint,
    tls: &Arc<ClientConfig>,
    settings: &directory::settings::Settings,
) -> Result<bool, String> {
    let mut directory =
        Directory::open(controller, Arc::clone(tls), settings).await.map_err(|error| error.to_string())?;
    for scope in [Scope::Base, Scope::Subtree] {
        let mut search =
            Search::new(&target.base_dn, scope, Filter::Present("objectClass".into()), &["objectClass"]);
        search.entries = Some(1);
        match directory.search(&search, |_| {}).await {
            Ok(done) if done.entries > 0 => return Ok(true),
            Ok(_) => {}
            Err(DirectoryError::Closed(_)) => return Ok(false),
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(false)
}

/// True when a name with an empty password is taken for a bind (RFC 4513 section 5.1.2).
async fn unauthenticated_bind(
    target: &Target,
    controller: &Endpoint,
    tls: &Arc<ClientConfig>,
    settings: &directory::settings::Settings,
) -> Result<bool, String> {
    let mut directory =
        Directory::open(controller, Arc::clone(tls), settings).await.map_err(|error| error.to_string())?;
    let (name, _) = made_up(target).map_err(|error| error.to_string())?;
    match directory.try_bind(&name, "").await {
        Ok(outcome) => Ok(outcome.code == 0),
        Err(DirectoryError::Closed(_)) => Ok(false),
        Err(error) => Err(error.to_string()),
    }
}

/// A name that nobody has, and a password that is nobody's.
fn made_up(target: &Target) -> Result<(String, String), chance::NoChance> {
    let noise = chance::bytes::<16>()?.iter().fold(String::new(), |mut text, byte| {
        // writing to a String cannot fail
        let _ = write!(text, "{byte:02x}");
        text
    });
    let (name, password) = noise.split_at(12);
    Ok((format!("CN=portcullis-probe-{name},{}", target.base_dn), format!("Aa1!{password}")))
}
