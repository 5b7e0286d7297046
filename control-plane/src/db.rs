//! The way to Postgres.
//!
//! Invariant: a tenant's rows are reached through a [`TenantTx`] only. It tells Postgres the tenant, and row-level
//! security hides every other tenant's rows, whatever a query forgets.

use std::{
    ops::{Deref, DerefMut},
    time::Duration,
};

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::{
    AssertSqlSafe, Connection as _, PgConnection, PgPool, Postgres, Transaction,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tollgate_proto::TenantId;

/// What a connection begins with: the role that owns nothing and cannot bypass row-level security; and that locks end
/// though their control plane hangs in the middle of a transaction, or its host is gone: the others wait for them. No
/// transaction waits for anybody but Postgres for that long.
const CONNECTED: &str = "SET ROLE tollgate_app; SET idle_in_transaction_session_timeout = '10s'";
const CONNECTIONS_MAX: u32 = 20;
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an idle connection is taken to be alive.
const TRUSTED_FOR: Duration = Duration::from_secs(1);

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../migrations");

/// The pool of connections, all in the application's role.
#[derive(Debug, Clone)]
pub struct Db {
    pool: PgPool,
}

/// Why the database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Unreachable, refused or misconfigured.
    #[error("cannot use the database: {0}")]
    Database(#[from] sqlx::Error),
    /// The schema could not be brought up to date.
    #[error("cannot migrate the database: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
}

impl Db {
    /// Migrates the schema as the role of the URL, then opens a pool in the application's role.
    ///
    /// # Errors
    /// When the database cannot be reached, migrated or the role not be taken.
    pub async fn open(url: &SecretString) -> Result<Self, OpenError> {
        let options: PgConnectOptions = url.expose_secret().parse()?;
        let mut owner = PgConnection::connect_with(&options).await?;
        MIGRATIONS.run(&mut owner).await?;
        owner.close().await?;
        Ok(Self { pool: pool_of(CONNECTIONS_MAX).connect_with(options).await? })
    }

    /// The same database over connections of its own, opened when they are needed: for what must not wait until others
    /// give theirs back.
    #[must_use]
    pub fn apart(&self, connections: u32) -> Self {
        let options = PgConnectOptions::clone(&self.pool.connect_options());
        Self { pool: pool_of(connections).connect_lazy_with(options) }
    }

    /// A transaction that sees one tenant.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn tenant(&self, tenant: TenantId) -> Result<TenantTx, sqlx::Error> {
        self.begin("BEGIN", tenant).await
    }

    /// A transaction that reads one tenant as it was at one moment, however many queries it makes.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn tenant_snapshot(&self, tenant: TenantId) -> Result<TenantTx, sqlx::Error> {
        self.begin("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", tenant).await
    }

    /// The same for reports, whose queries are planned for what is asked for, each time: which of their many conditions there
    /// are decides how they are best answered, and a plan for all of them takes minutes for what takes milliseconds.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn tenant_report(&self, tenant: TenantId) -> Result<TenantTx, sqlx::Error> {
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL plan_cache_mode = force_custom_plan";
        self.begin(begin, tenant).await
    }

    /// A transaction for one query that looks things up by their keys. It cannot write, and needs no commit: dropped, its
    /// end goes to Postgres together with the check that every connection gets on its way back to the pool.
    ///
    /// Its queries are planned once for each connection, for any parameters. Left to itself Postgres plans those that have
    /// parameters for what may be absent every time, which takes longer than the look-up.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn tenant_lookup(&self, tenant: TenantId) -> Result<TenantTx, sqlx::Error> {
        self.begin("BEGIN READ ONLY; SET LOCAL plan_cache_mode = force_generic_plan", tenant).await
    }

    /// Begins, and enters the tenant in the same round trip.
    async fn begin(&self, begin: &'static str, tenant: TenantId) -> Result<TenantTx, sqlx::Error> {
        // A UUID has no character that could end the text.
        let statement = format!("{begin}; SET LOCAL tollgate.tenant = '{}'", tenant.uuid());
        Ok(TenantTx { tenant, tx: self.begin_with(&statement).await? })
    }

    /// Begins on the first connection that is whole. After Postgres was restarted every pooled one is broken, which only
    /// its first statement finds out; nothing was done by then, so that another one is tried.
    async fn begin_with(&self, statement: &str) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
        for _ in 0..CONNECTIONS_MAX {
            match self.pool.begin_with(AssertSqlSafe(statement.to_owned())).await {
                Err(error) if is_broken(&error) => {}
                begun => return begun,
            }
        }
        self.pool.begin_with(AssertSqlSafe(statement.to_owned())).await
    }

    /// A transaction for what belongs to no tenant (tenants themselves, data planes, sessions). A tenant's rows are
    /// invisible to it.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn platform(&self) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
        self.begin_with("BEGIN").await
    }

    /// The pool, for listening to notifications and for closing.
    #[must_use]
    pub const fn pool(&self) -> &PgPool {
        &self.pool
    }
}

fn pool_of(connections: u32) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .before_acquire(|connection, use_before| {
            Box::pin(async move { is_alive(connection, use_before.idle_for).await })
        })
        .after_connect(|connection, _| {
            Box::pin(async move { sqlx::raw_sql(CONNECTED).execute(connection).await.map(drop) })
        })
}

/// Whether the connection is gone, rather than Postgres: that would be a pool that timed out.
fn is_broken(error: &sqlx::Error) -> bool {
    // Class 57: the server ended the session, on its way down.
    let ended = |error: &dyn sqlx::error::DatabaseError| error.code().is_some_and(|code| code.starts_with("57P"));
    matches!(error, sqlx::Error::Io(_)) || error.as_database_error().is_some_and(ended)
}

/// Whether a pooled connection can be used. One that was in use a moment ago is not asked: that would be a round trip
/// before every transaction, to find out what its first statement finds out too.
async fn is_alive(connection: &mut PgConnection, idle_for: Duration) -> Result<bool, sqlx::Error> {
    if idle_for < TRUSTED_FOR {
        return Ok(true);
    }
    connection.ping().await.map(|()| true)
}

/// Shows the rest of the open transaction the rows of `tenant` alone. For the one place that writes for several
/// tenants at once; everything else takes a [`TenantTx`].
///
/// # Errors
/// When Postgres is away.
pub async fn enter(connection: &mut PgConnection, tenant: TenantId) -> Result<(), sqlx::Error> {
    sqlx::query!("SELECT set_config('tollgate.tenant', $1, true)", tenant.uuid().to_string())
        .fetch_one(connection)
        .await
        .map(drop)
}

/// A transaction in which Postgres shows the rows of one tenant. Queries take it instead of a connection, so that
/// none can be written without a tenant.
#[derive(Debug)]
pub struct TenantTx {
    tenant: TenantId,
    tx: Transaction<'static, Postgres>,
}

impl TenantTx {
    /// Goes on with a platform's transaction as one of `tenant`, which may have been made in it.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn within(mut tx: Transaction<'static, Postgres>, tenant: TenantId) -> Result<Self, sqlx::Error> {
        enter(&mut tx, tenant).await?;
        Ok(Self { tenant, tx })
    }

    /// The tenant whose rows this transaction sees.
    #[must_use]
    pub const fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// Makes everything done in it last.
    ///
    /// # Errors
    /// When Postgres is away; then nothing was done.
    pub async fn commit(self) -> Result<(), sqlx::Error> {
        self.tx.commit().await
    }
}

impl Deref for TenantTx {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.tx
    }
}

impl DerefMut for TenantTx {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.tx
    }
}

#[cfg(test)]
mod tests;
