//! Where a stream says that messages go.
//!
//! Invariant: the address has the scheme, host and port of the stream's own, or there is none.

use http::Uri;

/// The longest address that is taken.
const BYTES_MAX: usize = 2048;

/// The address that `text` names, as seen from `stream`.
pub(super) fn resolve(stream: &Uri, text: &str) -> Option<Uri> {
    let text = text.trim();
    let visible = !text.is_empty() && text.len() <= BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic());
    if !visible || text.contains(['\\', '#']) {
        return None;
    }
    let is_absolute = text.split_once("://").is_some_and(|(scheme, _)| !scheme.contains(['/', '?']));
    let absolute = if is_absolute {
        text.to_owned()
    } else if text.starts_with("//") {
        format!("{}:{text}", stream.scheme_str()?)
    } else {
        let origin = format!("{}://{}", stream.scheme_str()?, stream.authority()?);
        let folder = stream.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        match text.as_bytes().first()? {
            b'/' => format!("{origin}{text}"),
            b'?' => format!("{origin}{}{text}", stream.path()),
            _ => format!("{origin}{folder}/{text}"),
        }
    };
    let address: Uri = absolute.parse().ok()?;
    (origin(&address)? == origin(stream)?).then_some(address)
}

fn origin(uri: &Uri) -> Option<(String, String, u16)> {
    let scheme = uri.scheme_str()?.to_ascii_lowercase();
    // A name and password before the host would be sent to it.
    let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'))?;
    let default = if scheme == "https" { 443 } else { 80 };
    Some((scheme, authority.host().to_ascii_lowercase(), authority.port_u16().unwrap_or(default)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(text: &str) -> Option<String> {
        resolve(&Uri::from_static("http://h.example:8080/base/sse?a=b"), text).map(|uri| uri.to_string())
    }

    #[test]
    fn an_address_of_the_same_origin_is_resolved() {
        for (text, address) in [
            ("/messages?session=1", "http://h.example:8080/messages?session=1"),
            ("messages", "http://h.example:8080/base/messages"),
            ("?session=1", "http://h.example:8080/base/sse?session=1"),
            ("http://H.example:8080/m", "http://H.example:8080/m"),
            ("//h.example:8080/m", "http://h.example:8080/m"),
            (" /m\n", "http://h.example:8080/m"),
            ("/m?next=http://other.example/", "http://h.example:8080/m?next=http://other.example/"),
        ] {
            assert_eq!(resolved(text).as_deref(), Some(address), "{text}");
        }
        let https = Uri::from_static("https://h.example/sse");
        assert!(resolve(&https, "https://h.example:443/m").is_some(), "443 is the port of https");
    }

    #[test]
    fn any_other_address_is_none() {
        for text in [
            "",
            "http://other.example:8080/m",
            "http://h.example/m",
            "https://h.example:8080/m",
            "//other.example/m",
            "http://h.example:8080@other.example/m",
            "http://user:password@h.example:8080/m",
            "\\\\other.example/m",
            "/a b",
            "/\u{e4}",
            "file:///etc/passwd",
            "javascript://h.example:8080/m",
        ] {
            assert_eq!(resolved(text), None, "{text}");
        }
    }
}
