//! What our account may not look at, so that a search that should bring it does not bring everything.

use std::str::FromStr as _;

use crate::directory::request::Scope;
use crate::ldap::dn::Dn;

/// An object of which something is not shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unseen {
    /// As the directory writes it.
    pub dn: String,
    /// None where the directory writes a DN that cannot be read: it may stand anywhere.
    parsed: Option<Dn>,
    reach: Reach,
    pub reason: String,
}

/// How far it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Values of the object.
    Itself,
    /// Objects below it.
    Below,
    Both,
}

impl Unseen {
    pub fn new(dn: &str, reach: Reach, reason: String) -> Unseen {
        Unseen { dn: dn.to_owned(), parsed: Dn::from_str(dn).ok(), reach, reason }
    }

    /// Whether a search may miss something for it. The configuration is a naming context of its own: no search over the domain
    /// reaches into it, though its name is below the domain's ([MS-ADTS] section 3.1.1.1.5).
    pub fn concerns(&self, configuration: &str, base: &str, scope: Scope) -> bool {
        let parsed = (&self.parsed, Dn::from_str(base), Dn::from_str(configuration));
        let (Some(dn), Ok(base), Ok(configuration)) = parsed else { return true };
        if dn.is_at_or_below(&configuration) != base.is_at_or_below(&configuration) {
            return false;
        }
        let itself = match scope {
            Scope::Base => *dn == base,
            Scope::One => dn.parent().as_ref() == Some(&base),
            Scope::Subtree => dn.is_at_or_below(&base),
        };
        let below = match scope {
            Scope::Base => base != *dn && base.is_at_or_below(dn),
            Scope::One => base.is_at_or_below(dn),
            Scope::Subtree => base.is_at_or_below(dn) || dn.is_at_or_below(&base),
        };
        match self.reach {
            Reach::Itself => itself,
            Reach::Below => below,
            Reach::Both => itself || below,
        }
    }

    /// Whether values of the object itself may be missing.
    pub fn is_of_values(&self) -> bool {
        self.reach != Reach::Below
    }
}

/// Why a search does not bring everything; none when nothing keeps it from that.
pub fn missing(all: &[Unseen], configuration: &str, base: &str, scope: Scope) -> Option<String> {
    let mut concerned = all.iter().filter(|unseen| unseen.concerns(configuration, base, scope));
    let first = concerned.next()?.reason.clone();
    Some(match concerned.count() {
        0 => first,
        more => format!("{first}, and {more} more"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIGURATION: &str = "CN=Configuration,DC=x";
    const UNIT: &str = "OU=Ward,OU=Staff,DC=x";

    fn concerned(reach: Reach, base: &str) -> [bool; 3] {
        let unseen = Unseen::new(UNIT, reach, "said".to_owned());
        [Scope::Base, Scope::One, Scope::Subtree].map(|scope| unseen.concerns(CONFIGURATION, base, scope))
    }

    #[test]
    fn values_are_missed_by_who_asks_for_the_object() {
        assert_eq!(concerned(Reach::Itself, "ou=ward, ou=staff, dc=x"), [true, false, true]);
        assert_eq!(concerned(Reach::Itself, "OU=Staff,DC=x"), [false, true, true]);
        assert_eq!(concerned(Reach::Itself, "DC=x"), [false, false, true]);
        assert_eq!(concerned(Reach::Itself, "CN=a,OU=Ward,OU=Staff,DC=x"), [false; 3]);
        assert_eq!(concerned(Reach::Itself, "CN=System,DC=x"), [false; 3]);
    }

    #[test]
    fn objects_below_are_missed_by_who_looks_there() {
        assert_eq!(concerned(Reach::Below, UNIT), [false, true, true]);
        assert_eq!(concerned(Reach::Below, "OU=Staff,DC=x"), [false, false, true]);
        assert_eq!(concerned(Reach::Below, "CN=a,OU=Ward,OU=Staff,DC=x"), [true; 3]);
        assert_eq!(concerned(Reach::Below, "OU=Ward2,OU=Staff,DC=x"), [false; 3]);
        assert_eq!(concerned(Reach::Both, UNIT), [true; 3]);
    }

    #[test]
    fn the_configuration_is_a_world_of_its_own() {
        let template = Unseen::new("CN=t,CN=Configuration,DC=x", Reach::Itself, String::new());
        assert!(!template.concerns(CONFIGURATION, "DC=x", Scope::Subtree));
        assert!(template.concerns(CONFIGURATION, CONFIGURATION, Scope::Subtree));
    }

    #[test]
    fn what_cannot_be_placed_may_be_anywhere() {
        assert!(Unseen::new("no name", Reach::Itself, String::new()).concerns(
            CONFIGURATION,
            "DC=y",
            Scope::Base
        ));
    }

    #[test]
    fn the_first_reason_and_how_many_more() {
        let all = [UNIT, "DC=x", "DC=y"].map(|dn| Unseen::new(dn, Reach::Itself, format!("`{dn}`")));
        let missing = |base, scope| missing(&all, CONFIGURATION, base, scope);
        assert_eq!(missing("DC=x", Scope::Subtree), Some(format!("`{UNIT}`, and 1 more")));
        assert_eq!(missing("DC=y", Scope::Base), Some("`DC=y`".to_owned()));
        assert_eq!(missing("DC=z", Scope::Subtree), None);
    }
}
