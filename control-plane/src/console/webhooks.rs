//! Pages of webhooks: the list, one webhook with what was delivered to it, and its forms.
//!
//! Invariant: a signing secret is on the page that answers its making, and on no other.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, Query, State},
    response::Response,
};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{
    filters,
    form::{Choices, Control, Deletable, Editable, Entries, Field},
    page::{Done, PageError, Section, Shell, show},
    visitor::{Nothing, Posted, Visitor},
    yaml,
};
use crate::{
    app::App,
    error::ApiError,
    page::PageQuery,
    resource::{self, Kind as _, Object},
    webhooks::{
        self, Rotation, Webhook, WebhookSpec, WebhookState,
        deliveries::{self, AlertDelivery, DeliveryState, Redelivery},
    },
};

#[derive(Template)]
#[template(path = "webhooks/list.html")]
struct ListPage {
    shell: Shell,
    webhooks: Vec<Webhook>,
    next: Option<String>,
}

#[derive(Template)]
#[template(path = "webhooks/detail.html")]
struct DetailPage {
    shell: Shell,
    webhook: Webhook,
    deliveries: Vec<AlertDelivery>,
    next: Option<String>,
    yaml: String,
}

#[derive(Template)]
#[template(path = "webhooks/secret.html")]
struct SecretPage {
    shell: Shell,
    webhook: String,
    secret: Zeroizing<String>,
    former_secret_until: Option<DateTime<Utc>>,
}

/// Which alert is sent again.
#[derive(Debug, Deserialize)]
pub(super) struct Again {
    alert: String,
}

/// `GET /webhooks`.
pub(super) async fn show_list(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Query(query): Query<PageQuery>,
) -> Result<Response, PageError> {
    let page = resource::list::<WebhookSpec>(&app, &visitor.caller, &query).await?;
    let shell = shell(&visitor, "Webhooks").under("Alerts", "/alerts");
    show(&ListPage { shell, webhooks: page.items, next: page.next_cursor })
}

/// `GET /webhooks/{name}`.
pub(super) async fn show_detail(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Path(name): Path<String>,
    Query(query): Query<PageOfDeliveries>,
) -> Result<Response, PageError> {
    let webhook: Webhook = resource::get(&app, &visitor.caller, &name).await?;
    let from_here = PageQuery { cursor: query.cursor, ..PageQuery::default() };
    let page = deliveries::list(&app, &visitor.caller, &webhook.name, &from_here).await?;
    let (label, href) = WebhookSpec::LIST;
    show(&DetailPage {
        shell: shell(&visitor, &webhook.name).under("Alerts", "/alerts").under(label, href),
        deliveries: page.items,
        next: page.next_cursor,
        yaml: yaml::manifest("Webhook", &visitor.caller.tenant_name, &webhook),
        webhook,
    })
}

/// Which deliveries are shown.
#[derive(Debug, Deserialize)]
pub(super) struct PageOfDeliveries {
    cursor: Option<String>,
}

/// `POST /webhooks/{name}/test`.
pub(super) async fn test(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    posted: Posted<Nothing>,
) -> Result<Response, PageError> {
    let tested = deliveries::test(&app, &posted.visitor.caller, &name).await?;
    let done = if tested.state == DeliveryState::Delivered { Done::TestDelivered } else { Done::TestFailed };
    Ok(done.then(&WebhookSpec::page(&name)))
}

/// `POST /webhooks/{name}/redeliver`.
pub(super) async fn redeliver(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    posted: Posted<Again>,
) -> Result<Response, PageError> {
    let key = posted.form.alert;
    let alert = key.parse().map_err(|_| ApiError::NotFound { noun: "alert", key })?;
    deliveries::repeat(&app, &posted.visitor.caller, &name, &Redelivery { alert }).await?;
    Ok(Done::Redelivered.then(&WebhookSpec::page(&name)))
}

/// `POST /webhooks/{name}/rotate-secret`: makes a secret and shows it, this once.
pub(super) async fn rotate_secret(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    posted: Posted<Nothing>,
) -> Result<Response, PageError> {
    let visitor = posted.visitor;
    visitor.caller.require(WebhookSpec::WRITER)?;
    visitor.require_recent_sign_in(&WebhookSpec::page(&name))?;
    let made = webhooks::rotate(&app, &visitor.caller, &name, &Rotation::default()).await?;
    let (label, href) = WebhookSpec::LIST;
    show(&SecretPage {
        shell: shell(&visitor, "New signing secret").under(label, href),
        webhook: name,
        secret: made.secret,
        former_secret_until: made.former_secret_until,
    })
}

/// With what admins may do, which operators may not.
fn shell(visitor: &Visitor, title: &str) -> Shell {
    let may_edit = visitor.caller.require(WebhookSpec::WRITER).is_ok();
    Shell { may_edit, ..Shell::new(visitor, Section::Alerts, title) }
}

impl ListPage {
    fn types(webhook: &Webhook) -> String {
        types(webhook)
    }

    fn state(webhook: &Webhook) -> (&'static str, &'static str) {
        state(webhook)
    }
}

impl DetailPage {
    fn types(&self) -> String {
        types(&self.webhook)
    }

    fn state(&self) -> (&'static str, &'static str) {
        state(&self.webhook)
    }

    fn is_active(&self) -> bool {
        self.webhook.status.state == WebhookState::Active
    }

    /// How a delivery stands: the tone, and the word.
    fn standing(delivery: &AlertDelivery) -> (&'static str, &'static str) {
        match delivery.state {
            DeliveryState::Delivered => ("good", "delivered"),
            DeliveryState::Waiting if delivery.attempts > 0 => ("warn", "tried again"),
            DeliveryState::Waiting => ("", "due"),
            DeliveryState::GivenUp => ("bad", "given up"),
        }
    }
}

fn types(webhook: &Webhook) -> String {
    match &webhook.spec.types {
        Some(types) => types.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        None => "all".to_owned(),
    }
}

/// The tone, and the word.
fn state(webhook: &Webhook) -> (&'static str, &'static str) {
    match webhook.status.state {
        WebhookState::Active => ("good", "active"),
        WebhookState::Disabled => ("", "disabled"),
        WebhookState::Gone => ("bad", "gone"),
    }
}

impl Editable for WebhookSpec {
    const SECTION: Section = Section::Alerts;
    const LIST: (&'static str, &'static str) = ("Webhooks", "/webhooks");

    fn fields(_: &Choices) -> Vec<Field> {
        vec![
            Field::new("url", "URL", Control::Code)
                .hint(
                    "Where alerts are posted: https, or http in a network that the tenant allows. Leave credentials out \
                     of it: what is sent is signed.",
                )
                .required(),
            Field::new("types", "Types", Control::Lines).hint(
                "Which alerts it wants, one a line: limit.saturated, budget.threshold, budget.forecast. Without any, all.",
            ),
            Field::new("disabled", "Send it nothing", Control::Check)
                .hint("What waits is given up, and what happens meanwhile is not sent later."),
        ]
    }

    fn entries(object: &Object<Self>) -> Entries {
        let WebhookSpec { url, types, enabled } = &object.spec;
        let types = types.iter().flatten().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        let disabled = if *enabled == Some(false) { "yes" } else { "" };
        Entries::default().with("url", url.as_str()).with("types", types).with("disabled", disabled)
    }

    fn spec(entries: &Entries) -> Value {
        let types = Some(entries.lines("types")).filter(|types| !types.is_empty());
        json!({
            "url": entries.text("url"),
            "types": types,
            "enabled": (entries.get("disabled") == "yes").then_some(false),
        })
    }

    fn field_at(pointer: &str) -> &'static str {
        match pointer.split('/').nth(2) {
            Some("url") => "url",
            Some("types") => "types",
            Some("enabled") => "disabled",
            _ => "",
        }
    }

    fn page(name: &str) -> String {
        format!("/webhooks/{name}")
    }
}

impl Deletable for WebhookSpec {
    const PRECIOUS: bool = false;
    const LOSS: &'static str = "What waits for it is never sent, and what was delivered to it is no longer known.";
}
