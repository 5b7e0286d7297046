//! The parts of the OpenAPI document that are no route.

use utoipa::{
    Modify, OpenApi,
    openapi::security::{Http, HttpAuthScheme, SecurityScheme},
};

use crate::{agents, catalog, error::Problem, oauth, servers, tenants, users, webhooks};

/// The document without the paths of routes.
pub(super) fn document() -> utoipa::openapi::OpenApi {
    Root::openapi()
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tollgate",
        description = "The REST API of Tollgate's control plane.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    servers((url = "/", description = "The control plane that serves this document")),
    security(("bearer" = [])),
    tags(
        (name = "tenants", description = "The isolation boundary: its own issuer, keys, users and policy"),
        (name = "teams", description = "Cost centres that own agents and servers"),
        (name = "servers", description = "Registered MCP servers"),
        (name = "catalog", description = "What servers offer, as last seen and as approved"),
        (name = "agents", description = "OAuth clients that call tools, and their secrets"),
        (name = "grants", description = "What agents and teams may do"),
        (name = "limits", description = "How much an agent may ask for"),
        (name = "price-books", description = "What calls cost, for everyone or for some teams, from a date on"),
        (name = "budgets", description = "How much may be spent in a calendar period"),
        (name = "alerts", description = "What somebody should know of"),
        (name = "webhooks", description = "Where alerts are sent, and whether they arrived"),
        (name = "users", description = "People, and how they sign in"),
        (name = "identity-providers", description = "OpenID providers through which people sign in"),
        (name = "signing-keys", description = "The keys that sign tokens: which there are, rotation, compromise"),
        (name = "sessions", description = "What agents of the legacy era have open, and what Tollgate has at legacy servers"),
        (name = "audit", description = "What people and programs changed, and were refused"),
        (name = "fleet", description = "Data planes, and the tokens that they join with: from the first tenant only"),
        (name = "usage", description = "Every call, and what calls add up to"),
    ),
    components(schemas(Problem)),
    // Actions on one object, behind the one route of their kind's `act`.
    paths(agents::api::suspend, agents::api::activate, agents::api::approve, agents::api::revoke, agents::api::token,
        users::api::create_sign_in_link, users::api::revoke, oauth::keys::api::revoke, tenants::api::revoke_tokens,
        servers::api::read_catalog, catalog::api::approve, catalog::api::block, catalog::api::reset,
        webhooks::api::test, webhooks::api::redeliver, webhooks::api::rotate_secret),
    modifiers(&Bearer)
)]
struct Root;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        document.components.get_or_insert_default().add_security_scheme("bearer", scheme);
    }
}
