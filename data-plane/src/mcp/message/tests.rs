use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::mcp::json::{
    Bounds, Kind,
    tests::{any_json, any_text},
};

fn read_text(text: impl AsRef<[u8]>) -> Result<Incoming, ReadError> {
    read(&Bytes::copy_from_slice(text.as_ref()), &Bounds::AGENT)
}

fn request(text: &str) -> Request {
    match read_text(text) {
        Ok(Incoming::Single(Message::Request(request))) => request,
        other => panic!("no request: {other:?}"),
    }
}

fn params(params: &str) -> Request {
    request(&format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#))
}

fn value(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

/// What became of a text: the code and the id of the answer.
fn refused(text: impl AsRef<[u8]>) -> (i64, Option<RequestId>) {
    let error = read_text(text.as_ref()).expect_err("it is to be refused");
    assert!(!error.to_string().is_empty());
    (error.code(), error.id)
}

const NO_JSON: (i64, Option<RequestId>) = (-32700, None);

fn invalid(code: i64) -> (i64, Option<RequestId>) {
    (code, Some(RequestId::Integer(7)))
}

/// One row per way to have one call authorized and another executed.
#[test]
fn smuggled_calls_are_refused() {
    let call = |params: &str| format!(r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{params}}}"#);
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let rows: Vec<(&str, Vec<u8>, _)> = vec![
        ("method twice", br#"{"jsonrpc":"2.0","id":7,"method":"ping","method":"tools/call"}"#.into(), NO_JSON),
        ("method twice, escaped", br#"{"jsonrpc":"2.0","id":7,"method":"ping","m\u0065thod":"x"}"#.into(), NO_JSON),
        ("name twice", call(r#"{"name":"allowed","name":"secret"}"#).into(), NO_JSON),
        ("name twice, escaped", call(r#"{"name":"allowed","\u006eame":"secret"}"#).into(), NO_JSON),
        ("name is no string", call(r#"{"name":["secret"]}"#).into(), invalid(-32602)),
        ("name is null", call(r#"{"name":null}"#).into(), invalid(-32602)),
        ("name and Name", call(r#"{"name":"allowed","Name":"secret"}"#).into(), invalid(-32602)),
        ("only NAME", call(r#"{"NAME":"secret"}"#).into(), invalid(-32602)),
        ("full-width name", call(r#"{"name":"a","ｎame":"b"}"#).into(), invalid(-32602)),
        ("long s in arguments", call(r#"{"argumentſ":{}}"#).into(), invalid(-32602)),
        ("two params", br#"{"jsonrpc":"2.0","id":7,"method":"a","params":{},"params":{"name":"b"}}"#.into(), NO_JSON),
        ("Method beside method", br#"{"jsonrpc":"2.0","id":7,"method":"a","Method":"b"}"#.into(), invalid(-32600)),
        ("Kelvin sign", "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"a\",\"\u{212a}\":1}".into(), invalid(-32600)),
        ("lone surrogate", call(r#"{"name":"\ud800"}"#).into(), NO_JSON),
        ("infinite number", call(r#"{"arguments":{"a":1e400}}"#).into(), NO_JSON),
        ("depth 200", call(&format!(r#"{{"arguments":{{"a":{deep}}}}}"#)).into(), NO_JSON),
        ("duplicate in arguments", call(r#"{"arguments":{"a":[{"b":1,"b":2}]}}"#).into(), NO_JSON),
        ("NUL in name", call(r#"{"name":"a\u0000b"}"#).into(), NO_JSON),
        ("byte order mark", format!("\u{feff}{}", call("{}")).into(), NO_JSON),
        ("invalid UTF-8", [call("{}").as_bytes(), b"\xff"].concat(), NO_JSON),
        ("trailing document", call("{}").repeat(2).into(), NO_JSON),
        ("result in a request", br#"{"jsonrpc":"2.0","id":7,"method":"a","result":{}}"#.into(), invalid(-32600)),
        ("error in a request", br#"{"jsonrpc":"2.0","id":7,"method":"a","error":{}}"#.into(), invalid(-32600)),
        ("unknown member", br#"{"jsonrpc":"2.0","id":7,"method":"a","extra":{}}"#.into(), invalid(-32600)),
        ("params is an array", call("[]").into(), invalid(-32600)),
        ("params is null", call("null").into(), invalid(-32600)),
        ("arguments is an array", call(r#"{"arguments":[]}"#).into(), invalid(-32602)),
        ("_meta is a string", call(r#"{"_meta":"a"}"#).into(), invalid(-32602)),
        ("ambiguous _meta", call(r#"{"_meta":{"TraceParent":"a"}}"#).into(), invalid(-32602)),
        ("ambiguous ref", call(r#"{"ref":{"name":"a","Name":"b"}}"#).into(), invalid(-32602)),
        ("another JSON-RPC", br#"{"jsonrpc":"1.0","id":7,"method":"a"}"#.into(), invalid(-32600)),
        ("no jsonrpc", br#"{"id":7,"method":"a"}"#.into(), invalid(-32600)),
        ("jsonrpc is a number", br#"{"jsonrpc":2.0,"id":7,"method":"a"}"#.into(), invalid(-32600)),
        ("method is a number", br#"{"jsonrpc":"2.0","id":7,"method":1}"#.into(), invalid(-32600)),
        ("nothing of a message", br#"{"jsonrpc":"2.0","id":7}"#.into(), invalid(-32600)),
        ("a string", br#""tools/call""#.into(), (-32600, None)),
    ];
    for (row, body, answer) in rows {
        assert_eq!(refused(&body), answer, "{row}");
    }
}

#[test]
fn a_batch_is_read_whole_or_not_at_all() {
    let ping = |id: &str| format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
    let note = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    let answer = |id: &str| format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#);
    let batch = |elements: &[&str]| format!("[{}]", elements.join(","));
    for good in [batch(&[&ping("1")]), batch(&[&ping("1"), note, &ping("\"1\"")]), batch(&[&answer("1"), &answer("2")])]
    {
        let Ok(Incoming::Batch(messages)) = read_text(&good) else { panic!("no batch: {good}") };
        assert_eq!(messages.len(), good.matches("jsonrpc").count());
    }
    let crowd = vec![note; 65];
    for bad in [
        batch(&[]),
        batch(&crowd),
        batch(&[&ping("1"), "[]"]),
        batch(&[&ping("1"), "1"]),
        batch(&[&ping("1"), &answer("2")]),
        batch(&[&ping("1"), note, &ping("1")]),
        batch(&[&ping("1"), r#"{"jsonrpc":"2.0","id":2,"method":"ping","Method":"tools/call"}"#]),
    ] {
        assert_eq!(refused(&bad), (-32600, None), "{bad}");
    }
    assert_eq!(refused(r#"[{"a":1,"a":2}]"#), NO_JSON);
}

#[test]
fn a_call_without_id_is_a_notification_and_no_call() {
    let read = read_text(r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"secret"}}"#);
    assert!(matches!(read, Ok(Incoming::Single(Message::Notification(_)))));
}

#[test]
fn escapes_mean_what_they_stand_for_and_are_gone_from_what_is_written() {
    let read = request(
        r#"{"jsonrpc":"2\u002e0","\u0069d":"\u0031","method":"tools\/call","params":{"n\u0061me":"s\u0065cret"}}"#,
    );
    assert_eq!((read.method.as_ref(), read.params.name()), ("tools/call", Some("secret")));
    assert_eq!(read.id, RequestId::Text("1".into()));
    let edit = Edit { name: Some("other"), ..Edit::default() };
    assert_eq!(read.write(&edit), r#"{"jsonrpc":"2.0","id":"1","method":"tools/call","params":{"name":"other"}}"#);
}

#[test]
fn an_id_keeps_its_type_and_its_value() {
    let id = |id: &str| {
        read_text(format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#)).map(|read| match read {
            Incoming::Single(Message::Request(request)) => request.id,
            other => panic!("{other:?}"),
        })
    };
    assert_eq!(id("1").unwrap(), RequestId::Integer(1));
    assert_eq!(id("\"1\"").unwrap(), RequestId::Text("1".into()));
    assert_eq!(id("9007199254740992").unwrap().to_raw().as_bytes(), b"9007199254740992");
    assert_eq!(id("-9007199254740992").unwrap(), RequestId::Integer(-RequestId::INTEGER_MAX));
    let long = |length: usize| format!("\"{}\"", "x".repeat(length));
    assert!(id(&long(256)).is_ok());
    for refused in ["9007199254740993", "1.0", "1e0", "-0", "null", "true", "[]", "{}", &long(257)] {
        let error = id(refused).expect_err(refused);
        assert_eq!((error.kind, error.id), (ReadErrorKind::InvalidId, None), "{refused}");
    }
}

#[test]
fn the_params_that_decide_are_read() {
    let read = params(
        r#"{"name":"t","uri":"file:///x","cursor":"","arguments":{"a":1},"_meta":{"traceparent":"00-a","progressToken":3,
        "io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"x":{}}}}"#,
    );
    let params = &read.params;
    assert_eq!((params.name(), params.uri(), params.cursor()), (Some("t"), Some("file:///x"), Some("")));
    assert_eq!(params.arguments().unwrap().as_bytes(), br#"{"a":1}"#);
    assert_eq!(params.traceparent().unwrap(), "00-a");
    assert_eq!(params.progress_token().unwrap().as_u64(), Some(3));
    assert_eq!(params.protocol_version_claim().unwrap(), "2026-07-28");
    assert_eq!(params.client_capabilities().unwrap().kind(), Kind::Object);
}

#[test]
fn a_version_claim_of_another_type_is_still_a_claim() {
    let read = params(r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":1}}"#);
    assert!(read.params.claims_protocol_version());
    assert_eq!(read.params.protocol_version_claim(), None);
    assert!(!params(r#"{"_meta":{}}"#).params.claims_protocol_version());
}

#[test]
fn an_edit_changes_what_it_names_and_keeps_the_bytes_of_the_rest() {
    let read = params(
        r#"{ "x": [ 1.50 ], "name":"a__t", "_meta":{"io.x/a":1,"keep": 2.0,"traceparent":"old"}, "arguments": {"b" : "\u0041"} }"#,
    );
    let edit = Edit {
        id: Some(&RequestId::Text("g\"1".into())),
        name: Some("t"),
        cursor: Change::Set("next"),
        strip_meta: &["io.x/"],
        meta: &[("traceparent", MetaValue::Text("new")), ("level", MetaValue::Integer(3))],
        ..Edit::default()
    };
    assert_eq!(
        read.write(&edit),
        r#"{"jsonrpc":"2.0","id":"g\"1","method":"tools/call","params":{"x":[ 1.50 ],"name":"t","_meta":{"keep":2.0,"traceparent":"new","level":3},"arguments":{"b" : "\u0041"},"cursor":"next"}}"#
    );
}

#[test]
fn a_reference_is_read_and_renamed_inside_its_object() {
    let prompt =
        params(r#"{"ref":{"title": 1 ,"name":"s__p","type":"ref/prompt"},"argument":{"name":"a","value":"b"}}"#);
    assert_eq!(prompt.params.reference(), Some(&Reference::Prompt("s__p".into())));
    let written = prompt.write(&Edit { reference: Some("p"), ..Edit::default() });
    assert_eq!(
        value(&written)["params"],
        json!({"ref": {"title": 1, "name": "p", "type": "ref/prompt"}, "argument": {"name": "a", "value": "b"}})
    );
    let resource = params(r#"{"ref":{"type":"ref/resource","uri":"file:///x"}}"#);
    assert_eq!(resource.params.reference(), Some(&Reference::Resource("file:///x".into())));
    for broken in [r#"{"ref":{"type":"ref/prompt"}}"#, r#"{"ref":{"type":"ref/else","name":"p"}}"#, "{}"] {
        assert_eq!(params(broken).params.reference(), None, "{broken}");
    }
}

#[test]
fn params_appear_only_when_there_is_something_to_add() {
    let bare = request(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#);
    let strip = Edit { strip_meta: &["a"], cursor: Change::Remove, ..Edit::default() };
    assert_eq!(value(&bare.write(&strip)), json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}));
    let trace = Edit { meta: &[("traceparent", MetaValue::Text("x"))], ..Edit::default() };
    assert_eq!(value(&bare.write(&trace))["params"], json!({"_meta": {"traceparent": "x"}}));
    let stripped = params(r#"{"_meta":{"a/b":1},"cursor":"c"}"#).write(&strip);
    assert_eq!(value(&stripped)["params"], json!({}));
}

#[test]
fn answers_are_read_with_their_id_and_without_only_as_errors() {
    let answer = |text: &'static str| read_upstream(&Bytes::from_static(text.as_bytes()), &Bounds::UPSTREAM);
    let Ok(Message::Response(response)) = answer(r#"{"jsonrpc":"2.0","id":1,"result":null,"took":3}"#) else {
        panic!()
    };
    assert_eq!((response.id, response.outcome.unwrap().kind()), (Some(RequestId::Integer(1)), Kind::Null));
    for text in
        [r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000}}"#, r#"{"jsonrpc":"2.0","error":{"code":-32000}}"#]
    {
        let Ok(Message::Response(response)) = answer(text) else { panic!("{text}") };
        assert_eq!((response.error_code(), response.id), (Some(-32000), None));
    }
    for text in [
        r#"{"jsonrpc":"2.0","result":{}}"#,
        r#"{"jsonrpc":"2.0","id":null,"result":{}}"#,
        r#"{"jsonrpc":"2.0","id":1.5,"error":{}}"#,
        r#"{"jsonrpc":"2.0","id":1,"error":"no"}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{},"Result":{}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{"a":1,"a":2}}"#,
        r#"[{"jsonrpc":"2.0","id":1,"result":{}}]"#,
    ] {
        assert!(answer(text).is_err(), "{text}");
    }
}

#[test]
fn our_own_messages_are_messages() {
    let id = RequestId::Integer(1);
    let own = write_request(&id, "initialize", |params| params.text("protocolVersion", "2025-11-25"));
    assert_eq!(request(std::str::from_utf8(&own).unwrap()).params.get("protocolVersion").unwrap().kind(), Kind::String);
    assert_eq!(
        value(&write_error(None, -32700, "a \"quote\"", None)),
        json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32700, "message": "a \"quote\""}})
    );
    let data = Raw::text("why");
    let error = write_error(Some(&id), -32000, "no", Some(&data));
    assert_eq!(value(&error)["error"]["data"], json!("why"));
    assert!(matches!(read_text(&error), Ok(Incoming::Single(Message::Response(_)))));
    assert_eq!(value(&write_result(&id, &Raw::empty_object()))["result"], json!({}));
    assert_eq!(value(&write_notification("notifications/x"))["method"], json!("notifications/x"));
}

#[test]
fn a_response_is_written_under_the_id_it_is_wanted_for() {
    let body = Bytes::from_static(br#"{"id":"up","result":{"a": 1 },"jsonrpc":"2.0","extra":1}"#);
    let Ok(Message::Response(response)) = read_upstream(&body, &Bounds::UPSTREAM) else { panic!() };
    assert_eq!(response.write(Some(&RequestId::Integer(4))), r#"{"jsonrpc":"2.0","id":4,"result":{"a": 1 }}"#);
}

/// A request in any order of its members, with whatever a client may put in its params.
fn any_request() -> impl Strategy<Value = (String, Value)> {
    let id = prop_oneof![
        (-9_007_199_254_740_992_i64..=9_007_199_254_740_992).prop_map(Value::from),
        "[ -~é]{0,40}".prop_map(Value::from)
    ];
    let object =
        || prop::collection::btree_map(any_text(), any_json(), 0..4).prop_map(|map| map.into_iter().collect::<Value>());
    let meta = prop::collection::btree_map("(io\\.modelcontextprotocol/|com\\.example/)?x[a-z]{0,3}", any_json(), 0..4);
    let params = (
        prop::option::of(any_text()),
        prop::option::of(any_text()),
        prop::option::of(object()),
        prop::option::of(meta.prop_map(|map| map.into_iter().collect::<Value>())),
        prop::collection::btree_map("x[a-z]{0,5}", any_json(), 0..3),
    );
    let params = params.prop_map(|(name, cursor, arguments, meta, others)| {
        let mut params: serde_json::Map<_, _> = others.into_iter().collect();
        let known = [
            ("name", name.map(Value::from)),
            ("cursor", cursor.map(Value::from)),
            ("arguments", arguments),
            ("_meta", meta),
        ];
        params.extend(known.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
        Value::from(params)
    });
    (id, any_text(), prop::option::of(params), any::<bool>()).prop_flat_map(|(id, method, params, pretty)| {
        let mut members = vec![("jsonrpc", json!("2.0")), ("id", id), ("method", json!(method))];
        members.extend(params.map(|params| ("params", params)));
        let whole: Value = members.iter().cloned().map(|(key, value)| (key.to_owned(), value)).collect();
        Just(members).prop_shuffle().prop_map(move |members| {
            let write = |value: &Value| if pretty { format!("{value:#}") } else { value.to_string() };
            let members: Vec<_> = members.iter().map(|(key, value)| format!("\"{key}\": {}", write(value))).collect();
            (format!(" {{{}}}", members.join(" ,\n")), whole.clone())
        })
    })
}

proptest! {
    #[test]
    fn what_is_written_without_edit_reads_as_what_was_read((text, whole) in any_request()) {
        let read = request(&text);
        let written = read.write(&Edit::default());
        // Through the text, since serde_json rounds some numbers of its own when it reads them.
        prop_assert_eq!(value(&written), value(whole.to_string().as_bytes()));
        prop_assert_eq!(request(std::str::from_utf8(&written).unwrap()), read);
    }

    #[test]
    fn what_is_written_differs_by_the_edit_alone((text, whole) in any_request(), name in any_text(), trace in any_text()) {
        let written = request(&text).write(&Edit {
            id: Some(&RequestId::Text("up-1".into())),
            name: Some(&name),
            cursor: Change::Remove,
            strip_meta: &["io.modelcontextprotocol/"],
            meta: &[("traceparent", MetaValue::Text(&trace)), ("com.example/x", MetaValue::Absent)],
            ..Edit::default()
        });
        let mut expected: Value = value(whole.to_string().as_bytes());
        expected["id"] = json!("up-1");
        expected["params"]["name"] = json!(name);
        expected["params"]["_meta"]["traceparent"] = json!(trace);
        expected["params"].as_object_mut().unwrap().remove("cursor");
        let meta = expected["params"]["_meta"].as_object_mut().unwrap();
        meta.retain(|key, _| !key.starts_with("io.modelcontextprotocol/") && key != "com.example/x");
        prop_assert_eq!(value(&written), expected);
    }

    #[test]
    fn no_body_makes_the_reader_panic(body in prop::collection::vec(any::<u8>(), 0..64)) {
        let _unused = read_text(body);
    }
}
