//! The networks that requests must come from for a grant to count.

use ipnet::IpNet;
use tollgate_proto::canonical_network;

use crate::error::Faults;

const NETWORKS_MAX: usize = 100;

/// The networks in the form that data planes compare addresses with. One with host bits is refused: whether the host or its network was meant is not
/// for us to guess.
pub(super) fn read(given: &[String], faults: &mut Faults) -> Vec<String> {
    if given.len() > NETWORKS_MAX {
        faults.add("/spec/networks", "too_many", format!("at most {NETWORKS_MAX} networks"));
        return Vec::new();
    }
    let mut networks = Vec::new();
    for (index, text) in given.iter().enumerate() {
        let at = || format!("/spec/networks/{index}");
        match text.parse::<IpNet>().map(canonical_network) {
            Ok(network) if network == network.trunc() => networks.push(network.to_string()),
            Ok(network) => {
                let (whole, host) = (network.trunc(), IpNet::from(network.addr()));
                let detail = format!("`{text}` has host bits: write `{whole}` for the network, `{host}` for the host");
                faults.add(at(), "network_host_bits", detail);
            }
            Err(_) => faults.add(at(), "network", "write a network as in `10.20.0.0/16` or `fd00::/8`"),
        }
    }
    networks
}
