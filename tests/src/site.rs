//! A web site over https: it publishes what clients publish, metadata documents and key sets.
//!
//! Invariant: it answers what the test says, and counts who asks.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::Ipv4Addr,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};

use crate::authority::Authority;

/// The site.
#[derive(Debug)]
pub struct Site {
    port: u16,
    pages: Arc<Mutex<BTreeMap<String, Page>>>,
    serving: JoinHandle<()>,
}

#[derive(Debug)]
struct Page {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
    visits: usize,
}

impl Site {
    /// Starts it with a certificate of `authority`.
    ///
    /// # Panics
    /// When it cannot listen.
    pub async fn start(authority: &Authority) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback has a free port");
        let port = listener.local_addr().expect("a listener has an address").port();
        let pages = Arc::default();
        let serving = tokio::spawn(serve(listener, acceptor(authority), Arc::clone(&pages)));
        Self { port, pages, serving }
    }

    /// The address of a path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}{path}", self.port)
    }

    /// Publishes JSON at a path, or something else in its place.
    pub fn publish(&self, path: &str, document: &Value) {
        self.publish_raw(path, 200, &[("content-type", "application/json")], &document.to_string());
    }

    /// Publishes whatever is given.
    pub fn publish_raw(&self, path: &str, status: u16, headers: &[(&str, &str)], body: &str) {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        let visits = pages.get(path).map_or(0, |page| page.visits);
        pages.insert(path.to_owned(), Page { status, headers, body: body.to_owned(), visits });
    }

    /// Publishes the metadata document of a client that is known by its URL, and returns that URL, which is the
    /// `client_id`. `more` is added to what every such document has.
    pub fn publish_client(&self, path: &str, redirect_uri: &str, more: &Value) -> String {
        let url = self.url(path);
        let mut document = serde_json::json!({
            "client_id": url,
            "client_name": "Story from the web",
            "redirect_uris": [redirect_uri],
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "token_endpoint_auth_method": "none",
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            document[name] = value.clone();
        }
        self.publish(path, &document);
        url
    }

    /// How often a path was asked for.
    #[must_use]
    pub fn visits(&self, path: &str) -> usize {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner).get(path).map_or(0, |page| page.visits)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, pages: Arc<Mutex<BTreeMap<String, Page>>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, pages) = (acceptor.clone(), Arc::clone(&pages));
        tokio::spawn(async move {
            // Whoever does not trust the certificate breaks off.
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = service_fn(move |request| {
                let response = answer(&request, &pages);
                async move { Ok::<_, Infallible>(response) }
            });
            let _broken_off =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn answer(request: &Request<Incoming>, pages: &Mutex<BTreeMap<String, Page>>) -> Response<Full<Bytes>> {
    let mut pages = pages.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(page) = pages.get_mut(request.uri().path()) else {
        return Response::builder().status(404).body(Full::default()).expect("a status makes a response");
    };
    page.visits += 1;
    let mut response = Response::builder().status(page.status);
    for (name, value) in &page.headers {
        response = response.header(name, value);
    }
    response.body(Full::from(page.body.clone())).expect("the test gives a legal status and legal headers")
}

fn acceptor(authority: &Authority) -> TlsAcceptor {
    let (certificate, key) = authority.leaf();
    let chain = CertificateDer::pem_file_iter(certificate).expect("a PEM file");
    let chain = chain.collect::<Result<Vec<_>, _>>().expect("openssl wrote certificates");
    let key = PrivateKeyDer::from_pem_file(key).expect("openssl wrote a key");
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key);
    TlsAcceptor::from(Arc::new(config.expect("the key belongs to the certificate")))
}
