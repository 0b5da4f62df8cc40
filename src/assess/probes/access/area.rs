//! What an object is to the domain: why its list of access matters.

use crate::assess::probes::descriptor::sid;
use crate::assess::probes::logon::Contexts;
use crate::ldap::entry::Entry;

/// Kinds of object that are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Area {
    /// The domain's own object.
    Domain,
    /// Whose list protected accounts and groups get.
    AdminSdHolder,
    /// The organisational unit of the controllers.
    ControllersUnit,
    Controller,
    Krbtgt,
    /// Protected by AdminSDHolder; whether it is privileged is found out later.
    Protected,
    PrivilegedGroup,
    PrivilegedAccount,
    /// A group policy object.
    Policy,
    /// A group policy object that controllers apply.
    ControllerPolicy,
    /// Where the domain name service keeps its zones and settings.
    Dns,
    /// The containers of the domain's own workings: System, and that of the group policies.
    System,
    /// Password settings of groups, and where they are kept.
    PasswordSettings,
    /// A unit with a privileged account in it, however deep.
    PrivilegedPlace,
    /// Any other unit or container.
    Place,
    Configuration,
    Schema,
    Sites,
    /// A controller's object in a site, or its settings of replication.
    Server,
    /// Containers and objects of the public key infrastructure that are neither of the two below.
    Pki,
    Template,
    EnrolmentService,
    /// Keys that passwords of managed service accounts are made from.
    RootKeys,
}

impl Area {
    /// The word in policies; none for what must not be reported as it is.
    pub fn as_str(self) -> &'static str {
        match self {
            Area::Domain => "domain",
            Area::AdminSdHolder => "admin-sd-holder",
            Area::ControllersUnit => "controllers-unit",
            Area::Controller => "controller",
            Area::Krbtgt => "krbtgt",
            Area::PrivilegedGroup => "privileged-group",
            Area::PrivilegedAccount => "privileged-account",
            Area::Policy => "policy",
            Area::ControllerPolicy => "controller-policy",
            Area::Dns => "dns",
            Area::System => "system",
            Area::PasswordSettings => "password-settings",
            Area::PrivilegedPlace => "privileged-place",
            Area::Protected | Area::Place => "place",
            Area::Configuration => "configuration",
            Area::Schema => "schema",
            Area::Sites => "sites",
            Area::Server => "server",
            Area::Pki => "pki",
            Area::Template => "template",
            Area::EnrolmentService => "enrolment-service",
            Area::RootKeys => "root-keys",
        }
    }

    /// Whether group policies that are linked to it are applied by controllers or by those who rule.
    pub fn is_linked(self) -> bool {
        matches!(self, Area::Domain | Area::ControllersUnit | Area::Sites | Area::PrivilegedPlace)
    }

    /// Whether only the rights of groups that everybody is in are kept: there are thousands of such objects.
    pub fn is_plain(self) -> bool {
        self == Area::Place
    }
}

/// Attributes that tell the area of an object.
pub const ATTRIBUTES: [&str; 8] = [
    "nTSecurityDescriptor",
    "objectClass",
    "objectSid",
    "userAccountControl",
    "adminCount",
    "displayName",
    "gPLink",
    "cACertificate",
];
/// Objects of the domain that are looked at: units, containers, policies, controllers, and what AdminSDHolder protects.
pub const DOMAIN_FILTER: &str = "(|(objectClass=domainDNS)(objectClass=organizationalUnit)(objectClass=container)\
    (objectClass=builtinDomain)(objectClass=groupPolicyContainer)(objectClass=msDS-PasswordSettingsContainer)\
    (objectClass=msDS-PasswordSettings)(adminCount=1)\
    (userAccountControl:1.2.840.113556.1.4.803:=8192))";
const SERVER_TRUST_ACCOUNT: i64 = 0x2000;
/// The end of the SID of the account whose key signs every ticket, whatever it is called.
pub const KRBTGT: &str = "-502";

/// The area of an object in the domain's own part of the directory.
pub fn in_domain(entry: &Entry, contexts: &Contexts) -> Area {
    let dn = entry.dn.to_lowercase();
    let domain = contexts.domain.to_lowercase();
    let inside = |name: &str| dn == format!("{name},{domain}");
    let controls: i64 = entry.text("userAccountControl").and_then(|text| text.parse().ok()).unwrap_or(0);
    match () {
        () if dn == domain => Area::Domain,
        () if inside("cn=adminsdholder,cn=system") => Area::AdminSdHolder,
        () if inside("ou=domain controllers") => Area::ControllersUnit,
        () if inside("cn=microsoftdns,cn=system") => Area::Dns,
        () if inside("cn=system") || inside("cn=policies,cn=system") => Area::System,
        () if inside("cn=password settings container,cn=system") => Area::PasswordSettings,
        () if is_a(entry, "msDS-PasswordSettings") => Area::PasswordSettings,
        () if controls & SERVER_TRUST_ACCOUNT != 0 => Area::Controller,
        () if sid_of(entry).is_some_and(|sid| sid.ends_with(KRBTGT)) => Area::Krbtgt,
        () if is_a(entry, "groupPolicyContainer") => Area::Policy,
        () if entry.text("adminCount") == Some("1") => Area::Protected,
        () => Area::Place,
    }
}

/// The area of an object below the container of the sites.
pub fn in_sites(entry: &Entry) -> Area {
    if is_a(entry, "server") || is_a(entry, "nTDSDSA") { Area::Server } else { Area::Sites }
}

/// The area of an object below Public Key Services.
pub fn in_pki(entry: &Entry) -> Area {
    match () {
        () if is_a(entry, "pKICertificateTemplate") => Area::Template,
        () if is_a(entry, "pKIEnrollmentService") => Area::EnrolmentService,
        () => Area::Pki,
    }
}

/// Whether the entry is of a class.
pub fn is_a(entry: &Entry, class: &str) -> bool {
    entry.values("objectClass").any(|value| value.eq_ignore_ascii_case(class.as_bytes()))
}

/// The entry's SID as text.
pub fn sid_of(entry: &Entry) -> Option<String> {
    entry.first("objectSid").and_then(sid).map(|(text, _)| text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ldap::entry::Attribute;

    fn entry(dn: &str, attributes: &[(&str, &str)]) -> Entry {
        let made = |(name, value): &(&str, &str)| Attribute {
            description: (*name).to_owned(),
            values: vec![value.as_bytes().to_vec()],
        };
        Entry { dn: dn.to_owned(), attributes: attributes.iter().map(made).collect() }
    }

    #[test]
    fn areas_by_place_and_by_what_they_are() {
        let contexts = Contexts {
            domain: "DC=x,DC=test".to_owned(),
            configuration: "CN=Configuration,DC=x,DC=test".to_owned(),
            schema: "CN=Schema,CN=Configuration,DC=x,DC=test".to_owned(),
            root: "DC=x,DC=test".to_owned(),
        };
        let area = |dn: &str, attributes: &[(&str, &str)]| in_domain(&entry(dn, attributes), &contexts);
        assert_eq!(area("dc=X,DC=test", &[]), Area::Domain);
        assert_eq!(area("CN=AdminSDHolder,CN=System,DC=x,DC=test", &[]), Area::AdminSdHolder);
        assert_eq!(area("CN=Policies,CN=System,DC=x,DC=test", &[]), Area::System);
        let settings = [("objectClass", "msDS-PasswordSettings")];
        assert_eq!(area("CN=s,OU=a,DC=x,DC=test", &settings), Area::PasswordSettings);
        assert_eq!(area("CN=DC1,OU=a,DC=x,DC=test", &[("userAccountControl", "532480")]), Area::Controller);
        assert_eq!(area("CN=PC1,OU=a,DC=x,DC=test", &[("userAccountControl", "4096")]), Area::Place);
        assert_eq!(area("CN=adm,OU=a,DC=x,DC=test", &[("adminCount", "1")]), Area::Protected);
        let policy = [("objectClass", "GroupPolicyContainer")];
        assert_eq!(area("CN={1},CN=Policies,CN=System,DC=x,DC=test", &policy), Area::Policy);
        assert_eq!(in_pki(&entry("CN=t", &[("objectClass", "pKICertificateTemplate")])), Area::Template);
        assert_eq!(in_sites(&entry("CN=DC1", &[("objectClass", "server")])), Area::Server);
        assert_eq!(in_sites(&entry("CN=Here", &[("objectClass", "site")])), Area::Sites);
        assert_eq!(in_pki(&entry("CN=c", &[("objectClass", "container")])), Area::Pki);
    }
}
