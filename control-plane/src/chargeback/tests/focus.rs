//! What FOCUS 1.3 asks of the columns that are written, and of their cells.
//!
//! The rules are those of the specification's cost and usage dataset, as far as a file can be looked at alone; for the two
//! columns that 1.3 keeps from 1.2, those of 1.2.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDateTime, Utc};
use rust_decimal::Decimal;
use serde_json::{Map, Value};

use super::{october, report};
use crate::testing::run;

/// What may be in a cell that is not empty.
enum Format {
    Text,
    /// Without exponent, plus sign and separators.
    Number,
    /// In UTC, to the second.
    Moment,
    /// Three letters of ISO 4217.
    Currency,
    /// What is counted, in the plural.
    Unit,
    /// A JSON object of plain values.
    KeysAndValues,
    OneOf(&'static [&'static str]),
}

use Format::{Currency, KeysAndValues, Moment, Number, OneOf, Text, Unit};

/// Whether a file without the column is none.
#[derive(PartialEq)]
enum Level {
    Mandatory,
    Optional,
}

use Level::{Mandatory, Optional};

/// Whether a cell may be empty.
const NULL: bool = true;
const FULL: bool = false;

const COLUMNS: [(&str, Level, bool, Format); 37] = [
    ("BilledCost", Mandatory, FULL, Number),
    ("BillingAccountId", Mandatory, FULL, Text),
    ("BillingAccountName", Mandatory, NULL, Text),
    ("BillingAccountType", Optional, FULL, Text),
    ("BillingCurrency", Mandatory, FULL, Currency),
    ("BillingPeriodEnd", Mandatory, FULL, Moment),
    ("BillingPeriodStart", Mandatory, FULL, Moment),
    ("ChargeCategory", Mandatory, FULL, OneOf(&["Usage", "Purchase", "Tax", "Credit", "Adjustment"])),
    ("ChargeClass", Mandatory, NULL, OneOf(&["Correction"])),
    ("ChargeDescription", Mandatory, NULL, Text),
    ("ChargeFrequency", Optional, FULL, OneOf(&["One-Time", "Recurring", "Usage-Based"])),
    ("ChargePeriodEnd", Mandatory, FULL, Moment),
    ("ChargePeriodStart", Mandatory, FULL, Moment),
    // Both are there for all usage where usage is measured.
    ("ConsumedQuantity", Optional, FULL, Number),
    ("ConsumedUnit", Optional, FULL, Unit),
    ("ContractedCost", Mandatory, FULL, Number),
    ("EffectiveCost", Mandatory, FULL, Number),
    ("HostProviderName", Mandatory, FULL, Text),
    ("InvoiceIssuerName", Mandatory, FULL, Text),
    ("ListCost", Mandatory, FULL, Number),
    // Of usage that is no correction, never empty.
    ("PricingQuantity", Mandatory, FULL, Number),
    ("PricingUnit", Mandatory, FULL, Unit),
    ("ProviderName", Mandatory, FULL, Text),
    ("PublisherName", Mandatory, FULL, Text),
    ("ResourceId", Optional, NULL, Text),
    ("ResourceName", Optional, NULL, Text),
    ("ResourceType", Optional, NULL, Text),
    ("ServiceCategory", Mandatory, FULL, OneOf(&["AI and Machine Learning"])),
    ("ServiceName", Mandatory, FULL, Text),
    ("ServiceProviderName", Mandatory, FULL, Text),
    (
        "ServiceSubcategory",
        Optional,
        FULL,
        OneOf(&[
            "AI Platforms",
            "Bots",
            "Generative AI",
            "Machine Learning",
            "Natural Language Processing",
            "Other (AI and Machine Learning)",
        ]),
    ),
    ("SkuId", Optional, FULL, Text),
    ("SkuMeter", Optional, FULL, Text),
    ("SubAccountId", Optional, NULL, Text),
    ("SubAccountName", Optional, NULL, Text),
    ("SubAccountType", Optional, NULL, Text),
    ("Tags", Optional, NULL, KeysAndValues),
];

/// Those that are empty together: each is there when the first is, and only then.
const TOGETHER: [[&str; 3]; 2] =
    [["SubAccountId", "SubAccountName", "SubAccountType"], ["ResourceId", "ResourceName", "ResourceType"]];

/// Units that the specification names, in the plural.
const UNITS: [&str; 6] = ["Counts", "Units", "Requests", "Tokens", "Seconds", "MiB"];

impl Format {
    fn fits(&self, cell: &str) -> bool {
        match self {
            Text => !cell.trim().is_empty(),
            Number => {
                let digits = cell.strip_prefix('-').unwrap_or(cell);
                digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
                    && Decimal::from_str_exact(cell).is_ok()
            }
            Moment => NaiveDateTime::parse_from_str(cell, "%Y-%m-%dT%H:%M:%SZ").is_ok(),
            Currency => cell.len() == 3 && cell.bytes().all(|byte| byte.is_ascii_uppercase()),
            Unit => UNITS.contains(&cell),
            KeysAndValues => {
                let object = serde_json::from_str::<Map<String, Value>>(cell);
                object.is_ok_and(|object| object.values().all(|value| !value.is_object() && !value.is_array()))
            }
            OneOf(values) => values.contains(&cell),
        }
    }
}

/// The records of a file (RFC 4180).
fn parse(csv: &str) -> Vec<Vec<String>> {
    let (mut records, mut record, mut cell, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut characters = csv.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.next_if_eq(&'"').is_some() => cell.push('"'),
            '"' => quoted = !quoted,
            ',' if !quoted => record.push(std::mem::take(&mut cell)),
            '\r' if !quoted => {}
            '\n' if !quoted => {
                record.push(std::mem::take(&mut cell));
                records.push(std::mem::take(&mut record));
            }
            other => cell.push(other),
        }
    }
    assert!(record.is_empty() && cell.is_empty() && !quoted, "the last record has an end");
    records
}

fn check_header(header: &[String]) {
    assert_eq!(header.iter().collect::<BTreeSet<_>>().len(), header.len(), "no column is there twice");
    let own = header.iter().position(|column| column.starts_with("x_")).expect("columns of our own");
    assert!(header[own..].iter().all(|column| column.starts_with("x_")), "ours come last");
    for column in header {
        let name = column.strip_prefix("x_").unwrap_or(column);
        assert!(column.len() <= 50 && name.starts_with(|first: char| first.is_ascii_uppercase()), "{column}");
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{column}");
    }
    let known: BTreeSet<&str> = COLUMNS.iter().map(|(column, ..)| *column).collect();
    for column in &header[..own] {
        assert!(known.contains(column.as_str()), "FOCUS has no column `{column}`");
    }
    for (column, level, ..) in &COLUMNS {
        assert!(*level == Optional || header.iter().any(|name| name == column), "{column} is missing");
    }
}

fn check_row(row: &BTreeMap<&str, &str>) {
    for (column, _, nullable, format) in &COLUMNS {
        let Some(cell) = row.get(column) else { continue };
        if cell.is_empty() {
            assert!(*nullable, "{column} is empty: {row:?}");
        } else {
            assert!(format.fits(cell), "{column} is `{cell}`: {row:?}");
        }
    }
    for [first, rest @ ..] in TOGETHER {
        for column in rest {
            assert_eq!(row[column].is_empty(), row[first].is_empty(), "{column} goes with {first}: {row:?}");
        }
    }
    let moment = |column: &str| row[column].parse::<DateTime<Utc>>().expect("a moment");
    assert!(moment("ChargePeriodStart") < moment("ChargePeriodEnd"));
    assert!(moment("BillingPeriodStart") <= moment("ChargePeriodStart"));
    assert!(moment("ChargePeriodEnd") <= moment("BillingPeriodEnd"));
    // Without unit prices, and of what is no charge on another charge, the costs are the same.
    let costs = ["BilledCost", "EffectiveCost", "ContractedCost", "ListCost"].map(|column| row[column]);
    assert!(costs.iter().all(|cost| *cost == costs[0]), "{row:?}");
}

#[tokio::test]
async fn the_export_has_the_columns_and_cells_that_focus_asks_for() {
    run(async |bench| {
        october(bench).await;
        let file = report(bench, "2026-10?format=focus").await.expect(200).text;
        let mut records = parse(&file).into_iter();
        let header = records.next().expect("a header");
        check_header(&header);
        let mut rows = 0;
        for record in records {
            assert_eq!(record.len(), header.len(), "{record:?}");
            check_row(&header.iter().map(String::as_str).zip(record.iter().map(String::as_str)).collect());
            rows += 1;
        }
        assert!(rows > 5, "{rows} rows");
    })
    .await;
}
