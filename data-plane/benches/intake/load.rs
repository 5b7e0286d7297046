//! What is delivered: calls of 50 agents to 200 tools of 20 servers, some of them far more often than others.

use std::time::{SystemTime, UNIX_EPOCH};

use tollgate_proto::{
    AgentId, ServerId, TeamId, UserId,
    usage::v1::{Outcome, TokenMethod, UsageRecord},
};
use uuid::Uuid;

const AGENTS: u64 = 50;
const SERVERS: u64 = 20;
const TOOLS: u64 = 200;
const TEAMS: u64 = 10;
const LABELS: [&str; 5] = ["stage", "region", "product", "owner", "model"];
/// How far back calls lie: an hour's backlog.
const BACKLOG_MS: u64 = 3_600_000;

/// Makes records.
pub(crate) struct Load {
    tenant: String,
    /// One for each agent; the rest of a record depends on the call.
    agents: Vec<UsageRecord>,
    servers: Vec<(String, String)>,
    random: u64,
}

impl Load {
    /// For one tenant; each `seed` makes other calls of the same agents.
    pub(crate) fn new(tenant: &str, seed: usize) -> Self {
        Self {
            tenant: tenant.to_owned(),
            agents: (0..AGENTS).map(agent).collect(),
            servers: (0..SERVERS)
                .map(|index| (ServerId::from(id(3, index)).to_string(), format!("server-{index}")))
                .collect(),
            random: 0x9e37_79b9_7f4a_7c15 ^ (seed as u64 + 1),
        }
    }

    /// So many calls.
    pub(crate) fn next(&mut self, count: usize) -> Vec<UsageRecord> {
        (0..count).map(|_| self.call()).collect()
    }

    fn call(&mut self) -> UsageRecord {
        let agent = self.below(AGENTS);
        // A tenth of the tools gets a third of the calls.
        let tool = self.below(TOOLS) * self.below(TOOLS) / TOOLS;
        let (server_id, server) = self.servers[usize::try_from(tool % SERVERS).expect("it is small")].clone();
        let outcome = match self.below(100) {
            0..95 => Outcome::Ok,
            95..98 => Outcome::ToolError,
            98 => Outcome::Timeout,
            _ => Outcome::Refused,
        };
        let refused = outcome == Outcome::Refused;
        let upstream_us = 20_000 + self.below(400_000);
        UsageRecord {
            call_id: self.call_id().to_string(),
            tenant_id: self.tenant.clone(),
            server_id,
            server,
            tool: format!("tool_{tool}"),
            outcome: outcome.into(),
            decision: if refused { "limited" } else { "allowed" }.to_owned(),
            forwarded: !refused,
            http_status: if refused { 429 } else { 200 },
            input_bytes: 200 + self.below(2_000),
            output_bytes: 500 + self.below(20_000),
            input_tokens: 50 + self.below(500),
            output_tokens: 100 + self.below(5_000),
            duration_us: upstream_us + 200 + self.below(2_000),
            upstream_us,
            trace_id: format!("{:032x}", u128::from(self.number()) << 64 | u128::from(self.number())),
            ..self.agents[usize::try_from(agent).expect("it is small")].clone()
        }
    }

    /// Of some time in the last hour.
    fn call_id(&mut self) -> Uuid {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
        let at = u64::try_from(now).expect("before the year 500,000,000") - self.below(BACKLOG_MS);
        let mut random = [0; 10];
        random[..8].copy_from_slice(&self.number().to_be_bytes());
        random[8..].copy_from_slice(&self.number().to_be_bytes()[..2]);
        uuid::Builder::from_unix_timestamp_millis(at, &random).into_uuid()
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.number() % bound
    }

    /// Xorshift: quick, and the same in every run.
    const fn number(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

/// What all calls of an agent have in common.
fn agent(index: u64) -> UsageRecord {
    let team = index % TEAMS;
    UsageRecord {
        agent_id: AgentId::from(id(1, index)).to_string(),
        agent: format!("agent-{index}"),
        team_id: TeamId::from(id(2, team)).to_string(),
        team: format!("team-{team}"),
        cost_center: format!("CC-{}", 1_000 + team),
        user_id: UserId::from(id(4, index)).to_string(),
        user: format!("user-{index}@example.com"),
        method: "tools/call".to_owned(),
        protocol_version: "2026-07-28".to_owned(),
        policy_revision: 7,
        token_method: TokenMethod::Exact.into(),
        tokenizer: "o200k_base/bpe-openai-0.3.2".to_owned(),
        labels: LABELS.iter().map(|label| ((*label).to_owned(), format!("{label}-{}", index % 7))).collect(),
        ..UsageRecord::default()
    }
}

/// The same in every data plane.
const fn id(kind: u128, index: u64) -> Uuid {
    Uuid::from_u128(0x0193_0000_0000_7000_8000_0000_0000_0000 + (kind << 32) + index as u128)
}
