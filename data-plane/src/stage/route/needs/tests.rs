use bytes::Bytes;

use super::*;
use crate::mcp::{
    json::Bounds,
    message::{Message, read_upstream},
};

/// What a request uses: kind and name, and with which arguments.
fn used(method: Method, params: &str) -> (Kind, String, Option<String>) {
    let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{}","params":{params}}}"#, method.as_str());
    let request = match read_upstream(&Bytes::from(text), &Bounds::UPSTREAM) {
        Ok(Message::Request(request)) => request,
        other => panic!("{other:?}"),
    };
    let Needs::Use(used) = of_request(&"demo".parse().expect("a name"), method, &request) else {
        panic!("{method:?} uses nothing")
    };
    let arguments = match used.arguments() {
        Arguments::Given(given) => Some(String::from_utf8_lossy(given).into_owned()),
        Arguments::None => None,
        Arguments::Unknown => panic!("{method:?} is no list"),
    };
    (used.kind, used.name.to_string(), arguments)
}

#[test]
fn what_is_done_is_done_with_known_arguments_or_with_none() {
    let some = |text: &str| Some(text.to_owned());
    for (method, params, kind, name, arguments) in [
        (Method::PromptsGet, r#"{"name":"p","arguments":{"a":"1"}}"#, Kind::Prompt, "p", some(r#"{"a":"1"}"#)),
        (Method::PromptsGet, r#"{"name":"p"}"#, Kind::Prompt, "p", some("{}")),
        (Method::ResourcesRead, r#"{"uri":"a:b"}"#, Kind::Resource, "a:b", None),
        (Method::SkillsGet, r#"{"name":"s"}"#, Kind::Other, "", None),
        (
            Method::CompletionComplete,
            r#"{"ref":{"type":"ref/resource","uri":"a:{b}"},"argument":{"name":"b","value":"x"}}"#,
            Kind::Template,
            "a:{b}",
            None,
        ),
    ] {
        assert_eq!(used(method, params), (kind, name.to_owned(), arguments), "{method:?} {params}");
    }
}

#[test]
fn a_prompt_is_completed_with_what_was_chosen_and_what_is_being_written() {
    for (rest, arguments) in [
        (r#""argument":{"name":"path","value":"/d"}"#, r#"{"path":"/d"}"#),
        (
            r#""argument":{"name":"path","value":"/d"},"context":{"arguments":{"env":"dev","path":"/x"}}"#,
            r#"{"env":"dev","path":"/d"}"#,
        ),
        (r#""context":{"arguments":{"env":"dev"}}"#, r#"{"env":"dev"}"#),
        (r#""argument":[1],"context":1"#, "{}"),
    ] {
        let params = format!(r#"{{"ref":{{"type":"ref/prompt","name":"p"}},{rest}}}"#);
        let expected = (Kind::Prompt, "p".to_owned(), Some(arguments.to_owned()));
        assert_eq!(used(Method::CompletionComplete, &params), expected, "{rest}");
    }
}

#[test]
fn only_what_was_looked_at_when_it_was_begun_goes_on_without_its_arguments() {
    let demo = "demo".parse().expect("a name");
    assert_eq!(Use::task_of(&demo, "x").arguments(), Arguments::Unknown);
    assert_eq!(Use::whole(&demo).arguments(), Arguments::None);
}
