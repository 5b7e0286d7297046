use std::fs;

use futures_util::FutureExt as _;
use prost::Message as _;
use tokio::runtime::{Builder, Runtime};
use tollgate_proto::{
    TenantId,
    policy::v1::{
        Question, Synced, TenantPolicy, TenantRemoved, watch_request::Message as Say, watch_response::Message as Hear,
    },
};
use uuid::Uuid;

use super::*;
use crate::policy::tests::{NOW, dir, facts, open, policy, revoked};

const HEARTBEAT: Hear = Hear::Heartbeat(Heartbeat { lease_ms: 3_600_000, data_planes: 1 });

/// A data plane's side of one stream, without the stream.
struct Side {
    runtime: Runtime,
    policies: Arc<Policies>,
    line: Line,
}

impl Side {
    fn new(dir: &std::path::Path) -> Self {
        let policies = Arc::new(open(dir, NOW));
        let runtime = Builder::new_current_thread().build().unwrap();
        Self { runtime, line: Line::new(Arc::clone(&policies)), policies }
    }

    fn hear(&mut self, message: Hear) -> Option<Say> {
        receive(message, &self.policies, &mut self.line)
    }

    /// What comes out of the line next.
    fn next(&mut self) -> Outcome {
        self.runtime.block_on(self.line.next())
    }

    /// Whether nothing does for now; what is first in the line has begun.
    fn waits(&mut self) -> bool {
        self.runtime.block_on(async { self.line.next().now_or_never().is_none() })
    }

    fn begin(&mut self) {
        self.runtime.block_on(self.line.begin());
    }

    fn in_force(&self) -> Vec<u64> {
        self.policies.load().tenants().map(|tenant| tenant.revision).collect()
    }
}

fn sent(policy: &TenantPolicy) -> Hear {
    Hear::Policy(policy.encode_to_vec().into())
}

#[test]
fn revocations_and_heartbeats_wait_for_no_policy_that_is_being_read() {
    let (dir, tenant, jti) = (dir("overtaken"), TenantId::new(), Uuid::now_v7());
    let mut side = Side::new(&dir);
    side.hear(Hear::Synced(Synced::default()));
    assert!(side.waits() && side.policies.is_synced());

    let policies = Arc::clone(&side.policies);
    let changing = policies.withdrawn();
    assert_eq!(side.hear(sent(&policy(tenant, 5))), None);
    assert!(side.waits());
    let applied = RevocationsApplied { tenant_id: tenant.to_string(), revision: 1 };
    let confirmed = side.hear(Hear::Revocations(revoked(tenant, 1, jti)));
    assert_eq!(confirmed, Some(Say::RevocationsApplied(applied)));
    assert!(policies.is_revoked(tenant, &facts(jti)));
    assert_eq!(side.hear(HEARTBEAT), None);
    assert!(policies.freshness().is_current());
    assert!(side.waits() && side.in_force().is_empty(), "what is not in force is not acknowledged");
    drop(changing);

    assert!(matches!(side.next(), Outcome::Say(Say::Ack(ack)) if ack.revision == 5));
    assert_eq!(side.in_force(), [5]);
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn everything_else_is_done_in_the_order_in_which_it_came() {
    let (dir, kept, gone) = (dir("order"), TenantId::new(), TenantId::new());
    let mut side = Side::new(&dir);
    let question = Question { id: 1, ..Question::default() };
    for message in [
        sent(&policy(gone, 3)),
        sent(&policy(kept, 5)),
        sent(&TenantPolicy { jwks: String::new(), ..policy(kept, 6) }),
        Hear::Removed(TenantRemoved { tenant_id: gone.to_string() }),
        Hear::Question(question),
        sent(&policy(kept, 7)),
        Hear::Synced(Synced::default()),
        HEARTBEAT,
    ] {
        assert_eq!(side.hear(message), None);
    }
    assert!(matches!(side.next(), Outcome::Say(Say::Ack(ack)) if ack.revision == 3));
    assert!(matches!(side.next(), Outcome::Say(Say::Ack(ack)) if ack.revision == 5));
    assert!(matches!(side.next(), Outcome::Say(Say::Nack(nack)) if nack.revision == 6));
    assert!(matches!(side.next(), Outcome::Ask(question) if question.id == 1));
    assert_eq!(side.in_force(), [5], "it is asked about what came before, without the tenant that is gone");
    assert!(matches!(side.next(), Outcome::Say(Say::Ack(ack)) if ack.revision == 7));
    assert!(!side.policies.is_synced() && !side.policies.freshness().is_current());
    assert!(side.waits());
    assert!(side.policies.is_synced() && side.policies.freshness().is_current());
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn nothing_of_a_stream_comes_into_force_once_the_next_one_has_begun() {
    let (dir, tenant) = (dir("streams"), TenantId::new());
    let mut side = Side::new(&dir);
    side.hear(sent(&policy(tenant, 5)));
    side.hear(sent(&policy(tenant, 6)));
    side.hear(Hear::Synced(Synced::default()));
    assert!(side.waits());
    side.begin();
    assert_eq!(side.in_force(), [5], "what had begun is in force before the next hello says what is");
    assert!(side.waits() && !side.policies.is_synced());
    assert_eq!(side.in_force(), [5]);
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_policy_that_cannot_be_read_ends_the_stream_and_changes_nothing() {
    let (dir, tenant) = (dir("unreadable"), TenantId::new());
    let mut side = Side::new(&dir);
    side.hear(sent(&policy(tenant, 5)));
    side.hear(Hear::Policy(policy(tenant, 6).encode_to_vec()[1..].to_vec().into()));
    assert!(matches!(side.next(), Outcome::Say(Say::Ack(ack)) if ack.revision == 5));
    assert!(matches!(side.next(), Outcome::Unreadable(_)));
    assert_eq!(side.in_force(), [5]);
    fs::remove_dir_all(dir).unwrap();
}
