use proptest::prelude::*;

use super::*;
use crate::mcp::json;

fn decode(pieces: &[&[u8]]) -> Vec<Event> {
    let mut decoder = Decoder::new(Bounds::UPSTREAM);
    pieces.iter().for_each(|piece| decoder.push(piece).unwrap());
    std::iter::from_fn(|| decoder.next_event()).collect()
}

fn data(text: &str) -> Event {
    Event { data: Some(Bytes::copy_from_slice(text.as_bytes())), ..Event::default() }
}

#[test]
fn fields_are_read_as_the_standard_says() {
    let stream = b"\xef\xbb\xbf: comment\nevent: message\nid: 1\nretry: 250\ndata: {\"a\":\ndata:1}\n\n\
        data\n\nunknown: x\ndata:  two spaces\nretry: 1s\nid: a\0b\n\nid\n\n: only a comment\n\nevent: lost\n\ndata: cut off";
    let first = Event {
        event: Some("message".into()),
        id: Some("1".into()),
        retry: Some(250),
        data: Some(Bytes::from_static(b"{\"a\":\n1}")),
    };
    let priming = Event { id: Some("".into()), ..Event::default() };
    assert_eq!(decode(&[stream]), [first, data(""), data(" two spaces"), priming]);
}

#[test]
fn every_line_ending_ends_a_line_once() {
    for stream in [
        "data: a\n\ndata: b\n\n",
        "data: a\r\n\r\ndata: b\r\n\r\n",
        "data: a\r\rdata: b\r\r",
        "data: a\r\n\rdata: b\n\r\n",
    ] {
        assert_eq!(decode(&[stream.as_bytes()]), [data("a"), data("b")], "{stream:?}");
        let bytes: Vec<_> = stream.as_bytes().chunks(1).collect();
        assert_eq!(decode(&bytes), [data("a"), data("b")], "{stream:?}");
    }
    assert_eq!(decode(&[b"data: a\r", b"", b"\ndata: b\r\n\r", b"\n"]), [data("a\nb")]);
}

#[test]
fn an_event_comes_out_as_soon_as_its_blank_line_begins() {
    assert_eq!(decode(&[b"data: a\r\n\r"]), [data("a")]);
}

#[test]
fn a_stream_that_ends_within_an_event_shows_it() {
    let mut decoder = Decoder::new(Bounds::UPSTREAM);
    assert!(decoder.is_between_events());
    decoder.push(b"data: a").unwrap();
    assert!(!decoder.is_between_events());
    decoder.push(b"\n").unwrap();
    assert!(!decoder.is_between_events());
    decoder.push(b"\n").unwrap();
    assert!(decoder.is_between_events());
}

#[test]
fn a_stream_without_end_of_line_or_event_is_cut() {
    let bounds = Bounds { event_bytes_max: 32, line_bytes_max: 16 };
    let push = |pieces: &[&[u8]]| {
        let mut decoder = Decoder::new(bounds);
        pieces.iter().try_for_each(|piece| decoder.push(piece)).map(|()| decoder.next_event())
    };
    assert_eq!(push(&[b"data: 0123456789\n\n"]), Ok(Some(data("0123456789"))));
    assert_eq!(push(&[b"data: 0123456789a\n"]), Err(SseError::LineTooLong(16)));
    assert_eq!(push(&[b"data: 0123", b"456789", b"a"]), Err(SseError::LineTooLong(16)));
    assert_eq!(push(&[b": 0123456789abcdef"]), Err(SseError::LineTooLong(16)));
    assert_eq!(push(&[&b"data: 01234567\n"[..]; 3]), Err(SseError::EventTooLarge(32)));
    assert_eq!(push(&[&b"data\n"[..]; 9]), Err(SseError::EventTooLarge(32)));
    assert_eq!(push(&[&b": comment\n"[..]; 99]), Ok(None));
    assert_eq!(push(&[b"id: \xff\n"]), Err(SseError::NotUtf8));
}

#[test]
fn events_before_a_fault_are_still_there() {
    let mut decoder = Decoder::new(Bounds { event_bytes_max: 16, line_bytes_max: 16 });
    assert!(decoder.push(b"data: a\n\ndata: 0123456789abcdef\n\n").is_err());
    assert_eq!(decoder.next_event(), Some(data("a")));
}

#[test]
fn no_text_becomes_a_field_of_its_own() {
    let event = Event {
        event: Some("message\nid: 9".into()),
        id: Some("1\r\ndata: x".into()),
        retry: None,
        data: Some(Bytes::from_static("a\nid: 2\rb\r\n\r\n\u{2028}data: c\0".as_bytes())),
    };
    let read = decode(&[&event.encode()]);
    assert_eq!(read.len(), 1);
    assert_eq!(read[0].event.as_deref(), Some("messageid: 9"));
    assert_eq!(read[0].id.as_deref(), Some("1data: x"));
    assert_eq!(read[0].data.as_deref(), Some("a\nid: 2\nb\n\n\u{2028}data: c\0".as_bytes()));
}

#[test]
fn a_message_stands_on_one_line() {
    let body = Bytes::from_static(b"{\n  \"a\": \"x\\ny\",\r\n  \"b\": 1\n}");
    let message = json::parse(&body, &json::Bounds::UPSTREAM).unwrap();
    let written = message_event(&message, Some("7"));
    assert_eq!(written, "event: message\nid: 7\ndata: {   \"a\": \"x\\ny\",    \"b\": 1 }\n\n");
    assert_eq!(decode(&[&KEEP_ALIVE, &written]).len(), 1);
}

fn any_event() -> impl Strategy<Value = Event> {
    let line = || "[ -~é:]{0,12}";
    let data = prop::collection::vec(line(), 0..4).prop_map(|lines| Bytes::from(lines.join("\n")));
    (prop::option::of(line()), prop::option::of(line()), any::<Option<u64>>(), prop::option::of(data)).prop_map(
        |(event, id, retry, data)| Event { event: event.map(Into::into), id: id.map(Into::into), retry, data },
    )
}

proptest! {
    #[test]
    fn any_cutting_gives_the_same_events(
        stream in prop::collection::vec(prop_oneof![
            Just("\r"), Just("\n"), Just("\r\n"), Just("data: x"), Just("data"), Just(":"), Just("id: é"), Just("\u{feff}"),
            Just("retry: 5"), Just("event: e"), Just(" "),
        ], 0..40).prop_map(|parts| parts.concat().into_bytes()),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).chain([0, stream.len()]).collect();
        cuts.sort_unstable();
        let pieces: Vec<_> = cuts.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect();
        prop_assert_eq!(decode(&pieces), decode(&[&stream]));
    }

    #[test]
    fn what_is_encoded_decodes_to_itself(events in prop::collection::vec(any_event(), 0..5)) {
        let stream: Vec<u8> = events.iter().flat_map(Event::encode).collect();
        let meaningful = |event: &Event| event.id.is_some() || event.retry.is_some() || event.data.is_some();
        let expected: Vec<_> = events.into_iter().filter(meaningful).collect();
        prop_assert_eq!(decode(&[&stream]), expected);
    }
}
