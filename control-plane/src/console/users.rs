//! Pages of people: the list, one user, adding and changing them. Identity providers stand in the same list.
//!
//! Invariant: a page adds no rule of its own; what an operation refuses is said on the user's page.

use std::{sync::Arc, time::Duration};

use askama::Template;
use axum::{
    extract::{Path, State},
    response::Response,
};
use http::StatusCode;
use serde_json::{Value, json};

use super::{
    all, filters,
    form::{self, Choice, Choices, Complaint, Control, Entries, Field, FormPage},
    page::{Done, PageError, Section, Shell, show, show_with},
    visitor::{Nothing, Posted, Visitor},
};
use crate::{
    app::App,
    caller::Role,
    error::ApiError,
    identity_providers::{IdentityProvider, IdentityProviderSpec},
    page::PageQuery,
    request,
    resource::{Patch, Precondition},
    users::{
        self, UserState,
        directory::{self, NewUser, UserObject},
    },
};

pub(super) const LIST: (&str, &str) = ("Users", "/users");
const LINK_TTL: Duration = Duration::from_secs(15 * 60);
const PAGE_USERS: u16 = 500;
const ROLES: [(&str, &str); 6] = [
    ("none", "None: only allows agents to act for them"),
    ("viewer", "Viewer: reads"),
    ("finance", "Finance: reads usage and cost"),
    ("operator", "Operator: teams, servers, agents, grants, limits"),
    ("admin", "Admin: the tenant and its users as well"),
    ("owner", "Owner: everything, including the other owners"),
];

#[derive(Template)]
#[template(path = "users/list.html")]
struct ListPage {
    shell: Shell,
    users: Vec<UserObject>,
    providers: Vec<IdentityProvider>,
    may_manage: bool,
}

#[derive(Template)]
#[template(path = "users/detail.html")]
struct DetailPage {
    shell: Shell,
    user: UserObject,
    may_manage: bool,
    wrong: Option<String>,
}

#[derive(Template)]
#[template(path = "users/link.html")]
struct LinkPage {
    shell: Shell,
    user: UserObject,
    link: users::SignInLink,
}

/// `GET /users`.
pub(super) async fn show_list(State(app): State<Arc<App>>, visitor: Visitor) -> Result<Response, PageError> {
    let mut users = Vec::new();
    let mut query = PageQuery { limit: Some(PAGE_USERS), cursor: None };
    loop {
        let page = directory::list(&app, &visitor.caller, &query).await?;
        users.extend(page.items);
        match page.next_cursor {
            Some(cursor) => query.cursor = Some(cursor),
            None => break,
        }
    }
    show(&ListPage {
        shell: Shell::new(&visitor, Section::Users, "Users"),
        users,
        providers: all::<IdentityProviderSpec>(&app, &visitor).await?,
        may_manage: may_manage(&visitor),
    })
}

/// `GET /users/{id}`.
pub(super) async fn show_detail(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response, PageError> {
    let user = directory::get(&app, &visitor.caller, &id).await?;
    show(&detail(&visitor, user, None))
}

/// `GET /new/user`.
pub(super) async fn show_new(State(app): State<Arc<App>>, visitor: Visitor) -> Result<Response, PageError> {
    visitor.caller.require(Role::Admin)?;
    visitor.require_recent_sign_in("/new/user")?;
    let choices = form::choices(&app, &visitor).await?;
    show(&adding(&visitor, &choices, &Entries::default().with("role", "viewer"), Vec::new()))
}

/// `POST /new/user`: makes the user and the link that they come by first.
pub(super) async fn create(State(app): State<Arc<App>>, posted: Posted<Entries>) -> Result<Response, PageError> {
    let Posted { visitor, form: entries } = posted;
    visitor.caller.require(Role::Admin)?;
    visitor.require_recent_sign_in("/new/user")?;
    let choices = form::choices(&app, &visitor).await?;
    let mut wrong = form::missing(&new_fields(&choices), &entries);
    if wrong.is_empty() {
        let new = json!({ "email": entries.get("email"), "spec": spec(&entries, UserState::Active) });
        let created = match request::decode::<NewUser>(new) {
            Ok(new) => directory::create(&app, &visitor.caller, new).await,
            Err(error) => Err(error),
        };
        match created {
            Ok(user) => return show_link(&app, &visitor, user).await,
            Err(error) => wrong = form::complaints_of(error, "user", "email", field_at)?,
        }
    }
    show_with(StatusCode::UNPROCESSABLE_ENTITY, &adding(&visitor, &choices, &entries, wrong))
}

/// `GET /users/{id}/edit`.
pub(super) async fn show_edit(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response, PageError> {
    visitor.caller.require(Role::Admin)?;
    let user = directory::get(&app, &visitor.caller, &id).await?;
    let choices = form::choices(&app, &visitor).await?;
    let entries = Entries::default()
        .with("role", user.spec.role.as_str())
        .with("team", user.spec.team.as_ref().map(ToString::to_string).unwrap_or_default())
        .with("display_name", user.spec.display_name.clone().unwrap_or_default());
    show(&editing(&visitor, &choices, &user, &entries, Vec::new()))
}

/// `POST /users/{id}/edit`.
pub(super) async fn save(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    posted: Posted<Entries>,
) -> Result<Response, PageError> {
    let Posted { visitor, form: entries } = posted;
    let user = directory::get(&app, &visitor.caller, &id).await?;
    let choices = form::choices(&app, &visitor).await?;
    let seen = Precondition::matching(entries.get("etag"));
    let patch = Patch(json!({ "spec": spec(&entries, user.spec.state) }));
    match directory::patch(&app, &visitor.caller, &id, &seen, &patch).await {
        Ok(user) => Ok(Done::Saved.then(&page_of(&user))),
        Err(error) => {
            let stale = matches!(error, ApiError::PreconditionFailed);
            let wrong = form::complaints_of(error, "user", "email", field_at)?;
            let status = if stale { StatusCode::CONFLICT } else { StatusCode::UNPROCESSABLE_ENTITY };
            show_with(status, &editing(&visitor, &choices, &user, &entries, wrong))
        }
    }
}

/// `POST /users/{id}/link`: makes a one-time link and shows it, this once.
pub(super) async fn make_link(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    posted: Posted<Nothing>,
) -> Result<Response, PageError> {
    let user = directory::get(&app, &posted.visitor.caller, &id).await?;
    posted.visitor.caller.require(Role::Admin)?;
    posted.visitor.require_recent_sign_in(&page_of(&user))?;
    show_link(&app, &posted.visitor, user).await
}

/// `POST /users/{id}/disable`.
pub(super) async fn disable(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    posted: Posted<Nothing>,
) -> Result<Response, PageError> {
    set_state(&app, &posted.visitor, &id, UserState::Disabled, Done::UserDisabled).await
}

/// `POST /users/{id}/activate`.
pub(super) async fn activate(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    posted: Posted<Nothing>,
) -> Result<Response, PageError> {
    set_state(&app, &posted.visitor, &id, UserState::Active, Done::UserActivated).await
}

/// `POST /users/{id}/revoke`.
pub(super) async fn revoke(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    posted: Posted<Nothing>,
) -> Result<Response, PageError> {
    let user = directory::get(&app, &posted.visitor.caller, &id).await?;
    directory::revoke(&app, &posted.visitor.caller, &id).await?;
    Ok(Done::UserRevoked.then(&page_of(&user)))
}

/// `POST /users/{id}/delete`.
pub(super) async fn delete(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    posted: Posted<Nothing>,
) -> Result<Response, PageError> {
    let visitor = posted.visitor;
    let user = directory::get(&app, &visitor.caller, &id).await?;
    match directory::remove(&app, &visitor.caller, &id, &Precondition::matching(&user.etag)).await {
        Ok(()) => Ok(Done::Deleted.then(LIST.1)),
        Err(error) => explain(&visitor, user, error),
    }
}

async fn set_state(
    app: &App,
    visitor: &Visitor,
    id: &str,
    state: UserState,
    done: Done,
) -> Result<Response, PageError> {
    let user = directory::get(app, &visitor.caller, id).await?;
    let patch = Patch(json!({ "spec": { "state": state } }));
    match directory::patch(app, &visitor.caller, id, &Precondition::matching(&user.etag), &patch).await {
        Ok(user) => Ok(done.then(&page_of(&user))),
        Err(error) => explain(visitor, user, error),
    }
}

async fn show_link(app: &App, visitor: &Visitor, user: UserObject) -> Result<Response, PageError> {
    match users::create_sign_in_link(app, &visitor.caller, &user.email, LINK_TTL).await {
        Ok(link) => {
            let shell = Shell::new(visitor, Section::Users, "Sign-in link").under(LIST.0, LIST.1);
            show(&LinkPage { shell, user, link })
        }
        Err(error) => explain(visitor, user, error),
    }
}

/// What the visitor can mend is said on the user's page; the rest has a page of its own.
fn explain(visitor: &Visitor, user: UserObject, error: ApiError) -> Result<Response, PageError> {
    let complaints = form::complaints_of(error, "user", "", field_at)?;
    let text = complaints.into_iter().map(|complaint| complaint.text).collect::<Vec<_>>().join(" ");
    show_with(StatusCode::CONFLICT, &detail(visitor, user, Some(text)))
}

fn detail(visitor: &Visitor, user: UserObject, wrong: Option<String>) -> DetailPage {
    DetailPage {
        shell: Shell::new(visitor, Section::Users, user.email.clone()).under(LIST.0, LIST.1),
        may_manage: may_manage(visitor) && visitor.caller.require(user.spec.role).is_ok(),
        user,
        wrong,
    }
}

impl DetailPage {
    fn is_active(&self) -> bool {
        self.user.spec.state == UserState::Active
    }
}

impl ListPage {
    /// How somebody signs in, in words.
    #[expect(clippy::unused_self, reason = "the template calls it")]
    fn ways(&self, user: &UserObject) -> String {
        let password = user.status.has_password.then(|| "password".to_owned());
        let identities = user.status.identities.iter().map(|identity| identity.provider.clone());
        let ways: Vec<String> = password.into_iter().chain(identities).collect();
        if ways.is_empty() { "one-time link".to_owned() } else { ways.join(", ") }
    }
}

fn may_manage(visitor: &Visitor) -> bool {
    visitor.caller.require(Role::Admin).is_ok()
}

fn page_of(user: &UserObject) -> String {
    format!("/users/{}", user.id)
}

fn spec(entries: &Entries, state: UserState) -> Value {
    json!({
        "role": entries.text("role"),
        "team": entries.text("team"),
        "display_name": entries.text("display_name"),
        "state": state,
    })
}

fn field_at(pointer: &str) -> &'static str {
    match pointer {
        "/email" => "email",
        "/spec/role" => "role",
        "/spec/team" => "team",
        "/spec/display_name" => "display_name",
        _ => "",
    }
}

/// Every role, said in words.
pub(super) fn role_choices() -> impl Iterator<Item = Choice> {
    ROLES.into_iter().map(|(value, label)| Choice { value: value.to_owned(), label: label.to_owned() })
}

fn fields(choices: &Choices) -> Vec<Field> {
    vec![
        Field::new("role", "Role", Control::Select(role_choices().collect()))
            .hint("What they may do in this console and over the API. Nobody gives out more than they have.")
            .required(),
        Field::new("team", "Team", Control::Select(Choice::none_or("No team", &choices.teams)))
            .hint("Calls that agents make for them are booked to it; without one, to the agent's team."),
        Field::new("display_name", "Name", Control::Text),
    ]
}

fn new_fields(choices: &Choices) -> Vec<Field> {
    let email = Field::new("email", "E-mail address", Control::Code)
        .hint("They sign in with it. It cannot be changed.")
        .required();
    std::iter::once(email).chain(fields(choices)).collect()
}

fn adding(visitor: &Visitor, choices: &Choices, entries: &Entries, complaints: Vec<Complaint>) -> FormPage {
    FormPage {
        shell: Shell::new(visitor, Section::Users, "New user").under(LIST.0, LIST.1),
        action: "/new/user".to_owned(),
        back: LIST.1.to_owned(),
        etag: None,
        lead: "You get a link that signs them in once; send it to them.",
        submit: "Create",
        danger: false,
        fields: form::filled(new_fields(choices), entries, &complaints),
        complaints,
    }
}

fn editing(
    visitor: &Visitor,
    choices: &Choices,
    user: &UserObject,
    entries: &Entries,
    complaints: Vec<Complaint>,
) -> FormPage {
    let etag = Some(entries.get("etag")).filter(|etag| !etag.is_empty()).unwrap_or(&user.etag);
    FormPage {
        shell: Shell::new(visitor, Section::Users, format!("Edit {}", user.email)).under(LIST.0, LIST.1),
        action: format!("{}/edit", page_of(user)),
        back: page_of(user),
        etag: Some(etag.to_owned()),
        lead: "",
        submit: "Save",
        danger: false,
        fields: form::filled(fields(choices), entries, &complaints),
        complaints,
    }
}
