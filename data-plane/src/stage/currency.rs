//! Beside stage 5: whether the policy that permits a call is current enough for it.
//!
//! Invariant: what takes something away, the end of a session for one, and what nobody is asked for is never refused
//! here.

use tollgate_proto::{
    Name,
    access::{Book, Item, Kind},
};

use crate::{
    policy::Policies,
    refusal::Refusal,
    stage::{identify::Caller, route::Route},
};

/// Evidence that the policy was current enough for a call.
#[derive(Debug)]
pub struct Current(());

/// Refuses what the tenant wants refused while its policy is as old as it is.
///
/// # Errors
/// [`Refusal::PolicyStale`].
pub fn require_current(policies: &Policies, caller: &Caller, route: &Route) -> Result<Current, Refusal> {
    if route.leaves() {
        let tenant = caller.tenant();
        let may_destroy = route.tool().is_some_and(|(server, tool)| {
            let observed = caller.observed(server, Item { kind: Kind::Tool, name: tool });
            may_destroy(&tenant.book, server, tool, observed.as_ref())
        });
        tenant.staleness.permits(policies.freshness(), may_destroy)?;
    }
    Ok(Current(()))
}

/// Refuses what is under way once nothing is served any more. A call that may destroy goes on to its end: it was made
/// while the policy was current.
///
/// # Errors
/// [`Refusal::PolicyStale`].
pub fn require_unexpired(policies: &Policies, caller: &Caller) -> Result<(), Refusal> {
    Ok(caller.tenant().staleness.permits(policies.freshness(), false)?)
}

/// Whether a tool is anything but one that is approved as destroying nothing; `observed` is the digest of what it is now.
fn may_destroy(book: &Book, server: &Name, tool: &str, observed: Option<&[u8; 32]>) -> bool {
    let entry = book.catalogued(server, Item { kind: Kind::Tool, name: tool });
    !entry.is_some_and(|entry| entry.is_harmless(observed))
}

#[cfg(test)]
mod tests {
    use tollgate_proto::policy::v1::{CatalogItem, ItemKind, Server, TenantPolicy};

    use super::*;

    #[test]
    fn a_tool_may_destroy_unless_it_is_approved_as_one_that_does_not() {
        let tool = |name: &str, approved, read_only, additive| CatalogItem {
            kind: ItemKind::Tool.into(),
            name: name.to_owned(),
            approved_digest: if approved { vec![7; 32] } else { Vec::new() },
            read_only,
            additive,
            ..CatalogItem::default()
        };
        let prompt = CatalogItem { kind: ItemKind::Prompt.into(), ..tool("ask", true, true, false) };
        let catalog = vec![
            tool("read", true, true, false),
            tool("append", true, false, true),
            tool("delete", true, false, false),
            tool("claims", false, true, true),
            prompt,
        ];
        let id = tollgate_proto::ServerId::new().to_string();
        let server = Server { id, name: "files".to_owned(), catalog, ..Server::default() };
        let book = Book::read(&TenantPolicy { servers: vec![server], ..TenantPolicy::default() }).unwrap();
        let files: Name = "files".parse().unwrap();
        let destroys = ["read", "append", "delete", "claims", "ask"].map(|tool| may_destroy(&book, &files, tool, None));
        assert_eq!(destroys, [false, false, true, true, true]);
        assert!(may_destroy(&book, &"others".parse().unwrap(), "read", None));
        assert!(!may_destroy(&book, &files, "read", Some(&[7; 32])));
        assert!(may_destroy(&book, &files, "read", Some(&[8; 32])), "it has become another one");
    }
}
