//! What the server keeps of a consent page: nothing. The page carries it, sealed, and brings it back with the answer.
//!
//! Invariant: a transaction opens for the tenant that it was made for, and says in which sign-in session it was shown
//! and until when it may be answered. That it is answered once is the database's to keep.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tollgate_proto::TenantId;

use crate::{app::App, seal, secret::Digest};

const KEY: &str = "authorization transactions";

/// Something that a page of ours carries until it is answered.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Transaction<T> {
    /// Digest of the sign-in session that it was shown in.
    session: Vec<u8>,
    /// When it is no longer taken.
    expires_at: DateTime<Utc>,
    /// What the page is about.
    pub(super) about: T,
}

/// The text is none of ours, was changed, or is another tenant's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this was not made here")]
pub(super) struct Foreign;

impl<T: Serialize + DeserializeOwned> Transaction<T> {
    /// For a page that is shown now.
    pub(super) fn new(session: &Digest, life: Duration, about: T) -> Self {
        Self { session: session.as_bytes().to_vec(), expires_at: Utc::now() + life, about }
    }

    /// Whether this is the session that it was shown in.
    pub(super) fn is_of(&self, session: &Digest) -> bool {
        verify_slices_are_equal(&self.session, session.as_bytes()).is_ok()
    }

    /// Whether it is too late to answer.
    pub(super) fn is_expired(&self) -> bool {
        Utc::now() >= self.expires_at
    }

    /// As a page carries it. `kind` keeps one kind of page from passing for another.
    pub(super) fn seal(&self, app: &App, tenant: TenantId, kind: &str) -> String {
        let plain = serde_json::to_vec(self).expect("strings, numbers and lists have a JSON form");
        let key = app.master_key.derive(KEY);
        let sealed = seal::encrypt(&key, &associated(tenant, kind), &plain).expect("the system's generator works");
        URL_SAFE_NO_PAD.encode(sealed)
    }

    /// Reads back what [`Transaction::seal`] made for the same tenant and kind.
    pub(super) fn open(app: &App, tenant: TenantId, kind: &str, text: &str) -> Result<Self, Foreign> {
        let sealed = URL_SAFE_NO_PAD.decode(text).map_err(|_| Foreign)?;
        let key = app.master_key.derive(KEY);
        let plain = seal::decrypt(&key, &associated(tenant, kind), &sealed).map_err(|_| Foreign)?;
        serde_json::from_slice(&plain).map_err(|_| Foreign)
    }
}

fn associated(tenant: TenantId, kind: &str) -> String {
    format!("{tenant}|{kind}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::run;

    #[tokio::test]
    async fn a_transaction_opens_for_its_tenant_and_kind_only_and_not_when_changed() {
        run(async |bench| {
            let (app, session) = (&bench.app, Digest::of("a session"));
            let made = Transaction::new(&session, Duration::minutes(1), "about".to_owned());
            let text = made.seal(app, bench.acme, "consent");
            let opened = Transaction::<String>::open(app, bench.acme, "consent", &text).expect("opens");
            assert_eq!(opened.about, "about");
            assert!(opened.is_of(&session) && !opened.is_of(&Digest::of("another")) && !opened.is_expired());
            let open = |tenant, kind, text: &str| Transaction::<String>::open(app, tenant, kind, text).map(|_| ());
            assert_eq!(open(TenantId::new(), "consent", &text), Err(Foreign));
            assert_eq!(open(bench.acme, "return", &text), Err(Foreign));
            for index in 0..text.len() {
                let mut changed = text.clone().into_bytes();
                changed[index] = if changed[index] == b'A' { b'Q' } else { b'A' };
                let changed = String::from_utf8(changed).expect("ASCII");
                assert_eq!(open(bench.acme, "consent", &changed), Err(Foreign), "at {index}");
            }
        })
        .await;
    }

    #[tokio::test]
    async fn a_transaction_expires() {
        run(async |bench| {
            let text = Transaction::new(&Digest::of("s"), Duration::zero(), ()).seal(&bench.app, bench.acme, "consent");
            let opened = Transaction::<()>::open(&bench.app, bench.acme, "consent", &text).expect("opens");
            assert!(opened.is_expired());
        })
        .await;
    }
}
