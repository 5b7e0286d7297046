//! A user with a request in front of them: what the page shows, and what is kept of the answer.
//!
//! Invariant: what a page says, what its transaction can give and what is written down are made of the same offer.

use axum::http::{HeaderMap, StatusCode};
use chrono::Duration;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tollgate_proto::Scope;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{
    Answer, Asked, Stop,
    application::{self, Application},
    fault::{PageFault, RequestFault},
    offer::{Offer, Remembered},
    onward, pages,
    pages::{ConsentPage, Frame, Nothing, NothingPage},
    request::AuthorizationRequest,
};
use crate::{
    app::App,
    audit,
    console::{
        csrf,
        page::{Lone, show_with},
    },
    db::TenantTx,
    oauth::{
        authorizations::{self, BeginError, Begun, NewAuthorization},
        consent::{self, Parties},
        observed::Refused,
        target::Target,
        toolsets::Toolsets,
        transaction::Transaction,
    },
    users::Session,
};

/// Tells the transaction of a consent page from others.
pub(super) const KIND: &str = "consent";
/// How long a page can be answered.
const LIFE: Duration = Duration::minutes(10);

/// Everything that a page is made of but the offer.
pub(super) struct Visit<'a> {
    pub(super) app: &'a App,
    pub(super) headers: &'a HeaderMap,
    pub(super) asked: &'a Asked,
    pub(super) session: &'a Session,
    pub(super) request: &'a AuthorizationRequest,
}

/// What a page carries.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Question {
    /// Of this page; it makes one authorization at most.
    pub(super) id: Uuid,
    /// The request, to be read anew when the answer comes.
    pub(super) request: String,
    /// Of the client as it was shown.
    pub(super) client_digest: Vec<u8>,
    /// What is asked.
    pub(super) asked: Vec<Scope>,
    /// What the toolsets held of which it speaks.
    pub(super) toolsets: Toolsets,
    /// What was allowed before.
    pub(super) held: Vec<Scope>,
    /// What the user was shown, in words.
    pub(super) said: Vec<String>,
}

impl Visit<'_> {
    /// What the user allowed before, as far as it still counts: from a client that is surely the same, and unless the
    /// request wants the user asked.
    pub(super) async fn remembered(&self, tx: &mut TenantTx) -> Result<Remembered, sqlx::Error> {
        let counts = self.is_assured() && !self.request.prompt.consent;
        let digest = application::description_digest(&self.asked.client);
        let mut remembered = Remembered::new();
        for target in &self.request.targets {
            let resource = target.url(&self.app.urls, &self.asked.issuer.name);
            let scopes =
                if counts { consent::remembered(tx, self.parties(&digest), &resource).await? } else { Vec::new() };
            remembered.push((target.clone(), scopes));
        }
        Ok(remembered)
    }

    /// Remembers the answer, from a client that is surely the same the next time. `shown` is the offer of the page.
    pub(super) async fn remember(&self, tx: &mut TenantTx, shown: &Offer, chosen: &[Scope]) -> Result<(), sqlx::Error> {
        if !self.is_assured() {
            return Ok(());
        }
        let digest = application::description_digest(&self.asked.client);
        let boxes = shown.boxes().into_iter().map(|(_, scope)| scope);
        let offered: Vec<Scope> = shown.asked.iter().chain(boxes).cloned().collect();
        for target in &self.request.targets {
            let there = |scopes: &[Scope]| -> Vec<Scope> {
                scopes.iter().filter(|scope| shown.toolsets.concern(target, scope)).cloned().collect()
            };
            let resource = target.url(&self.app.urls, &self.asked.issuer.name);
            consent::remember(tx, self.parties(&digest), &resource, &there(&offered), &there(chosen)).await?;
        }
        Ok(())
    }

    /// Shows the page that asks.
    pub(super) fn ask(&self, offer: &Offer) -> Answer {
        let mut page = self.page(offer);
        let here: Vec<Scope> = self.request.targets.iter().filter_map(Target::whole).collect();
        page.frame.transaction = self.seal(Question {
            asked: offer.asked.clone(),
            toolsets: offer.toolsets.named_by(offer.asked.iter().chain(&offer.held).chain(&here)),
            held: offer.held.clone(),
            said: pages::said(&page),
            ..self.question()
        });
        Ok(show_with(StatusCode::OK, &page)?)
    }

    /// Shows it once more, with what is wrong.
    pub(super) fn ask_once_more(&self, offer: &Offer, transaction: &str) -> Answer {
        let mut page = self.page(offer);
        transaction.clone_into(&mut page.frame.transaction);
        page.nothing_ticked = true;
        Ok(show_with(StatusCode::UNPROCESSABLE_ENTITY, &page)?)
    }

    /// Shows that there is nothing to allow.
    pub(super) fn show_nothing(&self, because: Nothing) -> Answer {
        let denied = RequestFault::AccessDenied(because.reason());
        if self.request.prompt.none {
            return onward::refuse_silently(self.headers, self.asked, Some(self.session), &denied);
        }
        let said = vec![because.reason().to_owned()];
        let frame = Frame { transaction: self.seal(Question { said, ..self.question() }), ..self.frame() };
        let page = NothingPage { shell: Lone::new(self.headers, because.title()), frame, because };
        let mut response = show_with(StatusCode::FORBIDDEN, &page)?;
        let client = Some(self.asked.client.client_id.chars().take(200).collect());
        response.extensions_mut().insert(Refused { code: denied.code(), reason: denied.to_string(), client });
        Ok(response)
    }

    /// Begins the grant family. The inner fault is the client's.
    pub(super) async fn begin(
        &self,
        tx: &mut TenantTx,
        transaction: Uuid,
        scopes: Vec<Scope>,
    ) -> Result<Result<Begun, RequestFault>, Stop> {
        let new = NewAuthorization {
            agent: self.asked.client.agent,
            user: self.session.user.id,
            transaction,
            session: self.session.digest,
            resources: self.resources(),
            scopes,
            redirect_uri: self.asked.reply.redirect_uri.clone(),
            code_challenge: self.request.code_challenge.clone(),
            authenticated_at: self.session.authenticated_at(),
        };
        match authorizations::begin(tx, new).await {
            Ok(begun) => Ok(Ok(begun)),
            Err(BeginError::Replayed) => Err(PageFault::Stale.into()),
            Err(BeginError::Barred) => Ok(Err(RequestFault::AccessDenied("the user or this client may no longer act"))),
            Err(BeginError::Storage(error)) => Err(error.into()),
        }
    }

    /// Ends the transaction in which a family began, and answers its code. A client that has sent its challenge before
    /// is written down.
    pub(super) async fn conclude(&self, mut tx: TenantTx, begun: Begun) -> Result<Zeroizing<String>, sqlx::Error> {
        let Begun { code, challenge_repeated } = begun;
        let client = &self.asked.client;
        if challenge_repeated {
            let event = audit::Event {
                actor: &format!("agent:{}", client.name),
                action: "code_challenge.repeat",
                object_kind: "agent",
                object_id: &client.agent.to_string(),
                object_name: &client.name,
                detail: json!({ "client_id": client.client_id, "redirect_uri": self.asked.reply.redirect_uri }),
            };
            audit::record(&mut tx, event).await?;
        }
        tx.commit().await?;
        if challenge_repeated {
            tracing::warn!(client = %client.client_id, "a client sent one PKCE challenge in two authorizations");
            self.app.metrics.code_challenge_repeated();
        }
        Ok(code)
    }

    /// The endpoints that tokens are for.
    pub(super) fn resources(&self) -> Vec<String> {
        self.request.targets.iter().map(|target| target.url(&self.app.urls, &self.asked.issuer.name)).collect()
    }

    fn is_assured(&self) -> bool {
        application::is_assured(&self.asked.client, &self.asked.reply.redirect_uri)
    }

    fn parties<'a>(&self, client_digest: &'a [u8]) -> Parties<'a> {
        Parties { user: self.session.user.id, agent: self.asked.client.agent, client_digest }
    }

    fn page(&self, offer: &Offer) -> ConsentPage {
        let words = |scopes: &[Scope]| scopes.iter().map(|scope| pages::in_words(scope, offer)).collect();
        ConsentPage {
            shell: Lone::new(self.headers, "Allow access"),
            frame: self.frame(),
            groups: pages::groups(offer),
            held: words(&offer.held),
            withheld: words(&offer.withheld),
            nothing_ticked: false,
        }
    }

    fn frame(&self) -> Frame {
        Frame {
            app: Application::new(&self.asked.client, &self.asked.reply.redirect_uri),
            agent: self.asked.client.name.clone(),
            action: self.asked.path("/decision"),
            switch: self.asked.sign_in_path(&self.asked.parameters),
            tenant: self.session.user.tenant.clone(),
            email: self.session.user.email.clone(),
            resources: self.resources(),
            csrf: csrf::token(self.app, &self.session.digest),
            transaction: String::new(),
        }
    }

    fn question(&self) -> Question {
        Question {
            id: Uuid::now_v7(),
            request: self.asked.parameters.to_query(),
            client_digest: application::description_digest(&self.asked.client),
            asked: Vec::new(),
            toolsets: Toolsets::default(),
            held: Vec::new(),
            said: Vec::new(),
        }
    }

    fn seal(&self, question: Question) -> String {
        Transaction::new(&self.session.digest, LIFE, question).seal(self.app, self.asked.issuer.tenant, KIND)
    }
}

/// Writes down what a user did with a request of a client.
pub(super) async fn record(
    tx: &mut TenantTx,
    asked: &Asked,
    session: &Session,
    action: &str,
    detail: Value,
) -> Result<(), sqlx::Error> {
    let event = audit::Event {
        actor: &session.user.actor(),
        action,
        object_kind: "agent",
        object_id: &asked.client.agent.to_string(),
        object_name: &asked.client.name,
        detail,
    };
    audit::record(tx, event).await
}
