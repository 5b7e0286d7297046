//! What the binary says and returns, seen as a user or a script sees it.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use axum::{
    Json, Router,
    http::{HeaderMap, StatusCode, header::ETAG},
    response::IntoResponse as _,
    routing::get,
};
use serde_json::json;

/// A directory of one's own, so that no token lies about.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("tollgate-cli-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&path).expect("a directory");
        Self(path)
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("a file");
        path.display().to_string()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn tollgate(directory: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TOLLGATE_")) {
        command.env_remove(name);
    }
    let variables = variables.iter().copied();
    command.current_dir(directory).envs(variables).args(arguments).output().expect("the binary runs")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("an exit code")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn help_is_data_and_names_every_command() {
    let place = Place::new();
    let output = tollgate(&place.0, &[], &["--help"]);
    assert_eq!((code(&output), stderr(&output).as_str()), (0, ""));
    for command in [
        "dev",
        "control-plane",
        "data-plane",
        "demo-server",
        "apply",
        "get",
        "agents",
        "data-planes",
        "enrollment-tokens",
        "call",
        "usage",
        "sign-in-link",
        "doctor",
    ] {
        assert!(stdout(&output).contains(&format!("\n  {command} ")), "{command} is not in {}", stdout(&output));
        let help = tollgate(&place.0, &[], &[command, "--help"]);
        assert_eq!(code(&help), 0, "{command}");
    }
}

#[test]
fn a_roles_help_shows_the_settings_that_it_uses() {
    let place = Place::new();
    let data = stdout(&tollgate(&place.0, &[], &["data-plane", "--help"]));
    assert!(data.contains("--redis-url") && data.contains("[env: TOLLGATE_REDIS_URL]"), "{data}");
    assert!(!data.contains("--database-url"), "{data}");
}

#[test]
fn a_wrong_command_line_is_exit_code_3() {
    let place = Place::new();
    for arguments in [&[][..], &["nonsense"], &["call"], &["call", "demo"], &["get", "things"], &["usage"]] {
        let output = tollgate(&place.0, &[], arguments);
        assert_eq!(code(&output), 3, "{arguments:?}: {}", stderr(&output));
        assert_eq!(stdout(&output), "", "{arguments:?}");
    }
    let output = tollgate(&place.0, &[], &["get", "things"]);
    assert!(
        stderr(&output).contains(
            "`things` is no kind: use teams, identity-providers, servers, toolsets, agents, grants, limits, price-books, budgets, webhooks"
        ),
        "{}",
        stderr(&output)
    );
}

#[test]
fn without_a_token_the_cure_is_told() {
    let place = Place::new();
    let output = tollgate(&place.0, &[], &["get", "servers"]);
    assert_eq!(code(&output), 4);
    assert_eq!(
        stderr(&output),
        "error: there is no API token\n  \
           why: none was given, and there is no ./.tollgate/admin-token\n  \
           do:  set TOLLGATE_TOKEN, or use --token-file, or run this where `tollgate dev` runs\n"
    );
}

#[test]
fn a_control_plane_that_is_away_is_exit_code_7() {
    let place = Place::new();
    let url = [("TOLLGATE_URL", "http://127.0.0.1:9"), ("TOLLGATE_TOKEN", "tgk_secret")];
    let output = tollgate(&place.0, &url, &["get", "servers"]);
    assert_eq!(code(&output), 7, "{}", stderr(&output));
    assert!(stderr(&output).contains("cannot reach 127.0.0.1:9"), "{}", stderr(&output));
    assert!(!stderr(&output).contains("tgk_secret"), "{}", stderr(&output));
}

#[test]
fn a_file_with_a_mistake_is_refused_before_anything_is_sent() {
    let place = Place::new();
    let file = place.file("t.yaml", "apiVersion: tollgate/v1\nkind: Team\nmetadata: {name: a}\nspec: {colour: red}\n");
    let url = [("TOLLGATE_URL", "http://127.0.0.1:9"), ("TOLLGATE_TOKEN", "t")];
    let output = tollgate(&place.0, &url, &["apply", "-f", &file]);
    assert_eq!(code(&output), 1, "{}", stderr(&output));
    assert!(stderr(&output).contains("t.yaml:4: team/a: unknown field `colour`"), "{}", stderr(&output));
}

#[test]
fn print_config_shows_sources_and_hides_secrets() {
    let place = Place::new();
    let file =
        place.file("t.toml", "control_url = 'http://control:7401'\nredis_url = ['redis://:hunter2@a', 'redis://b']\n");
    let output = tollgate(
        &place.0,
        &[("TOLLGATE_ENROLLMENT_TOKEN", "hunter2")],
        &["data-plane", "--config", &file, "--ops-addr", "127.0.0.1:1", "--print-config"],
    );
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let printed = stdout(&output);
    assert!(!printed.contains("hunter2"), "{printed}");
    for line in [
        format!("control_url = \"http://control:7401\"  # {file}"),
        "ops_addr = \"127.0.0.1:1\"  # flag".to_owned(),
        "data_addr = \"127.0.0.1:7402\"  # default".to_owned(),
        "enrollment_token = \"(hidden)\"  # TOLLGATE_ENROLLMENT_TOKEN".to_owned(),
        format!("redis_url = \"redis://:***@a,redis://b\"  # {file}"),
    ] {
        assert!(printed.lines().any(|printed| printed == line), "{line} is not in {printed}");
    }
}

#[test]
fn a_role_reports_every_missing_setting_at_once() {
    let place = Place::new();
    let output = tollgate(&place.0, &[], &["control-plane", "--check"]);
    assert_eq!(code(&output), 3, "{}", stderr(&output));
    for setting in ["--database-url", "--master-key-file"] {
        assert!(stderr(&output).contains(setting), "{setting} is not in {}", stderr(&output));
    }
}

#[test]
fn a_taken_port_names_its_flag() {
    let place = Place::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = taken.local_addr().expect("an address").to_string();
    let free = "127.0.0.1:0";
    let output = tollgate(
        &place.0,
        &[],
        &["dev", "--control-addr", free, "--grpc-addr", free, "--data-addr", &addr, "--ops-addr", free],
    );
    assert_eq!(code(&output), 6, "{}", stderr(&output));
    assert!(stderr(&output).contains("choose another with --data-addr"), "{}", stderr(&output));
    assert!(!place.0.join(".tollgate").exists(), "nothing was begun");
}

/// A control plane that knows one team, and answers the rest as its API promises to.
async fn scripted_control_plane() -> String {
    async fn known() -> axum::response::Response {
        let team = json!({ "name": "known", "labels": {}, "spec": { "display_name": "Known" } });
        ([(ETAG, "\"7\"")], Json(team)).into_response()
    }
    async fn problem(status: StatusCode, detail: &str) -> axum::response::Response {
        let problem =
            json!({ "title": "x", "detail": detail, "errors": [{ "pointer": "/spec/a", "detail": "wrong" }] });
        (status, [("x-request-id", "req-1")], Json(problem)).into_response()
    }
    let teams = get(known).put(|headers: HeaderMap| async move {
        match headers.get("if-match").map(|etag| etag.as_bytes() == b"\"7\"") {
            Some(true) => Json(json!({})).into_response(),
            _ => problem(StatusCode::PRECONDITION_REQUIRED, "If-Match is missing").await,
        }
    });
    let missing =
        get(|| problem(StatusCode::NOT_FOUND, "there is no such team")).put(|headers: HeaderMap| async move {
            match headers.get("if-none-match") {
                Some(_) => StatusCode::CREATED.into_response(),
                None => problem(StatusCode::PRECONDITION_REQUIRED, "If-None-Match is missing").await,
            }
        });
    let tenant = json!({ "status": { "policy": { "revision": 3, "data_planes": [] } } });
    let base = "/api/v1/tenants/default";
    let router = Router::new()
        .route(base, get(move || async move { Json(tenant) }))
        .route(&format!("{base}/teams/known"), teams)
        .route(&format!("{base}/teams/new"), missing)
        .route(
            &format!("{base}/agents/busy/credentials"),
            axum::routing::post(|| problem(StatusCode::CONFLICT, "two already")),
        )
        .route(&format!("{base}/servers/hidden"), get(|| problem(StatusCode::UNAUTHORIZED, "no")))
        .route(&format!("{base}/servers/down"), get(|| problem(StatusCode::SERVICE_UNAVAILABLE, "away")));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_refusal_has_its_exit_code_and_request_id() {
    let place = Place::new();
    let url = scripted_control_plane().await;
    let variables = [("TOLLGATE_URL", url.as_str()), ("TOLLGATE_TOKEN", "t")];
    let expected: [(&[&str], i32); 4] = [
        (&["get", "team", "new"], 5),
        (&["agents", "secret", "busy"], 6),
        (&["get", "server", "hidden"], 4),
        (&["get", "server", "down"], 7),
    ];
    for (arguments, expected) in expected {
        let output = tollgate(&place.0, &variables, arguments);
        assert_eq!(code(&output), expected, "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains("request id: req-1"), "{}", stderr(&output));
        assert!(stderr(&output).contains("why: /spec/a: wrong"), "{}", stderr(&output));
        assert_eq!(stdout(&output), "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn apply_creates_updates_and_leaves_alone() {
    let place = Place::new();
    let url = scripted_control_plane().await;
    let variables = [("TOLLGATE_URL", url.as_str()), ("TOLLGATE_TOKEN", "t")];
    let team = |name: &str, title: &str| {
        format!("apiVersion: tollgate/v1\nkind: Team\nmetadata: {{name: {name}}}\nspec: {{display_name: {title}}}\n")
    };
    let file = place.file("t.yaml", &[team("new", "New"), team("known", "Known")].join("---\n"));
    let output = tollgate(&place.0, &variables, &["apply", "-f", &file]);
    assert_eq!(stdout(&output), "created team/new\nunchanged team/known\n", "{}", stderr(&output));
    assert!(stderr(&output).contains("no data plane is connected"), "{}", stderr(&output));
    let file = place.file("t.yaml", &team("known", "Changed"));
    let output = tollgate(&place.0, &variables, &["apply", "-f", &file]);
    assert_eq!(stdout(&output), "updated team/known\n", "{}", stderr(&output));
}
