//! The `requestState` of a call: sealed for the agent that carries it, and checked when it comes back.
//!
//! Invariant: a state opens for the same tenant, agent, user, endpoint, server and call, before it expires; who else
//! presents it learns nothing but that it is not known.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use uuid::Uuid;

use crate::{
    bridge::to_legacy::{
        State,
        question::{self, Pending},
        request::canonical,
        state::{Parked, Question},
    },
    mcp::{json::Raw, message::Request},
    policy::{Server, Tenant},
    seal::{self, Purpose, SealError},
    stage::{admit::Admitted, identify::Caller},
    store::{MailboxId, Owner},
};

use super::translation::internal;

/// How long an agent may take to its answers, in seconds.
pub(super) const ANSWER_WITHIN_S: u64 = 600;

/// What a call's state is bound to.
#[derive(Debug, Clone)]
pub(super) struct Ticket {
    tenant: Arc<Tenant>,
    pub(super) owner: Owner,
    resource: String,
    server: Arc<Server>,
    call: [u8; 32],
    /// The call whose rounds these are.
    pub(super) root: Uuid,
}

impl Ticket {
    /// Of this request at this server, a round of the call `root`.
    pub(super) fn new(
        caller: &Caller,
        admitted: &Admitted,
        server: &Arc<Server>,
        request: &Request,
        root: Uuid,
    ) -> Self {
        let mut call = [0; 32];
        call.copy_from_slice(digest(&SHA256, &canonical(&request.method, &request.params)).as_ref());
        Self {
            tenant: Arc::clone(caller.tenant()),
            owner: admitted.owner(),
            resource: caller.resource(),
            server: Arc::clone(server),
            call,
            root,
        }
    }

    /// The result that puts the questions, under keys of their own.
    pub(super) fn input_required(
        &self,
        mut pending: Vec<Pending>,
        waiting: MailboxId,
        round: u32,
        parked: Option<Parked>,
    ) -> Result<Raw, SealError> {
        for (index, question) in pending.iter_mut().enumerate().filter(|(_, question)| question.key.is_empty()) {
            question.key = question::key(index);
        }
        let questions = pending.iter().map(Question::from).collect();
        let (server, call, waiting) = (self.server.id, self.call, waiting.to_bytes());
        let state = State { server, call, root: Some(self.root), waiting, round, questions, parked };
        let expires_at = now() + ANSWER_WITHIN_S.cast_signed();
        let sealed = self.bound(|bound_to| {
            seal::seal(&self.tenant, Purpose::RequestState, bound_to, expires_at, &state.to_bytes())
        })?;
        Ok(question::input_required(&pending, &sealed))
    }

    /// The result that sends the user to these pages; the call is sent again afterwards.
    pub(super) fn visit(&self, pages: &[Pending]) -> Result<Raw, Raw> {
        let waiting = MailboxId::generate().map_err(|_| internal("no random id could be made"))?;
        self.input_required(pages.to_vec(), waiting, 1, None).map_err(|error| {
            tracing::error!(%error, server = %self.server.name, "a question could not be sealed");
            internal("the server's question could not be sealed")
        })
    }

    /// What a retry brought back, if it is the state of this call.
    pub(super) fn open(&self, sealed: &str) -> Option<State> {
        let opened = self.bound(|bound_to| seal::open(&self.tenant, Purpose::RequestState, bound_to, now(), sealed))?;
        State::from_bytes(&opened).filter(|state| state.server == self.server.id && state.call == self.call)
    }

    fn bound<T>(&self, run: impl FnOnce(&[&[u8]]) -> T) -> T {
        let agent = self.owner.agent.uuid();
        let user = self.owner.user.map(|user| user.uuid());
        let user: &[u8] = user.as_ref().map_or(&[], |user| user.as_bytes());
        run(&[agent.as_bytes(), user, self.resource.as_bytes()])
    }
}

fn now() -> i64 {
    chrono::Utc::now().timestamp()
}
