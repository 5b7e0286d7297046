//! The operations on objects, the same for every kind. Read [`replace`] to see a change from top to bottom.

use serde_json::{Value, json};
use tollgate_proto::Name;
use uuid::Uuid;

use super::{Content, Draft, Kind, Object, Patch, Precondition, Removable, Version, Which, Written, labels};
use crate::{
    app::App,
    audit,
    caller::{Caller, Role},
    db::TenantTx,
    error::{ApiError, Faults},
    page::{Listing, Page, PageQuery},
    policy, request,
};

/// One page of the tenant's objects, in the order of their names.
///
/// # Errors
/// For a limit or cursor out of bounds, or when Postgres is away.
pub async fn list<K: Kind>(app: &App, caller: &Caller, query: &PageQuery) -> Result<Page<Object<K>>, ApiError> {
    caller.require(Role::Viewer)?;
    let limit = query.limit()?;
    let listing = Listing::new(app, caller.tenant, K::COLLECTION, &());
    let after: Option<String> = listing.after(query.cursor.as_deref())?;
    let mut tx = app.db.tenant(caller.tenant).await?;
    let one_more = i64::try_from(limit + 1).map_err(ApiError::internal)?;
    let rows = K::select(&mut tx, Which { after: after.as_deref(), limit: Some(one_more), ..Which::default() }).await?;
    let objects = rows.into_iter().map(|row| Object::of(row, app, caller)).collect::<Result<Vec<_>, _>>()?;
    listing.page(objects, limit, |object| object.name.clone())
}

/// The tenant's objects from the name `first` on, `limit` at most, and the name that the next ones begin with.
///
/// # Errors
/// [`ApiError::Forbidden`]; or when Postgres is away.
pub(crate) async fn list_from<K: Kind>(
    app: &App,
    caller: &Caller,
    first: Option<&Name>,
    limit: usize,
) -> Result<(Vec<Object<K>>, Option<String>), ApiError> {
    caller.require(Role::Viewer)?;
    let mut tx = app.db.tenant(caller.tenant).await?;
    let (mut rows, after) = (Vec::new(), first.map(Name::as_str));
    if after.is_some() {
        rows = K::select(&mut tx, Which { name: after, ..Which::default() }).await?;
    }
    let one_more = i64::try_from(limit + 1).map_err(ApiError::internal)?;
    rows.extend(K::select(&mut tx, Which { after, limit: Some(one_more), ..Which::default() }).await?);
    let next = rows.get(limit).map(|row| row.name.clone());
    let objects = rows.into_iter().take(limit).map(|row| Object::of(row, app, caller)).collect::<Result<_, _>>()?;
    Ok((objects, next))
}

/// The object with this id or name.
///
/// # Errors
/// [`ApiError::NotFound`], also for another tenant's; or when Postgres is away.
pub async fn get<K: Kind>(app: &App, caller: &Caller, key: &str) -> Result<Object<K>, ApiError> {
    caller.require(Role::Viewer)?;
    let mut tx = app.db.tenant(caller.tenant).await?;
    existing(&mut tx, app, caller, key).await
}

/// Creates an object.
///
/// # Errors
/// [`ApiError::NameTaken`], [`ApiError::Invalid`], [`ApiError::Forbidden`]; or when Postgres is away.
pub async fn create<K: Kind>(app: &App, caller: &Caller, draft: Draft<K>) -> Result<Written<K>, ApiError> {
    caller.require(K::WRITER)?;
    let mut tx = begin(app, caller).await?;
    if find::<K>(&mut tx, app, caller, &draft.name).await?.is_some() {
        return Err(ApiError::NameTaken { noun: K::NOUN, name: draft.name });
    }
    let content = Content { labels: draft.labels, spec: draft.spec };
    let object = write(&mut tx, app, caller, &draft.name, None, content).await?;
    tx.commit().await?;
    Ok(created(caller, object))
}

/// Replaces what a client may say about the object with this id or name; creates it when there is none of that name.
///
/// # Errors
/// [`ApiError::PreconditionRequired`], [`ApiError::PreconditionFailed`], [`ApiError::Invalid`],
/// [`ApiError::Forbidden`]; or when Postgres is away.
pub async fn replace<K: Kind>(
    app: &App,
    caller: &Caller,
    key: &str,
    precondition: &Precondition,
    content: Content<K>,
) -> Result<Written<K>, ApiError> {
    caller.require(K::WRITER)?;
    let mut tx = begin(app, caller).await?;
    let written = match find::<K>(&mut tx, app, caller, key).await? {
        Some(current) => {
            precondition.allows_change(&current.etag)?;
            let name = current.name.clone();
            let object = write(&mut tx, app, caller, &name, Some(current), content).await?;
            Written { object, location: None }
        }
        None if key.parse::<K::Id>().is_ok() => return Err(not_found::<K>(key)),
        None => {
            precondition.allows_creation()?;
            created(caller, write(&mut tx, app, caller, key, None, content).await?)
        }
    };
    tx.commit().await?;
    Ok(written)
}

/// Applies a JSON Merge Patch (RFC 7396) of `{labels, spec}` to the object with this id or name.
///
/// # Errors
/// Those of [`replace`], and [`ApiError::NotFound`].
pub async fn patch<K: Kind>(
    app: &App,
    caller: &Caller,
    key: &str,
    precondition: &Precondition,
    patch: &Patch,
) -> Result<Object<K>, ApiError> {
    caller.require(K::WRITER)?;
    let mut tx = begin(app, caller).await?;
    let current: Object<K> = existing(&mut tx, app, caller, key).await?;
    precondition.allows_change(&current.etag)?;
    let mut patched = json!({ "labels": current.labels, "spec": current.spec });
    merge(&mut patched, &patch.0);
    let content = request::decode(patched)?;
    let name = current.name.clone();
    let object = write(&mut tx, app, caller, &name, Some(current), content).await?;
    tx.commit().await?;
    Ok(object)
}

/// Deletes the object with this id or name, and what depends on it.
///
/// # Errors
/// [`ApiError::NotFound`], [`ApiError::InUse`], [`ApiError::PreconditionRequired`],
/// [`ApiError::PreconditionFailed`], [`ApiError::Forbidden`]; or when Postgres is away.
pub async fn remove<K: Removable>(
    app: &App,
    caller: &Caller,
    key: &str,
    precondition: &Precondition,
) -> Result<(), ApiError> {
    caller.require(K::WRITER)?;
    let mut tx = begin(app, caller).await?;
    let current: Object<K> = existing(&mut tx, app, caller, key).await?;
    precondition.allows_change(&current.etag)?;
    K::delete(&mut tx, current.id, &current.name).await?;
    record(&mut tx, caller, "delete", &current, json!({ "before": shown(&current) })).await?;
    tx.commit().await?;
    Ok(())
}

/// Creates an object in an open transaction that [`begin`] or [`policy::bump`] has begun, for a caller whose role was
/// checked, under a name that is free.
///
/// # Errors
/// [`ApiError::Invalid`]; or when Postgres is away.
pub(crate) async fn add<K: Kind>(
    tx: &mut TenantTx,
    app: &App,
    caller: &Caller,
    name: &str,
    content: Content<K>,
) -> Result<Object<K>, ApiError> {
    write(tx, app, caller, name, None, content).await
}

/// Opens the transaction of a change that data planes must see. It takes the tenant's row first, so that the changes
/// of a tenant happen one after the other: what was read in it still holds when something is written.
///
/// # Errors
/// When Postgres is away.
pub(crate) async fn begin(app: &App, caller: &Caller) -> Result<TenantTx, ApiError> {
    let mut tx = app.db.tenant(caller.tenant).await?;
    policy::bump(&mut tx).await?;
    Ok(tx)
}

/// The object with this id or name, in an open transaction.
///
/// # Errors
/// [`ApiError::NotFound`]; or when Postgres is away.
pub(crate) async fn existing<K: Kind>(
    tx: &mut TenantTx,
    app: &App,
    caller: &Caller,
    key: &str,
) -> Result<Object<K>, ApiError> {
    find(tx, app, caller, key).await?.ok_or_else(|| not_found::<K>(key))
}

async fn find<K: Kind>(
    tx: &mut TenantTx,
    app: &App,
    caller: &Caller,
    key: &str,
) -> Result<Option<Object<K>>, ApiError> {
    let Some(which) = Which::one::<K>(key) else { return Ok(None) };
    let rows = K::select(tx, which).await?;
    rows.into_iter().next().map(|row| Object::of(row, app, caller)).transpose()
}

/// Checks and stores the next version of an object, and audits it.
async fn write<K: Kind>(
    tx: &mut TenantTx,
    app: &App,
    caller: &Caller,
    name: &str,
    current: Option<Object<K>>,
    content: Content<K>,
) -> Result<Object<K>, ApiError> {
    content.spec.permit(caller)?;
    let mut meaning = check(tx, name, current.as_ref().map(|current| &current.spec), &content).await?;
    let version = Version {
        id: current.as_ref().map_or_else(Uuid::now_v7, |current| current.id.into()),
        name,
        labels: json!(content.labels),
        spec: json!(content.spec),
        revision: current.as_ref().map_or(1, |current| current.revision + 1),
        actor: &caller.actor,
    };
    K::fit(&mut meaning, app, tx.tenant(), version.id.into())?;
    K::save(tx, &version, meaning).await?;
    let object: Object<K> = existing(tx, app, caller, name).await?;
    let action = if current.is_some() { "update" } else { "create" };
    let detail = json!({ "before": current.as_ref().map(shown), "after": shown(&object) });
    record(tx, caller, action, &object, detail).await?;
    Ok(object)
}

/// What `content` means for the object `name`, or everything that is wrong with it.
async fn check<K: Kind>(
    tx: &mut TenantTx,
    name: &str,
    current: Option<&K>,
    content: &Content<K>,
) -> Result<K::Meaning, ApiError> {
    let mut faults = Faults::default();
    let name = name.parse::<Name>().map_err(|error| ApiError::fault("/name", "name", error.to_string()))?;
    labels::check(&content.labels, &mut faults);
    match content.spec.interpret(&name, current, tx, &mut faults).await? {
        Some(meaning) if faults.is_empty() => Ok(meaning),
        _ => Err(ApiError::Invalid(faults)),
    }
}

async fn record<K: Kind>(
    tx: &mut TenantTx,
    caller: &Caller,
    verb: &str,
    object: &Object<K>,
    detail: Value,
) -> Result<(), ApiError> {
    let event = audit::Event {
        actor: &caller.actor,
        action: &format!("{}.{verb}", K::NOUN),
        object_kind: K::NOUN,
        object_id: &object.id.to_string(),
        object_name: &object.name,
        detail,
    };
    Ok(audit::record(tx, event).await?)
}

fn shown<K: Kind>(object: &Object<K>) -> Value {
    json!({ "revision": object.revision, "labels": object.labels, "spec": object.spec })
}

fn created<K: Kind>(caller: &Caller, object: Object<K>) -> Written<K> {
    let location = format!("/api/v1/tenants/{}/{}/{}", caller.tenant_name, K::COLLECTION, object.name);
    Written { object, location: Some(location) }
}

fn not_found<K: Kind>(key: &str) -> ApiError {
    ApiError::NotFound { noun: K::NOUN, key: key.to_owned() }
}

/// Applies a JSON Merge Patch (RFC 7396 section 2).
pub(crate) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let Value::Object(members) = target else { return };
    for (name, change) in changes {
        if change.is_null() {
            members.remove(name);
        } else {
            merge(members.entry(name.clone()).or_insert(Value::Null), change);
        }
    }
}
