//! Partitions as a round of jobs leaves them.

use chrono::{Days, Utc};
use sqlx::PgConnection;

use crate::{
    grpc::testing::{ControlPlane, run},
    jobs,
    usage::testing::{call_at, deliver},
};

async fn partitions(connection: &mut PgConnection) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'usage_records'::regclass ORDER BY 1",
    )
    .fetch_all(connection)
    .await
    .unwrap()
}

#[tokio::test]
async fn a_week_is_made_ahead_and_a_day_that_has_records_already_stays_where_it_is() {
    run(async |database| {
        let control_plane = ControlPlane::start(database).await;
        let tenant = database.make_tenant("default").await;
        let app = &control_plane.app;
        deliver(app, [call_at(tenant, Utc::now())]).await;
        jobs::run(app).await.unwrap();
        jobs::run(app).await.unwrap();

        let mut superuser = database.superuser().await;
        let today = Utc::now().date_naive();
        let ahead = (1..=7).map(|days| (today + Days::new(days)).format("usage_records_%Y%m%d").to_string());
        let expected: Vec<String> = ahead.chain(["usage_records_default".to_owned()]).collect();
        assert_eq!(partitions(&mut superuser).await, expected);

        let partition = &expected[0];
        let mut tx = app.db.tenant(tenant).await.unwrap();
        let beside = format!("SELECT count(*) FROM {partition}");
        let refused = sqlx::query(sqlx::AssertSqlSafe(beside)).fetch_one(&mut *tx).await.unwrap_err();
        assert!(refused.to_string().contains("permission denied"), "{refused}");
        drop(tx);
        control_plane.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_partition_is_dropped_when_the_last_tenant_no_longer_keeps_its_day() {
    run(async |database| {
        let control_plane = ControlPlane::start(database).await;
        let [first, second] = [database.make_tenant("first").await, database.make_tenant("second").await];
        let app = &control_plane.app;
        let old = Utc::now() - Days::new(40);
        let partition = old.format("usage_records_%Y%m%d").to_string();
        database.run(format!("SELECT make_usage_partition('{}')", old.date_naive())).await;
        deliver(app, [call_at(first, old), call_at(second, old)]).await;
        let mut superuser = database.superuser().await;

        database.run(format!("UPDATE tenants SET usage_retention_days = 30 WHERE id = '{}'", first.uuid())).await;
        jobs::run(app).await.unwrap();
        assert!(partitions(&mut superuser).await.contains(&partition), "the second tenant keeps it");
        database.run("UPDATE tenants SET usage_retention_days = 30").await;
        jobs::run(app).await.unwrap();
        assert!(!partitions(&mut superuser).await.contains(&partition));
        control_plane.stop().await;
    })
    .await;
}
