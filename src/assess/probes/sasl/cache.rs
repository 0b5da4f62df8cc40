//! MIT's ticket cache in a file (its format 4, as `kinit` and `kvno` write it): one service ticket is taken out of it.

use zeroize::Zeroizing;

/// A cache with a few tickets has a few kilobytes; those with many groups in them have 64.
pub const BYTES_MAX: u64 = 1 << 20;
/// Names have two parts, seldom three.
const PARTS_MAX: u32 = 16;
/// The header field that holds the KDC's clock less ours.
const TIME_OFFSET: u16 = 1;

/// A ticket with what proves that it is ours.
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket {
    /// Whose it is.
    pub realm: String,
    pub name: Vec<String>,
    /// RFC 4120 section 6.2.
    pub name_type: i32,
    /// The encryption type of the session key.
    pub key_type: i32,
    pub key: Zeroizing<Vec<u8>>,
    /// DER.
    pub ticket: Vec<u8>,
    /// Seconds that the KDC's clock was ahead of ours.
    pub clock_offset: i32,
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ticket")
            .field("name", &self.name)
            .field("key_type", &self.key_type)
            .finish_non_exhaustive()
    }
}

/// The ticket for `service` on `host`, by name without case.
pub fn ticket_for(bytes: &[u8], service: &str, host: &str) -> Result<Ticket, String> {
    read(bytes, service, host)
        .ok_or_else(|| "the ticket cache cannot be read".to_owned())?
        .ok_or_else(|| format!("the ticket cache holds no ticket for {service}/{host}"))
}

/// None when the bytes are no cache; none inside when it does not hold the ticket.
fn read(bytes: &[u8], service: &str, host: &str) -> Option<Option<Ticket>> {
    let mut bytes = Bytes(bytes);
    if bytes.take(2)? != [5, 4] {
        return None;
    }
    let clock_offset = header(&mut bytes)?;
    principal(&mut bytes)?;
    while !bytes.0.is_empty() {
        let client = principal(&mut bytes)?;
        let server = principal(&mut bytes)?;
        let key_type = i32::from(bytes.u16()?);
        let key = Zeroizing::new(bytes.data()?.to_vec());
        // four times, whether it is encrypted in another session key, its flags
        bytes.take(4 * 4 + 1 + 4)?;
        for _ in 0..2 {
            // addresses, then authorization data
            for _ in 0..bytes.u32()? {
                bytes.u16()?;
                bytes.data()?;
            }
        }
        let ticket = bytes.data()?.to_vec();
        bytes.data()?;
        let is = |part: Option<&String>, wanted: &str| part.is_some_and(|p| p.eq_ignore_ascii_case(wanted));
        if server.name.len() == 2 && is(server.name.first(), service) && is(server.name.last(), host) {
            let Principal { realm, name, name_type } = client;
            return Some(Some(Ticket { realm, name, name_type, key_type, key, ticket, clock_offset }));
        }
    }
    Some(None)
}

fn header(bytes: &mut Bytes<'_>) -> Option<i32> {
    let length = usize::from(bytes.u16()?);
    let mut fields = Bytes(bytes.take(length)?);
    let mut offset = 0;
    while !fields.0.is_empty() {
        let (tag, length) = (fields.u16()?, usize::from(fields.u16()?));
        let mut value = Bytes(fields.take(length)?);
        if tag == TIME_OFFSET {
            offset = i32::from_be_bytes(value.take(4)?.try_into().ok()?);
        }
    }
    Some(offset)
}

struct Principal {
    realm: String,
    name: Vec<String>,
    name_type: i32,
}

fn principal(bytes: &mut Bytes<'_>) -> Option<Principal> {
    let name_type = i32::from_be_bytes(bytes.take(4)?.try_into().ok()?);
    let parts = bytes.u32().filter(|parts| *parts <= PARTS_MAX)?;
    let realm = bytes.text()?;
    let name = (0..parts).map(|_| bytes.text()).collect::<Option<Vec<_>>>()?;
    Some(Principal { realm, name, name_type })
}

/// What is left to read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    fn data(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.u32()?).ok()?;
        self.take(length)
    }

    fn text(&mut self) -> Option<String> {
        String::from_utf8(self.data()?.to_vec()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(bytes: &[u8]) -> Vec<u8> {
        [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
    }

    fn named(realm: &str, parts: &[&str]) -> Vec<u8> {
        let mut out = [1_u32.to_be_bytes(), u32::try_from(parts.len()).unwrap().to_be_bytes()].concat();
        out.extend(data(realm.as_bytes()));
        parts.iter().for_each(|part| out.extend(data(part.as_bytes())));
        out
    }

    fn credential(server: &[&str], ticket: &[u8]) -> Vec<u8> {
        let mut out = [named("X.TEST", &["svc"]), named("X.TEST", server)].concat();
        out.extend([0, 18]);
        out.extend(data(&[7; 32]));
        out.extend([0; 21]);
        // one address, no authorization data
        out.extend([0, 0, 0, 1, 0, 2]);
        out.extend(data(&[127, 0, 0, 1]));
        out.extend([0; 4]);
        out.extend(data(ticket));
        out.extend(data(b""));
        out
    }

    fn cache() -> Vec<u8> {
        let mut out = vec![5, 4, 0, 12, 0, 1, 0, 8, 255, 255, 255, 254, 0, 0, 0, 0];
        out.extend(named("X.TEST", &["svc"]));
        out.extend(credential(&["krbtgt", "X.TEST"], b"one"));
        out.extend(credential(&["ldap", "dc1.x.test"], b"two"));
        out
    }

    #[test]
    fn a_ticket_is_found_by_name() {
        let found = ticket_for(&cache(), "ldap", "DC1.x.test").unwrap();
        assert_eq!((found.ticket.as_slice(), found.key_type, found.clock_offset), (&b"two"[..], 18, -2));
        assert_eq!((found.realm.as_str(), found.name), ("X.TEST", vec!["svc".to_owned()]));
        assert!(ticket_for(&cache(), "ldap", "dc2.x.test").unwrap_err().contains("no ticket for ldap/dc2"));
    }

    #[test]
    fn a_cache_that_is_cut_or_changed_is_refused_or_holds_less() {
        let whole = cache();
        for length in 0..whole.len() {
            assert!(ticket_for(&whole[..length], "ldap", "dc1.x.test").is_err(), "{length}");
        }
        for place in 0..whole.len() {
            let mut changed = whole.clone();
            changed[place] ^= 0xff;
            let _ = ticket_for(&changed, "ldap", "dc1.x.test");
        }
        let mut many = whole.clone();
        // so many parts of a name that nothing could hold them
        many[20..24].copy_from_slice(&[255; 4]);
        assert!(ticket_for(&many, "ldap", "dc1.x.test").is_err());
    }
}
