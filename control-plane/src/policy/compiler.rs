//! Keeps every tenant's policy compiled at the revision that was found last.
//!
//! Invariant: of each tenant at most one compilation is under way, in a task of its own, and of all only so many; when one
//! ends the newest revision follows, however many there were in between. Tenants take turns, and one that cannot be
//! compiled holds up no other.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    error::Error,
    panic,
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, timeout},
};
use tollgate_proto::{TenantId, policy::v1::TenantPolicy};

use super::{
    compile::{CompileError, compile},
    sql::{Revisions, TenantRevisions},
};
use crate::{app::App, oauth::keys::KeyError, sealing_keys::SealingKeyError};

/// Each takes a connection of the pool.
const AT_ONCE: usize = 4;
const COMPILED_WITHIN: Duration = Duration::from_secs(60);
/// What could not be compiled is tried again after this, though nothing has changed: somebody may have mended it.
const AGAIN_AFTER: Duration = Duration::from_secs(2);

/// What became of a compilation.
struct Outcome {
    found: TenantRevisions,
    compiled: Result<Option<TenantPolicy>, CompileError>,
}

struct Compiler {
    app: Arc<App>,
    found: Arc<Revisions>,
    /// Whose turn comes next.
    line: VecDeque<TenantRevisions>,
    under_way: JoinSet<Outcome>,
    /// Who is in the line or under way.
    busy: HashSet<TenantId>,
    failed: HashMap<TenantId, Failure>,
}

/// A tenant could not be compiled.
struct Failure {
    revision: i64,
    at: Instant,
    /// Whether the log says so.
    is_logged: bool,
}

/// Compiles what is `found` and not published yet, until nothing is found any more.
pub(super) async fn keep(app: Arc<App>, mut found: watch::Receiver<Option<Arc<Revisions>>>) {
    let Ok(Some(first)) = found.wait_for(Option::is_some).await.map(|found| found.clone()) else { return };
    let mut compiler = Compiler {
        app,
        found: first,
        line: VecDeque::new(),
        under_way: JoinSet::new(),
        busy: HashSet::new(),
        failed: HashMap::new(),
    };
    loop {
        compiler.queue();
        compiler.start();
        tokio::select! {
            changed = found.changed() => match changed {
                Ok(()) => compiler.take_in(found.borrow_and_update().clone()),
                Err(_) => break,
            },
            Some(ended) = compiler.under_way.join_next() => match ended {
                Ok(outcome) => compiler.end(outcome),
                // None is cancelled, so that it panicked.
                Err(error) => panic::resume_unwind(error.into_panic()),
            },
        }
    }
    compiler.under_way.shutdown().await;
}

impl Compiler {
    fn take_in(&mut self, found: Option<Arc<Revisions>>) {
        let Some(found) = found else { return };
        let tenants: HashSet<_> = found.tenants.iter().map(|found| found.tenant).collect();
        self.failed.retain(|tenant, _| tenants.contains(tenant));
        self.found = found;
    }

    /// Puts in the line whoever is behind, at the end.
    fn queue(&mut self) {
        let known = self.app.policy_changes.known().borrow();
        for found in &self.found.tenants {
            let TenantRevisions { tenant, policy: revision, .. } = *found;
            let is_over = |failed: &Failure| failed.revision != revision || failed.at.elapsed() >= AGAIN_AFTER;
            if !known.holds(&self.found.epoch, tenant, revision)
                && self.failed.get(&tenant).is_none_or(is_over)
                && self.busy.insert(tenant)
            {
                self.line.push_back(*found);
            }
        }
    }

    fn start(&mut self) {
        while self.under_way.len() < AT_ONCE
            && let Some(found) = self.line.pop_front()
        {
            let app = Arc::clone(&self.app);
            self.under_way.spawn(async move {
                let compiling = timeout(COMPILED_WITHIN, compile(&app, found.tenant));
                let compiled = compiling.await.unwrap_or(Err(CompileError::Slow { within: COMPILED_WITHIN }));
                Outcome { found, compiled }
            });
        }
    }

    /// Shows the policy to the streams at once.
    fn end(&mut self, Outcome { found, compiled }: Outcome) {
        let TenantRevisions { tenant, policy: revision, .. } = found;
        self.busy.remove(&tenant);
        let published = match compiled {
            Ok(policy) => {
                self.failed.remove(&tenant);
                // Without one the tenant is gone since it was found; the next look says so.
                policy.map(Into::into)
            }
            Err(error) => {
                if self.fail(tenant, revision, &error) {
                    return;
                }
                None
            }
        };
        self.app.policy_changes.known().send_if_modified(|known| known.compiled(tenant, published));
    }

    /// Notes a failure, and logs it once; answers whether Postgres is away, so that nothing was found out about the tenant.
    fn fail(&mut self, tenant: TenantId, revision: i64, error: &CompileError) -> bool {
        let is_unreachable = is_unreachable(error);
        let was_logged = self.failed.get(&tenant).is_some_and(|last| last.revision == revision && last.is_logged);
        if !is_unreachable && !was_logged {
            tracing::error!(
                %tenant, revision, error = error as &dyn Error,
                "cannot compile a tenant's policy: its data planes stay at the last one"
            );
        }
        let is_logged = was_logged || !is_unreachable;
        self.failed.insert(tenant, Failure { revision, at: Instant::now(), is_logged });
        is_unreachable
    }
}

/// Whether no other tenant would fare better. Who looks for changes says so.
fn is_unreachable(error: &CompileError) -> bool {
    // Lost or ended by the server (PostgreSQL's appendix A): `25P03` is a transaction that hung for too long.
    let is_lost = |code: &str| ["08", "25P03", "57"].iter().any(|class| code.starts_with(class));
    let (CompileError::Database(error)
    | CompileError::Keys(KeyError::Storage(error))
    | CompileError::SealingKeys(SealingKeyError::Storage(error))) = error
    else {
        return false;
    };
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| is_lost(&code)),
        _ => false,
    }
}
