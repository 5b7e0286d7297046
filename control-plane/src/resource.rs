//! What all objects of the REST API have in common: the envelope, and the operations on it.
//!
//! An object is a `spec`, which its client owns and which comes back word for word, in an envelope that the server
//! owns. Each kind says in [`Kind`] what a spec means and how it is stored; how an object is listed, created,
//! replaced, patched and removed is written once, in `resource/operations.rs`.
//!
//! Invariant: an object changes only together with its revision, an audit event and its tenant's policy revision.

use std::{
    fmt::{Debug, Display},
    str::FromStr,
};

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use http::{HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use tollgate_proto::{Name, TenantId};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::{
    app::App,
    caller::{Caller, Role},
    db::TenantTx,
    error::{ApiError, Faults},
};

pub(crate) mod labels;
mod operations;
mod precondition;
mod schema;
#[cfg(test)]
mod tests;

pub use labels::Labels;
pub(crate) use operations::{add, begin, existing, list_from, merge};
pub use operations::{create, get, list, patch, remove, replace};
pub use precondition::Precondition;

/// A kind of object, implemented by its spec.
pub trait Kind: Clone + Debug + Serialize + DeserializeOwned + ToSchema + Send + Sync + 'static {
    /// In the OpenAPI document: `Team`.
    const TITLE: &'static str;
    /// In sentences, audit actions and ids of faults: `team`.
    const NOUN: &'static str;
    /// In paths: `teams`.
    const COLLECTION: &'static str;
    /// The least role that may change it.
    const WRITER: Role = Role::Operator;

    /// Its identifier.
    type Id: Copy + Debug + Display + FromStr + Serialize + From<Uuid> + Into<Uuid> + Send + Sync;
    /// What the server says about it.
    type Status: Clone + Debug + Serialize + ToSchema + Send + Sync;
    /// What the spec means, with everything that it names looked up.
    type Meaning: Send;

    /// The rows that `which` selects, in the order of their names.
    fn select(tx: &mut TenantTx, which: Which<'_>) -> impl Future<Output = Result<Vec<Row>, sqlx::Error>> + Send;

    /// What the spec of the object `name` means, where it takes the place of `current`; `None` when `faults` has
    /// got a fault.
    fn interpret(
        &self,
        name: &Name,
        current: Option<&Self>,
        tx: &mut TenantTx,
        faults: &mut Faults,
    ) -> impl Future<Output = Result<Option<Self::Meaning>, sqlx::Error>> + Send;

    /// Refuses a caller who may change objects of the kind, but not ask for this.
    ///
    /// # Errors
    /// [`ApiError::Forbidden`].
    fn permit(&self, _: &Caller) -> Result<(), ApiError> {
        Ok(())
    }

    /// Fits the meaning to this deployment before it is stored: refuses what does not go with it, and seals what must not
    /// be read from the database.
    ///
    /// # Errors
    /// [`ApiError::Invalid`], and [`ApiError::Internal`] when sealing fails.
    fn fit(_: &mut Self::Meaning, _: &App, _: TenantId, _: Self::Id) -> Result<(), ApiError> {
        Ok(())
    }

    /// Stores the object, new or known by its id.
    fn save(
        tx: &mut TenantTx,
        version: &Version<'_>,
        meaning: Self::Meaning,
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// What the server says about the object of `row`.
    ///
    /// # Errors
    /// [`ApiError::Internal`] when the row is damaged.
    fn status(&self, row: &Row, app: &App, caller: &Caller) -> Result<Self::Status, ApiError>;
}

/// A kind whose objects can be deleted.
pub trait Removable: Kind {
    /// Deletes the object and what depends on it.
    fn delete(tx: &mut TenantTx, id: Self::Id, name: &str) -> impl Future<Output = Result<(), ApiError>> + Send;
}

/// Which rows of a kind: those that fit everything that is given.
#[derive(Debug, Clone, Copy, Default)]
pub struct Which<'a> {
    /// The one with this id.
    pub id: Option<Uuid>,
    /// The one with this name.
    pub name: Option<&'a str>,
    /// Those after this name.
    pub after: Option<&'a str>,
    /// At most so many; all when absent.
    pub limit: Option<i64>,
}

/// An object as every kind's `select` answers it.
#[derive(Debug, Clone)]
pub struct Row {
    /// The id's UUID.
    pub id: Uuid,
    /// Unique among the tenant's objects of the kind.
    pub name: String,
    /// [`Labels`] as JSON.
    pub labels: Value,
    /// The spec as the client sent it.
    pub spec: Value,
    /// What the status needs beside the spec, as JSON.
    pub facts: Value,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
    /// Who created it.
    pub created_by: String,
    /// 1 at first, one more with each change.
    pub revision: i64,
}

/// One version of an object, to be stored.
#[derive(Debug)]
pub struct Version<'a> {
    /// The id's UUID.
    pub id: Uuid,
    /// Its name.
    pub name: &'a str,
    /// [`Labels`] as JSON.
    pub labels: Value,
    /// The spec as the client sent it.
    pub spec: Value,
    /// The revision that this version gets.
    pub revision: i64,
    /// Who makes it.
    pub actor: &'a str,
}

/// An object of kind `K` as the API shows it.
#[derive(Debug, Clone, Serialize)]
#[serde(bound = "")]
pub struct Object<K: Kind> {
    /// Its id.
    pub id: K::Id,
    /// Its name, fixed for life.
    pub name: String,
    /// Free words to find it by.
    pub labels: Labels,
    /// What the client asked for, word for word.
    pub spec: K,
    /// What the server says about it.
    pub status: K::Status,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
    /// Who created it.
    pub created_by: String,
    /// 1 at first, one more with each change.
    pub revision: i64,
    /// The revision as an entity tag, for `If-Match`.
    pub etag: String,
}

/// The body of a `POST` to a collection.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, bound = "")]
pub struct Draft<K: Kind> {
    /// An RFC 1123 label.
    pub name: String,
    /// Free words to find it by.
    #[serde(default)]
    pub labels: Labels,
    /// What is asked for.
    pub spec: K,
}

/// The body of a `PUT`, and what a `PATCH` is applied to.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, bound = "")]
pub struct Content<K: Kind> {
    /// Free words to find it by.
    #[serde(default)]
    pub labels: Labels,
    /// What is asked for.
    pub spec: K,
}

/// A JSON Merge Patch (RFC 7396) of an object's `labels` and `spec`.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = Object, example = json!({"labels": {"env": "test"}}))]
pub struct Patch(pub Value);

/// An object that was just written.
#[derive(Debug, Clone)]
pub struct Written<K: Kind> {
    /// The object as it is now.
    pub object: Object<K>,
    /// Where it is, when it is new.
    pub location: Option<String>,
}

/// Parameters of a path to a collection.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct InTenant {
    /// Name or id of the tenant.
    #[param(example = "default")]
    pub tenant: String,
}

/// Parameters of a path to an object.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct Named {
    /// Name or id of the tenant.
    #[param(example = "default")]
    pub tenant: String,
    /// Name or id of the object.
    pub name: String,
}

impl<K: Kind> Object<K> {
    /// The object of `row`, as `caller` sees it.
    ///
    /// # Errors
    /// [`ApiError::Internal`] when the row is damaged.
    pub fn of(row: Row, app: &App, caller: &Caller) -> Result<Self, ApiError> {
        let spec = K::deserialize(&row.spec).map_err(ApiError::internal)?;
        Ok(Self {
            status: spec.status(&row, app, caller)?,
            spec,
            id: row.id.into(),
            name: row.name,
            labels: serde_json::from_value(row.labels).map_err(ApiError::internal)?,
            created_at: row.created_at,
            updated_at: row.updated_at,
            created_by: row.created_by,
            revision: row.revision,
            etag: format!("\"{}\"", row.revision),
        })
    }
}

impl<'a> Which<'a> {
    /// The one object that `key` means: an id of `K` or a name; nothing when it can be neither.
    #[must_use]
    pub fn one<K: Kind>(key: &'a str) -> Option<Self> {
        match (key.parse::<K::Id>(), key.parse::<Name>()) {
            (Ok(id), _) => Some(Self { id: Some(id.into()), ..Self::default() }),
            (_, Ok(_)) => Some(Self { name: Some(key), ..Self::default() }),
            _ => None,
        }
    }
}

impl<K: Kind> IntoResponse for Object<K> {
    fn into_response(self) -> Response {
        let etag = HeaderValue::from_str(&self.etag).expect("a number in quotes");
        ([(header::ETAG, etag)], Json(self)).into_response()
    }
}

impl<K: Kind> IntoResponse for Written<K> {
    fn into_response(self) -> Response {
        match self.location {
            Some(location) => (StatusCode::CREATED, [(header::LOCATION, location)], self.object).into_response(),
            None => self.object.into_response(),
        }
    }
}
