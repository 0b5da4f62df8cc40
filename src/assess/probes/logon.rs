//! Logs on to a controller with our own account, for the probes that read.

use std::collections::BTreeSet;
use std::sync::Arc;

use rustls::ClientConfig;

use crate::assess::probes::advice::advised;
use crate::assess::probes::descriptor::sid;
use crate::assess::probes::discovery::Controllers;
use crate::assess::settings::Settings;
use crate::assess::target::Target;
use crate::directory::client::Directory;
use crate::directory::endpoint::Endpoint;
use crate::directory::error::DirectoryError;
use crate::directory::request::{Credential, Scope, Search};
use crate::ldap::entry::Entry;
use crate::ldap::filter::Filter;

const NO_SUCH_OBJECT: u32 = 32;
/// SIDs that every account that logs on over the network has beside its groups ([MS-DTYP] section 2.4.2.4): Everyone,
/// Authenticated Users, Network, This Organization.
const EVERYBODY: [&str; 4] = ["S-1-1-0", "S-1-5-11", "S-1-5-2", "S-1-5-15"];

/// A connection to one controller, bound as our own account.
#[derive(Debug)]
pub struct Session {
    pub directory: Directory,
    /// As `host:port`.
    pub controller: String,
    pub contexts: Contexts,
    pub account: Account,
    /// None where we may not read it.
    pub domain_sid: Option<String>,
}

/// The naming contexts of [MS-ADTS] section 3.1.1.3.2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contexts {
    pub domain: String,
    pub configuration: String,
    pub schema: String,
    /// The forest's root domain.
    pub root: String,
}

/// Our own account as the member directory sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub dn: String,
    /// `sAMAccountName`.
    pub name: String,
    /// Its own SID, those of all its groups, and those of everybody.
    pub sids: BTreeSet<String>,
}

/// Logs on to the first controller that lets us, within those that answer.
pub async fn log_on(
    target: &Target,
    controllers: &Controllers,
    tls: &Arc<ClientConfig>,
    settings: &Settings,
) -> Result<Session, String> {
    let mut reasons = Vec::new();
    for controller in &controllers.reachable {
        match log_on_to(target, controller, tls, settings).await {
            Ok(session) => return Ok(session),
            Err(reason) => reasons.push(format!("{}:{}: {reason}", controller.host, controller.port)),
        }
    }
    if reasons.is_empty() {
        reasons.push("no controller could be reached".to_owned());
        reasons.extend(controllers.silent.iter().cloned());
    }
    Err(reasons.join("; "))
}

/// Logs on to this one.
pub async fn log_on_to(
    target: &Target,
    controller: &Endpoint,
    tls: &Arc<ClientConfig>,
    settings: &Settings,
) -> Result<Session, String> {
    // the reference may be a file: not on the runtime's own threads
    let reference = target.password.clone();
    let password = tokio::task::spawn_blocking(move || reference.read())
        .await
        .map_err(|error| error.to_string())?
        .map_err(|error| error.to_string())?;
    let credential = Credential::Simple { name: target.bind_dn.clone(), password };
    let said = |error: DirectoryError| advised(&error);
    let mut directory = Directory::connect(controller, Arc::clone(tls), &credential, &settings.directory)
        .await
        .map_err(said)?;
    let (contexts, own) = contexts(&mut directory, target).await.map_err(said)?;
    let domain_sid = domain(&mut directory, target, own.as_deref()).await?;
    let account = account(&mut directory, target).await?;
    let controller = format!("{}:{}", controller.host, controller.port);
    Ok(Session { directory, controller, contexts, account, domain_sid })
}

/// The domain's SID. A domain that is not there has nothing in it that could be found: that it has no such object would be no finding.
async fn domain(
    directory: &mut Directory,
    target: &Target,
    own: Option<&str>,
) -> Result<Option<String>, String> {
    let base = &target.base_dn;
    let search = Search::new(base, Scope::Base, Filter::present("objectClass"), &["objectSid"]);
    let (entries, done) = directory.read(&search).await.map_err(|error| advised(&error))?;
    if done.code == NO_SUCH_OBJECT {
        let own = own.map_or_else(String::new, |own| format!(": its own domain is `{own}`"));
        return Err(format!(
            "the base DN `{base}` does not exist there (result code 32){own}; correct the base DN"
        ));
    }
    Ok(entries.first().and_then(|entry| sids_of(entry, "objectSid").into_iter().next()))
}

/// The naming contexts, and the controller's own domain as it says itself.
async fn contexts(
    directory: &mut Directory,
    target: &Target,
) -> Result<(Contexts, Option<String>), DirectoryError> {
    let root = directory
        .read_root_dse(&[
            "configurationNamingContext",
            "schemaNamingContext",
            "rootDomainNamingContext",
            "defaultNamingContext",
        ])
        .await?;
    let named = |name: &str| root.text(name).map(str::to_owned);
    let contexts = Contexts {
        domain: target.base_dn.clone(),
        configuration: named("configurationNamingContext")
            .unwrap_or_else(|| format!("CN=Configuration,{}", target.base_dn)),
        schema: named("schemaNamingContext")
            .unwrap_or_else(|| format!("CN=Schema,CN=Configuration,{}", target.base_dn)),
        root: named("rootDomainNamingContext").unwrap_or_else(|| target.base_dn.clone()),
    };
    Ok((contexts, named("defaultNamingContext")))
}

/// Finds our own entry, by DN or by principal name, and the SIDs of its token.
async fn account(directory: &mut Directory, target: &Target) -> Result<Account, String> {
    const WANTED: &[&str] = &["sAMAccountName", "objectSid"];
    let by_dn = target.bind_dn.contains('=');
    let search = if by_dn {
        Search::new(&target.bind_dn, Scope::Base, Filter::present("objectClass"), WANTED)
    } else {
        let name = target.bind_dn.rsplit('\\').next().unwrap_or(&target.bind_dn);
        let short = name.split('@').next().unwrap_or(name);
        let either = vec![
            Filter::equal("userPrincipalName", name.as_bytes().to_vec()),
            Filter::equal("sAMAccountName", short.as_bytes().to_vec()),
        ]
        .into_iter()
        .map(Filter::into_owned)
        .collect();
        Search::new(&target.base_dn, Scope::Subtree, Filter::Or(either).into_owned(), WANTED)
    };
    let (entries, _) = directory.read(&search).await.map_err(|error| error.to_string())?;
    let entry = entries.first().ok_or("our own account cannot be read")?;
    let name = entry.text("sAMAccountName").ok_or("our own account's name cannot be read")?.to_owned();
    let mut sids: BTreeSet<String> = EVERYBODY.iter().map(|sid| (*sid).to_owned()).collect();
    sids.extend(sids_of(entry, "objectSid"));
    let token = Search::new(&entry.dn, Scope::Base, Filter::present("objectClass"), &["tokenGroups"]);
    let (tokens, _) = directory.read(&token).await.map_err(|error| error.to_string())?;
    let groups: Vec<String> = tokens.iter().flat_map(|entry| sids_of(entry, "tokenGroups")).collect();
    if groups.is_empty() {
        // every account has a primary group at least: an empty list means that we may not see it
        return Err("our own account's groups cannot be read".to_owned());
    }
    sids.extend(groups);
    sids.extend(everybodys(directory, target).await?);
    Ok(Account { dn: entry.dn.clone(), name, sids })
}

/// The groups that everybody who logs on is in: `tokenGroups` has none that an account is in only as one of Everyone or Authenticated
/// Users, such as Pre-Windows 2000 Compatible Access.
async fn everybodys(directory: &mut Directory, target: &Target) -> Result<Vec<String>, String> {
    let principal = |sid: &str| {
        let dn = format!("CN={sid},CN=ForeignSecurityPrincipals,{}", target.base_dn);
        Filter::equal("member", dn.into_bytes()).into_owned()
    };
    let any = Filter::Or(EVERYBODY.iter().map(|sid| principal(sid)).collect()).into_owned();
    let search = Search::new(&target.base_dn, Scope::Subtree, any, &["objectSid"]);
    let (entries, _) = directory.read(&search).await.map_err(|error| error.to_string())?;
    Ok(entries.iter().flat_map(|entry| sids_of(entry, "objectSid")).collect())
}

fn sids_of(entry: &Entry, attribute: &str) -> Vec<String> {
    entry.values(attribute).filter_map(sid).map(|(text, _)| text).collect()
}
