use std::collections::HashSet;

use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn read(text: impl AsRef<[u8]>) -> Result<Raw, JsonError> {
    parse(&Bytes::copy_from_slice(text.as_ref()), &Bounds::AGENT)
}

fn refusal(text: impl AsRef<[u8]>) -> String {
    read(text).expect_err("it is to be refused").to_string()
}

/// What the views say the value is.
fn seen(raw: &Raw) -> Value {
    match raw.kind() {
        Kind::Null => Value::Null,
        Kind::Boolean => raw.as_bool().into(),
        Kind::Number => serde_json::from_slice(raw.as_bytes()).unwrap(),
        Kind::String => raw.as_str().unwrap().into(),
        Kind::Array => raw.array().unwrap().iter().map(seen).collect(),
        Kind::Object => raw.object().unwrap().iter().map(|(key, value)| (key.to_owned(), seen(value))).collect(),
    }
}

/// Any JSON value without U+0000, at most five levels deep.
pub(crate) fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(Value::from),
        any_text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(any_text(), inner, 0..6).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

pub(crate) fn any_text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z_]{0,8}", "[\"\\\\/\u{8}\n\r\t\u{1f}\u{7f}é\u{2028}😀]{0,6}", any::<String>()]
        .prop_map(|text| text.replace('\0', ""))
}

#[test]
fn what_every_reader_refuses_is_refused_with_its_place() {
    for (text, said) in [
        ("", "unexpected end at byte 0"),
        ("  ", "unexpected end at byte 2"),
        ("{\"a\":1", "unexpected end at byte 6"),
        ("{\"a\"", "unexpected end at byte 4"),
        ("\"a", "unexpected end at byte 2"),
        ("\"a\\", "unexpected end at byte 3"),
        ("{\"a\":1,}", "unexpected character at byte 7"),
        ("[1,]", "unexpected character at byte 3"),
        ("[,1]", "unexpected character at byte 1"),
        ("{a:1}", "unexpected character at byte 1"),
        ("{\"a\":1]", "unexpected character at byte 6"),
        ("[1}", "unexpected character at byte 2"),
        ("nul", "unexpected character at byte 0"),
        ("NaN", "unexpected character at byte 0"),
        ("'a'", "unexpected character at byte 0"),
        ("[1]//", "trailing bytes after the document at byte 3"),
        ("{} {}", "trailing bytes after the document at byte 3"),
        ("truefalse", "trailing bytes after the document at byte 4"),
        ("\"\t\"", "unescaped control character at byte 1"),
        (r#""\x""#, "invalid escape at byte 1"),
        (r#""\u12g4""#, "invalid escape at byte 1"),
        (r#""\u12""#, "invalid escape at byte 1"),
        ("\u{b}1", "unexpected character at byte 0"),
        ("\u{a0}1", "unexpected character at byte 0"),
    ] {
        assert_eq!(refusal(text), said, "{text}");
    }
}

#[test]
fn what_readers_disagree_about_is_refused() {
    for (text, said) in [
        (r#"{"name":1,"name":2}"#, "duplicate key `name` at byte 10"),
        (r#"{"name":1,"n\u0061me":2}"#, "duplicate key `name` at byte 10"),
        (r#"[{"a":{"":1,"b":2,"":3}}]"#, "duplicate key `` at byte 18"),
        (r#"{"a":{"x":1},"b":[{"y":1,"y":2}]}"#, "duplicate key `y` at byte 25"),
        (r#"{"b":1,"a":1,"b":1,"a":1}"#, "duplicate key `b` at byte 13"),
        (r#"{"😀":1,"\ud83d\ude00":2}"#, "duplicate key `😀` at byte 10"),
        (r#""\u0000""#, "U+0000 in a string at byte 1"),
        (r#"{"\u0000":1}"#, "U+0000 in a string at byte 2"),
        (r#""\ud800""#, "unpaired surrogate at byte 1"),
        (r#""\udc00""#, "unpaired surrogate at byte 1"),
        (r#""\ud800\ud800""#, "unpaired surrogate at byte 1"),
        (r#""\ud800a\udc00""#, "unpaired surrogate at byte 1"),
        ("1e400", "number out of range at byte 0"),
        ("-1e400", "number out of range at byte 0"),
        ("123456789012345678901234567890123", "number with too many digits at byte 0"),
        ("0.0000000000000000000000000000001e1", "number with too many digits at byte 0"),
        ("\u{feff}{}", "byte order mark at byte 0"),
    ] {
        assert_eq!(refusal(text), said, "{text}");
    }
    assert_eq!(refusal(b"{\"a\":\"\xff\"}"), "invalid UTF-8 at byte 6");
    assert_eq!(refusal(b"\"\xc0\x80\""), "invalid UTF-8 at byte 1");
    assert_eq!(refusal(b"\"\xed\xa0\x80\""), "invalid UTF-8 at byte 1");
    assert_eq!(refusal(b"{}\0"), "trailing bytes after the document at byte 2");
}

#[test]
fn a_number_is_what_the_grammar_says() {
    for text in ["0", "-0", "10", "-1.5", "0.1", "1e5", "1E+5", "1e-5", "12345678901234567890123456789012"] {
        assert_eq!(read(text).unwrap().as_number(), Some(text));
    }
    for text in ["01", "-", "+1", "1.", ".1", "1e", "1e+", "-01", "0x1", "--1", "1_0", "Infinity", "-Infinity", "1.e1"]
    {
        assert!(read(text).is_err(), "{text}");
    }
}

#[test]
fn an_error_shows_the_key_escaped_and_cut() {
    let key = "k".repeat(500);
    let said = refusal(format!(r#"{{"{key}":1,"{key}":2}}"#));
    assert_eq!(said, format!("duplicate key `{}` at byte 506", "k".repeat(64)));
    assert_eq!(refusal(r#"{"a\nb":1,"a\nb":2}"#), r"duplicate key `a\nb` at byte 10");
}

#[test]
fn bounds_are_reached_but_not_exceeded() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(read(nested(64)).is_ok());
    assert_eq!(read(nested(65)).unwrap_err().kind, JsonErrorKind::TooDeep);
    assert_eq!(read("{\"a\":".repeat(65)).unwrap_err().kind, JsonErrorKind::TooDeep);

    let keyed = |keys: usize| format!("{{{}}}", (0..keys).map(|n| format!("\"{n}\":0")).collect::<Vec<_>>().join(","));
    assert!(read(keyed(10_000)).is_ok());
    assert_eq!(read(keyed(10_001)).unwrap_err().kind, JsonErrorKind::TooManyKeys);
    let spread = format!("[{}]", vec![r#"{"a":1,"b":2}"#; 5_001].join(","));
    assert_eq!(read(spread).unwrap_err().kind, JsonErrorKind::TooManyKeys);

    let text = |length: usize| format!("\"{}\"", "x".repeat(length));
    assert!(read(text(1 << 20)).is_ok());
    assert_eq!(read(text((1 << 20) + 1)).unwrap_err().kind, JsonErrorKind::StringTooLong);
    assert_eq!(read(format!("{{{}:1}}", text((1 << 20) + 1))).unwrap_err().kind, JsonErrorKind::StringTooLong);
}

#[test]
fn a_million_brackets_need_no_stack() {
    let bounds = Bounds { depth_max: usize::MAX, ..Bounds::AGENT };
    let depth = 1_000_000;
    let body = Bytes::from(format!("{}{}", "[".repeat(depth), "]".repeat(depth)));
    let outermost = parse(&body, &bounds).unwrap();
    assert_eq!(outermost.array().unwrap()[0].as_bytes().len(), 2 * (depth - 1));
}

#[test]
fn a_quarter_of_a_million_keys_in_one_object_are_sorted_not_compared_in_pairs() {
    let members: Vec<_> = (0..250_000).map(|n| format!("\"a common prefix of all keys {n}\":{n}")).collect();
    let body = Bytes::from(format!("{{{}}}", members.join(",")));
    assert!(parse(&body, &Bounds::UPSTREAM).is_ok());
}

#[test]
fn a_slice_is_not_copied_and_keeps_its_bytes() {
    let body = Bytes::from_static(b" {\"a\" : [ 1 , {\"b\":\"\\u0041\"} ] ,\"c\":\"x\"} ");
    let raw = parse(&body, &Bounds::AGENT).unwrap();
    let members = raw.object().unwrap();
    let list = members.get("a").unwrap();
    assert_eq!(list.as_bytes(), b"[ 1 , {\"b\":\"\\u0041\"} ]");
    assert_eq!(list.as_bytes().as_ptr(), body[8..].as_ptr());
    let inner = list.array().unwrap()[1].object().unwrap();
    assert_eq!(inner.get("b").unwrap().as_str().unwrap(), "A");
    assert!(matches!(members.get("c").unwrap().as_str().unwrap(), std::borrow::Cow::Borrowed("x")));
}

#[test]
fn brackets_and_quotes_in_strings_do_not_end_a_view() {
    let raw = read(r#"{"a}":"]}\\\"{[,:","b":[{"c":"}\""},"]"],"":{}}"#).unwrap();
    let keys: Vec<_> = raw.object().unwrap().iter().map(|(key, _)| key.to_owned()).collect();
    assert_eq!(keys, ["a}", "b", ""]);
    assert_eq!(raw.object().unwrap().get("b").unwrap().array().unwrap().len(), 2);
}

#[test]
fn integers_are_read_only_where_they_are_written_as_such() {
    let integer = |text: &str| read(text).unwrap().as_i64();
    assert_eq!(integer("-9223372036854775808"), Some(i64::MIN));
    assert_eq!(integer("9223372036854775808"), None);
    assert_eq!(read("18446744073709551615").unwrap().as_u64(), Some(u64::MAX));
    for text in ["1.0", "1e0", "\"1\"", "true"] {
        assert_eq!(integer(text), None, "{text}");
    }
}

#[test]
fn debug_output_keeps_values_to_itself() {
    let raw = read(r#"{"token":"hunter2"}"#).unwrap();
    assert!(!format!("{raw:?} {:?}", raw.object()).contains("hunter2"));
}

proptest! {
    #[test]
    fn every_document_is_seen_as_serde_json_sees_it(value in any_json(), pretty: bool) {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        let raw = read(&text).unwrap();
        prop_assert_eq!(seen(&raw), serde_json::from_str::<Value>(&text).unwrap());
    }

    #[test]
    fn what_is_accepted_after_damage_is_read_alike(
        value in any_json(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = serde_json::to_vec(&value).unwrap();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(raw) = read(&bytes) {
            prop_assert_eq!(seen(&raw), serde_json::from_slice::<Value>(&bytes).unwrap());
        }
    }

    #[test]
    fn escaping_any_characters_changes_nothing(text in any_text(), escaped in any::<u64>()) {
        let mut written = String::from('"');
        for (at, character) in text.chars().enumerate() {
            if escaped >> (at % 64) & 1 == 1 || matches!(character, '"' | '\\' | '\0'..='\u{1f}') {
                character.encode_utf16(&mut [0; 2]).iter().for_each(|unit| written += &format!("\\u{unit:04X}"));
            } else {
                written.push(character);
            }
        }
        written.push('"');
        let raw = read(&written).unwrap();
        prop_assert_eq!(raw.as_str().unwrap(), text);
    }

    #[test]
    fn one_key_twice_is_found_wherever_it_stands(keys in prop::collection::vec(any_text(), 1..40)) {
        let members: Vec<_> = keys.iter().map(|key| format!("{}:0", serde_json::to_string(key).unwrap())).collect();
        let unique = keys.iter().collect::<HashSet<_>>().len() == keys.len();
        prop_assert_eq!(read(format!("[{{{}}}]", members.join(","))).is_ok(), unique);
    }

    #[test]
    fn what_the_writer_writes_reads_back(key in any_text(), text in any_text(), number: i64, truth: bool) {
        let written = object(|outer| {
            outer.object("o", |inner| {
                inner.text(&key, &text);
            });
            outer.array("a", |list| {
                list.text(&text);
                list.raw(&Raw::integer(number));
                list.object(|inner| inner.boolean(&key, truth));
            });
            outer.null("n");
        });
        let read_back = read(written.as_bytes()).unwrap();
        prop_assert_eq!(
            seen(&read_back),
            serde_json::json!({"o": {key.as_str(): text.as_str()}, "a": [text, number, {key: truth}], "n": null})
        );
    }
}
