use bytes::Bytes;
use http::HeaderValue;
use serde_json::{Value, json};

use super::*;
use crate::mcp::json::{Bounds, parse};

fn raw(value: &Value) -> Raw {
    parse(&Bytes::from(value.to_string()), &Bounds::UPSTREAM).unwrap()
}

fn mirrors(schema: &Value) -> Result<Mirrors, AnnotationFault> {
    Mirrors::read(&raw(schema))
}

fn annotated(kind: &str, name: &str) -> Value {
    json!({"type": kind, "x-mcp-header": name})
}

fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "region": annotated("string", "Region"),
            "count": annotated("integer", "count"),
            "dry": annotated("boolean", "Dry-Run"),
            "target": {"type": "object", "properties": {"tier": annotated("string", "Tier")}},
            "plain": {"type": "string"},
        },
    })
}

fn headers(rows: &[(&str, &str)]) -> HeaderMap {
    let row = |(name, value): &(&str, &str)| {
        let name: HeaderName = format!("Mcp-Param-{name}").parse().unwrap();
        (name, HeaderValue::from_str(value).unwrap())
    };
    rows.iter().map(row).collect()
}

#[test]
fn annotated_arguments_are_mirrored_at_any_depth_of_properties() {
    let arguments = raw(&json!({
        "region": "eu-west 1", "count": 42.0, "dry": true, "target": {"tier": "größe"}, "plain": "x",
    }));
    let mirrored = mirrors(&schema()).unwrap().headers(Some(&arguments));
    let expected = [("Region", "eu-west 1"), ("Count", "42"), ("Dry-Run", "true"), ("Tier", "=?base64?Z3LDtsOfZQ==?=")];
    assert_eq!(mirrored, headers(&expected));
}

#[test]
fn what_is_absent_null_or_no_scalar_has_no_header() {
    let mirrors = mirrors(&schema()).unwrap();
    for arguments in [
        json!({}),
        json!({"region": null, "target": null}),
        json!({"region": {"a": 1}, "count": [1], "target": "no object"}),
        json!({"count": 9_007_199_254_740_993_i64}),
    ] {
        let arguments = raw(&arguments);
        assert!(mirrors.headers(Some(&arguments)).is_empty(), "{arguments:?}");
        assert_eq!(mirrors.check(&HeaderMap::new(), Some(&arguments)), Ok(()));
        let invented = mirrors.check(&headers(&[("Region", "eu")]), Some(&arguments));
        assert!(matches!(invented, Err(HeaderFault::Mismatch(_))), "{arguments:?}");
    }
    assert!(mirrors.headers(None).is_empty());
}

#[test]
fn what_is_mirrored_passes_its_own_check() {
    let mirrors = mirrors(&schema()).unwrap();
    for arguments in [
        json!({"region": "=?base64?eA==?=", "count": -7, "dry": false}),
        json!({"region": "", "target": {"tier": " padded "}}),
        json!({"region": "a\r\nmcp-name: b"}),
    ] {
        let arguments = raw(&arguments);
        let mirrored = mirrors.headers(Some(&arguments));
        assert_eq!(mirrors.check(&mirrored, Some(&arguments)), Ok(()), "{mirrored:?}");
    }
}

#[test]
fn headers_that_disagree_with_the_arguments_are_refused() {
    let mirrors = mirrors(&schema()).unwrap();
    let arguments = raw(&json!({"region": "eu", "count": 42}));
    let check = |rows: &[(&str, &str)]| mirrors.check(&headers(rows), Some(&arguments));
    assert_eq!(check(&[("Region", "eu"), ("Count", "42.0"), ("Unknown", "x")]), Ok(()));
    let name = |name: &'static str| HeaderName::from_static(name);
    assert_eq!(check(&[("Region", "eu")]), Err(HeaderFault::Missing(name("mcp-param-count"))));
    assert_eq!(check(&[("Region", "EU"), ("Count", "42")]), Err(HeaderFault::Mismatch(name("mcp-param-region"))));
    let broken = [("Region", "=?base64?eA=?="), ("Count", "42")];
    assert_eq!(check(&broken), Err(HeaderFault::Illegible(name("mcp-param-region"))));
    let mut twice = headers(&[("Region", "eu"), ("Count", "42")]);
    twice.append("mcp-param-region", HeaderValue::from_static("eu"));
    assert_eq!(mirrors.check(&twice, Some(&arguments)), Err(HeaderFault::Repeated(name("mcp-param-region"))));
}

#[test]
fn an_annotation_that_breaks_a_rule_condemns_the_schema() {
    use AnnotationFault as Fault;
    let property = |schema: Value| json!({"type": "object", "properties": {"a": schema}});
    let good = || annotated("string", "A");
    for (fault, schema) in [
        (Fault::NotAToken, property(annotated("string", ""))),
        (Fault::NotAToken, property(annotated("string", "two words"))),
        (Fault::NotAToken, property(annotated("string", "a\r\nb"))),
        (Fault::NotAToken, property(annotated("string", "größe"))),
        (Fault::NotAToken, property(json!({"type": "string", "x-mcp-header": 7}))),
        (Fault::WrongType, property(annotated("object", "A"))),
        (Fault::WrongType, property(annotated("array", "A"))),
        (Fault::WrongType, property(json!({"x-mcp-header": "A"}))),
        (Fault::WrongType, property(json!({"type": ["string", "null"], "x-mcp-header": "A"}))),
        (Fault::Repeated, json!({"properties": {"a": good(), "b": annotated("string", "a")}})),
        (Fault::Misplaced, good()),
        (Fault::Misplaced, property(json!({"items": good()}))),
        (Fault::Misplaced, property(json!({"items": [true, good()]}))),
        (Fault::Misplaced, json!({"oneOf": [property(good())]})),
        (Fault::Misplaced, json!({"anyOf": [{}, {"not": {"properties": {"a": good()}}}]})),
        (Fault::Misplaced, json!({"$defs": {"a": good()}, "properties": {"a": {"$ref": "#/$defs/a"}}})),
        (Fault::Misplaced, json!({"patternProperties": {"^a": good()}})),
        (Fault::Misplaced, json!({"additionalProperties": good()})),
        (Fault::Misplaced, json!({"if": {}, "then": property(good())})),
    ] {
        assert_eq!(mirrors(&schema), Err(fault), "{schema}");
    }
    let escaped = r#"{"properties":{"a":{"items":{"type":"string","x\u002dmcp-header":"A"}}}}"#;
    let escaped = parse(&Bytes::from_static(escaped.as_bytes()), &Bounds::UPSTREAM).unwrap();
    assert_eq!(Mirrors::read(&escaped), Err(AnnotationFault::Misplaced));
}

#[test]
fn what_only_looks_like_an_annotation_is_none() {
    let data = json!({"x-mcp-header": "Data"});
    for schema in [
        json!({"type": "object", "properties": {"x-mcp-header": {"type": "string"}}}),
        json!({"type": "object", "default": data, "examples": [data], "properties": {"a": {"const": data}}}),
        json!({"type": "object", "description": "mind x-mcp-header"}),
        json!(true),
    ] {
        assert_eq!(mirrors(&schema), Ok(Mirrors::default()), "{schema}");
    }
}

#[test]
fn a_number_is_mirrored_as_clients_in_the_field_do() {
    let mirrors = mirrors(&json!({"properties": {"ratio": annotated("number", "Ratio")}})).unwrap();
    for (value, header) in [(json!(1.5), "1.5"), (json!(3), "3"), (json!(-0.25), "-0.25")] {
        let arguments = raw(&json!({"ratio": value}));
        assert_eq!(mirrors.headers(Some(&arguments)), headers(&[("Ratio", header)]));
        assert_eq!(mirrors.check(&headers(&[("Ratio", header)]), Some(&arguments)), Ok(()));
    }
    let arguments = raw(&json!({"ratio": 1.5}));
    assert!(mirrors.check(&headers(&[("Ratio", "1.25")]), Some(&arguments)).is_err());
}
