//! The forms of identity providers.
//!
//! Invariant: the client secret is entered and never shown, not even when the form is shown again.

use serde_json::{Value, json};

use super::{
    form::{Choice, Choices, Control, Deletable, Editable, Entries, Field},
    page::Section,
    users::{LIST, role_choices},
};
use crate::{caller::Role, identity_providers::IdentityProviderSpec, resource::Object};

impl Editable for IdentityProviderSpec {
    const SECTION: Section = Section::Users;
    const LIST: (&'static str, &'static str) = LIST;

    fn fields(_: &Choices) -> Vec<Field> {
        let nobody = Choice { value: String::new(), label: "None: refuse them".to_owned() };
        vec![
            Field::new("display_name", "Label", Control::Text)
                .hint("What the button on the sign-in page says after “Sign in with”."),
            Field::new("issuer", "Issuer", Control::Code)
                .hint("As in https://login.example.com. It cannot be changed: users are linked to it.")
                .required(),
            Field::new("client_id", "Client id", Control::Code).hint("Of Tollgate at the provider.").required(),
            Field::new("client_secret", "Client secret", Control::Secret)
                .hint("Kept sealed and never shown. Left empty, the stored one stays."),
            Field::new("scopes", "Scopes", Control::Lines).hint("One a line. Without any: openid, profile, email."),
            Field::new("groups_claim", "Claim with the groups", Control::Code).hint("Without one: groups."),
            Field::new("role_mapping", "Roles of groups", Control::Lines)
                .hint("One a line, as group=role. The first that fits counts, at every sign-in."),
            Field::new(
                "default_role",
                "Role of everybody else",
                Control::Select(std::iter::once(nobody).chain(role_choices()).collect()),
            ),
            Field::new("team_mapping", "Teams of groups", Control::Lines)
                .hint("One a line, as group=team. The first that fits counts, at every sign-in."),
            Field::new("known_only", "Let in only who is a user already", Control::Check)
                .hint("Otherwise who comes for the first time becomes one."),
        ]
    }

    fn entries(object: &Object<Self>) -> Entries {
        let spec = &object.spec;
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let roles = spec.role_mapping.iter().flatten().map(|mapping| format!("{}={}", mapping.group, mapping.role));
        let teams = spec.team_mapping.iter().flatten().map(|mapping| format!("{}={}", mapping.group, mapping.team));
        Entries::default()
            .with("display_name", text(&spec.display_name))
            .with("issuer", spec.issuer.as_str())
            .with("client_id", spec.client_id.as_str())
            .with("scopes", spec.scopes.as_ref().map(|scopes| scopes.join("\n")).unwrap_or_default())
            .with("groups_claim", text(&spec.groups_claim))
            .with("role_mapping", roles.collect::<Vec<_>>().join("\n"))
            .with("default_role", spec.default_role.map(Role::as_str).unwrap_or_default())
            .with("team_mapping", teams.collect::<Vec<_>>().join("\n"))
            .with("known_only", if spec.creates_users() { "" } else { "yes" })
    }

    fn spec(entries: &Entries) -> Value {
        let mappings = |name: &str, what: &str| {
            // A group's name may hold the sign itself.
            let pair = |line: &str| {
                let (group, given) = line.rsplit_once('=').unwrap_or((line, ""));
                json!({ "group": group.trim(), what: given.trim() })
            };
            let mappings: Vec<Value> = entries.lines(name).into_iter().map(pair).collect();
            (!mappings.is_empty()).then_some(mappings)
        };
        let scopes = entries.lines("scopes");
        json!({
            "display_name": entries.text("display_name"),
            "issuer": entries.text("issuer"),
            "client_id": entries.text("client_id"),
            "client_secret": entries.text("client_secret"),
            "scopes": (!scopes.is_empty()).then_some(scopes),
            "groups_claim": entries.text("groups_claim"),
            "role_mapping": mappings("role_mapping", "role"),
            "default_role": entries.text("default_role"),
            "team_mapping": mappings("team_mapping", "team"),
            "create_users": (entries.get("known_only") == "yes").then_some(false),
        })
    }

    fn field_at(pointer: &str) -> &'static str {
        match pointer.split('/').nth(2) {
            Some("display_name") => "display_name",
            Some("issuer") => "issuer",
            Some("client_id") => "client_id",
            Some("client_secret") => "client_secret",
            Some("scopes") => "scopes",
            Some("groups_claim") => "groups_claim",
            Some("role_mapping") => "role_mapping",
            Some("default_role") => "default_role",
            Some("team_mapping") => "team_mapping",
            _ => "",
        }
    }

    fn page(_: &str) -> String {
        LIST.1.to_owned()
    }

    fn is_delicate(_: Option<&Object<Self>>, _: Option<&Entries>) -> bool {
        true
    }
}

impl Deletable for IdentityProviderSpec {
    const PRECIOUS: bool = true;
    const LOSS: &'static str = "Nobody can sign in through it any more. Whom it brought stay users, but are no longer \
                                linked to it, even if you make it again.";
}
