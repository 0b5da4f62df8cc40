//! Security descriptors, self-relative ([MS-DTYP] section 2.4.6), and what they let a set of SIDs do.

use std::collections::BTreeSet;

/// Control-access right "Replicating Directory Changes".
pub const GET_CHANGES: Guid = guid(0x1131_f6aa, 0x9c07, 0x11d1, 0xf79f_00c0_4fc2_dcd2);
/// "Replicating Directory Changes All": password hashes by replication.
pub const GET_CHANGES_ALL: Guid = guid(0x1131_f6ad, 0x9c07, 0x11d1, 0xf79f_00c0_4fc2_dcd2);
/// "Replicating Directory Changes In Filtered Set".
pub const GET_CHANGES_FILTERED: Guid = guid(0x89e9_5b76, 0x444d, 0x4c62, 0x991a_0fac_beda_640c);
/// "Reset Password".
pub const RESET_PASSWORD: Guid = guid(0x0029_9570, 0x246d, 0x11d0, 0xa768_00aa_006e_0529);

/// Bits of an access mask ([MS-ADTS] section 5.1.3.2).
pub mod mask {
    pub const CREATE_CHILD: u32 = 0x1;
    pub const DELETE_CHILD: u32 = 0x2;
    pub const SELF_WRITE: u32 = 0x8;
    pub const READ_PROPERTY: u32 = 0x10;
    pub const WRITE_PROPERTY: u32 = 0x20;
    pub const DELETE_TREE: u32 = 0x40;
    pub const CONTROL_ACCESS: u32 = 0x100;
    pub const DELETE: u32 = 0x1_0000;
    pub const WRITE_DACL: u32 = 0x4_0000;
    pub const WRITE_OWNER: u32 = 0x8_0000;
    /// Everything that generic all stands for.
    pub const FULL_CONTROL: u32 = 0x000f_01ff;
    pub const GENERIC_ALL: u32 = 0x1000_0000;
    /// What each generic bit stands for in a directory.
    pub const GENERIC: [(u32, u32); 4] = [
        (GENERIC_ALL, FULL_CONTROL),
        (0x2000_0000, 0x2_0004),
        (0x4000_0000, 0x2_0028),
        (0x8000_0000, 0x2_0094),
    ];
}

/// Create child, delete child, self write, write property, delete tree, delete, write DACL and write owner.
const WRITES: u32 = mask::CREATE_CHILD
    | mask::DELETE_CHILD
    | mask::SELF_WRITE
    | mask::WRITE_PROPERTY
    | mask::DELETE_TREE
    | mask::DELETE
    | mask::WRITE_DACL
    | mask::WRITE_OWNER;
/// No descriptor is longer: two lists of 65,535 bytes, two SIDs and the header fit well.
const BYTES_MAX: usize = 256 * 1024;
/// Bytes of the header.
const HEADER: usize = 20;
const DACL_PRESENT: u16 = 0x4;
const SELF_RELATIVE: u16 = 0x8000;
/// The highest type of entry that [MS-DTYP] section 2.4.4.1 knows.
const KIND_MAX: u8 = 0x15;

/// A GUID as the wire has it: the first three parts little-endian.
pub type Guid = [u8; 16];

/// A GUID from its five groups, the last two as one number.
pub const fn guid(a: u32, b: u16, c: u16, rest: u64) -> Guid {
    let (a, b, c, d) = (a.to_le_bytes(), b.to_le_bytes(), c.to_le_bytes(), rest.to_be_bytes());
    let [a0, a1, a2, a3] = a;
    let ([b0, b1], [c0, c1]) = (b, c);
    let [d0, d1, d2, d3, d4, d5, d6, d7] = d;
    [a0, a1, a2, a3, b0, b1, c0, c1, d0, d1, d2, d3, d4, d5, d6, d7]
}

/// One access control entry that allows or denies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ace {
    pub allows: bool,
    /// A callback entry: it counts only where its condition holds, which we do not know.
    pub conditional: bool,
    /// [MS-DTYP] section 2.4.4.1.
    pub flags: u8,
    /// Generic bits are replaced by what they stand for.
    pub mask: u32,
    /// The property, property set, class or control-access right it is about; none means all of them.
    pub object: Option<Guid>,
    /// The class of objects below that inherit it; none means all of them.
    pub inherited_by: Option<Guid>,
    /// As text, `S-1-5-...`.
    pub trustee: String,
}

impl Ace {
    const CONTAINER_INHERIT: u8 = 0x02;
    const INHERIT_ONLY: u8 = 0x08;

    /// Whether it counts for the object itself.
    pub fn is_here(&self) -> bool {
        self.flags & Self::INHERIT_ONLY == 0
    }

    /// Whether it is there for what lies below and for nothing else.
    pub fn is_below_only(&self) -> bool {
        !self.is_here() && self.is_inherited_by_children()
    }

    /// Whether objects below inherit it.
    pub fn is_inherited_by_children(&self) -> bool {
        self.flags & Self::CONTAINER_INHERIT != 0
    }

    /// Whether it takes away for certain.
    pub fn denies(&self) -> bool {
        !self.allows && !self.conditional
    }
}

/// What a descriptor says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    pub owner: Option<String>,
    /// In order; none means that there is no list, so that everything is allowed to everybody.
    pub entries: Option<Vec<Ace>>,
}

/// The descriptor cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the security descriptor is malformed")]
pub struct Malformed;

impl Descriptor {
    /// Reads the value of `nTSecurityDescriptor`. What is not as [MS-DTYP] says is no descriptor: a right must not be missed
    /// because its bytes were odd.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let control = u16_at(bytes, 2).ok_or(Malformed)?;
        if bytes.len() > BYTES_MAX || bytes.first() != Some(&1) || control & SELF_RELATIVE == 0 {
            return Err(Malformed);
        }
        let part = |at: usize| -> Result<Option<&[u8]>, Malformed> {
            match usize::try_from(u32_at(bytes, at).ok_or(Malformed)?).map_err(|_| Malformed)? {
                0 => Ok(None),
                // nothing overlaps the header
                inside if inside < HEADER => Err(Malformed),
                inside => bytes.get(inside..).map(Some).ok_or(Malformed),
            }
        };
        let name =
            |part: Option<&[u8]>| part.map(|b| sid(b).map(|(text, _)| text).ok_or(Malformed)).transpose();
        let (owner, _group) = (name(part(4)?)?, name(part(8)?)?);
        let (_audit, list) = (part(12)?, part(16)?);
        let entries = match list {
            Some(list) if control & DACL_PRESENT != 0 => Some(acl(list)?),
            _ => None,
        };
        Ok(Descriptor { owner, entries })
    }

    /// Whether `who` can change the object or anything below it that inherits: property, child, owner, list of access, or
    /// somebody's password.
    pub fn lets_write(&self, who: &BTreeSet<String>) -> bool {
        let owns = self.owner.as_ref().is_some_and(|owner| who.contains(owner));
        owns || self.lets(who, WRITES, None) || self.lets(who, mask::CONTROL_ACCESS, Some(&RESET_PASSWORD))
    }

    /// Whether `who` holds this control-access right, by name or with all of them, here or below by inheritance.
    pub fn lets_control(&self, who: &BTreeSet<String>, right: &Guid) -> bool {
        let owns = self.owner.as_ref().is_some_and(|owner| who.contains(owner));
        owns || self.lets(who, mask::CONTROL_ACCESS, Some(right)) || self.lets(who, mask::WRITE_DACL, None)
    }

    /// Whether objects below, of every class, let `who` read all of their properties by what they inherit from here.
    pub fn lets_read_below(&self, who: &BTreeSet<String>) -> bool {
        let Some(entries) = &self.entries else { return false };
        let mut relevant = entries
            .iter()
            .filter(|ace| ace.is_inherited_by_children() && who.contains(&ace.trustee))
            .filter(|ace| ace.mask & mask::READ_PROPERTY != 0 && (!ace.allows || !ace.conditional));
        relevant
            .find(|ace| !ace.allows || (ace.object.is_none() && ace.inherited_by.is_none()))
            .is_some_and(|ace| ace.allows)
    }

    /// Whether `who` may list what is directly below ([MS-ADTS] section 5.1.3.2, ADS_RIGHT_ACTRL_DS_LIST).
    pub fn lets_list(&self, who: &BTreeSet<String>) -> bool {
        const LIST_CONTENTS: u32 = 0x4;
        self.lets(who, LIST_CONTENTS, None)
    }

    /// Whether some entry keeps `who` from seeing something, here or below: any property, what is below, or the object itself. The default
    /// lists of a domain have none, so that whoever adds one wants something hidden.
    pub fn denies_sight(&self, who: &BTreeSet<String>) -> bool {
        // list contents, list object
        let sight = mask::READ_PROPERTY | 0x4 | 0x80;
        let hides = |ace: &Ace| !ace.allows && ace.mask & sight != 0 && who.contains(&ace.trustee);
        self.entries.as_ref().is_some_and(|entries| entries.iter().any(hides))
    }

    /// Whether `who` may read every property of the object: a list that allows some hides the others, without any denial.
    pub fn shows_all(&self, who: &BTreeSet<String>) -> bool {
        let Some(entries) = &self.entries else { return true };
        let of_us =
            |ace: &&Ace| ace.is_here() && ace.mask & mask::READ_PROPERTY != 0 && who.contains(&ace.trustee);
        for ace in entries.iter().filter(of_us) {
            match (ace.allows, &ace.object) {
                (true, None) if !ace.conditional => return true,
                (true, _) => {}
                (false, _) => return false,
            }
        }
        false
    }

    /// Whether any bit of `mask` is allowed and not denied before. With `right`, entries about other objects do not count.
    fn lets(&self, who: &BTreeSet<String>, mask: u32, right: Option<&Guid>) -> bool {
        let Some(entries) = &self.entries else { return true };
        let mut denied = 0;
        for ace in entries.iter().filter(|ace| who.contains(&ace.trustee)) {
            let about = match (right, &ace.object) {
                (Some(right), Some(object)) => right == object,
                _ => true,
            };
            // a denial of one property, or for children only, leaves the rest allowed
            let whole = (right.is_some() || ace.object.is_none()) && ace.is_here();
            match (ace.allows, about) {
                (_, false) => {}
                (true, true) if ace.mask & mask & !denied != 0 => return true,
                (true, true) => {}
                (false, true) if whole && ace.denies() => denied |= ace.mask,
                (false, true) => {}
            }
        }
        false
    }
}

/// [MS-DTYP] section 2.4.5.
fn acl(bytes: &[u8]) -> Result<Vec<Ace>, Malformed> {
    // ACL_REVISION, ACL_REVISION_DS
    if !matches!(bytes.first(), Some(2 | 4)) {
        return Err(Malformed);
    }
    let size = usize::from(u16_at(bytes, 2).ok_or(Malformed)?);
    let count = u16_at(bytes, 4).ok_or(Malformed)?;
    let mut rest = bytes.get(8..size).ok_or(Malformed)?;
    let mut entries = Vec::new();
    for _ in 0..count {
        let size = usize::from(u16_at(rest, 2).ok_or(Malformed)?);
        if size < 8 || !size.is_multiple_of(4) {
            return Err(Malformed);
        }
        let (entry, after) = rest.split_at_checked(size).ok_or(Malformed)?;
        entries.extend(ace(entry)?);
        rest = after;
    }
    Ok(entries)
}

/// One entry, [MS-DTYP] sections 2.4.4.2 to 2.4.4.9; audit and other entries give none.
fn ace(bytes: &[u8]) -> Result<Option<Ace>, Malformed> {
    let [kind, flags, ..] = bytes else { return Err(Malformed) };
    let mask = generic(u32_at(bytes, 4).ok_or(Malformed)?);
    let (allows, has_objects) = match kind {
        0 | 9 => (true, false),
        1 | 10 => (false, false),
        5 | 11 => (true, true),
        6 | 12 => (false, true),
        ..=KIND_MAX => return Ok(None),
        _ => return Err(Malformed),
    };
    let mut at = 8;
    let (mut object, mut inherited_by) = (None, None);
    if has_objects {
        let present = u32_at(bytes, at).ok_or(Malformed)?;
        at += 4;
        for (bit, slot) in [(1, &mut object), (2, &mut inherited_by)] {
            if present & bit != 0 {
                *slot = Some(*bytes.get(at..).and_then(|b| b.first_chunk::<16>()).ok_or(Malformed)?);
                at += 16;
            }
        }
    }
    let (trustee, _) = bytes.get(at..).and_then(sid).ok_or(Malformed)?;
    let conditional = matches!(kind, 9..=12);
    Ok(Some(Ace { allows, conditional, flags: *flags, mask, object, inherited_by, trustee }))
}

/// The mask with each generic bit replaced by what it stands for ([MS-ADTS] section 5.1.3.2).
fn generic(found: u32) -> u32 {
    let meant = mask::GENERIC.iter().filter(|(bit, _)| found & bit != 0);
    meant.fold(found, |all, (bit, meaning)| (all & !bit) | meaning)
}

/// A SID as text ([MS-DTYP] section 2.4.2.1) and its length in bytes.
pub fn sid(bytes: &[u8]) -> Option<(String, usize)> {
    let [1, count, a, b, c, d, e, f, rest @ ..] = bytes else { return None };
    let count = usize::from(*count);
    let authority = u64::from_be_bytes([0, 0, *a, *b, *c, *d, *e, *f]);
    let subs = rest.get(..count * 4).filter(|_| count <= 15)?;
    let mut text = format!("S-1-{authority}");
    for sub in subs.as_chunks::<4>().0 {
        text.push('-');
        text.push_str(&u32::from_le_bytes(*sub).to_string());
    }
    Some((text, 8 + count * 4))
}

/// The bytes of a SID from its text; none when it is no SID.
pub fn sid_bytes(text: &str) -> Option<Vec<u8>> {
    let mut parts = text.strip_prefix("S-1-")?.split('-');
    let authority: u64 = parts.next()?.parse().ok()?;
    let subs: Vec<u32> = parts.map(str::parse).collect::<Result<_, _>>().ok()?;
    let [0, 0, authority @ ..] = authority.to_be_bytes() else { return None };
    let count = u8::try_from(subs.len()).ok().filter(|count| *count <= 15)?;
    let mut bytes = vec![1, count];
    bytes.extend(authority);
    bytes.extend(subs.iter().flat_map(|sub| sub.to_le_bytes()));
    Some(bytes)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk::<2>().map(|b| u16::from_le_bytes(*b))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk::<4>().map(|b| u32::from_le_bytes(*b))
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: &str = "S-1-5-21-1-2-3-1105";

    const INHERIT_ONLY: u8 = 0x08;

    fn sid_bytes(subs: &[u32]) -> Vec<u8> {
        let mut bytes = vec![1, u8::try_from(subs.len()).unwrap(), 0, 0, 0, 0, 0, 5];
        bytes.extend(subs.iter().flat_map(|s| s.to_le_bytes()));
        bytes
    }

    fn us() -> Vec<u8> {
        sid_bytes(&[21, 1, 2, 3, 1105])
    }

    fn entry(kind: u8, flags: u8, mask: u32, object: Option<&Guid>, trustee: &[u8]) -> Vec<u8> {
        let mut body = mask.to_le_bytes().to_vec();
        if matches!(kind, 5 | 6 | 11 | 12) {
            body.extend(u32::from(object.is_some()).to_le_bytes());
            body.extend(object.into_iter().flatten());
        }
        body.extend(trustee);
        let mut ace = vec![kind, flags];
        ace.extend(u16::try_from(body.len() + 4).unwrap().to_le_bytes());
        ace.extend(body);
        ace
    }

    fn descriptor(entries: &[Vec<u8>]) -> Vec<u8> {
        let owner = sid_bytes(&[32, 544]);
        let body: Vec<u8> = entries.concat();
        let mut sd = vec![1, 0, 4, 0x80];
        sd.extend(20u32.to_le_bytes());
        sd.extend(0u32.to_le_bytes());
        sd.extend(0u32.to_le_bytes());
        sd.extend(u32::try_from(20 + owner.len()).unwrap().to_le_bytes());
        sd.extend(&owner);
        sd.extend([4, 0]);
        sd.extend(u16::try_from(8 + body.len()).unwrap().to_le_bytes());
        sd.extend(u16::try_from(entries.len()).unwrap().to_le_bytes());
        sd.extend([0, 0]);
        sd.extend(body);
        sd
    }

    fn parsed(entries: &[Vec<u8>]) -> Descriptor {
        Descriptor::parse(&descriptor(entries)).unwrap()
    }

    fn who() -> BTreeSet<String> {
        [US.to_owned(), "S-1-1-0".to_owned()].into()
    }

    #[test]
    fn guids_are_as_the_wire_has_them() {
        assert_eq!(GET_CHANGES_ALL[..4], [0xad, 0xf6, 0x31, 0x11]);
        assert_eq!(GET_CHANGES_ALL[8..], [0xf7, 0x9f, 0x00, 0xc0, 0x4f, 0xc2, 0xdc, 0xd2]);
    }

    #[test]
    fn reading_is_no_write() {
        let sd = parsed(&[entry(0, 0, 0x0002_0094, None, &us())]);
        assert_eq!(sd.owner.as_deref(), Some("S-1-5-32-544"));
        assert!(!sd.lets_write(&who()));
        assert!(!sd.lets_control(&who(), &GET_CHANGES_ALL));
    }

    #[test]
    fn rights_are_found() {
        let all = parsed(&[entry(0, 0, mask::GENERIC_ALL, None, &us())]);
        assert!(all.lets_write(&who()) && all.lets_control(&who(), &GET_CHANGES_ALL));
        let one = parsed(&[entry(5, 0, mask::CONTROL_ACCESS, Some(&GET_CHANGES_ALL), &us())]);
        assert!(one.lets_control(&who(), &GET_CHANGES_ALL));
        assert!(!one.lets_control(&who(), &GET_CHANGES_FILTERED) && !one.lets_write(&who()));
        let every = parsed(&[entry(0, 0, mask::CONTROL_ACCESS, None, &us())]);
        assert!(every.lets_control(&who(), &GET_CHANGES_FILTERED) && every.lets_write(&who()));
        let below = parsed(&[entry(5, INHERIT_ONLY | 2, 0x20, Some(&RESET_PASSWORD), &us())]);
        assert!(below.lets_write(&who()));
        let other = parsed(&[entry(0, 0, mask::GENERIC_ALL, None, &sid_bytes(&[32, 544]))]);
        assert!(!other.lets_write(&who()));
    }

    #[test]
    fn a_denial_before_counts_and_after_does_not() {
        let deny = entry(1, 0, mask::GENERIC_ALL, None, &us());
        let allow = entry(0, 0, 0x20, None, &us());
        assert!(!parsed(&[deny.clone(), allow.clone()]).lets_write(&who()));
        assert!(parsed(&[allow, deny]).lets_write(&who()));
    }

    #[test]
    fn the_owner_and_no_list_mean_everything() {
        let admins: BTreeSet<String> = ["S-1-5-32-544".to_owned()].into();
        assert!(parsed(&[]).lets_write(&admins));
        assert!(!parsed(&[]).lets_write(&who()));
        let open = Descriptor { owner: None, entries: None };
        assert!(open.lets_write(&who()));
    }

    #[test]
    fn garbage_is_an_error_and_no_panic() {
        let good = descriptor(&[entry(5, 0, 1, Some(&RESET_PASSWORD), &us()), entry(0, 0, 1, None, &us())]);
        for cut in 0..good.len() {
            let _ = Descriptor::parse(&good[..cut]);
        }
        for at in 0..good.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bent = good.clone();
                bent[at] = value;
                let _ = Descriptor::parse(&bent);
            }
        }
        assert!(Descriptor::parse(&[]).is_err());
    }

    #[test]
    fn generic_bits_mean_what_a_directory_makes_of_them() {
        assert_eq!(generic(mask::GENERIC_ALL), mask::FULL_CONTROL);
        assert_eq!(generic(0x4000_0000), 0x2_0028);
        assert_eq!(generic(0x30), 0x30);
    }

    #[test]
    fn a_condition_may_allow_and_never_denies_for_certain() {
        let deny = entry(10, 0, mask::GENERIC_ALL, None, &us());
        let allow = entry(9, 0, 0x20, None, &us());
        let sd = parsed(&[deny, allow]);
        assert!(sd.entries.as_ref().unwrap().iter().all(|ace| ace.conditional));
        assert!(sd.lets_write(&who()));
    }

    #[test]
    fn reading_below_needs_an_entry_for_every_class() {
        let list = parsed(&[entry(0, 2, 0x4, None, &us())]);
        assert!(!list.lets_read_below(&who()));
        assert!(parsed(&[entry(0, 2, 0x10, None, &us())]).lets_read_below(&who()));
        let denied = parsed(&[entry(1, 2, 0x10, None, &us()), entry(0, 2, 0x10, None, &us())]);
        assert!(!denied.lets_read_below(&who()));
        assert!(!parsed(&[entry(0, 0, 0x10, None, &us())]).lets_read_below(&who()));
    }

    #[test]
    fn what_is_not_as_it_should_be_is_refused() {
        let good = descriptor(&[entry(0, 0, 1, None, &us())]);
        for (at, value) in [(0, 2), (3, 0), (4, 8), (16, 0xff), (36, 3), (40, 0xff), (44, 0x16), (46, 7)] {
            let mut bent = good.clone();
            bent[at] = value;
            assert_eq!(Descriptor::parse(&bent), Err(Malformed), "byte {at} as {value}");
        }
        assert!(Descriptor::parse(&vec![1; BYTES_MAX + 1]).is_err());
    }

    #[test]
    fn sids_there_and_back() {
        for text in ["S-1-1-0", "S-1-5-32-544", US] {
            assert_eq!(sid(&super::sid_bytes(text).unwrap()).unwrap().0, text);
        }
        assert_eq!(super::sid_bytes("S-1-5-x"), None);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = Descriptor::parse(&bytes);
        }

        #[test]
        fn entries_come_back_as_they_were(
            list in proptest::collection::vec((0..4usize, 0u8..32, 0u32..0x10_0000, proptest::bool::ANY), 0..20)
        ) {
            let kinds = [0u8, 1, 5, 6];
            let made: Vec<Vec<u8>> = list.iter().map(|(kind, flags, mask, object)| {
                let object = (kinds[*kind] >= 5 && *object).then_some(&RESET_PASSWORD);
                entry(kinds[*kind], *flags, *mask, object, &us())
            }).collect();
            let read = parsed(&made).entries.unwrap();
            proptest::prop_assert_eq!(read.len(), list.len());
            for (ace, (kind, flags, mask, object)) in read.iter().zip(&list) {
                proptest::prop_assert_eq!(ace.allows, kind % 2 == 0);
                proptest::prop_assert_eq!((ace.flags, ace.mask), (*flags, *mask));
                proptest::prop_assert_eq!(ace.object.is_some(), kinds[*kind] >= 5 && *object);
            }
        }
    }
}
