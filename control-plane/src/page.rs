//! Lists in pages: a limit, and a cursor that says where the last page ended.
//!
//! Invariant: a cursor opens only for the tenant, the list and the filters it was made for; whoever holds it learns
//! nothing from it.

use std::borrow::Cow;

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tollgate_proto::TenantId;
use utoipa::{
    IntoParams, PartialSchema, ToSchema,
    openapi::{
        Ref, RefOr, Schema,
        schema::{ArrayBuilder, ObjectBuilder, SchemaType, Type},
    },
};
use zeroize::Zeroizing;

use crate::{app::App, error::ApiError, seal};

const LIMIT_DEFAULT: u16 = 50;
const LIMIT_MAX: u16 = 500;

/// Which page of a list is asked for.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// How many items at most: 50 unless told, 500 at most.
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<u16>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

/// One page of a list.
#[derive(Debug, Clone, Serialize)]
pub struct Page<T> {
    /// The items, in the list's order.
    pub items: Vec<T>,
    /// Asks for the next page; null at the end.
    pub next_cursor: Option<String>,
}

/// The list that pages are cut from: its tenant, its name and its filters.
pub struct Listing {
    key: Zeroizing<[u8; 32]>,
    /// Names the list; sealed into every cursor as associated data.
    identity: String,
}

impl PageQuery {
    /// The limit asked for, within bounds.
    ///
    /// # Errors
    /// [`ApiError::Query`] outside of 1 to 500.
    pub fn limit(&self) -> Result<usize, ApiError> {
        match self.limit.unwrap_or(LIMIT_DEFAULT) {
            limit @ 1..=LIMIT_MAX => Ok(limit.into()),
            _ => Err(ApiError::Query(format!("`limit` must be from 1 to {LIMIT_MAX}"))),
        }
    }
}

impl Listing {
    /// The list `name` of a tenant, narrowed by `filters` (whatever decides which items are in it).
    ///
    /// # Panics
    /// When `filters` cannot be written as JSON.
    #[must_use]
    pub fn new(app: &App, tenant: TenantId, name: &str, filters: &impl Serialize) -> Self {
        let filters = serde_json::to_string(filters).expect("filters are plain data");
        Self { key: app.master_key.derive("cursor"), identity: format!("{tenant}|{name}|{filters}") }
    }

    /// Where the page before ended: what [`Listing::page`] was told about its last item.
    ///
    /// # Errors
    /// [`ApiError::Cursor`] when the cursor was changed or belongs to another list.
    pub fn after<K: DeserializeOwned>(&self, cursor: Option<&str>) -> Result<Option<K>, ApiError> {
        let Some(cursor) = cursor else { return Ok(None) };
        let sealed = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| ApiError::Cursor)?;
        let plain = seal::decrypt(&self.key, &self.identity, &sealed).map_err(|_| ApiError::Cursor)?;
        serde_json::from_slice(&plain).map(Some).map_err(|_| ApiError::Cursor)
    }

    /// Cuts a page out of `found`, which holds one item more than `limit` when there is a next page; `keyset` says
    /// where an item stands in the list's order.
    ///
    /// # Errors
    /// [`ApiError::Internal`] when the cursor cannot be sealed.
    pub fn page<T, K: Serialize>(
        &self,
        mut found: Vec<T>,
        limit: usize,
        keyset: impl Fn(&T) -> K,
    ) -> Result<Page<T>, ApiError> {
        let more = found.len() > limit;
        found.truncate(limit);
        let last = found.last().filter(|_| more).map(keyset);
        let next_cursor = last.map(|last| self.cursor(&last)).transpose()?;
        Ok(Page { items: found, next_cursor })
    }

    /// Asks for what comes after an item that stands there in the list's order.
    ///
    /// # Errors
    /// [`ApiError::Internal`] when the cursor cannot be sealed.
    pub fn cursor(&self, last: &impl Serialize) -> Result<String, ApiError> {
        let plain = serde_json::to_vec(last).map_err(ApiError::internal)?;
        let sealed = seal::encrypt(&self.key, &self.identity, &plain).map_err(ApiError::internal)?;
        Ok(URL_SAFE_NO_PAD.encode(sealed))
    }
}

impl<T: Serialize> IntoResponse for Page<T> {
    fn into_response(self) -> Response {
        Json(self).into_response()
    }
}

/// In the OpenAPI document as `TeamPage`; a slice names its page by an alias, since the derived name of a generic
/// type would be `Page_Team`.
impl<T: ToSchema> ToSchema for Page<T> {
    fn name() -> Cow<'static, str> {
        Cow::Owned(format!("{}Page", T::name()))
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((T::name().into_owned(), T::schema()));
        T::schemas(schemas);
    }
}

impl<T: ToSchema> PartialSchema for Page<T> {
    fn schema() -> RefOr<Schema> {
        let items = ArrayBuilder::new().items(Ref::from_schema_name(T::name()));
        let next_cursor = ObjectBuilder::new()
            .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
            .description(Some("Asks for the next page; null at the end"));
        ObjectBuilder::new()
            .property("items", items)
            .required("items")
            .property("next_cursor", next_cursor)
            .required("next_cursor")
            .into()
    }
}
