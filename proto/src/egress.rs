//! Where a tenant's servers, and the documents of its agents, may live: the public internet, and the networks that the
//! tenant allows.
//!
//! Invariant: no I/O; whoever connects checks the very address that is connected to, and resolves a name once.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::canonical_network;

/// The networks that one tenant allows beside the public internet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Egress {
    allowed: Vec<IpNet>,
}

impl Egress {
    /// Allows these networks too.
    #[must_use]
    pub fn new(allowed: Vec<IpNet>) -> Self {
        Self { allowed: allowed.into_iter().map(canonical_network).collect() }
    }

    /// Whether a connection to this address may be opened.
    #[must_use]
    pub fn permits(&self, address: IpAddr) -> bool {
        // An IPv4-mapped address reaches the IPv4 host that it names.
        is_public(address.to_canonical()) || self.allows(address)
    }

    /// Whether this address is in a network that the tenant allows by name.
    #[must_use]
    pub fn allows(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.allowed.iter().any(|network| network.contains(&address))
    }
}

/// Globally reachable, by the IANA special-purpose address registries (RFC 6890).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let shared = a == 100 && (64..128).contains(&b);
    let protocol_assignments = (a, b, c) == (192, 0, 0);
    let benchmarking = a == 198 && (b == 18 || b == 19);
    let reserved = a >= 240;
    !(a == 0
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
        || address.is_documentation()
        || shared
        || protocol_assignments
        || benchmarking
        || reserved)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    // Only 2000::/3 is allocated for global unicast; what embeds an IPv4 address is judged by that address.
    let global_unicast = segments[0] & 0xe000 == 0x2000;
    let documentation =
        (segments[0] == 0x2001 && segments[1] == 0x0db8) || (segments[0] == 0x3fff && segments[1] < 0x1000);
    let protocol_assignments = segments[0] == 0x2001 && segments[1] < 0x0200;
    let six_to_four = segments[0] == 0x2002;
    global_unicast && !documentation && !protocol_assignments && !six_to_four
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_public_internet_is_permitted() {
        for address in ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:1.1.1.1"] {
            assert!(Egress::default().permits(address.parse().expect("an address")), "{address}");
        }
    }

    #[test]
    fn what_is_not_public_is_refused() {
        let special = [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "fc00::1",
            "fe80::1",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "2002:7f00:1::",
        ];
        for address in special {
            assert!(!Egress::default().permits(address.parse().expect("an address")), "{address}");
        }
    }

    #[test]
    fn an_allowed_network_is_permitted_and_no_other() {
        let egress = Egress::new(vec!["127.0.0.0/8".parse().expect("a network")]);
        assert!(egress.permits("127.0.0.1".parse().expect("an address")));
        assert!(egress.permits("::ffff:127.0.0.1".parse().expect("an address")));
        assert!(!egress.permits("10.0.0.1".parse().expect("an address")));
        let mapped = Egress::new(vec!["::ffff:127.0.0.0/104".parse().expect("a network")]);
        assert_eq!(mapped, egress);
    }
}
