//! Every row of the translation, message by message.

use http::StatusCode;
use serde_json::{Value, json};
use tollgate_proto::{InstanceId, ServerId};

use super::{
    listen::Filter,
    notice::{self, Notice},
    outcome,
    question::{self, Pending},
    request::{Alias, canonical},
    state::{Parked, Question},
    *,
};
use crate::{
    bridge::testing::{notification, raw, request, value},
    mcp::{
        json::{self, Raw},
        level::Level,
        message::{MetaValue, RequestId},
        method::Method,
    },
    store::Leg,
};

const EVERYTHING: Capabilities =
    Capabilities { form: true, url: true, sampling: true, sampling_tools: true, sampling_context: true, roots: true };

fn capabilities(declared: &Value) -> Capabilities {
    let meta = json!({ "io.modelcontextprotocol/clientCapabilities": declared });
    Capabilities::declared(&request("tools/list", &json!({ "_meta": meta })))
}

#[test]
fn an_agents_capabilities_are_normalised_and_declared_as_the_legacy_era_does() {
    let table = [
        (json!({}), "", json!({})),
        (json!({ "elicitation": {} }), "f", json!({ "elicitation": { "form": {} } })),
        (json!({ "elicitation": { "form": {} } }), "f", json!({ "elicitation": { "form": {} } })),
        (json!({ "elicitation": { "url": {} } }), "u", json!({ "elicitation": { "url": {} } })),
        (
            json!({ "elicitation": { "url": {}, "form": {} }, "roots": { "listChanged": true } }),
            "fur",
            json!({ "elicitation": { "form": {}, "url": {} }, "roots": {} }),
        ),
        (
            json!({ "sampling": { "tools": {}, "context": {} } }),
            "stc",
            json!({ "sampling": { "tools": {}, "context": {} } }),
        ),
        (json!({ "sampling": {}, "extensions": { "x": {} } }), "s", json!({ "sampling": {} })),
        (json!({ "elicitation": true, "sampling": null, "roots": [] }), "", json!({})),
    ];
    for (declared, fingerprint, legacy) in table {
        let read = capabilities(&declared);
        assert_eq!(read.fingerprint(), fingerprint, "{declared}");
        assert_eq!(value(read.to_legacy()), legacy, "{declared}");
    }
    assert_eq!(Capabilities::declared(&request("tools/list", &json!({}))), Capabilities::default());
}

#[test]
fn a_request_goes_out_under_its_alias_without_the_modern_era() {
    let params = json!({
        "name": "pay", "arguments": { "amount": 1.50 }, "vendor": 1, "requestState": "s", "inputResponses": {},
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/logLevel": "info", "progressToken": "mine", "baggage": "k=v", "com.example/x": 1,
        },
    });
    let request = request("tools/call", &params);
    let alias = Alias::of(&request, RequestId::Text("u-1".into()));
    let meta = alias.meta(&[("traceparent", MetaValue::Text("00-a-b-01"))]);
    let written = value(request.write(&alias.edit(Some("pay_now"), &meta)));
    let expected = json!({
        "jsonrpc": "2.0", "id": "u-1", "method": "tools/call",
        "params": {
            "name": "pay_now", "arguments": { "amount": 1.50 }, "vendor": 1,
            "_meta": { "progressToken": "u-1", "baggage": "k=v", "com.example/x": 1, "traceparent": "00-a-b-01" },
        },
    });
    assert_eq!(written, expected);
}

#[test]
fn a_server_is_given_no_progress_token_when_the_agent_gave_none() {
    let request = request("tools/list", &json!({ "_meta": { "io.modelcontextprotocol/clientCapabilities": {} } }));
    let alias = Alias::of(&request, RequestId::Text("u-1".into()));
    let written = value(request.write(&alias.edit(None, &alias.meta(&[]))));
    assert_eq!(written, json!({ "jsonrpc": "2.0", "id": "u-1", "method": "tools/list", "params": {} }));
}

#[test]
fn a_retry_is_the_same_call_whatever_the_order_of_its_members_and_no_other_call_is() {
    let of = |method: &str, params: Value| canonical(method, &request(method, &params).params);
    let first = of("tools/call", json!({ "name": "a", "arguments": { "x": 1, "y": [2] }, "_meta": { "p": 1 } }));
    let retry = json!({ "requestState": "s", "arguments": { "y": [2], "x": 1 }, "inputResponses": {}, "name": "a" });
    assert_eq!(first, of("tools/call", retry));
    for other in [
        of("tools/call", json!({ "name": "b", "arguments": { "x": 1, "y": [2] } })),
        of("tools/call", json!({ "name": "a", "arguments": { "x": 2, "y": [2] } })),
        of("tools/call", json!({ "name": "a" })),
        of("prompts/get", json!({ "name": "a", "arguments": { "x": 1, "y": [2] } })),
    ] {
        assert_ne!(first, other);
    }
}

#[test]
fn a_result_says_that_it_is_complete_and_whose_it_is() {
    let info = raw(&json!({ "name": "everything", "version": "1" }));
    let given = json!({ "content": [], "structuredContent": { "n": 1 }, "vendor": 2, "_meta": { "com.example/x": 1 } });
    let written = value(outcome::result(Method::ToolsCall, &raw(&given), Some(&info)).unwrap());
    let meta =
        json!({ "com.example/x": 1, "io.modelcontextprotocol/serverInfo": { "name": "everything", "version": "1" } });
    let expected = json!({
        "resultType": "complete", "content": [], "structuredContent": { "n": 1 }, "vendor": 2, "_meta": meta,
    });
    assert_eq!(written, expected);
    let bare = value(outcome::result(Method::CompletionComplete, &raw(&json!({ "completion": {} })), None).unwrap());
    assert_eq!(bare, json!({ "resultType": "complete", "completion": {} }));
    assert_eq!(outcome::result(Method::ToolsCall, &raw(&json!([])), None), None, "no result is an array");
}

#[test]
fn what_may_be_kept_is_kept_for_no_time_and_by_nobody_else() {
    let cacheable = [
        Method::ToolsList,
        Method::PromptsList,
        Method::ResourcesList,
        Method::ResourceTemplatesList,
        Method::ResourcesRead,
    ];
    let given = raw(&json!({ "ttlMs": 60_000, "cacheScope": "public", "nextCursor": "" }));
    for method in cacheable {
        let written = value(outcome::result(method, &given, None).unwrap());
        let expected = json!({ "resultType": "complete", "nextCursor": "", "ttlMs": 0, "cacheScope": "private" });
        assert_eq!(written, expected, "{method:?}");
    }
    let got = value(outcome::result(Method::PromptsGet, &raw(&json!({ "messages": [] })), None).unwrap());
    assert_eq!(got, json!({ "resultType": "complete", "messages": [] }));
}

#[test]
fn tools_lose_what_legacy_tasks_need_and_those_that_need_a_task_are_not_shown() {
    let tools = json!({ "tools": [
        { "name": "plain", "inputSchema": {}, "vendor": 1 },
        { "name": "either", "execution": { "taskSupport": "optional" } },
        { "name": "slow", "execution": { "taskSupport": "required" } },
    ] });
    let written = value(outcome::result(Method::ToolsList, &raw(&tools), None).unwrap());
    assert_eq!(written["tools"], json!([{ "name": "plain", "inputSchema": {}, "vendor": 1 }, { "name": "either" }]));
}

#[test]
fn an_error_keeps_its_meaning_in_the_modern_era() {
    let table = [
        (json!({ "code": -32601, "message": "no" }), 404, json!({ "code": -32601, "message": "no" })),
        (
            json!({ "code": -32002, "message": "none", "data": { "uri": "file:///x" } }),
            200,
            json!({ "code": -32602, "message": "none", "data": { "uri": "file:///x" } }),
        ),
        (
            json!({ "code": -32020, "message": "busy", "data": 3 }),
            200,
            json!({ "code": -32603, "message": "busy", "data": { "code": -32020, "data": 3 } }),
        ),
        (
            json!({ "code": -32099, "message": "odd" }),
            200,
            json!({ "code": -32603, "message": "odd", "data": { "code": -32099 } }),
        ),
        (json!({ "code": -32000, "message": "own" }), 200, json!({ "code": -32000, "message": "own" })),
        (json!({ "code": -32602, "message": "bad" }), 200, json!({ "code": -32602, "message": "bad" })),
        (json!({ "code": 12, "message": "own", "data": {} }), 200, json!({ "code": 12, "message": "own", "data": {} })),
    ];
    for (given, status, expected) in table {
        match outcome::error(&raw(&given), EVERYTHING) {
            Outcome::Error(with, error) => assert_eq!((with.as_u16(), value(error)), (status, expected), "{given}"),
            other => panic!("{given}: {other:?}"),
        }
    }
}

fn pages() -> Raw {
    let page = |id: &str| json!({ "mode": "url", "elicitationId": id, "url": format!("https://example.com/{id}"), "message": "Sign in" });
    raw(&json!({ "code": -32042, "message": "go there", "data": { "elicitations": [page("a"), page("b")] } }))
}

#[test]
fn pages_to_visit_first_are_asked_for_one_by_one() {
    let Outcome::Visit(pending) = outcome::error(&pages(), EVERYTHING) else { panic!("a visit") };
    let shown = value(question::input_required(&pending, "sealed"));
    let asked = |page: &str| {
        let params = json!({ "mode": "url", "message": "Sign in", "url": format!("https://example.com/{page}") });
        json!({ "method": "elicitation/create", "params": params })
    };
    let expected = json!({
        "resultType": "input_required", "inputRequests": { "r1": asked("a"), "r2": asked("b") },
        "requestState": "sealed",
    });
    assert_eq!(shown, expected);
    assert!(pending.iter().all(|page| page.id.is_none()), "the server waits for no response");
}

#[test]
fn an_agent_that_opens_no_pages_is_told_what_is_missing() {
    let form_only = Capabilities { url: false, ..EVERYTHING };
    let Outcome::Error(status, error) = outcome::error(&pages(), form_only) else { panic!("an error") };
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let error = value(error);
    assert_eq!(error["code"], -32021);
    assert_eq!(error["data"], json!({ "requiredCapabilities": { "elicitation": { "url": {} } } }));
}

#[test]
fn pages_that_are_none_do_not_leak_a_code_of_the_other_era() {
    for data in [json!(null), json!({ "elicitations": [] }), json!({ "elicitations": [{ "message": "no url" }] })] {
        let error = raw(&json!({ "code": -32042, "message": "x", "data": data }));
        let Outcome::Error(_, error) = outcome::error(&error, EVERYTHING) else { panic!("an error") };
        assert_eq!(
            (value(&error)["code"].clone(), value(&error)["data"]["code"].clone()),
            (json!(-32603), json!(-32042))
        );
    }
}

#[test]
fn what_a_server_asks_is_put_as_the_modern_era_puts_it() {
    let schema = json!({ "type": "object", "properties": { "name": { "type": "string" } } });
    let table = [
        (
            request("elicitation/create", &json!({ "message": "Who?", "requestedSchema": schema })),
            Kind::Elicitation,
            json!({ "method": "elicitation/create",
                    "params": { "mode": "form", "message": "Who?", "requestedSchema": schema } }),
        ),
        (
            request(
                "elicitation/create",
                &json!({ "mode": "url", "url": "https://x.test", "message": "Go", "elicitationId": "e",
                         "_meta": { "io.modelcontextprotocol/related-task": { "taskId": "t" }, "progressToken": 1 } }),
            ),
            Kind::Elicitation,
            json!({ "method": "elicitation/create",
                    "params": { "mode": "url", "url": "https://x.test", "message": "Go" } }),
        ),
        (
            request(
                "sampling/createMessage",
                &json!({ "messages": [], "maxTokens": 5, "includeContext": "thisServer", "task": { "ttl": 1 },
                         "_meta": { "com.example/x": 1, "progressToken": 1 } }),
            ),
            Kind::Sampling,
            json!({ "method": "sampling/createMessage",
                    "params": { "messages": [], "maxTokens": 5, "includeContext": "thisServer",
                                "_meta": { "com.example/x": 1 } } }),
        ),
        (request("roots/list", &json!({})), Kind::Roots, json!({ "method": "roots/list" })),
    ];
    for (asked, kind, expected) in table {
        match question::read(&asked, EVERYTHING) {
            Heard::Ask(read, put) => assert_eq!((read, value(put)), (kind, expected), "{}", asked.method),
            other => panic!("{}: {other:?}", asked.method),
        }
    }
    let asked = request("sampling/createMessage", &json!({ "messages": [], "includeContext": "allServers" }));
    let without_context = Capabilities { sampling_context: false, ..EVERYTHING };
    let Heard::Ask(_, put) = question::read(&asked, without_context) else { panic!("a question") };
    assert_eq!(value(put)["params"], json!({ "messages": [] }));
}

#[test]
fn an_agent_is_asked_nothing_that_this_request_did_not_declare() {
    let form = request("elicitation/create", &json!({ "message": "?" }));
    let url = request("elicitation/create", &json!({ "mode": "url", "url": "https://x.test", "message": "?" }));
    let sample = request("sampling/createMessage", &json!({ "messages": [] }));
    let with_tools = request("sampling/createMessage", &json!({ "messages": [], "tools": [] }));
    let roots = request("roots/list", &json!({}));
    let table = [
        (&form, Capabilities { form: false, ..EVERYTHING }),
        (&url, Capabilities { url: false, ..EVERYTHING }),
        (&sample, Capabilities { sampling: false, ..EVERYTHING }),
        (&with_tools, Capabilities { sampling_tools: false, ..EVERYTHING }),
        (&roots, Capabilities { roots: false, ..EVERYTHING }),
        (&request("tools/call", &json!({ "name": "x" })), EVERYTHING),
    ];
    for (asked, declared) in table {
        assert_eq!(question::read(asked, declared), Heard::Decline, "{} {declared:?}", asked.method);
    }
    assert_eq!(question::read(&request("ping", &json!({})), Capabilities::default()), Heard::Pong);
}

#[test]
fn only_three_methods_wait_for_answers() {
    let waiting = [Method::ToolsCall, Method::PromptsGet, Method::ResourcesRead];
    for method in [Method::ToolsList, Method::CompletionComplete, Method::Discover, Method::SubscriptionsListen] {
        assert!(!question::can_wait(method), "{method:?}");
    }
    assert!(waiting.into_iter().all(question::can_wait));
}

#[test]
fn an_answer_of_the_wrong_form_is_as_good_as_missing() {
    let responses = raw(&json!({
        "yes": { "action": "accept", "content": { "name": "Ada" } }, "no": { "action": "decline" }, "odd": [],
        "said": { "role": "assistant", "content": { "type": "text", "text": "hi" }, "model": "m" }, "half": { "role": "x" },
        "dirs": { "roots": [] }, "none": {},
    }));
    let responses = responses.object().unwrap();
    let got = |key: &str, kind| question::answer(Some(&responses), key, kind);
    assert!(question::is_accepted(&got("yes", Kind::Elicitation).unwrap()));
    assert!(!question::is_accepted(&got("no", Kind::Elicitation).unwrap()));
    assert!(got("said", Kind::Sampling).is_some() && got("dirs", Kind::Roots).is_some());
    for (key, kind) in [
        ("odd", Kind::Elicitation),
        ("none", Kind::Elicitation),
        ("half", Kind::Sampling),
        ("none", Kind::Roots),
        ("missing", Kind::Roots),
    ] {
        assert_eq!(got(key, kind), None, "{key}");
    }
    assert_eq!(question::answer(None, "yes", Kind::Elicitation), None);
}

#[test]
fn progress_reaches_the_agent_under_its_own_token_and_no_other_progress_does() {
    let asked = request("tools/call", &json!({ "name": "x", "_meta": { "progressToken": 9 } }));
    let alias = Alias::of(&asked, RequestId::Text("u-1".into()));
    let progress = |token: Value| {
        notification("notifications/progress", &json!({ "progressToken": token, "progress": 1, "total": 2.5 }))
    };
    let Notice::Pass(bytes) = notice::read(&progress(json!("u-1")), &alias, None) else { panic!("passed") };
    assert_eq!(value(bytes)["params"], json!({ "progressToken": 9, "progress": 1, "total": 2.5 }));
    for token in [json!("u-2"), json!(9), json!(null)] {
        assert_eq!(notice::read(&progress(token), &alias, None), Notice::Drop);
    }
    let quiet = Alias::of(&request("tools/call", &json!({ "name": "x" })), RequestId::Text("u-1".into()));
    assert_eq!(notice::read(&progress(json!("u-1")), &quiet, None), Notice::Drop);
}

#[test]
fn log_messages_reach_only_a_request_that_asked_for_their_level() {
    let alias = Alias::of(&request("tools/call", &json!({ "name": "x" })), RequestId::Text("u-1".into()));
    let logged = |level: &str| notification("notifications/message", &json!({ "level": level, "data": "d" }));
    let passes = |level, wanted| matches!(notice::read(&logged(level), &alias, wanted), Notice::Pass(_));
    assert!(passes("warning", Some(Level::Warning)) && passes("alert", Some(Level::Warning)));
    assert!(!passes("notice", Some(Level::Warning)) && !passes("alert", None) && !passes("loud", Some(Level::Debug)));
}

#[test]
fn a_question_can_be_withdrawn_and_other_notifications_lead_nowhere() {
    let alias = Alias::of(&request("tools/call", &json!({ "name": "x" })), RequestId::Text("u-1".into()));
    let withdrawn = notification("notifications/cancelled", &json!({ "requestId": 3 }));
    assert_eq!(notice::read(&withdrawn, &alias, None), Notice::Withdrawn(RequestId::Integer(3)));
    for method in ["notifications/tools/list_changed", "notifications/elicitation/complete", "notifications/x"] {
        assert_eq!(notice::read(&notification(method, &json!({})), &alias, Some(Level::Debug)), Notice::Drop);
    }
}

#[test]
fn a_log_level_that_is_none_is_an_error() {
    let with = |level: Value| request("tools/list", &json!({ "_meta": { "io.modelcontextprotocol/logLevel": level } }));
    assert_eq!(notice::wanted_level(&with(json!("error"))), Ok(Some(Level::Error)));
    assert_eq!(notice::wanted_level(&request("tools/list", &json!({}))), Ok(None));
    for level in [json!("loud"), json!(3), json!(null)] {
        assert!(notice::wanted_level(&with(level)).is_err());
    }
}

#[test]
fn a_handshake_is_what_discover_answers_without_legacy_tasks() {
    let initialized = raw(&json!({
        "protocolVersion": "2025-11-25", "serverInfo": { "name": "s", "version": "1" }, "instructions": "Be kind.",
        "capabilities": { "tools": { "listChanged": true }, "tasks": { "list": {} }, "logging": {}, "experimental": {} },
    }));
    let discovered = value(discover::discovered(&initialized.object().unwrap()));
    assert_eq!(discovered["resultType"], "complete");
    assert_eq!(discovered["supportedVersions"][0], "2026-07-28");
    assert_eq!(
        discovered["capabilities"],
        json!({ "tools": { "listChanged": true }, "logging": {}, "experimental": {} })
    );
    assert_eq!(discovered["instructions"], "Be kind.");
    assert_eq!((discovered["ttlMs"].clone(), discovered["cacheScope"].clone()), (json!(0), json!("private")));
    assert_eq!(discovered["_meta"]["io.modelcontextprotocol/serverInfo"], json!({ "name": "s", "version": "1" }));
    let bare = value(discover::discovered(&json::Object::default()));
    assert_eq!(bare["capabilities"], json!({}));
}

fn filter(wanted: &Value) -> Option<Filter> {
    Filter::read(&request("subscriptions/listen", &json!({ "notifications": wanted })).params)
}

#[test]
fn a_listener_is_promised_only_what_the_server_can_tell() {
    let wanted = json!({
        "toolsListChanged": true, "promptsListChanged": true, "resourcesListChanged": false,
        "resourceSubscriptions": ["file:///a"], "later": true,
    });
    let can = |capabilities: Value| raw(&capabilities).object().unwrap();
    let all = can(json!({ "tools": { "listChanged": true }, "prompts": { "listChanged": true },
                          "resources": { "listChanged": true, "subscribe": true } }));
    let acknowledged = |honoured: &Filter, id: RequestId| value(honoured.acknowledged(&id, &json::Object::default()));
    let honoured = filter(&wanted).unwrap().honoured(&all);
    let expected = json!({
        "jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged",
        "params": {
            "notifications": { "toolsListChanged": true, "promptsListChanged": true,
                               "resourceSubscriptions": ["file:///a"] },
            "_meta": { "io.modelcontextprotocol/subscriptionId": 5 },
        },
    });
    assert_eq!(acknowledged(&honoured, RequestId::Integer(5)), expected);
    let less = filter(&wanted).unwrap().honoured(&can(json!({ "tools": { "listChanged": true }, "resources": {} })));
    let text = acknowledged(&less, RequestId::Text("5".into()));
    assert_eq!(text["params"]["notifications"], json!({ "toolsListChanged": true }));
    assert_eq!(text["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], "5");
    assert!(filter(&wanted).unwrap().honoured(&can(json!({}))).is_empty());
    for wrong in [json!([]), json!({ "toolsListChanged": 1 }), json!({ "resourceSubscriptions": [1] })] {
        assert_eq!(filter(&wrong), None, "{wrong}");
    }
}

#[test]
fn a_listener_hears_what_it_asked_for_under_its_own_id() {
    let wanted = filter(&json!({ "toolsListChanged": true, "resourceSubscriptions": ["file:///dir"] })).unwrap();
    let id = RequestId::Text("l".into());
    let passed = |method: &str, params: Value| wanted.passed(&notification(method, &params), &id).map(value);
    let updated = passed("notifications/resources/updated", json!({ "uri": "file:///dir/a", "_meta": { "x": 1 } }));
    let expected =
        json!({ "uri": "file:///dir/a", "_meta": { "x": 1, "io.modelcontextprotocol/subscriptionId": "l" } });
    assert_eq!(updated.unwrap()["params"], expected);
    assert!(passed("notifications/tools/list_changed", json!({})).is_some());
    for (method, params) in [
        ("notifications/prompts/list_changed", json!({})),
        ("notifications/resources/updated", json!({ "uri": "file:///other" })),
        ("notifications/progress", json!({ "progressToken": 1, "progress": 1 })),
        ("notifications/message", json!({ "level": "info", "data": 1 })),
    ] {
        assert_eq!(passed(method, params), None, "{method}");
    }
    let missed: Vec<_> = wanted.may_have_changed(&id).iter().map(value).collect();
    assert_eq!(missed[0]["method"], "notifications/tools/list_changed");
    assert_eq!(missed[1]["params"]["uri"], "file:///dir");
    assert_eq!(missed.len(), 2);
    let ended = value(listen::ended(&id));
    assert_eq!(ended, json!({ "resultType": "complete", "_meta": { "io.modelcontextprotocol/subscriptionId": "l" } }));
}

#[test]
fn a_state_survives_its_journey_with_the_types_of_its_ids() {
    let ids = [RequestId::Integer(1), RequestId::Text("1".into())];
    let pending = ids.clone().map(|id| {
        let request = raw(&json!({}));
        Pending { key: question::key(0), id: Some(id), kind: Kind::Roots, request }
    });
    let leg =
        Leg { instance: InstanceId::new(), upstream_session: Some("s".to_owned()), protocol_version: "v".to_owned() };
    let parked = Parked { holder: [2; 16], leg, upstream_id: "u-1".into(), read_to: 4, last_event: Some("e".into()) };
    let questions = pending.iter().map(Question::from).collect();
    let state = State {
        server: ServerId::new(),
        call: [7; 32],
        root: None,
        waiting: [1; 16],
        round: 2,
        questions,
        parked: Some(parked),
    };
    let read = State::from_bytes(&state.to_bytes()).unwrap();
    assert_eq!(read, state);
    assert_eq!(read.questions[0].again(), Some(pending[0].clone()));
    let long = raw(&json!({ "method": "x".repeat(100_000) }));
    assert_eq!(Question::from(&Pending { request: long, ..pending[0].clone() }).again(), None);
    let back: Vec<RequestId> = read.questions.into_iter().filter_map(|question| question.id.map(Into::into)).collect();
    assert_eq!(back, ids);
    assert_eq!(State::from_bytes(b"{}"), None);
}
