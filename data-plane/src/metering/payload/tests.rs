use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::mcp::{
    json::{Bounds, parse},
    message::{Incoming, Message, read},
};

fn raw(value: &Value) -> Raw {
    parse(&Bytes::from(value.to_string()), &Bounds::UPSTREAM).expect("valid")
}

fn counted(method: Option<Method>, result: &Value) -> (Vec<String>, Media) {
    let mut texts = Vec::new();
    let media = output(method, &raw(result), &mut |text| texts.push(text.to_owned()));
    (texts, media)
}

fn texts(method: Method, result: &Value) -> Vec<String> {
    counted(Some(method), result).0
}

fn taken(method: &str, params: &Value) -> Option<String> {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
    let Incoming::Single(Message::Request(request)) = read(&body.into(), &Bounds::AGENT).expect("a message") else {
        panic!("a request")
    };
    let method = Method::parse(method).expect("a method");
    input(method, &request.params).map(|input| input_text(input).into_owned())
}

#[test]
fn of_a_request_what_the_model_wrote_is_counted() {
    let arguments = json!({"a": 1.50, "b": "ü"});
    let cases = [
        ("tools/call", json!({"name": "t", "arguments": arguments, "_meta": {"x": "y"}}), Some(arguments.to_string())),
        ("tools/call", json!({"name": "t"}), None),
        ("prompts/get", json!({"name": "p", "arguments": arguments}), Some(arguments.to_string())),
        (
            "completion/complete",
            json!({"ref": {"type": "ref/prompt", "name": "p"}, "argument": {"name": "a", "value": "v"}}),
            Some(json!({"name": "a", "value": "v"}).to_string()),
        ),
        ("resources/read", json!({"uri": "file:///a\"b"}), Some("file:///a\"b".to_owned())),
        ("tools/list", json!({"cursor": "c"}), None),
        ("tasks/get", json!({"taskId": "t"}), None),
    ];
    for (method, params, expected) in cases {
        assert_eq!(taken(method, &params), expected, "{method} {params}");
    }
}

#[test]
fn of_a_tools_result_the_text_that_the_model_gets_is_counted() {
    let result = json!({
        "content": [
            {"type": "text", "text": "a\nb", "annotations": {"audience": ["user"]}},
            {"type": "resource", "resource": {"uri": "file:///x", "text": "embedded"}},
            {"type": "resource_link", "uri": "file:///y", "name": "n", "title": "T", "description": "D", "size": 7},
            {"type": "of-tomorrow", "text": "new"},
        ],
        "structuredContent": {"again": "a b"},
        "_meta": {"hidden": "never"},
    });
    let expected = ["a\nb", "embedded", "file:///y", "T", "D", "new"];
    assert_eq!(texts(Method::ToolsCall, &result), expected);
    assert_eq!(texts(Method::TasksResult, &result), expected);
    assert_eq!(texts(Method::TasksGet, &json!({"taskId": "t", "status": "completed", "result": result})), expected);
}

#[test]
fn structured_content_counts_only_where_nothing_repeats_it() {
    let structured = json!({"n": [1, 2]});
    for result in [json!({"structuredContent": structured}), json!({"content": [], "structuredContent": structured})] {
        assert_eq!(texts(Method::ToolsCall, &result), [structured.to_string()]);
    }
}

#[test]
fn the_other_answers_have_their_own_places_for_text() {
    let block = json!({"type": "text", "text": "said"});
    let one = json!({"role": "user", "content": block});
    let several = json!({"role": "assistant", "content": [block, block]});
    let prompt = json!({"description": "not counted", "messages": [one, several]});
    assert_eq!(texts(Method::PromptsGet, &prompt), ["said", "said", "said"]);
    let read = json!({"contents": [{"uri": "a:1", "text": "one"}, {"uri": "a:2", "text": "two"}]});
    assert_eq!(texts(Method::ResourcesRead, &read), ["one", "two"]);
    let completion = json!({"completion": {"values": ["paris", "parma"], "total": 2}});
    assert_eq!(texts(Method::CompletionComplete, &completion), ["paris", "parma"]);
    let skill = json!({"skill": {"uri": "skill://s", "description": "D", "resources": [{"uri": "skill://s/f"}]}});
    assert_eq!(texts(Method::SkillsGet, &skill), ["skill://s", "D", "skill://s/f"]);
    let files = json!({"resources": [{"uri": "skill://s/f", "name": "f", "title": "T"}]});
    assert_eq!(texts(Method::ResourcesDirectoryRead, &files), ["skill://s/f", "T"]);
}

#[test]
fn what_is_no_answer_for_a_model_counts_for_nothing() {
    let content = json!([{"type": "text", "text": "a"}]);
    let none: [(Method, Value); 6] = [
        (Method::ToolsList, json!({"tools": [{"name": "t", "description": "d"}]})),
        (Method::ResourcesList, json!({"resources": [{"uri": "a:1"}]})),
        (Method::Initialize, json!({"instructions": "long", "content": content})),
        (Method::ToolsCall, json!({"resultType": "input_required", "inputRequests": {}, "content": content})),
        (Method::ToolsCall, json!({"resultType": "task", "taskId": "t", "content": content})),
        (Method::TasksGet, json!({"taskId": "t", "status": "working", "statusMessage": "soon"})),
    ];
    for (method, result) in none {
        assert_eq!(counted(Some(method), &result), (Vec::new(), Media::default()), "{method:?} {result}");
    }
}

#[test]
fn an_answer_to_a_call_of_before_is_known_by_its_members() {
    let block = json!({"type": "text", "text": "x"});
    for result in [
        json!({"content": [block]}),
        json!({"contents": [{"uri": "a:1", "text": "x"}]}),
        json!({"messages": [{"role": "user", "content": block}]}),
    ] {
        assert_eq!(counted(None, &result).0, ["x"], "{result}");
    }
}

#[test]
fn base64_is_never_text() {
    let data = "QUJD".repeat(1_000);
    let result = json!({"content": [
        {"type": "image", "data": data, "mimeType": "image/gif"},
        {"type": "audio", "data": data, "mimeType": "audio/mpeg"},
        {"type": "of-tomorrow", "data": data},
        {"type": "resource", "resource": {"uri": "a:1", "blob": data}},
        {"type": "resource", "resource": {"uri": "a:2", "blob": data, "mimeType": "image/png"}},
    ]});
    let (texts, media) = counted(Some(Method::ToolsCall), &result);
    assert_eq!(texts, Vec::<String>::new());
    assert_eq!((media.images, media.audio, media.bytes), (2, 1, 5 * 3_000));
    assert_eq!(media.tokens, 1_600 + 960 + 1_600);
}

#[test]
fn members_of_other_types_count_for_nothing_and_break_nothing() {
    for result in [
        json!({"content": "text"}),
        json!({"content": [1, null, {"type": 7, "text": {}}, {"type": "image"}, {"type": "resource", "resource": []}]}),
        json!({"messages": [{"content": 3}], "contents": {}, "completion": []}),
        json!([]),
    ] {
        assert_eq!(counted(None, &result), (Vec::new(), Media::default()), "{result}");
    }
}
