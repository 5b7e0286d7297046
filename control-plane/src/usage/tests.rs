//! Intake over a real socket into real Postgres, and what the operations read from it.

mod costs;
mod planes;

use chrono::{TimeDelta, Utc};
use sqlx::PgConnection;
use tokio::time::Instant;
use tollgate_proto::{
    AgentId, CallId, DataPlaneId, ServerId, TenantId,
    usage::v1::{
        Outcome, ReportRequest, SpooledRecord, UsageRecord as Delivered, usage_service_client::UsageServiceClient,
    },
};
use tonic::{Code, Status};
use uuid::Uuid;

use super::{Dimension, Filter, ReportRow, list, report, summary, testing::call_at};
use crate::grpc::testing::{ControlPlane, run};

/// A record of a successful call.
fn call(tenant: TenantId) -> Delivered {
    Delivered {
        call_id: CallId::new().to_string(),
        tenant_id: tenant.to_string(),
        agent_id: AgentId::new().to_string(),
        agent: "bot".to_owned(),
        team: "platform".to_owned(),
        server_id: ServerId::new().to_string(),
        server: "demo".to_owned(),
        tool: "echo".to_owned(),
        method: "tools/call".to_owned(),
        protocol_version: "2026-07-28".to_owned(),
        outcome: Outcome::Ok.into(),
        decision: "allowed".to_owned(),
        forwarded: true,
        http_status: 200,
        input_bytes: 7,
        output_bytes: 14,
        input_tokens: 2,
        output_tokens: 4,
        duration_us: 2_500,
        upstream_us: 1_500,
        policy_revision: 3,
        ..Delivered::default()
    }
}

/// Records at positions from `first` on.
fn batch(data_plane: DataPlaneId, first: u64, records: impl IntoIterator<Item = Delivered>) -> ReportRequest {
    let records =
        (first..).zip(records).map(|(position, record)| SpooledRecord { position, record: Some(record) }).collect();
    ReportRequest { data_plane_id: data_plane.uuid().to_string(), records }
}

async fn deliver(control_plane: &ControlPlane, batch: ReportRequest) -> Result<u64, Status> {
    let data_plane = Uuid::try_parse(&batch.data_plane_id).map_or_else(|_| DataPlaneId::new(), DataPlaneId::from);
    let mut client = UsageServiceClient::new(control_plane.channel(data_plane).await);
    let response = client.report(batch).await?;
    Ok(response.into_inner().acknowledged_position)
}

async fn count(connection: &mut PgConnection, table: &'static str) -> i64 {
    sqlx::query_scalar(sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}")))
        .fetch_one(connection)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_batch_that_comes_again_changes_nothing() {
    run(async |database| {
        let control_plane = ControlPlane::start(database).await;
        let tenant = database.make_tenant("default").await;
        let data_plane = DataPlaneId::new();
        let delivered = batch(data_plane, 1, [call(tenant), call(tenant), call(tenant)]);
        assert_eq!(deliver(&control_plane, delivered.clone()).await.unwrap(), 3);
        assert_eq!(deliver(&control_plane, delivered.clone()).await.unwrap(), 3);

        // Its end is new: the acknowledgement of the first delivery was lost.
        let mut longer = delivered;
        longer.records.push(SpooledRecord { position: 4, record: Some(call(tenant)) });
        assert_eq!(deliver(&control_plane, longer).await.unwrap(), 4);
        assert_eq!(deliver(&control_plane, batch(data_plane, 1, [])).await.unwrap(), 4);
        assert_eq!(count(&mut database.superuser().await, "usage_records").await, 4);
        control_plane.stop().await;
    })
    .await;
}

#[tokio::test]
async fn two_control_planes_store_the_same_batch_once() {
    run(async |database| {
        let planes = [ControlPlane::start(database).await, ControlPlane::start(database).await];
        let tenant = database.make_tenant("default").await;
        let data_plane = DataPlaneId::new();
        for round in 0..5 {
            let delivered = batch(data_plane, 1 + round * 200, (0..200).map(|_| call(tenant)));
            let answers = tokio::join!(
                deliver(&planes[0], delivered.clone()),
                deliver(&planes[1], delivered.clone()),
                deliver(&planes[0], delivered.clone()),
                deliver(&planes[1], delivered),
            );
            let expected = (round + 1) * 200;
            for answer in [answers.0, answers.1, answers.2, answers.3] {
                assert_eq!(answer.unwrap(), expected);
            }
        }
        assert_eq!(count(&mut database.superuser().await, "usage_records").await, 1_000);
        for plane in planes {
            plane.stop().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_call_is_stored_once_whatever_position_it_comes_at() {
    run(async |database| {
        let control_plane = ControlPlane::start(database).await;
        let tenant = database.make_tenant("default").await;
        let record = call(tenant);
        let again = batch(DataPlaneId::new(), 1, [record.clone(), record.clone()]);
        assert_eq!(deliver(&control_plane, again).await.unwrap(), 2);
        assert_eq!(deliver(&control_plane, batch(DataPlaneId::new(), 9, [record])).await.unwrap(), 9);
        assert_eq!(count(&mut database.superuser().await, "usage_records").await, 1);
        control_plane.stop().await;
    })
    .await;
}

#[tokio::test]
async fn each_tenant_sees_its_own_records_of_a_shared_batch() {
    run(async |database| {
        let control_plane = ControlPlane::start(database).await;
        let [first, second] = [database.make_tenant("first").await, database.make_tenant("second").await];
        let records = [call(first), call(second), call(first)];
        let of_second = records[1].call_id.clone();
        deliver(&control_plane, batch(DataPlaneId::new(), 1, records)).await.unwrap();

        let db = &control_plane.app.db;
        let mut tx = db.tenant(second).await.unwrap();
        let seen = list(&mut tx, &Filter::default(), None, 50).await.unwrap();
        assert_eq!(seen.iter().map(|record| record.call_id.to_string()).collect::<Vec<_>>(), [of_second]);
        assert_eq!(count(&mut tx, "usage_records").await, 1);
        drop(tx);
        let mut tx = db.tenant(first).await.unwrap();
        assert_eq!(count(&mut tx, "usage_records").await, 2);
        drop(tx);
        let mut tx = db.platform().await.unwrap();
        assert_eq!(count(&mut tx, "usage_records").await, 0);
        assert!(sqlx::query("SELECT count(*) FROM usage_records_default").fetch_one(&mut *tx).await.is_err());
        drop(tx);
        control_plane.stop().await;
    })
    .await;
}

#[tokio::test]
async fn requests_of_no_tenant_are_nobodys() {
    run(async |database| {
        let control_plane = ControlPlane::start(database).await;
        let tenant = database.make_tenant("default").await;
        let nameless = Delivered { tenant_id: String::new(), decision: "token_missing".to_owned(), ..call(tenant) };
        let records = [nameless, call(TenantId::new()), call(tenant)];
        let delivered = batch(DataPlaneId::new(), 1, records);
        assert_eq!(deliver(&control_plane, delivered.clone()).await.unwrap(), 3);
        let elsewhere = ReportRequest { data_plane_id: DataPlaneId::new().uuid().to_string(), ..delivered };
        assert_eq!(deliver(&control_plane, elsewhere).await.unwrap(), 3);
        let mut superuser = database.superuser().await;
        assert_eq!(count(&mut superuser, "usage_records").await, 1);
        assert_eq!(count(&mut superuser, "unattributed_requests").await, 2);
        control_plane.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_put_aside_and_holds_up_none() {
    run(async |database| {
        let control_plane = ControlPlane::start(database).await;
        let tenant = database.make_tenant("default").await;
        let torn = Delivered { call_id: "torn".to_owned(), ..call(tenant) };
        let mut delivered = batch(DataPlaneId::new(), 1, [call(tenant), torn, call(tenant)]);
        delivered.records.push(SpooledRecord { position: 4, record: None });
        assert_eq!(deliver(&control_plane, delivered.clone()).await.unwrap(), 4);
        assert_eq!(deliver(&control_plane, delivered).await.unwrap(), 4);
        let mut superuser = database.superuser().await;
        assert_eq!(count(&mut superuser, "usage_records").await, 2);
        let aside: Vec<(i64, String, Vec<u8>)> =
            sqlx::query_as("SELECT position, reason, payload FROM quarantined_records ORDER BY position")
                .fetch_all(&mut superuser)
                .await
                .unwrap();
        assert_eq!((aside[0].0, aside[0].1.as_str()), (2, "`call_id` is no UUIDv7"));
        let kept: Delivered = prost::Message::decode(&*aside[0].2).unwrap();
        assert_eq!(kept.call_id, "torn");
        assert_eq!((aside[1].0, aside[1].1.as_str(), aside[1].2.len()), (4, "there is no record", 0));
        control_plane.stop().await;
    })
    .await;
}

#[tokio::test]
async fn records_of_another_time_are_put_aside_and_counted() {
    run(async |database| {
        let control_plane = ControlPlane::start(database).await;
        let tenant = database.make_tenant("default").await;
        let times = [
            TimeDelta::hours(2),
            TimeDelta::minutes(50),
            TimeDelta::zero(),
            TimeDelta::days(-89),
            TimeDelta::days(-365),
        ];
        let records = times.map(|ahead| call_at(tenant, Utc::now() + ahead));
        assert_eq!(deliver(&control_plane, batch(DataPlaneId::new(), 1, records)).await.unwrap(), 5);
        let mut superuser = database.superuser().await;
        assert_eq!(count(&mut superuser, "usage_records").await, 3);
        let aside: Vec<i64> = sqlx::query_scalar("SELECT position FROM quarantined_records ORDER BY position")
            .fetch_all(&mut superuser)
            .await
            .unwrap();
        assert_eq!(aside, [1, 5]);
        let app = &control_plane.app;
        let metrics = app.metrics.render(app.db.pool(), app.policy_changes.connected());
        for reason in ["future", "expired"] {
            let line = format!("tollgate_usage_quarantined_total{{reason=\"{reason}\"}} 1");
            assert!(metrics.contains(&line), "{metrics}");
        }
        control_plane.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_batch_that_nobody_could_store_is_refused_whole() {
    run(async |database| {
        let control_plane = ControlPlane::start(database).await;
        let tenant = database.make_tenant("default").await;
        let data_plane = DataPlaneId::new();
        let too_many = batch(data_plane, 1, std::iter::repeat_n(Delivered::default(), 5_001));
        let beyond = batch(data_plane, 1 << 63, [call(tenant)]);
        let anonymous = ReportRequest { data_plane_id: "dp-1".to_owned(), records: Vec::new() };
        for refused in [too_many, beyond, anonymous] {
            assert_eq!(deliver(&control_plane, refused).await.unwrap_err().code(), Code::InvalidArgument);
        }
        let too_large = Delivered { tool: "x".repeat(5 << 20), ..call(tenant) };
        let status = deliver(&control_plane, batch(data_plane, 1, [too_large])).await.unwrap_err();
        assert_eq!(status.code(), Code::OutOfRange);
        let mut client = UsageServiceClient::new(control_plane.stranger().await);
        let status = client.report(batch(data_plane, 1, [call(tenant)])).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated);
        let mut client = UsageServiceClient::new(control_plane.channel(DataPlaneId::new()).await);
        let status = client.report(batch(data_plane, 1, [call(tenant)])).await.unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied, "another data plane's usage");
        assert_eq!(count(&mut database.superuser().await, "usage_records").await, 0);
        control_plane.stop().await;
    })
    .await;
}

#[tokio::test]
async fn the_largest_batch_is_stored_in_reasonable_time() {
    run(async |database| {
        let control_plane = ControlPlane::start(database).await;
        let tenant = database.make_tenant("default").await;
        let delivered = batch(DataPlaneId::new(), 1, (0..5_000).map(|_| call(tenant)));
        let began_at = Instant::now();
        assert_eq!(deliver(&control_plane, delivered).await.unwrap(), 5_000);
        assert!(began_at.elapsed().as_secs() < 10, "took {:?}", began_at.elapsed());
        control_plane.stop().await;
    })
    .await;
}

#[tokio::test]
async fn without_postgres_a_batch_is_to_be_delivered_again() {
    run(async |database| {
        let control_plane = ControlPlane::start(database).await;
        let tenant = database.make_tenant("default").await;
        let data_plane = DataPlaneId::new();
        let delivered = batch(data_plane, 1, [call(tenant)]);
        // From here on the control plane knows who is revoked.
        assert_eq!(deliver(&control_plane, batch(data_plane, 1, [])).await.unwrap(), 0);
        database.set_reachable(false).await;
        let status = deliver(&control_plane, delivered.clone()).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        assert!(!status.message().contains("database"), "{status}");
        database.set_reachable(true).await;
        assert_eq!(deliver(&control_plane, delivered).await.unwrap(), 1);
        control_plane.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_list_is_read_page_by_page_and_filtered() {
    run(async |database| {
        let control_plane = ControlPlane::start(database).await;
        let tenant = database.make_tenant("default").await;
        let agent = AgentId::new();
        let refused = Delivered {
            agent_id: agent.to_string(),
            agent: "other".to_owned(),
            outcome: Outcome::Refused.into(),
            decision: "tool_not_granted".to_owned(),
            forwarded: false,
            http_status: 403,
            rpc_error_code: -32_001,
            ..call(tenant)
        };
        let mut records: Vec<Delivered> = (0..9).map(|_| call(tenant)).collect();
        records.push(refused);
        let mut expected: Vec<Uuid> = records.iter().map(|record| record.call_id.parse().unwrap()).collect();
        // Ids of version 7 ascend with time.
        expected.sort_unstable_by(|a, b| b.cmp(a));
        deliver(&control_plane, batch(DataPlaneId::new(), 1, records)).await.unwrap();

        let mut tx = control_plane.app.db.tenant(tenant).await.unwrap();
        let mut seen = Vec::new();
        let mut after = None;
        loop {
            let page = list(&mut tx, &Filter::default(), after, 4).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some(last.position());
            seen.extend(page.iter().map(|record| record.call_id));
        }
        assert_eq!(seen, expected);

        let by = |change: fn(&mut Filter, String), value: &str| {
            let mut filter = Filter::default();
            change(&mut filter, value.to_owned());
            filter
        };
        for (filter, matching) in [
            (by(|filter, value| filter.agent = Some(value), "other"), 1),
            (by(|filter, value| filter.agent = Some(value), &agent.to_string()), 1),
            (by(|filter, value| filter.server = Some(value), "demo"), 10),
            (by(|filter, value| filter.tool = Some(value), "missing"), 0),
            (by(|filter, value| filter.decision = Some(value), "allowed"), 9),
            (by(|filter, value| filter.outcome = Some(value), "refused"), 1),
        ] {
            assert_eq!(list(&mut tx, &filter, None, 50).await.unwrap().len(), matching, "{filter:?}");
        }
        let refused = &list(&mut tx, &Filter { outcome: Some("refused".to_owned()), ..Filter::default() }, None, 1)
            .await
            .unwrap()[0];
        assert_eq!((refused.agent_id, refused.rpc_error_code, refused.duration_ms), (Some(agent), Some(-32_001), 2.5));
        drop(tx);
        control_plane.stop().await;
    })
    .await;
}

#[tokio::test]
async fn reports_and_the_summary_add_up() {
    run(async |database| {
        let control_plane = ControlPlane::start(database).await;
        let tenant = database.make_tenant("default").await;
        let refusal = |tool: &str| Delivered {
            outcome: Outcome::Refused.into(),
            decision: "tool_not_granted".to_owned(),
            forwarded: false,
            tool: tool.to_owned(),
            output_tokens: 0,
            ..call(tenant)
        };
        let records = [
            call(tenant),
            call(tenant),
            refusal("echo"),
            Delivered {
                server: "other".to_owned(),
                outcome: Outcome::Timeout.into(),
                duration_us: 10_000,
                ..call(tenant)
            },
            Delivered { tool: String::new(), method: "tools/list".to_owned(), ..call(tenant) },
            Delivered { agent: String::new(), team: String::new(), input_tokens: 1 << 50, ..refusal("") },
        ];
        deliver(&control_plane, batch(DataPlaneId::new(), 1, records)).await.unwrap();

        let mut tx = control_plane.app.db.tenant(tenant).await.unwrap();
        let row = |name: &str, server: Option<&str>, calls, refused, input_tokens, output_tokens| ReportRow {
            name: name.to_owned(),
            server: server.map(str::to_owned),
            calls,
            refused,
            input_tokens,
            output_tokens,
            cost: "0".to_owned(),
            currency: None,
        };
        let by_agent = [row("", None, 0, 1, 1 << 50, 0), row("bot", None, 4, 1, 10, 16)];
        assert_eq!(report(&mut tx, Dimension::Agent, None, None).await.unwrap(), by_agent);
        let by_team = report(&mut tx, Dimension::Team, None, None).await.unwrap();
        assert_eq!(by_team[1], row("platform", None, 4, 1, 10, 16));
        let by_server = report(&mut tx, Dimension::Server, None, None).await.unwrap();
        assert_eq!(by_server, [row("demo", None, 3, 2, (1 << 50) + 8, 12), row("other", None, 1, 0, 2, 4)]);
        let by_tool = [row("echo", Some("demo"), 2, 1, 6, 8), row("echo", Some("other"), 1, 0, 2, 4)];
        assert_eq!(report(&mut tx, Dimension::Tool, None, None).await.unwrap(), by_tool);

        let now = Utc::now();
        let later = Some(now + TimeDelta::minutes(1));
        assert!(report(&mut tx, Dimension::Agent, later, None).await.unwrap().is_empty());
        assert!(report(&mut tx, Dimension::Agent, None, Some(now - TimeDelta::minutes(1))).await.unwrap().is_empty());

        let seen = summary(&mut tx, now - TimeDelta::days(1)).await.unwrap();
        assert_eq!((seen.calls, seen.refused, seen.errors), (4, 2, 1));
        assert!((7.4..=9.6).contains(&seen.overhead_ms_p95.unwrap()));
        // Whole hours are looked at.
        assert_eq!(summary(&mut tx, now + TimeDelta::hours(1)).await.unwrap().overhead_ms_p95, None);
        drop(tx);
        control_plane.stop().await;
    })
    .await;
}
