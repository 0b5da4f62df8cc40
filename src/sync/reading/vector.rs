//! What a domain controller has of the others: the vector with which controllers keep each other up to date.

use crate::directory::client::Directory;
use crate::directory::request::{Scope, Search};
use crate::ldap::filter::Filter;
use crate::sync::terms::error::SyncError;
use crate::sync::terms::guid::Guid;

/// On the head of a naming context; its value is UPTODATE_VECTOR (MS-DRSR 5.166), little-endian.
const VECTOR: &str = "replUpToDateVector";
/// Version, a reserved number, how many cursors follow, a reserved number.
const HEAD: usize = 16;

/// Up to which USN of the controller with this invocationId the answering one has everything; none when it does not say.
pub async fn position(directory: &mut Directory, base: &str, of: &Guid) -> Result<Option<u64>, SyncError> {
    let search = Search::new(base, Scope::Base, Filter::present("objectClass"), &[VECTOR]);
    let (entries, _) = directory.read(&search).await.map_err(SyncError::Source)?;
    Ok(entries.first().and_then(|entry| entry.first(VECTOR)).and_then(|value| cursor(value, of)))
}

/// The cursor of one controller. Version 1 has 24 bytes for each: its GUID and the USN; version 2 has a time as well.
fn cursor(value: &[u8], of: &Guid) -> Option<u64> {
    let number = |at: usize| Some(u32::from_le_bytes(value.get(at..at + 4)?.try_into().ok()?));
    let size = match number(0)? {
        1 => 24,
        2 => 32,
        _ => return None,
    };
    let count = usize::try_from(number(8)?).ok()?;
    let cursors = value.get(HEAD..)?.chunks_exact(size).take(count);
    let mut mine = cursors.filter(|cursor| cursor.get(..16) == Some(of.0.as_slice()));
    Some(u64::from_le_bytes(mine.next()?.get(16..24)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(version: u32, cursors: &[(u8, u64)]) -> Vec<u8> {
        let mut out = Vec::new();
        for number in [version, 0, u32::try_from(cursors.len()).unwrap(), 0] {
            out.extend(number.to_le_bytes());
        }
        for (guid, usn) in cursors {
            out.extend([*guid; 16]);
            out.extend(usn.to_le_bytes());
            if version == 2 {
                out.extend([0; 8]);
            }
        }
        out
    }

    #[test]
    fn the_cursor_of_a_controller_is_found_or_there_is_none() {
        for version in [1, 2] {
            let value = vector(version, &[(1, 10), (2, 4_000_000_000)]);
            assert_eq!(cursor(&value, &Guid([2; 16])), Some(4_000_000_000));
            assert_eq!(cursor(&value, &Guid([3; 16])), None);
            for length in 0..value.len() - 8 {
                assert_eq!(cursor(&value[..length], &Guid([2; 16])), None, "{length}");
            }
        }
        assert_eq!(cursor(&vector(3, &[(1, 10)]), &Guid([1; 16])), None);
    }
}
