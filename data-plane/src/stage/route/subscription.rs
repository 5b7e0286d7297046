//! What a subscription may ask for: `subscriptions/listen` without what its caller may not use (MCP 2026-07-28,
//! basic/patterns/subscriptions: a server honours a subset, and says which).
//!
//! Invariant: who may not use a whole server hears nothing of its prompts and resources, only that its tools changed.

use tollgate_proto::Scope;

use crate::{
    mcp::{
        json::{Bounds, Object, Raw},
        message::{Message, Request, read_upstream, write_request},
    },
    policy::{Permission, Server},
    stage::identify::Caller,
};

const FILTER: &str = "notifications";
/// What anybody may hear who may use anything of a server.
const HEARD_BY_ALL: [&str; 2] = ["toolsListChanged", "taskIds"];

/// The request with as much of its filter as the caller may have. `now` in unix seconds.
pub fn narrowed(caller: &Caller, server: &Server, request: Request, now: i64) -> Request {
    let whole = Scope::Server { server: server.name.clone() };
    let may_use_all = caller.permission(&whole, now) == Permission::Allowed;
    match filter(&request) {
        Some(filter) if !may_use_all && !is_heard_by_all(&filter) => without_the_rest(&request, &filter),
        _ => request,
    }
}

/// Whether nothing is asked for that needs the whole server.
pub fn is_for_all(request: &Request) -> bool {
    filter(request).is_none_or(|filter| is_heard_by_all(&filter))
}

fn filter(request: &Request) -> Option<Object> {
    request.params.get(FILTER).and_then(Raw::object)
}

fn is_heard_by_all(filter: &Object) -> bool {
    filter.iter().all(|(kind, _)| HEARD_BY_ALL.contains(&kind))
}

fn without_the_rest(request: &Request, filter: &Object) -> Request {
    let written = write_request(&request.id, &request.method, |params| {
        for (key, value) in request.params.iter() {
            if key == FILTER {
                params.object(key, |kept| {
                    let for_all = filter.iter().filter(|(kind, _)| HEARD_BY_ALL.contains(kind));
                    for_all.for_each(|(kind, wanted)| kept.raw(kind, wanted));
                });
            } else {
                params.raw(key, value);
            }
        }
    });
    match read_upstream(&written, &Bounds::UPSTREAM) {
        Ok(Message::Request(narrowed)) => narrowed,
        other => unreachable!("a request that was read and written is one: {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn listen(filter: &str) -> Request {
        let text = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{{"notifications":{filter},"_meta":{{"a":1}}}}}}"#
        );
        match read_upstream(&Bytes::from(text), &Bounds::UPSTREAM) {
            Ok(Message::Request(request)) => request,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_what_concerns_tools_is_for_all() {
        for filter in ["{}", r#"{"toolsListChanged":true}"#, r#"{"taskIds":["t"],"toolsListChanged":true}"#] {
            assert!(is_for_all(&listen(filter)), "{filter}");
        }
        for filter in [r#"{"promptsListChanged":true}"#, r#"{"resourceSubscriptions":["a:b"]}"#, r#"{"unheardOf":1}"#] {
            assert!(!is_for_all(&listen(filter)), "{filter}");
        }
    }

    #[test]
    fn the_rest_is_left_out_and_everything_else_stays() {
        let asked = listen(r#"{"resourceSubscriptions":["a:b"],"toolsListChanged":true}"#);
        let narrowed = without_the_rest(&asked, &filter(&asked).expect("a filter"));
        assert_eq!(narrowed, listen(r#"{"toolsListChanged":true}"#));
    }
}
