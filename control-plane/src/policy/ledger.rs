//! What one data plane holds, what it was sent, and what it has not answered yet.
//!
//! Invariant: of each tenant at most one policy is under way; when it is answered, the newest one follows, however
//! many there were in between. Of all tenants together no policy is sent while [`UNDER_WAY_BYTES`] are: what has to
//! overtake them does not wait behind more.

use std::collections::{BTreeMap, BTreeSet};

use tollgate_proto::{
    IdError, TenantId,
    policy::v1::{Held, TenantPolicy, TenantRemoved, watch_response::Message},
};

use super::known::{Known, Published};

/// Little enough to be sent at once, and many policies of the usual size.
const UNDER_WAY_BYTES: usize = 1 << 20;

/// A policy's identity. Revisions of another epoch do not compare, and a digest tells what was compiled differently
/// (another base URL, a newer version) from the same rows.
#[derive(Debug, PartialEq, Eq)]
struct Version {
    epoch: String,
    revision: u64,
    digest: String,
}

impl Version {
    fn of(policy: &TenantPolicy) -> Self {
        Self { epoch: policy.epoch.clone(), revision: policy.revision, digest: policy.digest.clone() }
    }

    fn is(&self, policy: &TenantPolicy) -> bool {
        self.revision == policy.revision && self.digest == policy.digest && self.epoch == policy.epoch
    }
}

#[derive(Debug)]
struct Entry {
    /// What was sent last, or held at the hello.
    version: Version,
    answered: bool,
    /// Of the policy, while it is not answered.
    bytes: usize,
}

/// The state of one stream.
#[derive(Debug)]
pub(super) struct Ledger {
    entries: BTreeMap<TenantId, Entry>,
    /// Tenants to send, each at most once.
    due: BTreeSet<TenantId>,
    /// Of what is not answered.
    under_way: usize,
}

impl Ledger {
    /// Starts from what the data plane says that it holds.
    pub(super) fn new(epoch: &str, held: Vec<Held>) -> Result<Self, IdError> {
        let entry = |held: Held| {
            let version = Version { epoch: epoch.to_owned(), revision: held.revision, digest: held.digest };
            Ok((held.tenant_id.parse()?, Entry { version, answered: true, bytes: 0 }))
        };
        let entries = held.into_iter().map(entry).collect::<Result<_, _>>()?;
        Ok(Self { entries, due: BTreeSet::new(), under_way: 0 })
    }

    /// Tenants that the data plane holds at the revision that is known: as good as acknowledged.
    pub(super) fn held(&self, known: &Known) -> Vec<(TenantId, u64)> {
        known
            .policies()
            .filter(|(tenant, policy)| self.entries.get(tenant).is_some_and(|entry| entry.version.is(policy)))
            .map(|(tenant, policy)| (tenant, policy.revision))
            .collect()
    }

    /// Finds what has to be sent, after a change.
    pub(super) fn compare(&mut self, known: &Known) {
        let removed = self.entries.keys().filter(|tenant| !known.exists(**tenant)).copied();
        let changed = known.policies().map(|(tenant, _)| tenant).filter(|tenant| self.is_due(known, *tenant));
        self.due = removed.chain(changed).collect();
    }

    /// Whether nothing has to be sent.
    pub(super) fn is_settled(&self) -> bool {
        self.due.is_empty()
    }

    /// Whether something can be sent now.
    pub(super) fn has_next(&self) -> bool {
        !self.due.is_empty() && self.under_way < UNDER_WAY_BYTES
    }

    /// Takes what is to be sent next, of which tenant, at its newest.
    pub(super) fn next(&mut self, known: &Known) -> Option<(TenantId, Message)> {
        while self.has_next() {
            let tenant = self.due.pop_first()?;
            if !known.exists(tenant)
                && let Some(entry) = self.entries.remove(&tenant)
            {
                self.under_way -= entry.bytes;
                return Some((tenant, Message::Removed(TenantRemoved { tenant_id: tenant.to_string() })));
            }
            if let Some(Published { policy, encoded }) = known.published(tenant).filter(|_| self.is_due(known, tenant))
            {
                let bytes = encoded.len();
                self.entries.insert(tenant, Entry { version: Version::of(policy), answered: false, bytes });
                self.under_way += bytes;
                return Some((tenant, Message::Policy(encoded.clone())));
            }
        }
        None
    }

    /// Notes an answer; false when it answers nothing that is under way.
    pub(super) fn answer(&mut self, known: &Known, tenant: TenantId, revision: u64) -> bool {
        let under_way = |entry: &&mut Entry| !entry.answered && entry.version.revision == revision;
        let Some(entry) = self.entries.get_mut(&tenant).filter(under_way) else { return false };
        entry.answered = true;
        self.under_way -= std::mem::take(&mut entry.bytes);
        if self.is_due(known, tenant) {
            self.due.insert(tenant);
        }
        true
    }

    fn is_due(&self, known: &Known, tenant: TenantId) -> bool {
        known.policy(tenant).is_some_and(|policy| {
            self.entries.get(&tenant).is_none_or(|entry| entry.answered && !entry.version.is(policy))
        })
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    fn policy(revision: u64) -> TenantPolicy {
        TenantPolicy {
            epoch: "e".to_owned(),
            revision,
            digest: format!("digest of {revision}"),
            ..TenantPolicy::default()
        }
    }

    fn known(tenant: TenantId, revision: u64) -> Known {
        Known::of("e", [(tenant, policy(revision))])
    }

    fn held(tenant: TenantId, revision: u64) -> Vec<Held> {
        vec![Held { tenant_id: tenant.to_string(), revision, digest: policy(revision).digest }]
    }

    fn sent(message: Option<(TenantId, Message)>) -> u64 {
        match message {
            Some((_, Message::Policy(policy))) => TenantPolicy::decode(policy).expect("a policy").revision,
            other => panic!("not a policy: {other:?}"),
        }
    }

    #[test]
    fn changes_during_an_update_become_one_update_of_the_newest() {
        let tenant = TenantId::new();
        let mut ledger = Ledger::new("", Vec::new()).expect("no ids in it");
        ledger.compare(&known(tenant, 1));
        assert_eq!(sent(ledger.next(&known(tenant, 1))), 1);
        for revision in 2..=4 {
            ledger.compare(&known(tenant, revision));
            assert!(ledger.is_settled(), "revision {revision} waits for the answer");
        }
        assert!(ledger.answer(&known(tenant, 4), tenant, 1));
        assert_eq!(sent(ledger.next(&known(tenant, 4))), 4);
        assert!(ledger.next(&known(tenant, 4)).is_none());
    }

    #[test]
    fn what_is_due_is_sent_at_its_newest() {
        let tenant = TenantId::new();
        let mut ledger = Ledger::new("", Vec::new()).expect("no ids in it");
        ledger.compare(&known(tenant, 1));
        assert_eq!(sent(ledger.next(&known(tenant, 2))), 2);
    }

    #[test]
    fn what_is_held_is_not_sent_unless_its_epoch_or_digest_differs() {
        let tenant = TenantId::new();
        let known = known(tenant, 3);
        let mut same = Ledger::new("e", held(tenant, 3)).expect("ids");
        assert_eq!(same.held(&known), [(tenant, 3)]);
        same.compare(&known);
        assert!(same.is_settled());

        let mut other_epoch = Ledger::new("before the restore", held(tenant, 3)).expect("ids");
        other_epoch.compare(&known);
        assert_eq!(sent(other_epoch.next(&known)), 3);

        let mut held = held(tenant, 3);
        held[0].digest = "another".to_owned();
        let mut other_digest = Ledger::new("e", held).expect("ids");
        assert!(other_digest.held(&known).is_empty());
        other_digest.compare(&known);
        assert_eq!(sent(other_digest.next(&known)), 3);
    }

    #[test]
    fn an_answer_to_something_else_is_none() {
        let tenant = TenantId::new();
        let known = known(tenant, 2);
        let mut ledger = Ledger::new("e", held(tenant, 1)).expect("ids");
        ledger.compare(&known);
        assert!(!ledger.answer(&known, tenant, 1), "nothing is under way yet");
        assert_eq!(sent(ledger.next(&known)), 2);
        assert!(!ledger.answer(&known, tenant, 1));
        assert!(!ledger.answer(&known, TenantId::new(), 2));
        assert!(ledger.answer(&known, tenant, 2));
        assert!(!ledger.answer(&known, tenant, 2), "answered already");
        assert!(ledger.is_settled());
    }

    #[test]
    fn a_tenant_that_is_gone_is_removed_once() {
        let tenant = TenantId::new();
        let empty = Known::of("e", []);
        let mut ledger = Ledger::new("e", held(tenant, 1)).expect("ids");
        ledger.compare(&empty);
        assert!(
            matches!(ledger.next(&empty), Some((_, Message::Removed(removed))) if removed.tenant_id == tenant.to_string())
        );
        ledger.compare(&empty);
        assert!(ledger.is_settled());
    }
}
