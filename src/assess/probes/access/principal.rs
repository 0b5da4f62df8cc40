//! Who a SID is: well known, one of those who rule the domain, or anybody else.

use std::collections::{BTreeMap, BTreeSet};

use crate::assess::probes::descriptor::sid_bytes;

/// What a principal is to the domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The system itself: its controllers, the object acting on itself, services of controllers.
    System,
    /// Administrators, Domain Admins, Enterprise Admins, Schema Admins, and the built-in administrator.
    Administrators,
    /// Another group that rules a part of the domain: operators, key administrators, certificate publishers.
    Operators,
    /// A member, however nested, of one of these.
    Privileged,
    /// A group that nearly everybody is in.
    Everybody,
    /// Of another domain.
    Foreign,
    /// An account or group without privilege.
    Ordinary,
    /// No object with this SID can be seen.
    Unresolved,
}

impl Kind {
    /// The word in policies.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::System => "system",
            Kind::Administrators => "administrators",
            Kind::Operators => "operators",
            Kind::Privileged => "privileged",
            Kind::Everybody => "everybody",
            Kind::Foreign => "foreign",
            Kind::Ordinary => "ordinary",
            Kind::Unresolved => "unresolved",
        }
    }

    /// Whether it may rule what rules the domain.
    pub fn is_privileged(self) -> bool {
        matches!(self, Kind::System | Kind::Administrators | Kind::Operators | Kind::Privileged)
    }
}

/// What a principal may do because of the groups that it is or is in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Power {
    /// It rules the whole domain.
    pub rules: bool,
    /// It replicates everything, secrets too: the work of controllers, and within an administrator's reach.
    pub replicates: bool,
}

impl Power {
    const ALL: Power = Power { rules: true, replicates: true };
    const KEYS: Power = Power { rules: true, replicates: false };

    /// That of the groups with these words. The others rule a part of the domain, or hardly anything.
    pub fn of(groups: &BTreeSet<&'static str>) -> Power {
        const WHOLE: [&str; 5] =
            ["administrators", "domain-admins", "enterprise-admins", "schema-admins", "domain-controllers"];
        const KEYS: [&str; 2] = ["key-admins", "enterprise-key-admins"];
        let any = |words: &[&str]| words.iter().any(|word| groups.contains(word));
        Power { rules: any(&WHOLE) || any(&KEYS), replicates: any(&WHOLE) }
    }
}

/// SIDs that are the same everywhere ([MS-DTYP] section 2.4.2.4).
const FIXED: &[(&str, &str, Kind)] = &[
    ("S-1-1-0", "Everyone", Kind::Everybody),
    ("S-1-3-0", "Creator Owner", Kind::System),
    ("S-1-3-4", "Owner Rights", Kind::System),
    ("S-1-5-1", "Dialup", Kind::Everybody),
    ("S-1-5-2", "Network", Kind::Everybody),
    ("S-1-5-3", "Batch", Kind::Everybody),
    ("S-1-5-4", "Interactive", Kind::Everybody),
    ("S-1-5-6", "Service", Kind::Everybody),
    ("S-1-5-7", "Anonymous", Kind::Everybody),
    ("S-1-5-9", "Enterprise Domain Controllers", Kind::System),
    ("S-1-5-10", "Self", Kind::System),
    ("S-1-5-11", "Authenticated Users", Kind::Everybody),
    ("S-1-5-14", "Remote Interactive Logon", Kind::Everybody),
    ("S-1-5-15", "This Organization", Kind::Everybody),
    ("S-1-5-18", "Local System", Kind::System),
    ("S-1-5-19", "Local Service", Kind::System),
    ("S-1-5-20", "Network Service", Kind::System),
    ("S-1-5-1000", "Other Organization", Kind::Everybody),
    ("S-1-5-32-544", "Administrators", Kind::Administrators),
    ("S-1-5-32-545", "Users", Kind::Everybody),
    ("S-1-5-32-546", "Guests", Kind::Everybody),
    ("S-1-5-32-548", "Account Operators", Kind::Operators),
    ("S-1-5-32-549", "Server Operators", Kind::Operators),
    ("S-1-5-32-550", "Print Operators", Kind::Operators),
    ("S-1-5-32-551", "Backup Operators", Kind::Operators),
    ("S-1-5-32-552", "Replicator", Kind::Operators),
    ("S-1-5-32-554", "Pre-Windows 2000 Compatible Access", Kind::Everybody),
];

/// RIDs that are the same in every domain.
const RELATIVE: &[(u32, &str, Kind)] = &[
    (498, "Enterprise Read-only Domain Controllers", Kind::Ordinary),
    (500, "Administrator", Kind::Administrators),
    (501, "Guest", Kind::Everybody),
    (502, "krbtgt", Kind::System),
    (512, "Domain Admins", Kind::Administrators),
    (513, "Domain Users", Kind::Everybody),
    (514, "Domain Guests", Kind::Everybody),
    (515, "Domain Computers", Kind::Everybody),
    (516, "Domain Controllers", Kind::System),
    (517, "Cert Publishers", Kind::Operators),
    (518, "Schema Admins", Kind::Administrators),
    (519, "Enterprise Admins", Kind::Administrators),
    (520, "Group Policy Creator Owners", Kind::Operators),
    (521, "Read-only Domain Controllers", Kind::Ordinary),
    (526, "Key Admins", Kind::Operators),
    (527, "Enterprise Key Admins", Kind::Operators),
];

/// Key Admins, Enterprise Key Admins: who writes a key to an account logs on as it.
const KEY_ADMINS: [u32; 2] = [526, 527];

/// One principal as found in a list of access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    pub name: String,
    pub kind: Kind,
    pub power: Power,
}

/// All principals of a pass, by SID.
#[derive(Debug, Clone, Default)]
pub struct Principals {
    /// SIDs of the domain, and of the forest's root where they are another one.
    pub domain: String,
    pub root: Option<String>,
    known: BTreeMap<String, Principal>,
}

impl Principals {
    /// Principals of the domain with this SID, in the forest whose root has that one.
    pub fn new(domain: String, root: Option<String>) -> Self {
        Principals { domain, root, known: BTreeMap::new() }
    }

    /// Remembers who a SID is.
    pub fn learn(&mut self, sid: &str, name: &str, kind: Kind, power: Power) {
        self.known.insert(sid.to_owned(), Principal { name: name.to_owned(), kind, power });
    }

    /// Whether a look at the directory could tell more of the SID.
    pub fn wants(&self, sid: &str) -> bool {
        let local = sid.strip_prefix(&self.domain).is_some_and(|rest| rest.starts_with('-'));
        !self.known.contains_key(sid)
            && self.well_known(sid).is_none()
            && (local || sid.starts_with("S-1-5-32-"))
            && sid_bytes(sid).is_some()
    }

    /// Who it is. A SID that no object answers to is unresolved, or foreign where it is of another domain.
    pub fn get(&self, sid: &str) -> Principal {
        let known = self.well_known(sid).or_else(|| self.known.get(sid).cloned());
        known.unwrap_or_else(|| {
            let local = sid.strip_prefix(&self.domain).is_some_and(|rest| rest.starts_with('-'));
            let kind = if sid.starts_with("S-1-5-21-") && !local { Kind::Foreign } else { Kind::Unresolved };
            Principal { name: sid.to_owned(), kind, power: Power::default() }
        })
    }

    fn well_known(&self, sid: &str) -> Option<Principal> {
        let made = |name: &str, kind, power| Some(Principal { name: name.to_owned(), kind, power });
        let own = |kind| match kind {
            Kind::System | Kind::Administrators => Power::ALL,
            _ => Power::default(),
        };
        if let Some((_, name, kind)) = fixed(sid) {
            return made(name, *kind, own(*kind));
        }
        if sid.starts_with("S-1-5-64-") || sid.starts_with("S-1-18-") {
            return made(sid, Kind::Everybody, Power::default());
        }
        let (domain, rid) = sid.rsplit_once('-')?;
        if domain != self.domain && Some(domain) != self.root.as_deref() {
            return None;
        }
        let rid: u32 = rid.parse().ok()?;
        let (_, name, kind) = RELATIVE.iter().find(|(known, _, _)| *known == rid)?;
        made(name, *kind, if KEY_ADMINS.contains(&rid) { Power::KEYS } else { own(*kind) })
    }
}

fn fixed(sid: &str) -> Option<&'static (&'static str, &'static str, Kind)> {
    FIXED.iter().find(|(known, _, _)| *known == sid)
}

/// Whether the SID is one of those that hold everything by right, whatever the domain is: not worth keeping.
pub fn is_master(sid: &str) -> bool {
    fixed(sid).is_some_and(|(_, _, kind)| matches!(kind, Kind::System | Kind::Administrators))
}

/// Whether nearly everybody has the SID, whatever the domain is.
pub fn is_everybody(sid: &str) -> bool {
    let relative = || {
        let rid: u32 = sid.strip_prefix("S-1-5-21-")?.rsplit('-').next()?.parse().ok()?;
        RELATIVE.iter().find(|(known, _, _)| *known == rid).map(|(_, _, kind)| *kind)
    };
    // logon by a kind of authentication, or with an asserted identity
    sid.starts_with("S-1-5-64-")
        || sid.starts_with("S-1-18-")
        || fixed(sid).map(|(_, _, kind)| *kind).or_else(relative) == Some(Kind::Everybody)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principals() -> Principals {
        let mut all = Principals::new("S-1-5-21-1-2-3".to_owned(), Some("S-1-5-21-9-9-9".to_owned()));
        all.learn("S-1-5-21-1-2-3-1105", "helpdesk", Kind::Ordinary, Power::default());
        all
    }

    #[test]
    fn who_is_who() {
        let kind = |sid: &str| principals().get(sid).kind;
        assert_eq!(kind("S-1-5-21-1-2-3-512"), Kind::Administrators);
        assert_eq!(kind("S-1-5-21-9-9-9-519"), Kind::Administrators);
        // another domain's administrators are not ours
        assert_eq!(kind("S-1-5-21-7-7-7-512"), Kind::Foreign);
        assert_eq!(kind("S-1-5-21-1-2-3-1105"), Kind::Ordinary);
        assert_eq!(kind("S-1-5-21-1-2-3-1106"), Kind::Unresolved);
        assert_eq!(kind("S-1-5-11"), Kind::Everybody);
        assert!(kind("S-1-5-32-548").is_privileged() && !kind("S-1-5-21-1-2-3-521").is_privileged());
    }

    #[test]
    fn who_rules_the_whole_and_who_a_part() {
        let power = |sid: &str| {
            let power = principals().get(sid).power;
            (power.rules, power.replicates)
        };
        for sid in ["S-1-5-18", "S-1-5-32-544", "S-1-5-9", "S-1-5-21-1-2-3-516", "S-1-5-21-9-9-9-519"] {
            assert_eq!(power(sid), (true, true), "{sid}");
        }
        assert_eq!(
            (power("S-1-5-21-1-2-3-526"), power("S-1-5-21-9-9-9-527")),
            ((true, false), (true, false))
        );
        for rid in [517, 520, 521, 1105, 1106] {
            assert_eq!(power(&format!("S-1-5-21-1-2-3-{rid}")), (false, false), "{rid}");
        }
        assert_eq!(
            (power("S-1-5-32-548"), power("S-1-5-11"), power("S-1-5-21-7-7-7-512")),
            Default::default()
        );
        let of = |word| Power::of(&BTreeSet::from([word]));
        assert_eq!((of("domain-controllers"), of("key-admins")), (Power::ALL, Power::KEYS));
        for word in ["cert-publishers", "dns-admins", "group-policy-creators", "read-only-controllers"] {
            assert_eq!(of(word), Power::default(), "{word}");
        }
    }

    #[test]
    fn only_local_strangers_are_asked_for() {
        let all = principals();
        assert!(all.wants("S-1-5-21-1-2-3-1106") && all.wants("S-1-5-32-573"));
        for sid in ["S-1-5-21-1-2-3-512", "S-1-5-21-1-2-3-1105", "S-1-5-21-7-7-7-1105", "S-1-5-18"] {
            assert!(!all.wants(sid), "{sid}");
        }
    }

    #[test]
    fn everybody_and_masters() {
        assert!(is_everybody("S-1-5-21-1-2-3-513") && is_everybody("S-1-1-0") && is_everybody("S-1-5-64-10"));
        assert!(!is_everybody("S-1-5-21-1-2-3-1513") && !is_everybody("S-1-5-32-548"));
        assert!(is_master("S-1-5-18") && !is_master("S-1-5-32-548"));
    }
}
