//! The page of the audit log: the latest events, filtered.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Query, State},
    response::Response,
};
use serde::Deserialize;

use super::{
    filters,
    page::{PageError, Section, Shell, show},
    visitor::Visitor,
};
use crate::{
    app::App,
    audit::{self, AuditEvent, Filter},
    page::PageQuery,
    request::moment,
};

/// What the address of the page says.
#[derive(Debug, Default, Deserialize)]
pub(super) struct AuditQuery {
    #[serde(default)]
    actor: String,
    #[serde(default)]
    action: String,
    #[serde(default)]
    object: String,
    #[serde(default)]
    from: String,
    #[serde(default)]
    to: String,
    cursor: Option<String>,
}

#[derive(Template)]
#[template(path = "audit/list.html")]
struct ListPage {
    shell: Shell,
    query: AuditQuery,
    filtered: bool,
    events: Vec<AuditEvent>,
    /// The address of the next page.
    next: Option<String>,
}

/// `GET /audit`.
pub(super) async fn show_list(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Query(query): Query<AuditQuery>,
) -> Result<Response, PageError> {
    let filter = query.filter()?;
    let from_here = PageQuery { cursor: query.cursor.clone(), ..PageQuery::default() };
    let page = audit::list(&app, &visitor.caller, &filter, &from_here).await?;
    let next = page.next_cursor.map(|cursor| query.address(&cursor));
    show(&ListPage {
        shell: Shell::new(&visitor, Section::Audit, "Audit"),
        filtered: filter != Filter::default(),
        events: page.items,
        query,
        next,
    })
}

impl ListPage {
    /// What an event says beside who, what and when: name and value.
    fn details(event: &AuditEvent) -> Vec<(String, String)> {
        let members = event.detail.as_object().into_iter().flatten();
        let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        members.filter(|(_, value)| !value.is_null()).map(|(name, value)| (name.clone(), text(value))).collect()
    }
}

impl AuditQuery {
    fn filter(&self) -> Result<Filter, PageError> {
        let given = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let time = |name, text: &str| given(text).map(|text| moment(name, &text)).transpose();
        Ok(Filter {
            actor: given(&self.actor),
            action: given(&self.action),
            object: given(&self.object),
            from: time("from", &self.from)?,
            to: time("to", &self.to)?,
        })
    }

    /// Of the same list from `cursor` on.
    fn address(&self, cursor: &str) -> String {
        let pairs = [
            ("actor", &*self.actor),
            ("action", &*self.action),
            ("object", &*self.object),
            ("from", &*self.from),
            ("to", &*self.to),
        ];
        let given = pairs.into_iter().filter(|(_, value)| !value.trim().is_empty()).chain([("cursor", cursor)]);
        let query: String = form_urlencoded::Serializer::new(String::new()).extend_pairs(given).finish();
        format!("/audit?{query}")
    }
}
