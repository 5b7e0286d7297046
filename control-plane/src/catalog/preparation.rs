//! What a report says, read before the transaction that takes it in: while that is open nothing else of the tenant changes.
//!
//! Invariant: what is prepared may be of a moment ago. Nothing is left out by that: what is not prepared is read when it is
//! needed.

use std::{collections::HashMap, sync::Arc};

use tokio::task::spawn_blocking;
use tollgate_proto::{
    definition::{Definition, DefinitionDigest},
    policy::v1::CatalogReport,
};

use super::{
    ItemKind,
    flags::{self, Neighbours},
    intake::List,
    offer::{self, Content, Offer},
    sql,
};
use crate::{app::App, db::TenantTx};

/// A report that was read.
pub(super) struct Prepared {
    pub(super) offer: Arc<Offer>,
    /// What the definitions say that seem to be new.
    contents: HashMap<DefinitionDigest, Content>,
    /// The tenant's tools, as seen from this server; missing where nothing seems to be new.
    neighbours: Option<Neighbours>,
}

/// Reads a report, and all about what seems to be new in it.
///
/// # Errors
/// When Postgres is away.
pub(super) async fn prepare(app: &App, list: List, report: &Arc<CatalogReport>) -> Result<Prepared, sqlx::Error> {
    let report = Arc::clone(report);
    let offer = Arc::new(aside(move || offer::read(list.kind, &report.definitions)).await);
    let mut tx = app.db.tenant(list.tenant).await?;
    let known = sql::known(&mut tx, list).await?;
    let is_new = move |definition: &&Definition| {
        known.get(definition.name()).is_none_or(|known| known.digest != definition.digest().0)
    };
    if !offer.definitions.iter().any(|definition| is_new(&definition)) {
        return Ok(Prepared { offer, contents: HashMap::new(), neighbours: None });
    }
    let tools = if list.kind == ItemKind::Tool { sql::tools(&mut tx, false).await? } else { Vec::new() };
    drop(tx);
    let prepare = move || {
        let content = |definition: &Definition| (definition.digest(), offer::content(list.kind, definition));
        let contents = offer.definitions.iter().filter(is_new).map(content).collect();
        let mut neighbours = Neighbours::default();
        for tool in tools {
            neighbours.add(&tool.server, &tool.name, tool.server_id == list.server.uuid());
        }
        Prepared { offer, contents, neighbours: Some(neighbours) }
    };
    Ok(aside(prepare).await)
}

/// Where it holds up nobody.
async fn aside<T: Send + 'static>(read: impl FnOnce() -> T + Send + 'static) -> T {
    spawn_blocking(read).await.expect("reading does not panic, and nobody cancels it")
}

impl Prepared {
    /// Takes in the tools that were offered first while this was prepared.
    pub(super) async fn meet_latecomers(&mut self, tx: &mut TenantTx, list: List) -> Result<(), sqlx::Error> {
        if list.kind == ItemKind::Tool {
            let tools = sql::tools(tx, self.neighbours.is_some()).await?;
            let neighbours = self.neighbours.get_or_insert_default();
            for tool in tools {
                neighbours.add(&tool.server, &tool.name, tool.server_id == list.server.uuid());
            }
        }
        Ok(())
    }

    /// What a definition of the server called `server` says, and whether its name reads like another. One that is new is
    /// another one's neighbour from then on.
    pub(super) fn content(&mut self, kind: ItemKind, server: &str, definition: &Definition, is_new: bool) -> Content {
        let prepared = self.contents.remove(&definition.digest());
        let mut content = prepared.unwrap_or_else(|| offer::content(kind, definition));
        if kind == ItemKind::Tool {
            let neighbours = self.neighbours.get_or_insert_default();
            content.flags.extend(flags::lookalike(definition.name(), neighbours));
            if is_new {
                neighbours.add(server, definition.name(), true);
            }
        }
        content
    }
}
