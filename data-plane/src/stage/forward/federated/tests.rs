use super::*;
use crate::mcp::message::{Message, read_upstream};

fn read(text: &str) -> Message {
    read_upstream(&Bytes::copy_from_slice(text.as_bytes()), &Bounds::UPSTREAM).expect("a message")
}

fn notification(text: &str) -> Notification {
    match read(text) {
        Message::Notification(notification) => notification,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_request_has_one_id_in_a_session_and_another_in_the_next() {
    let (one, two) = (SessionId::generate().unwrap(), SessionId::generate().unwrap());
    let id = RequestId::Integer(1);
    assert_eq!(request_id(&one, &id), request_id(&one, &id));
    assert_ne!(request_id(&one, &id), request_id(&two, &id));
    assert_ne!(request_id(&one, &id), request_id(&one, &RequestId::Text("1".into())), "the type counts");
}

#[test]
fn a_cancellation_names_the_request_as_servers_know_it_and_keeps_the_rest() {
    let session = SessionId::generate().unwrap();
    let cancelled = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":4,"reason":"late"}}"#;
    let told = told(&session, &notification(cancelled)).expect("servers are told");
    let Message::Notification(told) = read(std::str::from_utf8(&told).unwrap()) else { panic!("{told:?}") };
    let id = told.params.get("requestId").and_then(RequestId::read);
    assert_eq!(id, Some(request_id(&session, &RequestId::Integer(4))));
    assert_eq!(told.params.get("reason").and_then(Raw::as_str).as_deref(), Some("late"));
}

#[test]
fn what_concerns_no_server_is_told_to_none() {
    let session = SessionId::generate().unwrap();
    for method in ["notifications/initialized", "notifications/progress", "notifications/unheard-of"] {
        let text = format!(r#"{{"jsonrpc":"2.0","method":"{method}"}}"#);
        assert_eq!(told(&session, &notification(&text)), None, "{method}");
    }
    let roots = r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}"#;
    assert_eq!(told(&session, &notification(roots)).as_deref(), Some(roots.as_bytes()));
}
