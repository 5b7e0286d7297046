//! Networks, as addresses are compared with them.

use ipnet::{IpNet, Ipv4Net};

/// The network in the one form that addresses are compared in, which is that of [`std::net::IpAddr::to_canonical`]: one
/// of IPv4-mapped addresses is the IPv4 network that they map.
#[must_use]
pub fn canonical_network(network: IpNet) -> IpNet {
    let mapped = match network {
        IpNet::V6(network) => network.addr().to_ipv4_mapped().zip(network.prefix_len().checked_sub(96)),
        IpNet::V4(_) => None,
    };
    mapped.map_or(network, |(address, prefix)| Ipv4Net::new_assert(address, prefix).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_mapped_addresses_is_the_one_that_they_map() {
        for (written, meant) in [
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:10.1.2.3/128", "10.1.2.3/32"),
            ("::ffff:0.0.0.0/96", "0.0.0.0/0"),
            ("::ffff:10.0.0.1/104", "10.0.0.1/8"),
            ("::/80", "::/80"),
            ("::10.0.0.0/104", "::10.0.0.0/104"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("10.0.0.0/8", "10.0.0.0/8"),
        ] {
            let network = |text: &str| text.parse::<IpNet>().expect("a network");
            assert_eq!(canonical_network(network(written)), network(meant), "{written}");
        }
    }
}
