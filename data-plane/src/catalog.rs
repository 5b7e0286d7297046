//! What servers offer, read by Tollgate itself and told to the control plane: when it asks, when a server says that a
//! list has changed, and when a list that passes through any data plane for an agent shows what was not known.
//!
//! Invariant: what was read counts here before it is told. What was told and has not changed is told again only to who
//! asks; what could not be told is read again for the next stream.

mod turns;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::mpsc, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;
use tollgate_proto::{
    ServerId, TenantId,
    access::{Kind, Section},
    policy::v1::{CatalogReport, ItemKind},
};

use crate::{
    gateway::Gateway,
    policy::{Server, Snapshot, Tenant},
    stage::forward::{news::until, offer},
    store::{Announcement, ChangedList},
    upstream::observed::Fingerprint,
};

use turns::Turns;

/// Servers that are read at once, beside those that the control plane asks for.
const AT_ONCE_MAX: usize = 4;
/// Reports that wait for the stream.
const WAITING_MAX: usize = 4;
/// What was told on a stream so shortly before it ended may have arrived nowhere: it is told once more on the next.
const UNSURE: Duration = Duration::from_secs(60);

/// What the control plane was told.
#[derive(Debug, Default)]
pub struct Catalog(Mutex<Telling>);

#[derive(Debug, Default)]
struct Telling {
    stream: Option<mpsc::Sender<CatalogReport>>,
    /// With when that was.
    told: HashMap<(ServerId, ItemKind), (Fingerprint, Instant)>,
    untold: HashSet<ServerId>,
}

/// One list, to be told, with what is remembered of it once it was.
struct News {
    server: ServerId,
    kind: ItemKind,
    fingerprint: Fingerprint,
    /// Whether it was read before and is another by now.
    is_other: bool,
    report: CatalogReport,
}

/// What came of a reading: a report of each list that was read to its end, and what is wrong with the others.
#[derive(Debug, Default)]
pub struct Answer {
    /// Everything that was read.
    pub reports: Vec<CatalogReport>,
    /// What, and why, for people; empty: nothing.
    pub failure: String,
}

/// What is to be told on a stream that has just been opened, as it comes; an earlier stream is told nothing more.
pub fn listen(gateway: &Gateway) -> mpsc::Receiver<CatalogReport> {
    let (stream, reports) = mpsc::channel(WAITING_MAX);
    let mut telling = gateway.catalog.telling();
    telling.stream = Some(stream);
    let unsure = telling.told.extract_if(|_, (_, at)| at.elapsed() < UNSURE).map(|((server, _), _)| server);
    let unsure: HashSet<ServerId> = unsure.collect();
    for server in std::mem::take(&mut telling.untold).union(&unsure).copied() {
        gateway.upstreams.observed().read_again(server);
    }
    reports
}

/// Reads a server because the control plane asks for it, with the question of this id.
pub async fn answer(gateway: &Arc<Gateway>, tenant: &Arc<Tenant>, server: &Arc<Server>, question: u64) -> Answer {
    let (news, failure) = read(gateway, tenant, server).await;
    for news in news.iter().filter(|news| news.is_other) {
        spread(gateway, tenant.id, news.server, news.kind);
    }
    let mut telling = gateway.catalog.telling();
    let reports = news.into_iter().map(|news| {
        telling.told.insert((news.server, news.kind), (news.fingerprint, Instant::now()));
        CatalogReport { question, ..news.report }
    });
    Answer { reports: reports.collect(), failure }
}

/// Reads servers whose offer may have changed, until `stopped`.
pub async fn follow(gateway: Arc<Gateway>, stopped: CancellationToken) {
    let mut announcements = gateway.store.announcements();
    let observed = gateway.upstreams.observed();
    let (mut turns, mut reading) = (Turns::default(), JoinSet::new());
    loop {
        let free = AT_ONCE_MAX - reading.len();
        for server in turns.take(Instant::now(), free) {
            reading.spawn(read_again(Arc::clone(&gateway), server));
        }
        tokio::select! {
            announcement = announcements.next() => {
                concerned(&gateway, &announcement).into_iter().for_each(|server| turns.want(server, Instant::now()));
            }
            unread = observed.unread() => unread.into_iter().for_each(|server| turns.want(server, Instant::now())),
            Some(_) = reading.join_next() => {}
            () = until(turns.next()), if reading.len() < AT_ONCE_MAX => {}
            () = stopped.cancelled() => return,
        }
    }
}

/// The servers whose offer may have changed, as far as anybody looks after it.
fn concerned(gateway: &Gateway, announcement: &Announcement) -> Vec<ServerId> {
    let snapshot = gateway.policies.load();
    let is_watched = |tenant: &Tenant, server: &Server| {
        tenant.book.has_catalog(&server.name) || gateway.upstreams.observed().has_read(server.id)
    };
    match announcement {
        Announcement::ListChanged { server, .. } | Announcement::OfferChanged { server, .. } => {
            let found = find(&snapshot, *server).filter(|(tenant, server)| is_watched(tenant, server));
            found.map(|(_, server)| server.id).into_iter().collect()
        }
        Announcement::Missed => {
            let of = |tenant| move |server| (tenant, server);
            let servers = snapshot.tenants().flat_map(|tenant| tenant.servers.values().map(of(tenant)));
            servers.filter(|(tenant, server)| is_watched(tenant, server)).map(|(_, server)| server.id).collect()
        }
        Announcement::SessionChanged { .. } | Announcement::Heard { .. } => Vec::new(),
    }
}

async fn read_again(gateway: Arc<Gateway>, server: ServerId) {
    let snapshot = gateway.policies.load();
    let Some((tenant, server)) = find(&snapshot, server) else { return };
    let (news, failure) = read(&gateway, tenant, server).await;
    if !failure.is_empty() {
        tracing::warn!(server = %server.name, %failure, "what a server offers could not be read whole");
    }
    for news in news {
        gateway.catalog.tell(news).await;
    }
}

/// Reads a server, once nobody else does. What it says counts from now on.
async fn read(gateway: &Arc<Gateway>, tenant: &Arc<Tenant>, server: &Arc<Server>) -> (Vec<News>, String) {
    let observed = gateway.upstreams.observed();
    let reading = observed.begin_reading(server.id).await;
    let offer = offer::read(gateway, tenant, server).await;
    let mut news = Vec::new();
    for list in offer.lists {
        let section = section(tenant, server, list.kind);
        if !list.is_whole {
            observed.note(server.id, list.kind, &list.items, &section);
            continue;
        }
        let (fingerprint, before) = reading.note_whole(list.kind, &list.items, &section);
        if before != Some(fingerprint) {
            forget_kept(gateway, server.id, list.kind);
        }
        let is_other = before.is_some_and(|before| before != fingerprint);
        let report = CatalogReport {
            tenant_id: tenant.id.to_string(),
            server_id: server.id.to_string(),
            kind: list.kind.into(),
            definitions: list.items.iter().map(|item| item.as_bytes().to_vec()).collect(),
            question: 0,
        };
        news.push(News { server: server.id, kind: list.kind, fingerprint, is_other, report });
    }
    let faults: Vec<String> = offer.faults.iter().map(ToString::to_string).collect();
    (news, faults.join("; "))
}

/// What the policy knows of a server's items of this kind.
pub(crate) fn section<'a>(tenant: &'a Tenant, server: &Server, kind: ItemKind) -> Section<'a> {
    let kind = match kind {
        ItemKind::Tool => Kind::Tool,
        ItemKind::Prompt => Kind::Prompt,
        ItemKind::Resource => Kind::Resource,
        ItemKind::ResourceTemplate => Kind::Template,
        ItemKind::Unspecified => Kind::Other,
    };
    tenant.book.section(&server.name, kind)
}

/// A list has something that was not known: what was kept of it is stale, and every data plane reads the server.
pub(crate) fn spread(gateway: &Arc<Gateway>, tenant: TenantId, server: ServerId, kind: ItemKind) {
    forget_kept(gateway, server, kind);
    let gateway = Arc::clone(gateway);
    tokio::spawn(async move {
        // This data plane hears it in any case.
        if let Err(error) = gateway.store.announce(Announcement::OfferChanged { tenant, server }).await {
            tracing::warn!(%error, "other data planes were not told that a server offers something else");
        }
    });
}

/// What was kept of a list that is another by now.
fn forget_kept(gateway: &Gateway, server: ServerId, kind: ItemKind) {
    let list = match kind {
        ItemKind::Unspecified => return,
        ItemKind::Tool => ChangedList::Tools,
        ItemKind::Prompt => ChangedList::Prompts,
        ItemKind::Resource | ItemKind::ResourceTemplate => ChangedList::Resources,
    };
    gateway.upstreams.offers().changed(server, list);
}

fn find(snapshot: &Snapshot, id: ServerId) -> Option<(&Arc<Tenant>, &Arc<Server>)> {
    snapshot.tenants().find_map(|tenant| {
        let server = tenant.servers.values().find(|server| server.id == id)?;
        Some((tenant, server))
    })
}

impl Catalog {
    /// Tells what was not told before.
    async fn tell(&self, news: News) {
        let key = (news.server, news.kind);
        let stream = {
            let telling = self.telling();
            if telling.told.get(&key).is_some_and(|(told, _)| *told == news.fingerprint) {
                return;
            }
            telling.stream.clone()
        };
        let is_told = match stream {
            Some(stream) => stream.send(news.report).await.is_ok(),
            None => false,
        };
        let mut telling = self.telling();
        if is_told {
            telling.told.insert(key, (news.fingerprint, Instant::now()));
        } else {
            telling.untold.insert(news.server);
        }
    }

    fn telling(&self) -> MutexGuard<'_, Telling> {
        // Every change is one insertion or removal: whole after a panic elsewhere.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
