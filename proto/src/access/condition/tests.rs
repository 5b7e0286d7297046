use super::*;

fn compiled(pointer: &str, test: Option<Sent>) -> Result<Condition, ConditionError> {
    let sent = wire::Condition { pointer: pointer.to_owned(), test };
    Condition::read(&sent, &mut Compiler::new(&Expressions::new()))
}

fn fault(test: Option<Sent>) -> ConditionError {
    compiled("/a", test).map(|_| ()).expect_err("nothing to test by")
}

/// Whether `{"a": value}` passes.
fn passes(test: Sent, value: &str) -> bool {
    let arguments = format!(r#"{{"b":null,"a":{value}}}"#);
    compiled("/a", Some(test)).expect("a condition").holds(&Json::new(&arguments))
}

fn range(min: Option<f64>, max: Option<f64>) -> Sent {
    Sent::Range(wire::NumberRange { min, max })
}

fn one_of(values: &[&str]) -> Sent {
    Sent::OneOf(wire::JsonValues { values: values.iter().map(|value| (*value).to_owned()).collect() })
}

#[test]
fn equal_is_what_means_the_same() {
    for (expected, value, is_same) in [
        ("1", "1", true),
        ("1", "1.0", true),
        ("1.0", "1", true),
        ("1", "10e-1", true),
        ("-1", "-1", true),
        ("1", "\"1\"", false),
        ("1", "true", false),
        ("9007199254740993", "9007199254740992", false),
        ("18446744073709551615", "18446744073709551615", true),
        ("18446744073709551615", "18446744073709551616", false),
        ("18446744073709551616", "18446744073709551616", true),
        ("18446744073709551616", "18446744073709551617", false),
        ("18446744073709551616", "18446744073709551615", false),
        ("-9223372036854775808", "-9223372036854775809", false),
        ("9007199254740992.0", "9007199254740993", false),
        ("0.5", "5e-1", true),
        ("0", "-0", true),
        ("\"ä\"", r#""\u00e4""#, true),
        ("\"a\"", "\"A\"", false),
        ("true", "true", true),
        ("true", "false", false),
        ("null", "null", true),
        ("null", "0", false),
        ("[1,2]", "[1, 2]", true),
        ("[1,2]", "[2,1]", false),
        ("[1,2]", "[1]", false),
        ("[1]", "[1,2]", false),
        ("[]", "[]", true),
        (r#"{"x":1,"y":[]}"#, r#"{ "y": [], "x": 1 }"#, true),
        (r#"{"x":1}"#, r#"{"x":1,"y":2}"#, false),
        (r#"{"x":1,"y":2}"#, r#"{"x":1}"#, false),
        (r#"{"x":1}"#, r#"{"y":1}"#, false),
        ("{}", "[]", false),
    ] {
        assert_eq!(passes(Sent::Equals(expected.to_owned()), value), is_same, "{expected} {value}");
    }
}

#[test]
fn one_of_several_is_enough() {
    for (value, passed) in [("\"dev\"", true), ("7", true), ("\"prod\"", false), ("null", false)] {
        assert_eq!(passes(one_of(&["\"dev\"", "7"]), value), passed, "{value}");
    }
}

#[test]
fn a_prefix_is_of_the_text_that_is_meant() {
    for (value, passed) in [
        ("\"/srv/data/x\"", true),
        (r#""\/srv/data/""#, true),
        ("\"/srv/dat\"", false),
        ("\"x/srv/data/\"", false),
        ("[\"/srv/data/x\"]", false),
        ("1", false),
    ] {
        assert_eq!(passes(Sent::Prefix("/srv/data/".to_owned()), value), passed, "{value}");
    }
}

#[test]
fn an_expression_matches_anywhere_unless_it_says_where() {
    let matches = |expression: &str, value: &str| passes(Sent::Matches(expression.to_owned()), value);
    assert!(matches("ref", "\"pref\"") && !matches("^ref$", "\"pref\""));
    assert!(matches("^[a-z]+$", r#""\u0061b""#) && !matches("^[a-z]+$", r#""a\nb""#));
    assert!(!matches("1", "1"), "a number is no string");
    // One that backtracks would not end.
    assert!(!matches("^(a+)+$", &format!("\"{}b\"", "a".repeat(4_000))));
}

#[test]
fn an_expression_is_compiled_once_and_not_again_for_the_next_policy() {
    let sent = wire::Condition { pointer: "/a".to_owned(), test: Some(Sent::Matches("^a+$".to_owned())) };
    let none = Expressions::new();
    let mut first = Compiler::new(&none);
    let regex = |condition: Condition| match condition.test {
        Test::Matches(regex) => regex,
        other => panic!("{other:?}"),
    };
    let mut read = || regex(Condition::read(&sent, &mut first).expect("a condition"));
    let (one, two) = (read(), read());
    let before = first.compiled;
    let mut next = Compiler::new(&before);
    let three = regex(Condition::read(&sent, &mut next).expect("a condition"));
    assert!(Arc::ptr_eq(&one, &two) && Arc::ptr_eq(&one, &three));
    assert_eq!((before.len(), next.compiled.len()), (1, 1));
}

#[test]
fn both_ends_of_a_range_are_in_it_and_an_absent_one_is_open() {
    for (min, max, value, passed) in [
        (Some(1.0), Some(5.0), "1", true),
        (Some(1.0), Some(5.0), "5.0", true),
        (Some(1.0), Some(5.0), "0.99", false),
        (Some(1.0), Some(5.0), "5e1", false),
        (None, Some(5.0), "-1e300", true),
        (Some(1.0), None, "1e300", true),
        (Some(1.0), None, "\"2\"", false),
        (None, Some(5.0), "null", false),
        (None, Some(5.0), "[1]", false),
        (None, Some(9_007_199_254_740_992.0), "9007199254740992", true),
        (None, Some(9_007_199_254_740_992.0), "9007199254740993", false),
        (Some(9_007_199_254_740_994.0), None, "9007199254740993", false),
        (None, Some(18_446_744_073_709_551_616.0), "18446744073709551616", true),
        (None, Some(18_446_744_073_709_551_616.0), "18446744073709551617", false),
        (Some(-18_446_744_073_709_551_616.0), None, "-18446744073709551617", false),
        (Some(0.5), Some(1.5), "1", true),
        (Some(0.5), Some(0.75), "1", false),
        (None, Some(1e300), "99999999999999999999999999999999", true),
        (Some(1e300), None, "99999999999999999999999999999999", false),
    ] {
        assert_eq!(passes(range(min, max), value), passed, "{min:?} {max:?} {value}");
    }
}

#[test]
fn what_is_not_there_fails_every_test() {
    for test in [Sent::Equals("null".to_owned()), Sent::Prefix(String::new()), range(None, Some(1.0))] {
        let condition = compiled("/a/b", Some(test)).expect("a condition");
        for arguments in ["{}", r#"{"a":null}"#, r#"{"a":{"c":0}}"#, r#"{"a":[0]}"#, r#"{"a/b":0}"#, "", "{", "[]"] {
            assert!(!condition.holds(&Json::new(arguments)), "{arguments}");
        }
    }
}

#[test]
fn what_cannot_be_tested_by_is_refused() {
    assert_eq!(fault(None), ConditionError::Unknown);
    assert_eq!(fault(Some(Sent::Equals("{".to_owned()))), ConditionError::Json("{".to_owned()));
    assert_eq!(fault(Some(one_of(&[]))), ConditionError::NoValue);
    assert_eq!(fault(Some(one_of(&["1", "x"]))), ConditionError::Json("x".to_owned()));
    for (min, max) in [(None, None), (Some(2.0), Some(1.0)), (Some(f64::NAN), None), (None, Some(f64::NAN))] {
        assert_eq!(fault(Some(range(min, max))), ConditionError::Range, "{min:?} {max:?}");
    }
    for expression in ["(", "(?=a)", r"(a)\1", r"\w{5000}{5000}"] {
        let fault = fault(Some(Sent::Matches(expression.to_owned())));
        assert!(matches!(fault, ConditionError::Expression(ref text, _) if text == expression), "{fault}");
    }
    let start = ConditionError::Pointer("a".to_owned(), PointerError::Start);
    assert_eq!(compiled("a", Some(Sent::Prefix(String::new()))).map(|_| ()), Err(start));
}
