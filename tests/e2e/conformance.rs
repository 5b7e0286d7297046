//! The conformance suite: the reference server alone, and the same server through a single-server endpoint on two data
//! planes, in its own era and in the other one.
//!
//! `make conformance` runs these stories and prints what they print.

use tollgate_tests::{Balancer, Deployment, Findings, ReferenceServer, Speaks};

const LEGACY: &str = "2025-11-25";
const MODERN: &str = "2026-07-28";

#[tokio::test]
async fn the_reference_server_passes_both_sets_without_the_gateway() {
    for speaks in [Speaks::Both, Speaks::Legacy] {
        let server = ReferenceServer::start(speaks).await;
        let findings = Findings::of(server.url(), LEGACY).await;
        assert_eq!((findings.passed, findings.failed), (83, 0), "{speaks:?}: {findings:#?}");
    }
    for speaks in [Speaks::Both, Speaks::Modern] {
        let server = ReferenceServer::start(speaks).await;
        let findings = Findings::of(server.url(), MODERN).await;
        assert_eq!((findings.passed, findings.failed), (197, 0), "{speaks:?}: {findings:#?}");
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

/// Runs a set through two data planes, and without them before a server that speaks the set's era.
async fn leg(name: &str, requirements: &str, behind: Speaks) {
    let native = ReferenceServer::start(if requirements == MODERN { Speaks::Modern } else { Speaks::Legacy }).await;
    let reference = Findings::of(native.url(), requirements).await;
    let server = ReferenceServer::start(behind).await;
    let balancer = Balancer::start().await;
    let tollgate = Deployment::separate(2).balanced_by(&balancer).start().await;
    tollgate.allow_loopback_servers().await;
    tollgate.register_url("reference", server.url()).await;
    let agent = tollgate.agent("suite").grant("reference:*").create().await;
    let endpoint = tollgate.server_url("reference");
    balancer.lend(&agent.token(&endpoint).await);
    let findings = Findings::of(&endpoint, requirements).await;
    let comparison = findings.compared_to(&reference, name);
    println!("{comparison}");
    assert!(comparison.holds(), "{name}: what passes without the gateway does not pass through it");
}
