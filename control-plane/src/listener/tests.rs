use std::net::Ipv4Addr;

use axum::routing::get;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::mpsc,
    task::JoinHandle,
};

use super::*;

struct Served {
    at: SocketAddr,
    stopping: CancellationToken,
    serving: JoinHandle<()>,
}

async fn serving(router: Router) -> Served {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let at = listener.local_addr().expect("an address");
    let stopping = CancellationToken::new();
    let serving = tokio::spawn(serve(listener, router, stopping.clone()));
    Served { at, stopping, serving }
}

impl Served {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.at).await.expect("a connection")
    }

    /// The whole answer to these bytes.
    async fn ask(&self, head: &str) -> String {
        let mut stream = self.connect().await;
        // Who sends too much may be cut off while sending.
        let _cut_off = stream.write_all(head.as_bytes()).await;
        read(&mut stream).await
    }
}

/// What comes until the connection ends; a connection that is reset has said what it had to.
async fn read(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut chunk).await {
        answer.extend_from_slice(&chunk[..length]);
    }
    String::from_utf8(answer).expect("text")
}

fn head(padding: usize) -> String {
    format!("GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\npadding: {}\r\n\r\n", "x".repeat(padding))
}

#[tokio::test]
async fn a_head_of_more_than_32_kib_is_answered_with_431() {
    let served = serving(Router::new().route("/", get(async || "here"))).await;
    let answer = served.ask(&head(HEAD_BYTES_MAX)).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let answer = served.ask(&head(8 * HEAD_BYTES_MAX)).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "the connection may end first: {answer}");
    let answer = served.ask(&head(HEAD_BYTES_MAX - 200)).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("here"), "{answer}");
}

#[tokio::test]
async fn a_running_request_ends_before_the_listener_does() {
    let (began, mut beginning) = mpsc::channel(1);
    let (go_on, may_go_on) = mpsc::channel::<()>(1);
    let may_go_on = Arc::new(tokio::sync::Mutex::new(may_go_on));
    let slow = async move || {
        began.send(()).await.expect("the test waits");
        may_go_on.lock().await.recv().await.expect("the test says so");
        "done"
    };
    let served = serving(Router::new().route("/", get(slow))).await;
    let (mut idle, mut stream) = (served.connect().await, served.connect().await);
    stream.write_all(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n").await.expect("sent");
    beginning.recv().await.expect("the request is being answered");
    served.stopping.cancel();
    assert_eq!(read(&mut idle).await, "", "who said nothing is sent away");
    assert!(!served.serving.is_finished());
    go_on.send(()).await.expect("the handler waits");
    let answer = read(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("done"), "{answer}");
    served.serving.await.expect("it ended");
    assert!(TcpStream::connect(served.at).await.is_err(), "nobody is accepted any more");
}

#[tokio::test]
async fn handlers_are_told_who_is_connected() {
    let router = Router::new().route("/", get(async |ConnectInfo(peer): ConnectInfo<SocketAddr>| peer.to_string()));
    let served = serving(router).await;
    let mut stream = served.connect().await;
    let own = stream.local_addr().expect("an address").to_string();
    stream.write_all(head(1).as_bytes()).await.expect("sent");
    let answer = read(&mut stream).await;
    assert!(answer.ends_with(&own), "{answer}");
}
