//! One request of a legacy agent, as a modern server gets it: as often as its rounds take.
//!
//! Invariant: every sending differs from the others in its id and in what a retry brings, and in nothing else.

use std::sync::Arc;

use crate::{
    bridge::to_modern::{
        Introduction,
        request::{Retry, edit},
    },
    mcp::message::{MetaValue, RequestId},
    policy::Tenant,
    stage::forward::{
        ask::{Ask, Fault, Outgoing},
        exchange::Exchange,
        single::Asked,
        speech::Speech,
    },
    store::{Announcement, Announcements, Owner, SessionChange, SessionId},
};

/// A request with everything that it takes to send it again.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) ask: Ask,
    pub(super) tenant: Arc<Tenant>,
    pub(super) owner: Owner,
    pub(super) session: SessionId,
    pub(super) introduction: Introduction,
    pub(super) speech: Speech,
    /// Its `Mcp-Param-*` headers mirror the arguments.
    pub(super) asked: Asked,
}

impl Call {
    /// Sends it, and waits for the head of the answer.
    ///
    /// # Errors
    /// How the server failed.
    pub(super) async fn send(&self, id: RequestId, retry: &Retry) -> Result<Exchange, Fault> {
        let Self { asked, speech, introduction, .. } = self;
        let (method, tool) = (asked.method.as_str(), asked.tool.as_deref());
        let more = retry.members();
        let write = |meta: &[(&str, MetaValue<'_>)]| {
            let meta = introduction.meta(meta);
            asked.request.write(&edit(&id, tool, &more, &meta))
        };
        let name = tool.or_else(|| asked.method.mirrored_name(&asked.request.params));
        let headers = speech.headers(method, name, asked.params.clone());
        let outgoing = Outgoing { headers, method, tool: tool.unwrap_or_default(), write: &write };
        Exchange::open(&self.ask, speech, id.clone(), outgoing).await
    }

    /// Until the agent cancels the request, by whichever data plane. Cancel safe.
    pub(super) async fn cancelled(&self, announcements: &mut Announcements) {
        while !self.is_cancelled_by(&announcements.next().await) {}
    }

    fn is_cancelled_by(&self, announcement: &Announcement) -> bool {
        let Announcement::SessionChanged { session, change, .. } = announcement else { return false };
        let is_this = |request: &String| *request == self.asked.request.id.to_string();
        *session == self.session && matches!(change, SessionChange::Cancelled { request } if is_this(request))
    }
}
