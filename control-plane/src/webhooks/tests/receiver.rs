//! A receiver of webhooks that answers as it is told to, and keeps what it gets.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use aws_lc_rs::hmac;
use axum::{Router, routing::post};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::Value;
use tokio::{
    net::TcpListener,
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
};

/// What a request is answered.
#[derive(Debug, Clone, Copy)]
pub(super) enum Answer {
    Status(u16),
    /// A status, and when to come back.
    Busy(u16, &'static str),
    /// Elsewhere.
    Redirect,
    /// Nothing, ever.
    Silence,
}

/// One that got a request.
pub(super) struct Receiver {
    pub(super) url: String,
    got: UnboundedReceiver<Got>,
}

/// What it got.
#[derive(Debug)]
pub(super) struct Got {
    headers: HeaderMap,
    body: Bytes,
}

impl Receiver {
    /// Answers these, and 204 to what comes after them.
    pub(super) async fn answering(answers: &[Answer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/alerts", listener.local_addr().expect("bound"));
        let (noted, got) = unbounded_channel();
        let answers = Arc::new(Mutex::new(answers.iter().copied().collect::<VecDeque<_>>()));
        let answer = async move |headers: HeaderMap, body: Bytes| {
            noted.send(Got { headers, body }).expect("the test listens");
            let answer = answers.lock().expect("whole").pop_front().unwrap_or(Answer::Status(204));
            let mut headers = HeaderMap::new();
            let status = match answer {
                Answer::Status(status) => status,
                Answer::Busy(status, retry_after) => {
                    headers.insert(header::RETRY_AFTER, HeaderValue::from_static(retry_after));
                    status
                }
                Answer::Redirect => {
                    headers.insert(header::LOCATION, HeaderValue::from_static("/alerts"));
                    307
                }
                Answer::Silence => std::future::pending().await,
            };
            (StatusCode::from_u16(status).expect("a status"), headers, "a body that nobody reads")
        };
        let routes = Router::new().route("/alerts", post(answer));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { url, got }
    }

    /// The next request, waiting for it.
    pub(super) async fn next(&mut self) -> Got {
        self.got.recv().await.expect("a request")
    }

    /// The next request that has come already.
    pub(super) fn came(&mut self) -> Option<Got> {
        self.got.try_recv().ok()
    }
}

impl Got {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().expect("text")
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    /// How many of its signatures are this secret's, by the rule of the specification.
    pub(super) fn signatures_by(&self, secret: &str) -> usize {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").expect("the prefix")).expect("base64");
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        let body = std::str::from_utf8(&self.body).expect("text");
        let signed = format!("{}.{}.{body}", self.header("webhook-id"), self.header("webhook-timestamp"));
        let signatures = self
            .header("webhook-signature")
            .split(' ')
            .map(|signature| STANDARD.decode(signature.strip_prefix("v1,").expect("version 1")).expect("base64"));
        signatures.filter(|signature| hmac::verify(&key, signed.as_bytes(), signature).is_ok()).count()
    }
}
