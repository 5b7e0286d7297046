//! Charges in the columns of FOCUS, the FinOps Open Cost and Usage Specification: version 1.3, with the columns for
//! providers of 1.2 beside those that replace them, so that readers of both take it.
//!
//! A row is what calls with everything in common were charged on one calendar day. What was charged is told by calls
//! (`Requests`); tokens, which the same price may be made of, stand in columns of our own, which begin with `x_` and come
//! last. Nothing is discounted, so that all four costs are the same.
//!
//! Invariant: every charge of the period is a row, also of what has no price: it costs 0, where nothing had a price book in
//! the currency `XXX`, ISO 4217's for none.

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use tollgate_proto::{AgentId, TeamId, TenantId};

use super::{Period, open, sql::Charge};
use crate::{app::App, calendar::TimeZone, caller::Caller, error::ApiError, usage::csv};

/// More than a month of a large tenant; who has more takes shorter periods.
const ROWS_MAX: usize = 500_000;
const PLATFORM: &str = "Tollgate";
const NO_CURRENCY: &str = "XXX";

/// The columns, those of FOCUS in the order of the alphabet.
const COLUMNS: [&str; 48] = [
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingAccountType",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "EffectiveCost",
    "HostProviderName",
    "InvoiceIssuerName",
    "ListCost",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "ResourceId",
    "ResourceName",
    "ResourceType",
    "ServiceCategory",
    "ServiceName",
    "ServiceProviderName",
    "ServiceSubcategory",
    "SkuId",
    "SkuMeter",
    "SubAccountId",
    "SubAccountName",
    "SubAccountType",
    "Tags",
    "x_AgentId",
    "x_AgentName",
    "x_CostCenter",
    "x_InputTokens",
    "x_Method",
    "x_Outcome",
    "x_OutputTokens",
    "x_ServerName",
    "x_ToolName",
    "x_UnpricedCalls",
    "x_UserName",
];

/// The charges of a period as CSV, with a header line.
///
/// # Errors
/// As for [`super::report`].
pub(super) async fn export(app: &App, caller: &Caller, period: &str) -> Result<String, ApiError> {
    let (mut tx, zone, period) = open(app, caller, period).await?;
    let charges = super::sql::charges(&mut tx, period, ROWS_MAX + 1).await?;
    if charges.len() > ROWS_MAX {
        return Err(ApiError::Query(format!("that is more than {ROWS_MAX} rows: take a shorter period")));
    }
    let account = Account { id: caller.tenant, name: &caller.tenant_name, zone };
    Ok(std::iter::once(csv::line(COLUMNS)).chain(charges.iter().map(|charge| account.row(charge))).collect())
}

/// Whose charges they are.
struct Account<'a> {
    id: TenantId,
    name: &'a str,
    zone: TimeZone,
}

impl Account<'_> {
    fn row(&self, charge: &Charge) -> String {
        let text = |text: &str| csv::text(text);
        let (what, resource) = names(charge);
        let month = Period::month(charge.day).unwrap_or(Period { from: charge.day, to: charge.day });
        let day = self.zone.day(charge.day).span;
        let (cost, calls) = (charge.cost.clone(), charge.calls.to_string());
        // A sub-account that has a name has an id.
        let team_id = charge.team_id.map_or_else(|| text(&charge.team), |id| TeamId::from(id).to_string());
        let agent_id = charge.agent_id.map(|id| AgentId::from(id).to_string()).unwrap_or_default();
        let cells: [String; COLUMNS.len()] = [
            cost.clone(),
            self.id.to_string(),
            text(self.name),
            "Tenant".to_owned(),
            Some(&*charge.currency).filter(|code| !code.is_empty()).unwrap_or(NO_CURRENCY).to_owned(),
            self.start_of(month.to),
            self.start_of(month.from),
            "Usage".to_owned(),
            String::new(),
            text(&format!("{} of {what} by {}", charge.method, charge.agent)),
            "Usage-Based".to_owned(),
            moment(day.end),
            moment(day.start),
            calls.clone(),
            "Requests".to_owned(),
            cost.clone(),
            cost.clone(),
            PLATFORM.to_owned(),
            PLATFORM.to_owned(),
            cost,
            calls,
            "Requests".to_owned(),
            PLATFORM.to_owned(),
            PLATFORM.to_owned(),
            text(&format!("mcp://{resource}")),
            text(&what),
            if charge.tool.is_empty() { "MCP Server" } else { "MCP Tool" }.to_owned(),
            "AI and Machine Learning".to_owned(),
            text(&charge.server),
            PLATFORM.to_owned(),
            "Other (AI and Machine Learning)".to_owned(),
            text(&what),
            "Requests".to_owned(),
            team_id,
            text(&charge.team),
            if charge.team.is_empty() { String::new() } else { "Team".to_owned() },
            text(&charge.labels.to_string()),
            agent_id,
            text(&charge.agent),
            text(&charge.cost_center),
            charge.input_tokens.to_string(),
            text(&charge.method),
            charge.outcome.clone(),
            charge.output_tokens.to_string(),
            text(&charge.server),
            text(&charge.tool),
            charge.unpriced_calls.to_string(),
            text(&charge.user),
        ];
        csv::line(cells)
    }

    fn start_of(&self, day: NaiveDate) -> String {
        moment(self.zone.start_of(day))
    }
}

/// What was used, as `server:tool` and as the path of a URI.
fn names(charge: &Charge) -> (String, String) {
    let escaped = |text: &str| {
        percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC)
            .to_string()
            .replace("%2D", "-")
            .replace("%5F", "_")
    };
    match charge.tool.as_str() {
        "" => (charge.server.clone(), charge.server.clone()),
        tool => (format!("{}:{tool}", charge.server), format!("{}/{}", charge.server, escaped(tool))),
    }
}

fn moment(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}
