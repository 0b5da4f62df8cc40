//! Which addresses a gateway may ask for a list: the place is written in a certificate of somebody whom it does not trust.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A network, as in `10.1.0.0/16`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    first: IpAddr,
    bits: u8,
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fault = || format!("`{text}` is no network; write it as 10.1.0.0/16 or fd00::/8");
        let (first, bits) = text.split_once('/').ok_or_else(fault)?;
        let (first, bits): (IpAddr, u8) =
            (first.parse().map_err(|_| fault())?, bits.parse().map_err(|_| fault())?);
        let whole = if first.is_ipv4() { 32 } else { 128 };
        if bits > whole {
            return Err(fault());
        }
        Ok(Network { first, bits })
    }
}

impl Network {
    fn holds(self, address: IpAddr) -> bool {
        match (self.first, address) {
            (IpAddr::V4(first), IpAddr::V4(address)) => {
                let differs = u32::from(first) ^ u32::from(address);
                self.bits == 0 || differs.checked_shr(32 - u32::from(self.bits)) == Some(0)
            }
            (IpAddr::V6(first), IpAddr::V6(address)) => {
                let differs = u128::from(first) ^ u128::from(address);
                self.bits == 0 || differs.checked_shr(128 - u32::from(self.bits)) == Some(0)
            }
            _ => false,
        }
    }
}

/// Whether a list may be fetched from there: from everybody's addresses, and from the networks that were named. An IPv6
/// address that stands for an IPv4 address is that one.
pub fn is_allowed(address: IpAddr, networks: &[Network]) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.holds(address)) || is_public(address)
}

/// Addresses that belong to somebody in the Internet (IANA's special-purpose registries, RFC 6890).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// What a machine in Azure asks for its own settings: routed to its host alone, from an address that looks like anybody's.
const WIRE_SERVER: Ipv4Addr = Ipv4Addr::new(168, 63, 129, 16);

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = matches!(
        (a, b, c),
        // this network, loopback, multicast and what is reserved
        (0 | 127 | 224..=255, _, _)
            // private use (RFC 1918), shared (RFC 6598), link-local: there are metadata services of clouds
            | (10, _, _)
            | (172, 16..=31, _)
            | (192, 168, _)
            | (100, 64..=127, _)
            | (169, 254, _)
            // protocols, documentation, 6to4 relays, benchmarks
            | (192, 0, 0 | 2)
            | (192, 88, 99)
            | (198, 18..=19, _)
            | (198, 51, 100)
            | (203, 0, 113)
    );
    !special && address != WIRE_SERVER
}

/// Global unicast but for what is special in it; what translates to IPv4 addresses is left out with it.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    let global = a & 0xe000 == 0x2000;
    // protocols (Teredo, ORCHID) and documentation, 6to4, documentation
    let special = (a == 0x2001 && (b < 0x200 || b == 0xdb8)) || a == 0x2002 || (a == 0x3fff && b < 0x1000);
    global && !special
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(address: &str, networks: &[&str]) -> bool {
        let networks: Vec<Network> = networks.iter().map(|network| network.parse().unwrap()).collect();
        is_allowed(address.parse().unwrap(), &networks)
    }

    #[test]
    fn addresses_that_are_ours_or_nobodys_are_not_asked() {
        for address in [
            "127.0.0.1",
            "127.88.60.1",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "169.254.169.254",
            "192.0.0.192",
            "168.63.129.16",
            "100.100.100.200",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "fd00:ec2::254",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::ffff:168.63.129.16",
            "::ffff:100.100.100.200",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::a83f:8110",
            "64:ff9b:1::a9fe:a9fe",
            "2002:a83f:8110::1",
            "2002:a9fe:a9fe::",
            "fd20:ce::254",
            "2002:7f00:1::",
            "2001:0:7f00:1::",
            "2001:db8::1",
        ] {
            assert!(!allowed(address, &[]), "{address}");
        }
        for address in [
            "8.8.8.8",
            "168.63.129.17",
            "172.15.0.1",
            "172.32.0.1",
            "100.63.0.1",
            "192.0.1.1",
            "2606:4700::1",
            "::ffff:8.8.8.8",
        ] {
            assert!(allowed(address, &[]), "{address}");
        }
    }

    #[test]
    fn networks_that_were_named_are_asked() {
        assert!(allowed("10.1.2.3", &["10.1.0.0/16"]));
        assert!(!allowed("10.2.2.3", &["10.1.0.0/16"]));
        assert!(allowed("::ffff:10.1.2.3", &["fd00::/8", "10.1.2.3/32"]));
        assert!(allowed("fd12::1", &["fd00::/8"]) && !allowed("fe80::1", &["fd00::/8"]));
        assert!(allowed("127.0.0.1", &["0.0.0.0/0"]) && !allowed("::1", &["0.0.0.0/0"]));
        for text in ["10.0.0.0", "10.0.0.0/33", "x/8", "::/129", "10.0.0.0/-1", ""] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}
