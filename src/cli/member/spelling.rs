//! What a request's names and addresses must look like: what cannot be right is refused when it is typed, not found out by an
//! assessment.

use std::net::IpAddr;

use crate::baseline::attestation::public_key;
use crate::ldap::dn::Dn;
use crate::policy::signature::{is_weak, unhex};

/// The longest DNS name, and the longest part of one.
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

fn is_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=LABEL_BYTES_MAX).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    text.len() <= NAME_BYTES_MAX && text.split('.').all(label)
}

/// A mail domain, in lower case.
pub fn mail_domain(text: &str) -> Result<String, String> {
    if is_name(text) && text.contains('.') {
        Ok(text.to_lowercase())
    } else {
        Err("write what stands behind the @, for example trust.nhs.uk; other alphabets as xn--".to_owned())
    }
}

/// A UPN suffix, in lower case; a forest may have one of a single label.
pub fn upn_suffix(text: &str) -> Result<String, String> {
    if is_name(text) {
        Ok(text.to_lowercase())
    } else {
        Err("write what stands behind the @, for example trust.nhs.uk".to_owned())
    }
}

/// A KDC as `HOST`, `HOST:PORT`, an address, or `[ADDRESS]:PORT`.
pub fn kdc(text: &str) -> Result<String, String> {
    let wrong = || "write HOST[:PORT], for example dc1.trust.test or [2001:db8::1]:88".to_owned();
    let bare: Result<IpAddr, _> = text.parse();
    if bare.is_ok() {
        return Ok(text.to_owned());
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !text.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host_is_good = match inner {
        Some(address) => address.parse::<IpAddr>().is_ok_and(|address| address.is_ipv6()),
        None => is_name(host),
    };
    let port_is_good = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port != 0));
    if host_is_good && port_is_good { Ok(text.to_owned()) } else { Err(wrong()) }
}

/// A public key for attestations.
pub fn attestation_key(text: &str) -> Result<String, String> {
    match public_key(text) {
        Some(_) => Ok(text.to_owned()),
        None if unhex(text).is_some_and(|key| key.len() == 32 && is_weak(&key)) => Err(
            "anybody can sign for this key: write what `portcullis attestation key` prints at the member's"
                .to_owned(),
        ),
        None => {
            Err("write 64 hex digits in lower case, as `portcullis attestation key` prints them".to_owned())
        }
    }
}

/// A distinguished name that is not the root's, as written.
pub fn name(text: &str) -> Result<String, String> {
    match Dn::parse(text) {
        Ok(name) if !name.is_root() => Ok(text.to_owned()),
        Ok(_) => Err("write a distinguished name, for example DC=trust,DC=test".to_owned()),
        Err(error) => Err(format!("{error}; write a distinguished name, for example DC=trust,DC=test")),
    }
}

/// Whether `below` lies in the tree of `base`, both as [`name`] lets them through.
pub fn lies_in(below: &str, base: &str) -> bool {
    matches!((Dn::parse(below), Dn::parse(base)), (Ok(below), Ok(base)) if below.is_at_or_below(&base))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_right_is_refused() {
        for good in ["dc1", "dc1.a.test:88", "10.0.0.1", "10.0.0.1:88", "::1", "[::1]", "[::1]:88"] {
            assert_eq!(kdc(good).as_deref(), Ok(good));
        }
        for bad in ["", ":88", "a b", "host:", "host:0", "host:kdc", "[::1", "[dc1]:88", "ldap://dc1", "a..b"]
        {
            assert!(kdc(bad).is_err(), "{bad}");
        }
        assert_eq!(mail_domain("Trust.NHS.uk").as_deref(), Ok("trust.nhs.uk"));
        for bad in ["", "@trust.nhs.uk", "trust", "trust.nhs.uk.", "jo@trust.nhs.uk", "*.nhs.uk", "-a.uk"] {
            assert!(mail_domain(bad).is_err(), "{bad}");
        }
        assert!(upn_suffix("trust").is_ok() && upn_suffix("@trust").is_err() && upn_suffix("a b").is_err());
        let identity = format!("01{}", "00".repeat(31));
        assert!(attestation_key(&identity).is_err_and(|why| why.contains("anybody can sign")));
        assert!(attestation_key("01").is_err_and(|why| why.contains("64 hex digits")));
        assert!(name("DC=a,DC=test").is_ok() && name("").is_err() && name("a.test").is_err());
        assert!(lies_in("CN=x,dc=A,DC=test", "DC=a,DC=test") && !lies_in("DC=b,DC=test", "DC=a,DC=test"));
    }
}
