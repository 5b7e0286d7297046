//! What an endpoint of several servers says of itself: what those can do, as far as this caller may use it.
//!
//! A server of the modern era is asked `server/discover`, one of the legacy era tells in its handshake, which opens the
//! session's leg there. A server that says nothing in time is left out, and named.
//!
//! Invariant: a capability is promised only if a server that the caller may use has it and the endpoint passes it on.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::future::join_all;
use tollgate_proto::ServerId;

use super::{
    ask::Ask,
    bridged::legs,
    era, leg,
    sessionless::discovered,
    speech::{Speech, Tongue},
};
use crate::{
    mcp::{
        instructions,
        json::{self, Kind, Object, ObjectWriter, Raw},
        message::Request,
        method::ListKind,
        version::{Era, ProtocolVersion, supported},
    },
    policy::{Server, Toolset},
    refusal::Refusal,
    stage::{
        authorize::View,
        identify::Caller,
        relay::list::{LeftOut, ttl_ms, write_left_out},
    },
    store::Leg,
};

/// Of one server: clients take an endpoint that is slow to introduce itself for one that is not there.
const DEADLINE: Duration = Duration::from_secs(5);
const OPENING: &str = "Tools and prompts are named {server}__{name}, resources tollgate://{server}/…. Which of them you see is \
                       what you have been granted.";
const SELECTION: &str = "These tools are a selection, in which they may have other names than at their servers. Which of them you see is \
                         what you have been granted.";
/// Extensions whose messages the endpoint maps.
const EXTENSIONS: [&str; 3] = ["io.modelcontextprotocol/ui", TASKS, SKILLS];
/// Tools need it; the others need resources.
const TASKS: &str = "io.modelcontextprotocol/tasks";
/// Which are granted with the whole server.
const SKILLS: &str = "io.modelcontextprotocol/skills";
/// For how long an introduction without any server may be kept.
const NOBODY: Duration = Duration::from_secs(5);

/// What all servers together can do.
#[derive(Debug)]
pub struct United {
    profiles: Vec<Profile>,
    left_out: Vec<LeftOut>,
    /// Whose endpoint it is; `None`: everything's.
    toolset: Option<Arc<Toolset>>,
}

/// What one server said of itself.
#[derive(Debug)]
struct Profile {
    server: Arc<Server>,
    capabilities: Object,
    instructions: Option<String>,
    ttl: Duration,
    /// The upstream session that was opened.
    leg: Option<Leg>,
}

/// How the agent introduces itself, which is repeated to legacy servers.
#[derive(Debug, Clone, Copy)]
pub enum Guest<'a> {
    /// With every request, of which this is one.
    Modern(&'a Request),
    /// Once.
    Legacy {
        /// The revision that was negotiated.
        version: ProtocolVersion,
        /// The params of `initialize`.
        params: &'a Object,
    },
}

impl United {
    /// Asks every server that the caller deals with.
    pub async fn ask(ask: &Ask, caller: &Caller, view: &View, guest: Guest<'_>) -> Self {
        let servers = caller.servers().filter(|server| view.knows(server));
        let asked = servers.map(|server| async move {
            let told = tokio::time::timeout(DEADLINE, Profile::of(ask, server, guest)).await;
            match told {
                Ok(Ok(profile)) => Ok(profile),
                Ok(Err(refusal)) => Err((server.name.clone(), refusal.facts().reason)),
                Err(_elapsed) => Err((server.name.clone(), "upstream_timeout")),
            }
        });
        let (mut profiles, mut left_out) = (Vec::new(), Vec::new());
        for told in join_all(asked).await {
            match told {
                Ok(profile) => profiles.push(profile),
                Err(missing) => left_out.push(missing),
            }
        }
        ask.note_left_out(&left_out);
        Self { profiles, left_out, toolset: caller.toolset().cloned() }
    }

    /// The upstream sessions that were opened.
    pub fn legs(&self) -> BTreeMap<ServerId, Leg> {
        let opened = self.profiles.iter().filter_map(|profile| Some((profile.server.id, profile.leg.clone()?)));
        opened.collect()
    }

    /// The result of `server/discover`.
    pub fn discovered(&self, view: &View) -> Raw {
        let ttl = self.profiles.iter().map(|profile| profile.ttl).min().unwrap_or(NOBODY);
        json::object(|result| {
            result.text("resultType", "complete");
            result
                .array("supportedVersions", |versions| supported().for_each(|version| versions.text(version.as_str())));
            result.object("capabilities", |capabilities| self.write_capabilities(view, Era::Modern, capabilities));
            result.text("instructions", &self.instructions());
            result.integer("ttlMs", ttl_ms(ttl, &self.left_out));
            result.text("cacheScope", "private");
            result.object("_meta", |meta| {
                meta.object("io.modelcontextprotocol/serverInfo", |info| self.write_server_info(info));
                write_left_out(meta, &self.left_out);
            });
        })
    }

    /// The result of `initialize`.
    pub fn initialized(&self, view: &View, version: ProtocolVersion) -> Raw {
        json::object(|result| {
            result.text("protocolVersion", version.as_str());
            result.object("capabilities", |capabilities| self.write_capabilities(view, Era::Legacy, capabilities));
            result.object("serverInfo", |info| self.write_server_info(info));
            result.text("instructions", &self.instructions());
            if !self.left_out.is_empty() {
                result.object("_meta", |meta| write_left_out(meta, &self.left_out));
            }
        })
    }

    /// That lists change is told whichever server they are of: not all servers tell it to everybody, and the policy says
    /// what is on them.
    fn write_capabilities(&self, view: &View, era: Era, written: &mut ObjectWriter<'_>) {
        let has = |profile: &&Profile, capability: &str| {
            profile.capabilities.get(capability).is_some_and(|value| value.kind() == Kind::Object)
        };
        let deals_in = |kind| move |profile: &&Profile| view.deals_in(kind, &profile.server);
        let offers =
            |capability, kind| self.profiles.iter().filter(deals_in(kind)).any(|profile| has(&profile, capability));
        // Where nobody has said anything, tools are what there will be.
        written.object("tools", |tools| tools.boolean("listChanged", true));
        if offers("prompts", ListKind::Prompts) {
            written.object("prompts", |prompts| prompts.boolean("listChanged", true));
        }
        if offers("resources", ListKind::Resources) {
            written.object("resources", |resources| {
                resources.boolean("listChanged", true);
                if self.profiles.iter().filter(deals_in(ListKind::Resources)).any(Profile::takes_subscriptions) {
                    resources.boolean("subscribe", true);
                }
            });
        }
        if offers("completions", ListKind::Prompts) || offers("completions", ListKind::Resources) {
            written.object("completions", |_| {});
        }
        if self.profiles.iter().any(|profile| has(&profile, "logging")) {
            written.object("logging", |_| {});
        }
        let mapped = EXTENSIONS.iter().filter(|id| self.toolset.is_none() || **id == TASKS);
        let extensions: Vec<_> = mapped.filter_map(|id| Some((*id, self.extension(view, id)?))).collect();
        if era == Era::Modern && !extensions.is_empty() {
            written.object("extensions", |written| {
                extensions.iter().for_each(|(id, settings)| written.raw(id, settings));
            });
        }
    }

    /// The settings of an extension, of the first server that has it.
    fn extension(&self, view: &View, id: &str) -> Option<Raw> {
        let offers = |profile: &&Profile| id != SKILLS || view.deals_in(ListKind::Skills, &profile.server);
        let settings = |profile: &Profile| profile.capabilities.get("extensions")?.object()?.get(id).cloned();
        self.profiles.iter().filter(offers).find_map(settings)
    }

    fn instructions(&self) -> String {
        let part = |profile: &Profile| Some((profile.server.name.clone(), profile.instructions.clone()?));
        let opening = match self.toolset.as_deref() {
            None => OPENING.to_owned(),
            Some(Toolset { description, .. }) if description.is_empty() => SELECTION.to_owned(),
            Some(Toolset { description, .. }) => format!("{description}\n\n{SELECTION}"),
        };
        instructions::merged(&opening, &self.profiles.iter().filter_map(part).collect::<Vec<_>>())
    }

    fn write_server_info(&self, info: &mut ObjectWriter<'_>) {
        info.text("name", "tollgate");
        info.text("title", self.toolset.as_ref().map_or("Tollgate", |toolset| &toolset.display_name));
        info.text("version", env!("CARGO_PKG_VERSION"));
    }
}

impl Profile {
    async fn of(ask: &Ask, server: &Arc<Server>, guest: Guest<'_>) -> Result<Self, Refusal> {
        let instance = ask.gateway().upstreams.pick(server);
        match (era::of(ask, server, instance).await?, guest) {
            (Era::Modern, _) => {
                let (result, ttl) = discovered::of(ask, &Speech::modern(server, instance)).await?;
                Ok(Self::read(server, &result.object().unwrap_or_default(), ttl))
            }
            (Era::Legacy, Guest::Legacy { version, params }) => {
                let (speech, result) = leg::meet(ask, version, params, server).await?;
                let leg = match speech.tongue {
                    Tongue::Legacy(leg) => Some(leg),
                    Tongue::Modern => None,
                };
                Ok(Self { leg, ..Self::read(server, &result.object().unwrap_or_default(), Duration::ZERO) })
            }
            (Era::Legacy, Guest::Modern(request)) => {
                let bridge = legs::find(ask, server, request).await?;
                Ok(Self::read(server, &bridge.initialized, Duration::ZERO))
            }
        }
    }

    fn takes_subscriptions(&self) -> bool {
        let resources = self.capabilities.get("resources").and_then(Raw::object);
        resources.and_then(|resources| resources.get("subscribe")?.as_bool()) == Some(true)
    }

    fn read(server: &Arc<Server>, members: &Object, ttl: Duration) -> Self {
        let instructions = members.get("instructions").and_then(|text| text.as_str().map(String::from));
        Self {
            server: Arc::clone(server),
            capabilities: members.get("capabilities").and_then(Raw::object).unwrap_or_default(),
            instructions: instructions.filter(|text| !text.trim().is_empty()),
            ttl,
            leg: None,
        }
    }
}
