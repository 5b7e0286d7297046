//! The page of alerts: the latest, by type.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Query, State},
    response::Response,
};
use serde::Deserialize;
use serde_json::Value;

use super::{
    filters,
    page::{PageError, Section, Shell, show},
    visitor::Visitor,
};
use crate::{
    alerts::{self, AlertKind, Filter, RaisedAlert},
    app::App,
    page::PageQuery,
};

/// What the address of the page says.
#[derive(Debug, Default, Deserialize)]
pub(super) struct AlertsQuery {
    #[serde(default)]
    r#type: String,
    cursor: Option<String>,
}

#[derive(Template)]
#[template(path = "alerts/list.html")]
struct ListPage {
    shell: Shell,
    kind: String,
    alerts: Vec<RaisedAlert>,
    /// The address of the next page.
    next: Option<String>,
}

/// `GET /alerts`.
pub(super) async fn show_list(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Query(query): Query<AlertsQuery>,
) -> Result<Response, PageError> {
    let kind = query.r#type.trim().to_owned();
    let filter = Filter { kind: Some(kind.clone()).filter(|kind| !kind.is_empty()) };
    let from_here = PageQuery { cursor: query.cursor, ..PageQuery::default() };
    let page = alerts::list(&app, &visitor.caller, &filter, &from_here).await?;
    let next = page.next_cursor.map(|cursor| {
        let pairs = filter.kind.as_deref().map(|kind| ("type", kind)).into_iter().chain([("cursor", &*cursor)]);
        let query: String = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        format!("/alerts?{query}")
    });
    show(&ListPage { shell: Shell::new(&visitor, Section::Alerts, "Alerts"), kind, alerts: page.items, next })
}

impl ListPage {
    fn kinds() -> [AlertKind; 4] {
        [AlertKind::LimitSaturated, AlertKind::BudgetThreshold, AlertKind::BudgetForecast, AlertKind::WebhookTest]
    }

    /// What an alert says: name and value.
    fn details(alert: &RaisedAlert) -> Vec<(String, String)> {
        let members = alert.data.as_object().into_iter().flatten();
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        members.filter(|(_, value)| !value.is_null()).map(|(name, value)| (name.clone(), text(value))).collect()
    }

    /// What it is about, in a word.
    fn subject(alert: &RaisedAlert) -> &str {
        let names = ["/limit", "/budget/name", "/webhook"];
        names.iter().find_map(|at| alert.data.pointer(at).and_then(Value::as_str)).unwrap_or_default()
    }
}
