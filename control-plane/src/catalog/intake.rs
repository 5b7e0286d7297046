//! What data planes report of servers' lists, on its way into the catalog.
//!
//! Several data planes report the same, in any order, as often as they like: a definition is compared by its digest, and
//! what is known already changes nothing. What a report says is read before the transaction that takes it in
//! (`preparation.rs`), which locks the tenant; what goes back and forth waits (`flapping.rs`).
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
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use tollgate_proto::{
    CatalogItemId, DataPlaneId, ServerId, TenantId,
    definition::Definition,
    policy::v1::{self as wire, CatalogReport},
};

use super::{
    ItemKind, Refusal,
    flapping::Flapping,
    offer::Content,
    preparation::{self, Prepared},
    sql,
};
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    pub(super) approved: Option<[u8; 32]>,
    pub(super) read_only: bool,
    pub(super) additive: bool,
}

/// What the policy says of an item, but for what people decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Compiled {
    in_force: Option<[u8; 32]>,
    read_only: bool,
    additive: bool,
}

/// A definition that is new, or other than before.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub(super) id: CatalogItemId,
    pub(super) definition: &'a Definition,
    pub(super) content: Content,
}

/// A report that is not taken in yet.
#[derive(Debug)]
struct Waiting {
    data_plane: DataPlaneId,
    report: Arc<CatalogReport>,
    /// It waits until then.
    until: Instant,
    /// Only what goes back and forth too often waits.
    is_taken_in: bool,
}

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Taken {
    /// Whether it said anything new.
    pub(super) news: bool,
    /// How long the rest of it waits: definitions that went back and forth too often.
    pub(super) rest_in: Option<Duration>,
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
        let (mut unwritten, mut flapping) = (BTreeMap::<List, Waiting>::new(), Flapping::default());
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
            write(&app, &mut unwritten, &mut flapping).await;
            for (server, done) in waiting {
                // Who waited may have gone.
                let _ = done.send(unwritten.iter().all(|(list, waiting)| list.server != server || waiting.is_taken_in));
            }
        }
    }
}

/// Of each list the newest report. What names nothing that is known here is passed over.
fn note(unwritten: &mut BTreeMap<List, Waiting>, data_plane: DataPlaneId, report: CatalogReport) {
    let kind = match report.kind() {
        wire::ItemKind::Tool => ItemKind::Tool,
        wire::ItemKind::Prompt => ItemKind::Prompt,
        wire::ItemKind::Resource => ItemKind::Resource,
        wire::ItemKind::ResourceTemplate => ItemKind::ResourceTemplate,
        wire::ItemKind::Unspecified => return,
    };
    if let (Ok(tenant), Ok(server)) = (report.tenant_id.parse(), report.server_id.parse()) {
        let report = Waiting { data_plane, report: Arc::new(report), until: Instant::now(), is_taken_in: false };
        unwritten.insert(List { tenant, server, kind }, report);
    }
}

/// What is written is forgotten; the rest waits for the next turn.
async fn write(app: &App, unwritten: &mut BTreeMap<List, Waiting>, flapping: &mut Flapping) {
    let now = Instant::now();
    let due: Vec<_> = unwritten.iter().filter(|(_, waiting)| waiting.until <= now).map(|(list, _)| *list).collect();
    for list in due {
        let Some(waiting) = unwritten.get_mut(&list) else { continue };
        match take_in(app, flapping, list, waiting.data_plane, &waiting.report).await {
            Ok(taken) => {
                app.metrics.catalog_report(if taken.news { "news" } else { "nothing_new" });
                match taken.rest_in {
                    Some(rest_in) => {
                        waiting.until = Instant::now() + rest_in;
                        waiting.is_taken_in = true;
                    }
                    None => drop(unwritten.remove(&list)),
                }
            }
            Err(error) => {
                app.metrics.catalog_report("failed");
                let error = &error as &dyn Error;
                tracing::warn!(tenant = %list.tenant, server = %list.server, error, "cannot take in what a server offers");
            }
        }
    }
}

/// Takes in one list.
///
/// # Errors
/// When Postgres is away; then nothing was taken in.
pub(super) async fn take_in(
    app: &App,
    flapping: &mut Flapping,
    list: List,
    data_plane: DataPlaneId,
    report: &Arc<CatalogReport>,
) -> Result<Taken, sqlx::Error> {
    let mut prepared = preparation::prepare(app, list, report).await?;
    let mut tx = app.db.tenant(list.tenant).await?;
    let Some(owner) = sql::lock(&mut tx, list.server).await? else { return Ok(Taken { news: false, rest_in: None }) };
    let known = sql::known(&mut tx, list).await?;
    let (offer, mut refusals) = (Arc::clone(&prepared.offer), prepared.offer.refusals.clone());
    let news = News::of(&offer.definitions, &known);
    if news.left_out > 0 {
        refusals.push(Refusal {
            position: report.definitions.len(),
            reason: format!("{} more are not remembered: {KNOWN_MAX} are known", news.left_out),
        });
    }
    let counts = (report.definitions.len(), offer.refused + news.left_out);
    let names: Vec<String> = offer.definitions.iter().map(|definition| definition.name().to_owned()).collect();
    let entries = read_news(&mut prepared, &mut tx, list, &owner, &news).await?;
    let Sorted { entries, swings, rest_in } = sort(flapping, list, owner.approval, &known, entries);
    sql::put(&mut tx, list, owner.approval, &entries).await?;
    sql::bring_back(&mut tx, list, &news.back).await?;
    let gone = sql::mark_gone(&mut tx, list, &names).await?;
    sql::record_read(&mut tx, list, data_plane, counts, &refusals).await?;
    let is_new = |entry: &Entry<'_>| !known.contains_key(entry.definition.name());
    if !swings.is_empty() || entries.iter().any(is_new) {
        policy::bump(&mut tx).await?;
    }
    tx.commit().await?;
    flapping.note(list, swings, Instant::now());
    Ok(Taken { news: !entries.is_empty() || !news.back.is_empty() || gone > 0, rest_in })
}

/// The news with what they say, and whether their names read like others. What is new is compared with what was there
/// before it.
async fn read_news<'a>(
    prepared: &mut Prepared,
    tx: &mut TenantTx,
    list: List,
    owner: &Owner,
    news: &News<'a>,
) -> Result<Vec<Entry<'a>>, sqlx::Error> {
    if news.new.is_empty() && news.changed.is_empty() {
        return Ok(Vec::new());
    }
    prepared.meet_latecomers(tx, list).await?;
    let new = news.new.iter().map(|new| (*new, true)).chain(news.changed.iter().map(|changed| (*changed, false)));
    let entry = |(definition, is_new)| {
        let content = prepared.content(list.kind, &owner.name, definition, is_new);
        Entry { id: CatalogItemId::new(), definition, content }
    };
    Ok(new.map(entry).collect())
}

/// What of the news is taken in now.
struct Sorted<'a> {
    entries: Vec<Entry<'a>>,
    /// Names of what was known and changes the policy.
    swings: Vec<&'a str>,
    rest_in: Option<Duration>,
}

/// Leaves out for now what changes the policy too often. What is to be held does not wait.
fn sort<'a>(
    flapping: &Flapping,
    list: List,
    approval: Approval,
    known: &HashMap<String, Known>,
    entries: Vec<Entry<'a>>,
) -> Sorted<'a> {
    let now = Instant::now();
    let mut sorted = Sorted { entries: Vec::new(), swings: Vec::new(), rest_in: None };
    for entry in entries {
        let name = entry.definition.name();
        if let Some(before) = known.get(name) {
            let after = Compiled::after(before, approval, &entry);
            if after != Compiled::of(before) {
                let wait = flapping.wait(list, name, now);
                if after.in_force.is_some() && !wait.is_zero() {
                    sorted.rest_in = Some(sorted.rest_in.map_or(wait, |rest_in| rest_in.min(wait)));
                    continue;
                }
                sorted.swings.push(name);
            }
        }
        sorted.entries.push(entry);
    }
    sorted
}

impl Compiled {
    fn of(known: &Known) -> Self {
        let Known { digest, approved, read_only, additive, .. } = *known;
        Self { in_force: approved.filter(|approved| *approved == digest), read_only, additive }
    }

    /// What it is once the definition has changed.
    fn after(before: &Known, approval: Approval, entry: &Entry<'_>) -> Self {
        let digest = entry.definition.digest().0;
        let Content { read_only, additive, .. } = entry.content;
        match approval {
            Approval::Pinned => Self::of(&Known { digest, ..*before }),
            _ => Self { in_force: Some(digest), read_only, additive },
        }
    }
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
