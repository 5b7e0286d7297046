//! Revocations on their way to data planes.

use chrono::{TimeDelta, Utc};
use sqlx::AssertSqlSafe;
use tollgate_proto::policy::v1::{Revocation, revocation::What};
use uuid::Uuid;

use super::*;
use crate::{
    policy::RevocationTimes,
    revocations::{self, Enforced, Revoked},
};

pub(super) async fn revoke(control_plane: &ControlPlane, tenant: TenantId, what: Revoked) -> i64 {
    let mut tx = control_plane.app.db.tenant(tenant).await.unwrap();
    let revision = revocations::revoke(&mut tx, what, "a test").await.unwrap();
    tx.commit().await.unwrap();
    revision
}

pub(super) fn key(kid: &str) -> Revoked {
    Revoked::Key { kid: kid.to_owned() }
}

pub(super) fn kids(revocations: &Revocations) -> Vec<&str> {
    let kid = |entry| match entry {
        &Revocation { what: Some(What::Key(ref kid)), .. } => kid.as_str(),
        other => panic!("not a key: {other:?}"),
    };
    revocations.entries.iter().map(kid).collect()
}

impl DataPlane {
    /// The next revocations; nothing else but heartbeats may come before them.
    pub(super) async fn hear_revocations(&mut self) -> Revocations {
        loop {
            match self.hear().await.unwrap().expect("the stream is open") {
                Hear::Heartbeat(_) => {}
                Hear::Revocations(revocations) => {
                    self.apply(revocations.clone());
                    return revocations;
                }
                other => panic!("ahead of revocations: {other:?}"),
            }
        }
    }
}

/// Waits until the control plane has seen it, so that whoever connects now is told it first.
async fn knows(control_plane: &ControlPlane, tenant: TenantId, revision: i64) {
    let mut changes = control_plane.app.policy_changes.subscribe();
    let seen =
        changes.wait_for(|known| known.live_of(tenant).is_some_and(|live| live.revision() >= revision.unsigned_abs()));
    timeout(PATIENCE, seen).await.expect("in time").unwrap();
}

/// Waits until it is so: a stream that was dropped is noticed a moment later.
async fn reaches(control_plane: &ControlPlane, tenant: TenantId, revision: i64, wanted: Enforced) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let enforced = revocations::enforced(&control_plane.app, tenant, revision, QUIET).await;
        if enforced == wanted {
            return;
        }
        assert!(Instant::now() < deadline, "still {enforced:?}");
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn all_live_revocations_come_before_any_policy() {
    run(async |database| {
        let tenants = [database.make_tenant("one").await, database.make_tenant("two").await];
        let before = ControlPlane::start(database).await;
        revoke(&before, tenants[0], key("over")).await;
        database.run("UPDATE revocations SET expires_at = now()").await;
        revoke(&before, tenants[0], key("live")).await;
        before.stop().await;

        let control_plane = ControlPlane::start(database).await;
        let mut data_plane = DataPlane::hello(&control_plane, "", &[]).await;
        let mut heard = [data_plane.hear_revocations().await, data_plane.hear_revocations().await];
        heard.sort_by_key(|revocations| revocations.revision);
        assert_eq!((heard[0].revision, heard[0].complete, kids(&heard[0])), (0, true, vec![]));
        // The number is the newest one's, though the other is no longer worth a word.
        assert_eq!((heard[1].revision, heard[1].complete, kids(&heard[1])), (2, true, vec!["live"]));
        assert_eq!(heard[1].tenant_id, tenants[0].to_string());
        assert_eq!(data_plane.sync().await.len(), 2);
        control_plane.stop().await;
    })
    .await;
}

#[tokio::test]
async fn everything_that_can_be_revoked_is_told_as_it_is() {
    run(async |database| {
        let tenant = database.make_tenant("default").await;
        let control_plane = ControlPlane::start(database).await;
        let mut data_plane = DataPlane::hello(&control_plane, "", &[]).await;
        data_plane.sync().await;
        let (jti, expires_at) = (Uuid::now_v7(), Utc::now() + TimeDelta::minutes(5));
        let (family, agent, user) =
            (tollgate_proto::AuthorizationId::new(), AgentId::new(), tollgate_proto::UserId::new());
        for (what, told, by_time) in [
            (Revoked::Token { jti, expires_at }, What::Token(jti.to_string()), false),
            (Revoked::GrantFamily(family), What::GrantFamily(family.to_string()), false),
            (Revoked::Agent(agent), What::Agent(agent.to_string()), true),
            (Revoked::User(user), What::User(user.to_string()), true),
            (Revoked::Tenant, What::Tenant(true), true),
            (key("k1"), What::Key("k1".to_owned()), false),
        ] {
            let revision = revoke(&control_plane, tenant, what).await;
            let heard = data_plane.hear_revocations().await;
            assert_eq!((heard.revision, heard.complete, heard.entries.len()), (revision.unsigned_abs(), false, 1));
            let entry = &heard.entries[0];
            assert_eq!(entry.what, Some(told));
            assert_eq!(entry.issued_before > 0, by_time, "{entry:?}");
            assert!(entry.expires_at > Utc::now().timestamp(), "{entry:?}");
        }
        control_plane.stop().await;
    })
    .await;
}

#[tokio::test]
async fn whoever_revokes_can_wait_for_every_connected_data_plane() {
    run(async |database| {
        let tenant = database.make_tenant("default").await;
        let control_plane = ControlPlane::start(database).await;
        let app = &control_plane.app;
        let nobody = revocations::enforced(app, tenant, 0, PATIENCE).await;
        assert_eq!(nobody, Enforced { applied: 0, connected: 0 });

        let mut prompt = DataPlane::hello(&control_plane, "", &[]).await;
        let mut slow = DataPlane::hello(&control_plane, "", &[]).await;
        prompt.sync().await;
        slow.sync().await;
        assert_eq!(revocations::enforced(app, tenant, 0, PATIENCE).await, Enforced { applied: 2, connected: 2 });

        slow.applies = false;
        let revision = revoke(&control_plane, tenant, Revoked::Tenant).await;
        let last = slow.hear_revocations().await;
        prompt.hear_revocations().await;
        // One of them says nothing: the wait ends all the same, and says so.
        let enforced = revocations::enforced(app, tenant, revision, QUIET).await;
        assert_eq!(enforced, Enforced { applied: 1, connected: 2 });

        slow.say(Say::RevocationsApplied(RevocationsApplied { tenant_id: last.tenant_id, revision: last.revision }));
        let enforced = revocations::enforced(app, tenant, revision, PATIENCE).await;
        assert_eq!(enforced, Enforced { applied: 2, connected: 2 });

        drop(slow);
        reaches(&control_plane, tenant, revision, Enforced { applied: 1, connected: 1 }).await;
        control_plane.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_policy_that_is_unanswered_or_refused_holds_no_revocation_back() {
    run(async |database| {
        let tenant = database.make_tenant("default").await;
        let control_plane = ControlPlane::start(database).await;
        let mut data_plane = DataPlane::hello(&control_plane, "", &[]).await;
        data_plane.sync().await;
        change(&control_plane, tenant).await;
        let unanswered = data_plane.hear_policy().await;
        change(&control_plane, tenant).await;
        revoke(&control_plane, tenant, key("k1")).await;
        assert_eq!(kids(&data_plane.hear_revocations().await), ["k1"]);
        data_plane.acknowledge(&unanswered);
        let refused = data_plane.hear_policy().await;
        data_plane.refuse(&refused, "no such network");
        revoke(&control_plane, tenant, key("k2")).await;
        assert_eq!(kids(&data_plane.hear_revocations().await), ["k2"]);
        control_plane.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_data_plane_that_comes_back_is_told_what_it_missed_and_no_more() {
    run(async |database| {
        let tenant = database.make_tenant("default").await;
        let control_plane = ControlPlane::start(database).await;
        let mut first = DataPlane::hello(&control_plane, "", &[]).await;
        let held = first.sync().await;
        let (held, epoch) = ([&held[0]], held[0].epoch.clone());
        revoke(&control_plane, tenant, key("k1")).await;
        let applied = first.hear_revocations().await;
        drop(first);
        let applied = RevocationsApplied { tenant_id: applied.tenant_id, revision: applied.revision };

        let mut same = DataPlane::hello_after(&control_plane, &epoch, &held, vec![applied.clone()]).await;
        same.sync().await;
        assert!(same.revocations.is_empty(), "{:?}", same.revocations);
        // What it said in its hello counts.
        reaches(&control_plane, tenant, 1, Enforced { applied: 1, connected: 1 }).await;
        drop(same);

        let revision = revoke(&control_plane, tenant, key("k2")).await;
        knows(&control_plane, tenant, revision).await;
        let mut behind = DataPlane::hello_after(&control_plane, &epoch, &held, vec![applied.clone()]).await;
        let missed = behind.hear_revocations().await;
        assert_eq!((missed.revision, missed.complete, kids(&missed)), (revision.unsigned_abs(), false, vec!["k2"]));

        // After a restore from a backup its numbers are worth nothing, though the policy may be.
        let mut other = DataPlane::hello_after(&control_plane, "another", &held, vec![applied]).await;
        let all = other.hear_revocations().await;
        assert_eq!((all.complete, kids(&all)), (true, vec!["k1", "k2"]));
        control_plane.stop().await;
    })
    .await;
}

#[tokio::test]
async fn after_a_restore_everybody_is_told_everything_again() {
    run(async |database| {
        let tenant = database.make_tenant("default").await;
        let control_plane = ControlPlane::start(database).await;
        let mut data_plane = DataPlane::hello(&control_plane, "", &[]).await;
        data_plane.sync().await;
        revoke(&control_plane, tenant, key("lost")).await;
        data_plane.hear_revocations().await;
        database
            .run(
                "BEGIN; DELETE FROM revocations; UPDATE tenants SET revocation_revision = 0;
                 UPDATE deployment SET epoch = gen_random_uuid(); COMMIT",
            )
            .await;
        let all = data_plane.hear_revocations().await;
        assert_eq!((all.revision, all.complete, kids(&all)), (0, true, vec![]));
        control_plane.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_revocation_without_a_notification_arrives_all_the_same() {
    run(async |database| {
        let tenant = database.make_tenant("default").await;
        let control_plane = ControlPlane::start(database).await;
        let mut data_plane = DataPlane::hello(&control_plane, "", &[]).await;
        data_plane.sync().await;
        database
            .run(format!(
                "BEGIN; UPDATE tenants SET revocation_revision = 1;
                 INSERT INTO revocations (tenant_id, revision, kind, subject, expires_at)
                     VALUES ('{}', 1, 'key', 'k1', now() + interval '1 day'); COMMIT",
                tenant.uuid()
            ))
            .await;
        assert_eq!(kids(&data_plane.hear_revocations().await), ["k1"]);
        control_plane.stop().await;
    })
    .await;
}

/// Waits until the figures are as wanted: they follow the stream.
async fn times(control_plane: &ControlPlane, id: DataPlaneId, wanted: impl Fn(&RevocationTimes) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let times = control_plane.app.policy_changes.connected().revocation_times_of(id);
        if times.as_ref().is_some_and(&wanted) {
            return;
        }
        assert!(Instant::now() < deadline, "still {times:?}");
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn how_long_each_data_plane_takes_is_known_and_so_is_what_it_has_not_confirmed() {
    run(async |database| {
        let tenant = database.make_tenant("default").await;
        let control_plane = ControlPlane::start(database).await;
        let before = revoke(&control_plane, tenant, key("before")).await;
        knows(&control_plane, tenant, before).await;
        let mut prompt = DataPlane::hello(&control_plane, "", &[]).await;
        prompt.sync().await;
        times(&control_plane, prompt.id, |times| *times == RevocationTimes::default()).await;

        revoke(&control_plane, tenant, key("k1")).await;
        prompt.hear_revocations().await;
        let timed = |times: &RevocationTimes| times.confirmed == 1 && times.p99_ms == times.worst_ms;
        times(&control_plane, prompt.id, |times| timed(times) && times.worst_ms > Some(0.0)).await;

        prompt.applies = false;
        let revision = revoke(&control_plane, tenant, key("k2")).await;
        let missed = prompt.hear_revocations().await;
        let waits = |times: &RevocationTimes| times.unconfirmed == 1 && times.unconfirmed_since < Some(Utc::now());
        times(&control_plane, prompt.id, waits).await;
        let metrics = control_plane.app.metrics.render(control_plane.app.db.pool(), control_plane.connected());
        let id = prompt.id.to_string();
        for line in [
            "tollgate_revocation_enforced_seconds_count{kind=\"key\"} 1",
            &format!("tollgate_revocations_unconfirmed{{data_plane=\"{id}\"}} 1"),
            "tollgate_revocation_enforced_latest_seconds{data_plane=\"_all\",quantile=\"0.99\"} ",
        ] {
            assert!(metrics.contains(line), "{line} is not in {metrics}");
        }
        drop(prompt);

        // What was missed while nobody listened took as long as that lasted.
        let before = RevocationsApplied { tenant_id: tenant.to_string(), revision: missed.revision - 1 };
        let epoch = control_plane.app.policy_changes.subscribe().borrow().epoch().to_owned();
        let mut back = DataPlane::hello_after(&control_plane, &epoch, &[], vec![before]).await;
        assert_eq!(back.hear_revocations().await.revision, revision.unsigned_abs());
        times(&control_plane, back.id, |times| times.confirmed == 1 && times.unconfirmed == 0).await;
        assert_eq!(control_plane.connected().revocation_times().confirmed, 2);
        let kept =
            format!("SELECT (revocations ->> 'confirmed')::int FROM data_planes WHERE id = '{}'", back.id.uuid());
        let deadline = Instant::now() + PATIENCE;
        while sqlx::query_scalar::<_, Option<i32>>(AssertSqlSafe(kept.clone()))
            .fetch_one(control_plane.app.db.pool())
            .await
            .unwrap_or_default()
            != Some(1)
        {
            assert!(Instant::now() < deadline, "every control plane can show it");
            sleep(Duration::from_millis(20)).await;
        }
        control_plane.stop().await;
    })
    .await;
}
