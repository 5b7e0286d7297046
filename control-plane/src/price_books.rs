//! Price books: what calls cost, for everyone or for some teams, from a date on.
//!
//! - `terms.rs` reads what a book says, `dates.rs` decides from when on it may say it.
//! - `shelf.rs` keeps what is published in memory, for the intake of usage.
//! - A book is a line of versions: changing what it says publishes the next one, and the one before ends where that begins.
//!   [`in_tenant`] is all of them, as `rating.rs` needs them.
//!
//! Invariant: a price that was ever in force never changes, and at any moment at most one book decides for a team.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize};
use tollgate_proto::{
    Name, PriceBookId, PriceBookVersionId, TenantId,
    policy::v1 as wire,
    rating::{Book, Books},
};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    amount::Amount,
    app::App,
    caller::{Caller, Role},
    db::TenantTx,
    error::{ApiError, Faults},
    page::Page,
    resource::{Content, Draft, Kind, Object, Removable, Row, Version, Which},
};

pub mod api;
mod dates;
mod shelf;
mod sql;
mod terms;
#[cfg(test)]
mod tests;

pub use shelf::Shelf;

/// A price book as the API shows it.
pub type PriceBook = Object<PriceBookSpec>;
/// One page of price books.
pub type PriceBookPage = Page<PriceBook>;
/// The body that creates a price book.
pub type NewPriceBook = Draft<PriceBookSpec>;
/// The body that replaces a price book.
pub type PriceBookContent = Content<PriceBookSpec>;

/// What a client says about a price book.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PriceBookSpec {
    /// The first moment at which it is in force: RFC 3339, or a day in UTC.
    #[schema(example = "2027-01-01T00:00:00Z")]
    pub effective_from: String,
    /// The currency of all its prices (ISO 4217).
    #[schema(example = "EUR", pattern = "^[A-Z]{3}$")]
    pub currency: String,
    /// The names of the teams that it is for: 1 to 200. Left out, it is for all that have no book of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>, min_items = 1, max_items = 200)]
    pub teams: Option<Vec<Name>>,
    /// The prices: up to 1,000. For a call the most specific one counts.
    #[schema(max_items = 1_000)]
    pub prices: Vec<Price>,
    /// How much is charged by how a call ended, below 10 with up to 2 decimals: for `ok`, `tool_error`, `abandoned`, `cut_off`
    /// and `unknown` 1 unless told, for `rpc_error`, `timeout`, `upstream_error` and `input_required` 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    pub outcome_factors: Option<BTreeMap<String, Amount>>,
}

/// What some calls cost: the sum of what is given here. Amounts are below 1,000,000 and have up to 10 decimals.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// Which calls: `*`, `server:*`, `server:get_*` or `server:tool`.
    #[schema(example = "github:*")]
    pub r#match: String,
    /// For each call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_call: Option<Amount>,
    /// For 1,000 tokens of what was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_1k_input_tokens: Option<Amount>,
    /// For 1,000 tokens of what came back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_1k_output_tokens: Option<Amount>,
    /// For a second in which the server was at it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_second: Option<Amount>,
    /// For 1,048,576 bytes of what was sent and came back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_mib: Option<Amount>,
    /// How often the cost that the server reports, where it is trusted to: below 1,000, with up to 3 decimals. `1` passes it on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_reported: Option<Amount>,
}

/// What the server says about a price book.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PriceBookStatus {
    /// The version that prices calls of now; absent: none of it is in force.
    pub in_force: Option<i64>,
    /// Its versions that were in force or will be, the newest first.
    pub versions: Vec<PriceBookVersion>,
}

/// One version of a price book.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PriceBookVersion {
    /// What usage records call it.
    #[serde(deserialize_with = "stored_id")]
    #[schema(value_type = String)]
    pub id: PriceBookVersionId,
    /// The book's revision that published it.
    pub version: i64,
    /// The first moment at which it is in force.
    pub effective_from: DateTime<Utc>,
    /// The first moment at which it no longer is; absent: until another version is published.
    pub effective_until: Option<DateTime<Utc>>,
    /// When it was published.
    pub published_at: DateTime<Utc>,
    /// Who published it.
    pub published_by: String,
}

/// What a price book's spec means.
#[derive(Debug)]
pub struct Meaning {
    /// Where it says something new: the moment of asking, and that from which on it says so.
    news: Option<(DateTime<Utc>, DateTime<Utc>)>,
}

impl Kind for PriceBookSpec {
    const TITLE: &'static str = "PriceBook";
    const NOUN: &'static str = "price-book";
    const COLLECTION: &'static str = "price-books";
    const WRITER: Role = Role::Finance;

    type Id = PriceBookId;
    type Status = PriceBookStatus;
    type Meaning = Meaning;

    async fn select(tx: &mut TenantTx, which: Which<'_>) -> Result<Vec<Row>, sqlx::Error> {
        sql::select(tx, which).await
    }

    async fn interpret(
        &self,
        name: &Name,
        current: Option<&Self>,
        tx: &mut TenantTx,
        faults: &mut Faults,
    ) -> Result<Option<Meaning>, sqlx::Error> {
        if current == Some(self) {
            return Ok(Some(Meaning { news: None }));
        }
        let terms = terms::read(self, faults);
        let from = dates::read(&self.effective_from, faults);
        let teams: Vec<String> = self.teams.iter().flatten().map(ToString::to_string).collect();
        for unknown in sql::unknown_teams(tx, &teams).await? {
            let index = teams.iter().position(|team| *team == unknown).unwrap_or_default();
            faults.add(format!("/spec/teams/{index}"), "team_unknown", format!("there is no team `{unknown}`"));
        }
        let (Some(_), Some(from)) = (terms, from) else { return Ok(None) };
        let (now, others) = (sql::now(tx).await?, sql::published(tx, name).await?);
        dates::check(from, self.teams.as_deref(), now, &others, faults);
        Ok(Some(Meaning { news: Some((now, from)) }))
    }

    async fn save(tx: &mut TenantTx, version: &Version<'_>, meaning: Meaning) -> Result<(), sqlx::Error> {
        sql::save(tx, version).await?;
        if let Some((now, from)) = meaning.news {
            sql::end(tx, version.id, now, from).await?;
            sql::publish(tx, version, from).await?;
            sql::bump_revision(tx).await?;
        }
        Ok(())
    }

    fn status(&self, row: &Row, _: &App, _: &Caller) -> Result<PriceBookStatus, ApiError> {
        PriceBookStatus::deserialize(&row.facts).map_err(ApiError::internal)
    }
}

impl Removable for PriceBookSpec {
    async fn delete(tx: &mut TenantTx, id: PriceBookId, _: &str) -> Result<(), ApiError> {
        let now = sql::now(tx).await?;
        sql::end(tx, id.uuid(), now, now).await?;
        sql::bump_revision(tx).await?;
        Ok(sql::delete(tx, id).await?)
    }
}

/// What one version of a price book says, of a book that may have been deleted.
///
/// # Errors
/// [`ApiError::NotFound`], [`ApiError::Forbidden`]; or when Postgres is away.
pub async fn version(app: &App, caller: &Caller, key: &str) -> Result<PublishedVersion, ApiError> {
    caller.require(Role::Viewer)?;
    let not_found = || ApiError::NotFound { noun: "price book version", key: key.to_owned() };
    let id: PriceBookVersionId = key.parse().map_err(|_| not_found())?;
    let mut tx = app.db.tenant(caller.tenant).await?;
    let row = sql::version(&mut tx, id).await?.ok_or_else(not_found)?;
    Ok(PublishedVersion {
        book: row.book,
        spec: PriceBookSpec::deserialize(&row.spec).map_err(ApiError::internal)?,
        version: PriceBookVersion {
            id,
            version: row.version,
            effective_from: row.effective_from,
            effective_until: row.effective_until,
            published_at: row.published_at,
            published_by: row.published_by,
        },
    })
}

/// One version of a price book, with what it says.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PublishedVersion {
    /// The book's name.
    pub book: String,
    /// Which version it is, and when it is in force.
    #[serde(flatten)]
    pub version: PriceBookVersion,
    /// What it says, word for word as it was published.
    pub spec: PriceBookSpec,
}

/// As the database writes it.
fn stored_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PriceBookVersionId, D::Error> {
    Uuid::deserialize(deserializer).map(PriceBookVersionId::from)
}

/// All versions of the tenant's books, in a transaction that has entered it.
///
/// # Errors
/// When Postgres is away, or a row is damaged.
pub async fn in_tenant(connection: &mut sqlx::PgConnection, tenant: TenantId) -> Result<Books, sqlx::Error> {
    let versions = sql::versions(connection, tenant).await?;
    versions.into_iter().map(Book::try_from).collect::<Result<_, _>>().map(Books::new)
}

/// The currencies of the tenant's books that are in force or will be.
///
/// # Errors
/// When Postgres is away.
pub(crate) async fn currencies(tx: &mut TenantTx) -> Result<BTreeSet<String>, sqlx::Error> {
    let tenant = tx.tenant();
    sql::currencies(tx, tenant).await
}

/// What data planes are told of the versions that are in force at that moment or later, in an order of their own.
///
/// # Errors
/// When Postgres is away, or a row is damaged.
pub(crate) async fn in_policy(
    tx: &mut TenantTx,
    tenant: TenantId,
    from: DateTime<Utc>,
) -> Result<Vec<wire::PriceBook>, sqlx::Error> {
    let versions = sql::versions_from(tx, tenant, from).await?;
    versions.into_iter().map(sql::VersionRow::into_message).collect()
}

impl sql::VersionRow {
    fn into_message(self) -> Result<wire::PriceBook, sqlx::Error> {
        let spec = PriceBookSpec::deserialize(&self.spec).map_err(|error| sqlx::Error::Decode(error.into()))?;
        let text = |amount: Option<Amount>| amount.map(Amount::into_text).unwrap_or_default();
        let price = |price: Price| wire::Price {
            r#match: price.r#match,
            per_call: text(price.per_call),
            per_1k_input_tokens: text(price.per_1k_input_tokens),
            per_1k_output_tokens: text(price.per_1k_output_tokens),
            per_second: text(price.per_second),
            per_mib: text(price.per_mib),
            server_reported: text(price.server_reported),
        };
        let factors = spec.outcome_factors.unwrap_or_default();
        Ok(wire::PriceBook {
            version_id: PriceBookVersionId::from(self.id).to_string(),
            effective_from_us: self.effective_from.timestamp_micros(),
            effective_until_us: self.effective_until.map(|until| until.timestamp_micros()),
            currency: spec.currency,
            teams: spec.teams.unwrap_or_default().iter().map(ToString::to_string).collect(),
            outcome_factors: factors.into_iter().map(|(ending, factor)| (ending, factor.into_text())).collect(),
            prices: spec.prices.into_iter().map(price).collect(),
        })
    }
}

/// All versions of the tenant's books, as if the book of one version had said at any time what that version says. Also where
/// the book was not in force, if no other one was that is for the same. `None`: there is no such version.
///
/// # Errors
/// When Postgres is away, or a row is damaged.
pub(crate) async fn as_if(tx: &mut TenantTx, version: PriceBookVersionId) -> Result<Option<Books>, sqlx::Error> {
    let Some(named) = sql::version(tx, version).await? else { return Ok(None) };
    let (book_id, named) = (named.book_id, Book::try_from(named)?);
    let tenant = tx.tenant();
    let mut books = Vec::new();
    for row in sql::versions(tx, tenant).await? {
        let (from, until) = (row.effective_from, row.effective_until);
        let stands = row.book_id != book_id;
        books.push(if stands { row.try_into()? } else { Book { from, until, ..named.clone() } });
    }
    books.push(Book { from: DateTime::<Utc>::MIN_UTC, until: None, ..named });
    Ok(Some(Books::new(books)))
}

impl TryFrom<sql::VersionRow> for Book {
    type Error = sqlx::Error;

    fn try_from(row: sql::VersionRow) -> Result<Self, sqlx::Error> {
        let damaged = |why: String| sqlx::Error::Decode(format!("price book version {}: {why}", row.id).into());
        let spec = PriceBookSpec::deserialize(&row.spec).map_err(|error| damaged(error.to_string()))?;
        let mut faults = Faults::default();
        let terms = terms::read(&spec, &mut faults).ok_or_else(|| damaged(faults.to_string()))?;
        Ok(Self { version: row.id.into(), from: row.effective_from, until: row.effective_until, terms })
    }
}

/// Something that was published and is, was or will be in force.
#[derive(Debug, Clone)]
struct Published {
    /// The book's name.
    book: String,
    /// Whether it is a version of the very book that is asked about.
    own: bool,
    from: DateTime<Utc>,
    until: Option<DateTime<Utc>>,
    /// The teams that it is for; `None`: everyone.
    teams: Option<Vec<String>>,
}
