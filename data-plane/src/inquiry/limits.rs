//! How much of limits is used.
//!
//! Invariant: looking at a limit charges nothing, and however many are asked for, the store looks at few of them at once:
//! calls wait for no more than that.

use std::collections::HashSet;

use tollgate_proto::{
    IdError, LimitId,
    policy::v1::{LimitUse, LimitUses},
};

use super::Unanswered;
use crate::{
    counters,
    gateway::Gateway,
    policy::{Limit, Tenant},
    store::{Class, Look, Meter, RingKey, Seen},
};

/// Limits in one answer.
const LIMITS_MAX: usize = 500;
/// Limits that one function of the store looks at.
const LOOKED_AT_ONCE: usize = 32;

/// What counts towards those of these limits that the policy has.
pub(super) async fn uses(gateway: &Gateway, tenant: &Tenant, asked: &[String]) -> Result<LimitUses, Unanswered> {
    let ids = asked.iter().take(LIMITS_MAX).map(|id| id.parse()).collect::<Result<HashSet<LimitId>, IdError>>();
    let ids = ids.map_err(|_| Unanswered::NotUnderstood)?;
    let limits: Vec<&Limit> = tenant.limits.all().filter(|limit| ids.contains(&limit.id)).collect();
    let mut answer = LimitUses::default();
    for limits in limits.chunks(LOOKED_AT_ONCE) {
        let seen = gateway.store.look(tenant.id, &look_at(limits)).await?;
        answer.store = seen.store.to_string();
        answer.uses.extend(read(limits, seen));
    }
    Ok(answer)
}

/// Of each limit calls, lists, tokens and running calls, in this order, as far as it limits them.
fn look_at(limits: &[&Limit]) -> Look {
    let rings = limits.iter().flat_map(|limit| {
        let classes = [Class::Executing, Class::Discovery];
        let requests = limit.requests.map(|rate| classes.map(|class| (Meter::Requests(class), rate)));
        let tokens = limit.tokens.map(|rate| (Meter::Tokens, rate));
        let all = requests.into_iter().flatten().chain(tokens);
        all.map(|(meter, rate)| (RingKey { limit: limit.id, meter }, counters::window_s(limit, rate)))
    });
    let running = limits.iter().filter(|limit| limit.concurrency.is_some()).map(|limit| limit.id);
    Look { rings: rings.collect(), running: running.collect() }
}

fn read(limits: &[&Limit], seen: Seen) -> Vec<LimitUse> {
    let (mut rings, mut running) = (seen.rings.into_iter(), seen.running.into_iter());
    let used = |limit: &&Limit| LimitUse {
        limit_id: limit.id.to_string(),
        calls: limit.requests.and_then(|_| rings.next()),
        lists: limit.requests.and_then(|_| rings.next()),
        tokens: limit.tokens.and_then(|_| rings.next()),
        running: limit.concurrency.and_then(|_| running.next()),
    };
    limits.iter().map(used).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tollgate_proto::{
        AgentId, CallId, TeamId, TenantId,
        policy::v1::{
            self as wire, InspectLimits, Question, Reply, TenantPolicy, question::What, watch_request::Message,
        },
    };
    use uuid::Uuid;

    use super::*;
    use crate::{
        gateway::testing::gateway_in,
        inquiry,
        metering::{self, TokenCount},
        policy::Party,
        stage::admit::demand,
        store::{Owner, Verdict},
    };

    /// A gateway with a tenant that has these limits.
    fn gateway(tenant: TenantId, limits: Vec<wire::Limit>) -> Arc<Gateway> {
        let dir = std::env::temp_dir().join(format!("tollgate-inquiry-{}", Uuid::now_v7()));
        let gateway = gateway_in(&dir, metering::Meter::new(TokenCount::Estimate));
        let policy = TenantPolicy {
            tenant_id: tenant.to_string(),
            tenant: "acme".to_owned(),
            revision: 1,
            jwks: r#"{"keys":[]}"#.to_owned(),
            limits,
            ..TenantPolicy::default()
        };
        gateway.policies.put(&policy).unwrap();
        gateway
    }

    fn limit(name: &str, agent: AgentId) -> wire::Limit {
        wire::Limit {
            id: LimitId::new().to_string(),
            name: name.to_owned(),
            on: Some(wire::limit::On::AgentId(agent.to_string())),
            requests: Some(wire::Rate { count: 10, window_s: 60 }),
            ..wire::Limit::default()
        }
    }

    async fn ask(gateway: &Arc<Gateway>, tenant: TenantId, ids: &[String]) -> Reply {
        let what = Some(What::InspectLimits(InspectLimits { ids: ids.to_vec() }));
        let question = Question { id: 7, tenant_id: tenant.to_string(), what };
        let mut answers = inquiry::answer(Arc::clone(gateway), question).await;
        let Some(Message::Reply(reply)) = answers.pop() else { panic!("a reply") };
        assert!(answers.is_empty());
        reply
    }

    #[tokio::test]
    async fn what_counts_towards_a_limit_is_told_and_asking_costs_nothing() {
        let (tenant, agent) = (TenantId::new(), AgentId::new());
        let tokens = Some(wire::Rate { count: 1_000, window_s: 3_600 });
        let all = wire::Limit { tokens, concurrency: 2, ..limit("all", agent) };
        let leased = wire::Limit { leased: true, ..limit("leased", agent) };
        let gateway = gateway(tenant, vec![all.clone(), leased.clone()]);
        let snapshot = gateway.policies.load();
        let known = snapshot.tenants().find(|known| known.id == tenant).unwrap();
        let party = Party { agent, user: None, team: TeamId::new(), server: None, tool: None };
        let limits: Vec<&Limit> = known.limits.on(&party).collect();
        let owner = Owner { tenant, agent, user: None };
        for (class, tokens) in [(Class::Executing, Some(40)), (Class::Executing, Some(2)), (Class::Discovery, None)] {
            let demand = demand::of(&limits, class, CallId::new(), tokens);
            let admission = gateway.store.admit(owner, None, &demand).await.unwrap();
            assert_eq!(admission.verdict, Verdict::Admitted);
        }
        let ids = [leased.id.clone(), all.id.clone(), LimitId::new().to_string()];
        for _ in 0..3 {
            let told = ask(&gateway, tenant, &ids).await.limit_uses.unwrap();
            let of = |id: &str| told.uses.iter().find(|told| told.limit_id == id).cloned().unwrap();
            let (calls, lists) = (Some(2), Some(1));
            let requests = LimitUse { limit_id: leased.id.clone(), calls, lists, ..LimitUse::default() };
            assert_eq!(of(&leased.id), requests);
            let everything = LimitUse { limit_id: all.id.clone(), tokens: Some(42), running: Some(2), ..requests };
            assert_eq!(of(&all.id), everything);
            assert_eq!(told.uses.len(), 2, "one is not known here");
            told.store.parse::<Uuid>().unwrap();
        }
        let nonsense = ask(&gateway, tenant, &["calm".to_owned()]).await;
        assert!(nonsense.failure.contains("cannot be read"), "{}", nonsense.failure);
        assert!(ask(&gateway, TenantId::new(), &ids).await.failure.contains("no policy of this tenant"));
    }
}
