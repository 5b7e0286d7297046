//! The policy stream over a real socket and real Postgres.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use prost::Message as _;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tollgate_proto::{
    AgentId, DataPlaneId, GrantId, InstanceId, LimitId, ServerId, TeamId, TenantId, ToolsetId,
    policy::v1::{
        Ack, Agent, Era, Grant, Held, Hello, Instance, Limit, Nack, Rate, Revocations, RevocationsApplied, Server,
        Staleness, TenantPolicy, Toolset, ToolsetTool, WatchRequest, WatchResponse, grant::To, limit::On,
        policy_service_client::PolicyServiceClient, watch_request::Message as Say, watch_response::Message as Hear,
    },
};
use tonic::{Code, Status, Streaming};

use super::{bump, compile};
use crate::{
    data_planes::{self, DataPlaneStatus},
    grpc::testing::{ControlPlane, Database, run},
    oauth::keys,
};

mod asking;
mod introspection;
mod overtaking;
mod recording;
mod revoking;
mod spending;

/// Longer than any message but a heartbeat takes.
const PATIENCE: Duration = Duration::from_secs(10);
/// Long enough for two looks at the database.
const QUIET: Duration = Duration::from_millis(700);

/// One data plane's side of a stream.
struct DataPlane {
    id: DataPlaneId,
    outbound: mpsc::UnboundedSender<WatchRequest>,
    inbound: Streaming<WatchResponse>,
    /// What it was told to refuse, in the order of arrival.
    revocations: Vec<Revocations>,
    /// Whether it says what it has applied, as it should.
    applies: bool,
}

fn read(policy: Bytes) -> TenantPolicy {
    TenantPolicy::decode(policy).unwrap()
}

impl DataPlane {
    async fn connect(control_plane: &ControlPlane) -> Self {
        Self::connect_as(control_plane, DataPlaneId::new()).await
    }

    async fn connect_as(control_plane: &ControlPlane, id: DataPlaneId) -> Self {
        let (outbound, requests) = mpsc::unbounded_channel();
        let mut client = PolicyServiceClient::new(control_plane.channel(id).await);
        let inbound = client.watch(UnboundedReceiverStream::new(requests)).await.unwrap().into_inner();
        Self { id, outbound, inbound, revocations: Vec::new(), applies: true }
    }

    async fn hello(control_plane: &ControlPlane, epoch: &str, held: &[&TenantPolicy]) -> Self {
        Self::hello_after(control_plane, epoch, held, Vec::new()).await
    }

    /// As [`DataPlane::hello`], with revocations applied before.
    async fn hello_after(
        control_plane: &ControlPlane,
        epoch: &str,
        held: &[&TenantPolicy],
        revocations: Vec<RevocationsApplied>,
    ) -> Self {
        let data_plane = Self::connect(control_plane).await;
        let held = held
            .iter()
            .map(|policy| Held {
                tenant_id: policy.tenant_id.clone(),
                revision: policy.revision,
                digest: policy.digest.clone(),
            })
            .collect();
        data_plane.say(Say::Hello(Hello {
            data_plane_id: data_plane.id.uuid().to_string(),
            version: "0.1.0".to_owned(),
            epoch: epoch.to_owned(),
            held,
            revocations,
        }));
        data_plane
    }

    fn say(&self, message: Say) {
        self.outbound.send(WatchRequest { message: Some(message) }).unwrap();
    }

    fn acknowledge(&self, policy: &TenantPolicy) {
        self.say(Say::Ack(Ack { tenant_id: policy.tenant_id.clone(), revision: policy.revision }));
    }

    fn refuse(&self, policy: &TenantPolicy, reason: &str) {
        let (tenant_id, revision) = (policy.tenant_id.clone(), policy.revision);
        self.say(Say::Nack(Nack { tenant_id, revision, reason: reason.to_owned() }));
    }

    /// The next message, heartbeats included.
    async fn hear(&mut self) -> Result<Option<Hear>, Status> {
        let response = timeout(PATIENCE, self.inbound.message()).await.expect("a message in time")?;
        Ok(response.map(|response| response.message.expect("a message this version knows")))
    }

    /// The next message that is neither a heartbeat nor a revocation; it applies revocations on the way.
    async fn hear_news(&mut self) -> Hear {
        loop {
            match self.hear().await.unwrap().expect("the stream is open") {
                Hear::Heartbeat(_) => {}
                Hear::Revocations(revocations) => self.apply(revocations),
                news => return news,
            }
        }
    }

    fn apply(&mut self, revocations: Revocations) {
        if self.applies {
            let (tenant_id, revision) = (revocations.tenant_id.clone(), revocations.revision);
            self.say(Say::RevocationsApplied(RevocationsApplied { tenant_id, revision }));
        }
        self.revocations.push(revocations);
    }

    async fn hear_policy(&mut self) -> TenantPolicy {
        match self.hear_news().await {
            Hear::Policy(policy) => read(policy),
            other => panic!("not a policy: {other:?}"),
        }
    }

    /// Takes and acknowledges everything up to `Synced`; answers the policies.
    async fn sync(&mut self) -> Vec<TenantPolicy> {
        let mut policies = Vec::new();
        loop {
            match self.hear_news().await {
                Hear::Policy(policy) => {
                    let policy = read(policy);
                    self.acknowledge(&policy);
                    policies.push(policy);
                }
                Hear::Synced(_) => return policies,
                other => panic!("not part of a synchronisation: {other:?}"),
            }
        }
    }

    async fn hears_nothing_new(&mut self) {
        if let Ok(news) = timeout(QUIET, self.hear_news()).await {
            panic!("unexpected: {news:?}");
        }
    }

    async fn status(&self, control_plane: &ControlPlane, tenant: TenantId) -> Option<DataPlaneStatus> {
        let mut tx = control_plane.app.db.tenant(tenant).await.unwrap();
        let status = data_planes::policy_status(&mut tx).await.unwrap();
        status.data_planes.into_iter().find(|status| status.id == self.id)
    }

    /// Waits until the status is as wanted: it is written beside the stream.
    async fn reaches(
        &self,
        control_plane: &ControlPlane,
        tenant: TenantId,
        wanted: impl Fn(&DataPlaneStatus) -> bool,
    ) -> DataPlaneStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.status(control_plane, tenant).await;
            assert!(Instant::now() < deadline, "still {status:?}");
            if let Some(status) = status.filter(&wanted) {
                return status;
            }
            sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn change(control_plane: &ControlPlane, tenant: TenantId) -> u64 {
    let mut tx = control_plane.app.db.tenant(tenant).await.unwrap();
    let revision = bump(&mut tx).await.unwrap();
    tx.commit().await.unwrap();
    revision.unsigned_abs()
}

/// A tenant with one of everything.
struct Furnished {
    tenant: TenantId,
    team: TeamId,
    agent: AgentId,
    server: ServerId,
    instances: [InstanceId; 2],
    grants: [GrantId; 2],
    limit: LimitId,
    toolset: ToolsetId,
}

impl Furnished {
    async fn make(database: &Database) -> Self {
        let made = Self {
            tenant: database.make_tenant("default").await,
            team: TeamId::new(),
            agent: AgentId::new(),
            server: ServerId::new(),
            instances: [InstanceId::new(), InstanceId::new()],
            grants: [GrantId::new(), GrantId::new()],
            limit: LimitId::new(),
            toolset: ToolsetId::new(),
        };
        let (tenant, team, agent) = (made.tenant.uuid(), made.team.uuid(), made.agent.uuid());
        let (server, limit, toolset) = (made.server.uuid(), made.limit.uuid(), made.toolset.uuid());
        let [first, second] = made.instances.map(InstanceId::uuid);
        let [to_agent, to_team] = made.grants.map(GrantId::uuid);
        database
            .run(format!(
                "UPDATE tenants SET egress_allow = '{{127.0.0.0/8}}';
                 INSERT INTO teams (tenant_id, id, name, cost_center, created_by)
                     VALUES ('{tenant}', '{team}', 'platform', 'CC-1', 'system');
                 INSERT INTO agents (tenant_id, id, name, team_id, state, created_by, labels)
                     VALUES ('{tenant}', '{agent}', 'bot', '{team}', 'suspended', 'system', '{{\"stage\":\"prod\"}}');
                 INSERT INTO servers (tenant_id, id, name, display_name, era, created_by)
                     VALUES ('{tenant}', '{server}', 'demo', 'Demo', 'modern', 'system');
                 INSERT INTO server_instances (tenant_id, id, server_id, position, url)
                     VALUES ('{tenant}', '{second}', '{server}', 1, 'http://b/mcp'),
                            ('{tenant}', '{first}', '{server}', 0, 'http://a/mcp');
                 INSERT INTO grants (tenant_id, id, name, agent_id, scopes, deny, expires_at, created_by)
                     VALUES ('{tenant}', '{to_agent}', 'g1', '{agent}', '{{demo:echo}}', true, 'epoch', 'system');
                 INSERT INTO grants (tenant_id, id, name, team_id, scopes, created_by)
                     VALUES ('{tenant}', '{to_team}', 'g2', '{team}', '{{demo:*}}', 'system');
                 INSERT INTO limits (tenant_id, id, name, agent_id, requests_count, window_s, created_by)
                     VALUES ('{tenant}', '{limit}', 'l', '{agent}', 60, 30, 'system');
                 INSERT INTO toolsets (tenant_id, id, name, display_name, description, created_by)
                     VALUES ('{tenant}', '{toolset}', 'triage', 'Triage', 'For support.', 'system');
                 INSERT INTO toolset_tools (tenant_id, toolset_id, position, server_id, tool, name, description)
                     VALUES ('{tenant}', '{toolset}', 2, '{server}', 'add', 'sum', 'Adds.'),
                            ('{tenant}', '{toolset}', 1, '{server}', 'echo', 'demo__echo', '');"
            ))
            .await;
        made
    }

    /// What the policy must be, but for its digest and epoch.
    fn policy(&self) -> TenantPolicy {
        let agent_id = self.agent.to_string();
        let team_id = self.team.to_string();
        let instance = |index: usize, url: &str| Instance {
            id: self.instances[index].to_string(),
            url: url.to_owned(),
            draining: false,
        };
        let grant = |index: usize, to, scope: &str, deny, expires_at| Grant {
            id: self.grants[index].to_string(),
            name: format!("g{}", index + 1),
            to: Some(to),
            scopes: vec![scope.to_owned()],
            deny,
            expires_at,
            ..Grant::default()
        };
        let tool = |tool: &str, name: &str, description: &str| ToolsetTool {
            server_id: self.server.to_string(),
            tool: tool.to_owned(),
            name: name.to_owned(),
            description: description.to_owned(),
        };
        TenantPolicy {
            tenant_id: self.tenant.to_string(),
            tenant: "default".to_owned(),
            revision: 1,
            jwks: r#"{"keys":[]}"#.to_owned(),
            issuer: "http://control.test/t/default".to_owned(),
            data_url: "http://data.test".to_owned(),
            egress_allow: vec!["127.0.0.0/8".to_owned()],
            agents: vec![Agent {
                id: agent_id.clone(),
                name: "bot".to_owned(),
                team_id: team_id.clone(),
                team: "platform".to_owned(),
                cost_center: "CC-1".to_owned(),
                active: false,
                client_id: agent_id.clone(),
                exact_tools: false,
                labels: [("stage".to_owned(), "prod".to_owned())].into(),
            }],
            servers: vec![Server {
                id: self.server.to_string(),
                name: "demo".to_owned(),
                display_name: "Demo".to_owned(),
                era: Era::Modern.into(),
                instances: vec![instance(0, "http://a/mcp"), instance(1, "http://b/mcp")],
                ..Server::default()
            }],
            grants: vec![
                grant(0, To::AgentId(agent_id.clone()), "demo:echo", true, 1),
                grant(1, To::TeamId(team_id), "demo:*", false, 0),
            ],
            limits: vec![Limit {
                id: self.limit.to_string(),
                name: "l".to_owned(),
                on: Some(On::AgentId(agent_id)),
                requests: Some(Rate { count: 60, window_s: 30 }),
                ..Limit::default()
            }],
            toolsets: vec![Toolset {
                id: self.toolset.to_string(),
                name: "triage".to_owned(),
                display_name: "Triage".to_owned(),
                description: "For support.".to_owned(),
                tools: vec![tool("echo", "demo__echo", ""), tool("add", "sum", "Adds.")],
            }],
            staleness: Some(Staleness { allow_destructive: false, max_stale_s: Some(3_600) }),
            ..TenantPolicy::default()
        }
    }
}

#[tokio::test]
async fn a_new_data_plane_is_sent_everything_and_then_synced() {
    run(async |database| {
        let furnished = Furnished::make(database).await;
        let empty = database.make_tenant("empty").await;
        let control_plane = ControlPlane::start(database).await;

        let mut data_plane = DataPlane::hello(&control_plane, "", &[]).await;
        let policies = data_plane.sync().await;
        assert_eq!(policies.len(), 2);
        let policy = policies.iter().find(|policy| policy.tenant == "default").unwrap();
        let TenantPolicy { digest, epoch, sealing_keys, .. } = policy.clone();
        assert_eq!(sealing_keys.len(), 1);
        assert_eq!(*policy, TenantPolicy { digest, epoch, sealing_keys, ..furnished.policy() });
        let bare = TenantPolicy { digest: String::new(), ..policy.clone() }.encode_to_vec();
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bare);
        assert_eq!(policy.digest, digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        let other = policies.iter().find(|policy| policy.tenant == "empty").unwrap();
        assert_eq!((other.tenant_id.as_str(), other.jwks.as_str()), (&*empty.to_string(), r#"{"keys":[]}"#));

        assert!(matches!(data_plane.hear().await, Ok(Some(Hear::Heartbeat(beat))) if beat.lease_ms == 10_000));
        let status = data_plane.reaches(&control_plane, empty, |status| status.acked_revision == Some(1)).await;
        assert!(status.connected);
        control_plane.stop().await;
    })
    .await;
}

#[tokio::test]
async fn the_same_rows_yield_the_same_digest() {
    run(async |database| {
        let control_plane = ControlPlane::start(database).await;
        let tenant = Furnished::make(database).await.tenant;
        let first = compile(&control_plane.app, tenant).await.unwrap().unwrap();
        // Moves every row to another place in its table.
        database.run("UPDATE grants SET deny = deny; UPDATE server_instances SET url = url;").await;
        assert_eq!(compile(&control_plane.app, tenant).await.unwrap().unwrap(), first);
        assert!(compile(&control_plane.app, TenantId::new()).await.unwrap().is_none());
        control_plane.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_change_is_sent_for_its_tenant_alone() {
    run(async |database| {
        let control_plane = ControlPlane::start(database).await;
        let changed = database.make_tenant("changed").await;
        database.make_tenant("unchanged").await;
        let mut data_plane = DataPlane::hello(&control_plane, "", &[]).await;
        data_plane.sync().await;
        while control_plane.app.policy_changes.subscribe().borrow().policies().count() < 2 {
            sleep(Duration::from_millis(10)).await;
        }
        // Whichever was not part of the synchronisation follows it.
        while let Ok(policy) = timeout(QUIET, data_plane.hear_policy()).await {
            data_plane.acknowledge(&policy);
        }

        let began_at = Instant::now();
        let revision = change(&control_plane, changed).await;
        let policy = data_plane.hear_policy().await;
        assert!(began_at.elapsed() < Duration::from_secs(2));
        assert_eq!((policy.tenant.as_str(), policy.revision), ("changed", revision));
        data_plane.acknowledge(&policy);
        data_plane.hears_nothing_new().await;
        control_plane.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_new_signing_key_is_sent_like_any_change() {
    run(async |database| {
        let tenant = database.make_tenant("default").await;
        let control_plane = ControlPlane::start(database).await;
        let mut data_plane = DataPlane::hello(&control_plane, "", &[]).await;
        data_plane.sync().await;
        keys::ensure(&control_plane.app, tenant).await.unwrap();
        let mut tx = control_plane.app.db.tenant(tenant).await.unwrap();
        let jwks = keys::public_jwks(&mut tx).await.unwrap();
        drop(tx);
        assert!(jwks.contains("kid"), "{jwks}");
        assert_eq!(data_plane.hear_policy().await.jwks, jwks);
        control_plane.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_change_without_a_notification_arrives_all_the_same() {
    run(async |database| {
        let control_plane = ControlPlane::start(database).await;
        database.make_tenant("default").await;
        let mut data_plane = DataPlane::hello(&control_plane, "", &[]).await;
        if data_plane.sync().await.is_empty() {
            let policy = data_plane.hear_policy().await;
            data_plane.acknowledge(&policy);
        }
        database.run("UPDATE tenants SET policy_revision = 7").await;
        assert_eq!(data_plane.hear_policy().await.revision, 7);
        control_plane.stop().await;
    })
    .await;
}

#[tokio::test]
async fn nothing_more_is_sent_before_the_answer_and_then_the_newest() {
    run(async |database| {
        let tenant = database.make_tenant("default").await;
        let control_plane = ControlPlane::start(database).await;
        let mut data_plane = DataPlane::hello(&control_plane, "", &[]).await;
        let first = data_plane.hear_policy().await;
        assert!(matches!(data_plane.hear_news().await, Hear::Synced(_)));
        for _ in 0..3 {
            change(&control_plane, tenant).await;
        }
        data_plane.hears_nothing_new().await;
        data_plane.acknowledge(&first);
        let newest = data_plane.hear_policy().await;
        assert_eq!(newest.revision, first.revision + 3);
        data_plane.acknowledge(&newest);
        data_plane.hears_nothing_new().await;
        control_plane.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_refusal_is_shown_until_something_newer_is_acknowledged() {
    run(async |database| {
        let tenant = database.make_tenant("default").await;
        let control_plane = ControlPlane::start(database).await;
        let mut data_plane = DataPlane::hello(&control_plane, "", &[]).await;
        data_plane.sync().await;
        change(&control_plane, tenant).await;
        let policy = data_plane.hear_policy().await;
        data_plane.refuse(&policy, "no such\0network");
        let status = data_plane.reaches(&control_plane, tenant, |status| status.nacked_revision.is_some()).await;
        assert_eq!((status.acked_revision, status.nacked_revision), (Some(1), Some(2)));
        assert_eq!(status.nack_reason.as_deref(), Some("no such network"));
        data_plane.hears_nothing_new().await;

        change(&control_plane, tenant).await;
        let policy = data_plane.hear_policy().await;
        data_plane.acknowledge(&policy);
        let status = data_plane.reaches(&control_plane, tenant, |status| status.acked_revision == Some(3)).await;
        assert_eq!((status.nacked_revision, status.nack_reason), (None, None));
        control_plane.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_restarted_data_plane_is_sent_only_what_it_lacks() {
    run(async |database| {
        let tenant = database.make_tenant("default").await;
        let gone = database.make_tenant("gone").await;
        let control_plane = ControlPlane::start(database).await;
        let mut first = DataPlane::hello(&control_plane, "", &[]).await;
        let held = first.sync().await;
        let held: Vec<&TenantPolicy> = held.iter().collect();
        let epoch = held[0].epoch.clone();

        let mut restarted = DataPlane::hello(&control_plane, &epoch, &held).await;
        assert!(restarted.sync().await.is_empty());
        for tenant in [tenant, gone] {
            first.reaches(&control_plane, tenant, |status| status.acked_revision == Some(1)).await;
            restarted.reaches(&control_plane, tenant, |status| status.acked_revision == Some(1)).await;
        }

        database
            .run(format!(
                "DELETE FROM policy_acknowledgements; DELETE FROM sealing_keys; DELETE FROM audit_events;
                 DELETE FROM tenants WHERE id = '{}'",
                gone.uuid()
            ))
            .await;
        assert!(matches!(restarted.hear_news().await, Hear::Removed(removed) if removed.tenant_id == gone.to_string()));
        let mut later = DataPlane::hello(&control_plane, &epoch, &held).await;
        assert!(matches!(later.hear_news().await, Hear::Removed(removed) if removed.tenant_id == gone.to_string()));
        assert!(later.sync().await.is_empty());

        // What follows a restore from a backup.
        database.run("UPDATE deployment SET epoch = gen_random_uuid()").await;
        let policy = later.hear_policy().await;
        assert_eq!((policy.tenant_id, policy.revision), (tenant.to_string(), 1));
        assert_ne!(policy.epoch, epoch);
        let mut restarted = DataPlane::hello(&control_plane, &epoch, &held).await;
        assert_eq!(restarted.hear_policy().await.epoch, policy.epoch);
        control_plane.stop().await;
    })
    .await;
}

#[tokio::test]
async fn without_a_certificate_there_is_no_stream() {
    run(async |database| {
        let control_plane = ControlPlane::start(database).await;
        let mut client = PolicyServiceClient::new(control_plane.stranger().await);
        let refused = client.watch(tokio_stream::empty()).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated);
        control_plane.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_stream_that_makes_no_sense_is_ended() {
    run(async |database| {
        let control_plane = ControlPlane::start(database).await;
        let ack = Say::Ack(Ack { tenant_id: TenantId::new().to_string(), revision: 1 });
        let hello = |id: &str| Say::Hello(Hello { data_plane_id: id.to_owned(), ..Hello::default() });
        let own = DataPlaneId::new();
        let id = own.uuid().to_string();
        let nonsense = [vec![ack], vec![hello("dp-1")], vec![hello(&id), hello(&id)]];
        for messages in nonsense {
            let mut data_plane = DataPlane::connect_as(&control_plane, own).await;
            for message in messages {
                data_plane.say(message);
            }
            let status = loop {
                match data_plane.hear().await {
                    Ok(Some(Hear::Synced(_) | Hear::Heartbeat(_) | Hear::Revocations(_))) => {}
                    Ok(other) => panic!("unexpected: {other:?}"),
                    Err(status) => break status,
                }
            };
            assert_eq!(status.code(), Code::InvalidArgument);
        }
        control_plane.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_tenant_that_cannot_be_compiled_holds_up_no_other() {
    run(async |database| {
        let broken = Furnished::make(database).await.tenant;
        database.make_tenant("sound").await;
        database
            .run(
                "ALTER TABLE limits DROP CONSTRAINT limits_requests_count_check; UPDATE limits SET requests_count = -1",
            )
            .await;
        let control_plane = ControlPlane::start(database).await;
        let held = TenantPolicy { tenant_id: broken.to_string(), ..TenantPolicy::default() };
        let mut data_plane = DataPlane::hello(&control_plane, "", &[&held]).await;
        let policies = data_plane.sync().await;
        assert_eq!(policies.iter().map(|policy| policy.tenant.as_str()).collect::<Vec<_>>(), ["sound"]);

        // Repaired without a new revision: it is tried again all the same.
        database.run("UPDATE limits SET requests_count = 1").await;
        assert_eq!(data_plane.hear_policy().await.tenant, "default");
        control_plane.stop().await;
    })
    .await;
}

#[tokio::test]
async fn no_lease_is_renewed_while_postgres_is_away() {
    run(async |database| {
        let tenant = database.make_tenant("default").await;
        let control_plane = ControlPlane::start(database).await;
        let mut data_plane = DataPlane::hello(&control_plane, "", &[]).await;
        data_plane.sync().await;

        database.set_reachable(false).await;
        let away_at = Instant::now();
        let mut last_heartbeat_at = away_at;
        while let Ok(heard) = timeout(Duration::from_secs(3), data_plane.hear()).await {
            assert!(matches!(heard, Ok(Some(Hear::Heartbeat(_)))), "{heard:?}");
            last_heartbeat_at = Instant::now();
        }
        assert!(last_heartbeat_at - away_at < Duration::from_secs(6));

        database.set_reachable(true).await;
        assert!(matches!(data_plane.hear().await, Ok(Some(Hear::Heartbeat(_)))));
        change(&control_plane, tenant).await;
        assert_eq!(data_plane.hear_policy().await.revision, 2);
        control_plane.stop().await;
    })
    .await;
}

#[tokio::test]
async fn stopping_ends_open_streams_cleanly() {
    run(async |database| {
        let control_plane = ControlPlane::start(database).await;
        let mut data_plane = DataPlane::hello(&control_plane, "", &[]).await;
        data_plane.sync().await;
        control_plane.begin_to_stop();
        while let Some(heard) = data_plane.hear().await.unwrap() {
            assert!(matches!(heard, Hear::Heartbeat(_)));
        }
        timeout(PATIENCE, control_plane.stop()).await.expect("stops although the data plane is still connected");
    })
    .await;
}
