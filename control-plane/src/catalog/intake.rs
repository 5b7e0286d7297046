//! What data planes report of servers' lists, on its way into the catalog.
//!
//! Several data planes report the same, in any order, as often as they like: a definition is compared by its digest, and
//! what is known already changes nothing.
//!
//! Invariant: a list is taken in by one transaction, which bumps the policy's revision exactly when the policy changes.
//! Of each list the newest report counts; while Postgres is away it waits.

use std::{
    collections::{BTreeMap, HashMap},
    error::Error,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use tollgate_proto::{
    CatalogItemId, DataPlaneId, ServerId, TenantId,
    definition::Definition,
    policy::v1::{self as wire, CatalogReport},
};

use super::{ItemKind, Refusal, flags, flags::Neighbours, offer, offer::Content, sql};
use crate::{app::App, db::TenantTx, policy, servers::Approval};

/// What could not be written is tried again after this.
const RETRY_EVERY: Duration = Duration::from_secs(1);
const WORK_AT_ONCE: usize = 64;
/// Items of one kind that are known of a server, those that it does not offer any more among them.
const KNOWN_MAX: usize = 10_000;

/// The queue of reports; its other end is [`Reports::keep`].
#[derive(Debug, Clone)]
pub struct Reports {
    queue: mpsc::UnboundedSender<Work>,
    received: Arc<Mutex<Option<mpsc::UnboundedReceiver<Work>>>>,
}

#[derive(Debug)]
enum Work {
    Report(DataPlaneId, CatalogReport),
    /// Answered when everything before it was tried: whether all that is known of the server's lists is written.
    Settle(ServerId, oneshot::Sender<bool>),
}

/// Which list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct List {
    pub(super) tenant: TenantId,
    pub(super) server: ServerId,
    pub(super) kind: ItemKind,
}

/// What the server is like while a list of it is taken in.
#[derive(Debug)]
pub(super) struct Owner {
    pub(super) name: String,
    pub(super) approval: Approval,
}

/// What is known of an item before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    pub(super) digest: [u8; 32],
    pub(super) gone: bool,
}

/// A definition that is new, or other than before.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub(super) id: CatalogItemId,
    pub(super) definition: &'a Definition,
    pub(super) content: Content,
}

/// What a report says that was not known.
#[derive(Debug, Default)]
struct News<'a> {
    /// Things that were never offered before.
    new: Vec<&'a Definition>,
    /// Things with another definition than before.
    changed: Vec<&'a Definition>,
    /// Names that are offered again, as before.
    back: Vec<String>,
    /// Names beyond those that are remembered.
    left_out: usize,
}

impl Reports {
    /// An empty queue.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "made once, by name")]
    pub fn new() -> Self {
        let (queue, received) = mpsc::unbounded_channel();
        Self { queue, received: Arc::new(Mutex::new(Some(received))) }
    }

    /// Leaves a report to be taken in.
    pub fn hear(&self, data_plane: DataPlaneId, report: CatalogReport) {
        // The receiver lives in `self` until somebody takes it in for good.
        let _ = self.queue.send(Work::Report(data_plane, report));
    }

    /// Waits until what was left before was tried; answers whether all of the server's lists were taken in.
    pub(super) async fn settled(&self, server: ServerId) -> bool {
        let (done, settled) = oneshot::channel();
        // Nobody takes anything in any more when the process stops.
        self.queue.send(Work::Settle(server, done)).is_ok() && settled.await.unwrap_or(false)
    }

    /// Takes in what is left until `stopping`. The first caller does it; others have nothing to do.
    pub async fn keep(app: Arc<App>, stopping: CancellationToken) {
        let received = app.catalog_reports.received.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut queue) = received else { return };
        let mut retry = interval(RETRY_EVERY);
        retry.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut unwritten = BTreeMap::new();
        loop {
            let (mut work, mut waiting) = (Vec::new(), Vec::new());
            tokio::select! {
                _ = queue.recv_many(&mut work, WORK_AT_ONCE) => {}
                _ = retry.tick(), if !unwritten.is_empty() => {}
                () = stopping.cancelled() => return,
            }
            for one in work {
                match one {
                    Work::Report(data_plane, report) => note(&mut unwritten, data_plane, report),
                    Work::Settle(server, done) => waiting.push((server, done)),
                }
            }
            write(&app, &mut unwritten).await;
            for (server, done) in waiting {
                // Who waited may have gone.
                let _ = done.send(unwritten.keys().all(|list: &List| list.server != server));
            }
        }
    }
}

/// Of each list the newest report. What names nothing that is known here is passed over.
fn note(unwritten: &mut BTreeMap<List, (DataPlaneId, CatalogReport)>, data_plane: DataPlaneId, report: CatalogReport) {
    let kind = match report.kind() {
        wire::ItemKind::Tool => ItemKind::Tool,
        wire::ItemKind::Prompt => ItemKind::Prompt,
        wire::ItemKind::Resource => ItemKind::Resource,
        wire::ItemKind::ResourceTemplate => ItemKind::ResourceTemplate,
        wire::ItemKind::Unspecified => return,
    };
    if let (Ok(tenant), Ok(server)) = (report.tenant_id.parse(), report.server_id.parse()) {
        unwritten.insert(List { tenant, server, kind }, (data_plane, report));
    }
}

/// What is written is forgotten; the rest waits for the next turn.
async fn write(app: &App, unwritten: &mut BTreeMap<List, (DataPlaneId, CatalogReport)>) {
    for list in unwritten.keys().copied().collect::<Vec<_>>() {
        let Some((data_plane, report)) = unwritten.get(&list) else { continue };
        let taken = take_in(app, list, *data_plane, &report.definitions).await;
        match taken {
            Ok(news) => {
                app.metrics.catalog_report(if news { "news" } else { "nothing_new" });
                unwritten.remove(&list);
            }
            Err(error) => {
                app.metrics.catalog_report("failed");
                let error = &error as &dyn Error;
                tracing::warn!(tenant = %list.tenant, server = %list.server, error, "cannot take in what a server offers");
            }
        }
    }
}

/// Takes in one list; answers whether it says anything new.
///
/// # Errors
/// When Postgres is away; then nothing was taken in.
pub(super) async fn take_in(
    app: &App,
    list: List,
    data_plane: DataPlaneId,
    entries: &[Vec<u8>],
) -> Result<bool, sqlx::Error> {
    let mut offer = offer::read(list.kind, entries);
    let mut tx = app.db.tenant(list.tenant).await?;
    let Some(owner) = sql::lock(&mut tx, list.server).await? else { return Ok(false) };
    let known = sql::known(&mut tx, list).await?;
    let news = News::of(&offer.definitions, &known);
    if news.left_out > 0 {
        offer.refusals.push(Refusal {
            position: entries.len(),
            reason: format!("{} more are not remembered: {KNOWN_MAX} are known", news.left_out),
        });
    }
    let refused = offer.refused + news.left_out;
    let names: Vec<String> = offer.definitions.iter().map(|definition| definition.name().to_owned()).collect();
    let read = read_news(&mut tx, list, &owner, &news).await?;
    sql::put(&mut tx, list, owner.approval, &read).await?;
    sql::bring_back(&mut tx, list, &news.back).await?;
    let gone = sql::mark_gone(&mut tx, list, &names).await?;
    sql::record_read(&mut tx, list, data_plane, (entries.len(), refused), &offer.refusals).await?;
    if !read.is_empty() {
        policy::bump(&mut tx).await?;
    }
    tx.commit().await?;
    Ok(!read.is_empty() || !news.back.is_empty() || gone > 0)
}

impl<'a> News<'a> {
    fn of(offered: &'a [Definition], known: &HashMap<String, Known>) -> Self {
        let mut news = Self::default();
        for definition in offered {
            match known.get(definition.name()) {
                None if known.len() + news.new.len() >= KNOWN_MAX => news.left_out += 1,
                None => news.new.push(definition),
                Some(before) if before.digest != definition.digest().0 => news.changed.push(definition),
                Some(before) if before.gone => news.back.push(definition.name().to_owned()),
                Some(_) => {}
            }
        }
        news
    }
}

/// The news with what they say, and whether their names read like others. What is new is compared with what was there
/// before it.
async fn read_news<'a>(
    tx: &mut TenantTx,
    list: List,
    owner: &Owner,
    news: &News<'a>,
) -> Result<Vec<Entry<'a>>, sqlx::Error> {
    if news.new.is_empty() && news.changed.is_empty() {
        return Ok(Vec::new());
    }
    let is_tool = list.kind == ItemKind::Tool;
    let mut neighbours = if is_tool { neighbours(tx, list.server).await? } else { Neighbours::default() };
    let mut entries = Vec::new();
    let (new, changed) =
        (news.new.iter().map(|new| (*new, true)), news.changed.iter().map(|changed| (*changed, false)));
    for (definition, is_new) in new.chain(changed) {
        let mut content = offer::content(list.kind, definition);
        if is_tool {
            content.flags.extend(flags::lookalike(definition.name(), &neighbours));
            if is_new {
                neighbours.add(&owner.name, definition.name(), true);
            }
        }
        entries.push(Entry { id: CatalogItemId::new(), definition, content });
    }
    Ok(entries)
}

/// The tenant's tools, as seen from one server.
pub(super) async fn neighbours(tx: &mut TenantTx, server: ServerId) -> Result<Neighbours, sqlx::Error> {
    let mut neighbours = Neighbours::default();
    for tool in sql::tools(tx).await? {
        neighbours.add(&tool.server, &tool.name, tool.server_id == server.uuid());
    }
    Ok(neighbours)
}
