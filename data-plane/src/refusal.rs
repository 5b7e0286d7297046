//! Every reason to turn a call away, and what the agent is told: HTTP status, JSON-RPC code, stable reason, a
//! sentence that says what to do.
//!
//! Invariant: the match in [`Refusal::facts`] is exhaustive, and `docs/reasons.md` has a row for each reason (a test
//! compares them). Nothing about another tenant, an address behind the gateway or a secret is ever said.

use tollgate_proto::{LimitId, Scope};

use crate::{
    mcp::era::EraError,
    policy::{Stale, Subject},
    store::StoreError,
};

mod challenge;
mod exhausted;
mod facts;
mod overspent;

pub use challenge::{Challenge, TokenFault};
pub use exhausted::{Exhausted, Unit};
pub use facts::Facts;
pub use overspent::Overspent;

/// Why a call is turned away. The texts are for agents and the people who run them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The body is no JSON-RPC message that MCP allows.
    #[error("the request is malformed: {detail}")]
    Malformed {
        /// -32700 or -32600.
        code: i64,
        /// What is wrong, and where.
        detail: String,
    },
    /// The body is larger than this data plane reads.
    #[error("the request body is larger than {bytes_max} bytes")]
    TooLarge {
        /// The bound.
        bytes_max: usize,
    },
    /// The body did not arrive in time.
    #[error("the request body did not arrive in time: send it without pauses")]
    BodyTimeout,
    /// Not `application/json`, or encoded.
    #[error("the body must be `application/json` without a content encoding")]
    MediaType,
    /// The answer's media types are not acceptable to the caller.
    #[error("the `Accept` header must allow both `application/json` and `text/event-stream`")]
    NotAcceptable,
    /// A stream is asked for by somebody who cannot read one.
    #[error("the `Accept` header must allow `text/event-stream`")]
    EventsNotAcceptable,
    /// Two `Authorization` headers, or a token in the body too: nobody can tell which one counts.
    #[error("send one token, in one `Authorization` header")]
    AuthorizationRepeated,
    /// A method of HTTP that this endpoint does not serve.
    #[error("this endpoint serves POST, GET for the stream of a session, and DELETE to end one")]
    HttpMethod,
    /// Nothing is said here without being asked.
    #[error("no event stream is offered here: what belongs to a call comes with its answer")]
    StreamNotOffered,
    /// A browser page of another origin asks.
    #[error("requests from this origin are not allowed")]
    Origin,
    /// The request was made by a gateway of this deployment, for one that was sent to it.
    #[error("this request has been through this gateway before: one of its servers leads back here")]
    Loop,
    /// The message breaks a rule of its era.
    #[error(transparent)]
    Era(#[from] EraError),
    /// No policy has arrived yet.
    #[error("this data plane has no policy yet: try again in a moment")]
    NotReady,
    /// The policy is too old for this.
    #[error(transparent)]
    PolicyStale(#[from] Stale),
    /// The URL names no tenant.
    #[error("there is no such tenant")]
    TenantUnknown,
    /// The caller is not identified.
    #[error("{fault}")]
    Unauthenticated {
        /// What is wrong with the token.
        fault: TokenFault,
        /// What to tell the client about getting one.
        challenge: Box<Challenge>,
    },
    /// A token that only the control plane can tell, and it cannot be asked.
    #[error("this token cannot be checked at the moment: try again shortly")]
    IntrospectionUnavailable,
    /// So many tokens that are none came from one address that no new one is looked at.
    #[error("too many tokens from this address were not valid: try again in a moment")]
    TooManyStrangers,
    /// The URL names no server of the tenant.
    #[error("there is no such server in this tenant")]
    ServerUnknown,
    /// The URL names no toolset of the tenant.
    #[error("there is no such toolset in this tenant")]
    ToolsetUnknown,
    /// The name leads to no tool.
    #[error("there is no tool `{tool}` here: call `tools/list` for the names that are")]
    ToolUnknown {
        /// As it was asked for.
        tool: String,
    },
    /// The id leads to no task that this caller made here.
    #[error("there is no such task: ids of tasks are of use to who made them, where they made them")]
    TaskUnknown,
    /// The name leads to no prompt.
    #[error("there is no prompt `{prompt}` here: call `prompts/list` for the names that are")]
    PromptUnknown {
        /// As it was asked for.
        prompt: String,
    },
    /// The URI leads to no resource.
    #[error(
        "there is no resource `{uri}` here: call `resources/list` or `resources/templates/list` for those that are"
    )]
    ResourceUnknown {
        /// As it was asked for.
        uri: String,
        /// -32002 in the legacy era, -32602 in the modern one.
        code: i64,
    },
    /// The cursor is not one that this caller was given for this list, or the list has changed under it.
    #[error("the cursor is not valid (any more): ask for the list from its start")]
    CursorUnknown,
    /// Granted, but the token was issued for less.
    #[error("the token does not carry the scope `{scope}`, which is granted: get a token with it")]
    ScopeInsufficient {
        /// What is missing.
        scope: Scope,
        /// What to tell the client about getting it.
        challenge: Box<Challenge>,
    },
    /// Not granted.
    #[error("agent `{agent}` has no grant for `{scope}`: an administrator can grant it")]
    NotGranted {
        /// Who asked.
        agent: String,
        /// What is missing.
        scope: Scope,
        /// What to tell the client.
        challenge: Box<Challenge>,
    },
    /// Granted from other networks.
    #[error("grant `{grant}` allows `{scope}`, but not from this network")]
    NetworkNotAllowed {
        /// What was asked for.
        scope: Scope,
        /// The name of the grant.
        grant: String,
    },
    /// Granted with other arguments.
    #[error("grant `{grant}` allows `{scope}`, but not with the argument at `{pointer}` as it is")]
    ArgumentNotAllowed {
        /// What was asked for.
        scope: Scope,
        /// The name of the grant.
        grant: String,
        /// JSON Pointer into the arguments.
        pointer: String,
    },
    /// Granted to the agent's team or to a role as one of many, and the agent is held to exact tools.
    #[error(
        "agent `{agent}` is held to exact tools: grant `{grant}` allows `{scope}` with others, a grant to the agent itself has to say it"
    )]
    HeldToExactTools {
        /// Who asked.
        agent: String,
        /// What was asked for: the scope to write.
        scope: Scope,
        /// The name of the grant.
        grant: String,
    },
    /// An administrator wants nobody to use it.
    #[error("`{scope}` is blocked: an administrator can unblock it")]
    ToolBlocked {
        /// What was asked for.
        scope: Scope,
    },
    /// Its definition is not one that was approved.
    #[error("the definition of `{scope}` waits for approval: an administrator can approve it")]
    ToolNotApproved {
        /// What was asked for.
        scope: Scope,
    },
    /// A limit is used up.
    #[error("limit `{limit}` on the {} is reached for agent `{agent}`: {remaining} left of {what}. Retry in {retry_after_s} s", on.as_str())]
    LimitReached {
        /// The limit.
        id: LimitId,
        /// The limit's name.
        limit: String,
        /// What it is on.
        on: Subject,
        /// Who asked.
        agent: String,
        /// What of it is used up.
        what: Exhausted,
        /// How much of that is left.
        remaining: u32,
        /// Each policy that refuses, as `RateLimit-Policy` names it.
        violated: Vec<String>,
        /// When this request would pass.
        retry_after_s: u32,
    },
    /// A budget is used up.
    #[error(transparent)]
    BudgetExhausted(Box<Overspent>),
    /// A legacy request that needs a session came without one.
    #[error("this request needs the `Mcp-Session-Id` that `initialize` answered with")]
    SessionRequired,
    /// The session ended, or belongs to somebody else.
    #[error("there is no such session: initialize again")]
    SessionUnknown,
    /// No instance can be reached.
    #[error("server `{server}` cannot be reached")]
    UpstreamUnavailable {
        /// The server.
        server: String,
    },
    /// An instance did not answer in time.
    #[error("server `{server}` did not answer within {timeout_s} s")]
    UpstreamTimeout {
        /// The server.
        server: String,
        /// How long was waited.
        timeout_s: u64,
    },
    /// What an instance answered is no MCP.
    #[error("server `{server}` sent no valid answer: {detail}")]
    UpstreamInvalid {
        /// The server.
        server: String,
        /// What is wrong with it.
        detail: String,
    },
    /// What a retry brought back is no state of this call, or was brought before.
    #[error("the `requestState` is not known, not of this call, or was used: send the request again without it")]
    StateUnknown,
    /// The user did not do what the server needs.
    #[error("server `{server}` needs something of the user that was declined")]
    InputDeclined {
        /// The server.
        server: String,
    },
    /// A call that waited for answers is nobody's any more. It may have taken effect.
    #[error("the call to server `{server}` was lost while it waited: start again")]
    CallLost {
        /// The server.
        server: String,
    },
    /// Tollgate has nothing that a server accepts: no token could be had, or the server refuses what it is presented with.
    #[error("Tollgate cannot authenticate to server `{server}`: {detail}")]
    UpstreamCredential {
        /// The server.
        server: String,
        /// What went wrong, without a word of what others said.
        detail: &'static str,
    },
    /// The agent cancelled its own request.
    #[error("the request was cancelled")]
    Cancelled,
    /// Sessions and counters cannot be reached.
    #[error("sessions and limits cannot be reached: try again in a moment")]
    StoreUnavailable,
    /// The call could not be written down, so it is not made.
    #[error("this data plane cannot record another call: try again later")]
    Overloaded,
}

impl Refusal {
    /// Whether it is for want of room alone: the same call is permitted, and passes at another time.
    #[must_use]
    pub const fn is_for_want_of_room(&self) -> bool {
        matches!(self, Self::LimitReached { .. } | Self::BudgetExhausted(_))
    }
}

impl From<StoreError> for Refusal {
    /// What the store said is for the log; the agent is told to come back.
    fn from(error: StoreError) -> Self {
        tracing::warn!(%error, "the store did not answer");
        Self::StoreUnavailable
    }
}

#[cfg(test)]
mod tests;
