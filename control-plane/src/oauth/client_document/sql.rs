//! Queries about metadata documents.

use crate::db::TenantTx;

/// An agent that is known by its document.
pub(super) struct KnownAgent {
    pub(super) digest: Vec<u8>,
    /// The document need not be fetched again yet.
    pub(super) is_fresh: bool,
    /// The document may stand in for one that cannot be had.
    pub(super) is_usable: bool,
}

pub(super) async fn agent(tx: &mut TenantTx, url: &str) -> Result<Option<KnownAgent>, sqlx::Error> {
    sqlx::query_as!(
        KnownAgent,
        r#"SELECT metadata_digest AS "digest!", metadata_fresh_until > now() AS "is_fresh!",
                  metadata_fetched_at > now() - interval '24 hours' AS "is_usable!"
           FROM agents WHERE document_url = $1"#,
        url
    )
    .fetch_optional(&mut **tx)
    .await
}
