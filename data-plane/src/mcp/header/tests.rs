use http::{
    HeaderValue, StatusCode,
    header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE},
};
use proptest::prelude::*;

use super::*;
use crate::mcp::json::{self, Bounds, Raw};

fn with(name: &HeaderName, values: &[&str]) -> HeaderMap {
    values.iter().map(|value| (name.clone(), HeaderValue::from_bytes(value.as_bytes()).unwrap())).collect()
}

fn raw(text: &str) -> Raw {
    json::parse(&bytes::Bytes::copy_from_slice(text.as_bytes()), &Bounds::AGENT).unwrap()
}

#[test]
fn a_header_that_is_there_twice_is_refused_even_when_both_agree() {
    let twice = with(&NAME, &["a", "a"]);
    assert_eq!(single(&twice, &NAME), Err(HeaderFault::Repeated(NAME)));
    assert_eq!(demand(&twice, &NAME, "a"), Err(HeaderFault::Repeated(NAME)));
    assert_eq!(demand(&HeaderMap::new(), &NAME, "a"), Err(HeaderFault::Missing(NAME)));
}

#[test]
fn white_space_around_a_value_does_not_count_and_case_does() {
    assert_eq!(demand(&with(&METHOD, &[" \ttools/call "]), &METHOD, "tools/call"), Ok(()));
    assert_eq!(demand(&with(&METHOD, &["Tools/call"]), &METHOD, "tools/call"), Err(HeaderFault::Mismatch(METHOD)));
    assert_eq!(demand(&with(&METHOD, &["tools/call, x"]), &METHOD, "tools/call"), Err(HeaderFault::Mismatch(METHOD)));
    assert_eq!(single(&with(&NAME, &["é"]), &NAME), Err(HeaderFault::Illegible(NAME)));
}

#[test]
fn base64_is_decoded_once_and_only_in_its_canonical_form() {
    let decoded = |value: &str| decode(value).map(|text| text.into_owned());
    assert_eq!(decoded("=?base64?w6k=?="), Ok("é".to_owned()));
    assert_eq!(decoded("=?base64??="), Ok(String::new()));
    assert_eq!(decoded(""), Ok(String::new()));
    assert_eq!(decoded("=?base64?PT9iYXNlNjQ/dzZrPT89?="), Ok("=?base64?w6k=?=".to_owned()));
    for illegal in ["w6k", "w6l=", "w6k==", "_-8=", "w6 k=", "/w==", "=", "w6k=\t"] {
        assert_eq!(decoded(&format!("=?base64?{illegal}?=")), Err(ValueError), "{illegal}");
    }
    for literal in ["=?BASE64?w6k=?=", "=?base64?w6k=", "base64?w6k=?=", "=?base64?=", "x=?base64?w6k=?="] {
        assert_eq!(decoded(literal), Ok(literal.to_owned()), "{literal}");
    }
    let fault = demand_decoded(&with(&NAME, &["=?base64?w6k?="]), &NAME, "é");
    assert_eq!(fault, Err(HeaderFault::Illegible(NAME)));
}

#[test]
fn arguments_equal_their_headers_by_type() {
    for (header, argument) in
        [("42", "42"), ("42", "42.0"), ("42", "4.2e1"), ("-7", "-7"), ("true", "true"), ("a b", "\"a b\"")]
    {
        assert!(param_equals(header, &raw(argument)), "{header} {argument}");
    }
    for (header, argument) in [
        ("42", "\"43\""),
        ("42.5", "42.25"),
        ("+42", "42"),
        ("9007199254740993", "9007199254740992"),
        ("True", "true"),
        ("1", "true"),
        ("null", "null"),
        ("[]", "[]"),
        ("inf", "1"),
    ] {
        assert!(!param_equals(header, &raw(argument)), "{header} {argument}");
    }
    assert_eq!(encode_param(&raw("42.0")).unwrap(), "42");
    assert_eq!(encode_param(&raw("\"é\"")).unwrap(), "=?base64?w6k=?=");
    assert_eq!(encode_param(&raw("null")), None);
    assert_eq!(encode_param(&raw("1.5")).unwrap(), "1.5");
    assert_eq!(encode_param(&raw("9007199254740993")), None);
}

#[test]
fn the_headers_of_arguments_are_found_by_their_prefix() {
    let mut headers = with(&HeaderName::from_static("mcp-param-region"), &["=?base64?w6k=?="]);
    headers.insert(NAME, HeaderValue::from_static("t"));
    assert_eq!(params(&headers).unwrap(), [(HeaderName::from_static("mcp-param-region"), "é".into())]);
    headers.append("mcp-param-region", HeaderValue::from_static("x"));
    assert!(matches!(params(&headers), Err(HeaderFault::Repeated(_))));
}

#[test]
fn a_body_is_json_in_utf8_or_is_not_read() {
    for good in [
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        "application/json;charset=\"UTF-8\"",
        "application/json;",
    ] {
        assert_eq!(content_is_json(&with(&CONTENT_TYPE, &[good])), Ok(()), "{good}");
    }
    for bad in [
        "application/json;charset=utf-16",
        "application/json; charset=",
        "application/json; profile=x",
        "application/json, text/plain",
        "text/json",
        "application/jsonl",
        "application/vnd.api+json",
        "multipart/form-data",
        "",
    ] {
        assert_eq!(content_is_json(&with(&CONTENT_TYPE, &[bad])), Err(MediaError::ContentType), "{bad}");
    }
    assert_eq!(content_is_json(&HeaderMap::new()), Err(MediaError::ContentType));
    let twice = with(&CONTENT_TYPE, &["application/json", "application/json"]);
    assert_eq!(content_is_json(&twice).unwrap_err().http_status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let mut compressed = with(&CONTENT_TYPE, &["application/json"]);
    compressed.insert(CONTENT_ENCODING, HeaderValue::from_static("identity"));
    assert_eq!(content_is_json(&compressed), Err(MediaError::ContentEncoding));
}

#[test]
fn a_client_takes_both_forms_of_an_answer_or_is_not_served() {
    let both: [&[&str]; 6] = [
        &["application/json, text/event-stream"],
        &["text/event-stream", "Application/JSON"],
        &["*/*"],
        &["application/*, text/*;q=0.1"],
        &["application/json;q=0.5,text/event-stream;q=1.0"],
        &["text/html;q=0, */*"],
    ];
    for good in both {
        assert_eq!(accepts_json_and_events(&with(&ACCEPT, good)), Ok(()), "{good:?}");
    }
    let lacking: [&[&str]; 6] = [
        &[],
        &["application/json"],
        &["text/event-stream"],
        &["*/*, text/event-stream;q=0"],
        &["application/json, text/event-stream; q=0.0"],
        &["application/jsonx, text/event-stream"],
    ];
    for bad in lacking {
        let error = accepts_json_and_events(&with(&ACCEPT, bad)).expect_err("it is to be refused");
        assert_eq!(error.http_status(), StatusCode::NOT_ACCEPTABLE, "{bad:?}");
    }
    assert_eq!(accepts_events(&with(&ACCEPT, &["text/event-stream"])), Ok(()));
    assert_eq!(accepts_events(&with(&ACCEPT, &["application/json"])), Err(MediaError::NoEvents));
}

proptest! {
    #[test]
    fn every_text_survives_its_header(text in prop_oneof![any::<String>(), "=\\?base64\\?[a-z=]{0,8}\\?=", "[ \ta-z]{0,4}"]) {
        let value = encode(&text);
        let headers: HeaderMap = [(NAME, value)].into_iter().collect();
        prop_assert_eq!(demand_decoded(&headers, &NAME, &text), Ok(()));
    }

    #[test]
    fn one_text_has_one_encoding_in_base64(value in "[A-Za-z0-9+/=]{0,12}") {
        let wrapped = format!("=?base64?{value}?=");
        if let Ok(text) = decode(&wrapped) {
            let again = format!("=?base64?{}?=", base64::Engine::encode(&base64::prelude::BASE64_STANDARD, text.as_bytes()));
            prop_assert_eq!(wrapped, again);
        }
    }
}
