//! Real servers ask in the middle of a call: forms, pages to visit, models, folders. Clients of both eras answer, each at
//! another data plane than the one that they asked.

use serde_json::{Map, Value, json};
use tollgate_tests::{Deployment, McpAnswer, McpClient, RealServer, ReferenceServer, Speaks};

const LEGACY: &str = "2025-11-25";

/// A client that can be asked everything, at both data planes.
struct Asked {
    here: McpClient,
    there: McpClient,
    is_legacy: bool,
}

/// What became of a call.
struct Outcome {
    answer: McpAnswer,
    /// The questions, in their order.
    questions: Vec<Value>,
    /// Notifications that came with the answer.
    notices: Vec<String>,
}

impl Asked {
    async fn everything(tollgate: &Deployment, client: &McpClient, is_legacy: bool) -> Self {
        let capabilities = json!({"elicitation": {"form": {}, "url": {}}, "sampling": {}, "roots": {}});
        let mut here = client.clone().through(tollgate.data_plane_url(0)).declaring(capabilities);
        if is_legacy {
            here = here.initialize(LEGACY).await;
        }
        Self { there: here.clone().through(tollgate.data_plane_url(1)), here, is_legacy }
    }

    async fn call(&self, tool: &str, arguments: &Value) -> Outcome {
        let params = json!({"name": tool, "arguments": arguments});
        if self.is_legacy { self.in_session(params).await } else { self.in_rounds(params).await }
    }

    async fn in_session(&self, params: Value) -> Outcome {
        let mut stream = self.here.open("tools/call", params).await;
        let (mut questions, mut notices) = (Vec::new(), Vec::new());
        while let Some(message) = stream.next().await {
            match (message["method"].as_str(), message.get("id")) {
                (Some(_), Some(id)) => {
                    let reply = json!({"jsonrpc": "2.0", "id": id, "result": answer_to(&message)});
                    assert_eq!(self.there.send_message(&reply).await.status, 202);
                    questions.push(message);
                }
                (Some(method), None) => notices.push(method.to_owned()),
                (None, _) => break,
            }
        }
        Outcome { answer: stream.finish().await, questions, notices }
    }

    async fn in_rounds(&self, mut params: Value) -> Outcome {
        let (mut questions, mut ask) = (Vec::new(), &self.here);
        loop {
            let answer = ask.request("tools/call", params.clone()).await;
            if answer.status != 200 || answer.result()["resultType"] != "input_required" {
                return Outcome { answer, questions, notices: Vec::new() };
            }
            let asked = answer.result()["inputRequests"].as_object().expect("questions").clone();
            let answers: Map<String, Value> =
                asked.iter().map(|(key, asked)| (key.clone(), answer_to(asked))).collect();
            params["inputResponses"] = answers.into();
            params["requestState"] = answer.result()["requestState"].clone();
            if params["requestState"].is_null() {
                params.as_object_mut().expect("an object").remove("requestState");
            }
            questions.extend(asked.into_values());
            ask = &self.there;
        }
    }
}

/// What user, model and workspace of the client say.
fn answer_to(question: &Value) -> Value {
    match (question["method"].as_str(), question["params"]["mode"].as_str()) {
        (Some("elicitation/create"), Some("url")) => json!({"action": "accept"}),
        (Some("elicitation/create"), _) => {
            json!({"action": "accept", "content": {"username": "Ann Example", "email": "ann@example.org"}})
        }
        (Some("sampling/createMessage"), _) => {
            json!({"role": "assistant", "model": "story", "content": {"type": "text", "text": "Paris"}})
        }
        (Some("roots/list"), _) => json!({"roots": [{"uri": "file:///srv/story", "name": "story"}]}),
        other => panic!("nobody can answer {other:?}"),
    }
}

/// Every question that a server on an SDK can ask: the tool, the method, and what the answer makes of the result.
const QUESTIONS: [(&str, &str, &str); 4] = [
    ("test_elicitation", "elicitation/create", "Ann Example"),
    ("test_sampling", "sampling/createMessage", "LLM response: Paris"),
    ("test_input_required_result_list_roots", "roots/list", "file:///srv/story"),
    ("test_url_elicitation", "elicitation/create", "action=accept"),
];

#[tokio::test]
async fn servers_of_every_sdk_and_era_ask_clients_of_every_era() {
    let (python, typescript) = (RealServer::python().await, RealServer::typescript().await);
    let rust = ReferenceServer::start(Speaks::Both).await;
    let tollgate = Deployment::separate(2).start().await;
    tollgate.allow_loopback_servers().await;
    for (sdk, url) in [("python", python.url()), ("typescript", typescript.url()), ("rmcp", rust.url().to_owned())] {
        for era in ["legacy", "modern"] {
            let name = format!("{sdk}-{era}");
            let spec = json!({"instances": [{"url": url}], "era": era});
            tollgate.put(&format!("servers/{name}"), json!({"spec": spec})).await;
            let agent = tollgate.agent(&format!("at-{name}")).grant(&format!("{name}:*")).create().await;
            let client = agent.at_server(&name).await;
            for is_legacy in [true, false] {
                let client = Asked::everything(&tollgate, &client, is_legacy).await;
                for (tool, method, expected) in QUESTIONS {
                    let outcome = client.call(tool, &json!({})).await;
                    let told = format!("{name}, legacy client: {is_legacy}, {tool}: {}", outcome.answer.body);
                    assert_eq!(outcome.questions.len(), 1, "{told}");
                    assert_eq!(outcome.questions[0]["method"], method, "{told}");
                    assert!(outcome.answer.body.contains(expected), "{told}");
                    let is_page = tool == "test_url_elicitation";
                    assert_eq!(outcome.questions[0]["params"]["mode"] == "url", is_page, "{told}");
                    // It is the legacy era's, and of these servers one says it.
                    let is_told = outcome.notices.iter().any(|notice| notice == "notifications/elicitation/complete");
                    assert_eq!(is_told, is_page && is_legacy && name == "python-legacy", "{told}");
                }
            }
        }
    }
}

#[tokio::test]
async fn the_everything_server_asks_for_pages_folders_and_models() {
    let server = RealServer::everything().await;
    let tollgate = Deployment::separate(2).start().await;
    tollgate.allow_loopback_servers().await;
    tollgate.register_url("everything", &server.url()).await;
    let client = tollgate.agent("ci").grant("everything:*").create().await.at_server("everything").await;
    let page = json!({"url": "https://example.com/sign-in", "message": "Sign in."});
    for is_legacy in [true, false] {
        let client = Asked::everything(&tollgate, &client, is_legacy).await;
        for (tool, arguments, method, expected) in [
            ("trigger-sampling-request", json!({"prompt": "Say something."}), "sampling/createMessage", "Paris"),
            ("trigger-url-elicitation", page.clone(), "elicitation/create", "User completed"),
        ] {
            let outcome = client.call(tool, &arguments).await;
            assert_eq!(outcome.questions[0]["method"], method, "{}", outcome.answer.body);
            assert!(outcome.answer.body.contains(expected), "{}", outcome.answer.body);
        }
    }
}

#[tokio::test]
async fn a_page_that_has_to_be_visited_first_is_the_agents_to_visit() {
    let server = RealServer::everything().await;
    let tollgate = Deployment::separate(2).start().await;
    tollgate.allow_loopback_servers().await;
    tollgate.register_url("everything", &server.url()).await;
    let client = tollgate.agent("ci").grant("everything:*").create().await.at_server("everything").await;
    let first = json!({"url": "https://example.com/sign-in", "message": "Sign in.", "errorPath": true});
    let legacy = Asked::everything(&tollgate, &client, true).await;
    let error = legacy.here.call("trigger-url-elicitation", first.clone()).await;
    assert_eq!(error.error()["code"], -32042, "{}", error.body);
    assert_eq!(error.error()["data"]["elicitations"][0]["mode"], "url", "{}", error.body);
    let again = legacy.call("trigger-url-elicitation", &first).await;
    assert!(again.answer.body.contains("User completed"), "{}", again.answer.body);

    let modern = Asked::everything(&tollgate, &client, false).await;
    let outcome = modern.call("trigger-url-elicitation", &first).await;
    let urls: Vec<_> = outcome.questions.iter().map(|asked| asked["params"]["url"].as_str().unwrap_or("")).collect();
    assert_eq!(urls, ["https://modelcontextprotocol.io", "https://example.com/sign-in"], "{}", outcome.answer.body);
    assert!(outcome.answer.body.contains("User completed"), "{}", outcome.answer.body);
}
