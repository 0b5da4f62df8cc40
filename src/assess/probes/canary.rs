//! A known object that must be readable every time, so that "nothing found" can be told from "we see nothing".

use crate::ambient::clock::Clock;
use crate::assess::gathered::{Gathered, Stopwatch};
use crate::assess::probes::logon::Session;
use crate::assess::target::Target;
use crate::baseline::facts::Fact;
use crate::directory::request::{Scope, Search};
use crate::ldap::filter::Filter;

/// The fact `canary.readable`.
pub async fn probe(session: &mut Session, target: &Target, clock: &Clock) -> Gathered {
    let mut gathered = Gathered::default();
    let watch = Stopwatch::start(clock);
    let search = Search::new(&target.canary, Scope::Base, Filter::present("objectClass"), &["objectClass"]);
    let fact = match session.directory.read(&search).await {
        Ok((entries, done)) if done.code == 0 || done.code == 32 => {
            Fact::boolean(entries.iter().any(|entry| entry.has("objectClass")))
        }
        Ok((_, done)) => Fact::Failed(format!("the canary's search ended with result code {}", done.code)),
        Err(error) => Fact::Failed(error.to_string()),
    };
    gathered.set("canary.readable", fact);
    gathered.provenance.push(watch.provenance("canary", "a search for the canary", &session.controller));
    gathered
}
