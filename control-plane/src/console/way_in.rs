//! The way to the sign-in page and through it: whose people, where they want to go, and whether they have to prove anew
//! who they are.
//!
//! Invariant: it leads to a path of ours, whatever an address says: the sign-in sends nobody to another site.

const DEFAULT_TENANT: &str = "default";

/// What the addresses and the form of a sign-in carry on.
#[derive(Debug, Clone, Default)]
pub(crate) struct WayIn {
    /// The tenant's name; empty for the default one.
    pub(crate) tenant: String,
    /// Where to go afterwards; empty for home.
    pub(crate) next: String,
    /// Whether who is known has to prove it once more.
    pub(crate) anew: bool,
}

impl WayIn {
    /// The tenant that is meant.
    pub(super) fn tenant(&self) -> &str {
        if self.tenant.is_empty() { DEFAULT_TENANT } else { &self.tenant }
    }

    /// The address of the sign-in page.
    pub(crate) fn path(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        if self.tenant() != DEFAULT_TENANT {
            query.append_pair("tenant", &self.tenant);
        }
        if own_path(&self.next) != "/" {
            query.append_pair("next", &self.next);
        }
        if self.anew {
            query.append_pair("anew", "true");
        }
        let query = query.finish();
        if query.is_empty() { "/sign-in".to_owned() } else { format!("/sign-in?{query}") }
    }

    /// Where a sign-in through the identity provider of this name begins.
    pub(super) fn path_through(&self, provider: &str) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("tenant", self.tenant()).append_pair("next", own_path(&self.next));
        if self.anew {
            query.append_pair("anew", "true");
        }
        format!("/sign-in/with/{provider}?{}", query.finish())
    }
}

/// `next` when it is a path of ours, else home.
pub(super) fn own_path(next: &str) -> &str {
    let own = next.starts_with('/')
        && !next.starts_with("//")
        && next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if own { next } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::own_path;

    #[test]
    fn the_sign_in_sends_nobody_to_another_site() {
        for path in ["/", "/servers?q=a", "/agents/demo"] {
            assert_eq!(own_path(path), path);
        }
        for path in [
            "",
            "https://evil.example",
            "//evil.example",
            "/\\evil.example",
            "/a\nb",
            "servers",
            "/\t/evil",
            "https:evil",
            "\\\\evil",
        ] {
            assert_eq!(own_path(path), "/", "{path:?}");
        }
    }
}
