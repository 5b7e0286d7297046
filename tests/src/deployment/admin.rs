//! What an administrator does with a deployment: over the REST API, and with the client commands.
//!
//! Invariant: what changes policy returns when every data plane serves the change.

use std::{path::Path, process::Command};

use http::Method;
use serde_json::{Value, json};

use super::Deployment;
use crate::{
    binary::{self, CommandOutput, tollgate_binary},
    http::Answer,
    scripted::ScriptedServer,
    wait::eventually_true,
};

impl Deployment {
    /// Lets servers live on this machine, as `dev` does by itself and a control plane does not.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn allow_loopback_servers(&self) {
        if self.is_dev() {
            return;
        }
        self.change_tenant(json!({"egress_allow": ["127.0.0.0/8"]})).await;
    }

    /// Says what holds while no control plane is heard, and waits until it is in force.
    pub async fn when_stale(&self, max_stale: &str, destructive: &str) {
        self.change_tenant(json!({"staleness": {"max_stale": max_stale, "destructive": destructive}})).await;
        self.policy_in_force().await;
    }

    /// Changes settings of the tenant; those that `spec` leaves out stay.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn change_tenant(&self, spec: Value) {
        let tenant = self.rest(Method::GET, "", &[], &Value::Null).await;
        let etag = tenant.header("etag").expect("a tenant has an ETag");
        let answer = self.rest(Method::PATCH, "", &[("if-match", etag)], &json!({ "spec": spec })).await;
        assert_eq!(answer.status, 200, "PATCH tenant: {}", answer.text());
    }

    /// Registers a scripted server under a name.
    pub async fn register(&self, name: &str, server: &ScriptedServer) {
        self.register_url(name, &server.url()).await;
    }

    /// Registers whatever speaks MCP at a URL.
    pub async fn register_url(&self, name: &str, url: &str) {
        self.put(&format!("servers/{name}"), json!({"spec": {"instances": [{"url": url}]}})).await;
        self.policy_in_force().await;
    }

    /// Makes a toolset, or replaces it.
    pub async fn toolset(&self, name: &str, spec: Value) {
        self.put(&format!("toolsets/{name}"), json!({"spec": spec})).await;
        self.policy_in_force().await;
    }

    /// Limits an agent's requests.
    pub async fn limit(&self, agent: &str, count: u32, per: &str) {
        let rate = json!({"count": count, "per": per});
        self.limits(agent, json!({"to": {"agent": agent}, "requests": rate})).await;
    }

    /// Puts a limit, and waits until it is in force.
    pub async fn limits(&self, name: &str, spec: Value) {
        self.put(&format!("limits/{name}"), json!({"spec": spec})).await;
        self.policy_in_force().await;
    }

    /// Applies YAML with the real command, and waits until it is in force.
    ///
    /// # Panics
    /// When the command fails.
    pub async fn apply(&self, yaml: &str) -> CommandOutput {
        let output = self.command_with_input(&["apply", "-f", "-"], yaml).await.success();
        self.policy_in_force().await;
        output
    }

    /// Runs a client command as the administrator.
    pub async fn command(&self, arguments: &[&str]) -> CommandOutput {
        self.command_with_input(arguments, "").await
    }

    /// Applies a file with the real command, in an environment that has these variables too.
    ///
    /// # Panics
    /// When the command fails.
    pub async fn apply_file(&self, file: &Path, variables: &[(&str, &str)]) -> CommandOutput {
        let file = file.to_str().expect("the path is text");
        let output = self.run(&["apply", "-f", file], variables, "").await.success();
        self.policy_in_force().await;
        output
    }

    /// Runs a client command as the administrator, with something on its standard input.
    pub async fn command_with_input(&self, arguments: &[&str], input: &str) -> CommandOutput {
        self.run(arguments, &[], input).await
    }

    async fn run(&self, arguments: &[&str], variables: &[(&str, &str)], input: &str) -> CommandOutput {
        let mut command = Command::new(tollgate_binary());
        command
            .args(arguments)
            .envs(variables.iter().copied())
            .env("TOLLGATE_URL", &self.control_url)
            .env("TOLLGATE_TOKEN", &self.admin_token)
            .env("TOLLGATE_OPS_URL", self.ops_url(0))
            .env("NO_COLOR", "1");
        binary::run(command, input.as_bytes().to_vec()).await
    }

    /// Sends a request to the REST API of tenant `default` as the administrator. `path` starts behind the tenant.
    ///
    /// # Panics
    /// When the control plane cannot be reached.
    pub async fn rest(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        self.ask(&self.control_url, method, path, headers, body).await
    }

    /// As [`Self::rest`], of the control plane at `base`.
    pub(super) async fn ask(
        &self,
        base: &str,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Answer {
        let url = format!("{base}/api/v1/tenants/default{}{path}", if path.is_empty() { "" } else { "/" });
        let bearer = format!("Bearer {}", self.admin_token);
        let mut headers = headers.to_vec();
        headers.push(("authorization", &bearer));
        let body = if body.is_null() {
            String::new()
        } else {
            headers.push(("content-type", "application/json"));
            body.to_string()
        };
        self.http.send(method, &url, &headers, body).await.unwrap_or_else(|error| panic!("{url}: {error:#}"))
    }

    /// Reads from the REST API.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn get(&self, path: &str) -> Value {
        let answer = self.rest(Method::GET, path, &[], &Value::Null).await;
        assert_eq!(answer.status, 200, "GET {path}: {}", answer.text());
        answer.json()
    }

    /// Creates or replaces an object.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn put(&self, path: &str, body: Value) -> Value {
        let now = self.rest(Method::GET, path, &[], &Value::Null).await;
        let etag = now.header("etag").filter(|_| now.status == 200);
        let precondition: Vec<(&str, &str)> = etag.map(|etag| ("if-match", etag)).into_iter().collect();
        let answer = self.rest(Method::PUT, path, &precondition, &body).await;
        assert!(matches!(answer.status, 200 | 201), "PUT {path}: {} {}", answer.status, answer.text());
        answer.json()
    }

    /// Deletes an object, and waits until that is in force.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn delete(&self, path: &str) {
        let now = self.rest(Method::GET, path, &[], &Value::Null).await;
        let etag = now.header("etag").unwrap_or_else(|| panic!("no ETag at {path}: {}", now.text()));
        let answer = self.rest(Method::DELETE, path, &[("if-match", etag)], &Value::Null).await;
        assert_eq!(answer.status, 204, "DELETE {path}: {}", answer.text());
        self.policy_in_force().await;
    }

    /// Waits until every connected data plane serves the tenant's newest policy.
    pub async fn policy_in_force(&self) {
        eventually_true("the data planes to acknowledge the newest policy", || async {
            let policy = &self.get("").await["status"]["policy"];
            let newest = policy["revision"].as_i64();
            let planes = policy["data_planes"].as_array().cloned().unwrap_or_default();
            let connected: Vec<_> = planes.iter().filter(|plane| plane["connected"] == true).collect();
            newest.is_some()
                && !connected.is_empty()
                && connected.iter().all(|plane| plane["acked_revision"].as_i64() == newest)
        })
        .await;
    }
}
