//! Agents that act for users, and what users approved, without the pages.

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::Utc;
use tollgate_proto::{AgentId, UserId};
use uuid::Uuid;

use super::{Answer, Bed, Client};
use crate::{
    oauth::authorizations::{self, BeginError, NewAuthorization},
    secret::{self, Digest, Purpose},
};

/// Where codes are sent.
pub(in crate::oauth) const REDIRECT_URI: &str = "https://app.example/callback";
/// What the challenge of every code here comes from.
pub(in crate::oauth) const VERIFIER: &str = "a-verifier-that-is-as-long-as-it-has-to-be-43";
/// The endpoint that is consented to unless told.
pub(in crate::oauth) const FEDERATED: &str = "https://gw/t/acme/mcp";

/// A user who is signed in.
#[derive(Clone, Copy)]
pub(in crate::oauth) struct Person {
    pub(in crate::oauth) user: UserId,
    pub(in crate::oauth) session: Digest,
}

impl Bed {
    /// A public agent that acts for users, with a grant of `scopes`.
    pub(in crate::oauth) async fn app(&self, name: &str, scopes: &[&str]) -> Client {
        let client = self.agent(name, scopes).await;
        let sql = "UPDATE agents SET type = 'interactive', auth_method = 'none',
                       grant_types = '{authorization_code,refresh_token}' WHERE id = $1";
        self.run(sql, client.agent.uuid()).await;
        Client { secret: String::new(), ..client }
    }

    /// The same with a secret.
    pub(in crate::oauth) async fn confidential_app(&self, name: &str, scopes: &[&str]) -> Client {
        let client = self.agent(name, scopes).await;
        let sql = "UPDATE agents SET type = 'interactive', grant_types = '{authorization_code,refresh_token}'
                   WHERE id = $1";
        self.run(sql, client.agent.uuid()).await;
        client
    }

    pub(in crate::oauth) async fn person(&self, email: &str) -> Person {
        let (user, session) = (UserId::new(), secret::generate(Purpose::Session).digest);
        let mut tx = self.tx().await;
        sqlx::query("INSERT INTO users (tenant_id, id, email, role) VALUES ($1, $2, $3, 'viewer')")
            .bind(self.tenant.uuid())
            .bind(user.uuid())
            .bind(email)
            .execute(&mut *tx)
            .await
            .expect("a user");
        sqlx::query(
            "INSERT INTO console_sessions (digest, tenant_id, user_id, expires_at)
             VALUES ($1, $2, $3, now() + interval '1 hour')",
        )
        .bind(session.as_bytes())
        .bind(self.tenant.uuid())
        .bind(user.uuid())
        .execute(&mut *tx)
        .await
        .expect("a session");
        tx.commit().await.expect("committed");
        Person { user, session }
    }

    /// What `person` approves by answering a page of its own.
    pub(in crate::oauth) fn approval(
        &self,
        agent: AgentId,
        person: Person,
        resources: &[&str],
        scopes: &[&str],
    ) -> NewAuthorization {
        NewAuthorization {
            agent,
            user: person.user,
            transaction: Uuid::now_v7(),
            session: person.session,
            resources: resources.iter().map(|&resource| resource.to_owned()).collect(),
            scopes: scopes.iter().map(|scope| scope.parse().expect("a scope")).collect(),
            redirect_uri: REDIRECT_URI.to_owned(),
            code_challenge: URL_SAFE_NO_PAD.encode(digest(&SHA256, VERIFIER.as_bytes())),
            authenticated_at: Utc::now(),
        }
    }

    /// Begins the family.
    pub(in crate::oauth) async fn begin(&self, new: NewAuthorization) -> Result<String, BeginError> {
        let mut tx = self.tx().await;
        let code = authorizations::begin(&mut tx, new).await?.code;
        tx.commit().await?;
        Ok(code.to_string())
    }

    /// The code of an approval of `scopes` at the federated endpoint.
    pub(in crate::oauth) async fn code(&self, client: &Client, person: Person, scopes: &[&str]) -> String {
        let new = self.approval(client.agent, person, &[FEDERATED], scopes);
        self.begin(new).await.expect("a code")
    }

    /// Redeems `code` as its client; `more` is added to the form.
    pub(in crate::oauth) async fn redeem(&self, client: &Client, code: &str, more: &str) -> Answer {
        let form = format!("grant_type=authorization_code&code={code}&code_verifier={VERIFIER}{more}");
        self.ask(client, &form).await
    }

    /// Refreshes as `client`; `more` is added to the form.
    pub(in crate::oauth) async fn refresh(&self, client: &Client, token: &str, more: &str) -> Answer {
        self.ask(client, &format!("grant_type=refresh_token&refresh_token={token}{more}")).await
    }

    /// The refresh token that a fresh approval ends in.
    pub(in crate::oauth) async fn refresh_token(&self, client: &Client, person: Person, scopes: &[&str]) -> String {
        let code = self.code(client, person, scopes).await;
        self.redeem(client, &code, "").await.refresh_token()
    }

    /// A token request of `client`, with the secret that it has.
    pub(in crate::oauth) async fn ask(&self, client: &Client, form: &str) -> Answer {
        self.post_as("token", client, form).await
    }

    /// A request of `client` to any endpoint that takes forms.
    pub(in crate::oauth) async fn post_as(&self, endpoint: &str, client: &Client, form: &str) -> Answer {
        if client.secret.is_empty() {
            self.post_from("192.0.2.1", endpoint, None, &format!("client_id={}&{form}", client.id)).await
        } else {
            self.post_from("192.0.2.1", endpoint, Some(&client.basic()), form).await
        }
    }

    /// How many rows of `table`, as the tenant sees them, satisfy `condition`.
    pub(in crate::oauth) async fn count(&self, table_and_condition: &'static str) -> i64 {
        let mut tx = self.tx().await;
        let sql = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table_and_condition}"));
        sqlx::query_scalar(sql).fetch_one(&mut *tx).await.expect("a count")
    }

    /// Runs one statement that binds nothing.
    pub(in crate::oauth) async fn change(&self, sql: &'static str) {
        let mut tx = self.tx().await;
        sqlx::query(sql).execute(&mut *tx).await.expect(sql);
        tx.commit().await.expect("committed");
    }
}

impl Answer {
    /// The refresh token of a successful answer.
    #[track_caller]
    pub(in crate::oauth) fn refresh_token(&self) -> String {
        self.member("refresh_token")
    }

    /// The access token of a successful answer.
    #[track_caller]
    pub(in crate::oauth) fn access_token(&self) -> String {
        self.member("access_token")
    }

    #[track_caller]
    fn member(&self, name: &str) -> String {
        let json = self.json();
        json[name].as_str().unwrap_or_else(|| panic!("no {name}: {json}")).to_owned()
    }
}
