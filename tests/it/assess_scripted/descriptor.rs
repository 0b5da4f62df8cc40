//! Security descriptors, made to order ([MS-DTYP] section 2.4.6).

use portcullis::assess::probes::descriptor::{Guid, mask, sid_bytes};

/// The domain of all accounts here.
pub const DOMAIN: &str = "S-1-5-21-1-2-3";
pub const AUTHENTICATED: &str = "S-1-5-11";
const SYSTEM: &str = "S-1-5-18";
/// Read control, list and read properties.
pub const READ: u32 = 0x0002_0094;
const CONTAINER_INHERIT: u8 = 0x02;

/// The SID of an account or group of the domain.
pub fn sid(rid: u32) -> String {
    format!("{DOMAIN}-{rid}")
}

/// The same as the wire has it.
pub fn sid_value(text: &str) -> Vec<u8> {
    sid_bytes(text).unwrap()
}

/// An entry that allows.
#[derive(Debug, Clone)]
pub struct Allow {
    trustee: String,
    mask: u32,
    object: Option<Guid>,
    flags: u8,
}

/// Allows `mask` to a SID, here.
pub fn allow(trustee: &str, mask: u32) -> Allow {
    Allow { trustee: trustee.to_owned(), mask, object: None, flags: 0 }
}

impl Allow {
    /// Only about this property, class or right.
    pub fn about(self, object: Guid) -> Allow {
        Allow { object: Some(object), ..self }
    }

    /// Here and on everything below.
    pub fn inherited(self) -> Allow {
        Allow { flags: CONTAINER_INHERIT, ..self }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut body = self.mask.to_le_bytes().to_vec();
        if let Some(object) = &self.object {
            body.extend(1u32.to_le_bytes());
            body.extend(object);
        }
        body.extend(sid_value(&self.trustee));
        let kind = if self.object.is_some() { 5 } else { 0 };
        let size = u16::try_from(body.len() + 4).unwrap().to_le_bytes();
        [&[kind, self.flags][..], &size, &body].concat()
    }
}

/// A self-relative descriptor: owner, no group, no audit list.
fn descriptor(owner: &str, entries: &[Allow]) -> Vec<u8> {
    let owner = sid_value(owner);
    let body: Vec<u8> = entries.iter().flat_map(Allow::bytes).collect();
    let list = u32::try_from(20 + owner.len()).unwrap();
    let head = [&[1, 0, 4, 0x80][..], &[20, 0, 0, 0], &[0; 8], &list.to_le_bytes()].concat();
    let size = u16::try_from(8 + body.len()).unwrap().to_le_bytes();
    let count = u16::try_from(entries.len()).unwrap().to_le_bytes();
    [&head[..], &owner, &[4, 0], &size, &count, &[0, 0], &body].concat()
}

/// What Domain Admins own and rule, everybody reads, and where others have `more`.
pub fn ruled(more: &[Allow]) -> Vec<u8> {
    owned_by(&sid(512), more)
}

/// The same with another owner.
pub fn owned_by(owner: &str, more: &[Allow]) -> Vec<u8> {
    let usual =
        [allow(&sid(512), mask::FULL_CONTROL), allow(SYSTEM, mask::FULL_CONTROL), allow(AUTHENTICATED, READ)];
    descriptor(owner, &[&usual, more].concat())
}

/// What shows everybody its general information and no other property, without a denial.
pub fn narrow() -> Vec<u8> {
    const READ_PROPERTY: u32 = 0x10;
    // 59ba2f42-79a2-11d0-9020-00c04fc2d3cf, General-Information ([MS-ADTS] section 3.1.1.2.3.3)
    const GENERAL: Guid =
        [0x42, 0x2f, 0xba, 0x59, 0xa2, 0x79, 0xd0, 0x11, 0x90, 0x20, 0, 0xc0, 0x4f, 0xc2, 0xd3, 0xcf];
    let owner = sid(512);
    let shown = allow(AUTHENTICATED, READ_PROPERTY).about(GENERAL);
    descriptor(
        &owner,
        &[allow(&owner, mask::FULL_CONTROL), allow(AUTHENTICATED, READ & !READ_PROPERTY), shown],
    )
}

/// What everybody sees, and nobody but Domain Admins may list: what is below it is hidden.
pub fn dark() -> Vec<u8> {
    const LIST: u32 = 0x4;
    let owner = sid(512);
    descriptor(&owner, &[allow(&owner, mask::FULL_CONTROL), allow(AUTHENTICATED, READ & !LIST)])
}
