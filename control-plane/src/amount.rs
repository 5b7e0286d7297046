//! Amounts as people write them: decimal numbers in JSON strings.
//!
//! Invariant: an amount comes back as it was written, and what it means is exact: no amount was ever a float.

use std::fmt;

use rust_decimal::Decimal;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, Visitor},
};
use tollgate_proto::rating::Range;
use utoipa::ToSchema;

/// The text of a decimal number. Whether it is one that is wanted is found out by [`Amount::read`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = String, example = "0.0125", pattern = r"^[0-9]+(\.[0-9]+)?$")]
pub struct Amount(String);

/// Why a text is not an amount that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// Below zero.
    #[error("an amount is not negative")]
    Negative,
    /// Anything but digits and one point.
    #[error(
        "write an amount in digits with at most one point, as in \"0.0125\": no exponent, sign, space or separator"
    )]
    Shape,
    /// Not below the bound.
    #[error("an amount here has at most {0} digits before the point")]
    Large(usize),
    /// Finer than is kept.
    #[error("an amount here has at most {0} digits behind the point")]
    Fine(usize),
}

impl Amount {
    /// An amount that is written so.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text itself.
    #[must_use]
    pub fn into_text(self) -> String {
        self.0
    }

    /// What it means.
    ///
    /// # Errors
    /// When it is not in `range`.
    pub fn read(&self, range: Range) -> Result<Decimal, AmountError> {
        if self.0.starts_with('-') {
            return Err(AmountError::Negative);
        }
        let (whole, fraction) = match self.0.split_once('.') {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (self.0.as_str(), None),
        };
        let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(whole) || !fraction.is_none_or(is_number) {
            return Err(AmountError::Shape);
        }
        if whole.trim_start_matches('0').len() > range.digits {
            return Err(AmountError::Large(range.digits));
        }
        if fraction.is_some_and(|fraction| fraction.len() > range.decimals) {
            return Err(AmountError::Fine(range.decimals));
        }
        Decimal::from_str_exact(&self.0).map_err(|_| AmountError::Shape)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Amount;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an amount as text in quotes, as in \"0.0125\": a JSON number is not exact")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Amount, E> {
                Ok(Amount(text.to_owned()))
            }
        }

        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRICE: Range = Range { digits: 6, decimals: 10 };

    #[test]
    fn an_amount_means_what_is_written() {
        for text in ["0", "0.0", "1", "0.0125", "999999.9999999999", "007.50"] {
            let amount = Amount::new(text);
            let expected: Decimal = text.parse().expect("a number");
            assert_eq!(amount.read(PRICE), Ok(expected), "{text}");
            assert_eq!(serde_json::to_string(&amount).expect("JSON"), format!("\"{text}\""));
        }
    }

    #[test]
    fn what_is_no_amount_is_refused_with_the_reason() {
        for (text, error) in [
            ("-1", AmountError::Negative),
            ("-0", AmountError::Negative),
            ("", AmountError::Shape),
            (".5", AmountError::Shape),
            ("5.", AmountError::Shape),
            ("+1", AmountError::Shape),
            ("1e3", AmountError::Shape),
            ("1_000", AmountError::Shape),
            ("1,5", AmountError::Shape),
            (" 1", AmountError::Shape),
            ("0x10", AmountError::Shape),
            ("1.2.3", AmountError::Shape),
            ("١", AmountError::Shape),
            ("NaN", AmountError::Shape),
            ("1000000", AmountError::Large(6)),
            ("0.00000000001", AmountError::Fine(10)),
            ("0.000000000000000000000000000001", AmountError::Fine(10)),
        ] {
            assert_eq!(Amount::new(text).read(PRICE), Err(error), "{text}");
        }
    }

    #[test]
    fn a_number_of_json_is_no_amount() {
        for json in ["0.1", "1", "-1", "1e3", "true", "null", "[\"1\"]"] {
            let error = serde_json::from_str::<Amount>(json).expect_err(json).to_string();
            assert!(error.contains("as text in quotes"), "{json}: {error}");
        }
    }
}
