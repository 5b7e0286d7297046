//! Decisions in words, and under the reasons that agents are told.

use chrono::{DateTime, Utc};
use tollgate_proto::{
    Scope,
    access::{Arguments, Attempt, Refused, Ruling},
    policy::v1,
};

use super::{AccessAnswer, AccessDecision, Edition, standing::Standing};

/// Asks, and says what comes of it.
pub(super) fn answer(edition: &Edition, standing: &Standing<'_>, attempt: &Attempt<'_>) -> AccessAnswer {
    let needed = || scope_of(attempt).to_string();
    let refused = |reason, explanation| AccessAnswer {
        decision: AccessDecision::Refused,
        reason: Some(reason),
        grant: None,
        scope: needed(),
        revision: edition.policy.revision,
        explanation,
    };
    if let Some(why) = &standing.barred {
        return refused("token_revoked", format!("{why}: no token of it is good"));
    }
    if !edition.policy.servers.iter().any(|server| server.name == attempt.server.as_str()) {
        return refused("server_unknown", format!("there is no server `{}`", attempt.server));
    }
    match edition.book.decide(attempt) {
        Ok(ruling) => AccessAnswer {
            decision: AccessDecision::Allowed,
            reason: None,
            ..of(edition, &ruling, allowed(edition, &ruling, attempt))
        },
        Err(why) => {
            let explanation = sentence(edition, &why, attempt);
            let reason = reason(&why);
            match ruling_of(&why) {
                Some(ruling) => AccessAnswer { reason: Some(reason), ..of(edition, ruling, explanation) },
                None => refused(reason, explanation),
            }
        }
    }
}

/// The `reason` of the refusal, as data planes tell it.
const fn reason(why: &Refused<'_>) -> &'static str {
    match why {
        Refused::NotInToken(_) => "scope_insufficient",
        Refused::NotApproved => "tool_not_approved",
        Refused::NotExact(_) => "held_to_exact_tools",
        Refused::Blocked => "tool_blocked",
        Refused::OutsideNetwork(_) => "network_not_allowed",
        Refused::ConditionFailed { .. } => "argument_not_allowed",
        Refused::NotGranted | Refused::Denied(_) | Refused::Expired(_) => "tool_not_granted",
    }
}

fn of(edition: &Edition, ruling: &Ruling<'_>, explanation: String) -> AccessAnswer {
    AccessAnswer {
        decision: AccessDecision::Refused,
        reason: None,
        grant: Some(ruling.grant.name.to_string()),
        scope: ruling.scope.to_string(),
        revision: edition.policy.revision,
        explanation,
    }
}

const fn ruling_of<'r, 'b>(why: &'r Refused<'b>) -> Option<&'r Ruling<'b>> {
    match why {
        Refused::Denied(ruling)
        | Refused::Expired(ruling)
        | Refused::OutsideNetwork(ruling)
        | Refused::NotInToken(ruling)
        | Refused::NotExact(ruling)
        | Refused::ConditionFailed { ruling, .. } => Some(ruling),
        Refused::NotGranted | Refused::Blocked | Refused::NotApproved => None,
    }
}

fn allowed(edition: &Edition, ruling: &Ruling<'_>, attempt: &Attempt<'_>) -> String {
    let grant = sent(edition, ruling);
    let arguments = attempt.arguments == Arguments::Unknown && grant.is_some_and(|grant| !grant.conditions.is_empty());
    let network = attempt.asker.peer.is_none() && grant.is_some_and(|grant| !grant.networks.is_empty());
    let depends = match (arguments, network) {
        (true, true) => ", for some arguments and from some networks",
        (true, false) => ", for some arguments",
        (false, true) => ", from some networks",
        (false, false) => "",
    };
    format!("grant `{}` allows it by `{}`{depends}", ruling.grant.name, ruling.scope)
}

fn sentence(edition: &Edition, why: &Refused<'_>, attempt: &Attempt<'_>) -> String {
    let grant = |ruling: &Ruling<'_>| ruling.grant.name.to_string();
    match why {
        Refused::NotGranted => {
            let of_role =
                if attempt.asker.role.is_some() { ", to its team or to the user's role" } else { " or to its team" };
            format!("no grant to the agent{of_role} speaks of `{}`", scope_of(attempt))
        }
        Refused::Denied(ruling) => format!("grant `{}` forbids `{}`", grant(ruling), ruling.scope),
        Refused::Expired(ruling) => {
            let end = sent(edition, ruling).and_then(|grant| DateTime::<Utc>::from_timestamp(grant.expires_at, 0));
            let end = end.map(|end| end.format(" at %Y-%m-%d %H:%M:%S UTC").to_string()).unwrap_or_default();
            format!("grant `{}` allowed it, and ended{end}", grant(ruling))
        }
        Refused::OutsideNetwork(ruling) => {
            let networks = sent(edition, ruling).map(|grant| grant.networks.join(", ")).unwrap_or_default();
            format!("grant `{}` allows it from {networks} only", grant(ruling))
        }
        Refused::ConditionFailed { ruling, pointer } => {
            format!(
                "grant `{}` allows it with other arguments: that at `{pointer}` does not meet its condition",
                grant(ruling)
            )
        }
        Refused::NotExact(ruling) => {
            let (grant, scope) = (grant(ruling), scope_of(attempt));
            format!(
                "the agent is held to exact tools, and grant `{grant}` to its team or to a role allows it by `{}`: write a \
                 grant of `{scope}` to the agent itself",
                ruling.scope
            )
        }
        Refused::Blocked => "an administrator has blocked it".to_owned(),
        Refused::NotApproved => "no definition of it is approved, and its server's need approval".to_owned(),
        Refused::NotInToken(ruling) => {
            let (grant, scope) = (grant(ruling), scope_of(attempt));
            format!("grant `{grant}` allows it, but the token carries no scope that speaks of `{scope}`")
        }
    }
}

fn scope_of(attempt: &Attempt<'_>) -> Scope {
    attempt.item.scope(attempt.server)
}

/// The grant as data planes were told it.
fn sent<'e>(edition: &'e Edition, ruling: &Ruling<'_>) -> Option<&'e v1::Grant> {
    let id = ruling.grant.id.to_string();
    edition.policy.grants.iter().find(|grant| grant.id == id)
}
