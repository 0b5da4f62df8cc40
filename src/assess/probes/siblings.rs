//! Whether the controllers say the same of what rules the domain: a controller that was cut off, restored or tampered with tells another
//! story than its siblings, and only one of them is asked for everything else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rustls::ClientConfig;
use tokio::task::JoinSet;

use crate::ambient::clock::Clock;
use crate::assess::gathered::{Gathered, Stopwatch};
use crate::assess::probes::logon::{Session, log_on_to};
use crate::assess::settings::Settings;
use crate::assess::target::Target;
use crate::baseline::facts::Fact;
use crate::directory::endpoint::Endpoint;
use crate::directory::request::{Scope, Search};
use crate::ldap::entry::Entry;
use crate::ldap::filter::Filter;

/// What it finds.
pub const NAMES: [&str; 2] = ["controllers.agree", "controllers.differences"];

/// What of the domain's own object is compared ([MS-ADTS] section 3.1.1.6 and [MS-SAMR] section 3.1.1.5).
const DOMAIN: [&str; 10] = [
    "minPwdLength",
    "pwdHistoryLength",
    "pwdProperties",
    "maxPwdAge",
    "minPwdAge",
    "lockoutThreshold",
    "lockoutDuration",
    "lockOutObservationWindow",
    "ms-DS-MachineAccountQuota",
    "msDS-Behavior-Version",
];
const FOREST: [&str; 2] = ["dSHeuristics", "tombstoneLifetime"];
/// The groups that AdminSDHolder protects: those that rule the domain.
const RULING: &str = "(&(objectClass=group)(adminCount=1))";
/// The RID of the account whose key signs every ticket, whatever it is called.
const KRBTGT: u32 = 502;

/// What one controller says, by what it is about.
type Said = BTreeMap<String, BTreeSet<Vec<u8>>>;

/// The facts: every controller that answers is asked for the same few objects, all at the same time.
pub async fn probe(
    target: &Target,
    reachable: &[Endpoint],
    tls: &Arc<ClientConfig>,
    settings: &Settings,
    clock: &Clock,
) -> Gathered {
    let mut gathered = Gathered::default();
    let watch = Stopwatch::start(clock);
    let (agree, differences) = match reachable {
        [] => {
            let none = || Fact::Failed("no controller could be reached".to_owned());
            (none(), none())
        }
        // one does not differ from itself
        [_] => (Fact::boolean(true), Fact::set::<String>([])),
        several => judge(ask(target, several, tls, settings).await),
    };
    gathered.set("controllers.agree", agree);
    gathered.set("controllers.differences", differences);
    let asked: Vec<String> = reachable.iter().map(name).collect();
    let by = "the same objects asked of every controller";
    gathered.provenance.extend(NAMES.map(|fact| watch.provenance(fact, by, &asked.join(", "))));
    gathered
}

fn name(controller: &Endpoint) -> String {
    format!("{}:{}", controller.host, controller.port)
}

/// What each controller says, in the order given.
async fn ask(
    target: &Target,
    controllers: &[Endpoint],
    tls: &Arc<ClientConfig>,
    settings: &Settings,
) -> Vec<(String, Result<Said, String>)> {
    let mut asked = JoinSet::new();
    for (place, controller) in controllers.iter().cloned().enumerate() {
        let (target, tls, settings) = (target.clone(), Arc::clone(tls), settings.clone());
        asked.spawn(async move {
            let said = match log_on_to(&target, &controller, &tls, &settings).await {
                Ok(mut session) => said(&mut session, &settings).await,
                Err(reason) => Err(reason),
            };
            (place, name(&controller), said)
        });
    }
    let mut all = asked.join_all().await;
    all.sort_by_key(|(place, ..)| *place);
    all.into_iter().map(|(_, controller, said)| (controller, said)).collect()
}

async fn said(session: &mut Session, settings: &Settings) -> Result<Said, String> {
    let mut said = Said::new();
    let domain = session.contexts.domain.clone();
    let forest = format!("CN=Directory Service,CN=Windows NT,CN=Services,{}", session.contexts.configuration);
    let any = || Filter::present("objectClass");
    let parsed = |text: &'static str| Filter::parse(text).map_err(|error| error.to_string());
    for entry in read(session, &domain, Scope::Base, any(), &DOMAIN, settings).await? {
        DOMAIN.iter().for_each(|attribute| note(&mut said, attribute, &entry, attribute));
    }
    for entry in read(session, &forest, Scope::Base, any(), &FOREST, settings).await? {
        FOREST.iter().for_each(|attribute| note(&mut said, attribute, &entry, attribute));
    }
    let wanted = ["sAMAccountName", "member"];
    for entry in read(session, &domain, Scope::Subtree, parsed(RULING)?, &wanted, settings).await? {
        let group = entry.text("sAMAccountName").unwrap_or_default().to_owned();
        note(&mut said, &format!("members of {group}"), &entry, "member");
    }
    let sid = session.domain_sid.as_deref().ok_or("the domain's SID cannot be read")?;
    let krbtgt = format!("<SID={sid}-{KRBTGT}>");
    for entry in read(session, &krbtgt, Scope::Base, any(), &["pwdLastSet"], settings).await? {
        note(&mut said, "the krbtgt key's age", &entry, "pwdLastSet");
    }
    Ok(said)
}

/// Takes note of an attribute's values, of a part of them where the directory gives no more at once.
fn note(said: &mut Said, about: &str, entry: &Entry, attribute: &str) {
    let named = |description: &str| {
        description.split(';').next().is_some_and(|name| name.eq_ignore_ascii_case(attribute))
    };
    let found = entry.attributes.iter().filter(|a| named(&a.description)).flat_map(|a| a.values.clone());
    said.entry(about.to_owned()).or_default().extend(found);
}

async fn read(
    session: &mut Session,
    base: &str,
    scope: Scope,
    filter: Filter<'static>,
    attributes: &[&str],
    settings: &Settings,
) -> Result<Vec<Entry>, String> {
    let search = Search::new(base, scope, filter, attributes);
    // what is read as one object needs no pages
    let search = if scope == Scope::Base { search } else { search.paged(settings.directory.page_size) };
    let (entries, done) = session.directory.read(&search).await.map_err(|error| error.to_string())?;
    match done.is_complete() && !entries.is_empty() {
        true => Ok(entries),
        false => Err(format!("`{base}` cannot be read (result code {})", done.code)),
    }
}

/// Whether all say the same, and what differs from the first. What one of them does not say makes both unknown.
fn judge(all: Vec<(String, Result<Said, String>)>) -> (Fact, Fact) {
    let mut heard = Vec::new();
    for (controller, said) in all {
        match said {
            Ok(said) => heard.push((controller, said)),
            Err(reason) => {
                let fact = Fact::Failed(format!("{controller}: {reason}"));
                return (fact.clone(), fact);
            }
        }
    }
    let Some(((_, first), others)) = heard.split_first() else {
        return (Fact::boolean(true), Fact::set::<String>([]));
    };
    let differing = others.iter().flat_map(|(controller, said)| {
        let about: BTreeSet<&String> = first.keys().chain(said.keys()).collect();
        let differs = about.into_iter().filter(|about| first.get(*about) != said.get(*about));
        differs.map(move |about| format!("{about} on {controller}")).collect::<Vec<_>>()
    });
    let differences: BTreeSet<String> = differing.collect();
    (Fact::boolean(differences.is_empty()), Fact::set(differences))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[(&str, &[&str])]) -> Said {
        let bytes = |all: &[&str]| all.iter().map(|value| value.as_bytes().to_vec()).collect();
        values.iter().map(|(about, all)| ((*about).to_owned(), bytes(all))).collect()
    }

    fn judged(all: &[(&str, Result<Said, String>)]) -> (Fact, Fact) {
        judge(all.iter().map(|(controller, said)| ((*controller).to_owned(), said.clone())).collect())
    }

    #[test]
    fn the_order_of_values_is_no_difference() {
        let one = of(&[("members of Domain Admins", &["CN=a", "CN=b"]), ("minPwdLength", &["14"])]);
        let other = of(&[("minPwdLength", &["14"]), ("members of Domain Admins", &["CN=b", "CN=a"])]);
        let (agree, differences) = judged(&[("dc1:636", Ok(one)), ("dc2:636", Ok(other))]);
        assert_eq!((agree, differences), (Fact::boolean(true), Fact::set::<String>([])));
    }

    #[test]
    fn what_differs_is_told_with_its_controller() {
        let one = of(&[("members of Domain Admins", &["CN=a"]), ("minPwdLength", &["14"])]);
        let two = of(&[("members of Domain Admins", &["CN=a", "CN=x"]), ("minPwdLength", &["14"])]);
        let three = of(&[("members of Domain Admins", &["CN=a"])]);
        let (agree, differences) = judged(&[("dc1", Ok(one)), ("dc2", Ok(two)), ("dc3", Ok(three))]);
        assert_eq!(agree, Fact::boolean(false));
        assert_eq!(differences, Fact::set(["members of Domain Admins on dc2", "minPwdLength on dc3"]));
    }

    #[test]
    fn a_controller_that_does_not_say_makes_it_unknown() {
        let (agree, differences) = judged(&[("dc1", Ok(Said::new())), ("dc2", Err("refused".to_owned()))]);
        assert_eq!(agree, Fact::Failed("dc2: refused".to_owned()));
        assert_eq!(differences, agree);
    }
}
