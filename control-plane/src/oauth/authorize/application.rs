//! The client as people are shown it, and how much of that can be believed.
//!
//! Invariant: a name that a client gave itself is shown only without what could make it read as something else, and
//! never without saying who vouches for it.

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::json;
use url::Url;

use super::request::leads_to_device;
use crate::{
    agents::Origin,
    invisible::is_deceptive,
    oauth::{
        client::{Client, Keys},
        redirect_uri::RedirectUri,
    },
};

const NAME_CHARS_MAX: usize = 64;

/// What the pages say about a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Application {
    /// What it is called.
    pub(super) name: String,
    /// The host that its metadata document came from, if it has one.
    pub(super) document_host: Option<String>,
    /// Whether nobody vouches for the name.
    pub(super) unverified: bool,
    /// Where the answer goes: a host, or the scheme of an app of the device.
    pub(super) answered_at: String,
    /// How that could be somebody else, if it could.
    pub(super) warning: Option<&'static str>,
}

impl Application {
    /// Of a client that wants to be answered at `redirect_uri`.
    pub(super) fn new(client: &Client, redirect_uri: &str) -> Self {
        let document = (client.origin == Origin::ClientDocument).then(|| Url::parse(&client.client_id).ok()).flatten();
        let redirect_uri = RedirectUri::accepted(redirect_uri.to_owned());
        Self {
            name: shown_name(client),
            document_host: document.and_then(|url| url.host_str().map(str::to_owned)),
            unverified: client.origin != Origin::Admin,
            answered_at: redirect_uri.shown_host(),
            warning: warning(client, &redirect_uri),
        }
    }
}

/// What a client is called: at most 64 characters of its display name, or its name. Without control characters, and
/// without those that are invisible or turn the direction of what follows.
pub(super) fn shown_name(client: &Client) -> String {
    let name = readable(client.shown_name());
    if name.is_empty() { readable(&client.name) } else { name }
}

/// Whether an answer may go to an address of the client before anybody saw a page of ours: an operator entered it.
/// Else whoever registers could borrow our address to lead people to theirs (OAuth 2.1 section 7.13.2).
pub(super) fn is_trusted(client: &Client) -> bool {
    client.origin == Origin::Admin
}

/// Whether the next one who comes with this `client_id` is the same client: it proves it, an operator vouches for it,
/// or its metadata document names an address on the web that only its owner answers at (OAuth 2.1 section 7.3.1).
pub(super) fn is_assured(client: &Client, redirect_uri: &str) -> bool {
    match client.origin {
        _ if !client.is_public() => true,
        Origin::Admin => true,
        Origin::ClientDocument => !leads_to_device(&RedirectUri::accepted(redirect_uri.to_owned())),
        Origin::Registration => false,
    }
}

/// Of all that a user who consents is told about the client, or relies on: when it changes, they are asked again.
pub(super) fn description_digest(client: &Client) -> Vec<u8> {
    let keys = match &client.keys {
        Keys::None => json!(null),
        Keys::Inline(keys) => keys.clone(),
        Keys::At(url) => json!(url),
    };
    let addresses: Vec<&str> = client.redirect_uris.iter().map(RedirectUri::as_str).collect();
    let described = json!([shown_name(client), client.is_public(), addresses, keys, client.metadata_digest]);
    digest(&SHA256, described.to_string().as_bytes()).as_ref().to_vec()
}

fn warning(client: &Client, redirect_uri: &RedirectUri) -> Option<&'static str> {
    if !client.is_public() {
        return None;
    }
    if redirect_uri.is_private_use() {
        return Some("Another app on your device could open such links too and receive the answer.");
    }
    let all_on_device = client.redirect_uris.iter().all(leads_to_device);
    (all_on_device && redirect_uri.is_loopback()).then_some(
        "It runs on your own device, where any program can claim to be it. Go on only if you have just started it \
         yourself.",
    )
}

/// A name without what nobody sees or what misleads, at most 64 characters long.
pub(in crate::oauth) fn readable(text: &str) -> String {
    let shown = text.chars().filter(|character| !is_deceptive(*character));
    let shown: String = shown.collect::<String>().split_whitespace().collect::<Vec<_>>().join(" ");
    shown.chars().take(NAME_CHARS_MAX).collect::<String>().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_cannot_read_as_something_else() {
        assert_eq!(readable("Good\u{202E}live\u{200B} app\r\n\u{0}"), "Goodlive app");
        assert_eq!(readable("  many\t\n spaces  "), "many spaces");
        assert_eq!(readable(&"x".repeat(100)), "x".repeat(64));
        assert_eq!(readable("\u{202E}\u{2066}"), "");
        assert_eq!(readable("Bücher & Töne <b>"), "Bücher & Töne <b>");
    }

    proptest! {
        #[test]
        fn every_name_is_short_and_free_of_control(text in "(?s).{0,200}") {
            let shown = readable(&text);
            prop_assert!(shown.chars().count() <= NAME_CHARS_MAX);
            prop_assert!(!shown.chars().any(is_deceptive));
        }
    }
}
