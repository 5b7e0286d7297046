//! Waiting until every data plane serves the newest policy.

use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::{api_client::ApiClient, failure::Failure};

const POLL: Duration = Duration::from_millis(100);

/// How far the data planes are, when the wait ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Convergence {
    /// Every connected data plane serves this revision.
    InStep { revision: u64, data_planes: usize },
    /// Nobody is connected.
    NobodyConnected,
    /// A data plane refused the revision and goes on with an older one.
    Refused { data_plane: String, reason: String },
    /// These had not acknowledged it in time.
    Behind { revision: u64, data_planes: Vec<String> },
}

impl Convergence {
    /// One line for people.
    pub(crate) fn sentence(&self) -> String {
        match self {
            Self::InStep { revision, data_planes: 1 } => format!("policy {revision} is in force on 1 data plane"),
            Self::InStep { revision, data_planes } => {
                format!("policy {revision} is in force on {data_planes} data planes")
            }
            Self::NobodyConnected => "no data plane is connected: it will be in force when one is".to_owned(),
            Self::Refused { data_plane, reason } => {
                format!("data plane {data_plane} refused the policy and keeps the last good one: {reason}")
            }
            Self::Behind { revision, data_planes } => {
                format!("policy {revision} is not yet in force on {}", data_planes.join(", "))
            }
        }
    }
}

/// Whether data planes are known to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// Without a connected data plane there is nothing to wait for.
    Unknown,
    /// One is there, and connects if it has not yet.
    Certain,
}

/// Waits until the policy is in force everywhere or refused somewhere, at most `within`.
pub(crate) async fn wait(api: &ApiClient, presence: Presence, within: Duration) -> Result<Convergence, Failure> {
    let deadline = Instant::now() + within;
    loop {
        let state = judge(&api.get(&[], &[]).await?["status"]["policy"]);
        let may_change = match state {
            Convergence::Behind { .. } => true,
            Convergence::NobodyConnected => presence == Presence::Certain,
            Convergence::InStep { .. } | Convergence::Refused { .. } => false,
        };
        if !may_change || Instant::now() >= deadline {
            return Ok(state);
        }
        sleep(POLL).await;
    }
}

/// Reads `status.policy` of a tenant.
pub(crate) fn judge(policy: &Value) -> Convergence {
    let revision = policy["revision"].as_u64().unwrap_or_default();
    let connected: Vec<_> = policy["data_planes"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|plane| plane["connected"].as_bool().unwrap_or_default())
        .collect();
    let id = |plane: &Value| plane["id"].as_str().unwrap_or("?").to_owned();
    if connected.is_empty() {
        return Convergence::NobodyConnected;
    }
    if let Some(refusing) = connected.iter().find(|plane| plane["nacked_revision"].as_u64() == Some(revision)) {
        let reason = refusing["nack_reason"].as_str().unwrap_or("no reason was given").to_owned();
        return Convergence::Refused { data_plane: id(refusing), reason };
    }
    let behind = connected.iter().filter(|plane| plane["acked_revision"].as_u64().unwrap_or_default() < revision);
    let behind: Vec<_> = behind.map(|plane| id(plane)).collect();
    if behind.is_empty() {
        return Convergence::InStep { revision, data_planes: connected.len() };
    }
    Convergence::Behind { revision, data_planes: behind }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_connected_data_planes_count() {
        let gone = json!({ "id": "dp_old", "connected": false, "acked_revision": 1 });
        let here = json!({ "id": "dp_new", "connected": true, "acked_revision": 7 });
        let policy = |planes: Value| json!({ "revision": 7, "data_planes": planes });
        assert_eq!(judge(&policy(json!([gone, here]))), Convergence::InStep { revision: 7, data_planes: 1 });
        assert_eq!(judge(&policy(json!([gone]))), Convergence::NobodyConnected);
    }

    #[test]
    fn a_refusal_of_the_newest_revision_is_told_with_its_reason() {
        let plane =
            json!({ "id": "dp_1", "connected": true, "acked_revision": 6, "nacked_revision": 7, "nack_reason": "no" });
        let state = judge(&json!({ "revision": 7, "data_planes": [plane] }));
        assert_eq!(state, Convergence::Refused { data_plane: "dp_1".into(), reason: "no".into() });
        let older = json!({ "id": "dp_1", "connected": true, "acked_revision": 7, "nacked_revision": 5 });
        assert_eq!(
            judge(&json!({ "revision": 8, "data_planes": [older] })),
            Convergence::Behind { revision: 8, data_planes: vec!["dp_1".into()] }
        );
    }
}
