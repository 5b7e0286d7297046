//! Toolsets at the token endpoint: their endpoints as resources, and their scopes.

use super::token::verified;
use crate::oauth::testing::{Bed, run};

const TRIAGE: &str = "&resource=https://gw/t/acme/toolsets/triage";

/// Servers `github` and `mail`, with toolset `triage` of both.
async fn triage(bed: &Bed) {
    for server in ["github", "mail"] {
        bed.server(server).await;
    }
    bed.toolset("triage", &["github:list", "github:open", "mail:send"]).await;
}

/// What agent `name`, who was granted `scopes`, gets for a request with `more`: the scope, or the error.
async fn granted(bed: &Bed, name: &str, scopes: &[&str], more: &str) -> Result<String, String> {
    let client = bed.agent(name, scopes).await;
    let answer = bed.token(&client, more).await;
    let member = |name: &str| answer.json()[name].as_str().unwrap_or_default().to_owned();
    if answer.status == 200 { Ok(member("scope")) } else { Err(member("error")) }
}

#[tokio::test]
async fn a_toolsets_endpoint_is_a_resource_of_its_own() {
    run(async |bed| {
        triage(bed).await;
        let client = bed.agent("bot", &["toolset/triage", "files:*"]).await;
        let answer = bed.token(&client, TRIAGE).await;
        assert_eq!(answer.json()["scope"], "toolset/triage");
        let token = answer.access_token();
        let claims = verified(bed, &token, "https://gw/t/acme/toolsets/triage").await;
        assert_eq!(claims["scope"], "toolset/triage");
        let gone = bed.token(&client, "&resource=https://gw/t/acme/toolsets/gone").await;
        assert_eq!(gone.error(), (400, "invalid_target".to_owned()));
    })
    .await;
}

#[tokio::test]
async fn a_toolset_is_granted_by_name_or_by_all_of_its_tools() {
    run(async |bed| {
        triage(bed).await;
        let whole = Ok("toolset/triage".to_owned());
        assert_eq!(granted(bed, "named", &["toolset/triage"], "&scope=toolset/triage").await, whole);
        assert_eq!(granted(bed, "spelt", &["github:*", "mail:send"], "&scope=toolset/triage").await, whole);
        assert_eq!(granted(bed, "there", &["github:*", "mail:*", "files:*"], TRIAGE).await, whole);
    })
    .await;
}

#[tokio::test]
async fn a_toolset_that_is_granted_in_part_is_narrowed_to_its_tools() {
    run(async |bed| {
        triage(bed).await;
        let part = Ok("github:list github:open".to_owned());
        assert_eq!(granted(bed, "a", &["github:*"], "&scope=toolset/triage").await, part);
        assert_eq!(granted(bed, "b", &["github:*", "files:*"], TRIAGE).await, part);
        assert_eq!(granted(bed, "c", &["files:*"], "&scope=toolset/triage").await, Err("invalid_scope".to_owned()));
        let denied = bed.agent("d", &["toolset/triage"]).await;
        bed.grant(Some(denied.agent), &["mail:*"], true).await;
        assert_eq!(bed.token(&denied, TRIAGE).await.json()["scope"], "github:list github:open");
    })
    .await;
}

#[tokio::test]
async fn a_granted_toolset_gives_its_tools_one_by_one_too() {
    run(async |bed| {
        triage(bed).await;
        let only = &["toolset/triage"];
        assert_eq!(granted(bed, "a", only, "&scope=mail:send").await, Ok("mail:send".to_owned()));
        assert_eq!(granted(bed, "b", only, "&scope=mail:delete").await, Err("invalid_scope".to_owned()));
        let at_mail = "&resource=https://gw/t/acme/mcp/mail";
        assert_eq!(granted(bed, "c", only, at_mail).await, Ok("mail:send".to_owned()));
    })
    .await;
}

#[tokio::test]
async fn consent_to_a_toolset_follows_what_it_holds_and_what_is_granted() {
    run(async |bed| {
        triage(bed).await;
        let client = bed.app("editor", &["github:*", "mail:*"]).await;
        let person = bed.person("ada@acme.test").await;
        let resource = "https://gw/t/acme/toolsets/triage";
        let approval = bed.approval(client.agent, person, &[resource], &["toolset/triage"]);
        let code = bed.begin(approval).await.expect("a code");
        let first = bed.redeem(&client, &code, "").await;
        assert_eq!(first.json()["scope"], "toolset/triage");
        bed.grant(Some(client.agent), &["mail:*"], true).await;
        let narrowed = bed.refresh(&client, &first.refresh_token(), "").await;
        assert_eq!(narrowed.json()["scope"], "github:list github:open");
        bed.change("DELETE FROM toolsets").await;
        let gone = bed.refresh(&client, &narrowed.refresh_token(), "").await;
        assert_eq!(gone.error(), (400, "invalid_target".to_owned()));
    })
    .await;
}
