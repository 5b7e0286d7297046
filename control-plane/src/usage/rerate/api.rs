//! Re-ratings over REST.

use std::sync::Arc;

use axum::{Json, extract::State};
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use tollgate_proto::{Currency, PriceBookVersionId, ReratingId};
use utoipa::ToSchema;

use super::{Asked, Rerated, Totals};
use crate::{
    app::App,
    caller::Caller,
    error::{ApiError, WriteProblems},
    request::Body,
    resource::InTenant,
};

/// Which calls are charged anew, and by what.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UsageRerate {
    /// The first day, in the tenant's time zone.
    #[schema(example = "2026-10-01")]
    from: NaiveDate,
    /// The last day; at most 366 days in all.
    #[schema(example = "2026-10-31")]
    to: NaiveDate,
    /// Why: up to 500 characters, which stay with every rating that changes.
    #[schema(example = "per_call was 0.10 instead of 0.01")]
    reason: String,
    /// Calls that this team was charged for only.
    team: Option<String>,
    /// As if its book had said so at any time: `pbv_…`. Left out, what is published counts, by the time of each call.
    price_book_version: Option<String>,
    /// Whether to change nothing, and only to say what would.
    #[serde(default)]
    dry_run: bool,
}

/// What was charged anew.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct UsageRerated {
    /// `rrt_…`; absent from a dry run.
    #[schema(value_type = Option<String>)]
    rerating: Option<ReratingId>,
    /// How many records were looked at.
    records: u64,
    /// How many of them are rated otherwise now.
    changed: u64,
    /// What all of them cost, one for each currency.
    totals: Vec<UsageRerateTotal>,
}

/// What calls cost before and after.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct UsageRerateTotal {
    /// ISO 4217; absent: of what has no price book.
    currency: Option<&'static str>,
    /// A decimal number, not rounded.
    #[schema(example = "128.4")]
    before: String,
    /// A decimal number, not rounded.
    #[schema(example = "12.84")]
    after: String,
    /// Calls that would be charged and had no price.
    unpriced_before: u64,
    /// Calls that would be charged and have no price.
    unpriced_after: u64,
}

/// Charges calls anew
///
/// By what is published now, or as if a price book had said at any time what one of its versions says. What a call was charged
/// before stays readable in its record, with the reason. Closed months do not change: the next month that is closed has the
/// difference as corrections. Repeated, it changes nothing more. Needs the role `finance`.
#[utoipa::path(post, path = "/api/v1/tenants/{tenant}/usage:rerate", tag = "usage", operation_id = "usage.rerate",
    params(InTenant), request_body = UsageRerate,
    responses((status = 200, description = "What was charged anew", body = UsageRerated), WriteProblems))]
pub async fn rerate(
    State(app): State<Arc<App>>,
    caller: Caller,
    Body(asked): Body<UsageRerate>,
) -> Result<Json<UsageRerated>, ApiError> {
    let asked = asked.read()?;
    Ok(Json(super::rerate(&app, &caller, &asked).await?.into()))
}

impl UsageRerate {
    fn read(self) -> Result<Asked, ApiError> {
        let Self { from, to, reason, team, price_book_version, dry_run } = self;
        let by = price_book_version.map(|text| text.parse::<PriceBookVersionId>()).transpose();
        let by = by.map_err(|error| ApiError::fault("/price_book_version", "unknown", error.to_string()))?;
        Ok(Asked { from, to, team, by, reason, dry_run })
    }
}

impl From<Rerated> for UsageRerated {
    fn from(Rerated { id, records, changed, totals }: Rerated) -> Self {
        let totals = totals.into_iter().map(|(currency, totals)| UsageRerateTotal::of(currency, &totals)).collect();
        Self { rerating: id, records, changed, totals }
    }
}

impl UsageRerateTotal {
    fn of(currency: Option<Currency>, totals: &Totals) -> Self {
        Self {
            currency: currency.map(Currency::code),
            before: totals.before.normalize().to_string(),
            after: totals.after.normalize().to_string(),
            unpriced_before: totals.unpriced_before,
            unpriced_after: totals.unpriced_after,
        }
    }
}
