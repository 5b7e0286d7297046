use http::HeaderValue;
use proptest::prelude::*;

use super::*;

const PROXY: &str = "10.1.2.3";

fn proxies() -> TrustedProxies {
    "10.0.0.0/8, 2001:db8:1::/48".parse().expect("networks")
}

fn headers(lines: &[(&HeaderName, &str)]) -> HeaderMap {
    lines.iter().map(|(name, value)| ((*name).clone(), HeaderValue::from_str(value).expect("a value"))).collect()
}

fn client(peer: &str, lines: &[(&HeaderName, &str)]) -> String {
    proxies().client(peer.parse().expect("an address"), &headers(lines)).to_string()
}

#[test]
fn without_a_trusted_proxy_no_header_counts() {
    let said = headers(&[(&X_FORWARDED_FOR, "192.0.2.7"), (&FORWARDED, "for=192.0.2.7")]);
    let peer = "127.0.0.1".parse().expect("an address");
    assert_eq!(TrustedProxies::default().client(peer, &said), peer);
    assert_eq!(client("192.0.2.1", &[(&X_FORWARDED_FOR, "192.0.2.7")]), "192.0.2.1");
}

#[test]
fn a_trusted_proxy_says_for_whom_it_speaks() {
    for said in ["192.0.2.7", " 192.0.2.7 ", "192.0.2.7:4711", "::ffff:192.0.2.7", "203.0.113.9, 192.0.2.7, 10.9.9.9"] {
        assert_eq!(client(PROXY, &[(&X_FORWARDED_FOR, said)]), "192.0.2.7", "{said}");
    }
    for said in ["2001:db8::7", "[2001:db8::7]", "[2001:db8::7]:4711", "2001:db8::7, 2001:db8:1::9"] {
        assert_eq!(client(&format!("::ffff:{PROXY}"), &[(&X_FORWARDED_FOR, said)]), "2001:db8::7", "{said}");
    }
}

#[test]
fn elements_of_forwarded_are_read_as_the_standard_writes_them() {
    for said in [
        "for=192.0.2.7",
        "FOR=\"192.0.2.7:4711\";proto=https;by=10.1.2.3",
        "proto=https;host=\"a,b;for=1.1.1.1\";for=192.0.2.7",
        "host=\"a\\\", for=1.1.1.1, b=\\\"c\";for=192.0.2.7",
        "for=203.0.113.9, for=192.0.2.7;by=10.9.9.9, for=10.9.9.9",
        "for=\", for=192.0.2.7",
    ] {
        assert_eq!(client(PROXY, &[(&FORWARDED, said)]), "192.0.2.7", "{said}");
    }
    assert_eq!(client(PROXY, &[(&FORWARDED, "for=\"[2001:db8::7]:4711\"")]), "2001:db8::7");
}

#[test]
fn lines_of_one_header_are_one_list() {
    let said = [(&X_FORWARDED_FOR, "203.0.113.9, 192.0.2.7"), (&X_FORWARDED_FOR, "10.9.9.9")];
    assert_eq!(client(PROXY, &said), "192.0.2.7");
}

#[test]
fn what_is_no_address_ends_the_way_at_the_proxy_that_wrote_it() {
    for said in ["", "unknown", "_hidden", "192.0.2.7 192.0.2.8", "192.0.2.7, unknown", "192.0.2.7,"] {
        assert_eq!(client(PROXY, &[(&X_FORWARDED_FOR, said)]), PROXY, "{said}");
    }
    for said in ["for=unknown", "for=_x", "by=192.0.2.7", "for=192.0.2.7;for=192.0.2.8", "for=\"192.0.2.7", "nonsense"]
    {
        assert_eq!(client(PROXY, &[(&FORWARDED, said)]), PROXY, "{said}");
    }
    assert_eq!(client(PROXY, &[(&X_FORWARDED_FOR, "192.0.2.7, unknown, 10.9.9.9")]), "10.9.9.9");
}

#[test]
fn a_request_that_only_proxies_had_a_part_in_is_the_outermost_ones() {
    assert_eq!(client(PROXY, &[(&X_FORWARDED_FOR, "10.8.8.8, 10.9.9.9")]), "10.8.8.8");
}

#[test]
fn headers_that_disagree_are_both_ignored() {
    let agreed = [(&X_FORWARDED_FOR, "192.0.2.7"), (&FORWARDED, "for=192.0.2.7")];
    assert_eq!(client(PROXY, &agreed), "192.0.2.7");
    assert_eq!(client(PROXY, &[agreed[0], (&FORWARDED, "for=203.0.113.9")]), PROXY);
}

#[test]
fn networks_are_named_and_everybody_is_none() {
    assert_eq!(
        "10.0.0.0/8,192.0.2.1".parse::<TrustedProxies>().expect("networks").to_string(),
        "10.0.0.0/8,192.0.2.1/32"
    );
    assert_eq!("".parse(), Ok(TrustedProxies::default()));
    for (text, said) in
        [("0.0.0.0/0", "everybody"), ("10.0.0.1, ::/0", "everybody"), ("proxy", "`proxy` is no network")]
    {
        let error = text.parse::<TrustedProxies>().expect_err(text).to_string();
        assert!(error.contains(said), "{error}");
    }
}

fn line() -> impl Strategy<Value = String> {
    let pieces = ["for=", "\"", "\\", ",", ";", "=", " ", "10.9.9.9", "192.0.2.7", "[2001:db8::7]", "host=", "unknown"];
    let shaped = proptest::collection::vec(proptest::sample::select(pieces.to_vec()), 0..12).prop_map(|it| it.concat());
    prop_oneof![shaped, "[ -~\u{80}-\u{ff}]{0,40}"]
}

/// Everything that a client can send, and a proxy passes on.
fn sent() -> impl Strategy<Value = HeaderMap> {
    let lines = proptest::collection::vec((any::<bool>(), line()), 0..4);
    lines.prop_map(|lines| {
        let value = |text: &str| HeaderValue::from_bytes(text.as_bytes()).expect("printable");
        lines.iter().map(|(list, text)| (if *list { X_FORWARDED_FOR } else { FORWARDED }, value(text))).collect()
    })
}

/// The header as a proxy leaves it that adds `element` to the line that is there, or adds a line.
fn add(headers: &mut HeaderMap, name: &HeaderName, element: &str, to_the_line: bool) {
    let last = headers.get_all(name).iter().next_back().filter(|_| to_the_line).map(|it| it.as_bytes().to_vec());
    let before: Vec<HeaderValue> = headers.get_all(name).iter().cloned().collect();
    headers.remove(name);
    let kept = before.len() - usize::from(last.is_some());
    before.into_iter().take(kept).for_each(|line| {
        headers.append(name.clone(), line);
    });
    let line = last.map_or_else(Vec::new, |line| [line, b", ".to_vec()].concat());
    let line = [line, element.as_bytes().to_vec()].concat();
    headers.append(name.clone(), HeaderValue::from_bytes(&line).expect("printable"));
}

proptest! {
    #[test]
    fn an_untrusted_hop_never_chooses_the_address(
        mut headers in sent(),
        hop in any::<IpAddr>(),
        through in proptest::collection::vec(any::<u16>(), 0..3),
        by_list in any::<bool>(),
        to_the_line in any::<bool>(),
    ) {
        let proxies = proxies();
        let hop = hop.to_canonical();
        prop_assume!(!proxies.trusts(hop));
        prop_assert_eq!(proxies.client(hop, &headers), hop, "straight to us");

        let name = if by_list { X_FORWARDED_FOR } else { FORWARDED };
        let other = if by_list { FORWARDED } else { X_FORWARDED_FOR };
        let inner = through.iter().map(|it| IpAddr::from([10, 7, it.to_be_bytes()[0], it.to_be_bytes()[1]]));
        for seen in [hop].into_iter().chain(inner) {
            let element = match (by_list, seen) {
                (true, seen) => seen.to_string(),
                (false, IpAddr::V4(seen)) => format!("for={seen};proto=https"),
                (false, IpAddr::V6(seen)) => format!("for=\"[{seen}]\";proto=https"),
            };
            add(&mut headers, &name, &element, to_the_line);
        }
        let peer: IpAddr = PROXY.parse().expect("an address");
        let found = proxies.client(peer, &headers);
        prop_assert!(found == hop || (headers.contains_key(&other) && found == peer), "{} for {}", found, hop);
    }
}
