use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::mcp::json::{Bounds, parse};

fn reported(meta: &str) -> Result<Option<ReportedUsage>, Malformed> {
    let result = format!(r#"{{"content":[],"_meta":{meta}}}"#);
    read(&parse(&Bytes::from(result), &Bounds::UPSTREAM).expect("valid"))
}

fn usage(members: &str) -> Result<Option<ReportedUsage>, Malformed> {
    reported(&format!(r#"{{"io.tollgate/usage":{{{members}}}}}"#))
}

fn cost(amount: &str) -> Option<String> {
    let usage = usage(&format!(r#""cost":{{"amount":{amount},"currency":"EUR"}}"#));
    usage.ok().flatten().map(|usage| usage.cost_amount)
}

#[test]
fn a_whole_report_is_read() {
    let members = r#""inputTokens":7,"outputTokens":0,"cost":{"amount":0.10,"currency":"EUR"},"chargeId":"ch_1","x":1"#;
    let expected = ReportedUsage {
        input_tokens: Some(7),
        output_tokens: Some(0),
        cost_amount: "0.1".to_owned(),
        cost_currency: "EUR".to_owned(),
        charge_id: "ch_1".to_owned(),
        ..ReportedUsage::default()
    };
    assert_eq!(usage(members), Ok(Some(expected)));
}

#[test]
fn the_cost_in_dollars_that_others_report_is_read_too() {
    let usage = reported(r#"{"cost":{"usd":0.0125}}"#).expect("well-formed").expect("a report");
    assert_eq!((&*usage.cost_amount, &*usage.cost_currency), ("0.0125", "USD"));
    assert_eq!(reported(r#"{"cost":{"usd":-1}}"#), Err(Malformed));
    assert_eq!(reported(r#"{"cost":"much"}"#), Ok(None));
}

#[test]
fn what_came_of_a_task_reports_for_it() {
    let result = r#"{"taskId":"t","result":{"content":[],"_meta":{"io.tollgate/usage":{"outputTokens":5}}}}"#;
    let usage = read(&parse(&Bytes::from(result), &Bounds::UPSTREAM).expect("valid"));
    assert_eq!(usage.map(|usage| usage.and_then(|usage| usage.output_tokens)), Ok(Some(5)));
}

#[test]
fn nothing_is_no_report() {
    for meta in ["{}", "null", "7", r#"{"io.tollgate/usage":{}}"#, r#"{"io.tollgate/usage":{"later":true}}"#] {
        assert_eq!(reported(meta), Ok(None), "{meta}");
    }
}

#[test]
fn nonsense_is_not_taken_in_whole_or_in_part() {
    let cases = [
        r#""inputTokens":-5"#,
        r#""inputTokens":1e30"#,
        r#""inputTokens":1000000000000000000000000000000"#,
        r#""inputTokens":1000000000001"#,
        r#""inputTokens":"7""#,
        r#""inputTokens":7.5"#,
        r#""inputTokens":null"#,
        r#""inputTokens":7,"outputTokens":"NaN""#,
        r#""cost":{"amount":1,"currency":"eur"}"#,
        r#""cost":{"amount":1,"currency":"BITCOIN"}"#,
        r#""cost":{"amount":1,"currency":7}"#,
        r#""cost":{"amount":1}"#,
        r#""cost":1"#,
        r#""chargeId":7"#,
    ];
    for members in cases {
        assert_eq!(usage(members), Err(Malformed), "{members}");
    }
    assert_eq!(usage(&format!(r#""inputTokens":1,"chargeId":"{}""#, "x".repeat(129))), Err(Malformed));
    assert_eq!(reported(r#"{"io.tollgate/usage":[1]}"#), Err(Malformed));
}

#[test]
fn an_amount_is_its_digits() {
    let cases = [
        ("0", Some("0")),
        ("12", Some("12")),
        ("0.0125", Some("0.0125")),
        ("1.50e-2", Some("0.015")),
        ("1E3", Some("1000")),
        ("0.1", Some("0.1")),
        (r#""0.30""#, Some("0.3")),
        (r#""007""#, Some("7")),
        ("999999999999.9999999999999999", Some("999999999999.9999999999999999")),
        ("1e12", None),
        ("1e-17", None),
        (r#""1e999""#, None),
        ("-0.01", None),
        (r#""+1""#, None),
        (r#""1,5""#, None),
        (r#""NaN""#, None),
        (r#"".5""#, None),
        (r#""5.""#, None),
        (r#""""#, None),
        ("true", None),
    ];
    for (amount, expected) in cases {
        assert_eq!(cost(amount).as_deref(), expected, "{amount}");
    }
}

proptest! {
    #[test]
    fn an_amount_is_never_changed_by_how_it_is_written(units in 0_u64..1_000_000_000_000, decimals in 0_usize..16) {
        let plain = format!("{units}.{:016}", 7);
        let shifted = format!("{units}{:016}e-16", 7);
        prop_assert_eq!(cost(&plain), Some(format!("{units}.0000000000000007")));
        prop_assert_eq!(cost(&shifted), cost(&plain));
        let zeros = "0".repeat(decimals + 1);
        prop_assert_eq!(cost(&format!("{units}.{zeros}")), Some(units.to_string()));
    }
}
