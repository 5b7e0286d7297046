use std::{
    net::Ipv4Addr,
    sync::atomic::{AtomicUsize, Ordering},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::*;

const LIMITS: Limits = Limits { body_bytes_max: 100, timeout: Duration::from_secs(30) };
const JSON: &str = "application/json";

fn loopback() -> Egress {
    Egress::new(vec!["127.0.0.0/8".parse().expect("a network")])
}

/// Answers every connection with these bytes, counts them, and keeps each request.
async fn answering(answer: &'static [u8]) -> (Url, Arc<AtomicUsize>, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = Url::parse(&format!("http://{}/doc", listener.local_addr().expect("bound"))).expect("a URL");
    let connections = Arc::new(AtomicUsize::new(0));
    let (seen, requests) = tokio::sync::mpsc::unbounded_channel();
    let counted = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            let mut buffer = [0; 4096];
            let read = stream.read(&mut buffer).await.unwrap_or(0);
            let _ = seen.send(String::from_utf8_lossy(&buffer[..read]).into_owned());
            let _ = stream.write_all(answer).await;
            if answer.is_empty() {
                // Silence until the other side gives up.
                let _ = stream.read(&mut buffer).await;
            }
        }
    });
    (url, connections, requests)
}

async fn get(egress: &Egress, url: &Url) -> Result<Response<Bytes>, FetchError> {
    Fetcher::new().get(egress, url, JSON, LIMITS).await
}

#[tokio::test]
async fn a_document_comes_with_its_headers() {
    let answer = b"HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ncontent-length: 2\r\n\r\n{}";
    let (url, _, mut requests) = answering(answer).await;
    let answer = get(&loopback(), &url).await.expect("an answer");
    assert_eq!((answer.status().as_u16(), answer.body().as_ref()), (200, &b"{}"[..]));
    assert_eq!(answer.headers()[header::CACHE_CONTROL], "max-age=60");
    let request = requests.recv().await.expect("a request").to_lowercase();
    assert!(request.starts_with("get /doc http/1.1\r\n"), "{request}");
    assert!(request.contains("accept: application/json\r\n"), "{request}");
    assert!(request.contains("accept-encoding: identity\r\n"), "{request}");
}

#[tokio::test]
async fn a_form_can_be_posted() {
    let (url, _, mut requests) = answering(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let request = Request::post(url.as_str())
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Bytes::from_static(b"a=b"))
        .expect("a request");
    Fetcher::new().send(&loopback(), request, LIMITS).await.expect("an answer");
    let request = requests.recv().await.expect("a request").to_lowercase();
    assert!(request.starts_with("post /doc http/1.1\r\n"), "{request}");
    assert!(request.contains("content-length: 3\r\n"), "{request}");
}

#[tokio::test]
async fn a_network_that_the_tenant_does_not_allow_is_never_connected_to() {
    let (url, connections, _) = answering(b"").await;
    assert!(matches!(get(&Egress::default(), &url).await, Err(FetchError::NotPermitted)));
    let by_name = Url::parse(&url.as_str().replace("127.0.0.1", "localhost")).expect("a URL");
    assert!(matches!(get(&Egress::default(), &by_name).await, Err(FetchError::NotPermitted)));
    let mapped = Url::parse(&url.as_str().replace("127.0.0.1", "[::ffff:127.0.0.1]")).expect("a URL");
    assert!(matches!(get(&Egress::default(), &mapped).await, Err(FetchError::NotPermitted)));
    let metadata = Url::parse("https://169.254.169.254/latest").expect("a URL");
    assert!(matches!(get(&loopback(), &metadata).await, Err(FetchError::NotPermitted)));
    assert_eq!(connections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_name_that_changes_its_mind_between_look_ups_gains_nothing() {
    let (url, connections, _) = answering(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let looked_up = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&looked_up);
    // Permitted at first, private from then on; what is not permitted is passed over wherever it stands.
    let flipping = move |_: &str| match counted.fetch_add(1, Ordering::SeqCst) {
        0 => vec![IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), IpAddr::V4(Ipv4Addr::LOCALHOST)],
        _ => vec![IpAddr::V4(Ipv4Addr::new(127, 0, 0, 1)), IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1))],
    };
    let fetcher = Fetcher::new().resolving(flipping);
    let url = url.as_str().replace("127.0.0.1", "rebind.example");
    let request = || Request::get(url.as_str()).body(Bytes::new()).expect("a request");
    fetcher.send(&loopback(), request(), LIMITS).await.expect("the permitted address");
    assert_eq!(looked_up.load(Ordering::SeqCst), 1, "what was checked is what is connected to");
    let refused = fetcher.send(&Egress::default(), request(), LIMITS).await;
    assert!(matches!(refused, Err(FetchError::NotPermitted)), "{refused:?}");
    assert_eq!((looked_up.load(Ordering::SeqCst), connections.load(Ordering::SeqCst)), (2, 1));

    let url = Url::parse(&url).expect("a URL");
    let refused = fetcher.get(&loopback(), &url, JSON, LIMITS).await;
    assert!(matches!(refused, Err(FetchError::NotPermitted)), "all of what a client names is permitted: {refused:?}");
    assert_eq!((looked_up.load(Ordering::SeqCst), connections.load(Ordering::SeqCst)), (3, 1));
}

#[tokio::test]
async fn cleartext_never_leaves_this_machine() {
    let everywhere = Egress::new(vec!["0.0.0.0/0".parse().expect("a network")]);
    let fetcher = Fetcher::new().resolving(|_| vec![IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1))]);
    for url in ["http://intranet.example/", "http://10.0.0.1/", "ftp://intranet.example/", "file:///etc/passwd"] {
        let url = Url::parse(url).expect("a URL");
        let refused = fetcher.get(&everywhere, &url, JSON, LIMITS).await;
        assert!(matches!(refused, Err(FetchError::Scheme)), "{url}: {refused:?}");
    }
}

#[tokio::test]
async fn a_name_without_an_address_is_a_fault_that_may_pass() {
    let fetcher = Fetcher::new().resolving(|_| Vec::new());
    let url = Url::parse("https://nowhere.example/").expect("a URL");
    let refused = fetcher.get(&Egress::default(), &url, JSON, LIMITS).await.expect_err("no address");
    assert!(matches!(refused, FetchError::Unresolved));
    assert!(refused.is_transient() && !FetchError::NotPermitted.is_transient());
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let (elsewhere, connections, _) = answering(b"").await;
    let answer: &'static [u8] =
        format!("HTTP/1.1 302 Found\r\nlocation: {elsewhere}\r\ncontent-length: 0\r\n\r\n").leak().as_bytes();
    let (url, ..) = answering(answer).await;
    assert_eq!(get(&loopback(), &url).await.expect("an answer").status().as_u16(), 302);
    assert_eq!(connections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn an_answer_that_is_too_long_is_given_up_whether_it_says_so_or_not() {
    let endless: &'static [u8] =
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nc8\r\n{}\r\n", "x".repeat(200)).leak().as_bytes();
    for answer in [&b"HTTP/1.1 200 OK\r\ncontent-length: 101\r\n\r\n"[..], endless] {
        let (url, ..) = answering(answer).await;
        assert!(matches!(get(&loopback(), &url).await, Err(FetchError::TooLong(100))));
    }
}

#[tokio::test]
async fn a_compressed_answer_is_refused_unread() {
    let answer = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\n\x1f\x8b";
    let (url, ..) = answering(answer).await;
    assert!(matches!(get(&loopback(), &url).await, Err(FetchError::Encoded)));
}

#[tokio::test]
async fn a_host_that_stays_silent_is_given_up() {
    let (url, ..) = answering(b"").await;
    let limits = Limits { timeout: Duration::from_millis(20), ..LIMITS };
    let silent = Fetcher::new().get(&loopback(), &url, JSON, limits).await;
    assert!(matches!(silent, Err(FetchError::TimedOut)), "{silent:?}");
}

#[tokio::test]
async fn a_host_without_a_trusted_certificate_is_not_talked_to() {
    let (url, ..) = answering(b"HTTP/1.1 200 OK\r\n\r\n").await;
    let url = Url::parse(&url.as_str().replace("http:", "https:")).expect("a URL");
    assert!(matches!(get(&loopback(), &url).await, Err(FetchError::Unreachable(_))));
}

#[tokio::test]
async fn an_alert_goes_in_the_clear_only_where_the_tenant_allows_the_network_by_name() {
    let egress = Egress::new(vec!["127.0.0.0/8".parse().expect("a network")]);
    let deliver = async |answers: &'static [&'static str]| {
        let addresses = || answers.iter().map(|address| address.parse().expect("an address")).collect();
        let request = Request::post("http://receiver.test:9/").body(Bytes::new()).expect("a request");
        Fetcher::new().resolving(move |_| addresses()).deliver(&egress, request, LIMITS.timeout).await
    };
    assert!(matches!(deliver(&["1.1.1.1"]).await, Err(FetchError::Scheme)), "a public address");
    assert!(matches!(deliver(&["10.0.0.1"]).await, Err(FetchError::Scheme)), "a network that is not allowed");
    // Nothing listens there: it was tried.
    assert!(matches!(deliver(&["1.1.1.1", "127.0.0.9"]).await, Err(FetchError::Unreachable(_))));
    let allowed = Egress::new(vec!["10.0.0.0/8".parse().expect("a network")]);
    assert!(allowed.allows("::ffff:10.0.0.1".parse().expect("an address")));
    assert!(!allowed.allows("1.1.1.1".parse().expect("an address")));
}
