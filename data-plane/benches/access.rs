//! What it costs to decide, under a policy of 10,000 agents, 1,000 servers, 50,000 tools and 100,000 grants: one call, a list of
//! 500 tools, loading the policy; and an update of a tenant, where one has all of that and where fifty share it.
//! `cargo bench -p tollgate-data-plane --bench access`.
//!
//! Before it measures time, it counts: the memory that a policy in force takes, and what decisions ask for: nothing, but where
//! they read an argument.

use std::{alloc::System, hint::black_box, sync::Arc, time::Duration};

use criterion::{Criterion, criterion_group};
use prost::Message;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tollgate_data_plane::policy::{Snapshot, Tenant};
use tollgate_proto::{
    AgentId, GrantId, InstanceId, Name, Scope, ServerId, TeamId, TenantId,
    access::{Arguments, Asker, Book, Item, Kind},
    policy::v1::{self as wire, condition::Test, grant::To},
};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const NOW: i64 = 1_800_000_000;
const AGENTS: usize = 10_000;
const SERVERS: usize = 1_000;
const TOOLS_OF_SERVER: usize = 50;
const GRANTS_OF_AGENT: usize = 10;
/// Who share the same agents, servers, tools and grants.
const TENANTS: usize = 50;
/// A list that is filtered.
const LISTED: usize = 500;

/// Of a tenant that has a share of everything, or all of it.
fn policy(tenants: usize) -> wire::TenantPolicy {
    let (agents, servers) = (AGENTS / tenants, SERVERS / tenants);
    let team = TeamId::new().to_string();
    let agents = (0..agents).map(|index| wire::Agent {
        id: AgentId::new().to_string(),
        name: format!("agent-{index}"),
        team_id: team.clone(),
        active: true,
        ..wire::Agent::default()
    });
    let agents: Vec<wire::Agent> = agents.collect();
    let grants = agents.iter().enumerate().flat_map(|(agent, sent)| {
        (0..GRANTS_OF_AGENT).map(move |nth| grant(&sent.id, (agent * GRANTS_OF_AGENT + nth) % servers, nth))
    });
    wire::TenantPolicy {
        tenant_id: TenantId::new().to_string(),
        tenant: "acme".to_owned(),
        revision: 1,
        jwks: r#"{"keys":[]}"#.to_owned(),
        data_url: "http://data".to_owned(),
        servers: (0..servers).map(server).collect(),
        grants: grants.collect(),
        agents,
        ..wire::TenantPolicy::default()
    }
}

fn server(index: usize) -> wire::Server {
    let tool = |index| wire::CatalogItem {
        kind: wire::ItemKind::Tool.into(),
        name: format!("tool_{index}"),
        approved_digest: vec![7; 32],
        read_only: index % 2 == 0,
        ..wire::CatalogItem::default()
    };
    wire::Server {
        id: ServerId::new().to_string(),
        name: format!("server-{index}"),
        instances: vec![wire::Instance {
            id: InstanceId::new().to_string(),
            url: format!("http://10.0.0.1/{index}"),
            draining: false,
        }],
        approval: wire::Approval::Pinned.into(),
        catalog: (0..TOOLS_OF_SERVER).map(tool).collect(),
        ..wire::Server::default()
    }
}

/// An agent has one of each form.
fn grant(agent: &str, server: usize, nth: usize) -> wire::Grant {
    let what = ["tool_1", "tool_*", "@read", "*", "@prompt/*"][nth % 5];
    let condition = wire::Condition { pointer: "/path".to_owned(), test: Some(Test::Prefix("/docs/".to_owned())) };
    wire::Grant {
        id: GrantId::new().to_string(),
        name: format!("grant-{server}-{nth}"),
        to: Some(To::AgentId(agent.to_owned())),
        scopes: vec![format!("server-{server}:{what}")],
        conditions: if nth == 1 { vec![condition] } else { Vec::new() },
        ..wire::Grant::default()
    }
}

/// What the measured agent asks for, with what its token carries.
struct Scene {
    tenant: Tenant,
    agent: AgentId,
    token: Vec<Scope>,
    /// Of its conditional grant, and of that for what only reads.
    servers: [Name; 2],
}

impl Scene {
    fn of(sent: &wire::TenantPolicy) -> Self {
        let agent = AGENTS / 2;
        let servers = [1, 2].map(|nth| {
            let name = format!("server-{}", (agent * GRANTS_OF_AGENT + nth) % SERVERS);
            name.parse::<Name>().expect("a name")
        });
        Self {
            agent: sent.agents[agent].id.parse().expect("an id"),
            token: servers.iter().map(|server| Scope::Server { server: server.clone() }).collect(),
            servers,
            tenant: Tenant::read(sent, None).expect("a good policy"),
        }
    }

    fn asker(&self) -> Asker<'_> {
        let peer = Some([192, 0, 2, 1].into());
        Asker { agent: self.agent, role: Some("operator"), token: &self.token, peer, now: NOW }
    }

    fn decide(&self, server: &Name, tool: &str, arguments: &[u8]) -> bool {
        let item = Item { kind: Kind::Tool, name: tool };
        self.tenant.book.desk(self.asker(), server).decide(item, Arguments::Given(arguments), None).is_ok()
    }

    /// How many of a list are shown.
    fn filter(&self, server: &Name, tools: &[String]) -> usize {
        let desk = self.tenant.book.desk(self.asker(), server);
        let shown =
            |tool: &&String| desk.decide(Item { kind: Kind::Tool, name: tool }, Arguments::Unknown, None).is_ok();
        tools.iter().filter(shown).count()
    }
}

/// What counting says.
fn count(sent: &wire::TenantPolicy) {
    let loading = Region::new(ALLOCATOR);
    let scene = Scene::of(sent);
    let loaded = loading.change();
    println!("memory of the policy in force: {} KiB", (loaded.bytes_allocated - loaded.bytes_deallocated) >> 10);
    let [conditional, reading] = &scene.servers;
    let deciding = Region::new(ALLOCATOR);
    assert!(scene.decide(reading, "tool_2", b"{}") && !scene.decide(reading, "tool_1", b"{}"), "by approval");
    println!("allocations of two decisions: {}", deciding.change().allocations);
    let deciding = Region::new(ALLOCATOR);
    assert!(scene.decide(conditional, "tool_7", br#"{"path":"/docs/a"}"#), "allowed");
    assert!(!scene.decide(conditional, "tool_7", br#"{"path":"/etc/a"}"#), "refused by its condition");
    println!("allocations of two decisions by an argument: {}", deciding.change().allocations);
}

fn measure(criterion: &mut Criterion) {
    let sent = policy(1);
    count(&sent);
    decisions(criterion, &Scene::of(&sent));
    updates(criterion, "an update of a tenant that has everything", &sent);
    updates(criterion, "an update of one of fifty tenants", &policy(TENANTS));
}

fn decisions(criterion: &mut Criterion, scene: &Scene) {
    let [conditional, reading] = &scene.servers;
    criterion.bench_function("one decision", |bench| {
        bench.iter(|| scene.decide(black_box(reading), black_box("tool_2"), black_box(b"{}")));
    });
    criterion.bench_function("one decision by an argument", |bench| {
        let arguments = br#"{"recursive":true,"path":"/docs/a"}"#;
        bench.iter(|| scene.decide(black_box(conditional), black_box("tool_7"), black_box(arguments)));
    });
    let tools: Vec<String> = (0..LISTED).map(|index| format!("tool_{index}")).collect();
    criterion.bench_function("a list of 500 tools", |bench| bench.iter(|| scene.filter(black_box(reading), &tools)));
}

/// From the bytes that came to the snapshot that calls see, and the parts of that. What it replaces is freed later.
fn updates(criterion: &mut Criterion, name: &str, sent: &wire::TenantPolicy) {
    let bytes = sent.encode_to_vec();
    let decode = || wire::TenantPolicy::decode(black_box(&*bytes)).expect("a message");
    let before = Tenant::read(sent, None).expect("a good policy");
    let read = |sent: &wire::TenantPolicy| Tenant::read(sent, Some(&before)).expect("a good policy");
    let snapshot = Snapshot::default();
    criterion.bench_function(name, |bench| {
        bench.iter_with_large_drop(|| {
            let sent = decode();
            let next = snapshot.with(Arc::new(read(&sent)));
            (sent, next)
        });
    });
    criterion.bench_function(&format!("{name}: decoding"), |bench| bench.iter_with_large_drop(decode));
    criterion.bench_function(&format!("{name}: grants and catalog"), |bench| {
        bench.iter_with_large_drop(|| Book::read_after(black_box(sent), &before.book).expect("a good book"));
    });
    criterion.bench_function(&format!("{name}: all but decoding"), |bench| {
        bench.iter_with_large_drop(|| read(black_box(sent)));
    });
}

criterion_group! {
    name = access;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(5));
    targets = measure
}

fn main() {
    access();
}
