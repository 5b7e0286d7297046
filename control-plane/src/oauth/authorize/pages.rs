//! The pages of the authorization endpoint.
//!
//! Ids and names that other programs may rely on: the form `#consent` with buttons `decision=allow` and
//! `decision=deny` and a tick box `scope=…` for each scope that can be left out; the link `#return` where the user has
//! to go back to the application by hand.
//!
//! Invariant: every word of a client on them is escaped, and what it calls itself has come through [`Application`].

use std::collections::BTreeMap;

use askama::Template;
use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use tollgate_proto::Scope;

use super::{
    application::Application,
    fault::PageFault,
    offer::{Heading, Offer},
};
use crate::{
    console::page::{Lone, PageError, show_with},
    oauth::{
        observed::Refused,
        wording::{self, Wording},
    },
};

/// What the user is asked.
#[derive(Template)]
#[template(path = "oauth/consent.html")]
pub(super) struct ConsentPage {
    pub(super) shell: Lone,
    pub(super) frame: Frame,
    /// What is asked.
    pub(super) groups: Vec<Group>,
    /// What was allowed before, in words.
    pub(super) held: Vec<String>,
    /// What the client wants and does not get, in words.
    pub(super) withheld: Vec<String>,
    /// Whether the form came back without anything ticked.
    pub(super) nothing_ticked: bool,
}

/// What the user is told when there is nothing to ask.
#[derive(Template)]
#[template(path = "oauth/nothing.html")]
pub(super) struct NothingPage {
    pub(super) shell: Lone,
    pub(super) frame: Frame,
    /// Why.
    pub(super) because: Nothing,
}

/// Why there is nothing to allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nothing {
    /// No grant to the agent covers anything of the request.
    Granted,
    /// An operator has to approve the agent first.
    Approved,
    /// An operator has suspended the agent.
    Suspended,
}

/// What both of these pages have.
pub(super) struct Frame {
    /// The application.
    pub(super) app: Application,
    /// The agent's name, which operators know.
    pub(super) agent: String,
    /// Where the form goes.
    pub(super) action: String,
    /// Where to sign in as somebody else.
    pub(super) switch: String,
    /// The tenant.
    pub(super) tenant: String,
    /// Who is signed in.
    pub(super) email: String,
    /// The endpoints.
    pub(super) resources: Vec<String>,
    /// The token of the session's forms.
    pub(super) csrf: String,
    /// The sealed transaction.
    pub(super) transaction: String,
}

/// The tick boxes of one server or toolset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    /// What people call it.
    pub(super) title: String,
    /// Whether it is a toolset, which is allowed as such when all of it is ticked.
    pub(super) is_toolset: bool,
    /// One line each.
    pub(super) lines: Vec<Line>,
}

/// One tick box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// As the form sends it.
    pub(super) scope: String,
    /// What of the server; none for everything.
    pub(super) wording: Option<Wording>,
    /// What people call the server, where the heading does not say.
    pub(super) server: Option<String>,
}

/// Goes on to the application, by itself or by a link.
#[derive(Template)]
#[template(path = "oauth/onward.html")]
pub(super) struct OnwardPage {
    pub(super) shell: Lone,
    /// What the application is called.
    pub(super) name: String,
    /// Where the link leads.
    pub(super) href: String,
    /// Where the answer goes, for people.
    pub(super) answered_at: String,
    /// What happened.
    pub(super) what: Onward,
}

/// What an [`OnwardPage`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) enum Onward {
    /// The browser goes there by itself.
    Leaving,
    /// The user allowed it; an app of the device takes it from here.
    Allowed,
    /// The application is told no, and cannot be trusted with the user's browser.
    Refused,
}

#[derive(Template)]
#[template(path = "oauth/fault.html")]
struct FaultPage {
    shell: Lone,
    text: String,
}

impl Nothing {
    /// The heading of the page.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Granted => "Nothing is granted yet",
            Self::Approved => "Not approved yet",
            Self::Suspended => "This application is suspended",
        }
    }

    /// What the client is told, when the user goes back to it.
    pub(super) const fn reason(self) -> &'static str {
        match self {
            Self::Granted => "nothing is granted to this client for this resource",
            Self::Approved => "this client waits for approval",
            Self::Suspended => "this client is suspended",
        }
    }
}

/// The tick boxes in groups: by server in the order of the servers' names, then by toolset.
pub(super) fn groups(offer: &Offer) -> Vec<Group> {
    let mut groups: BTreeMap<Heading<'_>, Vec<Line>> = BTreeMap::new();
    for (heading, scope) in offer.boxes() {
        let of = matches!(heading, Heading::Toolset(_)).then(|| scope.server().map(|server| offer.title(server)));
        groups.entry(heading).or_default().push(Line {
            scope: scope.to_string(),
            wording: Wording::of(scope),
            server: of.flatten(),
        });
    }
    let group = |(heading, lines)| match heading {
        Heading::Server(name) => Group { title: offer.title(name), is_toolset: false, lines },
        Heading::Toolset(name) => Group { title: offer.toolsets.title(name), is_toolset: true, lines },
    };
    groups.into_iter().map(group).collect()
}

/// A scope in words.
pub(super) fn in_words(scope: &Scope, offer: &Offer) -> String {
    let title = scope.toolset().map(|name| offer.toolsets.title(name)).or(scope.server().map(|name| offer.title(name)));
    wording::in_words(scope, &title.unwrap_or_default())
}

/// What the user was shown, for the audit.
pub(super) fn said(page: &ConsentPage) -> Vec<String> {
    let app = &page.frame.app;
    let mut said = vec![format!("{} wants to act for {}", app.name, page.frame.email)];
    said.extend(app.document_host.iter().map(|host| format!("verified host: {host}")));
    said.extend(app.unverified.then(|| "unverified".to_owned()));
    said.push(format!("answered at: {}", app.answered_at));
    said.extend(app.warning.map(str::to_owned));
    said.extend(page.frame.resources.iter().map(|resource| format!("resource: {resource}")));
    for group in &page.groups {
        said.extend(group.lines.iter().map(|line| format!("asked: {}", line.words(&group.title))));
        said.extend(group.is_toolset.then(|| format!("all of it: {} as it is and as it grows", group.title)));
    }
    said.extend(page.held.iter().map(|scope| format!("allowed before: {scope}")));
    said.extend(page.withheld.iter().map(|scope| format!("not granted: {scope}")));
    said
}

impl Line {
    /// What the tick box says, without its heading.
    pub(super) fn words(&self, title: &str) -> String {
        match (&self.server, &self.wording) {
            (Some(server), Some(wording)) => format!("{title}: {server}: {wording}"),
            (None, Some(wording)) => format!("{title}: {wording}"),
            (_, None) => format!("Everything that {title} offers"),
        }
    }
}

/// A page that names what is wrong and leads nowhere.
pub(super) fn show_fault(headers: &HeaderMap, fault: &PageFault) -> Result<Response, PageError> {
    let page = FaultPage { shell: Lone::new(headers, fault.title()), text: fault.to_string() };
    let mut response = show_with(fault.status(), &page)?;
    if fault.status() == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    }
    response.extensions_mut().insert(Refused { code: fault.code(), reason: fault.to_string(), client: None });
    Ok(response)
}
