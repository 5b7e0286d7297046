//! What a round of jobs removes, and what stays.

use chrono::{Days, Utc};
use serde_json::{Value, json};
use sqlx::PgConnection;
use tollgate_proto::TenantId;

use crate::{
    grpc::testing::{ControlPlane, run},
    jobs,
    usage::testing::{call_at, daily, deliver, hourly},
};

async fn records(connection: &mut PgConnection, tenant: TenantId) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM usage_records WHERE tenant_id = $1")
        .bind(tenant.uuid())
        .fetch_one(connection)
        .await
        .unwrap()
}

#[tokio::test]
async fn each_tenants_old_records_leave_and_are_taken_no_more_and_their_sums_stay() {
    run(async |database| {
        let control_plane = ControlPlane::start(database).await;
        let [short, long] = [database.make_tenant("short").await, database.make_tenant("long").await];
        let app = &control_plane.app;
        let now = Utc::now();
        let of = |tenant| [40, 31, 30, 1, 0].map(|days| call_at(tenant, now - Days::new(days)));
        let delivered = of(short);
        deliver(app, delivered.clone()).await;
        deliver(app, of(long)).await;
        let mut superuser = database.superuser().await;
        let (by_hour, by_day) = (hourly(&mut superuser, short).await, daily(&mut superuser, short).await);

        database.run(format!("UPDATE tenants SET usage_retention_days = 30 WHERE id = '{}'", short.uuid())).await;
        jobs::run(app).await.unwrap();
        assert_eq!((records(&mut superuser, short).await, records(&mut superuser, long).await), (3, 5));
        let audited: Vec<(String, Value)> =
            sqlx::query_as("SELECT action, detail FROM audit_events WHERE tenant_id = $1 AND action LIKE 'usage.%'")
                .bind(short.uuid())
                .fetch_all(&mut superuser)
                .await
                .unwrap();
        let before = json!({ "records_before": (now - Days::new(30)).date_naive() });
        assert_eq!(audited, [("usage.expire".to_owned(), before)]);

        // What was removed comes again, although it is to be kept for longer from now on.
        database.run("UPDATE tenants SET usage_retention_days = 90").await;
        deliver(app, delivered).await;
        jobs::run(app).await.unwrap();
        assert_eq!(records(&mut superuser, short).await, 3);
        assert_eq!((hourly(&mut superuser, short).await, daily(&mut superuser, short).await), (by_hour, by_day));
        let aside: Vec<String> =
            sqlx::query_scalar("SELECT reason FROM quarantined_records").fetch_all(&mut superuser).await.unwrap();
        assert_eq!(aside.len(), 2);
        assert!(aside.iter().all(|reason| reason.contains("no longer kept")), "{aside:?}");
        control_plane.stop().await;
    })
    .await;
}

#[tokio::test]
async fn the_application_itself_deletes_no_record() {
    run(async |database| {
        let control_plane = ControlPlane::start(database).await;
        let tenant = database.make_tenant("default").await;
        deliver(&control_plane.app, [call_at(tenant, Utc::now())]).await;
        for statement in [
            "DELETE FROM usage_records",
            "UPDATE usage_records SET input_tokens = 0",
            "DELETE FROM usage_daily",
            "DELETE FROM usage_monthly",
            "UPDATE usage_dimensions SET team = 'x'",
        ] {
            let mut tx = control_plane.app.db.tenant(tenant).await.unwrap();
            let refused = sqlx::query(statement).execute(&mut *tx).await.unwrap_err();
            assert!(refused.to_string().contains("permission denied"), "{statement}: {refused}");
        }
        // The owner's function removes nothing that the tenant still keeps, whatever the application says of it.
        let mut tx = control_plane.app.db.tenant(tenant).await.unwrap();
        sqlx::query("UPDATE tenants SET usage_kept_from = '9999-01-01'").execute(&mut *tx).await.unwrap();
        let deleted: i64 = sqlx::query_scalar("SELECT purge_usage_records(10)").fetch_one(&mut *tx).await.unwrap();
        assert_eq!(deleted, 0);
        drop(tx);
        control_plane.stop().await;
    })
    .await;
}
