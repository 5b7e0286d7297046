//! Who sent a request that came through proxies: the address that the outermost trusted one saw.
//!
//! Invariant: nobody chooses their own address. What a header says is believed only as far as trusted proxies wrote
//! it, which is read from its end; what whoever is beyond them wrote is not even looked at.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use http::{HeaderMap, HeaderName, header::FORWARDED};
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The networks of proxies whose `X-Forwarded-For` or `Forwarded` is believed; none unless told.
///
/// Each of these proxies has to add the address that it saw to one of the two headers, always the same one. The other one
/// passes through it as the client wrote it, so that a request with both is believed only where they agree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    networks: Vec<IpNet>,
}

/// A text that is no list of networks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustedProxiesError {
    /// Neither a network nor an address.
    #[error("`{0}` is no network such as `10.20.0.0/16`, and no address")]
    Network(String),
    /// Every address is in it.
    #[error("`{0}` would believe everybody: name the networks of your proxies")]
    Everybody(IpNet),
}

impl TrustedProxies {
    /// The address that a request is from: `peer`, which is at the other end of the connection, unless that is a trusted
    /// proxy that says for whom it speaks.
    #[must_use]
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.to_canonical();
        if !self.trusts(peer) {
            return peer;
        }
        let by_list = self.outermost(peer, headers, &X_FORWARDED_FOR, address);
        let by_elements = self.outermost(peer, headers, &FORWARDED, forwarded_for);
        match (by_list, by_elements) {
            (Some(one), Some(other)) if one != other => peer,
            (one, other) => one.or(other).unwrap_or(peer),
        }
    }

    /// Follows one header from its end through trusted hops; none when there is no such header.
    fn outermost(
        &self,
        peer: IpAddr,
        headers: &HeaderMap,
        name: &HeaderName,
        hop: fn(&[u8]) -> Option<IpAddr>,
    ) -> Option<IpAddr> {
        let mut lines = headers.get_all(name).iter().rev().peekable();
        lines.peek()?;
        let mut outermost = peer;
        for line in lines {
            for element in FromTheEnd::of(line.as_bytes(), b',') {
                match hop(element) {
                    Some(address) => outermost = address,
                    None => return Some(outermost),
                }
                if !self.trusts(outermost) {
                    return Some(outermost);
                }
            }
        }
        Some(outermost)
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&address))
    }
}

/// Networks and addresses, separated by commas.
impl FromStr for TrustedProxies {
    type Err = TrustedProxiesError;

    fn from_str(text: &str) -> Result<Self, TrustedProxiesError> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let networks: Result<_, _> = parts.map(network).collect();
        Ok(Self { networks: networks? })
    }
}

impl fmt::Display for TrustedProxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let networks: Vec<_> = self.networks.iter().map(ToString::to_string).collect();
        f.write_str(&networks.join(","))
    }
}

fn network(text: &str) -> Result<IpNet, TrustedProxiesError> {
    let of_one = || text.parse::<IpAddr>().ok().map(IpNet::from);
    let network = text
        .parse()
        .ok()
        .or_else(of_one)
        .ok_or_else(|| TrustedProxiesError::Network(text.chars().take(60).collect()))?;
    if network.prefix_len() == 0 { Err(TrustedProxiesError::Everybody(network)) } else { Ok(network) }
}

/// The parts of a list, the last one first. It is cut outside of quotes, which are found from the end too: whoever wrote
/// the beginning could open a quote there that swallows what was added behind it.
struct FromTheEnd<'a> {
    rest: Option<&'a [u8]>,
    separator: u8,
}

impl<'a> FromTheEnd<'a> {
    const fn of(list: &'a [u8], separator: u8) -> Self {
        Self { rest: Some(list), separator }
    }
}

impl<'a> Iterator for FromTheEnd<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let list = self.rest.take()?;
        let mut inside = false;
        for (at, byte) in list.iter().enumerate().rev() {
            if *byte == b'"' {
                inside ^= !is_escaped(&list[..at]);
            } else if *byte == self.separator && !inside {
                self.rest = Some(&list[..at]);
                return Some(list[at + 1..].trim_ascii());
            }
        }
        Some(list.trim_ascii())
    }
}

/// Whether what follows `before` in a quoted text is taken literally (RFC 9110 section 5.6.4).
fn is_escaped(before: &[u8]) -> bool {
    before.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

/// The address in an element of `Forwarded` (RFC 7239 section 4): of the one `for` that it has.
fn forwarded_for(element: &[u8]) -> Option<IpAddr> {
    let mut found = None;
    for pair in FromTheEnd::of(element, b';') {
        let equals = pair.iter().position(|byte| *byte == b'=')?;
        let (name, value) = (&pair[..equals], &pair[equals + 1..]);
        if !name.eq_ignore_ascii_case(b"for") {
            continue;
        }
        let value = value.strip_prefix(b"\"").map_or(Some(value), |value| value.strip_suffix(b"\""))?;
        if found.replace(address(value)?).is_some() {
            return None;
        }
    }
    found
}

/// An address as proxies write it: bare, with a port, or with brackets (RFC 7239 section 6).
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(text).ok()?;
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || text.parse().ok().map(|address: SocketAddr| address.ip());
    let address: IpAddr = text.parse().ok().or_else(bracketed).or_else(with_port)?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests;
