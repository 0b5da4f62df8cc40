//! Where a name lies in the one tree, in time that does not depend on how many directories are mounted.

use crate::ldap::dn::Dn;
use crate::ldap::error::DnError;
use crate::policy::terms::Target;
use crate::proxy::engine::recent;

/// Which part of the tree a base lies in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// `o=federation` itself.
    Root,
    /// The mount point of a directory.
    Mount(Target),
    /// Below a mount point.
    Below(Target),
    /// Nothing of ours.
    Nowhere,
}

/// Where `base` lies. Whether the mount exists, and for whom, is not asked here.
pub fn place(base: &Dn) -> Place {
    let rdns = base.rdns();
    let top = rdns.last().map(|rdn| rdn.normal());
    if top != Some("o=federation") {
        return Place::Nowhere;
    }
    let Some(unit) = rdns.len().checked_sub(2).and_then(|at| rdns.get(at)) else { return Place::Root };
    let target = match (unit.parts(), unit.text()) {
        ([part], Some(text)) if is_unit(&part.attribute) => match text.eq_ignore_ascii_case("national") {
            true => Target::National,
            false => match text.parse() {
                Ok(member) => Target::Member(member),
                Err(_) => return Place::Nowhere,
            },
        },
        _ => return Place::Nowhere,
    };
    if rdns.len() == 2 { Place::Mount(target) } else { Place::Below(target) }
}

/// Bases that were asked below lately: clients ask below few, again and again.
#[derive(Debug, Default)]
pub struct Places(Vec<Option<(String, Place)>>);

/// How many are kept, and how long they are at most.
const KEPT: usize = 64;
const KEPT_BYTES: usize = 256;

impl Places {
    /// Where the base of this text lies.
    ///
    /// # Errors
    ///
    /// It is no distinguished name.
    pub fn of(&mut self, base: &str) -> Result<Place, DnError> {
        let slot = (recent::digest(base.as_bytes()) % KEPT as u64) as usize;
        if let Some(Some((text, place))) = self.0.get(slot)
            && text == base
        {
            return Ok(place.clone());
        }
        let found = place(&Dn::parse(base)?);
        if base.len() <= KEPT_BYTES {
            self.0.resize(KEPT, None);
            if let Some(kept) = self.0.get_mut(slot) {
                *kept = Some((base.to_owned(), found.clone()));
            }
        }
        Ok(found)
    }
}

fn is_unit(attribute: &str) -> bool {
    crate::ldap::attribute::canonical_name(attribute) == "ou"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Place {
        let mut places = Places::default();
        let found = places.of(text).unwrap();
        assert_eq!(places.of(text).unwrap(), found, "kept");
        found
    }

    #[test]
    fn what_is_kept_is_told_apart() {
        let mut places = Places::default();
        let base = |n: usize| format!("cn=P{n},ou=R{n:03},o=federation");
        for n in (0..1_000).chain(0..1_000) {
            let member = format!("R{n:03}").parse().unwrap();
            assert_eq!(places.of(&base(n)).unwrap(), Place::Below(Target::Member(member)));
        }
        assert!(places.of("nonsense").is_err());
        assert!(places.0.len() <= KEPT);
    }

    #[test]
    fn bases_in_every_spelling() {
        assert_eq!(at("O=Federation"), Place::Root);
        assert_eq!(at("ou=National, o=federation"), Place::Mount(Target::National));
        assert_eq!(at("2.5.4.11=rxa,o=federation"), Place::Mount(Target::Member("RXA".parse().unwrap())));
        assert_eq!(at("cn=Jo,ou=rxa,o=federation"), Place::Below(Target::Member("RXA".parse().unwrap())));
    }

    #[test]
    fn everything_else_is_nowhere() {
        for text in [
            "",
            "dc=national,dc=test",
            "o=federation,c=gb",
            "o=federations",
            "cn=rxa,o=federation",
            "ou=rxa+cn=x,o=federation",
            "ou=much too long,o=federation",
            "cn=a\\,o=federation",
        ] {
            assert_eq!(at(text), Place::Nowhere, "{text}");
        }
    }
}
