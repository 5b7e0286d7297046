use serde_json::{Value, json};
use tokio::sync::mpsc;
use tollgate_proto::policy::v1::InstanceHealth;

use super::*;
use crate::testing::{Bench, run};

const SINCE_MS: i64 = 1_800_000_000_000;

async fn register(bench: &Bench) -> Vec<InstanceId> {
    let instances = json!([{ "url": "http://a/mcp" }, { "url": "http://b/mcp", "draining": true }]);
    let made = bench.put("servers/files", json!({ "spec": { "instances": instances } })).await.expect(201);
    let status = made.json["status"]["instances"].as_array().expect("a list").clone();
    assert!(status.iter().all(|instance| instance["health"] == "unknown" && instance["since"] == Value::Null));
    status.iter().map(|instance| instance["id"].as_str().expect("an id").parse().expect("an id")).collect()
}

async fn instances(bench: &Bench) -> Vec<Value> {
    let server = bench.get("servers/files").await.expect(200);
    server.json["status"]["instances"].as_array().expect("a list").clone()
}

/// A data plane that was seen at this moment.
async fn data_plane(bench: &Bench) -> DataPlaneId {
    let id = DataPlaneId::new();
    seen(bench, id, "now()").await;
    id
}

async fn seen(bench: &Bench, id: DataPlaneId, at: &str) {
    let statement = format!(
        "INSERT INTO data_planes (id, last_seen_at) VALUES ('{}', {at})
         ON CONFLICT (id) DO UPDATE SET last_seen_at = excluded.last_seen_at",
        id.uuid()
    );
    sqlx::query(sqlx::AssertSqlSafe(statement)).execute(bench.app.db.pool()).await.expect("a data plane");
}

fn state(tenant: TenantId, instance: InstanceId, health: InstanceHealth) -> InstanceState {
    InstanceState {
        tenant_id: tenant.to_string(),
        instance_id: instance.to_string(),
        health: health.into(),
        since_ms: SINCE_MS,
        ..InstanceState::default()
    }
}

/// Says so over a stream that ends then.
async fn say(bench: &Bench, id: DataPlaneId, complete: bool, instances: Vec<InstanceState>) {
    let (reports, said) = mpsc::unbounded_channel();
    let complete_tenant_ids = if complete { vec![bench.acme.to_string()] } else { Vec::new() };
    reports.send(InstanceReport { complete_tenant_ids, instances }).expect("it is heard");
    drop(reports);
    keep(bench.app.db.clone(), id, said).await;
}

/// When each row was written.
async fn written(bench: &Bench) -> Vec<DateTime<Utc>> {
    let mut tx = bench.app.db.tenant(bench.acme).await.expect("a transaction");
    let rows = sqlx::query_scalar("SELECT reported_at FROM instance_health ORDER BY instance_id");
    rows.fetch_all(&mut *tx).await.expect("rows")
}

#[tokio::test]
async fn the_worst_that_a_connected_data_plane_says_is_said_of_an_instance() {
    run(async |bench| {
        let ids = register(bench).await;
        let (one, two) = (data_plane(bench).await, data_plane(bench).await);
        let era = wire::Era::Legacy.into();
        let fine = InstanceState {
            era,
            protocol_version: "2025-11-25".to_owned(),
            ..state(bench.acme, ids[0], InstanceHealth::Healthy)
        };
        let gone = InstanceState {
            last_error: "unreachable".to_owned(),
            ..state(bench.acme, ids[0], InstanceHealth::Ejected)
        };
        say(bench, one, true, vec![fine.clone(), state(bench.acme, ids[1], InstanceHealth::Unknown)]).await;
        say(bench, two, true, vec![gone]).await;
        let shown = instances(bench).await;
        assert_eq!((&shown[0]["health"], &shown[0]["last_error"]), (&json!("ejected"), &json!("unreachable")));
        assert_eq!((&shown[1]["health"], &shown[1]["draining"]), (&json!("unknown"), &json!(true)));
        let first = shown[0]["data_planes"].as_array().expect("a list").iter().find(|said| said["id"] == json!(one));
        let expected = json!({
            "id": one, "health": "healthy", "since": "2027-01-15T08:00:00Z", "era": "legacy",
            "protocol_version": "2025-11-25", "last_error": null,
        });
        assert_eq!(first, Some(&expected));

        seen(bench, two, "now() - interval '10 s'").await;
        let shown = instances(bench).await;
        assert_eq!((&shown[0]["health"], &shown[0]["era"]), (&json!("healthy"), &json!("legacy")));
        seen(bench, one, "now() - interval '10 s'").await;
        assert_eq!(instances(bench).await[0]["data_planes"], json!([]));
    })
    .await;
}

#[tokio::test]
async fn a_row_is_written_when_it_says_something_else_and_only_then() {
    run(async |bench| {
        let (ids, id) = (register(bench).await, data_plane(bench).await);
        let said = || ids.iter().map(|id| state(bench.acme, *id, InstanceHealth::Healthy)).collect::<Vec<_>>();
        say(bench, id, true, said()).await;
        let first = written(bench).await;
        say(bench, id, true, said()).await;
        assert_eq!(written(bench).await, first);
        say(bench, id, false, vec![state(bench.acme, ids[0], InstanceHealth::Unhealthy)]).await;
        let second = written(bench).await;
        let changed = first.iter().zip(&second).filter(|(before, after)| before != after).count();
        assert_eq!((second.len(), changed), (2, 1));
    })
    .await;
}

#[tokio::test]
async fn what_is_not_in_a_complete_report_is_gone_and_so_is_what_nobody_says_any_more() {
    run(async |bench| {
        let (ids, id) = (register(bench).await, data_plane(bench).await);
        let said = ids.iter().map(|id| state(bench.acme, *id, InstanceHealth::Healthy)).collect();
        say(bench, id, true, said).await;
        say(bench, id, true, vec![state(bench.acme, ids[1], InstanceHealth::Healthy)]).await;
        assert_eq!(written(bench).await.len(), 1);
        purge(&bench.app, bench.acme).await.expect("purged");
        assert_eq!(written(bench).await.len(), 1, "it was there a moment ago");
        seen(bench, id, "now() - interval '2 h'").await;
        purge(&bench.app, bench.acme).await.expect("purged");
        assert!(written(bench).await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn an_instance_of_another_tenant_or_one_that_is_gone_is_left_out() {
    run(async |bench| {
        let (ids, id) = (register(bench).await, data_plane(bench).await);
        let other = bench.tenant("other").await;
        let strange = [(other, ids[0]), (bench.acme, InstanceId::new()), (TenantId::new(), ids[0])];
        let said = strange.map(|(tenant, id)| state(tenant, id, InstanceHealth::Ejected));
        let mine = state(bench.acme, ids[0], InstanceHealth::Healthy);
        say(bench, id, false, [&said[..], &[mine]].concat()).await;
        let shown = instances(bench).await;
        assert_eq!((&shown[0]["health"], written(bench).await.len()), (&json!("healthy"), 1));
    })
    .await;
}
