//! The price books that a control plane keeps in memory, to rate what it stores.
//!
//! Invariant: what is kept is used only where the database says, in the transaction that stores, that nothing was
//! published since.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use sqlx::PgConnection;
use tollgate_proto::{TenantId, rating::Books};

use super::{in_tenant, sql};

/// The books of each tenant, with the revision that they were read at.
#[derive(Debug, Default)]
pub struct Shelf(Mutex<HashMap<TenantId, (i64, Arc<Books>)>>);

impl Shelf {
    /// The books of the tenant that the transaction has entered.
    ///
    /// # Errors
    /// When Postgres is away, or a book is damaged.
    pub(crate) async fn books(
        &self,
        connection: &mut PgConnection,
        tenant: TenantId,
    ) -> Result<Arc<Books>, sqlx::Error> {
        let revision = sql::revision(connection).await?;
        if let Some(books) = self.kept(tenant, revision) {
            return Ok(books);
        }
        // What is published meanwhile may be in it already; then the next look finds another revision and reads again.
        let books = Arc::new(in_tenant(connection, tenant).await?);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(tenant, (revision, Arc::clone(&books)));
        Ok(books)
    }

    fn kept(&self, tenant: TenantId, revision: i64) -> Option<Arc<Books>> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&tenant).filter(|(known, _)| *known == revision).map(|(_, books)| Arc::clone(books))
    }
}
