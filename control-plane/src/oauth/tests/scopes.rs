//! Patterns, labels, roles and conditions at the token endpoint: what of them a token carries.

use tollgate_proto::GrantId;

use crate::oauth::testing::{Bed, Client, run};

/// The scope that a client gets, or the error.
async fn scope(bed: &Bed, client: &Client, more: &str) -> String {
    let answer = bed.token(client, more).await.json();
    answer["scope"].as_str().or(answer["error"].as_str()).unwrap_or_default().to_owned()
}

/// A grant to a role.
async fn to_role(bed: &Bed, role: &str, scopes: &[&str], deny: bool) {
    let mut tx = bed.tx().await;
    sqlx::query(
        "INSERT INTO grants (tenant_id, id, name, role, scopes, deny, created_by) VALUES ($1, $2, $2::text, $3, $4, $5, 'test')",
    )
    .bind(bed.tenant.uuid())
    .bind(GrantId::new().uuid())
    .bind(role)
    .bind(scopes)
    .bind(deny)
    .execute(&mut *tx)
    .await
    .expect("a grant");
    tx.commit().await.expect("committed");
}

#[tokio::test]
async fn every_form_of_a_scope_is_carried_as_it_was_granted() {
    run(async |bed| {
        bed.server("demo").await;
        let granted = ["demo:@prompt/tour", "demo:@read", "demo:@resource/file:///*", "demo:get_*"];
        let bot = bed.agent("bot", &granted).await;
        let all = "demo:get_* demo:@read demo:@prompt/tour demo:@resource/file:///*";
        for asked in ["", "&resource=https://gw/t/acme/mcp/demo", "&scope=demo:*"] {
            assert_eq!(scope(bed, &bot, asked).await, all, "{asked}");
        }
        assert_eq!(scope(bed, &bot, "&scope=demo:get_issue").await, "demo:get_issue");
        assert_eq!(scope(bed, &bot, "&scope=demo:@resource/file:///a").await, "demo:@resource/file:///a");
        assert_eq!(scope(bed, &bot, "&scope=demo:@prompt/*").await, "demo:@prompt/tour");
        assert_eq!(scope(bed, &bot, "&scope=demo:drop").await, "invalid_scope");
    })
    .await;
}

#[tokio::test]
async fn a_denial_under_conditions_takes_nothing_out_of_a_token() {
    run(async |bed| {
        bed.server("demo").await;
        let bot = bed.agent("bot", &["demo:pay", "demo:look"]).await;
        bed.grant(Some(bot.agent), &["demo:pay"], true).await;
        assert_eq!(scope(bed, &bot, "").await, "demo:look");
        let condition = r#"UPDATE grants SET conditions = '[{"pointer": "/amount", "range": {"min": 10}}]' WHERE deny"#;
        bed.change(condition).await;
        assert_eq!(scope(bed, &bot, "").await, "demo:look demo:pay");
        bed.change("UPDATE grants SET conditions = '[]', networks = '{10.0.0.0/8}' WHERE deny").await;
        assert_eq!(scope(bed, &bot, "").await, "demo:look demo:pay");
    })
    .await;
}

#[tokio::test]
async fn what_a_role_is_granted_is_carried_for_its_users_alone() {
    run(async |bed| {
        bed.server("demo").await;
        let app = bed.confidential_app("app", &["demo:echo"]).await;
        let ada = bed.person("ada@example.com").await;
        bed.change("UPDATE users SET role = 'viewer'").await;
        to_role(bed, "viewer", &["demo:look", "demo:drop"], false).await;
        to_role(bed, "viewer", &["demo:drop"], true).await;
        to_role(bed, "operator", &["demo:pay"], false).await;
        let code = bed.code(&app, ada, &["demo:*"]).await;
        let answer = bed.redeem(&app, &code, "").await;
        assert_eq!(answer.json()["scope"], "demo:echo demo:look");
        bed.change("UPDATE users SET role = 'operator'").await;
        let answer = bed.refresh(&app, &answer.refresh_token(), "").await;
        assert_eq!(answer.json()["scope"], "demo:echo demo:pay");
        let bot = bed.agent("bot", &["demo:echo"]).await;
        assert_eq!(scope(bed, &bot, "").await, "demo:echo", "it acts for itself");
    })
    .await;
}
