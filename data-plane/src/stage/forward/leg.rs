//! Legs: the upstream sessions of one legacy session, one for each server that it has reached.
//!
//! Invariant: a leg belongs to one agent's session and is never shared.

use std::sync::Arc;

use http::HeaderMap;

use super::{
    ask::{Ask, Fault, Outgoing, legacy_headers},
    era,
};
use crate::{
    mcp::{
        json::{Object, Raw},
        message::{MetaValue, RequestId, Response, write_notification, write_request},
        method::Method,
        version::ProtocolVersion,
    },
    policy::{Instance, Server},
    refusal::Refusal,
    store::Leg,
    upstream::answer::{Body, Received},
};

/// Where a leg leads: the instance, and how to speak to it.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The instance that holds the upstream session.
    pub instance: Arc<Instance>,
    /// Its session and revision.
    pub leg: Leg,
}

impl Origin {
    /// The origin of a leg, if the instance is still one of the server's.
    pub fn of(server: &Server, leg: &Leg) -> Option<Self> {
        let instance = server.instances.iter().find(|instance| instance.id == leg.instance)?;
        Some(Self { instance: Arc::clone(instance), leg: leg.clone() })
    }

    /// Headers of a message in this upstream session.
    pub fn headers(&self) -> HeaderMap {
        legacy_headers(&self.leg.protocol_version, self.leg.upstream_session.as_deref())
    }
}

/// What an agent said of itself in `initialize`, or what is said in its place.
#[derive(Debug)]
pub struct Introduction<'a> {
    /// The revision to ask for.
    pub version: ProtocolVersion,
    /// What the agent sent, of which the members other than these are passed on.
    pub params: &'a Object,
    /// Whether the agent's capabilities are declared: only where a server's requests can reach it.
    pub declare_capabilities: bool,
}

/// Opens an upstream session; answers with the server's response to `initialize`.
///
/// # Errors
/// How the server failed, or that it speaks only the modern era.
pub async fn initialize(
    ask: &Ask<'_>,
    server: &Server,
    introduction: &Introduction<'_>,
    id: &RequestId,
) -> Result<(Option<Origin>, Response), Refusal> {
    let instance = ask.gateway().upstreams.pick(server);
    let method = Method::Initialize.as_str();
    let write = |meta: &[(&str, MetaValue<'_>)]| write_initialize(id, introduction, meta);
    let outgoing = Outgoing { headers: HeaderMap::new(), method, tool: "", write: &write };
    let received = ask.post(server, instance, outgoing).await?;
    let upstream_session = received.session.clone();
    let response = received.response(id).await.map_err(|fault| ask.refusal(server, &Fault::from(fault)))?;
    let Ok(result) = &response.outcome else {
        return if era::is_modern_error(response.error_code()) {
            Err(era::modern_only(server, introduction.version))
        } else {
            Ok((None, response))
        };
    };
    let version = result.object().and_then(|result| result.get("protocolVersion")?.as_str().map(Into::into));
    let version: String = version.unwrap_or_default();
    if ProtocolVersion::parse_legacy(&version).is_none() {
        let fault = crate::upstream::answer::AnswerFault::Invalid("a protocol version that is not known".to_owned());
        return Err(ask.refusal(server, &Fault::from(fault)));
    }
    let leg = Leg { instance: instance.id, upstream_session, protocol_version: version };
    Ok((Some(Origin { instance: Arc::clone(instance), leg }), response))
}

/// Tells the server that the handshake is done.
///
/// # Errors
/// How the server failed.
pub async fn initialized(ask: &Ask<'_>, server: &Server, origin: &Origin) -> Result<(), Refusal> {
    let method = "notifications/initialized";
    let write = |_: &[(&str, MetaValue<'_>)]| write_notification(method);
    let outgoing = Outgoing { headers: origin.headers(), method, tool: "", write: &write };
    let Received { body, .. } = ask.post(server, &origin.instance, outgoing).await?;
    if let Body::Events(_) = body {
        tracing::debug!(server = %server.name, "a notification was answered with a stream, which is dropped");
    }
    Ok(())
}

fn write_initialize(id: &RequestId, introduction: &Introduction<'_>, meta: &[(&str, MetaValue<'_>)]) -> bytes::Bytes {
    write_request(id, Method::Initialize.as_str(), |params| {
        params.text("protocolVersion", introduction.version.as_str());
        let empty = Raw::empty_object();
        for (key, value) in introduction.params.iter() {
            match key {
                "protocolVersion" | "_meta" => {}
                "capabilities" if !introduction.declare_capabilities => params.raw(key, &empty),
                _ => params.raw(key, value),
            }
        }
        params.object("_meta", |entries| {
            for (key, value) in meta {
                if let MetaValue::Text(text) = value {
                    entries.text(key, text);
                }
            }
        });
    })
}
