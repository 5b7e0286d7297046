//! Opaque tokens, and the control plane that knows them.

use std::{
    collections::HashMap,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use aws_lc_rs::digest::{SHA256, digest};
use futures_util::future::join_all;
use hyper::server::conn::http2;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, sync::Notify};
use tokio_stream::Empty;
use tollgate_proto::policy::v1::{
    AccessToken as Wire, IntrospectRequest, IntrospectResponse, WatchRequest, WatchResponse,
    policy_service_server::{PolicyService, PolicyServiceServer},
};
use tonic::{Request, Response, Status, Streaming};

use super::*;

/// A control plane that knows some tokens.
#[derive(Debug, Clone, Default)]
struct ControlPlane(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    known: Mutex<HashMap<(String, Vec<u8>), Wire>>,
    asked: AtomicUsize,
    held: Mutex<Option<Arc<Notify>>>,
}

#[tonic::async_trait]
impl PolicyService for ControlPlane {
    type WatchStream = Empty<Result<WatchResponse, Status>>;

    async fn watch(&self, _: Request<Streaming<WatchRequest>>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("nobody watches here"))
    }

    async fn introspect(&self, request: Request<IntrospectRequest>) -> Result<Response<IntrospectResponse>, Status> {
        self.0.asked.fetch_add(1, Ordering::SeqCst);
        let held = self.0.held.lock().unwrap().clone();
        if let Some(held) = held {
            held.notified().await;
        }
        let IntrospectRequest { tenant_id, token_digest } = request.into_inner();
        let token = self.0.known.lock().unwrap().get(&(tenant_id, token_digest)).cloned();
        Ok(Response::new(IntrospectResponse { token }))
    }
}

impl ControlPlane {
    async fn serve(&self) -> Desk {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let service = PolicyServiceServer::new(self.clone());
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let service = TowerToHyperService::new(service.clone());
                tokio::spawn(http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), service));
            }
        });
        Desk::at(&url)
    }

    fn knows(&self, signer: &Signer, token: &str) {
        let told = Wire {
            jti: Uuid::now_v7().to_string(),
            gid: AuthorizationId::new().to_string(),
            client_id: signer.client_id.clone(),
            subject: signer.user.to_string(),
            audience: "http://data/t/acme/mcp".to_owned(),
            scope: "demo:echo".to_owned(),
            issued_at: NOW,
            expires_at: NOW + 900,
        };
        let hash = digest(&SHA256, token.as_bytes()).as_ref().to_vec();
        self.0.known.lock().unwrap().insert((signer.tenant.id.to_string(), hash), told);
    }

    fn asked(&self) -> usize {
        self.0.asked.load(Ordering::SeqCst)
    }
}

/// As long and begun as ours are.
fn opaque(name: &str) -> String {
    format!("tga_{name:x<49}")
}

#[tokio::test]
async fn an_opaque_token_is_asked_for_once_and_is_then_like_a_jwt() {
    let (control_plane, signer) = (ControlPlane::default(), signer_for("https://agents.example/bot.json"));
    let token = opaque("mine");
    control_plane.knows(&signer, &token);
    let desk = control_plane.serve().await;
    for _ in 0..3 {
        let told = desk.resolve(&signer.tenant, &token).await.expect("known");
        assert_eq!((told.user(), told.client_id()), (Some(signer.user), "https://agents.example/bot.json"));
        assert_eq!(told.facts(signer.agent).kid, None);
    }
    assert_eq!(control_plane.asked(), 1);
    let other = signer_for("agt");
    assert_eq!(desk.resolve(&other.tenant, &token).await, Err(INVALID), "at another tenant it is nothing");
}

#[tokio::test]
async fn many_at_once_ask_once() {
    let (control_plane, signer) = (ControlPlane::default(), signer());
    let token = opaque("mine");
    control_plane.knows(&signer, &token);
    let held = Arc::new(Notify::new());
    *control_plane.0.held.lock().unwrap() = Some(Arc::clone(&held));
    let desk = control_plane.serve().await;
    let asking = join_all((0..20).map(|_| desk.resolve(&signer.tenant, &token)));
    // The one question is answered when everybody waits for it.
    let answering = async {
        while control_plane.asked() == 0 {
            tokio::task::yield_now().await;
        }
        held.notify_one();
    };
    let (answers, ()) = tokio::join!(asking, answering);
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(control_plane.asked(), 1);
}

#[tokio::test]
async fn a_token_that_nobody_knows_is_asked_for_again_after_ten_seconds() {
    let (control_plane, signer) = (ControlPlane::default(), signer());
    let (desk, token) = (control_plane.serve().await, opaque("unknown"));
    let at = |now| desk.resolve_from(&signer.tenant, PEER, &token, now);
    assert_eq!(at(NOW).await, Err(INVALID));
    assert_eq!(at(NOW + 9).await, Err(INVALID));
    assert_eq!(control_plane.asked(), 1);
    assert_eq!(at(NOW + 10).await, Err(INVALID));
    assert_eq!(control_plane.asked(), 2);
}

#[tokio::test]
async fn garbage_does_not_become_a_flood_of_questions() {
    let (control_plane, signer) = (ControlPlane::default(), signer());
    let desk = control_plane.serve().await;
    let mut put_off = 0;
    for number in 0..200 {
        let answer = desk.resolve(&signer.tenant, &opaque(&number.to_string())).await;
        put_off += usize::from(answer == Err(Unresolved::TooManyStrangers));
    }
    assert_eq!(control_plane.asked() + put_off, 200);
    assert!(control_plane.asked() <= 50, "{} questions", control_plane.asked());
    for text in ["tga_", "tga_short", &format!("{}y", opaque("long"))] {
        let answer = desk.resolve_from(&signer.tenant, PEER, text, NOW + 1).await;
        assert_eq!(answer, Err(INVALID), "{text}");
    }
    assert!(control_plane.asked() <= 50, "what cannot be a token is not asked for");
}

#[tokio::test]
async fn while_nobody_answers_only_what_is_known_is_served_and_nothing_is_held_against_the_rest() {
    let (control_plane, signer) = (ControlPlane::default(), signer());
    let (seen, unseen) = (opaque("seen"), opaque("unseen"));
    control_plane.knows(&signer, &seen);
    let desk = control_plane.serve().await;
    assert!(desk.resolve(&signer.tenant, &seen).await.is_ok());
    let away = Desk::alone();
    for _ in 0..600 {
        let answer = away.resolve(&signer.tenant, &unseen).await;
        assert_eq!(answer, Err(Unresolved::Unavailable), "it is not known to be bad");
    }
    assert!(desk.resolve(&signer.tenant, &seen).await.is_ok());
}

#[tokio::test]
async fn a_control_plane_that_does_not_answer_is_not_waited_for() {
    let (control_plane, signer) = (ControlPlane::default(), signer());
    *control_plane.0.held.lock().unwrap() = Some(Arc::new(Notify::new()));
    let mut desk = control_plane.serve().await;
    desk.tokens.introspector.deadline = std::time::Duration::from_millis(50);
    assert_eq!(desk.resolve(&signer.tenant, &opaque("mine")).await, Err(Unresolved::Unavailable));
}
