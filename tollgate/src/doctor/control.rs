//! What can be seen of a control plane from outside.

use std::time::Duration;

use serde_json::Value;
use url::Url;

use super::Finding;
use crate::{api_client::ApiClient, call, failure::Exit, http_client::HttpClient};

pub(super) const TIMEOUT: Duration = Duration::from_secs(5);
/// Tokens are judged by their times: more than this and some of them look expired, or not yet valid.
const CLOCK_TOLERANCE_SECONDS: i64 = 30;

/// Reachable, ready, and of one mind about the time.
pub(super) async fn examine(http: &HttpClient, base: &Url) -> Vec<Finding> {
    const CHECK: &str = "control plane";
    let answer = match join(base, "/readyz") {
        Some(url) => http.get(&url, TIMEOUT).await,
        None => return vec![Finding::wrong(CHECK, format!("{base} is no base URL"), "correct --url or TOLLGATE_URL")],
    };
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => {
            let fix = "start it (`tollgate dev`), or correct --url or TOLLGATE_URL";
            return vec![Finding::wrong(CHECK, crate::failure::chain(&error), fix)];
        }
    };
    let state = if answer.status.is_success() {
        Finding::good(CHECK, format!("ready at {base}"))
    } else {
        let fix = "look at its log: most often it cannot reach its database";
        Finding::wrong(CHECK, format!("{base} answers, and is not ready ({})", answer.status), fix)
    };
    let clock = match answer.clock_ahead() {
        Some(ahead) if ahead.num_seconds().abs() > CLOCK_TOLERANCE_SECONDS => Finding::wrong(
            "clock",
            format!("the control plane's clock and this one are {} s apart", ahead.num_seconds().abs()),
            "let both machines take the time from NTP",
        ),
        Some(_) => Finding::good("clock", "the same as the control plane's"),
        None => Finding::doubtful("clock", "the control plane does not tell its time", "compare the clocks by hand"),
    };
    vec![state, clock]
}

/// Accepted, and for this tenant; returns the tenant as it was read.
pub(super) async fn examine_token(api: &ApiClient, tenant: &str) -> (Finding, Option<Value>) {
    const CHECK: &str = "API token";
    match api.get(&[], &[]).await {
        Ok(read) => (Finding::good(CHECK, format!("accepted in tenant {tenant}")), Some(read)),
        Err(failure) if failure.code() == Exit::Unavailable => {
            (Finding::doubtful(CHECK, format!("not tried: {failure}"), "see above"), None)
        }
        Err(failure) => {
            let fix = "use a token of this tenant: TOLLGATE_TOKEN, --token-file or ./.tollgate/admin-token";
            (Finding::wrong(CHECK, format!("tenant {tenant} cannot be read with it: {failure}"), fix), None)
        }
    }
}

/// What is said when there is none.
pub(super) fn no_token() -> Finding {
    let fix = "set TOLLGATE_TOKEN, or use --token-file, or run this where `tollgate dev` runs";
    Finding::doubtful("API token", "there is none, so that policy and metadata cannot be checked", fix)
}

/// RFC 8414: there, of the right issuer, and with keys to verify tokens by.
pub(super) async fn examine_metadata(http: &HttpClient, tenant: &Value) -> Finding {
    const CHECK: &str = "authorization server";
    let fix = "make TOLLGATE_PUBLIC_CONTROL_URL the URL under which agents reach the control plane";
    let status = &tenant["status"];
    let Some(issuer) = url_in(&status["issuer"]) else {
        return Finding::wrong(CHECK, "the tenant has no issuer", fix);
    };
    let metadata = match call::metadata(http, &issuer).await {
        Ok(metadata) => metadata,
        Err(failure) => return Finding::wrong(CHECK, failure.to_string(), fix),
    };
    if metadata["token_endpoint"] != status["token_url"] {
        let detail =
            format!("its metadata names {} for tokens, the API {}", metadata["token_endpoint"], status["token_url"]);
        return Finding::wrong(CHECK, detail, fix);
    }
    let Some(keys_url) = url_in(&metadata["jwks_uri"]) else {
        return Finding::wrong(CHECK, "its metadata names no keys", fix);
    };
    let keys = match http.get(&keys_url, TIMEOUT).await {
        Ok(answer) => answer.json()["keys"].as_array().map_or(0, Vec::len),
        Err(error) => return Finding::wrong(CHECK, crate::failure::chain(&error), fix),
    };
    match keys {
        0 => Finding::wrong(CHECK, format!("there is no key at {keys_url}"), "look at the control plane's log"),
        keys => Finding::good(CHECK, format!("{issuer}, {keys} signing key(s)")),
    }
}

/// A path at the root of a base URL's own path.
pub(super) fn join(base: &Url, path: &str) -> Option<Url> {
    Url::parse(&format!("{}{path}", base.as_str().trim_end_matches('/'))).ok()
}

/// A URL in a field.
pub(super) fn url_in(value: &Value) -> Option<Url> {
    Url::parse(value.as_str()?).ok()
}
