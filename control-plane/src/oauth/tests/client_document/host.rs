//! A web host of client documents: real TLS on a loopback port, with a certificate of its own.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;
use uuid::Uuid;

use crate::fetch::Fetcher;

/// What its name resolves to, one answer for each look-up; the last one stays.
pub(in crate::oauth::tests) type Addresses = Vec<Vec<IpAddr>>;

/// A host named `client.example`.
pub(in crate::oauth::tests) struct Host {
    pub(in crate::oauth::tests) addr: SocketAddr,
    certificate: CertificateDer<'static>,
    answer: Arc<Mutex<String>>,
    requests: Arc<Mutex<Vec<String>>>,
    look_ups: Arc<AtomicUsize>,
}

impl Host {
    pub(in crate::oauth::tests) async fn start() -> Self {
        let (certificate, key) = make_certificate();
        let tls = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .expect("a certificate");
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await.expect("a port");
        let host = Self {
            addr: listener.local_addr().expect("bound"),
            certificate,
            answer: Arc::default(),
            requests: Arc::default(),
            look_ups: Arc::default(),
        };
        let (answer, requests) = (Arc::clone(&host.answer), Arc::clone(&host.requests));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, answer, requests) = (acceptor.clone(), Arc::clone(&answer), Arc::clone(&requests));
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let mut buffer = vec![0; 8192];
                    let read = stream.read(&mut buffer).await.unwrap_or(0);
                    requests.lock().expect("a list").push(String::from_utf8_lossy(&buffer[..read]).into_owned());
                    let answer = answer.lock().expect("an answer").clone();
                    let _ = stream.write_all(answer.as_bytes()).await;
                    let _ = stream.shutdown().await;
                });
            }
        });
        host
    }

    /// The URL of a document here.
    pub(in crate::oauth::tests) fn url(&self, path: &str) -> String {
        format!("https://client.example:{}{path}", self.addr.port())
    }

    /// Answers from now on with this status line, these headers and this body.
    pub(in crate::oauth::tests) fn answers(&self, status: &str, headers: &str, body: &str) {
        let length = body.len();
        *self.answer.lock().expect("an answer") =
            format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}");
    }

    /// The requests so far.
    pub(in crate::oauth::tests) fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("a list").clone()
    }

    /// How often its name was looked up.
    pub(in crate::oauth::tests) fn look_ups(&self) -> usize {
        self.look_ups.load(Ordering::SeqCst)
    }

    /// One that trusts this host and resolves every name as told.
    pub(in crate::oauth::tests) fn fetcher(&self, addresses: Addresses) -> Fetcher {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).expect("a certificate");
        let look_ups = Arc::clone(&self.look_ups);
        Fetcher::new().trusting(roots).resolving(move |_| {
            let number = look_ups.fetch_add(1, Ordering::SeqCst);
            addresses.get(number).or_else(|| addresses.last()).cloned().unwrap_or_default()
        })
    }
}

fn make_certificate() -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let folder = std::env::temp_dir().join(format!("tollgate-documents-{}", Uuid::new_v4().simple()));
    fs::create_dir(&folder).expect("a folder");
    let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=client.example", "-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-addext", "subjectAltName=DNS:client.example", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .expect("openssl is installed");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let read = (
        CertificateDer::from_pem_file(&certificate).expect("a certificate"),
        PrivateKeyDer::from_pem_file(&key).expect("a key"),
    );
    fs::remove_dir_all(folder).expect("the folder is ours");
    read
}
