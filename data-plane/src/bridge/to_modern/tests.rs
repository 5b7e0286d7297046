//! Every row of the translation, message by message.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    listen::{self, Filter, Heard},
    outcome::{self, Outcome},
    question::{QUESTIONS_MAX, Question},
    request::{Retry, edit},
    *,
};
use crate::{
    bridge::testing::{notification, raw, request, value},
    mcp::{
        json::Raw,
        level::Level,
        message::{self, Message, MetaValue, Notification, Request, RequestId},
        method::Method,
        version::ProtocolVersion,
    },
};

const NEWEST: ProtocolVersion = ProtocolVersion::V2025_11_25;

/// An agent that declared this at its handshake.
fn agent(version: ProtocolVersion, capabilities: &Value) -> Introduction {
    let params = raw(&json!({ "capabilities": capabilities, "clientInfo": { "name": "a", "version": "1" } }));
    Introduction::new(&params.object().unwrap(), version, None)
}

fn everything() -> Introduction {
    agent(NEWEST, &json!({ "elicitation": { "form": {}, "url": {} }, "sampling": { "tools": {} }, "roots": {} }))
}

fn declared(version: ProtocolVersion, capabilities: &Value) -> Value {
    let agent = agent(version, capabilities);
    let meta = agent.meta(&[]);
    let written = request("tools/list", &json!({})).write(&edit(&RequestId::Integer(1), None, &[], &meta));
    value(written)["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"].clone()
}

/// The answer that the agent gets.
fn answered(method: Method, outcome: &Result<Raw, Raw>) -> Result<Value, Value> {
    match outcome::read(method, outcome).unwrap() {
        Outcome::Answer(Ok(result)) => Ok(value(result)),
        Outcome::Answer(Err(error)) => Err(value(error)),
        Outcome::Input(_) => panic!("a question"),
    }
}

fn result(method: Method, value: &Value) -> Value {
    answered(method, &Ok(raw(value))).unwrap()
}

fn error(method: Method, value: &Value) -> Value {
    answered(method, &Err(raw(value))).unwrap_err()
}

fn round(asked: &Value) -> Round {
    let asked = raw(&json!({ "resultType": "input_required", "inputRequests": asked, "requestState": "s" }));
    match outcome::read(Method::ToolsCall, &Ok(asked)).unwrap() {
        Outcome::Input(asked) => Round::new(asked),
        Outcome::Answer(_) => panic!("an answer"),
    }
}

fn question(method: &str, params: &Value) -> Question {
    round(&json!({ "q": { "method": method, "params": params } })).questions()[0].clone()
}

#[test]
fn what_the_agent_said_once_is_said_with_every_request() {
    let params = raw(&json!({
        "capabilities": { "sampling": {} },
        "clientInfo": { "name": "agent", "version": "3", "title": "An agent" },
    }));
    let agent = Introduction::new(&params.object().unwrap(), NEWEST, Some(Level::Warning));
    let call = request(
        "tools/call",
        &json!({
            "name": "files__read", "arguments": { "path": "/a" }, "task": { "ttl": 1 },
            "inputResponses": { "forged": {} }, "requestState": "forged", "vendor": 1,
            "_meta": {
                "progressToken": 5, "io.modelcontextprotocol/related-task": { "taskId": "t" },
                "io.modelcontextprotocol/logLevel": "debug", "com.example/kept": true,
            },
        }),
    );
    let meta = agent.meta(&[("traceparent", MetaValue::Text("00-x"))]);
    let id = RequestId::Text("ours".into());
    let written = value(call.write(&edit(&id, Some("read"), &[], &meta)));
    assert_eq!(
        written,
        json!({
            "jsonrpc": "2.0", "id": "ours", "method": "tools/call",
            "params": {
                "name": "read", "arguments": { "path": "/a" }, "vendor": 1,
                "_meta": {
                    "progressToken": 5, "com.example/kept": true,
                    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                    "io.modelcontextprotocol/clientCapabilities": { "sampling": {} },
                    "io.modelcontextprotocol/clientInfo": { "name": "agent", "version": "3", "title": "An agent" },
                    "io.modelcontextprotocol/logLevel": "warning",
                    "traceparent": "00-x",
                },
            },
        })
    );
}

#[test]
fn a_request_without_params_introduces_its_agent_too() {
    let agent = agent(NEWEST, &json!({}));
    let list = Message::Request(Request {
        id: RequestId::Integer(1),
        method: "tools/list".into(),
        params: message::Params::default(),
    });
    let Message::Request(list) = list else { unreachable!() };
    let written = value(list.write(&edit(&list.id, None, &[], &agent.meta(&[]))));
    assert_eq!(written["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"], "2026-07-28");
}

#[test]
fn capabilities_that_cannot_be_bridged_are_not_declared() {
    let table = [
        (json!({}), json!({})),
        (json!({ "roots": { "listChanged": true } }), json!({ "roots": {} })),
        (json!({ "tasks": { "list": {} }, "sampling": { "tools": {} } }), json!({ "sampling": { "tools": {} } })),
        (json!({ "elicitation": {} }), json!({ "elicitation": {} })),
        (json!({ "elicitation": { "url": {}, "form": {} } }), json!({ "elicitation": { "url": {}, "form": {} } })),
        (
            json!({ "extensions": { "io.modelcontextprotocol/tasks": {}, "io.modelcontextprotocol/ui": {} } }),
            json!({ "extensions": { "io.modelcontextprotocol/ui": {} } }),
        ),
        (json!({ "experimental": { "x": {} } }), json!({ "experimental": { "x": {} } })),
        (json!({ "elicitation": true, "roots": [], "sampling": null, "extensions": 1 }), json!({})),
    ];
    for (said, heard) in table {
        assert_eq!(declared(NEWEST, &said), heard, "{said}");
    }
    let old = ProtocolVersion::V2025_06_18;
    assert_eq!(declared(old, &json!({ "elicitation": { "url": {} } })), json!({ "elicitation": {} }));
    assert!(!agent(old, &json!({ "elicitation": { "url": {} } })).can().url);
}

#[test]
fn the_handshake_is_answered_from_what_was_discovered() {
    let discovered = raw(&json!({
        "resultType": "complete", "supportedVersions": ["2026-07-28"], "ttlMs": 5, "cacheScope": "public",
        "capabilities": {
            "tools": { "listChanged": true }, "prompts": {}, "resources": { "subscribe": true }, "completions": {},
            "logging": {}, "experimental": { "x": {} }, "extensions": { "io.modelcontextprotocol/tasks": {} },
            "tasks": {},
        },
        "instructions": "Read first.",
        "_meta": { "io.modelcontextprotocol/serverInfo": { "name": "files", "version": "2" } },
    }));
    let initialized = value(discover::initialized(&discovered, ProtocolVersion::V2025_06_18, "slug").unwrap());
    assert_eq!(
        initialized,
        json!({
            "protocolVersion": "2025-06-18",
            "capabilities": {
                "tools": { "listChanged": true }, "prompts": {}, "resources": { "subscribe": true },
                "completions": {}, "logging": {}, "experimental": { "x": {} },
            },
            "serverInfo": { "name": "files", "version": "2" },
            "instructions": "Read first.",
        })
    );
    let silent = raw(&json!({ "capabilities": {} }));
    let initialized = value(discover::initialized(&silent, NEWEST, "slug").unwrap());
    assert_eq!(initialized["serverInfo"], json!({ "name": "slug", "version": "unknown" }));
    assert!(discover::initialized(&raw(&json!([])), NEWEST, "slug").is_none());
}

#[test]
fn a_result_loses_what_only_the_modern_era_knows() {
    let meta = json!({
        "io.modelcontextprotocol/serverInfo": { "name": "s" }, "io.modelcontextprotocol/subscriptionId": 1,
        "com.example/kept": 1,
    });
    let list = json!({
        "resultType": "complete", "ttlMs": 1, "cacheScope": "public", "resources": [], "nextCursor": "", "_meta": meta,
    });
    let kept = json!({ "resources": [], "nextCursor": "", "_meta": { "com.example/kept": 1 } });
    assert_eq!(result(Method::ResourcesList, &list), kept);
    // Members that are no hints there are the server's own.
    let own = json!({ "content": [], "ttlMs": 1 });
    assert_eq!(result(Method::ToolsCall, &own), own);
    let emptied = json!({ "content": [], "_meta": { "io.modelcontextprotocol/serverInfo": {} } });
    assert_eq!(result(Method::ToolsCall, &emptied), json!({ "content": [] }));
}

#[test]
fn structured_content_and_schemas_that_are_of_no_objects_are_left_out() {
    for (content, kept) in [(json!({ "a": 1 }), true), (json!([1]), false), (json!("x"), false), (json!(null), false)] {
        let called = json!({ "resultType": "complete", "content": [], "structuredContent": content });
        let passed = result(Method::ToolsCall, &called);
        assert_eq!(passed.get("structuredContent"), kept.then_some(&content));
    }
    let of_objects = json!({ "type": "object", "properties": {} });
    for (schema, kept) in [
        (of_objects, true),
        (json!({ "type": "array", "items": {} }), false),
        (json!({ "oneOf": [] }), false),
        (json!(true), false),
    ] {
        let tools =
            json!({ "resultType": "complete", "tools": [{ "name": "t", "outputSchema": schema, "icons": [] }] });
        let passed = result(Method::ToolsList, &tools);
        assert_eq!(passed["tools"][0].get("outputSchema"), kept.then_some(&schema));
        assert_eq!(passed["tools"][0]["icons"], json!([]));
    }
}

#[test]
fn results_of_other_types_are_refused() {
    let refused = |method, value: &Value| outcome::read(method, &Ok(raw(value))).map(drop).unwrap_err();
    refused(Method::ToolsCall, &json!({ "resultType": "task", "taskId": "t" }));
    refused(Method::ToolsCall, &json!({ "resultType": 1 }));
    refused(Method::ToolsCall, &json!([]));
    refused(Method::ToolsList, &json!({ "resultType": "input_required", "requestState": "s" }));
    refused(Method::ToolsCall, &json!({ "resultType": "input_required" }));
    refused(Method::ToolsCall, &json!({ "resultType": "input_required", "inputRequests": [] }));
    for question in
        [json!(1), json!({}), json!({ "method": "tools/call" }), json!({ "method": "roots/list", "params": 1 })]
    {
        refused(Method::ToolsCall, &json!({ "resultType": "input_required", "inputRequests": { "q": question } }));
    }
    let many: serde_json::Map<_, _> =
        (0..=QUESTIONS_MAX).map(|number| (number.to_string(), json!({ "method": "roots/list" }))).collect();
    refused(Method::ToolsCall, &json!({ "resultType": "input_required", "inputRequests": many }));
}

#[test]
fn error_codes_that_only_the_modern_era_knows_do_not_leak() {
    let mismatch = json!({ "code": -32020, "message": "header", "data": { "x": 1 } });
    let demoted = json!({ "code": -32603, "message": "header", "data": { "code": -32020, "data": { "x": 1 } } });
    assert_eq!(error(Method::ToolsCall, &mismatch), demoted);
    for code in [-32601, -32602, -32603, -32000, 7] {
        let other = json!({ "code": code, "message": "m" });
        assert_eq!(error(Method::ToolsCall, &other), other);
    }
    let missing = json!({ "code": -32602, "message": "no such resource", "data": { "uri": "a://b" } });
    let legacy = json!({ "code": -32002, "message": "no such resource", "data": { "uri": "a://b" } });
    assert_eq!(error(Method::ResourcesRead, &missing), legacy);
    assert_eq!(error(Method::PromptsGet, &missing), missing);
}

#[test]
fn a_missing_capability_is_told_to_whoever_reads_it() {
    let needed = json!({
        "code": -32021, "message": "m", "data": { "requiredCapabilities": { "elicitation": { "url": {} }, "roots": {} } },
    });
    let told = answered(Method::ToolsCall, &Err(raw(&needed))).unwrap();
    assert_eq!(told["isError"], true);
    let text = told["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("elicitation.url and roots"), "{text}");
    let refused = error(Method::PromptsGet, &needed);
    assert_eq!(refused["code"], -32602);
    assert!(refused["message"].as_str().unwrap().contains("elicitation.url"));
    assert_eq!(error(Method::PromptsGet, &json!({ "code": -32021, "message": "m" }))["code"], -32602);
}

#[test]
fn questions_become_requests_of_the_agents_revision() {
    let id = RequestId::Text("sealed".into());
    let old = agent(ProtocolVersion::V2025_06_18, &json!({ "elicitation": {} }));
    let form = json!({ "mode": "form", "message": "How many?", "requestedSchema": { "type": "object" } });
    let asked = value(question("elicitation/create", &form).write(&id, &everything()));
    assert_eq!(asked, json!({ "jsonrpc": "2.0", "id": "sealed", "method": "elicitation/create", "params": form }));
    let asked = value(question("elicitation/create", &form).write(&id, &old));
    assert_eq!(asked["params"], json!({ "message": "How many?", "requestedSchema": { "type": "object" } }));
    let page = json!({ "mode": "url", "message": "Sign in", "url": "https://a.example/", "elicitationId": "theirs" });
    let asked = value(question("elicitation/create", &page).write(&id, &everything()));
    assert_eq!(asked["params"]["elicitationId"], "sealed");
    assert_eq!(asked["params"]["url"], "https://a.example/");
    let sampled = json!({ "messages": [], "maxTokens": 5, "_meta": { "x": 1 } });
    let asked = value(question("sampling/createMessage", &sampled).write(&id, &everything()));
    assert_eq!((&asked["method"], &asked["params"]), (&json!("sampling/createMessage"), &sampled));
    let asked = value(question("roots/list", &json!({})).write(&id, &everything()));
    assert_eq!((&asked["method"], &asked["params"]), (&json!("roots/list"), &json!({})));
}

#[test]
fn an_agent_is_asked_only_what_it_can_answer() {
    let form = json!({ "method": "elicitation/create", "params": { "message": "m" } });
    let page = json!({ "method": "elicitation/create", "params": { "mode": "url" } });
    let sampling = json!({ "method": "sampling/createMessage", "params": { "messages": [] } });
    let with_tools = json!({ "method": "sampling/createMessage", "params": { "tools": [] } });
    let roots = json!({ "method": "roots/list" });
    let permitted = |capabilities: &Value, question: &Value| {
        let asked = raw(&json!({ "resultType": "input_required", "inputRequests": { "q": question } }));
        let Outcome::Input(asked) = outcome::read(Method::ToolsCall, &Ok(asked)).unwrap() else { panic!("an answer") };
        asked.permitted(Method::ToolsCall, agent(NEWEST, capabilities).can())
    };
    let table = [
        (&form, json!({ "elicitation": {} }), json!({ "elicitation": { "url": {} } })),
        (&page, json!({ "elicitation": { "url": {} } }), json!({ "elicitation": {} })),
        (&sampling, json!({ "sampling": {} }), json!({ "elicitation": {} })),
        (&with_tools, json!({ "sampling": { "tools": {} } }), json!({ "sampling": {} })),
        (&roots, json!({ "roots": {} }), json!({ "sampling": {} })),
    ];
    for (question, can, cannot) in table {
        assert!(permitted(&can, question).is_ok(), "{question}");
        let told = permitted(&cannot, question).unwrap_err().unwrap();
        assert_eq!(value(told)["isError"], true, "{question}");
        assert!(permitted(&json!({}), question).is_err(), "{question}");
    }
}

#[test]
fn answers_are_collected_into_one_retry() {
    let mut round = round(&json!({
        "1 who": { "method": "elicitation/create", "params": { "message": "Who?" } },
        "2 where": { "method": "roots/list" },
    }));
    assert!(round.unasked().is_none());
    let (who, first) = (raw(&json!({ "action": "accept", "content": { "name": "x" } })), raw(&json!({ "roots": [] })));
    assert!(matches!(round.take(1, &Ok(first)), Taken::Waiting));
    assert!(matches!(round.take(1, &Ok(raw(&json!({ "roots": [1] })))), Taken::Waiting), "the first answer counts");
    assert!(matches!(round.take(2, &Ok(who.clone())), Taken::Waiting), "an answer to no question");
    let Taken::Complete(retry) = round.take(0, &Ok(who)) else { panic!("both are answered") };
    let call = request("tools/call", &json!({ "name": "t", "requestState": "forged" }));
    let agent = everything();
    let (meta, more) = (agent.meta(&[]), retry.members());
    let written = value(call.write(&edit(&RequestId::Integer(2), None, &more, &meta)));
    assert_eq!(
        written["params"]["inputResponses"],
        json!({ "1 who": { "action": "accept", "content": { "name": "x" } }, "2 where": { "roots": [] } })
    );
    assert_eq!(written["params"]["requestState"], "s");
}

#[test]
fn a_refusal_to_answer_is_a_cancellation_or_ends_the_call() {
    let refusal = || Err(raw(&json!({ "code": -1, "message": "no" })));
    let mut asked = round(&json!({ "q": { "method": "elicitation/create", "params": {} } }));
    let Taken::Complete(retry) = asked.take(0, &refusal()) else { panic!("an answer") };
    assert_eq!(value(retry.input_responses.unwrap()), json!({ "q": { "action": "cancel" } }));
    for method in ["sampling/createMessage", "roots/list"] {
        let mut asked = round(&json!({ "q": { "method": method } }));
        let Taken::Ends(error) = asked.take(0, &refusal()) else { panic!("{method} ends the call") };
        assert_eq!(value(error)["code"], -32603);
        let mut asked = round(&json!({ "q": { "method": method } }));
        assert!(matches!(asked.take(0, &Ok(raw(&json!(1)))), Taken::Ends(_)), "a result that is no object");
    }
}

#[test]
fn a_round_that_asks_nothing_is_retried_with_its_state_alone() {
    let asked = raw(&json!({ "resultType": "input_required", "requestState": "later" }));
    let Outcome::Input(asked) = outcome::read(Method::PromptsGet, &Ok(asked)).unwrap() else { panic!("an answer") };
    let retry = Round::new(asked).unasked().unwrap();
    let members: Vec<_> = retry.members().into_iter().map(|(key, value)| (key, value.to_bytes())).collect();
    assert_eq!(members, [("requestState", Bytes::from_static(b"\"later\""))]);
    assert!(Retry::default().members().is_empty());
}

#[test]
fn a_session_listens_to_what_the_server_tells_of() {
    let discovered = |capabilities: &Value| raw(&json!({ "capabilities": capabilities }));
    let uris: BTreeSet<_> = ["a://2", "a://1"].map(str::to_owned).into();
    let all = discovered(&json!({
        "tools": { "listChanged": true }, "prompts": { "listChanged": true },
        "resources": { "listChanged": true, "subscribe": true },
    }));
    let filter = Filter::new(&all, uris.clone()).unwrap();
    let meta = everything();
    let written = value(filter.write(&RequestId::Integer(3), |entries| {
        for (key, value) in meta.meta(&[]) {
            if let MetaValue::Text(text) = value {
                entries.text(key, text);
            }
        }
    }));
    assert_eq!(written["method"], "subscriptions/listen");
    assert_eq!(
        written["params"]["notifications"],
        json!({
            "toolsListChanged": true, "promptsListChanged": true, "resourcesListChanged": true,
            "resourceSubscriptions": ["a://1", "a://2"],
        })
    );
    assert_eq!(written["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"], "2026-07-28");
    let lists = Filter::new(&discovered(&json!({ "prompts": { "listChanged": true } })), uris).unwrap();
    assert_eq!(
        value(lists.write(&RequestId::Integer(3), |_| {}))["params"]["notifications"],
        json!({ "promptsListChanged": true })
    );
    let synthetic: Vec<_> = listen::synthetic(&lists).map(value).collect();
    assert_eq!(synthetic, [json!({ "jsonrpc": "2.0", "method": "notifications/prompts/list_changed" })]);
    let subscribes = discovered(&json!({ "resources": { "subscribe": true } }));
    assert!(Filter::new(&subscribes, BTreeSet::new()).unwrap().is_empty());
    for silent in [json!({}), json!({ "tools": {} }), json!({ "tools": { "listChanged": false } })] {
        assert_eq!(Filter::new(&discovered(&silent), BTreeSet::new()), None);
    }
}

#[test]
fn a_subscription_shows_the_agent_only_what_changed() {
    let meta = json!({ "io.modelcontextprotocol/subscriptionId": 3 });
    let acknowledged = notification("notifications/subscriptions/acknowledged", &json!({ "_meta": meta }));
    assert_eq!(listen::read(&acknowledged), Heard::Acknowledged);
    let passed = |notification: &Notification| match listen::read(notification) {
        Heard::Pass(message) => value(message),
        other => panic!("{other:?}"),
    };
    let changed = notification("notifications/tools/list_changed", &json!({ "_meta": meta }));
    assert_eq!(passed(&changed), json!({ "jsonrpc": "2.0", "method": "notifications/tools/list_changed" }));
    let updated = notification("notifications/resources/updated", &json!({ "uri": "a://1", "_meta": meta }));
    assert_eq!(passed(&updated)["params"], json!({ "uri": "a://1" }));
    let more = json!({ "io.modelcontextprotocol/subscriptionId": 3, "x.y/kept": 1 });
    let updated = notification("notifications/resources/updated", &json!({ "uri": "a://1", "_meta": more }));
    assert_eq!(passed(&updated)["params"], json!({ "uri": "a://1", "_meta": { "x.y/kept": 1 } }));
    for method in ["notifications/message", "notifications/progress", "notifications/tasks"] {
        assert_eq!(listen::read(&notification(method, &json!({}))), Heard::Drop, "{method}");
    }
}
