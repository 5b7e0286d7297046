//! Documents that are being fetched: one at a time per tenant and URL, and so many a minute per tenant and site.
//!
//! Invariant: both tables are bounded; what ended is dropped, and an outcome lives only as long as someone waits for
//! it, so that no failure is remembered. Documents that were never seen take nothing from those that are known, nor one
//! tenant from another.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::OnceCell;
use tollgate_proto::TenantId;

use super::{DocumentError, DocumentUrl};
use crate::oauth::redirect_uri;

const ASKED_MAX: u32 = 60;
const WINDOW: Duration = Duration::from_secs(60);
const SITES_MAX: usize = 10_000;

type Flight = Arc<OnceCell<Result<(), DocumentError>>>;

/// What this process is fetching, and how often it asked whom.
#[derive(Debug, Default)]
pub struct ClientDocuments {
    flights: Mutex<HashMap<(TenantId, String), Flight>>,
    asked: Mutex<HashMap<Site, Asked>>,
}

/// Whose documents a tenant asks for: everything below a name that somebody registered is one site.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Site {
    tenant: TenantId,
    domain: String,
    is_known: bool,
}

impl Site {
    /// `is_known` says whether the tenant has an agent of the very document.
    pub(super) fn new(tenant: TenantId, host: &str, is_known: bool) -> Self {
        Self { tenant, domain: redirect_uri::registrable_domain(host).to_owned(), is_known }
    }
}

#[derive(Debug, Clone, Copy)]
struct Asked {
    times: u32,
    ends_at: Instant,
}

impl ClientDocuments {
    /// Does `work`, or waits for someone who is at it and takes their outcome. When that one goes away, another who
    /// waits begins anew.
    pub(super) async fn once<F: Future<Output = Result<(), DocumentError>>>(
        &self,
        tenant: TenantId,
        url: &DocumentUrl,
        work: impl FnOnce() -> F,
    ) -> Result<(), DocumentError> {
        let key = (tenant, url.as_str().to_owned());
        let flight = Arc::clone(self.flights().entry(key.clone()).or_default());
        let outcome = flight.get_or_init(work).await.clone();
        let mut flights = self.flights();
        // Whoever comes next starts another one.
        if flights.get(&key).is_some_and(|current| Arc::ptr_eq(current, &flight)) {
            flights.remove(&key);
        }
        outcome
    }

    /// Whether the site may be asked once more this minute; counts it.
    pub(super) fn may_ask(&self, site: Site) -> bool {
        self.may_ask_at(site, Instant::now())
    }

    fn may_ask_at(&self, site: Site, now: Instant) -> bool {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.len() >= SITES_MAX && !asked.contains_key(&site) {
            asked.retain(|_, count| count.ends_at > now);
            if asked.len() >= SITES_MAX {
                // Agents that exist are bounded by themselves: theirs are not given up for those of strangers.
                return site.is_known;
            }
        }
        let count = asked.entry(site).or_insert(Asked { times: 0, ends_at: now + WINDOW });
        if count.ends_at <= now {
            *count = Asked { times: 0, ends_at: now + WINDOW };
        }
        count.times += 1;
        count.times <= ASKED_MAX
    }

    fn flights(&self) -> std::sync::MutexGuard<'_, HashMap<(TenantId, String), Flight>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_is_asked_so_often_a_minute_and_no_more() {
        let (documents, start, tenant) = (ClientDocuments::default(), Instant::now(), TenantId::new());
        let unknown = |host: &str| Site::new(tenant, host, false);
        for number in 0..ASKED_MAX {
            assert!(documents.may_ask_at(unknown(&format!("{number}.a.example")), start));
        }
        assert!(!documents.may_ask_at(unknown("a.example"), start), "every name below it is the same site");
        assert!(documents.may_ask_at(unknown("b.example"), start), "another site");
        assert!(documents.may_ask_at(Site::new(tenant, "a.example", true), start), "a document that is known");
        assert!(documents.may_ask_at(Site::new(TenantId::new(), "a.example", false), start), "another tenant");
        assert!(documents.may_ask_at(unknown("a.example"), start + WINDOW), "another minute");
    }

    #[test]
    fn a_flood_of_sites_neither_grows_the_table_nor_shuts_out_who_is_known() {
        let (documents, start, tenant) = (ClientDocuments::default(), Instant::now(), TenantId::new());
        for number in 0..SITES_MAX + 50 {
            documents.may_ask_at(Site::new(tenant, &format!("{number}.example"), false), start);
        }
        assert_eq!(documents.asked.lock().expect("not poisoned").len(), SITES_MAX);
        let late = |is_known| Site::new(tenant, "late.example", is_known);
        assert!(!documents.may_ask_at(late(false), start));
        assert!(documents.may_ask_at(late(true), start));
        assert!(documents.may_ask_at(late(false), start + WINDOW), "room is made when the minute is over");
    }

    #[tokio::test]
    async fn an_outcome_is_shared_by_all_who_wait_and_by_nobody_after() {
        let (documents, ran) = (ClientDocuments::default(), std::cell::Cell::new(0));
        let url = DocumentUrl::parse("https://a.example/c").expect("a URL");
        let tenant = TenantId::new();
        let fail = async || {
            documents
                .once(tenant, &url, || async {
                    ran.set(ran.get() + 1);
                    tokio::task::yield_now().await;
                    Err(DocumentError::Off)
                })
                .await
        };
        let (first, second) = tokio::join!(fail(), fail());
        assert!(first.is_err() && second.is_err());
        assert_eq!(ran.get(), 1);
        assert!(fail().await.is_err());
        assert_eq!(ran.get(), 2, "a failure is not remembered");
        assert!(documents.flights().is_empty());
    }

    #[tokio::test]
    async fn whoever_waits_goes_on_when_the_first_one_leaves() {
        let documents = ClientDocuments::default();
        let url = DocumentUrl::parse("https://a.example/c").expect("a URL");
        let tenant = TenantId::new();
        {
            let stuck = documents.once(tenant, &url, std::future::pending);
            tokio::pin!(stuck);
            assert!(futures_util::poll!(stuck).is_pending());
        }
        documents.once(tenant, &url, async || Ok(())).await.expect("the second one finished");
        assert!(documents.flights().is_empty());
    }
}
