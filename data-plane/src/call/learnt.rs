//! What the stages learn of a call on its way, each its part.
//!
//! Invariant: whatever agents and clients choose is cut to a length before it is kept.

use std::{sync::Arc, time::Duration};

use http::HeaderMap;
use uuid::Uuid;

use super::Call;
use crate::{
    mcp::{
        header,
        message::{Message, RequestId},
        method::Method,
        version::Era,
    },
    metering::Charged,
    policy::{Agent, Server, Team, Tenant, User},
    usage::Intent,
};

impl Call {
    /// What the headers of the HTTP request say before its body is read: the trace context, and the method. A body that
    /// is read names the method anew.
    pub(crate) fn heard(&mut self, headers: &HeaderMap) {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        self.header_traceparent = text("traceparent");
        self.header_tracestate = text("tracestate");
        self.method = header::single(headers, &header::METHOD).ok().flatten().and_then(Method::parse);
    }

    /// Headers of the HTTP request that servers may be passed.
    pub(crate) fn brings(&mut self, passed: HeaderMap) {
        self.passed_headers = Arc::new(passed);
    }

    /// The id of a request that could not be read further.
    pub(crate) fn asked_by(&mut self, id: Option<&RequestId>) {
        self.request_id = id.cloned();
    }

    /// The message that was read.
    pub(crate) fn read(&mut self, message: &Message) {
        let (method, params) = match message {
            Message::Request(request) => {
                self.request_id = Some(request.id.clone());
                (&request.method, &request.params)
            }
            Message::Notification(notice) => (&notice.method, &notice.params),
            Message::Response(_) => return,
        };
        self.method = Method::parse(method);
        // A method that MCP does not have is whatever the caller wrote: kept short.
        self.record.method = method.chars().take(64).collect();
        self.record.input_bytes = self.tally.asked(self.method, params);
        let (meta, state) = (params.traceparent(), params.tracestate());
        let state = if meta.is_some() { state.as_deref() } else { self.header_tracestate.as_deref() };
        self.span = Some(self.gateway.tracing.call(meta.as_deref(), self.header_traceparent.as_deref(), state));
    }

    /// It is the event stream of a session, opened by GET.
    pub(crate) fn streams(&mut self) {
        "GET".clone_into(&mut self.record.method);
        self.era = Era::Legacy;
    }

    pub(crate) fn tenant(&mut self, tenant: &Tenant) {
        self.record.tenant_id = tenant.id.to_string();
        self.record.policy_revision = tenant.revision;
    }

    pub(crate) fn agent(&mut self, agent: &Agent) {
        self.record.agent_id = agent.id.to_string();
        self.record.agent.clone_from(&agent.name);
        self.record.labels.clone_from(&agent.labels);
        self.paid_by(&agent.team);
    }

    /// In whose name the agent acts; their team pays, where they have one.
    pub(crate) fn user(&mut self, user: &User) {
        self.record.user_id = user.id.to_string();
        self.record.user.clone_from(&user.email);
        if let Some(team) = &user.team {
            self.paid_by(team);
        }
    }

    fn paid_by(&mut self, team: &Team) {
        self.record.team_id = team.id.to_string();
        self.record.team.clone_from(&team.name);
        self.record.cost_center.clone_from(&team.cost_center);
    }

    pub(crate) fn routed(&mut self, era: Era, protocol_version: &str) {
        self.era = era;
        protocol_version.clone_into(&mut self.record.protocol_version);
    }

    pub(crate) fn server(&mut self, server: &Server) {
        self.record.server_id = server.id.to_string();
        server.name.as_str().clone_into(&mut self.record.server);
        self.tally.reports(server.usage_reports);
    }

    pub(crate) fn tool(&mut self, tool: &str) {
        // Names are an agent's to choose until a server knows them: kept within what MCP recommends.
        self.record.tool = tool.chars().take(128).collect();
    }

    /// It is a round of that call, or asks about the task that it made.
    pub(crate) fn belongs_to(&mut self, root: Uuid) {
        self.record.parent_call_id = root.to_string();
    }

    /// The server asked for something; another round follows.
    pub(crate) const fn goes_on(&mut self) {
        self.record.input_required = true;
    }

    pub(crate) fn protocol_version(&mut self, version: &str) {
        version.clone_into(&mut self.record.protocol_version);
    }

    pub(crate) fn intend(&mut self, intent: Intent) {
        self.intent = Some(intent);
    }

    pub(crate) fn charged(&mut self, charged: Charged) {
        self.gateway.meter.began(&charged);
        self.charged = Some(charged);
    }

    pub(crate) fn limits(&mut self, headers: HeaderMap) {
        self.rate_headers = headers;
    }

    /// What limits and budgets turn away its agent reads as the tool's result.
    pub(crate) const fn reads_limits_as_result(&mut self) {
        self.reads_limits_as_result = true;
    }

    pub(crate) fn upstream_took(&mut self, time: Duration) {
        self.upstream = time;
    }
}
