//! Search: objects by a part of their name or the beginning of their id, calls by the beginning of theirs.

use std::{str::FromStr, sync::Arc};

use askama::Template;
use axum::{
    extract::{Query, State},
    response::Response,
};
use serde::Deserialize;
use tollgate_proto::{
    AgentId, BudgetId, GrantId, LimitId, PriceBookId, ServerId, TeamId, ToolsetId, UserId, WebhookId,
};
use uuid::Uuid;

use super::{
    filters,
    page::{PageError, Section, Shell, show},
    sql,
    visitor::Visitor,
};
use crate::{app::App, caller::Role};

const RESULTS_MAX: i64 = 50;
const CALLS_MAX: i64 = 10;
const QUERY_CHARS_MAX: usize = 200;
/// With fewer digits every call of the last days would be found.
const CALL_DIGITS_MIN: usize = 8;
const ID_DIGITS: usize = 26;
const UUID_DIGITS: usize = 32;

/// What is searched for.
#[derive(Debug, Deserialize)]
pub(super) struct SearchQuery {
    #[serde(default)]
    q: String,
}

/// One thing found.
struct Hit {
    kind: String,
    id: String,
    name: String,
    href: String,
}

#[derive(Template)]
#[template(path = "search.html")]
struct SearchPage {
    shell: Shell,
    hits: Vec<Hit>,
}

/// `GET /search`.
pub(super) async fn show_results(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Query(query): Query<SearchQuery>,
) -> Result<Response, PageError> {
    visitor.caller.require(Role::Viewer)?;
    let text: String = query.q.trim().chars().filter(|char| !char.is_control()).take(QUERY_CHARS_MAX).collect();
    let mut hits = Vec::new();
    if !text.is_empty() {
        let mut tx = app.db.tenant(visitor.caller.tenant).await?;
        let found = sql::search(&mut tx, &text, ids_beginning(&text), RESULTS_MAX).await?;
        hits.extend(found.into_iter().map(Hit::of_object));
        if let Some(ids) = calls_beginning(&text) {
            hits.extend(sql::search_calls(&mut tx, ids, CALLS_MAX).await?.into_iter().map(Hit::of_call));
        }
    }
    let mut shell = Shell::new(&visitor, Section::Other, "Search");
    shell.search = text;
    show(&SearchPage { shell, hits })
}

impl Hit {
    fn of_object(found: sql::Found) -> Self {
        let (id, href) = match found.kind.as_str() {
            "server" => (ServerId::from(found.id).to_string(), format!("/servers/{}", found.name)),
            "toolset" => (ToolsetId::from(found.id).to_string(), format!("/toolsets/{}", found.name)),
            "price-book" => (PriceBookId::from(found.id).to_string(), format!("/price-books/{}", found.name)),
            "budget" => (BudgetId::from(found.id).to_string(), format!("/budgets/{}", found.name)),
            "webhook" => (WebhookId::from(found.id).to_string(), format!("/webhooks/{}", found.name)),
            "agent" => (AgentId::from(found.id).to_string(), format!("/agents/{}", found.name)),
            "team" => (TeamId::from(found.id).to_string(), in_access("team", &found.name)),
            "grant" => (GrantId::from(found.id).to_string(), in_access("grant", &found.name)),
            "user" => {
                let id = UserId::from(found.id).to_string();
                (id.clone(), format!("/users/{id}"))
            }
            _ => (LimitId::from(found.id).to_string(), format!("/limits/{}", found.name)),
        };
        Self { kind: found.kind, id, name: found.name, href }
    }

    fn of_call(call_id: Uuid) -> Self {
        let id = call_id.to_string();
        Self { kind: "call".to_owned(), href: format!("/calls/{id}"), name: id.clone(), id }
    }
}

/// Where the list of such objects begins with this one.
fn in_access(noun: &str, name: &str) -> String {
    format!("/access?{noun}={name}#{noun}-{name}")
}

/// The lowest and the highest id that begin with `text`, when it begins like an id.
fn ids_beginning(text: &str) -> Option<(Uuid, Uuid)> {
    let (prefix, digits) = text.split_once('_')?;
    if digits.is_empty() || digits.len() > ID_DIGITS || !digits.is_ascii() {
        return None;
    }
    let padded = |digit: char| {
        let padding: String = std::iter::repeat_n(digit, ID_DIGITS - digits.len()).collect();
        format!("{prefix}_{digits}{padding}")
    };
    let (first, last) = (padded('0'), padded('z'));
    range::<ServerId>(&first, &last)
        .or_else(|| range::<ToolsetId>(&first, &last))
        .or_else(|| range::<AgentId>(&first, &last))
        .or_else(|| range::<TeamId>(&first, &last))
        .or_else(|| range::<GrantId>(&first, &last))
        .or_else(|| range::<LimitId>(&first, &last))
        .or_else(|| range::<PriceBookId>(&first, &last))
        .or_else(|| range::<BudgetId>(&first, &last))
        .or_else(|| range::<WebhookId>(&first, &last))
        .or_else(|| range::<UserId>(&first, &last))
}

fn range<Id: FromStr + Into<Uuid>>(first: &str, last: &str) -> Option<(Uuid, Uuid)> {
    Some((first.parse::<Id>().ok()?.into(), last.parse::<Id>().ok()?.into()))
}

/// The lowest and the highest call id that begin with `text`, when it is enough of one.
fn calls_beginning(text: &str) -> Option<(Uuid, Uuid)> {
    let digits: String = text.chars().filter(|char| *char != '-').collect();
    let enough = (CALL_DIGITS_MIN..=UUID_DIGITS).contains(&digits.len());
    if !enough || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let bound = |digit: &str| Uuid::from_str(&format!("{digits}{}", digit.repeat(UUID_DIGITS - digits.len()))).ok();
    Some((bound("0")?, bound("f")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_of_an_id_finds_it() {
        let id = AgentId::new();
        let text = id.to_string();
        for length in 5..=text.len() {
            let (first, last) = ids_beginning(&text[..length]).expect("an id begins so");
            assert!((first..=last).contains(&id.uuid()), "{}", &text[..length]);
        }
        for text in ["agt_", "agt", "xyz_0", "agt_u", "agt_0ä", "a_b_c"] {
            assert!(ids_beginning(text).is_none(), "{text}");
        }
    }

    #[test]
    fn the_beginning_of_a_call_id_finds_it() {
        let id = Uuid::now_v7();
        let text = id.to_string();
        for length in [8, 13, 18, 36] {
            let (first, last) = calls_beginning(&text[..length]).expect("a call id begins so");
            assert!((first..=last).contains(&id), "{}", &text[..length]);
        }
        assert!(calls_beginning("0193").is_none(), "too short");
        assert!(calls_beginning("not-a-call-id").is_none());
    }
}
