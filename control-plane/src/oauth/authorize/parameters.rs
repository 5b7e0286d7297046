//! The parameters of an authorization request, from a query string or a form.
//!
//! Invariant: an empty value is none (RFC 6749 section 3.1), and what was read can be written out again without loss,
//! so that a request survives the detour over the sign-in page.

use percent_encoding::percent_decode_str;

/// The only parameter that may be there more than once (RFC 8707 section 2).
const REPEATABLE: &str = "resource";

/// What a client asked, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parameters(Vec<(String, String)>);

/// Bytes that are no text: they could not be given back as they came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the request is not UTF-8")]
pub(super) struct NotText;

/// A parameter that is there twice.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is there twice")]
pub(super) struct Repeated(pub(super) String);

impl Parameters {
    /// Reads `application/x-www-form-urlencoded`.
    pub(super) fn parse(encoded: &str) -> Result<Self, NotText> {
        let mut pairs = Vec::new();
        for pair in encoded.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(name)?, decode(value)?);
            if !value.is_empty() {
                pairs.push((name, value));
            }
        }
        Ok(Self(pairs))
    }

    /// The one value of a parameter.
    pub(super) fn get(&self, name: &str) -> Result<Option<&str>, Repeated> {
        let mut values = self.all(name);
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(Repeated(name.to_owned())),
            (value, None) => Ok(value),
        }
    }

    /// Every value of a parameter.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// The first parameter that is there twice and may not be (RFC 6749 section 3.1).
    pub(super) fn repeated(&self) -> Option<Repeated> {
        let twice = |(index, (name, _)): &(usize, &(String, String))| {
            name != REPEATABLE && self.0[..*index].iter().any(|(earlier, _)| earlier == name)
        };
        self.0.iter().enumerate().find(twice).map(|(_, (name, _))| Repeated(name.chars().take(40).collect()))
    }

    /// The same request with one parameter replaced, or left out when `value` is empty.
    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.0.retain(|(given, _)| given != name);
        if !value.is_empty() {
            self.0.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// As a query string.
    pub(super) fn to_query(&self) -> String {
        form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.0).finish()
    }
}

fn decode(text: &str) -> Result<String, NotText> {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().map(std::borrow::Cow::into_owned).map_err(|_| NotText)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(encoded: &str) -> Parameters {
        Parameters::parse(encoded).expect("text")
    }

    #[test]
    fn an_empty_value_is_none() {
        let parameters = parse("scope=&state&client_id=a&&=");
        assert_eq!(parameters.get("scope"), Ok(None));
        assert_eq!(parameters.get("state"), Ok(None));
        assert_eq!(parameters.get("client_id"), Ok(Some("a")));
        assert_eq!(parse("state=&state=x").get("state"), Ok(Some("x")));
    }

    #[test]
    fn only_resource_may_be_there_twice() {
        assert_eq!(parse("resource=a&resource=b").repeated(), None);
        assert_eq!(parse("resource=a&resource=b").all("resource").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(parse("a=1&state=x&state=x").repeated(), Some(Repeated("state".to_owned())));
        assert_eq!(parse("state=x&state=x").get("state"), Err(Repeated("state".to_owned())));
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        assert_eq!(Parameters::parse("state=%ff"), Err(NotText));
    }

    #[test]
    fn a_parameter_is_replaced_or_left_out() {
        let parameters = parse("prompt=login&state=x&prompt=none");
        assert_eq!(parameters.clone().with("prompt", "").to_query(), "state=x");
        assert_eq!(parameters.with("prompt", "consent").to_query(), "state=x&prompt=consent");
    }

    proptest! {
        #[test]
        fn every_request_survives_being_written_out(pairs in prop::collection::vec(("\\PC*", "\\PC+"), 0..8)) {
            let given = Parameters(pairs);
            prop_assert_eq!(Parameters::parse(&given.to_query()), Ok(given));
        }

        #[test]
        fn nothing_makes_the_reader_panic(encoded in ".*") {
            let _ = Parameters::parse(&encoded).map(|parameters| parameters.repeated());
        }
    }
}
