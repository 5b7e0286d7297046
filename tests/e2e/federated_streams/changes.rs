//! That a list has changed: whoever hears of it first, every agent that listens is told, once.

use super::*;

/// A tool in whose answer the server says that its tools have changed.
fn changing() -> Reply {
    Reply::Events(vec![changed("tools"), Piece::Result(json!({"content": []}))])
}

/// The next messages, up to and with the update of a resource.
async fn up_to_an_update(stream: &mut McpStream) -> Vec<String> {
    let mut methods = Vec::new();
    loop {
        let method = next(stream).await["method"].as_str().expect("a method").to_owned();
        let is_last = method == "notifications/resources/updated";
        methods.push(method);
        if is_last {
            return methods;
        }
    }
}

#[tokio::test]
async fn a_flood_is_told_at_its_beginning_and_at_its_end() {
    let released = Arc::new(Notify::new());
    let flood = std::iter::repeat_with(|| changed("tools")).take(500);
    let says = flood.chain([until(&released), updated("file:///a"), until_the_end()]).collect();
    let old = legacy(says).await;
    let (tollgate, agent) = setting(&[("old", &old)]).await;
    let [here, _] = session(&tollgate, &agent).await;
    let mut stream = here.stream(None).await;
    for _ in 0..2 {
        next_of(&mut stream, "notifications/tools/list_changed").await;
    }
    released.notify_one();
    assert_eq!(up_to_an_update(&mut stream).await, ["notifications/resources/updated"], "and no more than that");
}

#[tokio::test]
async fn what_one_agents_call_hears_reaches_the_streams_of_others_at_other_data_planes() {
    let released = Arc::new(Notify::new());
    let says = vec![until(&released), updated("file:///a"), until_the_end()];
    let old = ScriptedServer::legacy().tool("change", changing()).stream(says).start().await;
    let new = modern(json!({"tools": {"listChanged": true}}), Vec::new()).await;
    let honoured = json!({"toolsListChanged": true});
    new.set_method("subscriptions/listen", Reply::Events(vec![acknowledged(&honoured), until_the_end()]));
    new.set("change", changing());
    let servers = [("old", &old), ("new", &new)];
    let (tollgate, agent) = setting(&servers).await;
    let other = super::agent(&tollgate, "other", &servers).await;
    let [_, there] = session(&tollgate, &other).await;
    let [here, _] = both(&tollgate, &agent).await;
    let wanted = json!({"notifications": honoured});
    for server in ["old", "new"] {
        let mut of_session = there.stream(None).await;
        let mut joined = other.at_all_servers().await.open("subscriptions/listen", wanted.clone()).await;
        next_of(&mut joined, "notifications/subscriptions/acknowledged").await;
        let alone = other.at_server(server).await.through(tollgate.data_plane_url(1));
        let mut single = alone.initialize(VERSION).await.stream(None).await;
        assert_eq!(here.call(&format!("{server}__change"), json!({})).await.status, 200);
        next_of(&mut of_session, "notifications/tools/list_changed").await;
        next_of(&mut joined, "notifications/tools/list_changed").await;
        next_of(&mut single, "notifications/tools/list_changed").await;
    }
    let mut listening = other.at_server("new").await.open("subscriptions/listen", wanted).await;
    next_of(&mut listening, "notifications/subscriptions/acknowledged").await;
    assert_eq!(here.call("new__change", json!({})).await.status, 200);
    let heard = next(&mut listening).await;
    assert_eq!(heard["method"], "notifications/tools/list_changed");
    assert!(heard["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"].is_u64(), "{heard}");
}

#[tokio::test]
async fn a_change_that_every_session_hears_of_is_told_to_each_agent_once() {
    let changes = [Arc::new(Notify::new()), Arc::default()];
    let ends = [Arc::new(Notify::new()), Arc::default()];
    let says = |at: usize| {
        let twice = [changed("prompts"), changed("prompts"), until_the_end()];
        Reply::Events([vec![until(&changes[at]), changed("tools"), until(&ends[at])], twice.to_vec()].concat())
    };
    let old = ScriptedServer::legacy().tool("read", Reply::text("content")).start().await;
    old.set_method("GET", Reply::Then(Box::new(says(0)), Box::new(says(1))));
    let (tollgate, agent) = setting(&[("old", &old)]).await;
    let other = super::agent(&tollgate, "other", &[("old", &old)]).await;
    let mut streams = Vec::new();
    for (listener, place) in [(&agent, 0), (&other, 1)] {
        streams.push(session(&tollgate, listener).await[place].stream(None).await);
        eventually_true("the server to be listened to", || async { gets(&old) == streams.len() }).await;
    }
    changes.iter().for_each(|change| change.notify_one());
    for stream in &mut streams {
        next_of(stream, "notifications/tools/list_changed").await;
    }
    ends.iter().for_each(|end| end.notify_one());
    for stream in &mut streams {
        // The second of them waits for longer than anything that was still to be said of the tools.
        let heard = [next(stream).await, next(stream).await].map(|said| said["method"].clone());
        assert_eq!(heard, ["notifications/prompts/list_changed"; 2]);
    }
}

#[tokio::test]
async fn what_a_session_hears_with_an_answer_is_not_said_again_on_its_stream() {
    let released = Arc::new(Notify::new());
    let says = vec![until(&released), updated("file:///a"), until_the_end()];
    let old = ScriptedServer::legacy().tool("change", changing()).stream(says).start().await;
    let (tollgate, agent) = setting(&[("old", &old)]).await;
    let other = super::agent(&tollgate, "other", &[("old", &old)]).await;
    let [here, there] = session(&tollgate, &agent).await;
    let mut own = there.stream(None).await;
    eventually_true("the server to be listened to", || async { gets(&old) == 1 }).await;
    let mut others = session(&tollgate, &other).await[1].stream(None).await;
    let answer = here.call("old__change", json!({})).await;
    assert_eq!(answer.messages[0]["method"], "notifications/tools/list_changed", "{}", answer.body);
    // Both streams are at one data plane, which has heard of the change by the time that it tells one of them.
    next_of(&mut others, "notifications/tools/list_changed").await;
    released.notify_one();
    assert_eq!(up_to_an_update(&mut own).await, ["notifications/resources/updated"]);
}

#[tokio::test]
async fn whoever_listens_is_told_when_the_policy_shows_something_else() {
    let old = legacy(vec![until_the_end()]).await;
    let new = modern(json!({}), vec![acknowledged(&json!({"toolsListChanged": true})), until_the_end()]).await;
    let servers = [("old", &old), ("new", &new)];
    let (tollgate, agent) = setting(&servers).await;
    let [_, there] = session(&tollgate, &agent).await;
    let mut of_session = there.stream(None).await;
    let wanted = json!({"notifications": {"toolsListChanged": true}});
    let mut joined = agent.at_all_servers().await.open("subscriptions/listen", wanted.clone()).await;
    let mut listening = agent.at_server("new").await.open("subscriptions/listen", wanted).await;
    for stream in [&mut joined, &mut listening] {
        next_of(stream, "notifications/subscriptions/acknowledged").await;
    }
    let grant = |scopes: &[&str]| json!({"spec": {"to": {"agent": "ci"}, "scopes": scopes}});
    for scopes in [&["old:*", "new:read"][..], &["old:*", "new:*"][..]] {
        tollgate.put("grants/ci", grant(scopes)).await;
        for stream in [&mut of_session, &mut joined, &mut listening] {
            next_of(stream, "notifications/tools/list_changed").await;
        }
    }
    // What is said of prompts and resources depends on the whole server.
    next_of(&mut of_session, "notifications/prompts/list_changed").await;
    tollgate.put("grants/ci", grant(&["old:*"])).await;
    for stream in [&mut of_session, &mut joined] {
        next_of(stream, "notifications/tools/list_changed").await;
    }
    let cut_off =
        timeout(PATIENCE, listening.finish()).await.expect("who may use nothing of a server hears nothing of it");
    assert_eq!(cut_off.error()["data"]["reason"], "tool_not_granted", "{}", cut_off.body);
}

#[tokio::test]
async fn whoever_listens_at_a_toolset_is_told_when_its_tools_get_other_names() {
    let old = legacy(vec![updated("file:///a"), until_the_end()]).await;
    let other = legacy(vec![until_the_end()]).await;
    let (tollgate, _) = setting(&[("old", &old), ("other", &other)]).await;
    let toolset = |name: &str| json!({"spec": {"tools": [{"server": "old", "tool": "read", "name": name}]}});
    tollgate.put("toolsets/reading", toolset("look_up")).await;
    let agent = tollgate.agent("reader").grant("toolset/reading").create().await;
    let client = agent.at(&format!("{}/t/default/toolsets/reading", tollgate.data_url())).await;
    let mut listening = client.open("subscriptions/listen", json!({"notifications": {"toolsListChanged": true}})).await;
    next_of(&mut listening, "notifications/subscriptions/acknowledged").await;
    let session = client.initialize(VERSION).await;
    let mut stream = session.stream(None).await;
    eventually_true("the toolset's server to be listened to", || async { gets(&old) == 1 }).await;
    tollgate.put("toolsets/reading", toolset("read_it")).await;
    for stream in [&mut listening, &mut stream] {
        assert_eq!(next(stream).await["method"], "notifications/tools/list_changed", "and nothing of its resources");
    }
    assert_eq!(session.tool_names().await, ["read_it"]);
    assert_eq!(gets(&other), 0, "a server that is not in it is not listened to");
}
