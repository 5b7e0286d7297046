//! What those cost who send what is no token.

use super::*;

fn garbage(number: usize) -> String {
    format!("garbage-{number}")
}

/// Spends all that an address may spend in a second.
async fn exhaust(desk: &Desk, tenant: &Tenant, peer: IpAddr) {
    let mut number = 0;
    while desk.resolve_from(tenant, peer, &garbage(number), NOW).await == Err(INVALID) {
        number += 1;
        assert!(number <= 10_000, "garbage costs its sender nothing");
    }
    assert!(number >= 100, "only {number} were looked at");
}

#[tokio::test]
async fn an_address_that_sends_garbage_is_put_off_until_the_next_second() {
    let (desk, signer) = (Desk::alone(), signer());
    exhaust(&desk, &signer.tenant, PEER).await;
    let good = signer.token();
    assert_eq!(desk.resolve(&signer.tenant, &good).await, Err(Unresolved::TooManyStrangers));
    let neighbour = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
    assert!(desk.resolve_from(&signer.tenant, neighbour, &good, NOW).await.is_ok());
    assert!(desk.resolve(&signer.tenant, &good).await.is_ok(), "what is known to be good costs nothing");
    assert_eq!(desk.resolve(&signer.tenant, &garbage(0)).await, Err(INVALID), "and neither does known garbage");
    let another = signer.token();
    assert!(desk.resolve_from(&signer.tenant, PEER, &another, NOW + 1).await.is_ok());
}

#[tokio::test]
async fn a_whole_network_of_ipv6_is_one_address() {
    let (desk, signer) = (Desk::alone(), signer());
    let [one, same, other] = ["2001:db8::1", "2001:db8::ffff:1", "2001:db8:0:1::1"].map(|text| text.parse().unwrap());
    exhaust(&desk, &signer.tenant, one).await;
    let token = signer.token();
    let from = |peer| desk.resolve_from(&signer.tenant, peer, &token, NOW);
    assert_eq!(from(same).await, Err(Unresolved::TooManyStrangers));
    assert!(from(other).await.is_ok());
}

#[tokio::test]
async fn good_tokens_use_nothing_up() {
    let (desk, signer) = (Desk::alone(), signer());
    for _ in 0..600 {
        assert!(desk.resolve(&signer.tenant, &signer.token()).await.is_ok());
    }
    assert_eq!(desk.tokens.remembered(), 600);
}

#[tokio::test]
async fn a_verdict_lasts_ten_seconds_or_until_the_policy_changes() {
    let (desk, mut signer) = (Desk::alone(), signer());
    let token = signer.token();
    let keys = std::mem::take(&mut signer.tenant.keys);
    assert_eq!(desk.resolve(&signer.tenant, &token).await, Err(INVALID));
    signer.tenant.keys = keys;
    assert_eq!(desk.resolve_from(&signer.tenant, PEER, &token, NOW + 9).await, Err(INVALID), "remembered");
    assert!(desk.resolve_from(&signer.tenant, PEER, &token, NOW + 10).await.is_ok(), "looked at anew");

    let desk = Desk::alone();
    let unknown = Header { kid: Some("next".to_owned()), ..header() };
    let token = signer.sign(&unknown, &signer.claims());
    assert_eq!(desk.resolve(&signer.tenant, &token).await, Err(INVALID));
    let key = signer.tenant.keys["k1"].clone();
    signer.tenant.keys.insert("next".to_owned(), key);
    signer.tenant.revision += 1;
    assert!(desk.resolve(&signer.tenant, &token).await.is_ok(), "the policy brought its key");
}
