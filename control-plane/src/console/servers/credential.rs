//! The part of a server's form that says what Tollgate presents to it.
//!
//! Invariant: no secret is ever filled in: what is left empty stays as it is stored.

use serde_json::{Value, json};

use crate::{
    console::form::{Choice, Control, Entries, Field},
    servers::{
        ServerCredential, ServerSpec,
        credential::{ClientAuthMethod, OauthClientCredentials},
    },
};

const HEADER: &str = "header";
const OAUTH: &str = "oauth_client_credentials";
const PRIVATE_KEY: &str = "private_key_jwt";

/// The fields, empty.
pub(super) fn fields() -> Vec<Field> {
    let choice = |value: &str, label: &str| Choice { value: value.to_owned(), label: label.to_owned() };
    let kinds =
        vec![choice("", "Nothing"), choice(HEADER, "Headers"), choice(OAUTH, "A token by OAuth client credentials")];
    let methods = vec![
        choice("", "Secret in the Authorization header (client_secret_basic)"),
        choice("client_secret_post", "Secret in the body (client_secret_post)"),
        choice(PRIVATE_KEY, "Signed by a private key (private_key_jwt)"),
    ];
    let of_client = |name, label, control| Field::new(name, label, control).only_for(OAUTH);
    vec![
        Field::new("credential", "Tollgate presents to it", Control::Select(kinds))
            .hint("An agent's own token never reaches a server."),
        Field::new("credential_headers", "Headers", Control::SecretLines).only_for(HEADER).hint(
            "One a line, as Authorization: Bearer s3cr3t. A line with the name alone keeps the stored value. Values are \
             never shown again.",
        ),
        of_client("oauth_client_id", "OAuth client id", Control::Code)
            .hint("The client that Tollgate is at the server's authorization server."),
        of_client("oauth_auth_method", "OAuth client authentication", Control::Select(methods)),
        of_client("oauth_secret", "OAuth client secret or private key", Control::Secret)
            .hint("The key as PEM or JWK, P-256. Left empty, the stored one stays. Never shown again."),
        Field::new("oauth_key_id", "OAuth key id", Control::Code)
            .only_for(PRIVATE_KEY)
            .hint("The kid of the private key, where it is asked for."),
        of_client("oauth_issuer", "OAuth issuer", Control::Code)
            .hint("Left empty, the server's own metadata names its authorization server."),
        of_client("oauth_token_endpoint", "OAuth token endpoint", Control::Code)
            .hint("Only where the issuer publishes no metadata."),
        of_client("oauth_scopes", "OAuth scopes", Control::Code).hint("Divided by spaces."),
        of_client("oauth_resource", "OAuth resource", Control::Code)
            .hint("What tokens are for, where it is not the server's URL."),
        Field::new("passed_headers", "Headers passed on", Control::Lines)
            .hint("Names of headers of agents' requests that it gets, one a line. All others stay here."),
    ]
}

/// What the fields start with.
pub(super) fn entries(spec: &ServerSpec) -> Entries {
    let passed = spec.passed_headers.as_deref().unwrap_or_default().join("\n");
    let entries = Entries::default().with("passed_headers", passed);
    match &spec.credential {
        None | Some(ServerCredential::None(_)) => entries,
        Some(ServerCredential::Header(credential)) => {
            let names: Vec<&str> = credential.names().collect();
            entries.with("credential", HEADER).with("credential_headers", names.join("\n"))
        }
        Some(ServerCredential::OauthClientCredentials(credential)) => client_entries(entries, credential),
    }
}

fn client_entries(entries: Entries, credential: &OauthClientCredentials) -> Entries {
    let method = match credential.auth_method {
        None | Some(ClientAuthMethod::ClientSecretBasic) => "",
        Some(ClientAuthMethod::ClientSecretPost) => "client_secret_post",
        Some(ClientAuthMethod::PrivateKeyJwt) => "private_key_jwt",
    };
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    entries
        .with("credential", OAUTH)
        .with("oauth_client_id", credential.client_id.clone())
        .with("oauth_auth_method", method)
        .with("oauth_key_id", text(&credential.key_id))
        .with("oauth_issuer", text(&credential.issuer))
        .with("oauth_token_endpoint", text(&credential.token_endpoint))
        .with("oauth_scopes", credential.scopes.as_deref().unwrap_or_default().join(" "))
        .with("oauth_resource", text(&credential.resource))
}

/// The credential that the entries mean, as a merge patch: what another kind has is taken away.
pub(super) fn spec(entries: &Entries) -> Value {
    let mut spec = json!({
        "type": HEADER, "name": null, "value_ref": null, "headers": null,
        "client_id": null, "auth_method": null, "secret_ref": null, "key_id": null,
        "issuer": null, "token_endpoint": null, "scopes": null, "resource": null,
    });
    match entries.get("credential") {
        HEADER => spec["headers"] = entries.lines("credential_headers").into_iter().map(header).collect(),
        OAUTH => {
            spec["type"] = json!(OAUTH);
            spec["client_id"] = json!(entries.get("oauth_client_id"));
            for (member, entry) in [
                ("auth_method", "oauth_auth_method"),
                ("key_id", "oauth_key_id"),
                ("issuer", "oauth_issuer"),
                ("token_endpoint", "oauth_token_endpoint"),
                ("resource", "oauth_resource"),
            ] {
                spec[member] = entries.text(entry);
            }
            spec["secret_ref"] = reference(entries.get("oauth_secret"));
            let scopes: Vec<&str> = entries.get("oauth_scopes").split_whitespace().collect();
            spec["scopes"] = if scopes.is_empty() { Value::Null } else { json!(scopes) };
        }
        _ => spec = Value::Null,
    }
    spec
}

/// The headers that are passed on; null when none are.
pub(super) fn passed_headers(entries: &Entries) -> Value {
    let names = entries.lines("passed_headers");
    if names.is_empty() { Value::Null } else { json!(names) }
}

/// The field that a fault at this JSON pointer belongs to.
pub(super) fn field_at(pointer: &str) -> &'static str {
    match pointer.split('/').nth(3) {
        Some("headers" | "name" | "value_ref") => "credential_headers",
        Some("client_id") => "oauth_client_id",
        Some("auth_method") => "oauth_auth_method",
        Some("secret_ref") => "oauth_secret",
        Some("key_id") => "oauth_key_id",
        Some("issuer") => "oauth_issuer",
        Some("token_endpoint") => "oauth_token_endpoint",
        Some("scopes") => "oauth_scopes",
        Some("resource") => "oauth_resource",
        _ => "credential",
    }
}

/// A line of `name: value`, or of the name alone.
fn header(line: &str) -> Value {
    let (name, value) = line.split_once(':').unwrap_or((line, ""));
    json!({ "name": name.trim(), "value_ref": reference(value.trim()) })
}

fn reference(secret: &str) -> Value {
    if secret.is_empty() { Value::Null } else { json!(format!("literal:{secret}")) }
}
