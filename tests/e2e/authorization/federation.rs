//! Signing in through the tenant's own OpenID provider, a real one over https, before a real browser.

use http::Method;
use serde_json::{Value, json};
use tollgate_tests::{Authority, Browser, Deployment, Errand, OidcProvider, eventually_true, free_port};

use super::change_tenant;

#[tokio::test]
async fn who_comes_for_the_first_time_gets_role_and_team_from_the_groups_of_the_provider() {
    let authority = Authority::create();
    let tollgate = Deployment::dev().trusting(&authority).start().await;
    tollgate.put("teams/makers", json!({"spec": {}})).await;
    let provider = provider_over_tls(&tollgate, &authority).await;
    connect(&tollgate, provider.issuer()).await;
    let agent = tollgate.interactive_agent("app").grant("demo:echo").redirect_uri(&own_redirect()).create().await;
    let resource = tollgate.server_url("demo");
    let visit = agent.authorize_url(&[("resource", &resource)]);
    let mut browser = Browser::start();
    let journey = browser.run(&Errand::to(&visit, &agent.redirect_uri).through("Company", "ada")).await;
    let code = tollgate_tests::code_of(&journey.url.parse().expect("a URL"));
    let tokens = agent.read(&agent.redeem(&code, &[("resource", &resource)]).await);
    assert_eq!(tokens.at(&resource).call("echo", json!({"text": "hello"})).await.text(), "hello");
    let ada = tollgate.get("users/ada@example.com").await;
    assert_eq!(ada["spec"]["role"], "operator", "{ada}");
    assert_eq!(ada["spec"]["team"], "makers", "{ada}");

    let mut stranger = Browser::start();
    let journey = stranger.run(&Errand::to(&visit, &agent.redirect_uri).through("Company", "eve")).await;
    assert!(!journey.url.starts_with(&agent.redirect_uri), "no group of hers gives a role: {journey:?}");
    let eve = tollgate.rest(Method::GET, "users/eve@example.com", &[], &Value::Null).await;
    assert_eq!(eve.status, 404, "and she became nobody here: {}", eve.text());
}

#[tokio::test]
async fn who_refuses_at_the_provider_is_not_signed_in() {
    let authority = Authority::create();
    let tollgate = Deployment::dev().trusting(&authority).start().await;
    tollgate.put("teams/makers", json!({"spec": {}})).await;
    let provider = provider_over_tls(&tollgate, &authority).await;
    connect(&tollgate, provider.issuer()).await;
    let mut browser = Browser::start();
    let home = format!("{}/", tollgate.control_url());
    let journey = browser.run(&Errand::to(&home, "http://127.0.0.1:2/nowhere").through("Company", "")).await;
    assert!(journey.url.starts_with(tollgate.control_url()), "{journey:?}");
    assert!(journey.text.contains("Sign in") || journey.status >= 400, "{journey:?}");
    assert_eq!(tollgate.sql("SELECT count(*)::text FROM user_identities").await, ["0"]);
}

#[tokio::test]
async fn a_provider_is_asked_only_where_the_tenant_permits_it() {
    let tollgate = Deployment::separate(1).start().await;
    let callback = format!("{}/sign-in/callback", tollgate.control_url());
    let client = json!({"client_id": "tollgate", "redirect_uris": [callback], "token_endpoint_auth_method": "none",
                        "application_type": "native"});
    let ada = json!({"sub": "ada", "email": "ada@example.com", "email_verified": true});
    let provider = OidcProvider::plan().account(ada).client(client).start().await;
    let spec = json!({"issuer": provider.issuer(), "client_id": "tollgate", "client_secret": "",
                      "default_role": "viewer"});
    tollgate.put("identity-providers/company", json!({"spec": spec})).await;
    let visit = format!("{}/sign-in?tenant=default", tollgate.control_url());
    let home = format!("{}/", tollgate.control_url());
    let errand = Errand::to(&visit, &home).through("company", "ada");
    let mut browser = Browser::start();
    let journey = browser.run(&errand).await;
    assert!(journey.hosts.iter().all(|host| !provider.issuer().ends_with(host.as_str())), "{journey:?}");
    assert_ne!(journey.url, home, "{journey:?}");
    change_tenant(&tollgate, json!({"egress_allow": ["127.0.0.0/8"]})).await;
    assert_eq!(browser.run(&errand).await.url, home, "now it is asked");
}

#[tokio::test]
async fn who_signs_out_at_the_provider_is_signed_out_here_and_agents_no_longer_act_for_them() {
    let tollgate = Deployment::dev().start().await;
    change_tenant(&tollgate, json!({"egress_allow": ["127.0.0.0/8"]})).await;
    let draft = OidcProvider::plan();
    let spec = json!({"issuer": draft.issuer(), "client_id": "tollgate", "client_secret": "",
                      "default_role": "viewer"});
    let shown = tollgate.put("identity-providers/company", json!({"spec": spec})).await;
    let client = json!({
        "client_id": "tollgate", "token_endpoint_auth_method": "none", "application_type": "native",
        "redirect_uris": [shown["status"]["redirect_uri"]],
        "backchannel_logout_uri": shown["status"]["backchannel_logout_uri"],
        "backchannel_logout_session_required": true,
    });
    let ada = json!({"sub": "ada", "email": "ada@example.com", "email_verified": true});
    let provider = draft.account(ada).client(client).start().await;
    let agent = tollgate.interactive_agent("app").grant("demo:echo").redirect_uri(&own_redirect()).create().await;
    let resource = tollgate.server_url("demo");
    let visit = agent.authorize_url(&[("resource", &resource)]);
    let mut browser = Browser::start();
    let journey = browser.run(&Errand::to(&visit, &agent.redirect_uri).through("company", "ada")).await;
    let code = tollgate_tests::code_of(&journey.url.parse().expect("a URL"));
    let tokens = agent.read(&agent.redeem(&code, &[("resource", &resource)]).await);
    let call = async || tokens.at(&resource).call("echo", json!({"text": "hello"})).await;
    assert_eq!(call().await.status, 200);
    let nowhere = "http://127.0.0.1:2/nowhere";
    let account = format!("{}/account", tollgate.control_url());
    assert!(browser.run(&Errand::to(&account, nowhere)).await.text.contains("ada@example.com"));

    let leave = format!("{}/session/end?client_id=tollgate", provider.issuer());
    browser.run(&Errand::to(&leave, nowhere).through("Yes, sign me out", "")).await;
    eventually_true("the data plane to refuse who acts for her", || async { call().await.status == 401 }).await;
    let refreshed = agent.refresh(&tokens.refresh_token, &[]).await;
    assert_eq!((refreshed.status, &refreshed.json()["error"]), (400, &json!("invalid_grant")), "{}", refreshed.text());
    let page = browser.run(&Errand::to(&account, nowhere)).await;
    assert!(page.url.contains("/sign-in?"), "{page:?}");
    let said = "SELECT detail ->> 'by' FROM audit_events WHERE action = 'user.sign-out'";
    assert_eq!(tollgate.sql(said).await, ["identity-provider"]);
}

fn own_redirect() -> String {
    format!("http://127.0.0.1:{}/callback", free_port())
}

async fn provider_over_tls(tollgate: &Deployment, authority: &Authority) -> OidcProvider {
    let ada = json!({"sub": "ada", "name": "Ada", "email": "ada@example.com", "email_verified": true,
                     "groups": ["everyone", "engineering"]});
    let eve = json!({"sub": "eve", "name": "Eve", "email": "eve@example.com", "email_verified": true, "groups": []});
    let callback = format!("{}/sign-in/callback", tollgate.control_url());
    let client = json!({"client_id": "tollgate", "client_secret": "between the two of us",
                        "redirect_uris": [callback], "application_type": "native"});
    OidcProvider::plan().account(ada).account(eve).client(client).over_tls(authority).start().await
}

async fn connect(tollgate: &Deployment, issuer: &str) {
    let spec = json!({
        "display_name": "Company", "issuer": issuer, "client_id": "tollgate", "client_secret": "between the two of us",
        "scopes": ["openid", "profile", "email", "groups"],
        "role_mapping": [{"group": "engineering", "role": "operator"}],
        "team_mapping": [{"group": "engineering", "team": "makers"}],
    });
    let shown = tollgate.put("identity-providers/company", json!({"spec": spec})).await;
    assert!(!shown.to_string().contains("between the two of us"), "the secret is not shown again: {shown}");
}
