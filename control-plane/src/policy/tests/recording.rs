//! What data planes answer, on its way into the database.

use futures_util::future::join_all;
use sqlx::{Connection as _, Executor as _};

use super::*;

async fn synced(control_plane: &ControlPlane, count: usize) -> Vec<DataPlane> {
    let mut data_planes = Vec::new();
    for _ in 0..count {
        let mut data_plane = DataPlane::hello(control_plane, "", &[]).await;
        data_plane.sync().await;
        data_planes.push(data_plane);
    }
    data_planes
}

#[tokio::test]
async fn however_many_data_planes_answer_one_connection_writes_what_they_say() {
    run(async |database| {
        let tenant = database.make_tenant("default").await;
        let control_plane = ControlPlane::start(database).await;
        let mut data_planes = synced(&control_plane, 8).await;
        let mut holding = database.superuser().await;
        holding.execute("BEGIN; LOCK TABLE policy_acknowledgements IN ACCESS EXCLUSIVE MODE").await.unwrap();
        let mut newest = 0;
        // Nobody is sent the second change before its answer to the first one was taken.
        for _ in 0..2 {
            newest = change(&control_plane, tenant).await;
            for data_plane in &mut data_planes {
                let policy = data_plane.hear_policy().await;
                assert_eq!(policy.revision, newest);
                data_plane.acknowledge(&policy);
            }
        }
        assert_eq!(database.waiting().await, 1);
        holding.close().await.unwrap();
        let acked = |status: &DataPlaneStatus| status.acked_revision == Some(newest.cast_signed());
        join_all(data_planes.iter().map(|data_plane| data_plane.reaches(&control_plane, tenant, acked))).await;
        control_plane.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_data_plane_whose_usage_is_being_stored_keeps_no_answer_from_being_written() {
    run(async |database| {
        let tenant = database.make_tenant("default").await;
        let control_plane = ControlPlane::start(database).await;
        let mut data_planes = synced(&control_plane, 2).await;
        for data_plane in &data_planes {
            data_plane.reaches(&control_plane, tenant, |status| status.acked_revision == Some(1)).await;
        }
        let mut holding = database.superuser().await;
        let lock =
            format!("BEGIN; UPDATE data_planes SET usage_position = 1 WHERE id = '{}'", data_planes[0].id.uuid());
        holding.execute(sqlx::AssertSqlSafe(lock)).await.unwrap();
        change(&control_plane, tenant).await;
        for data_plane in &mut data_planes {
            let policy = data_plane.hear_policy().await;
            data_plane.acknowledge(&policy);
        }
        for data_plane in &data_planes {
            data_plane.reaches(&control_plane, tenant, |status| status.acked_revision == Some(2)).await;
        }
        holding.close().await.unwrap();
        control_plane.stop().await;
    })
    .await;
}
