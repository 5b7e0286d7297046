//! What a federated session tells all the servers that it has reached.
//!
//! Invariant: a server that cannot be told fails nothing: a notification has no answer.

use futures_util::future::join_all;
use http::StatusCode;
use tollgate_proto::ServerId;

use super::{
    Forwarded, Reply,
    ask::{Ask, Outgoing},
    federated, sessionless,
    speech::Speech,
};
use crate::{
    mcp::message::{MetaValue, Notification},
    refusal::Refusal,
    stage::{admit::Admitted, identify::Caller},
    store::Leg,
};

/// Tells each of them at the same time.
///
/// # Errors
/// [`Refusal::SessionRequired`] without a session.
pub async fn tell(
    ask: &Ask,
    caller: &Caller,
    admitted: &Admitted,
    notification: &Notification,
) -> Result<Forwarded, Refusal> {
    let (id, session) = admitted.session().ok_or(Refusal::SessionRequired)?;
    sessionless::cancel(ask, admitted, notification).await?;
    if let Some(body) = federated::told(id, notification) {
        let method = notification.method.as_ref();
        let speech = |(server, leg): (&ServerId, &Leg)| {
            caller.server_by_id(*server).and_then(|server| Speech::of_leg(server, leg))
        };
        let told = session.legs.iter().filter_map(speech).map(|speech| {
            let body = &body;
            async move {
                let write = |_: &[(&str, MetaValue<'_>)]| body.clone();
                let outgoing = Outgoing { headers: speech.plain_headers(method), method, tool: "", write: &write };
                if let Err(fault) = ask.send(&speech.instance, outgoing).await {
                    tracing::debug!(call_id = %ask.call_id(), server = %speech.server.name, %fault, "a server was not told");
                }
            }
        });
        join_all(told).await;
    }
    Ok(Forwarded::plain(Reply::Status(StatusCode::ACCEPTED)))
}
