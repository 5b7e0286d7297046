//! Enrolment and revocation over a real socket and real Postgres.

use std::time::Duration;

use chrono::Utc;
use tollgate_proto::{
    enrollment::{
        REFUSAL_KEY, REVOKED,
        v1::{
            Certificate, EnrollRequest, IntroduceRequest, RenewRequest,
            enrollment_service_client::EnrollmentServiceClient,
        },
    },
    introduction,
    policy::v1::{Hello, IntrospectRequest, WatchRequest, policy_service_client::PolicyServiceClient, watch_request},
    usage::v1::{ReportRequest, usage_service_client::UsageServiceClient},
};
use tonic::{Code, Status, transport::Channel};

use super::*;
use crate::{
    authority,
    caller::{Caller, InstallationCaller, Role},
    enrollment_tokens::{self, EnrollmentTokenRequest},
    grpc::testing::{ControlPlane, Database, run, signing_request},
    testing::ENROLLMENT_TOKEN,
};

const PATIENCE: Duration = Duration::from_secs(10);

/// An owner of the first tenant, which is made.
async fn owner(database: &Database, control_plane: &ControlPlane) -> InstallationCaller {
    let tenant = database.make_tenant("default").await;
    let caller = Caller {
        actor: "user:owner@acme.test".to_owned(),
        role: Role::Owner,
        tenant,
        tenant_name: "default".to_owned(),
        platform: false,
    };
    InstallationCaller::from_caller(&control_plane.app, &caller).await.unwrap()
}

/// The secret of a new token.
async fn token(control_plane: &ControlPlane, owner: &InstallationCaller, uses: u32) -> String {
    let asked = EnrollmentTokenRequest { uses: Some(uses), ..EnrollmentTokenRequest::default() };
    let made = enrollment_tokens::create(&control_plane.app, owner, &asked).await.unwrap();
    tollgate_proto::EnrollmentToken::read(&made.enrollment_token).unwrap().secret().to_owned()
}

async fn enrol(
    control_plane: &ControlPlane,
    token: &str,
    data_plane: DataPlaneId,
    signing_request: &[u8],
) -> Result<Certificate, Status> {
    let mut client = EnrollmentServiceClient::new(control_plane.stranger().await);
    let request = EnrollRequest {
        token: token.to_owned(),
        data_plane_id: data_plane.uuid().to_string(),
        signing_request: signing_request.to_vec(),
    };
    client.enroll(request).await.map(tonic::Response::into_inner)
}

fn name_of(refused: &Status) -> &str {
    refused.metadata().get(REFUSAL_KEY).map_or("", |name| name.to_str().unwrap())
}

async fn report(channel: Channel, data_plane: DataPlaneId) -> Result<(), Status> {
    let report = ReportRequest { data_plane_id: data_plane.uuid().to_string(), records: Vec::new() };
    UsageServiceClient::new(channel).report(report).await.map(drop)
}

#[tokio::test]
async fn a_data_plane_enrols_with_a_token_once_and_renews_with_its_certificate() {
    run(async |database| {
        let control_plane = ControlPlane::start(database).await;
        let owner = owner(database, &control_plane).await;
        let (token, data_plane) = (token(&control_plane, &owner, 1).await, DataPlaneId::new());
        let (key, request) = signing_request();
        let issued = enrol(&control_plane, &token, data_plane, &request).await.unwrap();
        let own = control_plane.channel_with(Some((issued.certificate, key))).await.unwrap();
        report(own.clone(), data_plane).await.unwrap();

        // The answer may have been lost: the same key gets another certificate, and nobody else does.
        enrol(&control_plane, &token, data_plane, &request).await.unwrap();
        let refused = enrol(&control_plane, &token, DataPlaneId::new(), &signing_request().1).await.unwrap_err();
        assert_eq!((refused.code(), name_of(&refused)), (Code::PermissionDenied, "enrollment_token_spent"));

        let (key, request) = signing_request();
        let renewed = EnrollmentServiceClient::new(own).renew(RenewRequest { signing_request: request }).await;
        let renewed = renewed.unwrap().into_inner();
        assert_eq!(renewed.expires_at - renewed.issued_at, 3_600);
        let own = control_plane.channel_with(Some((renewed.certificate, key))).await.unwrap();
        report(own, data_plane).await.unwrap();
        let fleet = standing::list(&control_plane.app, &owner).await.unwrap().items;
        assert_eq!((fleet.len(), fleet[0].id), (1, data_plane));
        let expires_at = fleet[0].certificate_expires_at.unwrap().timestamp();
        assert_eq!(expires_at, renewed.expires_at);
        let audited: Vec<String> =
            sqlx::query_scalar("SELECT action FROM audit_events WHERE action LIKE 'data_plane.%'")
                .fetch_all(&mut database.superuser().await)
                .await
                .unwrap();
        assert_eq!(audited, ["data_plane.enrol", "data_plane.enrol"]);
        control_plane.stop().await;
    })
    .await;
}

#[tokio::test]
async fn data_planes_that_race_for_one_use_are_not_both_enrolled() {
    run(async |database| {
        let control_plane = ControlPlane::start(database).await;
        let owner = owner(database, &control_plane).await;
        let token = token(&control_plane, &owner, 2).await;
        let racing =
            (0..6).map(|_| async { enrol(&control_plane, &token, DataPlaneId::new(), &signing_request().1).await });
        let enrolled = futures_util::future::join_all(racing).await;
        assert_eq!(enrolled.iter().filter(|enrolled| enrolled.is_ok()).count(), 2);
        control_plane.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_token_that_is_unknown_or_has_ended_says_what_to_do() {
    run(async |database| {
        let control_plane = ControlPlane::start(database).await;
        let owner = owner(database, &control_plane).await;
        let token = token(&control_plane, &owner, 1).await;
        database.run("UPDATE enrollment_tokens SET expires_at = now() - interval '1 s'").await;
        let (id, (_, request)) = (DataPlaneId::new(), signing_request());
        let expired = enrol(&control_plane, &token, id, &request).await.unwrap_err();
        assert_eq!(name_of(&expired), "enrollment_token_expired");
        let unknown = enrol(&control_plane, &format!("{token}0"), id, &request).await.unwrap_err();
        assert_eq!(name_of(&unknown), "enrollment_token_unknown");
        for refused in [expired, unknown] {
            assert!(refused.message().contains("tollgate data-planes enroll"), "{refused}");
        }
        let malformed = enrol(&control_plane, ENROLLMENT_TOKEN, id, b"no request").await.unwrap_err();
        assert_eq!(malformed.code(), Code::InvalidArgument);
        control_plane.stop().await;
    })
    .await;
}

#[tokio::test]
async fn the_token_of_the_settings_is_proved_before_it_is_shown_and_admits_many() {
    run(async |database| {
        let control_plane = ControlPlane::start(database).await;
        let mut client = EnrollmentServiceClient::new(control_plane.stranger().await);
        let nonce = vec![7; introduction::NONCE_LEN];
        let met = client.introduce(IntroduceRequest { nonce: nonce.clone() }).await.unwrap().into_inner();
        assert!(introduction::verify(ENROLLMENT_TOKEN, &nonce, &met.authorities[0], &met.proof));
        let authority = authority::of(&control_plane.app).await.unwrap();
        assert_eq!(met.authorities, [authority.certificates()[0].to_vec()]);
        for _ in 0..2 {
            enrol(&control_plane, ENROLLMENT_TOKEN, DataPlaneId::new(), &signing_request().1).await.unwrap();
        }
        assert_eq!(
            client.introduce(IntroduceRequest { nonce: vec![7; 4] }).await.unwrap_err().code(),
            Code::InvalidArgument
        );
        control_plane.stop().await;
    })
    .await;
}

#[tokio::test]
async fn an_id_is_nobody_elses_until_its_certificate_has_expired() {
    run(async |database| {
        let control_plane = ControlPlane::start(database).await;
        let (data_plane, first, second) = (DataPlaneId::new(), signing_request().1, signing_request().1);
        enrol(&control_plane, ENROLLMENT_TOKEN, data_plane, &first).await.unwrap();
        let taken = enrol(&control_plane, ENROLLMENT_TOKEN, data_plane, &second).await.unwrap_err();
        assert_eq!((taken.code(), name_of(&taken)), (Code::AlreadyExists, "data_plane_id_taken"));
        database.run("UPDATE data_planes SET certificate_expires_at = now()").await;
        enrol(&control_plane, ENROLLMENT_TOKEN, data_plane, &second).await.unwrap();
        control_plane.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_data_plane_that_is_revoked_loses_its_stream_and_is_not_heard_again() {
    run(async |database| {
        let control_plane = ControlPlane::start(database).await;
        let owner = owner(database, &control_plane).await;
        let second = ControlPlane::start(database).await;
        let (data_plane, (key, request)) = (DataPlaneId::new(), signing_request());
        let issued = enrol(&control_plane, ENROLLMENT_TOKEN, data_plane, &request).await.unwrap();
        // Its stream is at another control plane than the one that is told.
        let channel = second.channel_with(Some((issued.certificate, key))).await.unwrap();
        let hello = Hello { data_plane_id: data_plane.uuid().to_string(), ..Hello::default() };
        let (say, requests) = tokio::sync::mpsc::channel(1);
        say.send(WatchRequest { message: Some(watch_request::Message::Hello(hello)) }).await.unwrap();
        let requests = tokio_stream::wrappers::ReceiverStream::new(requests);
        let mut client = PolicyServiceClient::new(channel.clone());
        let mut stream = client.watch(requests).await.unwrap().into_inner();
        stream.message().await.unwrap().expect("the stream is open");

        standing::revoke(&control_plane.app, &owner, &data_plane.to_string()).await.unwrap();
        let ended = tokio::time::timeout(PATIENCE, async {
            loop {
                if let Err(status) = stream.message().await.map(|message| message.expect("an end with a reason")) {
                    return status;
                }
            }
        });
        let ended = ended.await.expect("the stream ends");
        assert_eq!((ended.code(), name_of(&ended)), (Code::PermissionDenied, REVOKED));

        let introspect = client.introspect(IntrospectRequest::default()).await.unwrap_err();
        let report = report(channel.clone(), data_plane).await.unwrap_err();
        let watch = client.watch(tokio_stream::empty()).await.unwrap_err();
        let request = signing_request().1;
        let renew =
            EnrollmentServiceClient::new(channel).renew(RenewRequest { signing_request: request.clone() }).await;
        let again = enrol(&control_plane, ENROLLMENT_TOKEN, data_plane, &request).await.unwrap_err();
        for refused in [introspect, report, watch, renew.unwrap_err(), again] {
            assert_eq!(name_of(&refused), REVOKED, "{refused}");
        }
        // Repeating it is no second event.
        standing::revoke(&control_plane.app, &owner, &data_plane.to_string()).await.unwrap();
        let fleet = standing::list(&control_plane.app, &owner).await.unwrap().items;
        assert_eq!(fleet[0].state, standing::Standing::Revoked);
        let audited = "SELECT count(*) FROM audit_events WHERE action = 'data_plane.revoke'";
        let audited: i64 = sqlx::query_scalar(audited).fetch_one(&mut database.superuser().await).await.unwrap();
        assert_eq!(audited, 1);
        control_plane.stop().await;
        second.stop().await;
    })
    .await;
}

#[tokio::test]
async fn what_is_no_certificate_of_ours_or_has_expired_opens_nothing() {
    run(async |database| {
        let control_plane = ControlPlane::start(database).await;
        let data_plane = DataPlaneId::new();
        // Of another installation: the handshake fails, or the first request does.
        let app = crate::testing::app(control_plane.app.db.clone(), control_plane.app.master_key.clone());
        database
            .run(
                "ALTER TABLE certificate_authorities RENAME TO kept;
                 CREATE TABLE certificate_authorities (LIKE kept INCLUDING DEFAULTS);
                 GRANT ALL ON certificate_authorities TO tollgate_app",
            )
            .await;
        let (key, request) = signing_request();
        let request = authority::SigningRequest::read(&request).unwrap();
        let foreign = authority::of(&app).await.unwrap();
        let life = Duration::from_secs(60);
        let foreign = foreign.certify(data_plane, &request, Utc::now(), life).unwrap().certificate;
        let refused = match control_plane.channel_with(Some((foreign, key))).await {
            Ok(channel) => report(channel, data_plane).await.is_err(),
            Err(_) => true,
        };
        assert!(refused, "a certificate of another authority");

        // Good at the handshake, expired when it is used.
        let (key, request) = signing_request();
        let short = control_plane.certify(data_plane, &request, 2).await;
        let channel = control_plane.channel_with(Some((short, key))).await.unwrap();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while let Ok(()) = report(channel.clone(), data_plane).await {
            assert!(tokio::time::Instant::now() < deadline, "it is still good");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let refused = report(channel, data_plane).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated);
        control_plane.stop().await;
    })
    .await;
}
