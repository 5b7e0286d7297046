//! The targets with the texts that they start from.
//!
//! Invariant: a target takes any bytes.

use bytes::Bytes;
use serde_json::Value;
use tollgate_proto::Name;

use crate::mcp::{
    header::{decode, encode, encode_param, param_equals},
    json::{self, Bounds, Raw},
    message::{Edit, Incoming, Message, read, read_upstream},
    names::{self, Rest},
    sse::{self, Decoder, Event, SseError},
    uris,
    x_header::Mirrors,
};

pub(super) const MESSAGES: &[&[u8]] = &[
    br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add","arguments":{"a":1,"b":[true,null,-2.5e3]},"_meta":{"progressToken":"t"}}}"#,
    br#"{"jsonrpc":"2.0","id":"x","method":"completion/complete","params":{"ref":{"type":"ref/prompt","name":"p"},"argument":{"name":"a","value":"v"}}}"#,
    br#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7,"reason":"\u00e9\ud83d\ude00 \"q\""}}"#,
    br#"{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"a\nb"}],"isError":false}}"#,
    br#"{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"no"}}"#,
    br#"[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","method":"notifications/initialized"}]"#,
    b"{\"jsonrpc\":\"2.0\",\"id\":9007199254740992,\"method\":\"resources/read\",\"params\":{\"uri\":\"file:///\xc3\xa4\"}} ",
];

pub(super) const MESSAGE_TOKENS: &[&str] = &[
    "\"id\":",
    "\"method\":",
    "\"name\":",
    "\"Name\":",
    "\"params\":{",
    "\"result\":",
    "\"error\":{}",
    "\"_meta\":{",
    "\"jsonrpc\":\"2.0\",",
    "\\u0000",
    "\\ud800",
    "\\u006eame",
    "\\",
    "\"",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "null",
    "true",
    "-0",
    "1e400",
    "1.0",
    "0x1",
    "\u{feff}",
    "\u{0}",
    "\u{ff4e}ame",
    "\u{2028}",
    "{\"a\":1,\"a\":2}",
];

/// Whatever is read is what serde reads, and is written so that it reads the same again.
pub(super) fn reader(input: &[u8]) {
    let body = Bytes::copy_from_slice(input);
    match read(&body, &Bounds::AGENT) {
        Ok(Incoming::Single(message)) => {
            same_elsewhere(&message, &serde_json::from_slice(input).expect("another reader takes it too"));
        }
        Ok(Incoming::Batch(messages)) => {
            let seen: Vec<Value> = serde_json::from_slice(input).expect("another reader takes it too");
            assert_eq!(messages.len(), seen.len());
            messages.iter().zip(&seen).for_each(|(message, seen)| same_elsewhere(message, seen));
        }
        Err(error) => assert!([-32700, -32600, -32602].contains(&error.code()), "{error}"),
    }
    if let Ok(message) = read_upstream(&body, &Bounds::UPSTREAM) {
        assert!(serde_json::from_slice::<Value>(input).is_ok(), "another reader takes {message:?} too");
    }
}

fn same_elsewhere(message: &Message, seen: &Value) {
    let written = match message {
        Message::Request(request) => request.write(&Edit::default()),
        Message::Notification(notification) => notification.write(&Edit::default()),
        Message::Response(response) => response.write(response.id.as_ref()),
    };
    assert_eq!(read(&written, &Bounds::AGENT).as_ref(), Ok(&Incoming::Single(message.clone())));
    let written: Value = serde_json::from_slice(&written).expect("what is written is JSON");
    for member in ["method", "params", "result", "error"] {
        assert_eq!(written.get(member), seen.get(member), "{member}");
    }
    // An error without an id is one whose id is null.
    assert_eq!(written.get("id").unwrap_or(&Value::Null), seen.get("id").unwrap_or(&Value::Null));
}

pub(super) const STREAMS: &[&[u8]] = &[
    b"event: message\nid: 1\ndata: {\"jsonrpc\":\"2.0\"}\n\n",
    b": comment\r\nretry: 500\r\nid: a\r\ndata:\r\n\r\ndata: one\r\ndata: two\r\n\r\n",
    b"\xef\xbb\xbfdata: first\r\rdata: second\r\r",
    b"event: endpoint\ndata: /messages?session=1\n\nid\ndata\n\n",
];

pub(super) const STREAM_TOKENS: &[&str] =
    &["data:", "data: ", "id:", "event:", "retry:", "\n", "\r", "\r\n", "\n\n", "\r\r", ":", "\u{0}", "\u{feff}", " "];

const SMALL: sse::Bounds = sse::Bounds { event_bytes_max: 96, line_bytes_max: 64 };

/// The same events and the same fault come out of the whole and of single bytes; nothing is larger than its bounds, and
/// an event that is written is read as itself.
pub(super) fn events(input: &[u8]) {
    let whole = decoded([input].into_iter());
    assert_eq!(decoded(input.chunks(1)), whole);
    assert_eq!(decoded(input.chunks(7)), whole);
    for event in &whole.0 {
        let data = event.data.as_ref().map_or(0, Bytes::len);
        assert!(data <= SMALL.event_bytes_max, "{data} bytes in one event");
        let read = decoded([event.encode().as_ref()].into_iter());
        assert!(read.1.is_some() || read.0.len() == 1, "{event:?} was read as {read:?}");
    }
}

fn decoded<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Event>, Option<SseError>) {
    let mut decoder = Decoder::new(SMALL);
    let (mut events, mut fault) = (Vec::new(), None);
    for piece in pieces {
        fault = decoder.push(piece).err();
        events.extend(std::iter::from_fn(|| decoder.next_event()));
        if fault.is_some() {
            break;
        }
    }
    (events, fault)
}

pub(super) const VALUES: &[&[u8]] = &[
    b"eu-west 1",
    b"=?base64?w6k=?=",
    b" padded ",
    b"-9007199254740991",
    b"42.0",
    b"true",
    "größe".as_bytes(),
    b"a\r\nmcp-name: b",
];

pub(super) const VALUE_TOKENS: &[&str] =
    &["=?base64?", "?=", "=", "\t", "\r\n", "é", "\u{0}", "\u{7f}", "=?BASE64?", "1e3", "-0", ".0"];

/// Any text survives its header, a value that decodes has one reading, and an argument equals the header made of it.
pub(super) fn headers(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let value = encode(&text);
    let sent = value.to_str().expect("it is visible ASCII");
    assert_eq!(sent.trim_matches([' ', '\t']), sent, "white space at the end is taken off on the way");
    assert_eq!(decode(sent).as_deref(), Ok(text.as_ref()));
    if let Ok(decoded) = decode(&text) {
        let again = encode(&decoded);
        assert_eq!(decode(again.to_str().expect("it is visible ASCII")).as_deref(), Ok(decoded.as_ref()));
    }
    let argument = json::parse(&Bytes::copy_from_slice(input), &Bounds::AGENT);
    for argument in argument.into_iter().chain(text.bytes().all(|byte| byte != 0).then(|| Raw::text(&text))) {
        if let Some(value) = encode_param(&argument) {
            let sent = decode(value.to_str().expect("it is visible ASCII")).expect("it was encoded here").into_owned();
            assert!(param_equals(&sent, &argument), "{sent}");
        }
    }
}

pub(super) const SCHEMAS: &[&[u8]] = &[
    br#"{"type":"object","properties":{"a":{"type":"string","x-mcp-header":"A"},"b":{"type":"object","properties":{"c":{"type":"integer","x-mcp-header":"C"}}}}}"#,
    br#"{"properties":{"a":{"type":"boolean","x-mcp-header":"a-b"}},"oneOf":[{"items":{"x-mcp-header":"Z"}}]}"#,
    br#"{"a":"x","b":{"c":-7},"properties":{"a":{"type":"number","x-mcp-header":"a"}}}"#,
];

pub(super) const SCHEMA_TOKENS: &[&str] = &[
    "\"x-mcp-header\":",
    "\"x\\u002dmcp-header\":\"B\"",
    "\"properties\":{",
    "\"type\":\"string\"",
    "\"items\":",
    "{",
    "}",
    "[",
    "]",
    ",",
    "\"A\"",
    "\"a\"",
    "\"$defs\":{",
    "null",
    "true",
];

/// The headers that a schema asks for pass the schema's own check, with the schema itself for arguments.
pub(super) fn schemas(input: &[u8]) {
    let Ok(schema) = json::parse(&Bytes::copy_from_slice(input), &Bounds::UPSTREAM) else { return };
    let Ok(mirrors) = Mirrors::read(&schema) else { return };
    let headers = mirrors.headers(Some(&schema));
    assert_eq!(mirrors.check(&headers, Some(&schema)), Ok(()));
    assert!(mirrors.headers(None).is_empty());
}

pub(super) const NAMES: &[&[u8]] = &[
    b"files\nread",
    b"a\nget_file__contents",
    b"github\nsearch.code/with spaces",
    b"a-server-of-twenty-ch\nread__abcdefghijklmnop",
    b"s\nthe_longest_name_that_any_tool_could_reasonably_have_and_then_some_more_of_it",
    "s\n\u{e4}\u{1f600}".as_bytes(),
];

pub(super) const NAME_TOKENS: &[&str] =
    &["__", "_", "\n", "-", ".", "abcdefghijklmnop", "é", "A", "__aaaaaaaaaaaaaaaa"];

/// Server and tool are found back from the name that they have together, which every client can use.
pub(super) fn names(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Some((server, Rest::Plain(tool))) = names::split(&text) {
        // Whatever divides into an own name is either that tool's name or leads to no tool.
        let joined = names::federated(&server, tool);
        assert!(joined == text || !names::resolves(&text, &server, tool));
    }
    let Some((server, tool)) = text.split_once('\n') else { return };
    let Ok(server) = server.parse::<Name>() else { return };
    let joined = names::federated(&server, tool);
    assert!(joined.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')), "{joined}");
    if server.as_str().len() <= names::SERVER_CHARACTERS_MAX {
        assert!(joined.len() <= names::CHARACTERS_MAX, "{joined}");
    }
    let (found, rest) = names::split(&joined).expect("what is joined divides");
    assert_eq!(found, server);
    match rest {
        Rest::Plain(plain) => assert_eq!(plain, tool),
        Rest::Hashed(_) => {
            assert!(names::resolves(&joined, &server, tool));
            assert!(!names::resolves(&joined, &server, &format!("{tool}x")), "two tools have one name");
        }
    }
}

pub(super) const URIS: &[&[u8]] = &[
    b"files\nfile:///tmp/a%20b.txt?x=1#y",
    b"maps\nui://map/view.html",
    b"a\ntollgate://b/~/file:///{+path}",
    b"tollgate://files/file%3A%2F%2F%2Ftmp",
    b"ui://tollgate/maps/ui%3A%2F%2Fmap",
    "s\nurn:\u{e4}:{x}".as_bytes(),
];

pub(super) const URI_TOKENS: &[&str] =
    &["tollgate://", "ui://", "tollgate/", "~/", "/", "%", "%2F", "%2f", "%00", "%C3%A4", "\n", "{+x}", "\u{e4}", "a"];

/// Server and URI are found back from what they were wrapped into, and nothing else leads to them.
pub(super) fn uris(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Some((server, own)) = uris::unwrapped(&text) {
        let again = [uris::wrapped(&server, &own), uris::wrapped_template(&server, &own)];
        assert!(text.contains("/~/") || again.iter().any(|written| *written == text), "{text}");
    }
    let Some((server, uri)) = text.split_once('\n') else { return };
    let Ok(server) = server.parse::<Name>() else { return };
    if uri.is_empty() || uri.contains('\0') {
        return;
    }
    for written in [uris::wrapped(&server, uri), uris::wrapped_template(&server, uri)] {
        assert_eq!(uris::unwrapped(&written), Some((server.clone(), uri.to_owned())), "{written}");
    }
}
