use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn read(json: &str) -> Result<Definition, DefinitionError> {
    Definition::read(ItemKind::Tool, json.as_bytes())
}

/// The canonical form of a value, which stands in a tool.
fn form(value: &str) -> String {
    let tool = read(&format!(r#"{{"name":"x","~":{value}}}"#)).unwrap();
    let rest = tool.canonical().strip_prefix(r#"{"name":"x","~":"#).unwrap();
    rest.strip_suffix('}').unwrap().to_owned()
}

fn nested(levels: usize) -> String {
    format!(r#"{{"name":"x","v":{}{}}}"#, "[".repeat(levels - 1), "]".repeat(levels - 1))
}

#[test]
fn the_example_of_rfc_8785_has_the_form_that_is_printed_there() {
    let sample = r#"{
        "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
        "literals": [null, true, false]
    }"#;
    let expected = concat!(
        r#"{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"#,
        "\"string\":\"\u{20ac}$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}",
    );
    assert_eq!(form(sample), expected);
}

#[test]
fn members_stand_in_the_order_of_rfc_8785() {
    let sample = r#"{
        "\u20ac": "Euro Sign", "\r": "Carriage Return", "\ufb33": "Hebrew Letter Dalet With Dagesh", "1": "One",
        "\ud83d\ude00": "Emoji: Grinning Face", "\u0080": "Control", "\u00f6": "Latin Small Letter O With Diaeresis"
    }"#;
    let form = form(sample);
    let order = ["Carriage", "One", "Control", "Latin", "Euro", "Emoji", "Hebrew"];
    let places: Vec<_> = order.iter().map(|value| form.find(value).unwrap()).collect();
    assert!(places.is_sorted(), "{form}");
}

#[test]
fn numbers_have_the_forms_of_rfc_8785_appendix_b() {
    let numbers: [(u64, &str); 21] = [
        (0x0000_0000_0000_0000, "0"),
        (0x8000_0000_0000_0000, "0"),
        (0x0000_0000_0000_0001, "5e-324"),
        (0x8000_0000_0000_0001, "-5e-324"),
        (0x7fef_ffff_ffff_ffff, "1.7976931348623157e+308"),
        (0xffef_ffff_ffff_ffff, "-1.7976931348623157e+308"),
        (0x4340_0000_0000_0000, "9007199254740992"),
        (0xc340_0000_0000_0000, "-9007199254740992"),
        (0x4430_0000_0000_0000, "295147905179352830000"),
        (0x44b5_2d02_c7e1_4af5, "9.999999999999997e+22"),
        (0x44b5_2d02_c7e1_4af6, "1e+23"),
        (0x44b5_2d02_c7e1_4af7, "1.0000000000000001e+23"),
        (0x444b_1ae4_d6e2_ef4e, "999999999999999700000"),
        (0x444b_1ae4_d6e2_ef4f, "999999999999999900000"),
        (0x444b_1ae4_d6e2_ef50, "1e+21"),
        (0x3eb0_c6f7_a0b5_ed8c, "9.999999999999997e-7"),
        (0x3eb0_c6f7_a0b5_ed8d, "0.000001"),
        (0x41b3_de43_5555_5553, "333333333.3333332"),
        (0x41b3_de43_5555_5557, "333333333.33333343"),
        (0xbecb_f647_612f_3696, "-0.0000033333333333333333"),
        (0x4314_3ff3_c1cb_0959, "1424953923781206.2"),
    ];
    for (bits, expected) in numbers {
        let double = f64::from_bits(bits);
        let scientific = format!("{double:e}");
        assert_eq!(form(&scientific), expected, "{scientific}");
    }
}

#[test]
fn an_integer_that_no_double_holds_keeps_its_digits() {
    assert_eq!(form("9007199254740993"), "9007199254740993");
    assert_eq!(form("18446744073709551615"), "18446744073709551615");
    assert_eq!(form("-9223372036854775809"), "-9223372036854775809");
    assert_eq!(form("1000000000000000000000"), "1e+21");
    assert_eq!(form("-0"), "0");
}

#[test]
fn a_known_definition_has_a_known_digest() {
    let tool = read(r#"{"name":"add","description":"Adds.","inputSchema":{"type":"object"}}"#).unwrap();
    assert_eq!(tool.name(), "add");
    assert_eq!(tool.canonical(), r#"{"description":"Adds.","inputSchema":{"type":"object"},"name":"add"}"#);
    assert_eq!(tool.digest().to_string(), "721f6e658ca53e1b1b89cd7e9d2d73559454103c810d0fa15abf7dc2b3b7fc7f");
}

#[test]
fn only_what_a_definition_says_of_itself_is_left_out() {
    let plain = read(r#"{"name":"x"}"#).unwrap();
    assert_eq!(read(r#"{"_meta":{"a":1},"name":"x"}"#).unwrap(), plain);
    let inner = r#"{"inputSchema":{"properties":{"_meta":{}}},"name":"x"}"#;
    assert_eq!(read(inner).unwrap().canonical(), inner);
}

#[test]
fn the_user_interface_that_a_definition_names_is_part_of_it() {
    let with = |meta: &str| read(&format!(r#"{{"name":"x","_meta":{meta}}}"#)).unwrap();
    let app = with(r#"{"n":1,"ui/resourceUri":"ui://a","ui":{"visibility":["app"],"resourceUri":"ui://a"}}"#);
    let expected =
        r#"{"_meta":{"ui":{"resourceUri":"ui://a","visibility":["app"]},"ui/resourceUri":"ui://a"},"name":"x"}"#;
    assert_eq!(app.canonical(), expected);
    let plain = read(r#"{"name":"x"}"#).unwrap();
    for nothing in [r#"{"uix":1,"n":{"ui":1}}"#, "{}", "null", r#""ui""#] {
        assert_eq!(with(nothing), plain, "{nothing}");
    }
    let one = with(r#"{"ui":{"resourceUri":"ui://a"}}"#).digest();
    assert_ne!(one, with(r#"{"ui":{"resourceUri":"ui://b"}}"#).digest());
    assert_eq!(one, with(r#"{"other":2,"ui": { "resourceUri": "ui:\u002f/a" } }"#).digest());
    let twice = read(r#"{"name":"x","_meta":{"ui":{},"ui":{"resourceUri":"ui://b"}}}"#);
    assert_eq!(twice, Err(DefinitionError::DuplicateMember("ui".to_owned())));
    let deep = format!(r#"{{"name":"x","_meta":{{"ui":{}1{}}}}}"#, "[".repeat(63), "]".repeat(63));
    assert_eq!(read(&deep), Err(DefinitionError::TooDeep));
}

#[test]
fn each_kind_is_known_by_its_own_member() {
    let json = br#"{"name":"n","uri":"u:1","uriTemplate":"u:{x}"}"#;
    let name = |kind| Definition::read(kind, json).unwrap().name().to_owned();
    assert_eq!(name(ItemKind::Tool), "n");
    assert_eq!(name(ItemKind::Prompt), "n");
    assert_eq!(name(ItemKind::Resource), "u:1");
    assert_eq!(name(ItemKind::ResourceTemplate), "u:{x}");
    for nameless in [r#"{"title":"x"}"#, r#"{"name":""}"#, r#"{"name":7}"#] {
        assert_eq!(read(nameless), Err(DefinitionError::NoName("name")), "{nameless}");
    }
}

#[test]
fn what_readers_disagree_about_has_no_form() {
    let twice = DefinitionError::DuplicateMember("a".to_owned());
    assert_eq!(read(r#"{"name":"x","v":{"a":1,"\u0061":1}}"#), Err(twice));
    assert_eq!(read(r#"{"name":"x","v":1e999}"#), Err(DefinitionError::NumberOutOfRange));
    for broken in ["", "{", r#"{"name":"x"} 1"#, r#"{"name":"x","v":"\ud800"}"#, "\u{feff}{}", r#"{"name":"x","v":01}"#]
    {
        assert!(matches!(read(broken), Err(DefinitionError::NotJson(_))), "{broken}");
    }
    assert!(matches!(Definition::read(ItemKind::Tool, b"{\"name\":\"\xff\"}"), Err(DefinitionError::NotJson(_))));
    for other in ["[]", "null", "\"{\""] {
        assert_eq!(read(other), Err(DefinitionError::NotObject), "{other}");
    }
}

#[test]
fn size_and_depth_are_bounded() {
    assert!(read(&nested(DEFINITION_DEPTH_MAX)).is_ok());
    assert_eq!(read(&nested(DEFINITION_DEPTH_MAX + 1)), Err(DefinitionError::TooDeep));
    assert_eq!(read(&nested(100_000)), Err(DefinitionError::TooDeep));
    let large = |bytes: usize| format!(r#"{{"name":"{}"}}"#, "x".repeat(bytes - r#"{"name":""}"#.len()));
    assert!(read(&large(DEFINITION_BYTES_MAX)).is_ok());
    let over = DEFINITION_BYTES_MAX + 1;
    assert_eq!(read(&large(over)), Err(DefinitionError::TooLarge(over)));
}

#[test]
fn an_error_quotes_little_of_what_it_speaks_of() {
    let key = "\u{202e}".repeat(1_000);
    let error = read(&format!(r#"{{"name":"x","{key}":1,"{key}":1}}"#)).unwrap_err().to_string();
    assert!(error.is_ascii() && error.len() < 1_000, "{error}");
}

/// Any JSON value with numbers of every size.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_filter("JSON has no others", |double| double.is_finite()).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(any::<String>(), inner, 0..4).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

/// The same value spelled otherwise: members backwards, white space, every character escaped.
fn respelled(value: &Value, out: &mut String) {
    let string = |text: &str, out: &mut String| {
        out.push('"');
        text.encode_utf16().for_each(|unit| push_unit(out, unit));
        out.push('"');
    };
    match value {
        Value::String(text) => string(text, out),
        Value::Array(elements) => {
            out.push_str("[ ");
            for (at, element) in elements.iter().enumerate() {
                out.push_str(if at > 0 { "\t,\n" } else { "" });
                respelled(element, out);
            }
            out.push_str("\r]");
        }
        Value::Object(members) => {
            out.push_str("{ ");
            for (at, (key, value)) in members.iter().rev().enumerate() {
                out.push_str(if at > 0 { "\t,\n" } else { "" });
                string(key, out);
                out.push_str(" : ");
                respelled(value, out);
            }
            out.push_str("\r}");
        }
        plain => out.push_str(&plain.to_string()),
    }
}

fn push_unit(out: &mut String, unit: u16) {
    out.push_str(&format!("\\u{unit:04X}"));
}

proptest! {
    #[test]
    fn no_other_spelling_changes_the_digest(value in any_value()) {
        let plain = format!(r#"{{"name":"x","v":{value}}}"#);
        let mut other = String::from(r#"{ "v" : "#);
        respelled(&value, &mut other);
        other.push_str(r#", "\u006eame":"x"}"#);
        prop_assert_eq!(read(&plain).unwrap(), read(&other).unwrap());
    }

    #[test]
    fn every_other_change_changes_the_digest(one in any_value(), other in any_value()) {
        let digest = |value: &Value| read(&format!(r#"{{"name":"x","v":{value}}}"#)).unwrap().digest();
        prop_assert_eq!(digest(&one) == digest(&other), one == other);
    }

    #[test]
    fn the_form_is_read_back_to_itself(value in any_value()) {
        let once = read(&format!(r#"{{"name":"x","v":{value}}}"#)).unwrap();
        prop_assert_eq!(read(once.canonical()).unwrap(), once);
    }

    #[test]
    fn whatever_is_read_ends_in_a_form_or_an_error(json in any::<Vec<u8>>()) {
        if let Ok(definition) = Definition::read(ItemKind::Tool, &json) {
            prop_assert!(read(definition.canonical()).is_ok());
        }
    }
}
