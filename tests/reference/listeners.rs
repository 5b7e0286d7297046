//! Who is to be told of changes: legacy sessions, and the subscriptions of modern clients.
//!
//! Invariant: nobody hears of a resource that they did not subscribe to; a listener that is gone is forgotten.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use rmcp::{
    Peer, RoleServer,
    model::ResourceUpdatedNotificationParam,
    service::{SubscriptionContext, SubscriptionSink},
};

/// Everyone who listens.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    next: AtomicU64,
    sessions: Mutex<HashMap<u64, Session>>,
    subscriptions: Mutex<HashMap<u64, SubscriptionSink>>,
}

#[derive(Debug, Clone)]
struct Session {
    peer: Peer<RoleServer>,
    uris: HashSet<String>,
}

/// What changed.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Tools,
    Prompts,
    Resources,
    Resource(String),
}

impl Listeners {
    /// A number for a session that may come.
    pub(crate) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// A session has begun.
    pub(crate) fn session_began(&self, number: u64, peer: Peer<RoleServer>) {
        lock(&self.sessions).entry(number).or_insert_with(|| Session { peer, uris: HashSet::new() });
    }

    /// A session wants to hear of a resource.
    pub(crate) fn subscribe(&self, number: u64, peer: Peer<RoleServer>, uri: &str) {
        self.session_began(number, peer);
        if let Some(session) = lock(&self.sessions).get_mut(&number) {
            session.uris.insert(uri.to_owned());
        }
    }

    /// A session has heard enough of a resource.
    pub(crate) fn unsubscribe(&self, number: u64, uri: &str) {
        if let Some(session) = lock(&self.sessions).get_mut(&number) {
            session.uris.remove(uri);
        }
    }

    /// Keeps a modern subscription until its client leaves.
    pub(crate) async fn listen(&self, subscription: &SubscriptionContext) {
        let number = self.number();
        lock(&self.subscriptions).insert(number, subscription.sink().clone());
        subscription.cancelled().await;
        lock(&self.subscriptions).remove(&number);
    }

    /// Tells everyone whom it concerns.
    pub(crate) async fn tell(&self, change: &Change) {
        lock(&self.sessions).retain(|_, session| !session.peer.is_transport_closed());
        let sessions: Vec<Session> = lock(&self.sessions).values().cloned().collect();
        for session in sessions {
            tell_session(&session, change).await;
        }
        let subscriptions: Vec<SubscriptionSink> = lock(&self.subscriptions).values().cloned().collect();
        for subscription in subscriptions {
            // What its filter does not name, a subscription refuses to send.
            let _told_or_filtered = match change {
                Change::Tools => subscription.notify_tool_list_changed().await,
                Change::Prompts => subscription.notify_prompt_list_changed().await,
                Change::Resources => subscription.notify_resource_list_changed().await,
                Change::Resource(uri) => subscription.notify_resource_updated(uri).await,
            };
        }
    }
}

async fn tell_session(session: &Session, change: &Change) {
    let peer = &session.peer;
    // A session whose client left between two lines hears nothing any more.
    let _told_or_gone = match change {
        Change::Tools => peer.notify_tool_list_changed().await,
        Change::Prompts => peer.notify_prompt_list_changed().await,
        Change::Resources => peer.notify_resource_list_changed().await,
        Change::Resource(uri) if session.uris.contains(uri) => {
            peer.notify_resource_updated(ResourceUpdatedNotificationParam::new(uri)).await
        }
        Change::Resource(_) => Ok(()),
    };
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
