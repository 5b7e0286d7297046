//! Days that are counted anew: after a change of zone, and by the word of an owner.

use std::collections::BTreeMap;

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use http::Method;
use serde_json::json;
use sqlx::PgConnection;
use tollgate_proto::{TenantId, usage::v1::UsageRecord};

use crate::{
    app::App,
    caller::Role,
    grpc::testing::{ControlPlane, run},
    jobs, testing,
    usage::{
        recount,
        rollup::rebuild,
        testing::{Sums, added_up, call_at, daily, deliver, hourly},
    },
};

/// Calls every three hours and seven minutes over the last days, of agents in turn.
fn calls(tenant: TenantId, days: u64) -> Vec<(DateTime<Utc>, UsageRecord)> {
    let now = Utc::now();
    let times = (0..).map(|count| now - TimeDelta::minutes(187) * count).take_while(|at| *at > now - Days::new(days));
    let agents = ["one", "two", "three"].iter().cycle();
    times
        .zip(agents)
        .map(|(at, agent)| {
            (at, UsageRecord { agent: (*agent).to_owned(), agent_id: String::new(), ..call_at(tenant, at) })
        })
        .collect()
}

async fn change_zone(app: &App, tenant: TenantId, zone: &str) {
    let mut tx = app.db.tenant(tenant).await.unwrap();
    super::terms::change(&mut tx).await.unwrap();
    sqlx::query("UPDATE tenants SET time_zone = $2 WHERE id = $1")
        .bind(tenant.uuid())
        .bind(zone)
        .execute(&mut *tx)
        .await
        .unwrap();
    tx.commit().await.unwrap();
}

fn total(sheet: &BTreeMap<(NaiveDate, super::super::testing::Who), Sums>) -> Vec<i64> {
    (0..9).map(|column| sheet.values().map(|sums| sums[column]).sum()).collect()
}

#[tokio::test]
async fn after_a_change_of_zone_every_record_is_in_its_day_of_the_new_one() {
    run(async |database| {
        let control_plane = ControlPlane::start(database).await;
        let app = &control_plane.app;
        let tenant = database.make_tenant("default").await;
        let mut superuser = database.superuser().await;
        let mut records = calls(tenant, 40);
        deliver(app, records.iter().map(|(_, record)| record.clone())).await;
        for zone in ["Asia/Kolkata", "Pacific/Kiritimati", "America/Los_Angeles", "UTC"] {
            change_zone(app, tenant, zone).await;
            // Comes in before the days are counted anew.
            let late = (Utc::now() - Days::new(3), call_at(tenant, Utc::now() - Days::new(3)));
            deliver(app, [late.1.clone()]).await;
            records.push(late);
            jobs::run(app).await.unwrap();
            let (by_hour, by_day) = added_up(&records, zone);
            assert_eq!(daily(&mut superuser, tenant).await, by_day, "{zone}");
            assert_eq!(hourly(&mut superuser, tenant).await, by_hour, "{zone}");
        }
        control_plane.stop().await;
    })
    .await;
}

#[tokio::test]
async fn days_whose_records_are_gone_stay_and_nothing_is_lost_or_doubled_where_they_meet_the_others() {
    run(async |database| {
        let control_plane = ControlPlane::start(database).await;
        let app = &control_plane.app;
        let tenant = database.make_tenant("default").await;
        let mut superuser = database.superuser().await;
        let records = calls(tenant, 12);
        deliver(app, records.iter().map(|(_, record)| record.clone())).await;
        let whole = total(&daily(&mut superuser, tenant).await);
        database.run("UPDATE tenants SET usage_retention_days = 5").await;
        jobs::run(app).await.unwrap();
        for zone in ["Asia/Tokyo", "America/Los_Angeles", "Pacific/Kiritimati", "UTC"] {
            change_zone(app, tenant, zone).await;
            jobs::run(app).await.unwrap();
            let held = daily(&mut superuser, tenant).await;
            assert_eq!(total(&held), whole, "{zone}");
            let (_, by_day) = added_up(&records, zone);
            let kept = Utc::now().date_naive() - Days::new(4);
            let from = |sheet: &BTreeMap<(NaiveDate, _), Sums>| {
                sheet
                    .iter()
                    .filter(|((day, _), _)| *day >= kept)
                    .map(|(key, sums)| (key.clone(), *sums))
                    .collect::<Vec<_>>()
            };
            assert_eq!(from(&held), from(&by_day), "{zone}");
        }
        control_plane.stop().await;
    })
    .await;
}

/// Spoils sums in every way there is.
async fn corrupt(connection: &mut PgConnection) {
    for statement in [
        "UPDATE usage_daily SET calls = calls + 5, input_tokens = 0 WHERE dimension_id % 2 = 0",
        "DELETE FROM usage_daily WHERE dimension_id % 2 = 1",
        "UPDATE usage_hourly SET records = 9, output_tokens = output_tokens - 1 WHERE dimension_id % 3 = 0",
        "DELETE FROM usage_hourly WHERE dimension_id % 3 = 1",
        "DELETE FROM usage_overhead",
        "UPDATE usage_monthly SET refused = 7, cost = cost + 1 WHERE dimension_id % 2 = 0",
        "DELETE FROM usage_monthly WHERE dimension_id % 3 = 0",
    ] {
        sqlx::query(statement).execute(&mut *connection).await.unwrap();
    }
}

async fn overhead(connection: &mut PgConnection) -> Vec<(DateTime<Utc>, i32, i64)> {
    sqlx::query_as("SELECT hour, bucket, calls FROM usage_overhead WHERE calls <> 0 ORDER BY 1, 2")
        .fetch_all(connection)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_rebuild_mends_what_was_spoilt_while_calls_come_in() {
    run(async |database| {
        let control_plane = ControlPlane::start(database).await;
        let app = &control_plane.app;
        let tenant = database.make_tenant("default").await;
        let mut superuser = database.superuser().await;
        let records = calls(tenant, 6);
        deliver(app, records.iter().map(|(_, record)| record.clone())).await;
        let unspoilt = overhead(&mut superuser).await;
        corrupt(&mut superuser).await;

        let more = calls(tenant, 6);
        let days = || (Utc::now().date_naive() - Days::new(7)).iter_days().take(9);
        let rebuilt = async {
            let mut mended = 0;
            for day in days() {
                mended += rebuild::day(app, tenant, day).await.unwrap();
            }
            mended
        };
        let delivered = async {
            for chunk in more.chunks(5) {
                deliver(app, chunk.iter().map(|(_, record)| record.clone())).await;
            }
        };
        let (mended, again, ()) = tokio::join!(rebuilt, rebuild::day(app, tenant, Utc::now().date_naive()), delivered);
        assert!(mended + again.unwrap() > 0);

        let (by_hour, by_day) = added_up(records.iter().chain(&more), "UTC");
        assert_eq!(hourly(&mut superuser, tenant).await, by_hour);
        assert_eq!(daily(&mut superuser, tenant).await, by_day);
        let doubled: Vec<_> = overhead(&mut superuser).await;
        assert_eq!(doubled.iter().map(|row| row.2).sum::<i64>(), 2 * unspoilt.iter().map(|row| row.2).sum::<i64>());
        for day in days() {
            assert_eq!(rebuild::day(app, tenant, day).await.unwrap(), 0, "nothing was left to mend");
        }
        control_plane.stop().await;
    })
    .await;
}

#[tokio::test]
async fn an_owner_has_days_counted_anew() {
    testing::run(async |bench| {
        deliver(&bench.app, calls(bench.acme, 3).into_iter().map(|(_, record)| record)).await;
        let today = Utc::now().date_naive();
        let body = json!({ "from": today - Days::new(9), "to": today });
        let post = |role: Role| bench.call(Method::POST, "usage:rebuild").by(role);
        assert_eq!(post(Role::Admin).json(body.clone()).await.expect(403).problem().0, "role_insufficient");
        let rebuilt = post(Role::Owner).json(body).await.expect(200).json;
        assert_eq!(rebuilt["mended"], 0);
        assert!((4..=5).contains(&rebuilt["days"].as_u64().unwrap()), "those that have records: {rebuilt}");
        assert_eq!(bench.audit().await, ["usage.rebuild acme"]);
        for (from, to) in [(today, today - Days::new(1)), (today - Days::new(recount::DAYS_MAX.unsigned_abs()), today)]
        {
            let refused = post(Role::Owner).json(json!({ "from": from, "to": to })).await.expect(422);
            assert_eq!(refused.problem().1, ["/to out_of_range"]);
        }
    })
    .await;
}
