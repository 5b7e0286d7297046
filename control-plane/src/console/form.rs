//! Forms that create, edit and delete objects: described by each kind, shown by one template, carried out by the
//! operations that the REST API has.
//!
//! Invariant: a form changes only the fields that it shows, and only the version of the object that was shown.

use askama::Template;
use axum::response::Response;
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::{
    page::{Done, PageError, Section, Shell, sentence, show, show_with},
    visitor::{Posted, Visitor},
};
use crate::{
    app::App,
    error::ApiError,
    request,
    resource::{self, Draft, Kind, Labels, Object, Patch, Precondition, Removable, Written},
};

mod field;
pub(super) mod tools;

pub(super) use field::{Choice, Complaint, Control, Entries, Field};

/// A kind whose objects are edited in forms.
pub(super) trait Editable: Kind {
    /// Where in the navigation.
    const SECTION: Section;
    /// How the list that it is in is called, and where it is.
    const LIST: (&'static str, &'static str);

    /// The form's fields, empty.
    fn fields(choices: &Choices) -> Vec<Field>;

    /// What the form starts with when it edits `object`.
    fn entries(object: &Object<Self>) -> Entries;

    /// The spec that the entries mean; null for what was left empty.
    fn spec(entries: &Entries) -> Value;

    /// The field that a fault at this JSON pointer belongs to; empty when to none.
    fn field_at(pointer: &str) -> &'static str;

    /// Where the object is seen.
    fn page(name: &str) -> String;

    /// Whether the form touches secrets, keys or how people sign in, so that who uses it must have signed in recently.
    /// `object` is what it edits, `entries` what is sent; none when it is only shown.
    fn is_delicate(_object: Option<&Object<Self>>, _entries: Option<&Entries>) -> bool {
        false
    }
}

/// A kind whose objects are deleted in forms too.
pub(super) trait Deletable: Editable + Removable {
    /// Whether the name is typed again before it is deleted.
    const PRECIOUS: bool;
    /// What deleting it brings about.
    const LOSS: &'static str;
}

/// Names to choose from.
#[derive(Debug, Default)]
pub(super) struct Choices {
    pub(super) teams: Vec<String>,
    pub(super) agents: Vec<String>,
    pub(super) servers: Vec<String>,
}

#[derive(Template)]
#[template(path = "form.html")]
pub(super) struct FormPage {
    pub(super) shell: Shell,
    /// Where it is sent to, and where Cancel leads.
    pub(super) action: String,
    pub(super) back: String,
    /// The version that is edited.
    pub(super) etag: Option<String>,
    pub(super) lead: &'static str,
    pub(super) submit: &'static str,
    pub(super) danger: bool,
    pub(super) fields: Vec<Field>,
    pub(super) complaints: Vec<Complaint>,
}

/// Shows the form that creates an object, starting with `entries`.
pub(super) async fn show_new<K: Editable>(
    app: &App,
    visitor: &Visitor,
    entries: &Entries,
) -> Result<Response, PageError> {
    visitor.caller.require(K::WRITER)?;
    if K::is_delicate(None, None) {
        visitor.require_recent_sign_in(&new_path::<K>())?;
    }
    let choices = choices(app, visitor).await?;
    show(&creating::<K>(visitor, &choices, entries, Vec::new()))
}

/// Creates an object and goes to its page, or shows the form again with what is wrong.
pub(super) async fn create<K: Editable>(app: &App, posted: Posted<Entries>) -> Result<Response, PageError> {
    let Posted { visitor, form: entries } = posted;
    visitor.caller.require(K::WRITER)?;
    if K::is_delicate(None, Some(&entries)) {
        visitor.require_recent_sign_in(&new_path::<K>())?;
    }
    let choices = choices(app, &visitor).await?;
    let mut wrong = missing(&creation_fields::<K>(&choices), &entries);
    if wrong.is_empty() {
        match carry_out::<K>(app, &visitor, &entries).await {
            Ok(written) => return Ok(Done::Created.then(&K::page(&written.object.name))),
            Err(error) => wrong = complaints::<K>(error)?,
        }
    }
    show_with(StatusCode::UNPROCESSABLE_ENTITY, &creating::<K>(&visitor, &choices, &entries, wrong))
}

/// Shows the form that edits the object with this name or id.
pub(super) async fn show_edit<K: Editable>(app: &App, visitor: &Visitor, key: &str) -> Result<Response, PageError> {
    visitor.caller.require(K::WRITER)?;
    let object: Object<K> = resource::get(app, &visitor.caller, key).await?;
    if K::is_delicate(Some(&object), None) {
        visitor.require_recent_sign_in(&format!("{}/edit", path::<K>(&object.name)))?;
    }
    let choices = choices(app, visitor).await?;
    let entries = with_labels(K::entries(&object), &object.labels);
    show(&editing::<K>(visitor, &choices, &object, &entries, Vec::new()))
}

/// Changes an object and goes to its page, or shows the form again with what is wrong.
pub(super) async fn save<K: Editable>(app: &App, key: &str, posted: Posted<Entries>) -> Result<Response, PageError> {
    let Posted { visitor, form: entries } = posted;
    visitor.caller.require(K::WRITER)?;
    let object: Object<K> = resource::get(app, &visitor.caller, key).await?;
    if K::is_delicate(Some(&object), Some(&entries)) {
        visitor.require_recent_sign_in(&format!("{}/edit", path::<K>(&object.name)))?;
    }
    let choices = choices(app, &visitor).await?;
    let (mut status, mut wrong) = (StatusCode::UNPROCESSABLE_ENTITY, missing(&K::fields(&choices), &entries));
    if wrong.is_empty() {
        let seen = Precondition::matching(entries.get("etag"));
        match resource::patch::<K>(app, &visitor.caller, key, &seen, &patch(&object, &entries)).await {
            Ok(object) => return Ok(Done::Saved.then(&K::page(&object.name))),
            Err(error) => {
                if matches!(error, ApiError::PreconditionFailed) {
                    status = StatusCode::CONFLICT;
                }
                wrong = complaints::<K>(error)?;
            }
        }
    }
    show_with(status, &editing::<K>(&visitor, &choices, &object, &entries, wrong))
}

/// Asks whether to delete the object with this name or id.
pub(super) async fn show_delete<K: Deletable>(app: &App, visitor: &Visitor, key: &str) -> Result<Response, PageError> {
    visitor.caller.require(K::WRITER)?;
    let object: Object<K> = resource::get(app, &visitor.caller, key).await?;
    if K::is_delicate(Some(&object), None) {
        visitor.require_recent_sign_in(&format!("{}/delete", path::<K>(&object.name)))?;
    }
    show(&deleting::<K>(visitor, &object, &Entries::default(), Vec::new()))
}

/// Deletes an object and goes to the list that it was in.
pub(super) async fn delete<K: Deletable>(app: &App, key: &str, posted: Posted<Entries>) -> Result<Response, PageError> {
    let Posted { visitor, form: entries } = posted;
    visitor.caller.require(K::WRITER)?;
    let object: Object<K> = resource::get(app, &visitor.caller, key).await?;
    if K::is_delicate(Some(&object), None) {
        visitor.require_recent_sign_in(&format!("{}/delete", path::<K>(&object.name)))?;
    }
    if K::PRECIOUS && entries.get("confirm") != object.name {
        let complaint = Complaint { field: "confirm", text: "Type the name exactly as it is shown.".to_owned() };
        return show_with(
            StatusCode::UNPROCESSABLE_ENTITY,
            &deleting::<K>(&visitor, &object, &entries, vec![complaint]),
        );
    }
    let seen = Precondition::matching(entries.get("etag"));
    match resource::remove::<K>(app, &visitor.caller, key, &seen).await {
        Ok(()) => Ok(Done::Deleted.then(K::LIST.1)),
        Err(error) => {
            let complaints = complaints::<K>(error)?;
            show_with(StatusCode::CONFLICT, &deleting::<K>(&visitor, &object, &entries, complaints))
        }
    }
}

fn creating<K: Editable>(
    visitor: &Visitor,
    choices: &Choices,
    entries: &Entries,
    complaints: Vec<Complaint>,
) -> FormPage {
    FormPage {
        shell: Shell::new(visitor, K::SECTION, format!("New {}", words::<K>())).under(K::LIST.0, K::LIST.1),
        action: new_path::<K>(),
        back: K::LIST.1.to_owned(),
        etag: None,
        lead: "",
        submit: "Create",
        danger: false,
        fields: filled(creation_fields::<K>(choices), entries, &complaints),
        complaints,
    }
}

fn editing<K: Editable>(
    visitor: &Visitor,
    choices: &Choices,
    object: &Object<K>,
    entries: &Entries,
    complaints: Vec<Complaint>,
) -> FormPage {
    let fields = K::fields(choices).into_iter().chain([labels_field()]).collect();
    FormPage {
        shell: Shell::new(visitor, K::SECTION, format!("Edit {}", object.name)).under(K::LIST.0, K::LIST.1),
        action: format!("{}/edit", path::<K>(&object.name)),
        back: K::page(&object.name),
        etag: Some(seen(object, entries)),
        lead: "",
        submit: "Save",
        danger: false,
        fields: filled(fields, entries, &complaints),
        complaints,
    }
}

fn deleting<K: Deletable>(
    visitor: &Visitor,
    object: &Object<K>,
    entries: &Entries,
    complaints: Vec<Complaint>,
) -> FormPage {
    let confirm = Field::new("confirm", "Type its name to go on", Control::Code).required();
    let fields = if K::PRECIOUS { vec![confirm] } else { Vec::new() };
    FormPage {
        shell: Shell::new(visitor, K::SECTION, format!("Delete {} {}?", words::<K>(), object.name))
            .under(K::LIST.0, K::LIST.1),
        action: format!("{}/delete", path::<K>(&object.name)),
        back: K::page(&object.name),
        etag: Some(seen(object, entries)),
        lead: K::LOSS,
        submit: "Delete",
        danger: true,
        fields: filled(fields, &Entries::default(), &complaints),
        complaints,
    }
}

/// The version that a form is about: one that is shown again keeps that which it was first shown with.
fn seen<K: Editable>(object: &Object<K>, entries: &Entries) -> String {
    Some(entries.get("etag")).filter(|etag| !etag.is_empty()).unwrap_or(&object.etag).to_owned()
}

/// What people call such an object: `price book`.
fn words<K: Kind>() -> String {
    K::NOUN.replace('-', " ")
}

/// Where the form is that creates an object.
fn new_path<K: Editable>() -> String {
    format!("/new/{}", K::NOUN)
}

/// Where the forms of the object called `name` are.
pub(super) fn path<K: Editable>(name: &str) -> String {
    format!("/{}/{name}", K::COLLECTION)
}

async fn carry_out<K: Editable>(app: &App, visitor: &Visitor, entries: &Entries) -> Result<Written<K>, ApiError> {
    let mut spec = json!({});
    resource::merge(&mut spec, &K::spec(entries));
    let draft: Draft<K> = request::decode(json!({
        "name": entries.get("name"),
        "labels": labels(entries),
        "spec": spec,
    }))?;
    resource::create(app, &visitor.caller, draft).await
}

/// What the entries change of `object`. A label that is no longer entered goes.
fn patch<K: Editable>(object: &Object<K>, entries: &Entries) -> Patch {
    let mut labels = labels(entries);
    for known in object.labels.keys() {
        labels.entry(known.clone()).or_insert(Value::Null);
    }
    Patch(json!({ "labels": labels, "spec": K::spec(entries) }))
}

/// Required fields in which nothing was entered.
pub(super) fn missing(fields: &[Field], entries: &Entries) -> Vec<Complaint> {
    let empty = fields.iter().filter(|field| field.required && entries.get(field.name).is_empty());
    empty.map(|field| Complaint { field: field.name, text: format!("“{}” is required.", field.label) }).collect()
}

fn complaints<K: Editable>(error: ApiError) -> Result<Vec<Complaint>, PageError> {
    complaints_of(error, K::NOUN, "name", field_at::<K>)
}

/// What is wrong with an object of the kind `noun`, where the visitor can mend it; all other errors have a page of
/// their own. `key` is the field of what is unique, `field_at` the field that a JSON pointer belongs to.
pub(super) fn complaints_of(
    error: ApiError,
    noun: &str,
    key: &'static str,
    field_at: fn(&str) -> &'static str,
) -> Result<Vec<Complaint>, PageError> {
    let about_all = |text: String| vec![Complaint { field: "", text }];
    match error {
        ApiError::Invalid(faults) => Ok(faults
            .to_vec()
            .into_iter()
            .map(|fault| Complaint { field: field_at(&fault.pointer), text: sentence(&fault.detail) })
            .collect()),
        ApiError::NameTaken { .. } => Ok(vec![Complaint { field: key, text: sentence(&error.to_string()) }]),
        ApiError::PreconditionFailed => Ok(about_all(format!(
            "Somebody else changed this {noun} after you opened the form. Open it again to see the current version, \
             then repeat your change."
        ))),
        ApiError::InUse { .. } | ApiError::Conflict | ApiError::LastOwner | ApiError::UserDisabled => {
            Ok(about_all(sentence(&error.to_string())))
        }
        error => Err(error.into()),
    }
}

fn field_at<K: Editable>(pointer: &str) -> &'static str {
    match pointer {
        "/name" => "name",
        _ if pointer.starts_with("/labels") => "labels",
        _ => K::field_at(pointer),
    }
}

/// The fields with what was entered and what is wrong with it.
pub(super) fn filled(mut fields: Vec<Field>, entries: &Entries, complaints: &[Complaint]) -> Vec<Field> {
    for field in &mut fields {
        entries.get(field.name).clone_into(&mut field.value);
        if let Control::Tools(tools) = &mut field.control {
            tools.fill(entries, field.name);
        }
        field.wrong = complaints.iter().find(|complaint| complaint.field == field.name).map(|found| found.text.clone());
    }
    fields
}

fn creation_fields<K: Editable>(choices: &Choices) -> Vec<Field> {
    let name = Field::new("name", "Name", Control::Code)
        .hint("Lower-case letters, digits and hyphens. It stands in addresses and scopes and cannot be changed.")
        .required();
    std::iter::once(name).chain(K::fields(choices)).chain([labels_field()]).collect()
}

fn labels_field() -> Field {
    Field::new("labels", "Labels", Control::Lines).hint("One a line, as key=value.")
}

fn labels(entries: &Entries) -> Map<String, Value> {
    let pair = |line: &str| {
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        (key.trim().to_owned(), Value::from(value.trim()))
    };
    entries.lines("labels").into_iter().map(pair).collect()
}

fn with_labels(entries: Entries, labels: &Labels) -> Entries {
    let lines: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    entries.with("labels", lines.join("\n"))
}

/// What there is to choose from.
pub(super) async fn choices(app: &App, visitor: &Visitor) -> Result<Choices, PageError> {
    Ok(Choices {
        teams: super::names::<crate::teams::TeamSpec>(app, visitor).await?,
        agents: super::names::<crate::agents::AgentSpec>(app, visitor).await?,
        servers: super::names::<crate::servers::ServerSpec>(app, visitor).await?,
    })
}
