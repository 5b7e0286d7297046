//! A retry: the agent's request again, with answers to what the server asked and the state of the call.
//!
//! Invariant: a retry of a parked call sends nothing to the server but the answers, and each round is answered once.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use super::{
    super::{
        Forwarded, Passing, Reply,
        ask::Ask,
        exchange::{Exchange, cannot_be_asked},
        single::Asked,
        speech::Speech,
        translation::Translation,
    },
    ToLegacy, legs,
    parcel::{Parcel, ToHolder},
    ticket::{ANSWER_WITHIN_S, Ticket},
    translation::internal,
};
use crate::{
    bridge::to_legacy::{
        Capabilities, Kind, State,
        question::{self, Pending},
        request::Alias,
        state::{Parked, Question},
    },
    mcp::{
        json::{self, Raw},
        level::Level,
        message::{RequestId, Response},
    },
    policy::Server,
    refusal::Refusal,
    stage::admit::Admitted,
    store::MailboxId,
};

/// Goes on with the call whose state the request brings.
///
/// # Errors
/// [`Refusal::StateUnknown`] when the state is none, is another call's, or was used; [`Refusal::CallLost`] when nobody
/// has the call any more; and how the server or the store failed.
pub(super) async fn go_on(
    ask: &Ask,
    admitted: &Admitted,
    server: &Arc<Server>,
    asked: Asked,
    wanted: Option<Level>,
    mut ticket: Ticket,
) -> Result<Forwarded, Refusal> {
    let sealed = asked.request.params.get("requestState").and_then(Raw::as_str).ok_or(Refusal::StateUnknown)?;
    let state = ticket.open(&sealed).ok_or(Refusal::StateUnknown)?;
    if let Some(root) = state.root {
        ticket.root = root;
        ask.is_round_of(root);
    }
    let waiting = MailboxId::from_bytes(state.waiting);
    let store = &ask.gateway().store;
    if !store.claim(admitted.owner(), waiting, state.round, ANSWER_WITHIN_S).await? {
        return Err(Refusal::StateUnknown);
    }
    let (given, missing) = answers(&asked, &state);
    let Some(parked) = state.parked else {
        return visited(ask, admitted, server, asked, wanted, ticket, (&given, missing, &state)).await;
    };
    let lost = || Refusal::CallLost { server: server.name.to_string() };
    let speech = Speech::of_leg(server, &parked.leg).ok_or_else(lost)?;
    let mut parcel = Parcel {
        gateway: Arc::clone(ask.shared()),
        owner: admitted.owner(),
        waiting,
        holder: MailboxId::from_bytes(parked.holder),
        read_to: parked.read_to,
        round: state.round,
        arrived: VecDeque::new(),
    };
    let has_ended = parcel.look(Duration::ZERO).await?;
    if !has_ended && parked.last_event.is_none() && !store.is_held(admitted.owner(), waiting).await? {
        return Err(lost());
    }
    let upstream_id = RequestId::Text(parked.upstream_id.clone());
    let exchange = Exchange::of_parcel(ask, &speech, upstream_id.clone(), parcel, parked.last_event.clone());
    for (id, outcome) in given {
        match exchange.respond(&id, outcome).await {
            Err(fault) if speech.is_lost(&fault) => return Err(lost()),
            answered => answered.map_err(|fault| ask.refusal(server, &fault))?,
        }
    }
    if !missing.is_empty() {
        return again(&ticket, missing, waiting, state.round, Some(parked));
    }
    if let Some(parcel) = exchange.parcel() {
        parcel.tell(&ToHolder::Resumed).await?;
    }
    let alias = Alias::of(&asked.request, upstream_id);
    let declared = Capabilities::declared(&asked.request);
    let bridge = legs::known(ask, admitted.owner(), server, &declared.fingerprint()).await?;
    let server_info = bridge.and_then(|bridge| bridge.server_info());
    let translation = ToLegacy { method: asked.method, alias, declared, wanted, server_info, ticket };
    let translation = Translation::ToLegacy(Box::new(translation));
    let passing = Passing::new(exchange, Some(asked.request.id), translation);
    Ok(Forwarded::plain(Reply::Passing(Box::new(passing))))
}

type Given = Vec<(RequestId, Result<Raw, Raw>)>;

/// The answers to give to the server, and the questions to put once more. A question that did not travel is answered
/// in the agent's place: it had its turn.
fn answers(asked: &Asked, state: &State) -> (Given, Vec<Pending>) {
    let responses = asked.request.params.get("inputResponses").and_then(Raw::object);
    let (mut given, mut missing) = (Vec::new(), Vec::new());
    for asked in &state.questions {
        // A page that has to be visited has no id: nobody waits for a response.
        let id = asked.id.clone().map_or_else(|| RequestId::Text("".into()), RequestId::from);
        match (question::answer(responses.as_ref(), &asked.key, asked.kind), asked.again()) {
            (Some(answer), _) => given.push((id, Ok(answer))),
            (None, Some(question)) => missing.push(question),
            (None, None) => given.push((id, in_place_of(asked))),
        }
    }
    (given, missing)
}

fn in_place_of(question: &Question) -> Result<Raw, Raw> {
    match question.kind {
        Kind::Elicitation => Ok(json::object(|answer| answer.text("action", "cancel"))),
        Kind::Sampling | Kind::Roots => Err(cannot_be_asked()),
    }
}

/// The user has been where the server sent them: the call is sent again, as a legacy client does.
async fn visited(
    ask: &Ask,
    admitted: &Admitted,
    server: &Arc<Server>,
    asked: Asked,
    wanted: Option<Level>,
    ticket: Ticket,
    (given, missing, state): (&Given, Vec<Pending>, &State),
) -> Result<Forwarded, Refusal> {
    if !missing.is_empty() {
        return again(&ticket, missing, MailboxId::from_bytes(state.waiting), state.round, None);
    }
    let accepted = given.iter().all(|(_, answer)| answer.as_ref().is_ok_and(question::is_accepted));
    if !accepted {
        return Err(Refusal::InputDeclined { server: server.name.to_string() });
    }
    super::call(ask, admitted, server, asked, wanted, ticket).await
}

fn again(
    ticket: &Ticket,
    missing: Vec<Pending>,
    waiting: MailboxId,
    round: u32,
    parked: Option<Parked>,
) -> Result<Forwarded, Refusal> {
    let outcome = ticket.input_required(missing, waiting, round + 1, parked);
    let outcome = outcome.map_err(|error| {
        tracing::error!(%error, "a question could not be sealed once more");
        internal("the server's question could not be sealed")
    });
    Ok(Forwarded::plain(Reply::Response(http::StatusCode::OK, Response { id: None, outcome })))
}
