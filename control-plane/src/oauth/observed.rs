//! What happens around every OAuth request: it is counted, and a refusal is written into the audit log.
//!
//! Invariant: no request waits for its audit event. Refusals cost an attacker nothing, so they queue up to a bound;
//! what comes faster than Postgres takes it is counted as dropped, never kept in memory.

use std::{sync::Arc, time::Instant};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tollgate_proto::{Name, TenantId};

use crate::{
    app::App,
    audit::{self, Origin},
};

const QUEUE_MAX: usize = 4_096;
const BATCH_MAX: usize = 200;

/// What an answer says about itself to this layer, as an extension of the response.
#[derive(Debug, Clone)]
pub(super) struct Refused {
    /// The OAuth error code.
    pub(super) code: &'static str,
    /// Why, in words for operators: may say what the client must not learn. Never a secret.
    pub(super) reason: String,
    /// Whom the client claimed to be, shortened.
    pub(super) client: Option<String>,
}

/// A refusal on its way into the audit log.
#[derive(Debug)]
struct Entry {
    tenant: TenantId,
    endpoint: &'static str,
    refused: Refused,
    origin: Origin,
}

/// The queue of refusals; its other end is [`Trail::keep`].
#[derive(Debug)]
pub struct Trail {
    entries: mpsc::Sender<Entry>,
    queue: std::sync::Mutex<Option<mpsc::Receiver<Entry>>>,
}

impl Trail {
    /// An empty one.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "made once, by name")]
    pub fn new() -> Self {
        let (entries, queue) = mpsc::channel(QUEUE_MAX);
        Self { entries, queue: std::sync::Mutex::new(Some(queue)) }
    }

    /// Writes what is queued until `stopping`, and then what is left. The first caller does it; others have nothing
    /// to do.
    pub async fn keep(app: Arc<App>, stopping: CancellationToken) {
        let queue = app.oauth_trail.queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        let Some(mut queue) = queue else { return };
        let mut batch = Vec::new();
        loop {
            let received = tokio::select! {
                received = queue.recv_many(&mut batch, BATCH_MAX) => received,
                () = stopping.cancelled() => {
                    queue.close();
                    queue.recv_many(&mut batch, QUEUE_MAX).await
                }
            };
            if received == 0 {
                return;
            }
            write(&app, std::mem::take(&mut batch)).await;
        }
    }
}

/// Middleware around the OAuth endpoints.
pub(super) async fn observe(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let began_at = Instant::now();
    let endpoint = endpoint(request.uri().path());
    let tenant = tenant(request.uri().path());
    let mut response = next.run(request).await;
    let refused = response.extensions_mut().remove::<Refused>();
    let outcome = refused.as_ref().map_or("ok", |refused| refused.code);
    app.metrics.oauth_request(endpoint, outcome, began_at.elapsed());
    if let Some(refused) = refused
        && let Some(tenant) = tenant.and_then(|name| app.issuers.known(&name))
    {
        let entry = Entry { tenant, endpoint, refused, origin: Origin::current() };
        if app.oauth_trail.entries.try_send(entry).is_err() {
            app.metrics.audit_refusal_dropped();
        }
    }
    response
}

/// The endpoint that a path names, as one of a fixed set.
fn endpoint(path: &str) -> &'static str {
    const KNOWN: [&str; 9] = [
        "oauth/token",
        "oauth/authorize/decision",
        "oauth/authorize/continue",
        "oauth/authorize",
        "oauth/register",
        "oauth/introspect",
        "oauth/revoke",
        "oauth/jwks",
        "oauth-authorization-server",
    ];
    KNOWN
        .into_iter()
        .find(|name| path.contains(name))
        .map_or("other", |name| name.trim_start_matches("oauth/").trim_end_matches("/{client_id}"))
}

/// The tenant whose path it is: the part after `/t/`, wherever that stands.
fn tenant(path: &str) -> Option<Name> {
    let (_, below) = path.split_once("/t/")?;
    below.split('/').next()?.parse().ok()
}

/// Writes a batch, one transaction for each tenant in it.
async fn write(app: &App, mut batch: Vec<Entry>) {
    batch.sort_by_key(|entry| entry.tenant);
    for entries in batch.chunk_by(|one, other| one.tenant == other.tenant) {
        if let Err(error) = write_one(app, entries).await {
            tracing::error!(%error, refusals = entries.len(), "refused OAuth requests are missing in the audit log");
            entries.iter().for_each(|_| app.metrics.audit_refusal_dropped());
        }
    }
}

async fn write_one(app: &App, entries: &[Entry]) -> Result<(), sqlx::Error> {
    let Some(first) = entries.first() else { return Ok(()) };
    let mut tx = app.db.tenant(first.tenant).await?;
    for entry in entries {
        let actor = entry.refused.client.as_ref().map_or_else(|| "unknown".to_owned(), |id| format!("client:{id}"));
        let event = audit::Event {
            actor: &actor,
            action: "oauth.refuse",
            object_kind: "oauth_endpoint",
            object_id: &entry.origin.request_id,
            object_name: entry.endpoint,
            detail: json!({ "error": entry.refused.code, "reason": entry.refused.reason }),
        };
        audit::record_from(&mut tx, event, &entry.origin).await?;
    }
    tx.commit().await
}

#[cfg(test)]
mod tests {
    use super::{endpoint, tenant};

    #[test]
    fn every_path_has_a_name_of_a_fixed_set() {
        assert_eq!(endpoint("/t/acme/oauth/token"), "token");
        assert_eq!(endpoint("/t/acme/oauth/authorize/decision"), "authorize/decision");
        assert_eq!(endpoint("/t/acme/oauth/register/agt_1"), "register");
        assert_eq!(endpoint("/t/acme/.well-known/oauth-authorization-server"), "oauth-authorization-server");
        assert_eq!(endpoint("/anything"), "other");
    }

    #[test]
    fn the_tenant_stands_in_the_path() {
        let acme = Some("acme".parse().expect("a name"));
        assert_eq!(tenant("/t/acme/oauth/token"), acme);
        assert_eq!(tenant("/.well-known/oauth-authorization-server/t/acme"), acme);
        assert_eq!(tenant("/t/%ff/oauth/token"), None);
    }
}
