//! What a server says that a call used.
//!
//! Invariant: an amount is its digits from the server's answer to the database and to whoever reads it: never a float.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use tollgate_proto::{Currency, usage::v1 as wire};
use utoipa::ToSchema;

use super::fact::{Unstorable, count, text};

/// What a server says that a call used. Kept of servers whose `reported_usage` is not `ignore`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReportedUsage {
    /// Whether the server is trusted with the bill. If so, its tokens are the record's.
    pub billed: bool,
    /// Absent when it does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_tokens: Option<i64>,
    /// Absent when it does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<i64>,
    /// Absent when it does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<ReportedCost>,
    /// The server's own name for the charge; empty when it gives none.
    pub charge_id: String,
    /// What Tollgate counted, where the record's tokens are the server's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counted: Option<CountedTokens>,
}

/// An amount of money.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReportedCost {
    /// A decimal, without exponent.
    #[schema(example = "0.0125")]
    pub amount: String,
    /// ISO 4217.
    #[schema(example = "EUR")]
    pub currency: String,
}

/// What Tollgate counted itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CountedTokens {
    /// Of the request's arguments.
    pub input_tokens: i64,
    /// Of the result.
    pub output_tokens: i64,
}

impl ReportedUsage {
    /// Reads a report as it was delivered; `replaces`: the record's tokens are the server's.
    pub(super) fn read(sent: &wire::ReportedUsage, replaces: bool) -> Result<Self, Unstorable> {
        let tokens = |field, tokens: Option<u64>| tokens.map(|tokens| count(field, tokens)).transpose();
        let counted = CountedTokens {
            input_tokens: count("reported.counted_input_tokens", sent.counted_input_tokens)?,
            output_tokens: count("reported.counted_output_tokens", sent.counted_output_tokens)?,
        };
        Ok(Self {
            billed: sent.billed,
            input_tokens: tokens("reported.input_tokens", sent.input_tokens)?,
            output_tokens: tokens("reported.output_tokens", sent.output_tokens)?,
            cost: ReportedCost::read(&sent.cost_amount, &sent.cost_currency)?,
            charge_id: text(&sent.charge_id),
            counted: replaces.then_some(counted),
        })
    }
}

impl ReportedUsage {
    /// What it is charged, where its server is trusted with the bill and says an amount that can be reckoned with.
    pub(super) fn billed_cost(&self) -> Option<(Decimal, Currency)> {
        let cost = self.cost.as_ref().filter(|_| self.billed)?;
        Some((cost.amount.parse().ok()?, cost.currency.parse().ok()?))
    }
}

impl ReportedCost {
    fn read(amount: &str, currency: &str) -> Result<Option<Self>, Unstorable> {
        if amount.is_empty() && currency.is_empty() {
            return Ok(None);
        }
        let (whole, fraction) = amount.split_once('.').unwrap_or((amount, "0"));
        let are_digits =
            |digits: &str| (1..=28).contains(&digits.len()) && digits.bytes().all(|it| it.is_ascii_digit());
        let is_currency = currency.len() == 3 && currency.bytes().all(|letter| letter.is_ascii_uppercase());
        if !are_digits(whole) || !are_digits(fraction) || !is_currency {
            return Err(Unstorable::Number("reported.cost"));
        }
        Ok(Some(Self { amount: amount.to_owned(), currency: currency.to_owned() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_kept_to_the_last_digit_or_not_at_all() {
        let read =
            |amount: &str, currency: &str| ReportedCost::read(amount, currency).map(|cost| cost.map(|it| it.amount));
        assert_eq!(read("", ""), Ok(None));
        for amount in ["0", "0.0000000000000001", "999999999999.9999999999999999"] {
            assert_eq!(read(amount, "EUR"), Ok(Some(amount.to_owned())));
        }
        for (amount, currency) in [
            ("1", ""),
            ("", "EUR"),
            ("-1", "EUR"),
            ("1e3", "EUR"),
            ("1.", "EUR"),
            ("NaN", "EUR"),
            ("1", "eur"),
            ("1", "EURO"),
        ] {
            assert_eq!(read(amount, currency), Err(Unstorable::Number("reported.cost")), "{amount} {currency}");
        }
    }
}
