//! URIs in the one form in which they are compared, and the templates (RFC 6570) that they are made by.
//!
//! Invariant: two URIs that differ only in how they are encoded are the same: what may not stand in a URI is
//! percent-encoded, what need not be encoded is not, and hexadecimal digits are capitals (RFC 3986 section 6.2.2).

use std::{borrow::Cow, fmt::Write as _};

use super::Pattern;

/// A URI in the form in which URIs are compared.
#[must_use]
pub fn normal_uri(uri: &str) -> Cow<'_, str> {
    normal(uri, false)
}

impl Pattern {
    /// What one URI alone matches.
    #[must_use]
    pub fn uri(uri: &str) -> Self {
        Self { parts: Box::new([normal_uri(uri).into()]) }
    }

    /// The URIs that a template makes, where each of its expressions may become any text. What is broken in it stands
    /// for itself.
    #[must_use]
    pub fn template(template: &str) -> Self {
        let (mut parts, mut rest) = (Vec::new(), template);
        while let Some((literal, expression)) = rest.split_once('{') {
            let Some((_, after)) = expression.split_once('}') else { break };
            // Two expressions side by side are as good as one.
            if parts.is_empty() || !literal.is_empty() {
                parts.push(normal(literal, true).into());
            }
            rest = after;
        }
        parts.push(normal_uri(rest).into());
        Self { parts: parts.into() }
    }

    /// The pattern as URIs are compared with it.
    pub(super) fn of_uris(&self) -> Self {
        let last = self.parts.len() - 1;
        Self { parts: self.parts.iter().enumerate().map(|(index, part)| normal(part, index < last).into()).collect() }
    }
}

/// `is_cut`: any text may follow, so that the beginning of an encoded byte at the end stays one.
fn normal(text: &str, is_cut: bool) -> Cow<'_, str> {
    if text.bytes().all(may_stand) {
        return Cow::Borrowed(text);
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let encoded = |high: u8, low: u8| u8::try_from(16 * digit(high)? + digit(low)?).ok();
    let is_begun = |after: &[u8]| after.len() < 2 && after.iter().all(|byte| digit(*byte).is_some());
    let (mut out, mut rest) = (String::with_capacity(text.len() + 16), text.as_bytes());
    while let [first, after @ ..] = rest {
        let triplet = match after {
            [high, low, behind @ ..] if *first == b'%' => encoded(*high, *low).map(|byte| (byte, behind)),
            _ => None,
        };
        let (byte, stays);
        (byte, stays, rest) = match triplet {
            Some((byte, behind)) => (byte, need_not_be_encoded(byte), behind),
            None => (*first, may_stand(*first) || (is_cut && *first == b'%' && is_begun(after)), after),
        };
        if stays {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("writing to a string cannot fail");
        }
    }
    Cow::Owned(out)
}

/// RFC 3986 section 2.3.
const fn need_not_be_encoded(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~')
}

/// RFC 3986 section 2, without the percent sign.
const fn may_stand(byte: u8) -> bool {
    let general = matches!(byte, b':' | b'/' | b'?' | b'#' | b'[' | b']' | b'@');
    let sub = matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=');
    need_not_be_encoded(byte) || general || sub
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> Pattern {
        text.parse::<Pattern>().expect("a pattern").of_uris()
    }

    #[test]
    fn uris_that_mean_the_same_are_compared_as_the_same() {
        for (uri, form) in [
            ("file:///docs/a-b_c.~", "file:///docs/a-b_c.~"),
            ("file:///%64ocs", "file:///docs"),
            ("file:///d%c3%b6cs", "file:///d%C3%B6cs"),
            ("file:///döcs", "file:///d%C3%B6cs"),
            ("file:///a%2fb", "file:///a%2Fb"),
            ("file:///a b", "file:///a%20b"),
            ("file:///{a}|\"<>`^\\", "file:///%7Ba%7D%7C%22%3C%3E%60%5E%5C"),
            ("file:///100%", "file:///100%25"),
            ("file:///%zz%4", "file:///%25zz%254"),
            ("file:///%2561", "file:///%2561"),
            ("a:?q=*&r=(1)#f", "a:?q=*&r=(1)#f"),
        ] {
            assert_eq!(normal_uri(uri), form);
        }
    }

    #[test]
    fn a_pattern_is_of_uris_as_they_are_compared() {
        for (written, uri, matches) in [
            ("file:///d%25c3%25b6cs/*", "file:///döcs/a", true),
            ("file:///d%C3%B6cs/*", "file:///d%c3%b6cs/a", true),
            ("file:///docs/*", "file:///%64ocs/a", true),
            ("file:///%25*", "file:///%2Fa", true),
            ("file:///%252*", "file:///%2Fa", true),
            ("file:///%25*", "file:///a", false),
            ("*%25", "file:///100%", true),
            ("file:///{a}", "file:///%7ba%7d", true),
        ] {
            assert_eq!(pattern(written).matches(&normal_uri(uri)), matches, "{written} {uri}");
        }
    }

    #[test]
    fn a_template_is_met_where_one_of_its_uris_is_matched() {
        for (written, template, meets) in [
            ("file:///docs/*", "file:///docs/{name}", true),
            ("file:///docs/*", "file:///{+path}", true),
            ("file:///docs/one", "file:///docs/{name}", true),
            ("file:///docs/one", "file:///docs/{name}.md", false),
            ("file:///docs/*", "file:///secrets/{name}", false),
            ("*.md", "file:///{name}.md", true),
            ("*.md", "file:///{name}.txt", false),
            ("*.md", "file:///{name}{?q}", true),
            ("file:///docs/a/b", "file:///docs/{a}/x/{b}", false),
            ("file:///docs/*", "file:///docs/plain", true),
            ("file:///docs/*", "file:///}{", false),
            ("file:///d%25C3%25B6cs/*", "file:///döcs/{name}", true),
            ("file:///%7B*", "file:///{name}", true),
            ("*%7Bname%7D", "file:///{name}", true),
            ("file:///%257B*", "file:///a{name}", false),
        ] {
            assert_eq!(pattern(written).meets(&Pattern::template(template)), meets, "{written} {template}");
        }
    }

    proptest! {
        #[test]
        fn the_form_is_its_own_form(uri in "([a-d%/{}ä]|%[0-9A-Fa-f]{2}){0,8}", written in "([*]|[ab]|%25|%2541){1,6}") {
            let form = normal_uri(&uri);
            prop_assert_eq!(normal_uri(&form), &*form);
            if let Ok(pattern) = written.parse::<Pattern>() {
                prop_assert_eq!(pattern.of_uris().of_uris(), pattern.of_uris());
            }
        }

        #[test]
        fn a_template_is_met_by_whoever_matches_a_uri_of_it(
            written in "[ab*]{1,6}".prop_filter("two stars", |text| !text.contains("**")),
            head in "[ab]{0,2}",
            value in "[ab]{0,3}",
            tail in "[ab]{0,2}",
        ) {
            if pattern(&written).matches(&format!("{head}{value}{tail}")) {
                let template = format!("{head}{{value}}{tail}");
                prop_assert!(pattern(&written).meets(&Pattern::template(&template)), "{} {}", written, template);
            }
        }
    }
}
