//! What goes out ahead of policies, and does not wait for them.

use sqlx::Connection as _;

use super::{
    revoking::{key, kids, revoke},
    *,
};

#[tokio::test]
async fn a_tenant_that_takes_long_to_compile_delays_neither_revocations_nor_heartbeats_nor_other_tenants() {
    run(async |database| {
        let slow = Furnished::make(database).await.tenant;
        let other = database.make_tenant("other").await;
        let control_plane = ControlPlane::start(database).await;
        let mut data_plane = DataPlane::hello(&control_plane, "", &[]).await;
        data_plane.sync().await;

        let holding = database.hold_up_compiling(slow).await;
        let first = change(&control_plane, slow).await;
        assert_eq!(database.waiting().await, 1);
        for (tenant, kid) in [(slow, "k1"), (other, "k2")] {
            revoke(&control_plane, tenant, key(kid)).await;
            assert_eq!(kids(&data_plane.hear_revocations().await), [kid]);
        }
        let revision = change(&control_plane, other).await;
        let policy = data_plane.hear_policy().await;
        assert_eq!((policy.tenant.as_str(), policy.revision), ("other", revision));
        data_plane.acknowledge(&policy);
        // More than go out on the strength of one look at the database.
        for _ in 0..5 {
            assert!(matches!(data_plane.hear().await, Ok(Some(Hear::Heartbeat(_)))));
        }

        let newest = [change(&control_plane, slow).await, change(&control_plane, slow).await][1];
        revoke(&control_plane, slow, key("k3")).await;
        assert_eq!(kids(&data_plane.hear_revocations().await), ["k3"]);
        assert_eq!(database.waiting().await, 1, "of one tenant one compilation is under way");
        holding.close().await.unwrap();
        for revision in [first, newest] {
            let policy = data_plane.hear_policy().await;
            assert_eq!(policy.revision, revision, "what came in between was never compiled");
            data_plane.acknowledge(&policy);
        }
        control_plane.stop().await;
    })
    .await;
}

#[tokio::test]
async fn revocations_and_heartbeats_wait_for_no_more_than_the_policy_that_is_under_way() {
    run(async |database| {
        let tenants =
            [database.make_tenant("a").await, database.make_tenant("b").await, database.make_tenant("c").await];
        let control_plane = ControlPlane::start(database).await;
        let mut data_plane = DataPlane::hello(&control_plane, "", &[]).await;
        data_plane.sync().await;
        // Policies of more than a mebibyte.
        database
            .run(
                "UPDATE tenants SET policy_revision = 2, egress_allow = array_fill('127.0.0.0/8'::text, ARRAY[120000])",
            )
            .await;
        let under_way = data_plane.hear_policy().await;
        let mut changes = control_plane.app.policy_changes.subscribe();
        let all = changes.wait_for(|known| known.policies().filter(|(_, policy)| policy.revision == 2).count() == 3);
        timeout(PATIENCE, all).await.expect("in time").unwrap();

        revoke(&control_plane, tenants[0], key("k1")).await;
        assert_eq!(kids(&data_plane.hear_revocations().await), ["k1"]);
        assert!(matches!(data_plane.hear().await, Ok(Some(Hear::Heartbeat(_)))));
        data_plane.acknowledge(&under_way);
        for _ in 0..2 {
            let next = data_plane.hear_policy().await;
            data_plane.acknowledge(&next);
        }
        data_plane.hears_nothing_new().await;
        control_plane.stop().await;
    })
    .await;
}
