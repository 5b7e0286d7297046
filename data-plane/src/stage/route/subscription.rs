//! What a subscription may ask for: `subscriptions/listen` without what its caller may not use (MCP 2026-07-28,
//! basic/patterns/subscriptions: a server honours a subset, and says which).
//!
//! Invariant: of a member of the filter as much is asked of the server as its caller may use, and it is looked at again
//! with every policy while the subscription lasts.

use tollgate_proto::{Name, access::Kind};

use super::needs::{Needs, Use};
use crate::{
    mcp::{
        json::{Bounds, Object, Raw},
        message::{Message, Request, read_upstream, write_request},
    },
    refusal::Refusal,
    stage::{authorize::permit, identify::Caller},
};

const FILTER: &str = "notifications";
/// The member that lists resources one by one.
const URIS: &str = "resourceSubscriptions";
/// The member that lists tasks one by one.
const TASKS: &str = "taskIds";
/// Of either as many as a subscription may have: each is looked at again with every policy.
const NAMED_MAX: usize = 1_000;
/// JSON-RPC: the parameters are wrong.
const INVALID_PARAMS: i64 = -32602;

/// Whether this subscription is one that can be kept.
///
/// # Errors
/// [`Refusal::Malformed`] when it names too much.
pub fn check(request: &Request) -> Result<(), Refusal> {
    let filter = filter(request).unwrap_or_default();
    let count = |key| filter.get(key).and_then(Raw::array).map_or(0, |named| named.len());
    match [URIS, TASKS].into_iter().map(|key| (key, count(key))).find(|(_, count)| *count > NAMED_MAX) {
        None => Ok(()),
        Some((key, count)) => {
            let detail = format!(
                "`params.{FILTER}.{key}` has {count} entries, and one subscription may have {NAMED_MAX}: \
                 open several"
            );
            Err(Refusal::Malformed { code: INVALID_PARAMS, detail })
        }
    }
}

/// What somebody must be allowed who subscribes to all that is asked for.
pub fn needs(server: &Name, request: &Request) -> Needs {
    let filter = filter(request).unwrap_or_default();
    let members = filter.iter().flat_map(|(key, wanted)| needs_of(server, key, wanted));
    Needs::All(std::iter::once(Needs::AnythingOf(server.clone(), None)).chain(members).collect())
}

/// The request with as much of its filter as the caller may have. `now` in unix seconds.
pub fn narrowed(caller: &Caller, server: &Name, request: Request, now: i64) -> Request {
    let may_have = |needs: &Needs| permit(caller, needs, now).is_ok();
    match filter(&request) {
        Some(filter) if !filter.iter().all(|(key, wanted)| needs_of(server, key, wanted).iter().all(may_have)) => {
            without_the_rest(&request, server, &filter, may_have)
        }
        _ => request,
    }
}

fn filter(request: &Request) -> Option<Object> {
    request.params.get(FILTER).and_then(Raw::object)
}

/// What somebody must be allowed who hears of one member of the filter.
fn needs_of(server: &Name, key: &str, wanted: &Raw) -> Vec<Needs> {
    match (key, uris(key, wanted)) {
        // Anybody may hear of these who may use anything of the server.
        ("toolsListChanged" | "taskIds", _) => Vec::new(),
        ("promptsListChanged", _) => vec![Needs::AnythingOf(server.clone(), Some(Kind::Prompt))],
        ("resourcesListChanged", _) => vec![Needs::AnythingOf(server.clone(), Some(Kind::Resource))],
        (_, Some(uris)) => uris.iter().map(|uri| of_uri(server, uri)).collect(),
        _ => vec![Needs::Use(Use::whole(server))],
    }
}

fn of_uri(server: &Name, uri: &str) -> Needs {
    Needs::Use(Use::of(server, Kind::Resource, uri, Some(Raw::empty_object())))
}

/// The resources that are subscribed to, where this member lists them.
fn uris(key: &str, wanted: &Raw) -> Option<Vec<String>> {
    let uris = wanted.array().filter(|_| key == URIS)?;
    uris.iter().map(|uri| uri.as_str().map(String::from)).collect()
}

fn without_the_rest(request: &Request, server: &Name, filter: &Object, may_have: impl Fn(&Needs) -> bool) -> Request {
    let written = write_request(&request.id, &request.method, |params| {
        for (key, value) in request.params.iter() {
            if key != FILTER {
                params.raw(key, value);
                continue;
            }
            params.object(key, |kept| {
                for (key, wanted) in filter.iter() {
                    if needs_of(server, key, wanted).iter().all(&may_have) {
                        kept.raw(key, wanted);
                    } else if let Some(uris) = uris(key, wanted) {
                        let mut allowed = uris.iter().filter(|uri| may_have(&of_uri(server, uri))).peekable();
                        if allowed.peek().is_some() {
                            kept.array(key, |kept| allowed.for_each(|uri| kept.raw(&Raw::text(uri))));
                        }
                    }
                }
            });
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

    fn server() -> Name {
        "demo".parse().expect("a name")
    }

    #[test]
    fn what_concerns_tools_and_tasks_is_for_all_and_what_is_unheard_of_for_who_has_everything() {
        let anything = Needs::AnythingOf(server(), None);
        for filter in ["{}", r#"{"toolsListChanged":true}"#, r#"{"taskIds":["t"],"toolsListChanged":true}"#] {
            assert_eq!(needs(&server(), &listen(filter)), Needs::All(vec![anything.clone()]), "{filter}");
        }
        let whole = Needs::Use(Use::whole(&server()));
        for filter in [r#"{"unheardOf":1}"#, r#"{"resourceSubscriptions":[1]}"#, r#"{"resourceSubscriptions":"a:b"}"#] {
            assert_eq!(
                needs(&server(), &listen(filter)),
                Needs::All(vec![anything.clone(), whole.clone()]),
                "{filter}"
            );
        }
    }

    #[test]
    fn a_subscription_has_bounds() {
        for key in [URIS, TASKS] {
            let filter = |count: usize| listen(&format!(r#"{{"{key}":[{}]}}"#, vec![r#""a:b""#; count].join(",")));
            check(&filter(NAMED_MAX)).unwrap();
            let Err(Refusal::Malformed { code: INVALID_PARAMS, detail }) = check(&filter(NAMED_MAX + 1)) else {
                panic!("it names too much")
            };
            assert!(detail.contains(key) && detail.contains("1001"), "{detail}");
        }
    }

    #[test]
    fn the_rest_is_left_out_and_everything_else_stays() {
        let asked = listen(r#"{"resourceSubscriptions":["a:b","a:c"],"unheardOf":1,"toolsListChanged":true}"#);
        let allowed = of_uri(&server(), "a:c");
        let narrowed = without_the_rest(&asked, &server(), &filter(&asked).expect("a filter"), |it| *it == allowed);
        assert_eq!(narrowed, listen(r#"{"resourceSubscriptions":["a:c"],"toolsListChanged":true}"#));
        let none = without_the_rest(&asked, &server(), &filter(&asked).expect("a filter"), |_| false);
        assert_eq!(none, listen(r#"{"toolsListChanged":true}"#));
    }
}
