//! The live revocations of one tenant, in memory for all streams, and what one stream was told of them.
//!
//! Invariant: a stream is told in the order of the revocations' numbers and without gaps, so that the number of a
//! message says everything that was told before it.

use std::collections::{BTreeMap, BTreeSet};

use tollgate_proto::{
    IdError, TenantId,
    policy::v1::{Revocation, Revocations, RevocationsApplied},
};

use super::known::Known;

/// A message stays far below what gRPC takes by default, however much was revoked.
const ENTRIES_AT_ONCE: usize = 10_000;

/// What a tenant has revoked and is not over yet.
#[derive(Debug, Default)]
pub struct Live {
    /// Of the newest revocation, live or not.
    revision: u64,
    /// By their number.
    entries: BTreeMap<u64, Revocation>,
}

impl Live {
    /// The number of the newest revocation.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// Takes in what was revoked since, up to `revision`.
    pub(super) fn extend(&mut self, revision: u64, entries: Vec<(u64, Revocation)>) {
        self.revision = entries.last().map_or(revision, |(last, _)| revision.max(*last));
        self.entries.extend(entries);
    }

    /// Drops what speaks of nothing any more at `now`, in Unix seconds.
    pub(super) fn forget_expired(&mut self, now: i64) {
        self.entries.retain(|_, revocation| revocation.expires_at > now);
    }

    /// The next message for somebody who was told up to `told`, or nothing.
    fn after(&self, tenant: TenantId, told: Option<u64>) -> Revocations {
        let mut entries = self.entries.range(told.map_or(0, |told| told + 1)..);
        let mut message = Revocations {
            tenant_id: tenant.to_string(),
            revision: self.revision,
            complete: told.is_none(),
            entries: Vec::new(),
        };
        for (revision, revocation) in entries.by_ref().take(ENTRIES_AT_ONCE) {
            message.entries.push(revocation.clone());
            message.revision = *revision;
        }
        if entries.next().is_none() {
            message.revision = self.revision;
        }
        message
    }
}

/// How much one stream was told, by tenant.
#[derive(Debug)]
pub(super) struct Told {
    by_tenant: BTreeMap<TenantId, Mark>,
    /// Tenants with more to tell.
    due: BTreeSet<TenantId>,
}

#[derive(Debug)]
struct Mark {
    /// Numbers of another epoch do not compare.
    epoch: String,
    revision: u64,
}

impl Told {
    /// Starts from what the data plane says that it has applied.
    pub(super) fn new(epoch: &str, applied: &[RevocationsApplied]) -> Result<Self, IdError> {
        let mark = |applied: &RevocationsApplied| {
            Ok((applied.tenant_id.parse()?, Mark { epoch: epoch.to_owned(), revision: applied.revision }))
        };
        Ok(Self { by_tenant: applied.iter().map(mark).collect::<Result<_, _>>()?, due: BTreeSet::new() })
    }

    /// What the data plane has applied of what is known: numbers of another epoch are none.
    pub(super) fn held<'a>(&'a self, known: &'a Known) -> impl Iterator<Item = (TenantId, u64)> + 'a {
        let same = self.by_tenant.iter().filter(|(_, mark)| mark.epoch == known.epoch());
        same.map(|(tenant, mark)| (*tenant, mark.revision))
    }

    /// Finds what has to be told, after a change.
    pub(super) fn compare(&mut self, known: &Known) {
        self.by_tenant.retain(|tenant, _| known.exists(*tenant));
        self.due = known.live().filter(|(tenant, live)| self.is_due(known, *tenant, live)).map(|(id, _)| id).collect();
    }

    /// Whether nothing has to be told.
    pub(super) fn is_settled(&self) -> bool {
        self.due.is_empty()
    }

    /// Takes what is to be told next.
    pub(super) fn next(&mut self, known: &Known) -> Option<Revocations> {
        loop {
            let tenant = *self.due.first()?;
            let due = known.live_of(tenant).filter(|live| self.is_due(known, tenant, live));
            let Some(live) = due else {
                self.due.remove(&tenant);
                continue;
            };
            let message = live.after(tenant, self.mark(known, tenant));
            let mark = Mark { epoch: known.epoch().to_owned(), revision: message.revision };
            self.by_tenant.insert(tenant, mark);
            return Some(message);
        }
    }

    /// Somebody who knows more than this process heard it from another one, which saw the database later.
    fn is_due(&self, known: &Known, tenant: TenantId, live: &Live) -> bool {
        self.mark(known, tenant).is_none_or(|told| told < live.revision)
    }

    fn mark(&self, known: &Known, tenant: TenantId) -> Option<u64> {
        self.by_tenant.get(&tenant).filter(|mark| mark.epoch == known.epoch()).map(|mark| mark.revision)
    }
}

#[cfg(test)]
mod tests {
    use tollgate_proto::policy::v1::revocation::What;

    use super::*;

    fn revoked(revision: u64, expires_at: i64) -> (u64, Revocation) {
        (revision, Revocation { what: Some(What::Key(format!("k{revision}"))), issued_before: 0, expires_at })
    }

    fn live(revisions: impl IntoIterator<Item = u64>) -> Live {
        let mut live = Live::default();
        live.extend(0, revisions.into_iter().map(|revision| revoked(revision, 100)).collect());
        live
    }

    fn known(epoch: &str, tenant: TenantId, live: Live) -> Known {
        Known::of(epoch, []).with_live(tenant, live)
    }

    fn told(epoch: &str, tenant: TenantId, revision: u64) -> Told {
        Told::new(epoch, &[RevocationsApplied { tenant_id: tenant.to_string(), revision }]).expect("an id")
    }

    fn next(told: &mut Told, known: &Known) -> (bool, u64, usize) {
        told.compare(known);
        let message = told.next(known).expect("something to tell");
        (message.complete, message.revision, message.entries.len())
    }

    #[test]
    fn who_holds_none_is_told_all_even_when_there_are_none() {
        let tenant = TenantId::new();
        let mut nobody = Told::new("", &[]).expect("no ids");
        assert_eq!(next(&mut nobody, &known("e", tenant, live([3, 5]))), (true, 5, 2));
        assert!(nobody.next(&known("e", tenant, live([3, 5]))).is_none());
        assert_eq!(next(&mut Told::new("", &[]).expect("no ids"), &known("e", tenant, Live::default())), (true, 0, 0));
    }

    #[test]
    fn who_holds_some_is_told_what_came_later() {
        let tenant = TenantId::new();
        let known = known("e", tenant, live([3, 5, 8]));
        assert_eq!(next(&mut told("e", tenant, 4), &known), (false, 8, 2));
        let mut all = told("e", tenant, 8);
        all.compare(&known);
        assert!(all.is_settled());
    }

    #[test]
    fn numbers_of_another_epoch_count_for_nothing() {
        let tenant = TenantId::new();
        let known = known("after the restore", tenant, live([1]));
        let mut before = told("before", tenant, 9);
        assert_eq!(before.held(&known).count(), 0);
        assert_eq!(next(&mut before, &known), (true, 1, 1));
    }

    #[test]
    fn who_knows_more_is_told_nothing_and_loses_nothing() {
        let tenant = TenantId::new();
        let mut ahead = told("e", tenant, 9);
        ahead.compare(&known("e", tenant, live([1, 2])));
        assert!(ahead.is_settled());
    }

    #[test]
    fn many_are_told_in_parts_whose_numbers_cover_everything_before_them() {
        let tenant = TenantId::new();
        let known = known("e", tenant, live(1..=25_000));
        let mut nobody = Told::new("", &[]).expect("no ids");
        assert_eq!(next(&mut nobody, &known), (true, 10_000, 10_000));
        assert_eq!(next(&mut nobody, &known), (false, 20_000, 10_000));
        assert_eq!(next(&mut nobody, &known), (false, 25_000, 5_000));
        assert!(nobody.next(&known).is_none());
    }

    #[test]
    fn what_has_expired_is_forgotten_and_its_number_kept() {
        let mut live = Live::default();
        live.extend(2, vec![revoked(1, 10), revoked(2, 20)]);
        live.forget_expired(15);
        let all = live.after(TenantId::new(), None);
        assert_eq!((all.revision, all.entries.len()), (2, 1));
        live.forget_expired(20);
        assert_eq!((live.revision(), live.after(TenantId::new(), Some(0)).entries.len()), (2, 0));
    }
}
