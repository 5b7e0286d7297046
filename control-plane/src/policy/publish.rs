//! Follows the database: what is revoked is shown to all streams as soon as it is found, what changed is given to the
//! compiler.
//!
//! The database is looked at four times a second; a notification only makes the next look come sooner, since
//! notifications are lost when a connection breaks.
//!
//! Invariant: nothing delays a look but Postgres: it has connections of its own, and waits for no compilation. What cannot
//! be read of a tenant's revocations holds up no other's, and renews no lease.

use std::{collections::HashSet, error::Error, panic, sync::Arc, time::Duration};

use chrono::Utc;
use sqlx::{PgConnection, postgres::PgListener};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    CHANNEL, compiler,
    connected::Connected,
    known::{Known, RevokedDataPlanes},
    live::Live,
    spending::Spending,
    sql::{self, Revisions, TenantRevisions},
};
use crate::{app::App, data_planes, db::Db};

const LOOK_INTERVAL: Duration = Duration::from_millis(250);
const LOOK_INTERVAL_MAX: Duration = Duration::from_secs(2);
const LOOK_TIMEOUT: Duration = Duration::from_secs(5);
const SWEEP_EVERY: Duration = Duration::from_secs(60);
const LISTEN_AGAIN_AFTER: Duration = Duration::from_secs(1);
const CLOSED_WITHIN: Duration = Duration::from_secs(1);
/// One listens, one looks.
const CONNECTIONS: u32 = 2;

/// Where the follower puts what it finds, and streams wait for it.
#[derive(Debug)]
pub struct Changes {
    known: watch::Sender<Known>,
    spending: watch::Sender<Spending>,
    connected: Connected,
}

impl Changes {
    /// Nothing is known yet.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "made once, by name")]
    pub fn new() -> Self {
        Self {
            known: watch::Sender::new(Known::default()),
            spending: watch::Sender::new(Spending::default()),
            connected: Connected::default(),
        }
    }

    /// What is known, and a wake-up whenever a tenant's policy changes or it revokes something.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Known> {
        self.known.subscribe()
    }

    /// The data planes that follow what is known.
    #[must_use]
    pub const fn connected(&self) -> &Connected {
        &self.connected
    }

    /// What is spent of budgets, and where that is entered.
    pub(super) const fn spending(&self) -> &watch::Sender<Spending> {
        &self.spending
    }

    /// Where what is found is entered.
    pub(super) const fn known(&self) -> &watch::Sender<Known> {
        &self.known
    }
}

/// Keeps [`Changes`] at what the database holds until `stopping`, however often Postgres goes away and comes back.
pub async fn follow_changes(app: Arc<App>, stopping: CancellationToken) {
    let (wake, db) = (Notify::new(), app.db.apart(CONNECTIONS));
    let (found, compiled) = watch::channel(None);
    let mut compiling = tokio::spawn(compiler::keep(Arc::clone(&app), compiled));
    let mut follower = Follower { app: &app, db: &db, found, swept_at: Instant::now() };
    let follow = async { tokio::join!(listen(&db, &wake), follower.look_repeatedly(&wake)) };
    tokio::select! {
        () = stopping.cancelled() => {}
        _ = follow => {}
        // Before its time: no lease is renewed for policies that nobody compiles.
        Err(error) = &mut compiling => panic::resume_unwind(error.into_panic()),
    }
    drop(follower);
    // It ends now that nothing more is found.
    let _ = compiling.await;
    // Where Postgres hangs nothing is lost by not saying goodbye.
    let _ = timeout(CLOSED_WITHIN, db.pool().close()).await;
}

/// Turns notifications into wake-ups. Whatever goes wrong here costs no more than the wait for the next look.
async fn listen(db: &Db, wake: &Notify) {
    loop {
        if let Err(error) = forward_notifications(db, wake).await {
            tracing::debug!(error = &error as &dyn Error, "cannot listen for policy changes");
        }
        sleep(LISTEN_AGAIN_AFTER).await;
    }
}

async fn forward_notifications(db: &Db, wake: &Notify) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(db.pool()).await?;
    listener.eager_reconnect(false);
    listener.listen(CHANNEL).await?;
    while listener.try_recv().await?.is_some() {
        wake.notify_one();
    }
    Ok(())
}

struct Follower<'a> {
    app: &'a App,
    db: &'a Db,
    /// Where the compiler hears what was found.
    found: watch::Sender<Option<Arc<Revisions>>>,
    /// When expired revocations were last dropped.
    swept_at: Instant,
}

impl Follower<'_> {
    async fn look_repeatedly(&mut self, wake: &Notify) {
        let mut interval = LOOK_INTERVAL;
        loop {
            let looked = timeout(LOOK_TIMEOUT, self.look()).await.unwrap_or(Err(sqlx::Error::PoolTimedOut));
            match looked {
                Ok(()) if interval > LOOK_INTERVAL => {
                    tracing::info!("Postgres is back: policy is followed again");
                    interval = LOOK_INTERVAL;
                }
                Ok(()) => {}
                Err(error) => {
                    if interval == LOOK_INTERVAL {
                        let error = &error as &dyn Error;
                        tracing::warn!(error, "cannot look for policy changes: no lease is renewed");
                    }
                    interval = (interval * 2).min(LOOK_INTERVAL_MAX);
                }
            }
            // The outcome does not matter: woken or not, the next look is due.
            let _ = timeout(interval, wake.notified()).await;
        }
    }

    /// Reads what was revoked since the last look, and tells the compiler what else there is.
    async fn look(&mut self) -> Result<(), sqlx::Error> {
        let began_at = Instant::now();
        let mut connection = self.db.pool().acquire().await?;
        let found = sql::revisions(&mut connection).await?;
        self.take_in_revoked_data_planes(&mut connection, &found).await?;
        drop(connection);
        self.forget_all_but(&found);
        self.forget_expired();
        let mut read = Ok(());
        for tenant in &found.tenants {
            read = read.and(self.take_in_revocations(tenant).await);
        }
        let data_planes = found.data_planes;
        self.found.send_replace(Some(Arc::new(found)));
        read?;
        self.app.policy_changes.known.send_if_modified(|known| known.look_ended(began_at, data_planes));
        Ok(())
    }

    /// Reads who was sent away when it is somebody new, or the database is another one.
    async fn take_in_revoked_data_planes(
        &self,
        connection: &mut PgConnection,
        found: &Revisions,
    ) -> Result<(), sqlx::Error> {
        let (epoch, count) = (&found.epoch, found.data_planes_revoked);
        let is_told = |revoked: &RevokedDataPlanes| revoked.count == count && revoked.epoch == *epoch;
        if !is_told(self.app.policy_changes.known.borrow().revoked()) {
            let revoked = data_planes::revoked(connection).await?;
            let now = Instant::now();
            let at = |ago| now.checked_sub(ago).unwrap_or(now);
            let ids = revoked.into_iter().map(|(id, ago)| (id, at(ago))).collect();
            let revoked = RevokedDataPlanes { epoch: epoch.clone(), count, ids };
            self.app.policy_changes.known.send_modify(|known| known.set_revoked(revoked));
        }
        Ok(())
    }

    fn forget_all_but(&self, found: &Revisions) {
        let tenants: HashSet<_> = found.tenants.iter().map(|found| found.tenant).collect();
        let same_epoch = self.app.policy_changes.known.borrow().epoch() == found.epoch;
        self.app.policy_changes.connected().retain_committed(|tenant| same_epoch && tenants.contains(&tenant));
        self.app.policy_changes.known.send_if_modified(|known| known.set_tenants(&found.epoch, &tenants));
    }

    /// Data planes forget by themselves, so that nobody has to be woken.
    fn forget_expired(&mut self) {
        if self.swept_at.elapsed() < SWEEP_EVERY {
            return;
        }
        self.swept_at = Instant::now();
        self.app.policy_changes.known.send_if_modified(|known| {
            known.forget_expired(Utc::now().timestamp());
            false
        });
    }

    /// Reads what one tenant has revoked since the last look and shows it to the streams at once.
    async fn take_in_revocations(&self, found: &TenantRevisions) -> Result<(), sqlx::Error> {
        let revision = found.revocations.unsigned_abs();
        let told = self.app.policy_changes.known.borrow().live_of(found.tenant).map(Live::revision);
        if told.is_some_and(|told| told >= revision) {
            return Ok(());
        }
        let made = if revision == 0 {
            Vec::new()
        } else {
            let mut tx = self.db.tenant(found.tenant).await?;
            sql::revocations(&mut tx, told.unwrap_or_default().cast_signed()).await?
        };
        let connected = self.app.policy_changes.connected();
        connected.committed(found.tenant, made.iter().map(|made| (made.number, made.committed)));
        let entries = made.into_iter().map(|made| (made.number, made.revocation)).collect();
        let known = &self.app.policy_changes.known;
        known.send_if_modified(|known| known.revoke(found.tenant, revision, entries));
        Ok(())
    }
}
