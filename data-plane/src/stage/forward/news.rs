//! What the stream of an agent says beside what its server says there: that a list has changed, as another stream has
//! heard, or because the policy shows the agent something else.
//!
//! Invariant: of what was said to others nothing is told but that a list changed, and only of lists that the agent may
//! see; what the server says on the stream itself is not said twice.

mod pace;

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use tokio::time::{Instant, sleep_until};

use super::{ask::Ask, exchange::FromServer};
use crate::{
    bridge::to_legacy::listen::Filter,
    mcp::{
        message::{Notification, Params, Request, RequestId, write_notification},
        method::ServerNotice,
        sse,
    },
    policy::Server,
    stage::{
        authorize::{Sight, View},
        identify::Caller,
    },
    store::{Announcement, Announcements, ChangedList},
};

pub use pace::{From, Pace};

/// How an agent is told something.
#[derive(Debug)]
pub enum Voice {
    /// In its legacy session.
    Session,
    /// In answer to its `subscriptions/listen`.
    Subscription {
        /// The request.
        id: RequestId,
        /// What it is told of.
        filter: Filter,
    },
}

/// What is said beside what the stream's one server says.
#[derive(Debug)]
pub struct News {
    announcements: Announcements,
    server: Arc<Server>,
    hearer: String,
    voice: Voice,
    sight: Option<Sight>,
    pace: Pace,
    said: VecDeque<Bytes>,
}

/// The list of which a notification says that it changed.
pub fn changed_list(notification: &Notification) -> Option<ChangedList> {
    match ServerNotice::parse(&notification.method)? {
        ServerNotice::ToolsListChanged => Some(ChangedList::Tools),
        ServerNotice::PromptsListChanged => Some(ChangedList::Prompts),
        ServerNotice::ResourcesListChanged => Some(ChangedList::Resources),
        _ => None,
    }
}

/// Until this moment; for ever without one.
pub async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

impl Voice {
    /// For a request that is yet to be acknowledged.
    pub fn of_request(request: &Request) -> Self {
        Self::Subscription { id: request.id.clone(), filter: Filter::default() }
    }

    /// That a list has changed; `None` for a list that the agent does not listen to.
    pub fn changed(&self, list: ChangedList) -> Option<Bytes> {
        let notice = match list {
            ChangedList::Tools => ServerNotice::ToolsListChanged,
            ChangedList::Prompts => ServerNotice::PromptsListChanged,
            ChangedList::Resources => ServerNotice::ResourcesListChanged,
        };
        match self {
            Self::Session => Some(write_notification(notice.as_str())),
            Self::Subscription { id, filter } => {
                filter.passed(&Notification { method: notice.as_str().into(), params: Params::default() }, id)
            }
        }
    }
}

impl News {
    /// For the stream of a caller at this server. To be made before the server is asked, so that nothing is missed.
    pub fn of(ask: &Ask, caller: &Caller, server: &Arc<Server>, voice: Voice) -> Self {
        Self {
            announcements: ask.gateway().store.announcements(),
            server: Arc::clone(server),
            hearer: ask.hearer().to_owned(),
            voice,
            sight: Sight::of(&View::new(caller, ask.gateway().now()), server),
            pace: Pace::default(),
            said: VecDeque::new(),
        }
    }

    /// What is to be said next. Cancel safe.
    pub async fn next(&mut self) -> sse::Event {
        loop {
            let due = self.pace.due(Instant::now());
            self.said.extend(due.into_iter().filter_map(|list| self.voice.changed(list)));
            if let Some(data) = self.said.pop_front() {
                return sse::Event { event: Some("message".into()), data: Some(data), ..sse::Event::default() };
            }
            tokio::select! {
                announcement = self.announcements.next() => self.announced(&announcement),
                () = until(self.pace.next()) => {}
            }
        }
    }

    /// The server said this on the stream.
    pub fn heard(&mut self, said: &FromServer) {
        let FromServer::Notification(notification, _) = said else { return };
        if let Some(list) = changed_list(notification) {
            self.pace.passed(self.server.id, list, Instant::now());
        }
        if let Voice::Subscription { filter, .. } = &mut self.voice
            && ServerNotice::parse(&notification.method) == Some(ServerNotice::SubscriptionsAcknowledged)
        {
            *filter = Filter::read(&notification.params).unwrap_or_default();
        }
    }

    /// The policy was looked at again: this is what the caller may do by now.
    pub fn seen(&mut self, caller: &Caller, now: i64) {
        let server = caller.server_by_id(self.server.id).map_or(&self.server, |server| server);
        let sight = Sight::of(&View::new(caller, now), server);
        for list in Sight::changed(self.sight.as_ref(), sight.as_ref()) {
            self.pace.heard(From::Policy, self.server.id, list, Instant::now());
        }
        self.server = Arc::clone(server);
        self.sight = sight;
    }

    fn announced(&mut self, announcement: &Announcement) {
        let lists = match announcement {
            Announcement::ListChanged { server, list, told, .. }
                if *server == self.server.id && told.as_deref() != Some(&*self.hearer) =>
            {
                vec![*list]
            }
            Announcement::Missed => ChangedList::ALL.to_vec(),
            _ => return,
        };
        for list in lists {
            if self.sight.as_ref().is_some_and(|sight| sight.has(list)) {
                self.pace.heard(From::Elsewhere, self.server.id, list, Instant::now());
            }
        }
    }
}
