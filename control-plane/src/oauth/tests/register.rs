//! Dynamic registration and its management, on the whole router.

#![allow(clippy::needless_pass_by_value, reason = "what `json!` makes is handed over as it is")]

use std::collections::HashSet;

use axum::{
    body::Body,
    http::{Method, Request, header},
};
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};
use tollgate_proto::AgentId;

use crate::{
    oauth::{
        reap,
        testing::{Answer, Bed, Client, run},
    },
    secret::{Purpose, well_formed},
};

mod another;

const REGISTER: &str = "/t/acme/oauth/register";
const CALLBACK: &str = "https://app.example/callback";

fn public() -> Value {
    json!({
        "client_name": "Claude Code",
        "redirect_uris": ["http://localhost:7777/callback"],
        "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
    })
}

fn confidential() -> Value {
    json!({ "client_name": "Web App", "redirect_uris": [CALLBACK], "grant_types": ["authorization_code", "refresh_token"] })
}

impl Bed {
    async fn registering(&self, method: Method, path: &str, token: Option<&str>, body: Option<&Value>) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let body = body.map_or(Body::empty(), |body| Body::from(body.to_string()));
        let request = request.header(header::CONTENT_TYPE, "application/json");
        self.send(request.body(body).expect("a request")).await
    }

    async fn register(&self, metadata: &Value) -> Answer {
        self.registering(Method::POST, REGISTER, None, Some(metadata)).await
    }

    async fn registered(&self, metadata: &Value) -> Value {
        let answer = self.register(metadata).await;
        assert_eq!(answer.status, 201, "{:?}", answer.body);
        answer.json()
    }

    async fn manage(&self, method: Method, registered: &Value, body: Option<&Value>) -> Answer {
        let path = format!("{REGISTER}/{}", text(&registered["client_id"]));
        self.registering(method, &path, Some(text(&registered["registration_access_token"])), body).await
    }

    async fn settings(&self, settings: Value) {
        let mut tx = self.app.db.platform().await.expect("a transaction");
        sqlx::query("UPDATE tenants SET client_registration = $2 WHERE id = $1")
            .bind(self.tenant.uuid())
            .bind(settings)
            .execute(&mut *tx)
            .await
            .expect("settings");
        tx.commit().await.expect("committed");
    }

    async fn agents(&self) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM agents").fetch_one(&mut *self.tx().await).await.expect("a count")
    }

    async fn audited(&self) -> Vec<String> {
        sqlx::query_scalar("SELECT action || ' ' || object_name FROM audit_events ORDER BY id")
            .fetch_all(&mut *self.tx().await)
            .await
            .expect("events")
    }

    /// The agent as an operator sees it in the database.
    async fn agent_row(&self, client_id: &Value) -> Value {
        sqlx::query_scalar("SELECT to_jsonb(agents) FROM agents WHERE id = $1")
            .bind(id(client_id).uuid())
            .fetch_one(&mut *self.tx().await)
            .await
            .expect("an agent")
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn id(client_id: &Value) -> AgentId {
    text(client_id).parse().expect("an agent's id")
}

/// The answer's members without what is made anew each time.
fn stable(answer: &Value) -> Value {
    let mut members = answer.as_object().expect("an object").clone();
    for made in
        ["client_id", "client_id_issued_at", "client_secret", "registration_access_token", "registration_client_uri"]
    {
        members.remove(made);
    }
    Value::Object(members)
}

#[tokio::test]
async fn a_public_client_gets_an_id_and_no_secret() {
    run(async |bed| {
        let answer = bed.register(&public()).await;
        assert_eq!(answer.status, 201);
        assert_eq!(answer.header(header::CACHE_CONTROL), "no-store");
        assert_eq!(answer.header(header::PRAGMA), "no-cache");
        assert_eq!(answer.header(header::ACCESS_CONTROL_ALLOW_ORIGIN), "*");
        let registered = answer.json();
        let mut expected = public();
        expected["application_type"] = json!("native");
        assert_eq!(stable(&registered), expected);
        let client_id = text(&registered["client_id"]);
        assert!(client_id.starts_with("agt_"), "never like a URL");
        assert!(registered["client_id_issued_at"].as_i64().is_some_and(|at| at > 0));
        assert_eq!(registered["registration_client_uri"], format!("https://h{REGISTER}/{client_id}"));
        assert!(well_formed(Purpose::RegistrationAccessToken, text(&registered["registration_access_token"])));

        let row = bed.agent_row(&registered["client_id"]).await;
        assert_eq!((&row["origin"], &row["state"]), (&json!("registration"), &json!("active")));
        assert_eq!((&row["name"], &row["type"]), (&json!("claude-code"), &json!("interactive")));
        assert_eq!(row["grant_types"], json!(["authorization_code", "refresh_token"]));
        assert!(!row.to_string().contains(text(&registered["registration_access_token"])));
        assert_eq!(bed.audited().await, ["team.create default", "agent.register claude-code"]);
        let grants: i64 =
            sqlx::query_scalar("SELECT count(*) FROM grants").fetch_one(&mut *bed.tx().await).await.expect("a count");
        assert_eq!(grants, 0);
    })
    .await;
}

#[tokio::test]
async fn a_client_with_a_secret_is_told_it_once_and_may_not_act_for_itself() {
    run(async |bed| {
        let registered = bed.registered(&confidential()).await;
        assert_eq!(registered["token_endpoint_auth_method"], "client_secret_basic");
        assert_eq!(registered["client_secret_expires_at"], 0);
        let secret = text(&registered["client_secret"]).to_owned();
        assert!(well_formed(Purpose::Client, &secret));
        let stored: Vec<Vec<u8>> = sqlx::query_scalar("SELECT digest FROM agent_credentials")
            .fetch_all(&mut *bed.tx().await)
            .await
            .expect("digests");
        assert_eq!(stored, [crate::secret::Digest::of(&secret).as_bytes()]);
        let read = bed.manage(Method::GET, &registered, None).await;
        assert_eq!(read.status, 200);
        assert!(!read.json().as_object().expect("an object").contains_key("client_secret"));

        let agent = id(&registered["client_id"]);
        let client = Client { agent, id: agent.to_string(), secret };
        let answer = bed.token(&client, "").await;
        assert_eq!(answer.error(), (400, "unauthorized_client".to_owned()));
    })
    .await;
}

#[tokio::test]
async fn the_same_public_client_is_one_agent_however_often_it_registers() {
    run(async |bed| {
        let first = bed.registered(&public()).await;
        let mut again = public();
        again["redirect_uris"] = json!(["http://localhost:9999/callback"]);
        again["grant_types"] = json!(["refresh_token", "authorization_code"]);
        again["resource"] = json!("https://gw/t/acme/mcp");
        let second = bed.registered(&again).await;
        assert_eq!(first["client_id"], second["client_id"]);
        assert_eq!(bed.agents().await, 1);
        assert_ne!(first["registration_access_token"], second["registration_access_token"]);
        assert_eq!(bed.manage(Method::GET, &first, None).await.error().0, 401, "the older token is void");
        assert_eq!(bed.manage(Method::GET, &second, None).await.status, 200);

        // Clients that have a secret share nothing.
        let one = bed.registered(&confidential()).await;
        let other = bed.registered(&confidential()).await;
        assert_ne!(one["client_id"], other["client_id"]);
        assert_eq!(bed.agent_row(&other["client_id"]).await["name"], "web-app-2");
    })
    .await;
}

#[tokio::test]
async fn a_flood_of_few_bodies_makes_few_agents() {
    run(async |bed| {
        let body = |number: usize| {
            let mut body = public();
            body["client_name"] = json!(format!("Client {}", number % 20));
            body["redirect_uris"] = json!([format!("http://127.0.0.1:{}/cb", 2_000 + number)]);
            body
        };
        let answers = stream::iter(0..400).map(async |number| bed.registered(&body(number)).await);
        let answers: Vec<Value> = answers.buffer_unordered(16).collect().await;
        let ids: HashSet<&str> = answers.iter().map(|answer| text(&answer["client_id"])).collect();
        assert_eq!((ids.len(), bed.agents().await), (20, 20));
        let registrations = bed.audited().await.into_iter().filter(|event| event.starts_with("agent.register")).count();
        assert_eq!(registrations, 20, "registering again is no news");
    })
    .await;
}

#[tokio::test]
async fn strangers_who_come_and_go_are_slowed_down_and_leave_nothing() {
    run(async |bed| {
        let policy = async || -> i64 {
            sqlx::query_scalar("SELECT policy_revision FROM tenants WHERE id = $1")
                .bind(bed.tenant.uuid())
                .fetch_one(bed.app.db.pool())
                .await
                .expect("a revision")
        };
        let before = policy().await;
        let (mut turns, mut refused) = (0, 0);
        while refused < 2 {
            let answer = bed.register(&confidential()).await;
            if answer.status == 429 {
                assert_eq!(answer.error().1, "too_many_requests");
                assert!(answer.header(header::RETRY_AFTER).parse::<u32>().is_ok_and(|seconds| seconds > 0));
                refused += 1;
                continue;
            }
            let registered = answer.json();
            assert_eq!(bed.manage(Method::DELETE, &registered, None).await.status, 204);
            turns += 1;
        }
        assert_eq!(turns, 60, "two changes each");
        // Making the team and the agent, and deleting it.
        assert!(policy().await - before <= 3 * turns, "no policy for what is refused");
        assert_eq!(bed.count("revocations").await, 0, "nobody had a token");
        assert_eq!(bed.agents().await, 0);

        let other = bed.beside_on_its_own_connections().await;
        let known = other.registered(&public()).await;
        assert_eq!(other.registered(&public()).await["client_id"], known["client_id"]);
        let again = bed.register(&public()).await;
        assert_eq!(again.json()["client_id"], known["client_id"], "who is known changes nothing");
    })
    .await;
}

#[tokio::test]
async fn a_tenant_takes_so_many_and_no_more() {
    run(async |bed| {
        bed.settings(json!({ "clients_max": 2 })).await;
        let known = bed.registered(&public()).await;
        bed.registered(&confidential()).await;
        let refused = bed.register(&confidential()).await;
        assert_eq!(refused.error(), (429, "too_many_requests".to_owned()));
        assert!(refused.header(header::RETRY_AFTER).parse::<u32>().is_ok_and(|seconds| seconds > 0));
        assert_eq!(bed.registered(&public()).await["client_id"], known["client_id"], "who is known may come again");
        assert_eq!(bed.agents().await, 2);
        let credentials: i64 = sqlx::query_scalar("SELECT count(*) FROM agent_credentials")
            .fetch_one(&mut *bed.tx().await)
            .await
            .expect("a count");
        assert_eq!(credentials, 1);
    })
    .await;
}

#[tokio::test]
async fn bad_metadata_is_refused_with_its_code_and_leaves_nothing() {
    run(async |bed| {
        for (body, code) in [
            (json!({}), "invalid_redirect_uri"),
            (json!({ "redirect_uris": ["http://app.example/"] }), "invalid_redirect_uri"),
            (json!({ "redirect_uris": ["javascript:alert(1)//\"\\"] }), "invalid_redirect_uri"),
            (json!({ "redirect_uris": [CALLBACK], "grant_types": ["client_credentials"] }), "invalid_client_metadata"),
            (json!({ "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "magic" }), "invalid_client_metadata"),
            (json!({ "redirect_uris": [CALLBACK], "software_statement": "é\r\n" }), "invalid_software_statement"),
            (json!(null), "invalid_client_metadata"),
            (json!([]), "invalid_client_metadata"),
        ] {
            let answer = bed.register(&body).await;
            assert_eq!(answer.error(), (400, code.to_owned()), "{body}");
            assert_eq!(answer.header(header::CACHE_CONTROL), "no-store");
            let description = answer.json()["error_description"].to_string();
            assert!(description.is_ascii() && !description.contains('\\'), "{description}");
        }
        assert_eq!(bed.agents().await, 0);
        assert!(bed.audited().await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_registration_is_json_of_some_kilobytes_by_post() {
    run(async |bed| {
        let send = async |method: &str, path: &str, media_type: &str, body: String| {
            let request = Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, media_type);
            bed.send(request.body(Body::from(body)).expect("a request")).await
        };
        let form = send("POST", REGISTER, "application/x-www-form-urlencoded", "redirect_uris=x".to_owned()).await;
        assert_eq!(form.error(), (400, "invalid_request".to_owned()));
        let broken = send("POST", REGISTER, "application/json", "{".to_owned()).await;
        assert_eq!(broken.error(), (400, "invalid_client_metadata".to_owned()));
        let long = send("POST", REGISTER, "application/json", format!("\"{}\"", "a".repeat(16 * 1024))).await;
        assert_eq!(long.error(), (413, "invalid_request".to_owned()));
        let charset = send("POST", REGISTER, "application/json; charset=utf-8", public().to_string()).await;
        assert_eq!(charset.status, 201);
        let get = send("GET", REGISTER, "application/json", String::new()).await;
        assert_eq!((get.error().0, get.header(header::ALLOW)), (405, "POST, OPTIONS"));
        let post = send("POST", &format!("{REGISTER}/agt_x"), "application/json", String::new()).await;
        assert_eq!((post.error().0, post.header(header::ALLOW)), (405, "GET, PUT, DELETE, OPTIONS"));
        let nowhere = send("POST", "/t/nobody/oauth/register", "application/json", public().to_string()).await;
        assert_eq!(nowhere.error(), (404, "not_found".to_owned()));

        let preflight = send("OPTIONS", REGISTER, "application/json", String::new()).await;
        assert_eq!(preflight.status, 204);
        assert!(preflight.header(header::ACCESS_CONTROL_ALLOW_METHODS).contains("DELETE"));
        assert!(preflight.header(header::ACCESS_CONTROL_ALLOW_CREDENTIALS).is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_tenant_can_close_the_door() {
    run(async |bed| {
        bed.settings(json!({ "registration": "off", "client_documents": "off" })).await;
        assert_eq!(bed.register(&public()).await.error(), (403, "access_denied".to_owned()));
        assert_eq!(bed.agents().await, 0);
    })
    .await;
}

#[tokio::test]
async fn who_registers_under_approval_waits() {
    run(async |bed| {
        bed.settings(json!({ "registration": "approval" })).await;
        let registered = bed.registered(&public()).await;
        assert_eq!(bed.agent_row(&registered["client_id"]).await["state"], "waiting");
        assert_eq!(bed.registered(&public()).await["client_id"], registered["client_id"]);
        assert_eq!(bed.agent_row(&registered["client_id"]).await["state"], "waiting", "asking again approves nothing");
    })
    .await;
}

/// An initial access token with so many uses.
async fn initial_access_token(bed: &Bed, uses: i32) -> String {
    let made = crate::secret::generate(Purpose::InitialAccessToken);
    let mut tx = bed.tx().await;
    sqlx::query(
        "INSERT INTO initial_access_tokens (tenant_id, id, digest, created_by, expires_at, uses_left)
         VALUES ($1, gen_random_uuid(), $2, 'test', now() + interval '1 hour', $3)",
    )
    .bind(bed.tenant.uuid())
    .bind(made.digest.as_bytes())
    .bind(uses)
    .execute(&mut *tx)
    .await
    .expect("a token");
    tx.commit().await.expect("committed");
    made.text.to_string()
}

#[tokio::test]
async fn where_a_token_is_asked_for_each_use_makes_one_agent() {
    run(async |bed| {
        bed.settings(json!({ "registration": "initial_access_token" })).await;
        let token = initial_access_token(bed, 3).await;
        let register =
            async |token: Option<&str>, body: &Value| bed.registering(Method::POST, REGISTER, token, Some(body)).await;
        let missing = register(None, &public()).await;
        assert_eq!(missing.error(), (401, "invalid_token".to_owned()));
        assert_eq!(missing.header(header::WWW_AUTHENTICATE), "Bearer realm=\"https://h/t/acme\"");
        let mut in_body = public();
        in_body["initial_access_token"] = json!(token);
        assert_eq!(register(None, &in_body).await.status, 401, "a token in the body is none");
        let by_query = format!("{REGISTER}?access_token={token}");
        assert_eq!(bed.registering(Method::POST, &by_query, None, Some(&public())).await.status, 401);
        let wrong = crate::secret::generate(Purpose::InitialAccessToken).text;
        for wrong in [wrong.as_str(), "", "tgi_x", "tgi_ü"] {
            let refused = register(Some(wrong), &public()).await;
            assert_eq!(refused.status, 401, "{wrong}");
            assert!(refused.header(header::WWW_AUTHENTICATE).starts_with("Bearer"));
        }
        assert_eq!(register(Some(&token), &json!({})).await.status, 400, "what does not register uses nothing up");
        let answers = stream::iter(0..12).map(async |_| register(Some(&token), &confidential()).await.status.as_u16());
        let mut statuses: Vec<u16> = answers.buffer_unordered(12).collect().await;
        statuses.sort_unstable();
        assert_eq!(statuses, [vec![201; 3], vec![401; 9]].concat());
        assert_eq!(bed.agents().await, 3);

        let token = initial_access_token(bed, 5).await;
        bed.run("UPDATE initial_access_tokens SET expires_at = now() WHERE tenant_id = $1", bed.tenant.uuid()).await;
        let expired = register(Some(&token), &public()).await;
        assert!(expired.header(header::WWW_AUTHENTICATE).contains("error=\"invalid_token\""));
    })
    .await;
}

#[tokio::test]
async fn a_rule_gives_a_team_and_a_grant_and_says_so_in_the_audit_log() {
    run(async |bed| {
        bed.server("demo").await;
        let rules = json!([
            { "match": { "host": "trusted.example" }, "team": "core", "scopes": ["demo:echo", "gone:*"] },
            { "match": { "client_name": "Claude Code", "origin": "client_document" }, "scopes": ["demo:*"] },
        ]);
        bed.settings(json!({ "rules": rules })).await;
        let mut trusted = confidential();
        trusted["redirect_uris"] = json!(["https://app.trusted.example/cb"]);
        let registered = bed.registered(&trusted).await;
        let row = bed.agent_row(&registered["client_id"]).await;
        assert_eq!(row["spec"]["team"], "core");
        let (name, scopes): (String, Vec<String>) =
            sqlx::query_as("SELECT name, scopes FROM grants").fetch_one(&mut *bed.tx().await).await.expect("one grant");
        assert_eq!((name.as_str(), scopes), ("web-app", vec!["demo:echo".to_owned()]));
        assert_eq!(bed.audited().await, ["agent.register web-app", "grant.create web-app"]);

        // Another address beside the trusted one, and a name that anyone can choose: nothing is granted.
        trusted["redirect_uris"] = json!(["https://app.trusted.example/cb", "https://evil.example/cb"]);
        bed.registered(&trusted).await;
        bed.registered(&public()).await;
        let grants: i64 =
            sqlx::query_scalar("SELECT count(*) FROM grants").fetch_one(&mut *bed.tx().await).await.expect("a count");
        assert_eq!(grants, 1);
    })
    .await;
}

#[tokio::test]
async fn texts_of_clients_are_stored_raw_and_shown_escaped() {
    run(async |bed| {
        for nasty in [
            "<script>alert(1)</script>",
            "\"><img src=x onerror=alert(1)>",
            "{{7*7}}${7*7}<%= 7 %>",
            "'; DROP TABLE agents; --",
            "\u{202e}edualC\u{202c}",
        ] {
            let mut body = public();
            body["client_name"] = json!(nasty);
            for member in ["client_uri", "logo_uri", "tos_uri"] {
                body[member] = json!(format!("https://app.example/?{nasty}"));
            }
            let registered = bed.registered(&body).await;
            assert_eq!(registered["client_name"], nasty);
            let row = bed.agent_row(&registered["client_id"]).await;
            assert_eq!((&row["display_name"], &row["metadata"]["logo_uri"]), (&body["client_name"], &body["logo_uri"]));
            assert!(text(&row["name"]).bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'));
        }
    })
    .await;
}

#[tokio::test]
async fn a_client_reads_replaces_and_deletes_its_own_registration() {
    run(async |bed| {
        let mut first = confidential();
        first["client_uri"] = json!("https://app.example/");
        let registered = bed.registered(&first).await;
        let read = bed.manage(Method::GET, &registered, None).await;
        assert_eq!(read.status, 200);
        assert_eq!(read.header(header::CACHE_CONTROL), "no-store");
        assert_eq!(stable(&read.json()), stable(&registered));
        assert_eq!(read.json()["registration_access_token"], registered["registration_access_token"]);

        let mut replacement = confidential();
        replacement["client_id"] = registered["client_id"].clone();
        replacement["client_secret"] = registered["client_secret"].clone();
        replacement["redirect_uris"] = json!(["https://app.example/other"]);
        replacement["token_endpoint_auth_method"] = json!("client_secret_post");
        let replaced = bed.manage(Method::PUT, &registered, Some(&replacement)).await;
        assert_eq!(replaced.status, 200, "{:?}", replaced.body);
        let replaced = replaced.json();
        assert_eq!(replaced["client_id"], registered["client_id"]);
        assert_eq!(replaced["redirect_uris"], json!(["https://app.example/other"]));
        assert!(replaced.get("client_uri").is_none(), "what is left out is deleted");
        let row = bed.agent_row(&registered["client_id"]).await;
        assert_eq!(row["redirect_uris"], json!(["https://app.example/other"]));
        assert_eq!(row["auth_method"], "client_secret_post");
        assert_eq!(row["spec"]["redirect_uris"], row["redirect_uris"]);
        assert!(row["metadata"].get("client_uri").is_none());
        assert_eq!(bed.manage(Method::GET, &registered, None).await.error().0, 401, "the older token is void");
        assert_eq!(bed.manage(Method::GET, &replaced, None).await.status, 200);

        bed.run("UPDATE agents SET confirmed_at = now() WHERE id = $1", id(&registered["client_id"]).uuid()).await;
        let deleted = bed.manage(Method::DELETE, &replaced, None).await;
        assert_eq!((deleted.status.as_u16(), deleted.body.len()), (204, 0));
        assert_eq!(bed.agents().await, 0);
        assert_eq!(bed.manage(Method::GET, &replaced, None).await.error().0, 401);
        let events = ["team.create default", "agent.register web-app", "agent.update web-app", "agent.delete web-app"];
        assert_eq!(bed.audited().await, events);
        let revoked: String = sqlx::query_scalar("SELECT subject FROM revocations WHERE kind = 'agent'")
            .fetch_one(&mut *bed.tx().await)
            .await
            .expect("its tokens are revoked");
        assert_eq!(json!(revoked), registered["client_id"]);
    })
    .await;
}

#[tokio::test]
async fn a_replacement_that_says_too_much_or_too_little_changes_nothing() {
    run(async |bed| {
        let registered = bed.registered(&confidential()).await;
        let mut good = confidential();
        good["client_id"] = registered["client_id"].clone();
        for changes in [
            json!({ "client_id": null }),
            json!({ "client_id": "agt_other" }),
            json!({ "registration_access_token": registered["registration_access_token"] }),
            json!({ "registration_client_uri": registered["registration_client_uri"] }),
            json!({ "client_secret_expires_at": 0 }),
            json!({ "client_id_issued_at": registered["client_id_issued_at"] }),
            json!({ "client_secret": "tgs_wrong" }),
            json!({ "client_secret": 1 }),
            json!({ "token_endpoint_auth_method": "none" }),
        ] {
            let mut body = good.clone();
            body.as_object_mut().expect("an object").extend(changes.as_object().expect("an object").clone());
            let answer = bed.manage(Method::PUT, &registered, Some(&body)).await;
            assert_eq!(answer.error(), (400, "invalid_client_metadata".to_owned()), "{changes}");
        }
        good["redirect_uris"] = json!(["http://app.example/"]);
        let answer = bed.manage(Method::PUT, &registered, Some(&good)).await;
        assert_eq!(answer.error(), (400, "invalid_redirect_uri".to_owned()));
        assert_eq!(bed.manage(Method::GET, &registered, None).await.status, 200, "the token still manages");
        assert_eq!(bed.agent_row(&registered["client_id"]).await["revision"], 1);
    })
    .await;
}

#[tokio::test]
async fn a_token_manages_its_own_client_alone() {
    run(async |bed| {
        let mine = bed.registered(&confidential()).await;
        let other = bed.registered(&confidential()).await;
        let mut crossed = other.clone();
        crossed["registration_access_token"] = mine["registration_access_token"].clone();
        let answer = bed.manage(Method::GET, &crossed, None).await;
        assert_eq!(answer.error(), (401, "invalid_token".to_owned()));
        assert_eq!(bed.manage(Method::GET, &mine, None).await.status, 401, "whoever holds it is not to be trusted");
        assert_eq!(bed.manage(Method::GET, &other, None).await.status, 200);

        let static_client = bed.agent("ci-bot", &[]).await;
        let path = format!("{REGISTER}/{}", static_client.id);
        let token = text(&other["registration_access_token"]);
        let answer = bed.registering(Method::GET, &path, None, None).await;
        assert_eq!(answer.error(), (403, "access_denied".to_owned()));
        for (path, token) in [
            (format!("{REGISTER}/agt_nobody"), "tgm_wrong"),
            (format!("{REGISTER}/{}", text(&mine["client_id"])), "tgm_wrong"),
            (format!("{REGISTER}/{}", AgentId::new()), token),
        ] {
            assert_eq!(bed.registering(Method::GET, &path, Some(token), None).await.status, 401, "{path}");
        }
    })
    .await;
}

#[tokio::test]
async fn nobody_turns_a_shared_registration_against_the_others() {
    run(async |bed| {
        let registered = bed.registered(&public()).await;
        let mut body = public();
        body["client_id"] = registered["client_id"].clone();
        body["redirect_uris"] = json!(["http://localhost:1/callback"]);
        let same = bed.manage(Method::PUT, &registered, Some(&body)).await;
        assert_eq!(same.status, 200, "another port is the same client");
        let mine = same.json();
        body["redirect_uris"] = json!(["https://evil.example/callback"]);
        let answer = bed.manage(Method::PUT, &mine, Some(&body)).await;
        assert_eq!(answer.error(), (400, "invalid_client_metadata".to_owned()));

        bed.run("UPDATE agents SET confirmed_at = now() WHERE id = $1", id(&mine["client_id"]).uuid()).await;
        let answer = bed.manage(Method::DELETE, &mine, None).await;
        assert_eq!(answer.error(), (403, "access_denied".to_owned()));
        bed.run("UPDATE agents SET confirmed_at = NULL WHERE id = $1", id(&mine["client_id"]).uuid()).await;
        bed.grant(Some(id(&mine["client_id"])), &["demo:*"], false).await;
        assert_eq!(bed.manage(Method::DELETE, &mine, None).await.status, 403, "an operator relies on it");
        assert_eq!(bed.agents().await, 1);
    })
    .await;
}

/// A registered client that was made, and last used, so many hours ago.
async fn aged(bed: &Bed, name: &str, hours: i32) -> AgentId {
    let mut body = public();
    body["client_name"] = json!(name);
    let agent = id(&bed.registered(&body).await["client_id"]);
    let mut tx = bed.tx().await;
    sqlx::query("UPDATE agents SET created_at = now() - make_interval(hours => $2) WHERE id = $1")
        .bind(agent.uuid())
        .bind(hours)
        .execute(&mut *tx)
        .await
        .expect("time passes");
    tx.commit().await.expect("committed");
    agent
}

/// A grant family of the agent, with a refresh token that has a day to live.
async fn refresh_token(bed: &Bed, agent: AgentId) {
    let mut tx = bed.tx().await;
    for statement in [
        "INSERT INTO users (tenant_id, id, email, role) VALUES ($1, $2, $2::text, 'viewer')",
        "INSERT INTO authorizations (tenant_id, id, agent_id, user_id, transaction_id, session_digest, resources, scopes,
                                     authenticated_at, expires_at)
         VALUES ($1, $2, $2, $2, $2, '', '{r}', '{}', now(), now() + interval '1 day')",
        "INSERT INTO refresh_tokens (tenant_id, digest, authorization_id, expires_at)
         VALUES ($1, decode(replace($2::text, '-', ''), 'hex'), $2, now() + interval '1 day')",
    ] {
        sqlx::query(statement).bind(bed.tenant.uuid()).bind(agent.uuid()).execute(&mut *tx).await.expect(statement);
    }
    tx.commit().await.expect("committed");
}

#[tokio::test]
async fn clients_that_nobody_uses_are_reaped_and_the_others_stay() {
    run(async |bed| {
        let names = async || -> Vec<String> {
            let mut tx = bed.tx().await;
            sqlx::query_scalar("SELECT name FROM agents ORDER BY name").fetch_all(&mut *tx).await.expect("names")
        };
        aged(bed, "young", 23).await;
        aged(bed, "old", 25).await;
        bed.grant(Some(aged(bed, "granted", 25).await), &["demo:*"], false).await;
        refresh_token(bed, aged(bed, "live", 25).await).await;
        let used = "UPDATE agents SET confirmed_at = now() - interval '91 days', last_used_at = now() WHERE id = $1";
        bed.run(used, aged(bed, "used", 2_200).await.uuid()).await;
        let idle = "UPDATE agents SET confirmed_at = now() - interval '91 days' WHERE id = $1";
        bed.run(idle, aged(bed, "idle", 2_200).await.uuid()).await;
        bed.run("UPDATE agents SET state = 'suspended' WHERE id = $1", aged(bed, "bad", 25).await.uuid()).await;
        bed.run("UPDATE agents SET state = 'waiting' WHERE id = $1", aged(bed, "patient", 25).await.uuid()).await;
        bed.run("UPDATE agents SET state = 'waiting' WHERE id = $1", aged(bed, "forgotten", 170).await.uuid()).await;
        bed.agent("made-by-an-admin", &[]).await;
        bed.run(
            "UPDATE agents SET created_at = now() - interval '1 year' WHERE origin = 'admin' AND tenant_id = $1",
            bed.tenant.uuid(),
        )
        .await;

        assert_eq!(reap(&bed.app, bed.tenant).await.expect("reaped"), 3);
        assert_eq!(names().await, ["bad", "granted", "live", "made-by-an-admin", "patient", "used", "young"]);
        assert_eq!(reap(&bed.app, bed.tenant).await.expect("nothing to do"), 0);
        let mut expired: Vec<String> = bed.audited().await;
        expired.retain(|event| event.starts_with("agent.expire"));
        assert_eq!(expired, ["agent.expire old", "agent.expire idle", "agent.expire forgotten"]);

        bed.run("UPDATE refresh_tokens SET expires_at = now() WHERE tenant_id = $1", bed.tenant.uuid()).await;
        bed.settings(json!({ "unconfirmed_ttl_s": 3_600 })).await;
        assert_eq!(reap(&bed.app, bed.tenant).await.expect("reaped"), 2);
        assert_eq!(names().await, ["bad", "granted", "made-by-an-admin", "patient", "used"]);
    })
    .await;
}

#[tokio::test]
async fn registering_again_keeps_a_client_and_a_reaped_one_comes_back_as_another() {
    run(async |bed| {
        let first = aged(bed, "Claude Code", 25).await;
        bed.registered(&public()).await;
        assert_eq!(reap(&bed.app, bed.tenant).await.expect("nothing to do"), 0);
        bed.run("UPDATE agents SET last_used_at = created_at WHERE id = $1", first.uuid()).await;
        assert_eq!(reap(&bed.app, bed.tenant).await.expect("reaped"), 1);
        assert_ne!(id(&bed.registered(&public()).await["client_id"]), first);
    })
    .await;
}

#[tokio::test]
async fn when_postgres_is_away_nobody_is_told_that_its_metadata_is_bad() {
    run(async |bed| {
        bed.registered(&public()).await;
        bed.app.db.pool().close().await;
        let answer = bed.register(&public()).await;
        assert_eq!(answer.error(), (503, "temporarily_unavailable".to_owned()));
        assert!(!answer.header(header::RETRY_AFTER).is_empty());
    })
    .await;
}
