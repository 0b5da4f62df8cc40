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

/// Create child, delete child, self write, write property, delete tree, delete, write DACL, write owner, generic write
/// and generic all ([MS-ADTS] section 5.1.3.2).
const WRITES: u32 =
    0x1 | 0x2 | 0x8 | 0x20 | 0x40 | 0x1_0000 | 0x4_0000 | 0x8_0000 | 0x4000_0000 | 0x1000_0000;
const WRITE_DACL: u32 = 0x4_0000;
const CONTROL_ACCESS: u32 = 0x100;
const GENERIC_ALL: u32 = 0x1000_0000;
const INHERIT_ONLY: u8 = 0x08;

/// A GUID as the wire has it: the first three parts little-endian.
pub type Guid = [u8; 16];

const fn guid(a: u32, b: u16, c: u16, rest: u64) -> Guid {
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
    /// [MS-DTYP] section 2.4.4.1.
    pub flags: u8,
    pub mask: u32,
    /// The property, property set, child class or control-access right it is about; none means all of them.
    pub object: Option<Guid>,
    /// As text, `S-1-5-...`.
    pub trustee: String,
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
    /// Reads the value of `nTSecurityDescriptor`.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let word = |at: usize| u32_at(bytes, at).and_then(|v| usize::try_from(v).ok()).ok_or(Malformed);
        if bytes.first() != Some(&1) {
            return Err(Malformed);
        }
        let control = u16_at(bytes, 2).ok_or(Malformed)?;
        let (owner_at, dacl_at) = (word(4)?, word(16)?);
        let owner = match owner_at {
            0 => None,
            at => Some(sid(bytes.get(at..).ok_or(Malformed)?).ok_or(Malformed)?.0),
        };
        // SE_DACL_PRESENT
        let entries = match (control & 0x4, dacl_at) {
            (0, _) | (_, 0) => None,
            (_, at) => Some(acl(bytes.get(at..).ok_or(Malformed)?)?),
        };
        Ok(Descriptor { owner, entries })
    }

    /// Whether `who` can change the object or anything below it that inherits: property, child, owner, list of access, or
    /// somebody's password.
    pub fn lets_write(&self, who: &BTreeSet<String>) -> bool {
        let owns = self.owner.as_ref().is_some_and(|owner| who.contains(owner));
        owns || self.lets(who, WRITES, None) || self.lets(who, CONTROL_ACCESS, Some(&RESET_PASSWORD))
    }

    /// Whether `who` holds this control-access right, by name or with all of them, here or below by inheritance.
    pub fn lets_control(&self, who: &BTreeSet<String>, right: &Guid) -> bool {
        let owns = self.owner.as_ref().is_some_and(|owner| who.contains(owner));
        owns || self.lets(who, CONTROL_ACCESS, Some(right)) || self.lets(who, WRITE_DACL, None)
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
            let granted = if ace.mask & GENERIC_ALL == 0 { ace.mask } else { ace.mask | mask };
            // a denial of one property, or for children only, leaves the rest allowed
            let whole = (right.is_some() || ace.object.is_none()) && ace.flags & INHERIT_ONLY == 0;
            match (ace.allows, about) {
                (_, false) => {}
                (true, true) if granted & mask & !denied != 0 => return true,
                (true, true) => {}
                (false, true) if whole => denied |= granted,
                (false, true) => {}
            }
        }
        false
    }
}

fn acl(bytes: &[u8]) -> Result<Vec<Ace>, Malformed> {
    let size = usize::from(u16_at(bytes, 2).ok_or(Malformed)?);
    let count = u16_at(bytes, 4).ok_or(Malformed)?;
    let mut rest = bytes.get(8..size).ok_or(Malformed)?;
    let mut entries = Vec::new();
    for _ in 0..count {
        let size = usize::from(u16_at(rest, 2).ok_or(Malformed)?);
        if size < 8 {
            return Err(Malformed);
        }
        let (entry, after) = rest.split_at_checked(size).ok_or(Malformed)?;
        entries.extend(ace(entry)?);
        rest = after;
    }
    Ok(entries)
}

/// One entry, [MS-DTYP] sections 2.4.4.2 to 2.4.4.5; audit and other entries give none.
fn ace(bytes: &[u8]) -> Result<Option<Ace>, Malformed> {
    let [kind, flags, ..] = bytes else { return Err(Malformed) };
    let mask = u32_at(bytes, 4).ok_or(Malformed)?;
    let (allows, has_objects) = match kind {
        0 | 9 => (true, false),
        1 | 10 => (false, false),
        5 | 11 => (true, true),
        6 | 12 => (false, true),
        _ => return Ok(None),
    };
    let mut at = 8;
    let mut object = None;
    if has_objects {
        let present = u32_at(bytes, at).ok_or(Malformed)?;
        at += 4;
        if present & 1 != 0 {
            object = Some(*bytes.get(at..).and_then(|b| b.first_chunk::<16>()).ok_or(Malformed)?);
            at += 16;
        }
        if present & 2 != 0 {
            at += 16;
        }
    }
    let (trustee, _) = bytes.get(at..).and_then(sid).ok_or(Malformed)?;
    Ok(Some(Ace { allows, flags: *flags, mask, object, trustee }))
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
        if kind >= 5 {
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
        let all = parsed(&[entry(0, 0, GENERIC_ALL, None, &us())]);
        assert!(all.lets_write(&who()) && all.lets_control(&who(), &GET_CHANGES_ALL));
        let one = parsed(&[entry(5, 0, CONTROL_ACCESS, Some(&GET_CHANGES_ALL), &us())]);
        assert!(one.lets_control(&who(), &GET_CHANGES_ALL));
        assert!(!one.lets_control(&who(), &GET_CHANGES_FILTERED) && !one.lets_write(&who()));
        let every = parsed(&[entry(0, 0, CONTROL_ACCESS, None, &us())]);
        assert!(every.lets_control(&who(), &GET_CHANGES_FILTERED) && every.lets_write(&who()));
        let below = parsed(&[entry(5, INHERIT_ONLY | 2, 0x20, Some(&RESET_PASSWORD), &us())]);
        assert!(below.lets_write(&who()));
        let other = parsed(&[entry(0, 0, GENERIC_ALL, None, &sid_bytes(&[32, 544]))]);
        assert!(!other.lets_write(&who()));
    }

    #[test]
    fn a_denial_before_counts_and_after_does_not() {
        let deny = entry(1, 0, GENERIC_ALL, None, &us());
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
}
