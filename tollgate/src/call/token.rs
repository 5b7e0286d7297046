//! A token to call with: the agent's own, or one that the control plane mints for whoever may ask for it.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http_body_util::Full;
use hyper::{
    Method,
    body::Bytes,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE},
};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use url::{Url, form_urlencoded};

use super::Args;
use crate::{
    api_client::{self, ApiClient},
    failure::{Exit, Failure, OrFail as _},
    http_client::{HttpClient, to},
};

const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
const DATA_PORT: u16 = 7402;

/// Where to call, and with what.
pub(super) struct Access {
    /// The server's endpoint; also the token's audience.
    pub(super) endpoint: Url,
    pub(super) token: SecretString,
}

/// An agent's own credential.
struct ClientCredential {
    id: String,
    secret: SecretString,
}

/// Obtains a token for the endpoint of the target's server.
pub(super) async fn obtain(http: &HttpClient, args: &Args) -> Result<Access, Failure> {
    let control = |token| ApiClient::new(args.client.url.clone(), token, args.client.tenant.clone());
    let api = args.client.token()?.map(control);
    match (credential(), api) {
        (Some(credential), api) if args.agent.is_none() => {
            let place = match api {
                Some(api) => place_of(&api).await?,
                None => usual_place(args)?,
            };
            let endpoint = endpoint(&place.mcp_url, &args.target.server)?;
            let token = exchange(http, &place.issuer, &endpoint, &credential).await?;
            Ok(Access { endpoint, token })
        }
        (_, Some(api)) => {
            let server = args.target.server.as_str();
            if api.find(&["servers", server]).await?.is_none() {
                return Err(Failure::new(format!("there is no server {server}"))
                    .exit(Exit::NotFound)
                    .cure("see what there is with `tollgate get servers`"));
            }
            let endpoint = endpoint(&place_of(&api).await?.mcp_url, server)?;
            let agent = match &args.agent {
                Some(agent) => agent.clone(),
                None => only_agent(&api).await?,
            };
            let token = mint(&api, &agent, &endpoint).await?;
            Ok(Access { endpoint, token })
        }
        (_, None) => Err(Failure::new("there is neither an agent's credential nor an API token")
            .exit(Exit::Auth)
            .cure("set TOLLGATE_CLIENT_ID and TOLLGATE_CLIENT_SECRET, or TOLLGATE_TOKEN, or use --token-file")),
    }
}

fn credential() -> Option<ClientCredential> {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let secret = variable("TOLLGATE_CLIENT_SECRET")?.into();
    Some(ClientCredential { id: variable("TOLLGATE_CLIENT_ID")?, secret })
}

/// A tenant's issuer and federated endpoint.
struct Place {
    issuer: Url,
    mcp_url: Url,
}

async fn place_of(api: &ApiClient) -> Result<Place, Failure> {
    let tenant = api.get(&[], &[]).await?;
    let url = |field: &str| {
        let text = tenant["status"][field].as_str().unwrap_or_default();
        Url::parse(text).or_fail(format!("the control plane does not tell the tenant's {field}"))
    };
    Ok(Place { issuer: url("issuer")?, mcp_url: url("mcp_url")? })
}

/// Without the right to ask, the names are put together as every installation has them.
fn usual_place(args: &Args) -> Result<Place, Failure> {
    let data = match &args.data_url {
        Some(url) => url.clone(),
        None => {
            let mut url = args.client.url.clone();
            url.set_port(Some(DATA_PORT)).map_err(|()| Failure::new(format!("{url} has no port")))?;
            url
        }
    };
    let tenant = args.client.tenant.as_str();
    Ok(Place { issuer: below(&args.client.url, &["t", tenant])?, mcp_url: below(&data, &["t", tenant, "mcp"])? })
}

fn endpoint(mcp_url: &Url, server: &str) -> Result<Url, Failure> {
    below(mcp_url, &[server])
}

fn below(base: &Url, segments: &[&str]) -> Result<Url, Failure> {
    let mut url = base.clone();
    url.path_segments_mut()
        .map_err(|()| Failure::new(format!("{base} is no base URL")))?
        .pop_if_empty()
        .extend(segments);
    Ok(url)
}

/// Client credentials grant (RFC 6749 section 4.4) at the endpoint that the metadata names (RFC 8414).
async fn exchange(
    http: &HttpClient,
    issuer: &Url,
    resource: &Url,
    credential: &ClientCredential,
) -> Result<SecretString, Failure> {
    let metadata = metadata(http, issuer).await?;
    let text = metadata["token_endpoint"].as_str().unwrap_or_default();
    let endpoint = Url::parse(text).or_fail(format!("the metadata of {issuer} names no token endpoint"))?;
    let form = form_urlencoded::Serializer::new(String::new())
        .append_pair("grant_type", "client_credentials")
        .append_pair("resource", resource.as_str())
        .finish();
    let request = to(Method::POST, &endpoint)
        .header(AUTHORIZATION, basic(credential))
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(ACCEPT, "application/json")
        .body(Full::new(Bytes::from(form)))
        .or_fail("cannot make the token request")?;
    let answer = http.fetch(request, ANSWER_TIMEOUT).await?;
    api_client::success(&answer).map_err(|failure| {
        let error = answer.json()["error"].as_str().unwrap_or("no token").to_owned();
        let failure = failure.during(format!("the token endpoint answered {error}"));
        match error.as_str() {
            "invalid_client" => failure.exit(Exit::Auth).cure("check TOLLGATE_CLIENT_ID and TOLLGATE_CLIENT_SECRET"),
            "invalid_scope" => failure.exit(Exit::Auth).cure("grant the agent something on this server"),
            "invalid_target" => failure.exit(Exit::NotFound).cure("check the server's name: `tollgate get servers`"),
            _ => failure,
        }
    })?;
    token_in(&answer.json())
}

/// The metadata of an issuer; RFC 8414 section 3.3 has its `issuer` compared.
pub(crate) async fn metadata(http: &HttpClient, issuer: &Url) -> Result<Value, Failure> {
    let mut url = issuer.clone();
    url.set_path(&format!("/.well-known/oauth-authorization-server{}", issuer.path()));
    let answer = http.get(&url, ANSWER_TIMEOUT).await?;
    api_client::success(&answer).map_err(|failure| failure.during(format!("there is no metadata at {url}")))?;
    let metadata = answer.json();
    if metadata["issuer"].as_str() != Some(issuer.as_str()) {
        return Err(Failure::new(format!("the metadata at {url} is of another issuer: {}", metadata["issuer"])));
    }
    Ok(metadata)
}

/// HTTP Basic with both parts form-encoded (RFC 6749 section 2.3.1).
fn basic(credential: &ClientCredential) -> String {
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = format!("{}:{}", encode(&credential.id), encode(credential.secret.expose_secret()));
    format!("Basic {}", STANDARD.encode(pair))
}

async fn only_agent(api: &ApiClient) -> Result<String, Failure> {
    let agents = api.list("agents").await?;
    let names: Vec<_> = agents.iter().filter_map(|agent| agent["name"].as_str()).collect();
    match names.as_slice() {
        [only] => Ok((*only).to_owned()),
        [] => Err(Failure::new("there is no agent to call as")
            .exit(Exit::NotFound)
            .cure("make one: `tollgate apply --help`")),
        several => Err(Failure::new("there are several agents: say which one with --agent")
            .exit(Exit::Usage)
            .why(format!("there are {}", several.join(", ")))),
    }
}

async fn mint(api: &ApiClient, agent: &str, resource: &Url) -> Result<SecretString, Failure> {
    let action = format!("{agent}:token");
    let minted = api
        .post(&["agents", &action], &json!({ "resource": resource.as_str() }))
        .await
        .map_err(|failure| failure.during(format!("no token was given for agent {agent}")))?;
    token_in(&minted)
}

fn token_in(answer: &Value) -> Result<SecretString, Failure> {
    let token = answer["access_token"].as_str().ok_or_else(|| Failure::new("the answer holds no access token"))?;
    Ok(token.into())
}
