//! What can be seen of a data plane from outside.

use serde_json::Value;
use url::Url;

use super::{
    Finding,
    control::{TIMEOUT, join, url_in},
};
use crate::{
    convergence::{self, Convergence},
    failure::chain,
    http_client::HttpClient,
};

/// Reachable and ready, by its health port.
pub(super) async fn examine(http: &HttpClient, ops: &Url) -> Finding {
    const CHECK: &str = "data plane";
    let Some(url) = join(ops, "/readyz") else {
        return Finding::wrong(CHECK, format!("{ops} is no base URL"), "correct --ops-url or TOLLGATE_OPS_URL");
    };
    match http.get(&url, TIMEOUT).await {
        Ok(answer) if answer.status.is_success() => Finding::good(CHECK, format!("ready ({ops})")),
        Ok(answer) => {
            let fix = "it has no policy yet: check TOLLGATE_CONTROL_URL and the enrollment token in its log";
            Finding::wrong(CHECK, format!("{ops} answers, and is not ready ({})", answer.status), fix)
        }
        Err(error) => Finding::wrong(CHECK, chain(&error), "start it, or correct --ops-url or TOLLGATE_OPS_URL"),
    }
}

/// The newest policy is in force on every connected data plane.
pub(super) fn examine_policy(tenant: &Value) -> Finding {
    const CHECK: &str = "policy";
    let state = convergence::judge(&tenant["status"]["policy"]);
    let sentence = state.sentence();
    match state {
        Convergence::InStep { .. } => Finding::good(CHECK, sentence),
        Convergence::NobodyConnected => {
            Finding::wrong(CHECK, "no data plane is connected", "start one, and look at its log if there is one")
        }
        Convergence::Refused { .. } => {
            Finding::wrong(CHECK, sentence, "change what it refused; the data plane's log has more")
        }
        Convergence::Behind { .. } => Finding::doubtful(CHECK, sentence, "look again in a moment"),
    }
}

/// RFC 9728: the MCP endpoint says what it is and who gives tokens for it.
pub(super) async fn examine_metadata(http: &HttpClient, tenant: &Value) -> Finding {
    const CHECK: &str = "MCP endpoint";
    let fix = "make TOLLGATE_PUBLIC_DATA_URL the URL under which agents reach the data planes";
    let status = &tenant["status"];
    let Some(endpoint) = url_in(&status["mcp_url"]) else {
        return Finding::wrong(CHECK, "the tenant has no MCP endpoint", fix);
    };
    let mut url = endpoint.clone();
    url.set_path(&format!("/.well-known/oauth-protected-resource{}", endpoint.path()));
    let metadata = match http.get(&url, TIMEOUT).await {
        Ok(answer) if answer.status.is_success() => answer.json(),
        Ok(answer) => return Finding::wrong(CHECK, format!("there is no metadata at {url} ({})", answer.status), fix),
        Err(error) => return Finding::wrong(CHECK, chain(&error), fix),
    };
    if metadata["resource"] != status["mcp_url"] {
        let detail = format!("{url} describes {}, not {endpoint}", metadata["resource"]);
        return Finding::wrong(CHECK, detail, fix);
    }
    let servers = metadata["authorization_servers"].as_array();
    if !servers.is_some_and(|servers| servers.contains(&status["issuer"])) {
        let detail = format!("{url} does not name the issuer {}", status["issuer"]);
        return Finding::wrong(CHECK, detail, "make both planes agree on TOLLGATE_PUBLIC_CONTROL_URL");
    }
    Finding::good(CHECK, format!("{endpoint}"))
}
