//! Settings of the tenant: tokens, signing in, agents that register themselves, networks, what holds without a control
//! plane, how usage is counted and kept.
//!
//! Invariant: everything here is an operation of the REST API; rules and pinned documents are shown, and changed there.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, State},
    response::Response,
};
use http::StatusCode;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{
    filters,
    form::{Choice, Choices, Control, Editable, Entries, Field},
    page::{Done, PageError, Section, Shell, sentence, show, show_with},
    visitor::{Posted, Visitor},
};
use crate::{
    app::App,
    error::ApiError,
    initial_access_tokens::{self, InitialAccessToken, TokenRequest},
    oauth::AccessTokenFormat,
    resource::{self, Kind, Object},
    tenants::{
        Tenant, TenantSpec,
        client_registration::{AllowOrDeny, ClientRegistration, DynamicRegistration, PrivateUseSchemes, Rule, Switch},
        staleness::{Destructive, Staleness},
    },
};

const PAGE: &str = "/settings";

#[derive(Template)]
#[template(path = "settings.html")]
struct SettingsPage {
    shell: Shell,
    tenant: Tenant,
    registration: ClientRegistration,
    /// Absent to those who may not see them.
    tokens: Option<Vec<InitialAccessToken>>,
    wrong: Option<String>,
}

#[derive(Template)]
#[template(path = "settings/token.html")]
struct TokenPage {
    shell: Shell,
    token: Zeroizing<String>,
    registration_url: String,
}

impl SettingsPage {
    fn registers(&self) -> &'static str {
        match self.registration.registration.unwrap_or_default() {
            DynamicRegistration::Open => "open to every client",
            DynamicRegistration::InitialAccessToken => "with an initial access token",
            DynamicRegistration::Approval => "open, but an operator approves each agent",
            DynamicRegistration::Off => "off",
        }
    }

    fn documents(&self) -> &'static str {
        match self.registration.client_documents.unwrap_or_default() {
            Switch::On => "on",
            Switch::Off => "off",
        }
    }

    fn machine_hosts(&self) -> &[String] {
        self.registration.client_credentials_hosts.as_deref().unwrap_or_default()
    }

    fn rules(&self) -> &[Rule] {
        self.registration.rules.as_deref().unwrap_or_default()
    }

    fn stale(&self) -> &Staleness {
        &self.tenant.status.effective.staleness
    }

    fn destroys_when_stale(&self) -> bool {
        self.stale().destructive == Some(Destructive::Allow)
    }

    fn opaque(&self) -> bool {
        self.tenant.status.effective.access_token_format == AccessTokenFormat::Opaque
    }
}

/// `GET /settings`.
pub(super) async fn show_settings(State(app): State<Arc<App>>, visitor: Visitor) -> Result<Response, PageError> {
    show(&page(&app, &visitor, None).await?)
}

/// `POST /settings/initial-access-tokens`: makes a token and shows it, this once.
pub(super) async fn create_token(State(app): State<Arc<App>>, posted: Posted<Entries>) -> Result<Response, PageError> {
    let Posted { visitor, form: entries } = posted;
    visitor.caller.require(TenantSpec::WRITER)?;
    visitor.require_recent_sign_in(PAGE)?;
    let filled = |name: &str| Some(entries.get(name)).filter(|text| !text.is_empty());
    let asked = TokenRequest {
        note: entries.get("note").to_owned(),
        expires_in: filled("expires_in").map(str::to_owned),
        // What is no number is out of every range, and told so.
        uses: filled("uses").map(|uses| uses.parse().unwrap_or(0)),
    };
    match initial_access_tokens::create(&app, &visitor.caller, &asked).await {
        Ok(made) => show(&TokenPage {
            shell: Shell::new(&visitor, Section::Settings, "New initial access token").under("Settings", PAGE),
            token: made.token,
            registration_url: made.registration_url,
        }),
        Err(ApiError::Invalid(faults)) => {
            let wrong = faults.to_vec().into_iter().map(|fault| sentence(&fault.detail)).collect::<Vec<_>>().join(" ");
            show_with(StatusCode::UNPROCESSABLE_ENTITY, &page(&app, &visitor, Some(wrong)).await?)
        }
        Err(error) => Err(error.into()),
    }
}

/// `POST /settings/initial-access-tokens/{id}/revoke`.
pub(super) async fn revoke_token(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    posted: Posted<Entries>,
) -> Result<Response, PageError> {
    initial_access_tokens::remove(&app, &posted.visitor.caller, &id).await?;
    Ok(Done::Deleted.then(PAGE))
}

async fn page(app: &App, visitor: &Visitor, wrong: Option<String>) -> Result<SettingsPage, PageError> {
    let tenant: Tenant = resource::get(app, &visitor.caller, &visitor.caller.tenant_name).await?;
    let may_edit = visitor.caller.require(TenantSpec::WRITER).is_ok();
    let tokens = if may_edit { Some(initial_access_tokens::list(app, &visitor.caller).await?.items) } else { None };
    let mut shell = Shell::new(visitor, Section::Settings, "Settings");
    shell.may_edit = may_edit;
    let registration = tenant.status.effective.client_registration.clone();
    Ok(SettingsPage { shell, tenant, registration, tokens, wrong })
}

impl Editable for TenantSpec {
    const SECTION: Section = Section::Settings;
    const LIST: (&'static str, &'static str) = ("Settings", PAGE);

    fn fields(choices: &Choices) -> Vec<Field> {
        [about_tokens(), about_people(), about_agents(choices), about_staleness(), about_usage()]
            .into_iter()
            .flatten()
            .collect()
    }

    fn entries(object: &Object<Self>) -> Entries {
        let (spec, effective) = (&object.spec, &object.status.effective);
        let registration = &effective.client_registration;
        let hosts = registration.document_hosts.clone().unwrap_or_default();
        let (schemes, listed) = match registration.private_use_schemes.clone().unwrap_or_default() {
            PrivateUseSchemes::Every(AllowOrDeny::Allow) => ("allow", Vec::new()),
            PrivateUseSchemes::Every(AllowOrDeny::Deny) => ("deny", Vec::new()),
            PrivateUseSchemes::Only(listed) => ("list", listed),
        };
        let yes = |set: bool| if set { "yes" } else { "" };
        Entries::default()
            .with("display_name", spec.display_name.clone().unwrap_or_default())
            .with("access_token_ttl", effective.access_token_ttl.as_str())
            .with("access_token_format", as_text(&json!(effective.access_token_format)))
            .with("signing_key_rotation", effective.signing_key_rotation.as_str())
            .with("strict_assertion_audience", yes(effective.strict_assertion_audience))
            .with("strict_code_reuse", yes(effective.strict_code_reuse))
            .with("always_rotate_refresh_tokens", yes(effective.always_rotate_refresh_tokens))
            .with("local_sign_in", yes(effective.local_sign_in))
            .with("registration", as_text(&json!(registration.registration)))
            .with("client_documents", as_text(&json!(registration.client_documents)))
            .with("document_hosts_allow", hosts.allow.join("\n"))
            .with("document_hosts_deny", hosts.deny.join("\n"))
            .with(
                "client_credentials_hosts",
                registration.client_credentials_hosts.clone().unwrap_or_default().join("\n"),
            )
            .with("private_use_schemes", schemes)
            .with("private_use_schemes_listed", listed.join("\n"))
            .with("default_team", registration.default_team.as_ref().map(ToString::to_string).unwrap_or_default())
            .with("clients_max", registration.clients_max.map(|max| max.to_string()).unwrap_or_default())
            .with("unconfirmed_ttl", registration.unconfirmed_ttl.clone().unwrap_or_default())
            .with("egress_allow", effective.egress_allow.join("\n"))
            .with("max_stale", effective.staleness.max_stale())
            .with("stale_destructive", as_text(&json!(effective.staleness.destructive)))
            .with("time_zone", effective.time_zone.as_str())
            .with("usage_retention", effective.usage_retention.as_str())
    }

    fn spec(entries: &Entries) -> Value {
        // What is no number goes on as text, for the operation to refuse.
        let clients_max =
            entries.get("clients_max").parse::<u32>().map_or_else(|_| entries.text("clients_max"), Value::from);
        let schemes = match entries.get("private_use_schemes") {
            "list" => json!(entries.lines("private_use_schemes_listed")),
            every => json!(every),
        };
        json!({
            "display_name": entries.text("display_name"),
            "access_token_ttl": entries.text("access_token_ttl"),
            "access_token_format": entries.text("access_token_format"),
            "signing_key_rotation": entries.text("signing_key_rotation"),
            "strict_assertion_audience": entries.get("strict_assertion_audience") == "yes",
            "strict_code_reuse": entries.get("strict_code_reuse") == "yes",
            "always_rotate_refresh_tokens": entries.get("always_rotate_refresh_tokens") == "yes",
            "local_sign_in": entries.get("local_sign_in") == "yes",
            "egress_allow": entries.lines("egress_allow"),
            "time_zone": entries.text("time_zone"),
            "usage_retention": entries.text("usage_retention"),
            "staleness": {
                "max_stale": entries.text("max_stale"),
                "destructive": entries.text("stale_destructive"),
            },
            "client_registration": {
                "registration": entries.text("registration"),
                "client_documents": entries.text("client_documents"),
                "document_hosts": {
                    "allow": entries.lines("document_hosts_allow"),
                    "deny": entries.lines("document_hosts_deny"),
                },
                "client_credentials_hosts": entries.lines("client_credentials_hosts"),
                "private_use_schemes": schemes,
                "default_team": entries.text("default_team"),
                "clients_max": clients_max,
                "unconfirmed_ttl": entries.text("unconfirmed_ttl"),
            },
        })
    }

    fn field_at(pointer: &str) -> &'static str {
        const FIELDS: [(&str, &str); 17] = [
            ("/spec/time_zone", "time_zone"),
            ("/spec/usage_retention", "usage_retention"),
            ("/spec/staleness/max_stale", "max_stale"),
            ("/spec/staleness/destructive", "stale_destructive"),
            ("/spec/signing_key_rotation", "signing_key_rotation"),
            ("/spec/display_name", "display_name"),
            ("/spec/access_token_ttl", "access_token_ttl"),
            ("/spec/access_token_format", "access_token_format"),
            ("/spec/egress_allow", "egress_allow"),
            ("/spec/client_registration/registration", "registration"),
            ("/spec/client_registration/document_hosts/allow", "document_hosts_allow"),
            ("/spec/client_registration/document_hosts/deny", "document_hosts_deny"),
            ("/spec/client_registration/client_credentials_hosts", "client_credentials_hosts"),
            ("/spec/client_registration/private_use_schemes", "private_use_schemes_listed"),
            ("/spec/client_registration/default_team", "default_team"),
            ("/spec/client_registration/clients_max", "clients_max"),
            ("/spec/client_registration/unconfirmed_ttl", "unconfirmed_ttl"),
        ];
        FIELDS.into_iter().find(|(at, _)| pointer.starts_with(at)).map_or("", |(_, field)| field)
    }

    fn page(_: &str) -> String {
        PAGE.to_owned()
    }

    /// When it switches passwords on or off.
    fn is_delicate(object: Option<&Object<Self>>, entries: Option<&Entries>) -> bool {
        let passwords = |entries: &Entries| entries.get("local_sign_in") == "yes";
        let before = object.map(|object| passwords(&Self::entries(object)));
        entries.is_some_and(|entries| before != Some(passwords(entries)))
    }
}

fn about_tokens() -> Vec<Field> {
    let formats = vec![
        choice("jwt", "JWT: data planes verify it themselves"),
        choice("opaque", "Opaque: says nothing to whoever sees it; each data plane asks once what it means"),
    ];
    vec![
        Field::new("display_name", "Display name", Control::Text),
        Field::new("access_token_ttl", "Life of access tokens", Control::Code).hint(
            "From 1m to 24h; an hour at most for a user. A revocation acts within a second, however long they live.",
        ),
        Field::new("access_token_format", "Format of access tokens", Control::Select(formats)),
        Field::new("signing_key_rotation", "A new signing key every", Control::Code).hint("As in 90d."),
        Field::new("strict_assertion_audience", "Take client assertions for the issuer only", Control::Check)
            .hint("Otherwise also those whose audience is the token endpoint's URL, as many clients write it."),
        Field::new("strict_code_reuse", "A code that is redeemed twice ends its authorization at once", Control::Check)
            .hint("Otherwise a repetition within two seconds is refused and ends nothing: clients retry that fast."),
        Field::new("always_rotate_refresh_tokens", "Rotate every client's refresh tokens", Control::Check)
            .hint("Otherwise clients that sign with keys of their own keep the one they have."),
    ]
}

fn about_people() -> Vec<Field> {
    vec![
        Field::new("local_sign_in", "People may sign in with a password", Control::Check)
            .hint("One-time links always work."),
    ]
}

fn about_agents(choices: &Choices) -> Vec<Field> {
    let registrations = vec![
        choice("open", "Open to every client"),
        choice("initial_access_token", "With an initial access token"),
        choice("approval", "Open, but an operator approves each agent"),
        choice("off", "Off"),
    ];
    let documents = vec![choice("on", "On"), choice("off", "Off")];
    let schemes = vec![
        choice("allow", "Take all but dangerous ones"),
        choice("deny", "Take none"),
        choice("list", "Take those listed below"),
    ];
    vec![
        Field::new("registration", "Dynamic registration", Control::Select(registrations))
            .hint("How clients register themselves (RFC 7591). They may do nothing until something is granted."),
        Field::new("client_documents", "Client metadata documents", Control::Select(documents))
            .hint("Whether a client may be known by the https URL of a document about itself."),
        Field::new("document_hosts_allow", "Only documents at these hosts", Control::Lines)
            .hint("One a line, as in claude.ai; hosts below it too. Empty for all."),
        Field::new("document_hosts_deny", "No documents at these hosts", Control::Lines),
        Field::new("client_credentials_hosts", "Hosts whose clients may act for themselves", Control::Lines).hint(
            "One a line. A document there may name keys of its own and ask for tokens without a user. Empty for none.",
        ),
        Field::new("private_use_schemes", "Redirects to schemes of apps", Control::Select(schemes))
            .hint("Such as cursor://. Another app on the device may have claimed the same scheme."),
        Field::new("private_use_schemes_listed", "Schemes that are taken", Control::Lines),
        Field::new(
            "default_team",
            "Team of agents that register themselves",
            Control::Select(choices.teams.iter().map(|team| choice(team, team)).collect()),
        ),
        Field::new("clients_max", "At most so many of them", Control::Code),
        Field::new("unconfirmed_ttl", "Forget those that nobody allows anything after", Control::Code)
            .hint("From 1h to 30d."),
        Field::new("egress_allow", "Private networks that may be reached", Control::Lines)
            .hint("One a line, as in 10.20.0.0/16: where servers, documents and identity providers may live."),
    ]
}

fn about_staleness() -> Vec<Field> {
    let destructive = vec![choice("deny", "Wait for the control plane"), choice("allow", "Are called like all others")];
    vec![
        Field::new("max_stale", "Serve without a control plane for", Control::Code)
            .hint("As in 60m; 0s for no longer than the lease of a heartbeat, none for ever. What is revoked meanwhile is not known."),
        Field::new("stale_destructive", "Meanwhile tools that may destroy something", Control::Select(destructive))
            .hint("Those that nobody approved as read-only or as adding only."),
    ]
}

fn about_usage() -> Vec<Field> {
    vec![
        Field::new("time_zone", "Time zone", Control::Code).hint(
            "By IANA name, as Europe/Berlin. Reports and budgets add up days of it; what is kept is counted anew.",
        ),
        Field::new("usage_retention", "Keep usage records for", Control::Code)
            .hint("In days, as 90d. What they add up to is kept for ever."),
    ]
}

fn choice(value: &str, label: &str) -> Choice {
    Choice { value: value.to_owned(), label: label.to_owned() }
}

/// The text of a value that is one of some words.
fn as_text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
