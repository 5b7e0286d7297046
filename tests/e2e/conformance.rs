//! The conformance suite: the reference server alone, and the same server through a single-server endpoint on two data
//! planes, in its own era and in the other one.
//!
//! `make conformance` runs these stories and prints what they print.

use tokio::sync::OnceCell;
use tollgate_tests::{Balancer, Deployment, Findings, ReferenceServer, Speaks};

const LEGACY: &str = "2025-11-25";
const MODERN: &str = "2026-07-28";

#[tokio::test]
async fn the_reference_server_passes_both_sets_without_the_gateway() {
    let both = ReferenceServer::start(Speaks::Both).await;
    for (requirements, checks) in [(LEGACY, 83), (MODERN, 197)] {
        let alone = without_the_gateway(requirements).await;
        println!("{}", alone.summary(&format!("direct-{}", &requirements[..4])));
        assert_eq!((alone.passed, alone.failed), (checks, 0), "one era: {alone:#?}");
        let findings = Findings::of(both.url(), requirements).await;
        assert_eq!((findings.passed, findings.failed), (checks, 0), "both eras: {findings:#?}");
    }
}

#[tokio::test]
async fn the_2025_set_passes_before_a_legacy_server() {
    leg("server-2025", LEGACY, Speaks::Legacy).await;
}

#[tokio::test]
async fn the_2026_set_passes_before_a_modern_server() {
    leg("server-2026", MODERN, Speaks::Modern).await;
}

#[tokio::test]
async fn the_2026_set_passes_before_a_legacy_server_where_it_can() {
    leg("bridge-a", MODERN, Speaks::Legacy).await;
}

#[tokio::test]
async fn the_2025_set_passes_before_a_modern_server_where_it_can() {
    leg("bridge-b", LEGACY, Speaks::Modern).await;
}

/// Runs a set through two data planes.
async fn leg(name: &str, requirements: &str, behind: Speaks) {
    let server = ReferenceServer::start(behind).await;
    let balancer = Balancer::start().await;
    let tollgate = Deployment::separate(2).balanced_by(&balancer).start().await;
    tollgate.allow_loopback_servers().await;
    tollgate.register_url("reference", server.url()).await;
    let agent = tollgate.agent("suite").grant("reference:*").create().await;
    let endpoint = tollgate.server_url("reference");
    balancer.lend(&agent.token(&endpoint).await);
    let findings = Findings::of(&endpoint, requirements).await;
    let comparison = findings.compared_to(without_the_gateway(requirements).await, name);
    println!("{comparison}");
    assert!(comparison.holds(), "{name}: what passes without the gateway does not pass through it");
}

/// What a set finds of a server that speaks its era alone. It is the same in every story.
async fn without_the_gateway(requirements: &str) -> &'static Findings {
    static OF_LEGACY: OnceCell<Findings> = OnceCell::const_new();
    static OF_MODERN: OnceCell<Findings> = OnceCell::const_new();
    let (cell, speaks) =
        if requirements == MODERN { (&OF_MODERN, Speaks::Modern) } else { (&OF_LEGACY, Speaks::Legacy) };
    cell.get_or_init(|| async {
        let server = ReferenceServer::start(speaks).await;
        Findings::of(server.url(), requirements).await
    })
    .await
}
