//! What an agent that registered itself keeps when it says that it is somebody else than before.
//!
//! Who decided about it, a rule or a person, saw a name and hosts. When those change, the decision was about another
//! client: what rules gave stays as far as the rules would give it now, and where a person decided, one decides again.
//!
//! Invariant: a change takes and never gives. What it would be given, an agent gets by registering anew.

use std::collections::BTreeSet;

use serde_json::json;
use tollgate_proto::AgentId;

use super::{BY_RULE, Enrolment, EnrolmentError, Origin, by_rule, record, sql, team_named};
use crate::{
    agents::AgentState,
    app::App,
    audit,
    db::TenantTx,
    grants::GrantSpec,
    oauth::{client_metadata::ClientMetadata, redirect_uri::RedirectUri},
    resource::{Kind as _, Removable as _},
};

/// Takes away what the agent, as `known` until now, would not be trusted with as it is from now on.
pub(super) async fn review(
    app: &App,
    tx: &mut TenantTx,
    enrolment: &Enrolment<'_>,
    known: &sql::Registered,
) -> Result<(), EnrolmentError> {
    if known.is_same_to_people(enrolment.metadata) {
        return Ok(());
    }
    withdraw_grants(tx, enrolment, known.agent).await?;
    let in_team_by_hand = !is_placed_by_policy(enrolment, &known.team);
    if known.team != enrolment.team().as_str() && !in_team_by_hand {
        let team = team_named(app, tx, &by_rule(enrolment.issuer), enrolment.team()).await?;
        sql::set_team(tx, known.agent, team, enrolment.team()).await?;
    }
    // The host of a document is who its client is, whatever it calls itself. Who registered is only what it says.
    let trusted_by_hand = matches!(enrolment.origin, Origin::Registration { .. })
        && (in_team_by_hand || sql::is_granted_by_hand(tx, known.agent).await?);
    if known.state == AgentState::Active && (enrolment.needs_approval() || trusted_by_hand) {
        sql::set_waiting(tx, known.agent).await?;
        record(tx, enrolment, known.agent, &known.name, "agent.wait").await?;
    }
    Ok(())
}

/// Deletes what rules granted, but for what the rule that fits now grants too.
async fn withdraw_grants(tx: &mut TenantTx, enrolment: &Enrolment<'_>, agent: AgentId) -> Result<(), EnrolmentError> {
    let given_now = enrolment.rule().map_or(&[][..], |rule| &rule.scopes);
    for grant in sql::grants_by_rule(tx, agent).await? {
        if grant.scopes.iter().all(|scope| given_now.contains(scope)) {
            continue;
        }
        GrantSpec::delete(tx, grant.id, &grant.name).await?;
        let event = audit::Event {
            actor: BY_RULE,
            action: "grant.delete",
            object_kind: GrantSpec::NOUN,
            object_id: &grant.id.to_string(),
            object_name: &grant.name,
            detail: json!({ "reason": "no rule grants this to the agent as it is now", "scopes": grant.scopes }),
        };
        audit::record(tx, event).await?;
    }
    Ok(())
}

/// Whether the settings put agents into this team, so that nobody need have done so by hand.
fn is_placed_by_policy(enrolment: &Enrolment<'_>, team: &str) -> bool {
    let by_rules = enrolment.policy.rules.iter().filter_map(|rule| rule.team.as_ref());
    by_rules.chain([&enrolment.policy.default_team]).any(|placed| placed.as_str() == team)
}

impl sql::Registered {
    /// Whether it calls itself the same, and sends its users to the same places.
    fn is_same_to_people(&self, metadata: &ClientMetadata) -> bool {
        let before: BTreeSet<String> =
            self.redirect_uris.iter().map(|uri| RedirectUri::accepted(uri.clone()).shown_host()).collect();
        let now: BTreeSet<String> = metadata.redirect_uris.iter().map(RedirectUri::shown_host).collect();
        self.client_name == metadata.client_name.as_deref().unwrap_or_default() && before == now
    }
}
