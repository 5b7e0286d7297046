use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tollgate_proto::{
    InstanceId, ServerId, TenantId,
    policy::v1::{self as wire, TenantPolicy},
};

use super::{super::health::Condition, *};
use crate::mcp::version::Era;

const LEGACY: &str = r#"{"jsonrpc":"2.0","id":"tollgate-check","error":{"code":-32601,"message":"no such method"}}"#;
const MODERN: &str = r#"{"jsonrpc":"2.0","id":"tollgate-check","result":{"supportedVersions":["2026-07-28"]}}"#;

/// A server that says what it is told to say.
struct Scripted {
    url: String,
    says: Arc<Mutex<&'static str>>,
    asked: Arc<AtomicUsize>,
}

impl Scripted {
    async fn start(says: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let scripted = Self { url, says: Arc::new(Mutex::new(says)), asked: Arc::default() };
        let (says, asked) = (Arc::clone(&scripted.says), Arc::clone(&scripted.asked));
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                let mut request = Vec::new();
                while !request.ends_with(b"}}}") {
                    connection.read_buf(&mut request).await.unwrap();
                }
                asked.fetch_add(1, Ordering::SeqCst);
                let body = *says.lock().unwrap_or_else(PoisonError::into_inner);
                let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length:";
                connection.write_all(format!("{head} {}\r\n\r\n{body}", body.len()).as_bytes()).await.unwrap();
            }
        });
        scripted
    }

    fn becomes(&self, says: &'static str) {
        *self.says.lock().unwrap_or_else(PoisonError::into_inner) = says;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// A policy with this server in it.
    fn registered(&self, id: InstanceId, era: wire::Era) -> Snapshot {
        let instance = wire::Instance { id: id.to_string(), url: self.url.clone(), ..wire::Instance::default() };
        let server = wire::Server {
            id: ServerId::new().to_string(),
            name: "files".to_owned(),
            era: era.into(),
            instances: vec![instance],
            ..wire::Server::default()
        };
        let policy = TenantPolicy {
            tenant_id: TenantId::new().to_string(),
            tenant: "acme".to_owned(),
            jwks: r#"{"keys":[]}"#.to_owned(),
            egress_allow: vec!["127.0.0.0/8".to_owned()],
            servers: vec![server],
            ..TenantPolicy::default()
        };
        Snapshot::default().with(Arc::new(Tenant::read(&policy, None).unwrap()))
    }
}

#[tokio::test]
async fn a_server_that_is_upgraded_where_it_is_is_noticed_though_it_never_fails() {
    let (server, id, upstreams) = (Scripted::start(LEGACY).await, InstanceId::new(), Upstreams::new(DEADLINE));
    let snapshot = server.registered(id, wire::Era::Unspecified);
    let instances = upstreams.instances();
    instances.set_modern(id, false);
    instances.succeeded(id);
    server.becomes(MODERN);
    round(&upstreams, &snapshot).await;
    assert_eq!((server.asked(), instances.modern(id)), (0, Some(false)), "it is busy, and was asked a moment ago");

    instances.let_pass(id);
    round(&upstreams, &snapshot).await;
    assert_eq!((server.asked(), instances.modern(id)), (1, Some(true)));
    assert_eq!(instances.sight(id).version, Some(ProtocolVersion::NEWEST_MODERN));
    round(&upstreams, &snapshot).await;
    assert_eq!(server.asked(), 1, "not again at once");

    server.becomes(LEGACY);
    instances.let_pass(id);
    round(&upstreams, &snapshot).await;
    assert_eq!((instances.modern(id), instances.sight(id).era), (Some(false), Some(Era::Legacy)));
}

#[tokio::test]
async fn a_server_that_is_registered_with_its_era_is_not_asked_for_it() {
    let (server, id, upstreams) = (Scripted::start(MODERN).await, InstanceId::new(), Upstreams::new(DEADLINE));
    let snapshot = server.registered(id, wire::Era::Legacy);
    upstreams.instances().succeeded(id);
    upstreams.instances().let_pass(id);
    round(&upstreams, &snapshot).await;
    assert_eq!(server.asked(), 0);
    assert_eq!(upstreams.instances().sight(id).condition, Condition::Healthy);
}
