//! Who a member of a group is, by what the directory says of it where the group lists it: name and SID, whichever domain it is of.

use crate::assess::probes::access::principal::is_everybody;
use crate::assess::probes::access::sight::first_name;
use crate::assess::probes::logon::Contexts;
use crate::directory::request::RawControl;

/// LDAP_SERVER_EXTENDED_DN ([MS-ADTS] section 3.1.1.3.4.1.5): each DN comes with GUID and SID, here as texts.
const EXTENDED_DN: &str = "1.2.840.113556.1.4.529";
const AS_TEXTS: &[u8] = b"\x30\x03\x02\x01\x01";
/// Of the forest's root, who rules every domain of the forest: Administrator, Domain Admins, Schema Admins, Enterprise Admins,
/// Enterprise Key Admins ([MS-DTYP] section 2.4.2.4).
const FOREST: [u32; 5] = [500, 512, 518, 519, 527];

/// Has the directory tell GUID and SID with each DN. One that cannot still gives the DN.
pub fn with_sids() -> RawControl {
    RawControl { critical: false, ..RawControl::critical(EXTENDED_DN).with_value(AS_TEXTS.to_vec()) }
}

/// A member as its group lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// As the directory writes it: lower case is for comparing, and may name something else.
    pub dn: String,
    /// None where it has none, or where the directory does not tell.
    pub sid: Option<String>,
    /// Whether the directory would have told the SID.
    pub told: bool,
}

impl Named {
    /// `<GUID=...>;<SID=...>;CN=...`, or the DN alone.
    pub fn of(value: &[u8]) -> Named {
        let text = String::from_utf8_lossy(value);
        let mut named = Named { dn: String::new(), sid: None, told: false };
        let mut rest: &str = &text;
        while let Some((part, after)) = rest.strip_prefix('<').and_then(|rest| rest.split_once(">;")) {
            named.told = true;
            named.sid = part.strip_prefix("SID=").map(str::to_owned).or(named.sid);
            rest = after;
        }
        rest.clone_into(&mut named.dn);
        named
    }

    pub fn lower(&self) -> String {
        self.dn.to_lowercase()
    }

    /// What tells it from all others: who is renamed keeps the SID.
    pub fn identity(&self) -> String {
        self.sid.clone().unwrap_or_else(|| self.lower())
    }

    /// Whether it was deleted: then it stands in the domain's own container for that, under a name that only the directory
    /// gives ([MS-ADTS] section 3.1.1.5.5).
    pub fn is_deleted(&self, domain: &str) -> bool {
        let dn = self.lower();
        let first = first_name(&dn);
        first.contains("\\0adel:") && dn.ends_with(&format!(",cn=deleted objects,{}", domain.to_lowercase()))
    }
}

/// What a member is to the domain.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum What {
    /// A user or computer of the domain.
    #[default]
    Account,
    Group,
    /// One that nearly everybody has or is.
    Everybody,
    /// Of those who rule the whole forest from its root.
    ForestRoot,
    /// Of another domain, in the forest or not.
    Foreign,
    /// The same on every computer, and no group of the domain.
    WellKnown,
    /// Nobody who logs on: a contact.
    Other,
}

impl What {
    /// The word in policies.
    pub fn as_str(self) -> &'static str {
        match self {
            What::Account => "account",
            What::Group => "group",
            What::Everybody => "everybody",
            What::ForestRoot => "forest-root",
            What::Foreign => "foreign",
            What::WellKnown => "well-known",
            What::Other => "other",
        }
    }
}

/// What is known of the domain when a member is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Domain<'a> {
    /// SIDs of the domain, and of the forest's root where that is another one.
    pub sid: &'a str,
    pub root: Option<&'a str>,
    pub contexts: &'a Contexts,
}

impl Domain<'_> {
    /// What the member is; `group` is whether we see a group of this name.
    pub fn what(self, member: &Named, group: bool) -> What {
        match (&member.sid, member.told) {
            (Some(sid), _) => self.by_sid(sid, group),
            (None, true) => What::Other,
            (None, false) => self.by_name(&member.lower(), group),
        }
    }

    fn by_sid(self, sid: &str, group: bool) -> What {
        let of_root =
            || FOREST.iter().any(|rid| self.root.is_some_and(|root| sid == format!("{root}-{rid}")));
        match () {
            () if is_everybody(sid) => What::Everybody,
            () if is_of(sid, self.sid) || sid.starts_with("S-1-5-32-") => match group {
                true => What::Group,
                false => What::Account,
            },
            () if of_root() => What::ForestRoot,
            () if sid.starts_with("S-1-5-21-") => What::Foreign,
            () => What::WellKnown,
        }
    }

    fn by_name(self, dn: &str, group: bool) -> What {
        let below = |base: &str| dn.strip_suffix(&format!(",{}", base.to_lowercase()));
        let sid = first_name(dn).to_uppercase();
        match below(&self.contexts.domain) {
            // that of another domain of the forest below this one
            Some(above) if above.split(',').any(|part| part.starts_with("dc=")) => What::Foreign,
            Some(_) if below(&self.contexts.configuration).is_some() => What::WellKnown,
            Some(above) if above.ends_with(",cn=foreignsecurityprincipals") => {
                match sid.starts_with("S-1-") {
                    true => self.by_sid(&sid, group),
                    false => What::Foreign,
                }
            }
            Some(_) if group => What::Group,
            Some(_) => What::Account,
            None if below(&self.contexts.configuration).is_some() => What::WellKnown,
            None => What::Foreign,
        }
    }
}

/// Whether the SID is one of the domain with the other.
pub fn is_of(sid: &str, domain: &str) -> bool {
    sid.strip_prefix(domain).is_some_and(|rest| rest.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SID: &str = "S-1-5-21-1-2-3";

    fn what(member: &str, group: bool) -> What {
        let contexts = Contexts {
            domain: "DC=x,DC=test".to_owned(),
            configuration: "CN=Configuration,DC=x,DC=test".to_owned(),
            schema: "CN=Schema,CN=Configuration,DC=x,DC=test".to_owned(),
            root: "DC=r,DC=test".to_owned(),
        };
        let domain = Domain { sid: SID, root: Some("S-1-5-21-9-9-9"), contexts: &contexts };
        domain.what(&Named::of(member.as_bytes()), group)
    }

    #[test]
    fn a_member_is_read_with_and_without_what_tells_it() {
        let plain = Named::of("CN=E\u{130}ve,DC=x".as_bytes());
        assert_eq!(
            (plain.dn.as_str(), plain.sid.as_deref(), plain.told),
            ("CN=E\u{130}ve,DC=x", None, false)
        );
        let told = Named::of(b"<GUID=1-2>;<SID=S-1-5-21-1-2-3-1105>;CN=a\\;b,DC=x");
        assert_eq!((told.dn.as_str(), told.identity().as_str()), ("CN=a\\;b,DC=x", "S-1-5-21-1-2-3-1105"));
        let contact = Named::of(b"<GUID=1-2>;CN=c,DC=x");
        assert!(contact.told && contact.sid.is_none());
    }

    #[test]
    fn only_the_directory_deletes() {
        let deleted = |dn: &str| Named::of(dn.as_bytes()).is_deleted("DC=x,DC=test");
        assert!(deleted("CN=eve\\0ADEL:6a9c,CN=Deleted Objects,DC=x,DC=test"));
        for dn in [
            "CN=eve,CN=Deleted Objects,OU=Staff,DC=x,DC=test",
            "CN=eve\\0ADEL:6a9c,CN=Deleted Objects,OU=Staff,DC=x,DC=test",
            "CN=eve,CN=Deleted Objects,DC=x,DC=test",
            "CN=eve,OU=Staff,DC=x,DC=test",
        ] {
            assert!(!deleted(dn), "{dn}");
        }
    }

    #[test]
    fn members_by_their_sid() {
        let of = |sid: &str, group| what(&format!("<GUID=1>;<SID={sid}>;CN=a,DC=x,DC=test"), group);
        assert_eq!(of("S-1-5-21-1-2-3-1105", false), What::Account);
        assert_eq!(of("S-1-5-21-1-2-3-1106", true), What::Group);
        assert_eq!(of("S-1-1-0", false), What::Everybody);
        assert_eq!(of("S-1-5-21-1-2-3-513", true), What::Everybody);
        assert_eq!(of("S-1-5-21-9-9-9-519", false), What::ForestRoot);
        assert_eq!(of("S-1-5-21-9-9-9-1104", false), What::Foreign);
        assert_eq!(of("S-1-5-21-1-2-30-512", false), What::Foreign);
        assert_eq!(of("S-1-5-9", false), What::WellKnown);
        assert_eq!(what("<GUID=1>;CN=c,DC=x,DC=test", false), What::Other);
    }

    #[test]
    fn members_by_their_name_where_nothing_else_is_told() {
        assert_eq!(what("CN=a,OU=b,DC=x,DC=test", false), What::Account);
        assert_eq!(what("CN=S-1-5-11,CN=ForeignSecurityPrincipals,DC=x,DC=test", false), What::Everybody);
        assert_eq!(
            what("CN=S-1-5-21-7-7-7-1104,CN=ForeignSecurityPrincipals,DC=x,DC=test", false),
            What::Foreign
        );
        assert_eq!(what("CN=Legacy,CN=ForeignSecurityPrincipals,DC=x,DC=test", false), What::Foreign);
        assert_eq!(
            what("CN=Everyone,CN=WellKnown Security Principals,CN=Configuration,DC=x,DC=test", false),
            What::WellKnown
        );
        assert_eq!(what("CN=Domain Admins,CN=Users,DC=r,DC=test", false), What::Foreign);
        assert_eq!(what("CN=a,CN=Users,DC=child,DC=x,DC=test", false), What::Foreign);
    }
}
