//! Who hears what a server says on a link's stream, which carries everything for everyone.
//!
//! Invariant: an answer is heard by who asked, once. What waits for somebody who does not listen is bounded.

use tokio::sync::mpsc;

use crate::{
    mcp::{
        json::Raw,
        message::{Message, Notification, Request, RequestId},
        method::ServerNotice,
        sse,
    },
    upstream::answer::Queued,
};

/// Events that may wait for one reader.
const WAITING_MAX: usize = 64;

/// Who waits for what.
#[derive(Debug, Default)]
pub(super) struct Routes {
    running: Vec<Running>,
    listener: Option<mpsc::Sender<sse::Event>>,
    closed: bool,
}

/// A request that is not answered yet.
#[derive(Debug)]
struct Running {
    id: RequestId,
    /// What notifications of its progress carry.
    progress: Option<Raw>,
    out: mpsc::Sender<sse::Event>,
}

/// Whether somebody heard something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    BySomebody,
    ByNobody,
}

impl Routes {
    /// Where the answer to this request will come; nowhere once the link is closed, or while another request runs under
    /// the same id.
    pub(super) fn expect(&mut self, request: &Request) -> Option<Queued> {
        self.running.retain(|running| !running.out.is_closed());
        if self.closed || self.running.iter().any(|running| running.id == request.id) {
            return None;
        }
        let (out, queue) = mpsc::channel(WAITING_MAX);
        let progress = request.params.progress_token().cloned();
        self.running.push(Running { id: request.id.clone(), progress, out });
        Some(queue)
    }

    /// Where what nobody asked for will come.
    pub(super) fn listen(&mut self) -> Option<Queued> {
        let (out, queue) = mpsc::channel(WAITING_MAX);
        let is_open = !self.closed;
        self.listener = is_open.then_some(out);
        is_open.then_some(queue)
    }

    /// Whether anybody waits.
    pub(super) fn is_busy(&self) -> bool {
        self.listener.as_ref().is_some_and(|out| !out.is_closed())
            || self.running.iter().any(|running| !running.out.is_closed())
    }

    /// Everybody hears the end.
    pub(super) fn close(&mut self) {
        *self = Self { closed: true, ..Self::default() };
    }

    /// Gives an event to whom it concerns: an answer to who asked; progress to the request it is of; a question to the
    /// request that came last, since servers ask in the middle of a call; anything else to who listens.
    pub(super) fn route(&mut self, message: &Message, event: sse::Event) -> Heard {
        match message {
            Message::Response(response) => {
                let position = self.running.iter().position(|running| response.id.as_ref() == Some(&running.id));
                let Some(position) = position else { return Heard::ByNobody };
                let running = self.running.remove(position);
                give(&running.out, event)
            }
            Message::Notification(notification) => {
                let to = self.of_progress(notification).or_else(|| self.concerning_all(notification));
                to.map_or(Heard::ByNobody, |out| give(out, event))
            }
            Message::Request(_) => {
                let to = self.last().or(self.listener.as_ref());
                to.map_or(Heard::ByNobody, |out| give(out, event))
            }
        }
    }

    fn of_progress(&self, notification: &Notification) -> Option<&mpsc::Sender<sse::Event>> {
        let token = notification.params.get("progressToken")?;
        let running = self.running.iter().find(|running| running.progress.as_ref() == Some(token))?;
        Some(&running.out)
    }

    fn concerning_all(&self, notification: &Notification) -> Option<&mpsc::Sender<sse::Event>> {
        let listener = self.listener.as_ref().filter(|out| !out.is_closed());
        match ServerNotice::parse(&notification.method) {
            // Progress of a request that is answered or given up.
            Some(ServerNotice::Progress) => None,
            Some(ServerNotice::Message | ServerNotice::Cancelled) => self.last().or(listener),
            _ => listener.or_else(|| self.last()),
        }
    }

    fn last(&self) -> Option<&mpsc::Sender<sse::Event>> {
        self.running.iter().rev().map(|running| &running.out).find(|out| !out.is_closed())
    }
}

/// Who does not read for long misses what came then; an answer that is missed ends the stream of its request.
fn give(out: &mpsc::Sender<sse::Event>, event: sse::Event) -> Heard {
    if out.try_send(event).is_ok() { Heard::BySomebody } else { Heard::ByNobody }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::{Value, json};

    use super::*;
    use crate::upstream::answer;

    fn message(value: &Value) -> (Message, sse::Event) {
        let data = Bytes::from(value.to_string());
        (answer::read(&data).unwrap(), sse::Event { data: Some(data), ..sse::Event::default() })
    }

    fn expect(routes: &mut Routes, id: u64, token: &str) -> Option<Queued> {
        let params = json!({"name": "t", "_meta": {"progressToken": token}});
        let request = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params});
        let (Message::Request(request), _) = message(&request) else { panic!("it is a request") };
        routes.expect(&request)
    }

    fn say(routes: &mut Routes, value: &Value) -> Heard {
        let (message, event) = message(value);
        routes.route(&message, event)
    }

    fn heard(queue: &mut Queued) -> Vec<Value> {
        std::iter::from_fn(|| queue.try_recv().ok())
            .map(|event| serde_json::from_slice(&event.data.expect("it has data")).unwrap())
            .collect()
    }

    #[test]
    fn everyone_hears_what_concerns_them() {
        let mut routes = Routes::default();
        let (mut first, mut second) = (expect(&mut routes, 1, "a").unwrap(), expect(&mut routes, 2, "b").unwrap());
        let mut listener = routes.listen().unwrap();
        let progress = |token: &str| json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": token}});
        let changed = json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"});
        let asked = json!({"jsonrpc": "2.0", "id": 9, "method": "roots/list"});
        let answer = |id: u64| json!({"jsonrpc": "2.0", "id": id, "result": {}});
        for said in [&progress("a"), &changed, &asked, &answer(2), &answer(1)] {
            assert_eq!(say(&mut routes, said), Heard::BySomebody, "{said}");
        }
        assert_eq!(heard(&mut first), [progress("a"), answer(1)]);
        assert_eq!(heard(&mut second), [asked, answer(2)]);
        assert_eq!(heard(&mut listener), [changed]);
        for said in [answer(1), answer(3), progress("b")] {
            assert_eq!(say(&mut routes, &said), Heard::ByNobody, "{said}");
        }
    }

    #[test]
    fn who_is_gone_hears_nothing_and_who_does_not_read_misses_some() {
        let mut routes = Routes::default();
        drop(expect(&mut routes, 1, "a"));
        assert!(!routes.is_busy());
        assert_eq!(say(&mut routes, &json!({"jsonrpc": "2.0", "id": 1, "result": {}})), Heard::ByNobody);
        let mut slow = expect(&mut routes, 1, "a").expect("the id is free again");
        assert!(expect(&mut routes, 1, "b").is_none(), "one id runs once");
        let asked = json!({"jsonrpc": "2.0", "id": 9, "method": "roots/list"});
        for _ in 0..100 {
            say(&mut routes, &asked);
        }
        assert_eq!(heard(&mut slow).len(), WAITING_MAX);
    }

    #[test]
    fn a_closed_link_takes_nothing() {
        let mut routes = Routes::default();
        let mut waiting = expect(&mut routes, 1, "a").unwrap();
        routes.close();
        assert!(waiting.try_recv().is_err_and(|end| end == mpsc::error::TryRecvError::Disconnected));
        assert!(expect(&mut routes, 2, "a").is_none());
        assert!(routes.listen().is_none());
    }
}
