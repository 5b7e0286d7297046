//! Whether a form was sent by a page of ours, in the session it was shown in.
//!
//! Two walls: what the browser says about the sender (`Sec-Fetch-Site`, else `Origin`), and a token in the form that
//! only a page of the same session can know.
//!
//! Invariant: no handler sees a form that failed either; handlers take their forms through
//! [`super::visitor::Posted`].

use aws_lc_rs::{constant_time::verify_slices_are_equal, hmac};
use axum::http::{HeaderMap, header};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{app::App, secret::Digest};

/// The token for forms shown to the holder of the secret with this digest.
pub(crate) fn token(app: &App, holder: &Digest) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, app.master_key.derive("csrf").as_ref());
    URL_SAFE_NO_PAD.encode(hmac::sign(&key, holder.as_bytes()))
}

/// Whether `given` is the token of this holder.
pub(crate) fn matches(app: &App, holder: &Digest, given: &str) -> bool {
    verify_slices_are_equal(token(app, holder).as_bytes(), given.as_bytes()).is_ok()
}

/// Whether the browser says that a page of ours sent the request, or does not say.
pub(crate) fn sent_by_us(app: &App, headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value: &axum::http::HeaderValue| value.to_str().ok());
    if let Some(site) = text("sec-fetch-site") {
        return site == "same-origin";
    }
    match text(header::ORIGIN.as_str()) {
        None => true,
        // Our own pages send no referrer, for which browsers make the origin of their forms opaque. Over plain http
        // they do not send `Sec-Fetch-Site` either, so that the token alone decides there.
        Some("null") => app.urls.control.starts_with("http://"),
        Some(origin) => origin.eq_ignore_ascii_case(&app.urls.control),
    }
}
