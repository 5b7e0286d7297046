//! What a server says that a call used, in `_meta` of its result. Pure.
//!
//! Invariant: no amount is ever a float, and a report of which any part is malformed is not taken at all.

use tollgate_proto::usage::v1::ReportedUsage;

use crate::mcp::json::{Kind, Object, Raw};

#[cfg(test)]
mod tests;

/// Key of a result's `_meta` under which a server reports.
const USAGE: &str = "io.tollgate/usage";
/// The most tokens that one call is believed to have used.
const TOKENS_MAX: u64 = 1_000_000_000_000;
/// The longest id of a charge.
const CHARGE_ID_BYTES_MAX: usize = 128;
/// Digits before and behind the point of an amount: together as many as a decimal number has here.
const WHOLE_DIGITS_MAX: usize = 12;
const FRACTION_DIGITS_MAX: usize = 16;

/// The report is none that can be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// What the result's server reports; `None`: nothing.
///
/// # Errors
/// When anything in the report is not what it has to be.
pub fn read(result: &Raw) -> Result<Option<ReportedUsage>, Malformed> {
    let Some(meta) = result.object().and_then(|members| meta_of(&members)) else { return Ok(None) };
    let usage = match meta.get(USAGE) {
        Some(usage) => of_usage(&usage.object().ok_or(Malformed)?)?,
        None => match meta.get("cost").and_then(Raw::object).as_ref().and_then(|cost| cost.get("usd")) {
            Some(amount) => ReportedUsage {
                cost_amount: decimal(amount).ok_or(Malformed)?,
                cost_currency: "USD".to_owned(),
                ..ReportedUsage::default()
            },
            None => return Ok(None),
        },
    };
    Ok(Some(usage).filter(|usage| *usage != ReportedUsage::default()))
}

/// Of the result; of what came of a task, where that is what the result holds.
fn meta_of(members: &Object) -> Option<Object> {
    let own = |members: &Object| {
        members.get("_meta")?.object().filter(|meta| meta.get(USAGE).is_some() || meta.get("cost").is_some())
    };
    own(members).or_else(|| own(&members.get("result")?.object()?))
}

fn of_usage(usage: &Object) -> Result<ReportedUsage, Malformed> {
    let tokens = |member| {
        let count = usage.get(member).map(|count| count.as_u64().filter(|count| *count <= TOKENS_MAX));
        count.map(|count| count.ok_or(Malformed)).transpose()
    };
    let charge_id = match usage.get("chargeId") {
        Some(id) => id.as_str().filter(|id| id.len() <= CHARGE_ID_BYTES_MAX).ok_or(Malformed)?.into_owned(),
        None => String::new(),
    };
    let (cost_amount, cost_currency) = match usage.get("cost") {
        Some(cost) => cost.object().as_ref().and_then(money).ok_or(Malformed)?,
        None => Default::default(),
    };
    let (input_tokens, output_tokens) = (tokens("inputTokens")?, tokens("outputTokens")?);
    Ok(ReportedUsage { input_tokens, output_tokens, cost_amount, cost_currency, charge_id, ..Default::default() })
}

fn money(cost: &Object) -> Option<(String, String)> {
    let currency = cost.get("currency")?.as_str()?.into_owned();
    let is_currency = currency.len() == 3 && currency.bytes().all(|letter| letter.is_ascii_uppercase());
    Some((decimal(cost.get("amount")?)?, currency)).filter(|_| is_currency)
}

/// An amount, which is a number or the text of one, without exponent and needless zeros: `1.50e-2` is `0.015`.
fn decimal(amount: &Raw) -> Option<String> {
    let text = match amount.kind() {
        Kind::Number => amount.as_number()?.into(),
        _ => amount.as_str()?,
    };
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i16>().ok()?),
        None => (&*text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').map_or((mantissa, "0"), |parts| parts);
    // Neither may be empty, and neither has a sign: nothing costs less than nothing.
    let are_digits = |digits: &str| (1..=64).contains(&digits.len()) && digits.bytes().all(|it| it.is_ascii_digit());
    if !are_digits(whole) || !are_digits(fraction) || exponent.unsigned_abs() > 64 {
        return None;
    }
    let zeros = "0".repeat(exponent.unsigned_abs().into());
    let digits = if exponent < 0 { [&zeros, whole, fraction].concat() } else { [whole, fraction, &zeros].concat() };
    let point = if exponent < 0 { whole.len() } else { whole.len() + zeros.len() };
    let (whole, fraction) = digits.split_at(point);
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    if whole.len() > WHOLE_DIGITS_MAX || fraction.len() > FRACTION_DIGITS_MAX {
        return None;
    }
    let whole = if whole.is_empty() { "0" } else { whole };
    Some(if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") })
}
