//! Questions to data planes, and what they report, over the stream.

use tollgate_proto::policy::v1::{InstanceHealth, InstanceReport, InstanceState, ListSessions, Reply, question::What};

use super::*;
use crate::policy::Silence;

fn sessions() -> What {
    What::ListSessions(ListSessions { limit: 10, ..ListSessions::default() })
}

#[tokio::test]
async fn a_question_goes_out_behind_everything_else_and_keeps_nothing_back() {
    run(async |database| {
        let tenant = database.make_tenant("acme").await;
        let control_plane = ControlPlane::start(database).await;
        let mut data_plane = DataPlane::hello(&control_plane, "", &[]).await;
        let (connected, what) = (control_plane.app.policy_changes.connected(), sessions());
        let mut asked = Box::pin(connected.ask(tenant, &what));
        // It has to be connected before it is asked.
        let policy = data_plane.hear_policy().await;
        assert!(asked.as_mut().now_or_never().is_none());
        data_plane.acknowledge(&policy);
        assert!(matches!(data_plane.hear_news().await, Hear::Synced(_)));
        let (answers, heard) = tokio::join!(asked, async {
            let Hear::Question(question) = data_plane.hear_news().await else { panic!("then the question") };
            assert_eq!((question.tenant_id, question.what), (tenant.to_string(), Some(sessions())));
            let heartbeat = data_plane.hear().await.unwrap();
            data_plane.say(Say::Reply(Reply { question: question.id, reached: "x".to_owned(), ..Reply::default() }));
            heartbeat
        });
        assert!(matches!(heard, Some(Hear::Heartbeat(_))), "while the question is unanswered");
        let [(id, Ok(reply))] = &answers[..] else { panic!("one answer: {answers:?}") };
        assert_eq!((*id, &*reply.reached), (data_plane.id, "x"));
        drop(data_plane);
        control_plane.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_data_plane_that_leaves_while_it_is_asked_is_waited_for_no_longer() {
    run(async |database| {
        let tenant = database.make_tenant("acme").await;
        let control_plane = ControlPlane::start(database).await;
        let mut data_plane = DataPlane::hello(&control_plane, "", &[]).await;
        let policy = data_plane.hear_policy().await;
        data_plane.acknowledge(&policy);
        assert!(matches!(data_plane.hear_news().await, Hear::Synced(_)));
        let (connected, what) = (control_plane.app.policy_changes.connected(), sessions());
        let (answers, ()) = tokio::join!(connected.ask(tenant, &what), async {
            assert!(matches!(data_plane.hear_news().await, Hear::Question(_)));
            drop(data_plane);
        });
        assert!(matches!(&answers[..], [(_, Err(Silence::Gone))]), "{answers:?}");
        control_plane.stop().await;
    })
    .await;
}

#[tokio::test]
async fn what_a_data_plane_reports_of_instances_is_stored() {
    run(async |database| {
        let tenant = database.make_tenant("acme").await;
        let (server, instance) = (ServerId::new(), InstanceId::new());
        let values = format!("'{}', '{}'", tenant.uuid(), server.uuid());
        database
            .run(format!(
                "INSERT INTO servers (tenant_id, id, name, labels, spec, created_by, era)
                 VALUES ({values}, 'files', '{{}}', '{{}}', 'system', 'auto');
                 INSERT INTO server_instances (tenant_id, server_id, id, position, url)
                 VALUES ({values}, '{}', 1, 'http://a/')",
                instance.uuid()
            ))
            .await;
        let control_plane = ControlPlane::start(database).await;
        let data_plane = DataPlane::hello(&control_plane, "", &[]).await;
        let said = InstanceState {
            tenant_id: tenant.to_string(),
            instance_id: instance.to_string(),
            health: InstanceHealth::Ejected.into(),
            since_ms: 1_800_000_000_000,
            ..InstanceState::default()
        };
        data_plane.say(Say::InstanceReport(InstanceReport { instances: vec![said], ..InstanceReport::default() }));
        let mut rows = Vec::<String>::new();
        while rows.is_empty() {
            let mut superuser = database.superuser().await;
            rows = sqlx::query_scalar("SELECT health FROM instance_health").fetch_all(&mut superuser).await.unwrap();
        }
        assert_eq!(rows, ["ejected"]);
        drop(data_plane);
        control_plane.stop().await;
    })
    .await;
}
