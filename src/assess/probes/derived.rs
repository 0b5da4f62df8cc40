//! Facts that no single attribute tells: worked out from an entry and from what else is known of the domain and its member.

use std::collections::{BTreeMap, BTreeSet};

use crate::assess::probes::access::report::Templates;
use crate::assess::probes::descriptor::sid;
use crate::assess::probes::logon::{Contexts, Session};
use crate::assess::probes::privileged::Privileged;
use crate::assess::probes::seen::Seen;
use crate::assess::probes::unseen::{Unseen, missing};
use crate::assess::settings::Settings;
use crate::assess::target::{Target, realm_of};
use crate::baseline::certificate::key_sha256;
use crate::baseline::facts::Fact;
use crate::directory::request::{Scope, Search};
use crate::ldap::entry::Entry;
use crate::ldap::filter::Filter;

/// Writable controllers, and read-only ones by their primary group.
const CONTROLLERS: &str =
    "(&(objectClass=computer)(|(userAccountControl:1.2.840.113556.1.4.803:=8192)(primaryGroupID=521)))";
const CONTROLLER_NAMES: [&str; 4] =
    ["dNSHostName", "msDS-AdditionalDnsHostName", "sAMAccountName", "servicePrincipalName"];
/// The service class of directory replication ([MS-DRSR] section 2.2.3.2).
const REPLICATION_CLASS: &str = "e3514235-4b06-11d1-ab04-00c04fc2dcd2";

/// Why what no control needs is not known.
const UNASKED: &str = "nothing asks for it";

/// What a set of names is, or why it is not known.
type Names = Result<BTreeSet<String>, String>;

/// What is known beside the entry.
#[derive(Debug, Clone)]
pub struct Surroundings {
    pub privileged: Result<Privileged, String>,
    /// Names of the domain controllers in lower case: short, full, and those that tickets for their services are asked by.
    pub controllers: Names,
    /// The controllers that are measured, as DNs of their server objects in lower case.
    pub measured: Names,
    /// Names of the templates that some enterprise CA issues by, in lower case.
    pub published: Names,
    /// Who may enrol by which template.
    pub templates: Result<Templates, String>,
    /// What our account may not look at.
    unseen: Vec<Unseen>,
    /// Why values of an object may be hidden, by its DN in lower case.
    veils: BTreeMap<String, String>,
    configuration: String,
    /// The domain's DNS name, in lower case.
    domain: String,
    mail_domains: BTreeSet<String>,
    upn_suffixes: BTreeSet<String>,
    /// Keys of the registered card issuers.
    card_issuers: BTreeSet<String>,
    /// Keys of the registered trust anchors.
    anchors: BTreeSet<String>,
}

impl Surroundings {
    /// What the member registered; the rest is filled in by whoever asks the directory.
    pub fn of(target: &Target, contexts: &Contexts, privileged: Result<Privileged, String>) -> Surroundings {
        let unasked = || Err(UNASKED.to_owned());
        Surroundings {
            privileged,
            controllers: unasked(),
            measured: unasked(),
            published: unasked(),
            templates: Err(UNASKED.to_owned()),
            unseen: Vec::new(),
            veils: BTreeMap::new(),
            configuration: String::new(),
            domain: realm_of(&contexts.domain).unwrap_or_default().to_lowercase(),
            mail_domains: target.mail_domains.clone(),
            upn_suffixes: target.upn_suffixes.clone(),
            card_issuers: target.card_issuers.clone(),
            anchors: target.anchors.certificates().iter().filter_map(|der| key_sha256(der)).collect(),
        }
    }

    /// Takes note of what our account may not look at: what a hidden value could say is not known either.
    pub fn heed(&mut self, unseen: Vec<Unseen>, contexts: &Contexts) {
        let veils = unseen.iter().filter(|unseen| unseen.is_of_values());
        self.veils = veils.map(|unseen| (unseen.dn.to_lowercase(), unseen.reason.clone())).collect();
        self.unseen = unseen;
        self.configuration.clone_from(&contexts.configuration);
        if let Some(reason) = self.missing(&enrolment_services(contexts), Scope::One) {
            self.published = Err(reason);
        }
    }

    /// Why a search does not bring everything; none when nothing keeps it from that.
    pub fn missing(&self, base: &str, scope: Scope) -> Option<String> {
        missing(&self.unseen, &self.configuration, base, scope)
    }

    /// Why values of the object of this DN may be hidden; none when they are not.
    pub fn veil(&self, dn: &str) -> Option<&String> {
        // nearly every domain hides nothing
        if self.veils.is_empty() { None } else { self.veils.get(&dn.to_lowercase()) }
    }

    /// The fact of this name for `entry`.
    pub fn derive(&self, name: &str, entry: &Seen<'_>) -> Fact {
        match name {
            "privileged" => told(&self.privileged, |privileged| {
                privileged.contains(&entry.entry.dn, sid_of(entry).as_deref())
            }),
            "ruling_groups" => match &self.privileged {
                Ok(privileged) => Fact::set(privileged.words(&entry.entry.dn, sid_of(entry).as_deref())),
                Err(reason) => Fact::Failed(reason.clone()),
            },
            "protected_user" => told(&self.privileged, |privileged| {
                let group = privileged.protected_users.as_deref();
                group.is_some_and(|group| entry.texts("memberOf").iter().any(|of| of.to_lowercase() == group))
            }),
            "delegates_to_controller" => told(&self.controllers, |controllers| {
                let to_one = |spn: &String| names_controller(spn, controllers);
                entry.texts("msDS-AllowedToDelegateTo").iter().any(to_one)
            }),
            "history_of_own_domain" => history_of_own_domain(entry),
            "logon_names" => Fact::set(self.logon_names(entry)),
            "addresses" => Fact::set(addresses(entry)),
            "upn_registered" => registered(&self.upn_suffixes, entry.texts("userPrincipalName").first()),
            "mail_registered" => registered(&self.mail_domains, entry.texts("mail").first()),
            "measured" => told(&self.measured, |measured| {
                entry
                    .texts("serverReferenceBL")
                    .iter()
                    .any(|server| measured.contains(&server.to_lowercase()))
            }),
            "published" => told(&self.published, |published| {
                entry.texts("cn").iter().any(|name| published.contains(&name.to_lowercase()))
            }),
            "open_enrolment" | "enrolled_by" => match &self.templates {
                Ok(templates) => templates.fact(name, &entry.entry.dn),
                Err(reason) => Fact::Failed(reason.clone()),
            },
            "registered" => self.authorities(entry),
            "registered_missing" => {
                let found: BTreeSet<String> = entry.named("cACertificate").filter_map(key_sha256).collect();
                Fact::set(self.card_issuers.difference(&found).cloned())
            }
            other => Fact::NotCollected(format!("nothing works out `{other}`")),
        }
    }

    fn logon_names(&self, entry: &Seen<'_>) -> BTreeSet<String> {
        let implicit =
            entry.texts("sAMAccountName").into_iter().map(|name| format!("{name}@{}", self.domain));
        entry.texts("userPrincipalName").into_iter().chain(implicit).map(|n| n.to_lowercase()).collect()
    }

    /// Whether every certificate of the entry is of an authority that the member registered. Absent when it registered no card
    /// issuer: then nothing says which are right.
    fn authorities(&self, entry: &Seen<'_>) -> Fact {
        let root = is_root_store(&entry.entry.dn);
        if self.card_issuers.is_empty() && !root {
            return Fact::Absent;
        }
        let known = |key: &String| self.card_issuers.contains(key) || (root && self.anchors.contains(key));
        let all = entry.named("cACertificate").all(|der| key_sha256(der).is_some_and(|key| known(&key)));
        Fact::boolean(all)
    }
}

fn is_root_store(dn: &str) -> bool {
    dn.to_lowercase().contains(",cn=certification authorities,")
}

fn sid_of(entry: &Seen<'_>) -> Option<String> {
    entry.named("objectSid").next().and_then(sid).map(|(text, _)| text)
}

fn told<T>(known: &Result<T, String>, holds: impl FnOnce(&T) -> bool) -> Fact {
    match known {
        Ok(known) => Fact::boolean(holds(known)),
        Err(reason) => Fact::Failed(reason.clone()),
    }
}

fn texts(entry: &Entry, attribute: &str) -> Vec<String> {
    entry.values(attribute).map(|value| String::from_utf8_lossy(value).into_owned()).collect()
}

/// Whether a service name (`class/host[:port][/name]`) leads to a domain controller. The class is no boundary: whoever may use
/// one service of a host writes another into the ticket.
fn names_controller(spn: &str, controllers: &BTreeSet<String>) -> bool {
    let lower = spn.to_lowercase();
    let class = lower.split('/').next().unwrap_or_default();
    let host = host_of(&lower).unwrap_or_default();
    class == "krbtgt" || class == REPLICATION_CLASS || host.contains("._msdcs.") || controllers.contains(host)
}

fn history_of_own_domain(entry: &Seen<'_>) -> Fact {
    let domain = |bytes: &[u8]| Some(sid(bytes)?.0.rsplit_once('-')?.0.to_owned());
    let Some(own) = entry.named("objectSid").next().and_then(domain) else { return Fact::Hidden };
    Fact::boolean(entry.named("sIDHistory").any(|value| domain(value).is_none_or(|other| other == own)))
}

fn addresses(entry: &Seen<'_>) -> BTreeSet<String> {
    let proxies = entry.texts("proxyAddresses");
    let smtp = proxies.iter().filter_map(|address| {
        let (kind, address) = address.split_once(':')?;
        kind.eq_ignore_ascii_case("smtp").then(|| address.to_owned())
    });
    smtp.chain(entry.texts("mail")).map(|address| address.trim().to_lowercase()).collect()
}

/// Whether what stands after the `@` is registered; absent when there is no name or nothing is registered.
fn registered(known: &BTreeSet<String>, name: Option<&String>) -> Fact {
    match name {
        Some(name) if !known.is_empty() => {
            let suffix = name.rsplit_once('@').map_or("", |(_, suffix)| suffix);
            Fact::boolean(known.contains(&suffix.to_lowercase()))
        }
        _ => Fact::Absent,
    }
}

/// The names of the domain controllers.
pub async fn controllers(session: &mut Session, settings: &Settings) -> Names {
    let base = session.contexts.domain.clone();
    let entries = read(session, &base, Scope::Subtree, CONTROLLERS, &CONTROLLER_NAMES, settings).await?;
    if entries.is_empty() {
        return Err("no domain controller's account can be read".to_owned());
    }
    Ok(entries.iter().flat_map(names_of).filter(|name| !name.is_empty()).collect())
}

/// Every name that leads to a controller.
fn names_of(entry: &Entry) -> Vec<String> {
    let accounts =
        texts(entry, "sAMAccountName").into_iter().map(|name| name.trim_end_matches('$').to_owned());
    let hosts = ["dNSHostName", "msDS-AdditionalDnsHostName"].into_iter().flat_map(|name| texts(entry, name));
    let services = texts(entry, "servicePrincipalName");
    let aliases = services.iter().filter_map(|name| host_of(name)).map(str::to_owned);
    accounts.chain(hosts).chain(aliases).map(|name| name.to_lowercase()).collect()
}

/// The host of a service name.
fn host_of(service: &str) -> Option<&str> {
    service.split('/').nth(1)?.split(':').next()
}

fn enrolment_services(contexts: &Contexts) -> String {
    format!("CN=Enrollment Services,CN=Public Key Services,CN=Services,{}", contexts.configuration)
}

/// The templates that enterprise CAs issue by.
pub async fn published(session: &mut Session, settings: &Settings) -> Names {
    let base = enrolment_services(&session.contexts);
    let filter = "(objectClass=pKIEnrollmentService)";
    let entries = read(session, &base, Scope::One, filter, &["certificateTemplates"], settings).await?;
    Ok(entries.iter().flat_map(|e| texts(e, "certificateTemplates")).map(|n| n.to_lowercase()).collect())
}

async fn read(
    session: &mut Session,
    base: &str,
    scope: Scope,
    filter: &str,
    attributes: &[&str],
    settings: &Settings,
) -> Result<Vec<Entry>, String> {
    let filter = Filter::parse(filter).map_err(|error| error.to_string())?;
    let search = Search::new(base, scope, filter, attributes).paged(settings.directory.page_size);
    let (entries, done) = session.directory.read(&search).await.map_err(|error| error.to_string())?;
    // nothing of that kind can exist where its container does not
    match done.is_complete() || done.code == 32 {
        true => Ok(entries),
        false => Err(format!("a search of `{base}` ended with result code {}", done.code)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ldap::entry::Attribute;

    fn entry(attributes: &[(&str, &[&[u8]])]) -> Entry {
        let attribute = |(name, values): &(&str, &[&[u8]])| Attribute {
            description: (*name).to_owned(),
            values: values.iter().map(|v| v.to_vec()).collect(),
        };
        Entry { dn: "CN=a,DC=x".to_owned(), attributes: attributes.iter().map(attribute).collect() }
    }

    #[test]
    fn services_of_controllers() {
        let controllers = BTreeSet::from(["dc1".to_owned(), "dc1.x.test".to_owned()]);
        for spn in ["cifs/DC1", "ldap/dc1.x.test:389/x.test", "krbtgt/X.TEST", "HOST/dc1.x.test"] {
            assert!(names_controller(spn, &controllers), "{spn}");
        }
        for spn in ["cifs/dc10", "http/web.x.test", "http", ""] {
            assert!(!names_controller(spn, &controllers), "{spn}");
        }
    }

    #[test]
    fn names_of_controllers_are_also_those_of_their_services() {
        let controller = entry(&[
            ("sAMAccountName", &[b"DC1$"]),
            ("dNSHostName", &[b"dc1.x.test"]),
            ("msDS-AdditionalDnsHostName", &[b"Old.x.test"]),
            ("servicePrincipalName", &[b"http/Rota.x.test:8080", b"ldap/dc1.x.test/x.test", b"odd"]),
        ]);
        let names: BTreeSet<String> = names_of(&controller).into_iter().collect();
        assert_eq!(names, ["dc1", "dc1.x.test", "old.x.test", "rota.x.test"].map(str::to_owned).into());
        assert!(names_controller("http/rota.x.test", &names) && !names_controller("ldap/x.test", &names));
    }

    #[test]
    fn a_history_of_the_same_domain() {
        let sid = |domain: u8, rid: u8| [1, 2, 0, 0, 0, 0, 0, 5, domain, 0, 0, 0, rid, 0, 0, 0];
        let with = |history: [u8; 16]| {
            let own = sid(21, 9);
            history_of_own_domain(&Seen::of(&entry(&[("objectSid", &[&own]), ("sIDHistory", &[&history])])))
        };
        assert_eq!(with(sid(21, 7)), Fact::boolean(true));
        assert_eq!(with(sid(22, 7)), Fact::boolean(false));
        assert_eq!(history_of_own_domain(&Seen::of(&entry(&[]))), Fact::Hidden);
    }

    #[test]
    fn addresses_are_those_of_smtp() {
        let found = entry(&[
            ("mail", &[b"A@x.test"]),
            ("proxyAddresses", &[b"SMTP:a@X.test", b"x400:c=gb", b"smtp:b@x.test"]),
        ]);
        assert_eq!(
            addresses(&Seen::of(&found)),
            BTreeSet::from(["a@x.test".to_owned(), "b@x.test".to_owned()])
        );
    }

    #[test]
    fn a_suffix_is_registered_or_not_or_nothing_is() {
        let known = BTreeSet::from(["x.test".to_owned()]);
        assert_eq!(registered(&known, Some(&"a@X.test".to_owned())), Fact::boolean(true));
        assert_eq!(registered(&known, Some(&"a".to_owned())), Fact::boolean(false));
        assert_eq!(registered(&BTreeSet::new(), Some(&"a@x.test".to_owned())), Fact::Absent);
    }
}
