//! What data planes are told of what is spent.

use chrono::Utc;
use sqlx::{Connection as _, Executor as _};
use tollgate_proto::{BudgetId, policy::v1::BudgetStates, usage::v1::UsageRecord};
use uuid::Uuid;

use super::*;
use crate::usage::testing::{call_at, deliver};

/// A tenant in which a call costs 0.25 EUR, with budgets on all of it, for a year, and on one agent, for a quarter.
struct Budgeted {
    tenant: TenantId,
    agent: AgentId,
    all: BudgetId,
    own: BudgetId,
}

impl Budgeted {
    async fn make(database: &Database) -> Self {
        let tenant = database.make_tenant("default").await;
        let made = Self { tenant, agent: AgentId::new(), all: BudgetId::new(), own: BudgetId::new() };
        let (tenant, agent, team) = (made.tenant.uuid(), made.agent.uuid(), Uuid::now_v7());
        let (all, own, book) = (made.all.uuid(), made.own.uuid(), Uuid::now_v7());
        let prices =
            r#"{"effective_from": "2026-01-01", "currency": "EUR", "prices": [{"match": "*", "per_call": "0.25"}]}"#;
        database
            .run(format!(
                "INSERT INTO teams (tenant_id, id, name, created_by) VALUES ('{tenant}', '{team}', 'platform', 'system');
                 INSERT INTO agents (tenant_id, id, name, team_id, created_by)
                     VALUES ('{tenant}', '{agent}', 'bot', '{team}', 'system');
                 INSERT INTO price_book_versions
                     (tenant_id, id, book_id, book, version, effective_from, spec, published_by)
                     VALUES ('{tenant}', '{book}', '{book}', 'standard', 1, '2026-01-01Z', '{prices}', 'system');
                 INSERT INTO budgets (tenant_id, id, name, agent_id, whole_tenant, period, amount, currency, hard, created_by)
                     VALUES ('{tenant}', '{all}', 'all', NULL, true, 'year', 10, 'EUR', true, 'system'),
                            ('{tenant}', '{own}', 'own', '{agent}', false, 'quarter', 5, 'EUR', true, 'system');"
            ))
            .await;
        made
    }

    async fn spend(&self, control_plane: &ControlPlane, agent: AgentId) {
        let call = UsageRecord { agent_id: agent.to_string(), ..call_at(self.tenant, Utc::now()) };
        deliver(&control_plane.app, [call]).await;
    }

    /// What is spent of each budget that the message names: of all of the tenant, and of the agent.
    fn spent(&self, told: &BudgetStates) -> [Option<String>; 2] {
        assert_eq!(told.tenant_id, self.tenant.to_string());
        let of = |id: BudgetId| told.states.iter().find(|state| state.budget_id == id.to_string());
        [self.all, self.own].map(|id| of(id).map(|state| state.spent.clone()))
    }
}

impl DataPlane {
    async fn hear_spending(&mut self) -> BudgetStates {
        match self.hear_news().await {
            Hear::BudgetStates(states) => states,
            other => panic!("not what is spent: {other:?}"),
        }
    }
}

fn sums<const N: usize>(sums: [&str; N]) -> [Option<String>; N] {
    sums.map(|sum| Some(sum.to_owned()).filter(|sum| !sum.is_empty()))
}

#[tokio::test]
async fn a_data_plane_is_told_of_every_budget_behind_its_policy_and_then_of_what_changes() {
    run(async |database| {
        let budgeted = Budgeted::make(database).await;
        database.make_tenant("without").await;
        let control_plane = ControlPlane::start(database).await;
        budgeted.spend(&control_plane, budgeted.agent).await;
        let mut data_plane = DataPlane::hello(&control_plane, "", &[]).await;
        let policies = data_plane.sync().await;
        let policy = policies.into_iter().find(|policy| policy.tenant == "default").unwrap();
        assert_eq!(policy.budgets.len(), 2);
        let mut told = data_plane.hear_spending().await;
        if budgeted.spent(&told) == sums(["0", "0"]) {
            // Looked up before the call was stored.
            told = data_plane.hear_spending().await;
        }
        assert_eq!(budgeted.spent(&told), sums(["0.25", "0.25"]));
        for state in &told.states {
            let of = policy.budgets.iter().find(|budget| budget.id == state.budget_id).unwrap();
            let calendar = policy.calendars.iter().find(|calendar| calendar.period == of.period).unwrap();
            assert!(calendar.starts.contains(&state.period_start), "{state:?}");
        }
        // Of what another agent spends the agent's own budget has nothing.
        budgeted.spend(&control_plane, AgentId::new()).await;
        assert_eq!(budgeted.spent(&data_plane.hear_spending().await), sums(["0.5", ""]));
        budgeted.spend(&control_plane, budgeted.agent).await;
        assert_eq!(budgeted.spent(&data_plane.hear_spending().await), sums(["0.75", "0.5"]));
        data_plane.hears_nothing_new().await;

        change(&control_plane, budgeted.tenant).await;
        let policy = data_plane.hear_policy().await;
        data_plane.acknowledge(&policy);
        assert_eq!(budgeted.spent(&data_plane.hear_spending().await), sums(["0.75", "0.5"]));

        // One that holds the policy is sent none, and told all the same.
        let mut other = DataPlane::hello(&control_plane, &policy.epoch, &[&policy]).await;
        assert!(other.sync().await.iter().all(|policy| policy.tenant == "without"));
        assert_eq!(budgeted.spent(&other.hear_spending().await), sums(["0.75", "0.5"]));
        control_plane.stop().await;
    })
    .await;
}

#[tokio::test]
async fn every_control_plane_tells_what_any_of_them_has_stored() {
    run(async |database| {
        let budgeted = Budgeted::make(database).await;
        let planes = [ControlPlane::start(database).await, ControlPlane::start(database).await];
        let mut data_plane = DataPlane::hello(&planes[0], "", &[]).await;
        data_plane.sync().await;
        assert_eq!(budgeted.spent(&data_plane.hear_spending().await), sums(["0", "0"]));
        budgeted.spend(&planes[1], budgeted.agent).await;
        assert_eq!(budgeted.spent(&data_plane.hear_spending().await), sums(["0.25", "0.25"]));
        for plane in planes {
            plane.stop().await;
        }
    })
    .await;
}

#[tokio::test]
async fn sums_that_take_long_delay_neither_policies_nor_heartbeats() {
    run(async |database| {
        let budgeted = Budgeted::make(database).await;
        let control_plane = ControlPlane::start(database).await;
        let mut data_plane = DataPlane::hello(&control_plane, "", &[]).await;
        data_plane.sync().await;
        data_plane.hear_spending().await;

        let mut holding = database.superuser().await;
        holding.execute("BEGIN; LOCK TABLE usage_daily").await.unwrap();
        change(&control_plane, budgeted.tenant).await;
        let policy = data_plane.hear_policy().await;
        data_plane.acknowledge(&policy);
        assert!(database.waiting().await > 0);
        // What was known is told again behind the policy; the rest waits, and nothing for it.
        assert_eq!(budgeted.spent(&data_plane.hear_spending().await), sums(["0", "0"]));
        for _ in 0..5 {
            assert!(matches!(data_plane.hear().await, Ok(Some(Hear::Heartbeat(_)))));
        }
        holding.close().await.unwrap();
        budgeted.spend(&control_plane, budgeted.agent).await;
        assert_eq!(budgeted.spent(&data_plane.hear_spending().await), sums(["0.25", "0.25"]));
        control_plane.stop().await;
    })
    .await;
}
