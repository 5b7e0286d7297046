//! Price books and usage records as they travel between the planes.
//!
//! Invariant: a call costs a data plane what it costs the ledger: both rate the same record by the same versions.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use uuid::Uuid;

use super::{Book, Call, Ending, Factors, Prices, Quantities, Rates, Terms};
use crate::{
    policy::v1::{Price, PriceBook},
    usage::v1::{ReportedUsage, UsageRecord},
};

/// A price book that means nothing here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("price book version `{version}`: `{field}` is unreadable")]
pub struct BookError {
    version: String,
    field: &'static str,
}

impl TryFrom<&PriceBook> for Book {
    type Error = BookError;

    fn try_from(sent: &PriceBook) -> Result<Self, BookError> {
        let unreadable = |field| BookError { version: sent.version_id.clone(), field };
        let factor = |(ending, factor): (&String, &String)| {
            Some((Ending::chargeable(ending)?, Decimal::from_str_exact(factor).ok()?))
        };
        let factors: Option<_> = sent.outcome_factors.iter().map(factor).collect();
        let prices: Option<Vec<_>> =
            sent.prices.iter().map(|price| Some((price.r#match.parse().ok()?, rates(price)?))).collect();
        let moment = DateTime::<Utc>::from_timestamp_micros;
        let until = sent.effective_until_us.map(|until| moment(until).ok_or_else(|| unreadable("effective_until_us")));
        Ok(Self {
            version: sent.version_id.parse().map_err(|_| unreadable("version_id"))?,
            from: moment(sent.effective_from_us).ok_or_else(|| unreadable("effective_from_us"))?,
            until: until.transpose()?,
            terms: Terms {
                currency: sent.currency.parse().map_err(|_| unreadable("currency"))?,
                teams: (!sent.teams.is_empty()).then(|| sent.teams.iter().cloned().collect()),
                factors: Factors::new(factors.ok_or_else(|| unreadable("outcome_factors"))?),
                prices: Prices::new(prices.ok_or_else(|| unreadable("prices"))?),
            },
        })
    }
}

/// `None` when one of them is no amount.
fn rates(price: &Price) -> Option<Rates> {
    Some(Rates {
        per_call: amount(&price.per_call)?,
        per_1k_input_tokens: amount(&price.per_1k_input_tokens)?,
        per_1k_output_tokens: amount(&price.per_1k_output_tokens)?,
        per_second: amount(&price.per_second)?,
        per_mib: amount(&price.per_mib)?,
        server_reported: amount(&price.server_reported)?,
    })
}

fn amount(text: &str) -> Option<Option<Decimal>> {
    if text.is_empty() { Some(None) } else { Decimal::from_str_exact(text).ok().map(Some) }
}

impl<'a> Call<'a> {
    /// The call of a record as it is sent to the ledger; `None` when its id says no time.
    #[must_use]
    pub fn of(record: &'a UsageRecord) -> Option<Self> {
        let count = |count| i64::try_from(count).unwrap_or(i64::MAX);
        Some(Self {
            at: arrival(&record.call_id)?,
            team: &record.team,
            server: &record.server,
            tool: &record.tool,
            method: &record.method,
            forwarded: record.forwarded,
            ending: Ending::of_outcome(record.outcome(), record.input_required),
            quantities: Quantities {
                input_tokens: count(record.input_tokens),
                output_tokens: count(record.output_tokens),
                upstream_us: count(record.upstream_us),
                bytes: count(record.input_bytes.saturating_add(record.output_bytes)),
            },
            reported: record.reported.as_ref().filter(|reported| reported.billed).and_then(ReportedUsage::cost),
        })
    }
}

impl ReportedUsage {
    /// What the server says that the call cost; `None` where it says nothing that can be reckoned with.
    #[must_use]
    pub fn cost(&self) -> Option<(Decimal, crate::Currency)> {
        Some((self.cost_amount.parse().ok()?, self.cost_currency.parse().ok()?))
    }
}

fn arrival(call_id: &str) -> Option<DateTime<Utc>> {
    let (seconds, nanos) = Uuid::try_parse(call_id).ok()?.get_timestamp()?.to_unix();
    DateTime::from_timestamp(i64::try_from(seconds).ok()?, nanos)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PriceBookVersionId, rating::Books, usage::v1::Outcome};

    fn sent() -> PriceBook {
        PriceBook {
            version_id: PriceBookVersionId::new().to_string(),
            effective_from_us: 0,
            currency: "EUR".to_owned(),
            outcome_factors: [("rpc_error".to_owned(), "0.5".to_owned())].into(),
            prices: vec![Price {
                r#match: "demo:*".to_owned(),
                per_call: "0.002".to_owned(),
                per_1k_output_tokens: "0.01".to_owned(),
                ..Price::default()
            }],
            ..PriceBook::default()
        }
    }

    fn record(outcome: Outcome) -> UsageRecord {
        UsageRecord {
            call_id: crate::CallId::new().to_string(),
            server: "demo".to_owned(),
            tool: "echo".to_owned(),
            method: "tools/call".to_owned(),
            forwarded: true,
            output_tokens: 150,
            outcome: outcome.into(),
            ..UsageRecord::default()
        }
    }

    #[test]
    fn a_record_is_rated_by_a_book_that_was_sent() {
        let books = Books::new(vec![Book::try_from(&sent()).expect("readable")]);
        for (outcome, cost) in [(Outcome::Ok, "0.0035"), (Outcome::RpcError, "0.00175"), (Outcome::Timeout, "0")] {
            let record = record(outcome);
            let rating = books.rate(&Call::of(&record).expect("a call"));
            assert_eq!(rating.cost, cost.parse().expect("an amount"), "{outcome:?}");
        }
    }

    #[test]
    fn a_book_that_cannot_be_read_says_where() {
        let price = |per_call: &str| vec![Price { per_call: per_call.to_owned(), ..sent().prices.remove(0) }];
        let broken = [
            (PriceBook { version_id: "pbk_1".to_owned(), ..sent() }, "version_id"),
            (PriceBook { currency: "EURO".to_owned(), ..sent() }, "currency"),
            (PriceBook { effective_from_us: i64::MAX, ..sent() }, "effective_from_us"),
            (PriceBook { effective_until_us: Some(i64::MIN), ..sent() }, "effective_until_us"),
            (
                PriceBook { outcome_factors: [("refused".to_owned(), "1".to_owned())].into(), ..sent() },
                "outcome_factors",
            ),
            (PriceBook { prices: price("a lot"), ..sent() }, "prices"),
        ];
        for (book, field) in broken {
            assert_eq!(Book::try_from(&book).map_err(|error| error.field).err(), Some(field));
        }
    }
}
