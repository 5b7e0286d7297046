//! The REST API as the client commands use it: one tenant, one token, problems turned into failures.
//!
//! Invariant: an answer that is no success never looks like one: every method returns a [`Failure`] for it, with the
//! request's id.

use std::{path::PathBuf, time::Duration};

use http_body_util::Full;
use hyper::{
    Method, StatusCode,
    body::Bytes,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, ETAG, HeaderValue, IF_MATCH, IF_NONE_MATCH},
};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use url::Url;

use crate::{
    failure::{Exit, Failure, OrFail as _},
    http_client::{Answer, HttpClient, to},
    terminal,
};

const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Where `tollgate dev` leaves its token, seen from where it was started.
const DEV_TOKEN_FILE: &str = ".tollgate/admin-token";
const PAGE_ITEMS_MAX: usize = 500;

/// Where the control plane is, and who asks.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Control plane")]
pub(crate) struct ClientArgs {
    /// Base URL of the control plane
    #[arg(long, value_name = "URL", env = "TOLLGATE_URL", default_value = "http://127.0.0.1:7400")]
    pub(crate) url: Url,
    /// API token (other users of this machine can see flags: prefer the variable or --token-file)
    #[arg(long, value_name = "TOKEN", env = "TOLLGATE_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// File that holds the API token [without any: ./.tollgate/admin-token, when it is there]
    #[arg(long, value_name = "FILE", env = "TOLLGATE_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// Tenant to work in
    #[arg(long, value_name = "NAME", env = "TOLLGATE_TENANT", default_value = "default")]
    pub(crate) tenant: String,
}

impl ClientArgs {
    /// The token that was given or that `tollgate dev` left, if any.
    pub(crate) fn token(&self) -> Result<Option<SecretString>, Failure> {
        let file = match (&self.token_file, &self.token) {
            (Some(file), _) => file.clone(),
            (None, Some(token)) => return Ok(Some(token.trim().into())),
            (None, None) => PathBuf::from(DEV_TOKEN_FILE),
        };
        if self.token_file.is_none() && !file.exists() {
            return Ok(None);
        }
        let token = std::fs::read_to_string(&file)
            .or_fail(format!("cannot read the token in {}", file.display()))
            .map_err(|failure| failure.exit(Exit::Auth))?;
        Ok(Some(token.trim().into()))
    }
}

/// A stored object and its version.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) body: Value,
    /// As `If-Match` wants it.
    pub(crate) etag: String,
}

/// What must hold for a write to be done.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Precondition<'a> {
    /// Nothing is there yet.
    Absent,
    /// The version that was read is still the newest.
    Unchanged(&'a str),
    /// Anything goes.
    None,
}

/// A control plane, seen by one caller in one tenant, or in the installation as a whole.
#[derive(Debug, Clone)]
pub(crate) struct ApiClient {
    http: HttpClient,
    base: Url,
    token: SecretString,
    /// Absent: the installation.
    tenant: Option<String>,
}

impl ApiClient {
    /// For the place and token that the command line gives.
    pub(crate) fn from_args(args: &ClientArgs) -> Result<Self, Failure> {
        let token = args.token()?.ok_or_else(|| {
            Failure::new("there is no API token")
                .exit(Exit::Auth)
                .why(format!("none was given, and there is no ./{DEV_TOKEN_FILE}"))
                .cure("set TOLLGATE_TOKEN, or use --token-file, or run this where `tollgate dev` runs")
        })?;
        Ok(Self::new(args.url.clone(), token, args.tenant.clone()))
    }

    /// For a known place and token.
    pub(crate) fn new(base: Url, token: SecretString, tenant: String) -> Self {
        Self { http: HttpClient::new(), base, token, tenant: Some(tenant) }
    }

    /// The same caller in another tenant.
    pub(crate) fn in_tenant(&self, tenant: &str) -> Self {
        Self { tenant: Some(tenant.to_owned()), ..self.clone() }
    }

    /// The same caller where what is no tenant's lies.
    pub(crate) fn in_installation(&self) -> Self {
        Self { tenant: None, ..self.clone() }
    }

    /// The URL of something in the tenant: its path segments (escaped here) and its query.
    pub(crate) fn url(&self, segments: &[&str], query: &[(&str, &str)]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["api", "v1"]);
            path.extend(self.tenant.iter().flat_map(|tenant| ["tenants", tenant])).extend(segments);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    /// Reads an object or a report.
    pub(crate) async fn get(&self, segments: &[&str], query: &[(&str, &str)]) -> Result<Value, Failure> {
        let answer = self.send(Method::GET, &self.url(segments, query), None, Precondition::None).await?;
        success(&answer).map(|()| answer.json())
    }

    /// Reads a report as the text that it is sent as.
    pub(crate) async fn get_text(&self, segments: &[&str], query: &[(&str, &str)]) -> Result<String, Failure> {
        let answer = self.send(Method::GET, &self.url(segments, query), None, Precondition::None).await?;
        success(&answer).map(|()| String::from_utf8_lossy(&answer.body).into_owned())
    }

    /// Reads an object that may not exist.
    pub(crate) async fn find(&self, segments: &[&str]) -> Result<Option<Stored>, Failure> {
        let answer = self.send(Method::GET, &self.url(segments, &[]), None, Precondition::None).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        success(&answer)?;
        let etag = answer.header(ETAG.as_str()).unwrap_or("*").to_owned();
        Ok(Some(Stored { body: answer.json(), etag }))
    }

    /// Reads every item of a collection, page by page.
    pub(crate) async fn list(&self, collection: &str) -> Result<Vec<Value>, Failure> {
        self.list_some(collection, &[], usize::MAX).await
    }

    /// Reads the first items of a collection, as `agents` or `agents/NAME/credentials`, that fit a query.
    pub(crate) async fn list_some(
        &self,
        collection: &str,
        narrowed: &[(&str, &str)],
        items_max: usize,
    ) -> Result<Vec<Value>, Failure> {
        let segments: Vec<&str> = collection.split('/').collect();
        let mut items = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let limit = items_max.saturating_sub(items.len()).clamp(1, PAGE_ITEMS_MAX).to_string();
            let mut query = narrowed.to_vec();
            query.push(("limit", &limit));
            query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let mut page = self.get(&segments, &query).await?;
            if let Some(Value::Array(page)) = page.get_mut("items").map(Value::take) {
                items.extend(page);
            }
            match page["next_cursor"].as_str() {
                Some(next) if items.len() < items_max => cursor = Some(next.to_owned()),
                _ => {
                    items.truncate(items_max);
                    return Ok(items);
                }
            }
        }
    }

    /// Creates something, or does a custom action.
    pub(crate) async fn post(&self, segments: &[&str], body: &Value) -> Result<Value, Failure> {
        self.post_if(segments, Precondition::None, body).await
    }

    /// Does a custom action if what must hold does.
    pub(crate) async fn post_if(
        &self,
        segments: &[&str],
        precondition: Precondition<'_>,
        body: &Value,
    ) -> Result<Value, Failure> {
        let answer = self.send(Method::POST, &self.url(segments, &[]), Some(body), precondition).await?;
        success(&answer).map(|()| answer.json())
    }

    /// Creates or replaces an object by name.
    pub(crate) async fn put(
        &self,
        segments: &[&str],
        precondition: Precondition<'_>,
        body: &Value,
    ) -> Result<Value, Failure> {
        let answer = self.send(Method::PUT, &self.url(segments, &[]), Some(body), precondition).await?;
        success(&answer).map(|()| answer.json())
    }

    /// Changes parts of an object (JSON Merge Patch, RFC 7396).
    pub(crate) async fn patch(&self, segments: &[&str], etag: &str, body: &Value) -> Result<Value, Failure> {
        let precondition = Precondition::Unchanged(etag);
        let answer = self.send(Method::PATCH, &self.url(segments, &[]), Some(body), precondition).await?;
        success(&answer).map(|()| answer.json())
    }

    /// Deletes an object that has no versions.
    pub(crate) async fn delete(&self, segments: &[&str]) -> Result<(), Failure> {
        self.delete_if(segments, Precondition::None).await
    }

    /// Deletes an object if what must hold does.
    pub(crate) async fn delete_if(&self, segments: &[&str], precondition: Precondition<'_>) -> Result<(), Failure> {
        success(&self.send(Method::DELETE, &self.url(segments, &[]), None, precondition).await?)
    }

    async fn send(
        &self,
        method: Method,
        url: &Url,
        body: Option<&Value>,
        precondition: Precondition<'_>,
    ) -> Result<Answer, Failure> {
        let media_type = if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
        let mut authorization = HeaderValue::try_from(format!("Bearer {}", self.token.expose_secret()))
            .map_err(|_| Failure::new("the API token has characters that no token has").exit(Exit::Auth))?;
        authorization.set_sensitive(true);
        let mut request = to(method, url).header(AUTHORIZATION, authorization).header(ACCEPT, "application/json");
        request = match precondition {
            Precondition::Absent => request.header(IF_NONE_MATCH, "*"),
            Precondition::Unchanged(etag) => request.header(IF_MATCH, etag),
            Precondition::None => request,
        };
        if body.is_some() {
            request = request.header(CONTENT_TYPE, media_type);
        }
        let body = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let request = request.body(Full::new(body)).or_fail("cannot make the request")?;
        let answer = self.http.fetch(request, ANSWER_TIMEOUT).await;
        answer.map_err(|error| Failure::from(error).cure(format!("is a control plane running on {}?", self.base)))
    }
}

/// Ok for a success; else what the problem document says (RFC 9457).
pub(crate) fn success(answer: &Answer) -> Result<(), Failure> {
    if answer.status.is_success() {
        return Ok(());
    }
    let problem = answer.json();
    let text = |field: &str| problem[field].as_str().map(terminal::line);
    let what = text("detail")
        .or_else(|| text("title"))
        .or_else(|| text("error_description"))
        .unwrap_or_else(|| format!("the answer was {}", answer.status));
    let mut failure =
        Failure::new(what).exit(exit_of(answer.status)).request_id(answer.header("x-request-id").map(str::to_owned));
    for error in problem["errors"].as_array().into_iter().flatten() {
        let pointer = error["pointer"].as_str().unwrap_or_default();
        let detail = error["detail"].as_str().or_else(|| error["code"].as_str()).unwrap_or_default();
        failure = failure.why(terminal::line(&format!("{pointer}: {detail}")));
    }
    Err(match cure_of(answer.status) {
        Some(cure) => failure.cure(cure),
        None => failure,
    })
}

fn exit_of(status: StatusCode) -> Exit {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Exit::Auth,
        StatusCode::NOT_FOUND => Exit::NotFound,
        StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED | StatusCode::PRECONDITION_REQUIRED => Exit::Conflict,
        StatusCode::TOO_MANY_REQUESTS => Exit::Unavailable,
        status if status.is_server_error() && status != StatusCode::INTERNAL_SERVER_ERROR => Exit::Unavailable,
        _ => Exit::Error,
    }
}

fn cure_of(status: StatusCode) -> Option<&'static str> {
    Some(match status {
        StatusCode::UNAUTHORIZED => "check the token: TOLLGATE_TOKEN, --token-file or ./.tollgate/admin-token",
        StatusCode::FORBIDDEN => "use a token of a role that may do this",
        StatusCode::NOT_FOUND => "check the name and the tenant (`tollgate get KIND` lists what there is)",
        StatusCode::PRECONDITION_FAILED => {
            "someone changed it meanwhile: look at what is there now, then repeat the command"
        }
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => "try again in a moment",
        _ => return None,
    })
}
