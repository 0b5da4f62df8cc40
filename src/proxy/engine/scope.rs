//! Whether an entry of a directory lies where was asked.

use crate::ldap::dn::Dn;
use crate::ldap::message::Scope;

/// Whether an entry lies where was asked. Fast for the spelling that directories use, exact for every other.
pub fn lies_in(name: &str, base: &str, scope: Scope) -> bool {
    let ends = name.len().checked_sub(base.len()).and_then(|at| name.split_at_checked(at));
    if let Some((prefix, end)) = ends
        && end.eq_ignore_ascii_case(base)
    {
        match scope {
            Scope::Base if prefix.is_empty() => return true,
            Scope::Subtree if prefix.is_empty() => return true,
            // A comma that an escape does not precede ends a relative name.
            Scope::Subtree | Scope::Children if prefix.ends_with(',') && !prefix.ends_with("\\,") => {
                return true;
            }
            _ => {}
        }
    }
    let (Ok(name), Ok(base)) = (Dn::parse(name), Dn::parse(base)) else { return false };
    let below = name.is_at_or_below(&base);
    match scope {
        Scope::Base => below && name.depth() == base.depth(),
        Scope::One => below && name.depth() == base.depth() + 1,
        Scope::Subtree => below,
        Scope::Children => below && name.depth() > base.depth(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_elsewhere_are_seen() {
        let base = "ou=Staff,dc=rxa,dc=test";
        for (name, scope, lies) in [
            ("ou=staff,DC=rxa,DC=test", Scope::Base, true),
            ("OU=Staff, DC=rxa, DC=test", Scope::Base, true),
            ("cn=a,ou=Staff,dc=rxa,dc=test", Scope::Base, false),
            ("cn=a,ou=Staff,dc=rxa,dc=test", Scope::One, true),
            ("cn=a,ou=x,ou=Staff,dc=rxa,dc=test", Scope::One, false),
            ("cn=a\\,b,ou=Staff,dc=rxa,dc=test", Scope::One, true),
            ("cn=a,ou=x,ou=Staff,dc=rxa,dc=test", Scope::Subtree, true),
            ("cn=x,ou=NotStaff,dc=rxa,dc=test", Scope::Subtree, false),
            ("cn=a\\,ou=Staff,dc=rxa,dc=test", Scope::Subtree, false),
            ("cn=a\\\\,ou=Staff,dc=rxa,dc=test", Scope::Subtree, true),
            ("ou=Staff,dc=rxa,dc=test", Scope::Children, false),
            ("dc=test", Scope::Subtree, false),
            ("nonsense", Scope::Subtree, false),
        ] {
            assert_eq!(lies_in(name, base, scope), lies, "{name} {scope:?}");
        }
    }
}
