//! What one price amounts to for one call.
//!
//! Every part is a whole number of 10⁻¹³ of the currency: an amount has at most 10 decimals, and tokens are priced by the
//! thousand. Parts by the second and by the MiB are rounded to that, half to even, because a byte's share of a MiB has 20
//! decimals; for prices with up to 7 decimals a second's is exact. The sum times a factor of two decimals is a whole
//! number of 10⁻¹⁵.
//!
//! Invariant: no cost leaves the 96 bits of a [`Decimal`]. With amounts below 10⁶ and the bounds below, the parts are
//! 10⁶ + 2·10¹² (tokens) + 10¹² (seconds) + 1.05·10¹² (MiB) + 10¹² (reported) < 5.06·10¹² at most; times a factor below 10
//! that is less than 5.06·10¹³, and 7.9·10¹³ fits at 15 decimals. A call beyond the bounds is a defect of who counted: it is
//! not charged by it, but stays visible as unpriced.

use rust_decimal::Decimal;

use super::Call;
use crate::Currency;

/// Which amounts are wanted: from zero on, below a bound, and so fine.
#[derive(Debug, Clone, Copy)]
pub struct Range {
    /// How many digits there may be before the point.
    pub digits: usize,
    /// How many digits there may be behind it.
    pub decimals: usize,
}

/// What a price may be: below 1,000,000, with up to 10 decimals.
pub const PRICE: Range = Range { digits: 6, decimals: PRICE_DECIMALS as usize };
/// What the factor on a reported cost may be: below 1,000, with up to 3 decimals.
pub const MARKUP: Range = Range { digits: 3, decimals: 3 };

const PRICE_DECIMALS: u32 = 10;
/// Of the parts of a cost, before the factor.
const PART_DECIMALS: u32 = 13;
const FACTOR_DECIMALS: u32 = 2;
/// From the decimals of a price to those of a part.
const PRICE_TO_PART: i128 = 1_000;

const TOKENS_PER_PRICE: i128 = 1_000;
const MICROSECONDS_PER_PRICE: i128 = 1_000_000;
const BYTES_PER_PRICE: i128 = 1 << 20;

const TOKENS_MAX: i64 = 1_000_000_000;
/// Eleven days and a half.
const UPSTREAM_US_MAX: i64 = 1_000_000_000_000;
/// 1 TiB.
const BYTES_MAX: i64 = 1 << 40;
const REPORTED_MAX: Decimal = Decimal::from_parts(1_000_000_000, 0, 0, false, 0);

/// What is paid for what of a call. What is absent costs nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rates {
    /// For the call as such.
    pub per_call: Option<Decimal>,
    /// For 1,000 tokens of what was sent.
    pub per_1k_input_tokens: Option<Decimal>,
    /// For 1,000 tokens of what came back.
    pub per_1k_output_tokens: Option<Decimal>,
    /// For a second in which the server was at it.
    pub per_second: Option<Decimal>,
    /// For 1,048,576 bytes of what was sent and of what came back.
    pub per_mib: Option<Decimal>,
    /// How often what the server claims that the call cost.
    pub server_reported: Option<Decimal>,
}

impl Rates {
    /// What a call costs with a factor; `None` when that cannot be said.
    pub(super) fn cost(&self, call: &Call<'_>, currency: Currency, factor: Decimal) -> Option<Decimal> {
        let used = call.quantities;
        let parts = [
            part(self.per_call, 1, 1, 1)?,
            part(self.per_1k_input_tokens, used.input_tokens, TOKENS_MAX, TOKENS_PER_PRICE)?,
            part(self.per_1k_output_tokens, used.output_tokens, TOKENS_MAX, TOKENS_PER_PRICE)?,
            part(self.per_second, used.upstream_us, UPSTREAM_US_MAX, MICROSECONDS_PER_PRICE)?,
            part(self.per_mib, used.bytes, BYTES_MAX, BYTES_PER_PRICE)?,
            self.reported(call, currency)?,
        ];
        let charged = parts.iter().sum::<i128>().checked_mul(whole(factor, FACTOR_DECIMALS)?)?;
        let cost = Decimal::try_from_i128_with_scale(charged, PART_DECIMALS + FACTOR_DECIMALS).ok()?;
        Some(cost.normalize())
    }

    /// What is passed on of what the server claims.
    fn reported(&self, call: &Call<'_>, currency: Currency) -> Option<i128> {
        let Some(markup) = self.server_reported else { return Some(0) };
        let (amount, of) = call.reported?;
        if of != currency || amount < Decimal::ZERO || amount > REPORTED_MAX {
            return None;
        }
        let markup_decimals = PART_DECIMALS - PRICE_DECIMALS;
        whole(amount, PRICE_DECIMALS)?.checked_mul(whole(markup, markup_decimals)?)
    }
}

/// The part of a cost that a price comes to, in the parts' smallest unit; `None` when the quantity is none that a call can have.
fn part(price: Option<Decimal>, quantity: i64, quantity_max: i64, per: i128) -> Option<i128> {
    let Some(price) = price else { return Some(0) };
    if !(0..=quantity_max).contains(&quantity) {
        return None;
    }
    let exact = whole(price, PRICE_DECIMALS)?.checked_mul(i128::from(quantity))?.checked_mul(PRICE_TO_PART)?;
    Some(divided(exact, per))
}

/// How many of its units of so many decimals an amount is; `None` when it is finer.
fn whole(amount: Decimal, decimals: u32) -> Option<i128> {
    let mut amount = amount.normalize();
    if amount.scale() > decimals {
        return None;
    }
    amount.rescale(decimals);
    (amount.scale() == decimals).then(|| amount.mantissa())
}

/// The quotient of two numbers that are not negative, rounded half to even.
fn divided(number: i128, by: i128) -> i128 {
    let (quotient, rest) = (number / by, number % by);
    let up = match (rest * 2).cmp(&by) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Equal => quotient % 2 == 1,
        std::cmp::Ordering::Greater => true,
    };
    quotient + i128::from(up)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_rounded_to_even_numbers() {
        for (number, by, expected) in
            [(5, 10, 0), (15, 10, 2), (25, 10, 2), (26, 10, 3), (24, 10, 2), (0, 10, 0), (7, 1, 7)]
        {
            assert_eq!(divided(number, by), expected, "{number} / {by}");
        }
    }

    #[test]
    fn an_amount_that_is_finer_than_its_unit_is_none() {
        assert_eq!(whole(Decimal::new(125, 2), 3), Some(1_250));
        assert_eq!(whole(Decimal::new(12_500, 4), 2), Some(125), "zeros at the end say nothing");
        assert_eq!(whole(Decimal::new(1, 11), 10), None);
        assert_eq!(whole(Decimal::MAX, 10), None);
    }
}
