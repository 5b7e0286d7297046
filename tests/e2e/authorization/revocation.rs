//! What is revoked is refused, at every data plane, whatever kind of token the tenant gives out.

use http::Method;
use serde_json::{Value, json};
use tollgate_tests::{Deployment, InteractiveAgent, McpAnswer, Tokens, code_of, eventually, eventually_true};

use super::{Office, change_tenant};

const DATA_PLANES: usize = 2;

#[tokio::test]
async fn what_is_revoked_is_refused_at_every_data_plane() {
    let mut story = Story::begin().await;
    story.everything_revoked_is_refused().await;
}

#[tokio::test]
async fn what_is_revoked_is_refused_at_every_data_plane_with_opaque_tokens() {
    let mut story = Story::begin().await;
    change_tenant(&story.office.tollgate, json!({"access_token_format": "opaque"})).await;
    let tokens = story.authorized().await;
    assert!(tokens.access_token.starts_with("tga_"), "the tenant gives out opaque tokens");
    story.everything_revoked_is_refused().await;
}

struct Story {
    office: Office,
    agent: InteractiveAgent,
    resource: String,
}

impl Story {
    async fn begin() -> Self {
        let office = Office::open(Deployment::separate(DATA_PLANES)).await;
        let draft = office.tollgate.interactive_agent("app").grant("files:read").confidential("client_secret_post");
        let agent = draft.create().await;
        let resource = office.tollgate.server_url("files");
        Self { office, agent, resource }
    }

    async fn everything_revoked_is_refused(&mut self) {
        self.an_access_token().await;
        self.a_refresh_token().await;
        self.a_code_that_is_redeemed_again().await;
        self.a_refresh_token_that_is_used_again().await;
        self.an_agent().await;
        self.a_user().await;
    }

    /// RFC 7009: the access token dies, and what it came with lives on.
    async fn an_access_token(&mut self) {
        let tokens = self.authorized().await;
        assert_eq!(self.agent.revoke(&tokens.access_token).await.status, 200);
        self.is_refused("an access token", &tokens).await;
        let fresh = self.agent.read(&self.agent.refresh(&tokens.refresh_token, &[]).await);
        self.is_served(&fresh).await;
    }

    /// RFC 7009 section 2.1: everything of its grant family dies with it.
    async fn a_refresh_token(&mut self) {
        let tokens = self.authorized().await;
        assert_eq!(self.agent.revoke(&tokens.refresh_token).await.status, 200);
        self.is_refused("a refresh token", &tokens).await;
        self.cannot_refresh(&tokens).await;
    }

    /// OAuth 2.1 section 4.1.3: who stole a code redeems it when its client has done so already.
    async fn a_code_that_is_redeemed_again(&mut self) {
        let resource = [("resource", self.resource.as_str())];
        let code = code_of(&self.office.owner.allow(&self.agent.authorize_url(&resource)).await);
        let tokens = self.agent.read(&self.agent.redeem(&code, &resource).await);
        self.is_served(&tokens).await;
        // It comes later than a client's own repetition would.
        let later = "UPDATE authorization_codes SET consumed_at = consumed_at - interval '1 hour'";
        self.office.tollgate.sql(later).await;
        let again = self.agent.redeem(&code, &resource).await;
        assert_eq!((again.status, &again.json()["error"]), (400, &json!("invalid_grant")), "{}", again.text());
        self.is_refused("a family whose code was redeemed again", &tokens).await;
        self.cannot_refresh(&tokens).await;
    }

    /// OAuth 2.1 section 4.3.1: who stole a refresh token uses it when its successor has been used already.
    async fn a_refresh_token_that_is_used_again(&mut self) {
        let first = self.authorized().await;
        let second = self.agent.read(&self.agent.refresh(&first.refresh_token, &[]).await);
        let third = self.agent.read(&self.agent.refresh(&second.refresh_token, &[]).await);
        self.is_served(&third).await;
        self.cannot_refresh(&first).await;
        for tokens in [&first, &second, &third] {
            self.is_refused("a family of which a token was used again", tokens).await;
        }
        self.cannot_refresh(&third).await;
    }

    async fn an_agent(&mut self) {
        let tokens = self.authorized().await;
        self.act("agents/app:revoke").await;
        self.is_refused("an agent", &tokens).await;
        self.cannot_refresh(&tokens).await;
        let later = self.authorized().await;
        self.is_served(&later).await;
    }

    async fn a_user(&mut self) {
        let tokens = self.authorized().await;
        self.act("users/admin@localhost:revoke").await;
        self.is_refused("a user", &tokens).await;
        self.cannot_refresh(&tokens).await;
        let later = self.authorized().await;
        self.is_served(&later).await;
    }

    async fn act(&self, path: &str) {
        let answer = self.office.tollgate.rest(Method::POST, path, &[], &json!({})).await;
        assert!(matches!(answer.status, 200 | 204), "{path}: {} {}", answer.status, answer.text());
    }

    /// Tokens that both data planes take.
    async fn authorized(&mut self) -> Tokens {
        let tokens = self.agent.tokens(&mut self.office.owner, &self.resource).await;
        self.is_served(&tokens).await;
        tokens
    }

    async fn is_served(&self, tokens: &Tokens) {
        for index in 0..DATA_PLANES {
            let answer = self.call(index, tokens).await;
            assert_eq!(answer.status, 200, "data plane {index}: {}", answer.body);
        }
    }

    async fn is_refused(&self, what: &str, tokens: &Tokens) {
        for index in 0..DATA_PLANES {
            eventually_true(&format!("data plane {index} to refuse {what}"), || async {
                self.call(index, tokens).await.status == 401
            })
            .await;
            let answer = self.call(index, tokens).await;
            // An opaque token that a data plane sees for the first time is nothing to it.
            let reason = answer.error()["data"]["reason"].clone();
            let told =
                reason == "token_revoked" || tokens.access_token.starts_with("tga_") && reason == "token_invalid";
            assert!(told, "{what}: {}", answer.body);
        }
        let told = self.agent.introspect(&tokens.access_token).await;
        assert_eq!(told.json(), json!({"active": false}), "{what}");
    }

    async fn call(&self, data_plane: usize, tokens: &Tokens) -> McpAnswer {
        let base = self.office.tollgate.data_plane_url(data_plane);
        let client = tokens.at(&self.resource).through(base);
        // The control plane that is asked about an opaque token may wait for a core for longer than it is waited for.
        eventually("the token to be looked up", || async {
            let answer = client.call("read", Value::Object(serde_json::Map::new())).await;
            (answer.status != 503).then_some(answer)
        })
        .await
    }

    async fn cannot_refresh(&self, tokens: &Tokens) {
        let answer = self.agent.refresh(&tokens.refresh_token, &[]).await;
        assert_eq!((answer.status, &answer.json()["error"]), (400, &json!("invalid_grant")), "{}", answer.text());
    }
}
