//! Policy: compiled from the database, published to every data plane.
//!
//! - `compile.rs` reads one tenant's whole policy at one revision.
//! - `publish.rs` follows the database and keeps the revocations of every tenant (`live.rs`) in [`Changes`]; nothing else
//!   holds that up. `compiler.rs` keeps its newest policy there, compiled once per process. `known.rs` is both together.
//! - `stream.rs` brings each data plane up to [`Changes`] and keeps it there; `ledger.rs` is its memory of what the
//!   data plane holds. Revocations go ahead of policies and wait for nobody; `connected.rs` counts who has applied
//!   them, `enforcement.rs` how fast.
//! - `spending.rs` is what the ledger has of budgets, which streams tell behind policies and hold up nothing for.
//! - `inquiries.rs` are questions that go the other way: what data planes know of sessions and limits.
//! - `introspect.rs` tells data planes what an opaque token says.
//!
//! Invariant: a change bumps its tenant's revision in its own transaction ([`bump`]); everything else follows from
//! that number.

mod compile;
mod compiler;
mod connected;
mod enforcement;
mod inquiries;
pub(crate) mod introspect;
mod known;
mod ledger;
mod live;
mod publish;
mod spending;
mod sql;
mod stream;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use compile::{CompileError, compile, is_newest};
pub use connected::Connected;
pub use enforcement::RevocationTimes;
pub use inquiries::Silence;
pub use known::Known;
pub use live::Live;
pub use publish::{Changes, follow_changes};
pub use spending::{Spending, follow_spending};
pub use stream::PolicyStreams;

use crate::db::TenantTx;

/// What Postgres is told to wake every control plane.
const CHANNEL: &str = "tollgate_policy";

/// Marks the tenant's policy as changed in the transaction that changes it; answers the new revision. The row lock
/// makes revision order commit order.
///
/// # Errors
/// When Postgres is away.
pub async fn bump(tx: &mut TenantTx) -> Result<i64, sqlx::Error> {
    let tenant = tx.tenant();
    let revision = sql::bump(tx, tenant).await?;
    wake(tx).await?;
    Ok(revision)
}

/// Makes every control plane look at once, as soon as the transaction commits: for what data planes must learn
/// without a new policy.
///
/// # Errors
/// When Postgres is away.
pub async fn wake(tx: &mut TenantTx) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant();
    sql::notify(tx, CHANNEL, tenant).await
}
