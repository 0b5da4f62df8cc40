//! Rights by name, and who holds them by a list of access: the order of entries and denials count ([MS-ADTS] section 5.1.3.3).

use std::collections::BTreeSet;

use crate::assess::probes::descriptor::{
    Ace, Descriptor, GET_CHANGES, GET_CHANGES_ALL, GET_CHANGES_FILTERED, Guid, RESET_PASSWORD, guid, mask,
};

/// What a right is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum About {
    /// The object as a whole.
    Whole,
    /// At least one property or class of child, whichever.
    Any,
    /// One of these: an attribute with its property set, a control-access right, a validated write.
    These(&'static [Guid]),
}

/// One right that policies can name.
#[derive(Debug, Clone, Copy)]
struct Right {
    name: &'static str,
    mask: u32,
    about: About,
}

/// Property sets ([MS-ADTS] section 3.1.1.2.3.3).
const MEMBERSHIP: Guid = guid(0xbc0a_c240, 0x79a9, 0x11d0, 0x9020_00c0_4fc2_d4cf);
const ACCOUNT_RESTRICTIONS: Guid = guid(0x4c16_4200, 0x20c0, 0x11d0, 0xa768_00aa_006e_0529);
const PUBLIC_INFORMATION: Guid = guid(0xe48d_0154, 0xbcf8, 0x11d1, 0x8702_00c0_4fb9_6050);
const USER_LOGON: Guid = guid(0x5f20_2010, 0x79a5, 0x11d0, 0x9020_00c0_4fc2_d4cf);
/// Attributes by `schemaIDGUID` ([MS-ADA1] to [MS-ADA3]); the first is also the validated write "Add/Remove self as member".
const MEMBER: Guid = guid(0xbf96_79c0, 0x0de6, 0x11d0, 0xa285_00aa_0030_49e2);
const SERVICE_NAMES: Guid = guid(0xf3a6_4788, 0x5306, 0x11d1, 0xa9c5_0000_f803_67c1);
const KEY_CREDENTIALS: Guid = guid(0x5b47_d60f, 0x6090, 0x40b2, 0x9f37_2a4d_e88f_3063);
const ALLOWED_TO_ACT: Guid = guid(0x3f78_c3e5, 0xf79a, 0x46bd, 0xa0b8_9d18_116d_dc79);
const ALLOWED_TO_DELEGATE: Guid = guid(0x800d_94d7, 0xb7a1, 0x42a1, 0xb14d_7cae_1423_d07f);
const ACCOUNT_CONTROL: Guid = guid(0xbf96_7a68, 0x0de6, 0x11d0, 0xa285_00aa_0030_49e2);
const ALTERNATIVE_IDENTITIES: Guid = guid(0x00fb_f30c, 0x91fe, 0x11d1, 0xaebc_0000_f803_67c1);
const SCRIPT_PATH: Guid = guid(0xbf96_79a8, 0x0de6, 0x11d0, 0xa285_00aa_0030_49e2);
const POLICY_LINK: Guid = guid(0xf30e_3bbe, 0x9ff0, 0x11d1, 0xb603_0000_f803_67c1);
const MANAGED_PASSWORD_READERS: Guid = guid(0x888e_edd6, 0xce04, 0xdf40, 0xb462_b8a5_0e41_ba38);
/// Control-access rights ([MS-ADTS] section 5.1.3.2.1, [MS-CRTD] section 2.5).
const ENROL: Guid = guid(0x0e10_c968, 0x78fb, 0x11d2, 0x90d4_00c0_4f79_dc55);
const AUTOENROL: Guid = guid(0xa05b_8cc2, 0x17bc, 0x4802, 0xa710_e7c1_5ab8_66a2);
const MIGRATE_SID_HISTORY: Guid = guid(0xba33_815a, 0x4f93, 0x4c76, 0x87f3_5757_4bff_8109);
const INSTALL_REPLICA: Guid = guid(0x9923_a32a, 0x3607, 0x11d2, 0xb9be_0000_f87a_36b2);
/// Classes that the objects we look at have. An entry about the object's own class is about the object as a whole, the root of
/// the tree of object types ([MS-ADTS] section 5.1.3.3.3).
const CLASSES: [Guid; 12] = [
    // domainDNS, organizationalUnit, container, builtinDomain
    guid(0x1919_5a5b, 0x6da0, 0x11d0, 0xafd3_00c0_4fd9_30c9),
    guid(0xbf96_7aa5, 0x0de6, 0x11d0, 0xa285_00aa_0030_49e2),
    guid(0xbf96_7a8b, 0x0de6, 0x11d0, 0xa285_00aa_0030_49e2),
    guid(0xbf96_7a81, 0x0de6, 0x11d0, 0xa285_00aa_0030_49e2),
    // user, inetOrgPerson, computer, group, msDS-GroupManagedServiceAccount
    guid(0xbf96_7aba, 0x0de6, 0x11d0, 0xa285_00aa_0030_49e2),
    guid(0x4828_cc14, 0x1437, 0x45bc, 0x9b07_ad6f_015e_5f28),
    guid(0xbf96_7a86, 0x0de6, 0x11d0, 0xa285_00aa_0030_49e2),
    guid(0xbf96_7a9c, 0x0de6, 0x11d0, 0xa285_00aa_0030_49e2),
    guid(0x7b8b_558a, 0x93a5, 0x4af7, 0xadca_c017_e67f_1057),
    // groupPolicyContainer, pKICertificateTemplate, pKIEnrollmentService
    guid(0xf30e_3bc2, 0x9ff0, 0x11d1, 0xb603_0000_f803_67c1),
    guid(0xe520_9ca2, 0x3bba, 0x11d2, 0x90cc_00c0_4fd9_1ab1),
    guid(0xee4a_a692, 0x3bba, 0x11d2, 0x90cc_00c0_4fd9_1ab1),
];

const FULL_CONTROL: &str = "full-control";
/// Every right but full control, which is all bits together.
const RIGHTS: [Right; 29] = [
    whole("change-permissions", mask::WRITE_DACL),
    whole("take-ownership", mask::WRITE_OWNER),
    whole("write-all-properties", mask::WRITE_PROPERTY),
    whole("all-validated-writes", mask::SELF_WRITE),
    whole("all-extended-rights", mask::CONTROL_ACCESS),
    whole("delete", mask::DELETE),
    whole("delete-tree", mask::DELETE_TREE),
    Right { name: "write-property", mask: mask::WRITE_PROPERTY, about: About::Any },
    Right { name: "create-child", mask: mask::CREATE_CHILD, about: About::Any },
    Right { name: "delete-child", mask: mask::DELETE_CHILD, about: About::Any },
    extended("replicate-changes", &[GET_CHANGES]),
    extended("replicate-changes-all", &[GET_CHANGES_ALL]),
    extended("replicate-filtered-set", &[GET_CHANGES_FILTERED]),
    extended("reset-password", &[RESET_PASSWORD]),
    extended("migrate-sid-history", &[MIGRATE_SID_HISTORY]),
    extended("install-replica", &[INSTALL_REPLICA]),
    extended("enrol", &[ENROL]),
    extended("autoenrol", &[AUTOENROL]),
    property("write-member", &[MEMBER, MEMBERSHIP]),
    Right { name: "add-self", mask: mask::SELF_WRITE, about: About::These(&[MEMBER]) },
    property("write-service-names", &[SERVICE_NAMES, PUBLIC_INFORMATION]),
    property("write-key-credentials", &[KEY_CREDENTIALS]),
    property("write-allowed-to-act", &[ALLOWED_TO_ACT, ACCOUNT_RESTRICTIONS]),
    property("write-allowed-to-delegate", &[ALLOWED_TO_DELEGATE, PUBLIC_INFORMATION]),
    property("write-account-control", &[ACCOUNT_CONTROL, ACCOUNT_RESTRICTIONS]),
    property("write-alternative-identities", &[ALTERNATIVE_IDENTITIES, PUBLIC_INFORMATION]),
    property("write-script-path", &[SCRIPT_PATH, USER_LOGON]),
    property("write-policy-link", &[POLICY_LINK]),
    property("write-managed-password-readers", &[MANAGED_PASSWORD_READERS]),
];

const fn whole(name: &'static str, mask: u32) -> Right {
    Right { name, mask, about: About::Whole }
}

const fn extended(name: &'static str, objects: &'static [Guid]) -> Right {
    Right { name, mask: mask::CONTROL_ACCESS, about: About::These(objects) }
}

const fn property(name: &'static str, objects: &'static [Guid]) -> Right {
    Right { name, mask: mask::WRITE_PROPERTY, about: About::These(objects) }
}

/// Everyone, to whom a descriptor without a list gives everything.
const EVERYONE: &str = "S-1-1-0";
const AUTHENTICATED: &str = "S-1-5-11";
/// Who is not among the authenticated users: everyone, nobody, guests.
const NOT_AUTHENTICATED: [&str; 3] = [EVERYONE, "S-1-5-7", "S-1-5-32-546"];

/// Where a right counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// On the object itself.
    Here,
    /// On what lies below it and not on itself.
    Below,
}

/// The rights that one SID is given by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    pub sid: String,
    pub reach: Reach,
    pub rights: BTreeSet<&'static str>,
}

/// Every SID that the list allows something that has a name here.
pub fn holdings(descriptor: &Descriptor) -> Vec<Holding> {
    let Some(entries) = &descriptor.entries else {
        let rights = RIGHTS.iter().map(|right| right.name).chain([FULL_CONTROL]).collect();
        return vec![Holding { sid: EVERYONE.to_owned(), reach: Reach::Here, rights }];
    };
    let mut found = Vec::new();
    for reach in [Reach::Here, Reach::Below] {
        let here: Vec<&Ace> = entries.iter().filter(|ace| counts(ace, reach)).collect();
        let trustees: BTreeSet<&str> =
            here.iter().filter(|ace| ace.allows).map(|ace| ace.trustee.as_str()).collect();
        for sid in trustees {
            let rights = held(&here, sid);
            if !rights.is_empty() {
                found.push(Holding { sid: sid.to_owned(), reach, rights });
            }
        }
    }
    found
}

fn counts(ace: &Ace, reach: Reach) -> bool {
    match reach {
        Reach::Here => ace.is_here(),
        Reach::Below => ace.is_below_only(),
    }
}

fn held(entries: &[&Ace], sid: &str) -> BTreeSet<&'static str> {
    let mine: Vec<&Ace> = entries
        .iter()
        .copied()
        .filter(|ace| if ace.allows { ace.trustee == sid } else { ace.denies() && covers(&ace.trustee, sid) })
        .collect();
    let mut rights: BTreeSet<&'static str> =
        RIGHTS.iter().filter(|right| allowed(&mine, right)).map(|right| right.name).collect();
    let bits = (0..20).map(|bit| 1 << bit).filter(|bit| mask::FULL_CONTROL & bit != 0);
    if bits.clone().all(|bit| allowed(&mine, &whole(FULL_CONTROL, bit))) {
        rights.insert(FULL_CONTROL);
    }
    rights
}

/// Whether everyone who has `sid` has `wider` for certain, so that a denial of it counts.
fn covers(wider: &str, sid: &str) -> bool {
    match wider {
        _ if wider == sid => true,
        EVERYONE => sid != "S-1-5-7",
        AUTHENTICATED => !NOT_AUTHENTICATED.contains(&sid),
        _ => false,
    }
}

/// The first entry about the right decides.
fn allowed(entries: &[&Ace], right: &Right) -> bool {
    let mut denied: BTreeSet<&Guid> = BTreeSet::new();
    for ace in entries.iter().filter(|ace| ace.mask & right.mask != 0) {
        match (&ace.object, right.about) {
            (None, _) => return ace.allows,
            (Some(object), About::These(objects)) if objects.contains(object) => return ace.allows,
            (Some(object), About::Any) if !ace.allows => {
                denied.insert(object);
            }
            (Some(object), About::Any) if !denied.contains(object) => return true,
            // a denial by class is left out: whose class it is not, it does not touch
            (Some(object), About::Whole | About::These(_))
                if ace.allows && is_property(right.mask) && CLASSES.contains(object) =>
            {
                return true;
            }
            _ => {}
        }
    }
    false
}

/// Whether the objects of such an entry are properties, so that one that names a class is about them all.
fn is_property(bits: u32) -> bool {
    bits & (mask::CREATE_CHILD | mask::DELETE_CHILD) == 0
}

/// The names of all rights, for the catalogue of facts to agree with.
pub fn names() -> impl Iterator<Item = &'static str> {
    RIGHTS.iter().map(|right| right.name).chain([FULL_CONTROL])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::baseline::collections::RIGHTS as CATALOGUE;

    const HELP: &str = "S-1-5-21-1-2-3-1105";

    fn ace(allows: bool, mask: u32, object: Option<Guid>, trustee: &str) -> Ace {
        Ace {
            allows,
            conditional: false,
            flags: 0,
            mask,
            object,
            inherited_by: None,
            trustee: trustee.to_owned(),
        }
    }

    fn rights(entries: Vec<Ace>, sid: &str, reach: Reach) -> BTreeSet<&'static str> {
        let descriptor = Descriptor { owner: None, entries: Some(entries) };
        let found = holdings(&descriptor).into_iter().find(|h| h.sid == sid && h.reach == reach);
        found.map_or_else(BTreeSet::new, |holding| holding.rights)
    }

    fn here(entries: Vec<Ace>) -> BTreeSet<&'static str> {
        rights(entries, HELP, Reach::Here)
    }

    #[test]
    fn the_catalogue_knows_every_right() {
        let known: BTreeSet<&str> = CATALOGUE.iter().copied().collect();
        assert_eq!(names().collect::<BTreeSet<_>>(), known);
        assert_eq!(known.len(), RIGHTS.len() + 1);
    }

    #[test]
    fn full_control_is_every_right() {
        let all = here(vec![ace(true, mask::FULL_CONTROL, None, HELP)]);
        assert_eq!(all.len(), RIGHTS.len() + 1);
        let most = here(vec![ace(true, mask::FULL_CONTROL & !mask::DELETE, None, HELP)]);
        assert!(!most.contains(FULL_CONTROL) && most.contains("write-member"));
    }

    #[test]
    fn rights_by_attribute_and_by_property_set() {
        let set = here(vec![ace(true, mask::WRITE_PROPERTY, Some(ACCOUNT_RESTRICTIONS), HELP)]);
        assert_eq!(set, BTreeSet::from(["write-account-control", "write-allowed-to-act", "write-property"]));
        let one = here(vec![ace(true, mask::WRITE_PROPERTY, Some(MEMBER), HELP)]);
        assert_eq!(one, BTreeSet::from(["write-member", "write-property"]));
        let own = here(vec![ace(true, mask::SELF_WRITE, Some(MEMBER), HELP)]);
        assert_eq!(own, BTreeSet::from(["add-self"]));
        let reading = here(vec![ace(true, 0x2_0094, None, HELP)]);
        assert!(reading.is_empty());
    }

    #[test]
    fn an_entry_about_the_class_is_about_the_whole_object() {
        let class = CLASSES[4];
        let whole = here(vec![ace(true, mask::WRITE_PROPERTY, Some(class), HELP)]);
        assert!(whole.contains("write-all-properties") && whole.contains("write-key-credentials"));
        let child = here(vec![ace(true, mask::CREATE_CHILD, Some(class), HELP)]);
        assert_eq!(child, BTreeSet::from(["create-child"]));
    }

    #[test]
    fn the_first_entry_decides() {
        let deny = |object| ace(false, mask::WRITE_PROPERTY, object, HELP);
        let allow = |object| ace(true, mask::WRITE_PROPERTY, object, HELP);
        let before = here(vec![deny(Some(MEMBER)), allow(None)]);
        assert!(!before.contains("write-member") && before.contains("write-all-properties"));
        let after = here(vec![allow(None), deny(Some(MEMBER))]);
        assert!(after.contains("write-member"));
        // the attribute is denied, its property set is allowed
        let set = here(vec![deny(Some(MEMBER)), allow(Some(MEMBERSHIP))]);
        assert!(!set.contains("write-member"));
        assert!(here(vec![deny(None), allow(Some(MEMBER))]).is_empty());
    }

    #[test]
    fn a_denial_counts_for_those_who_are_surely_in_it() {
        let allow = ace(true, mask::WRITE_DACL, None, HELP);
        let deny = |who: &str| ace(false, mask::WRITE_DACL, None, who);
        assert!(here(vec![deny(EVERYONE), allow.clone()]).is_empty());
        assert!(here(vec![deny(AUTHENTICATED), allow.clone()]).is_empty());
        // who is in another group is not known
        assert!(!here(vec![deny("S-1-5-21-1-2-3-1200"), allow.clone()]).is_empty());
        let maybe = Ace { conditional: true, ..deny(HELP) };
        assert!(!here(vec![maybe, allow]).is_empty());
        let everyone = vec![deny(AUTHENTICATED), ace(true, mask::WRITE_DACL, None, EVERYONE)];
        assert!(!rights(everyone, EVERYONE, Reach::Here).is_empty());
    }

    #[test]
    fn what_is_inherited_only_counts_below() {
        let below = Ace { flags: 0x0a, ..ace(true, mask::CONTROL_ACCESS, Some(RESET_PASSWORD), HELP) };
        assert!(here(vec![below.clone()]).is_empty());
        assert_eq!(rights(vec![below], HELP, Reach::Below), BTreeSet::from(["reset-password"]));
    }

    #[test]
    fn no_list_is_everything_for_everyone() {
        let found = holdings(&Descriptor { owner: None, entries: None });
        assert_eq!(found.len(), 1);
        assert!(found[0].sid == EVERYONE && found[0].rights.contains("replicate-changes-all"));
        assert!(holdings(&Descriptor { owner: None, entries: Some(Vec::new()) }).is_empty());
    }

    proptest::proptest! {
        /// More allowing never takes a right away, and a denial put first never gives one.
        #[test]
        fn rights_only_grow_with_what_is_allowed(
            list in proptest::collection::vec((proptest::bool::ANY, 0u32..0x10_0000, 0..8usize), 0..8),
            extra in (0u32..0x10_0000, 0..8usize),
        ) {
            let objects = [None, Some(MEMBER), Some(MEMBERSHIP), Some(ENROL), Some(RESET_PASSWORD),
                Some(ACCOUNT_RESTRICTIONS), Some(KEY_CREDENTIALS), Some(GET_CHANGES_ALL)];
            let base: Vec<Ace> = list.iter().map(|(allow, m, o)| ace(*allow, *m, objects[*o], HELP)).collect();
            let held = here(base.clone());
            let put = |allows| {
                let mut with = vec![ace(allows, extra.0, objects[extra.1], HELP)];
                with.extend(base.clone());
                here(with)
            };
            proptest::prop_assert!(held.is_subset(&put(true)));
            proptest::prop_assert!(put(false).is_subset(&held));
        }
    }
}
