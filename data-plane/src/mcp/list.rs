//! Results that are lists: `tools/list` and its like (MCP 2025-11-25, server/utilities/pagination).
//!
//! Invariant: whatever is done with the items, the other members of a result stay as they were written, in their order.

use super::{
    json::{self, Object, Raw},
    method::ListKind,
};

/// The items of a result; `None`: it is no list of this kind.
#[must_use]
pub fn items(kind: ListKind, result: &Raw) -> Option<Vec<Raw>> {
    result.object()?.get(kind.member())?.array()
}

/// Whether a result is a list of any kind.
#[must_use]
pub fn is_list(result: &Raw) -> bool {
    let members = result.object().unwrap_or_default();
    let is_array = |value: &Raw| value.kind() == json::Kind::Array;
    ListKind::ALL.iter().any(|kind| members.get(kind.member()).is_some_and(is_array))
}

/// The result with these items, and with these values of other members that it has.
#[must_use]
pub fn with_items<'a>(
    kind: ListKind,
    result: &Object,
    items: impl IntoIterator<Item = &'a Raw>,
    others: &[(&str, Raw)],
) -> Raw {
    let mut items = items.into_iter();
    json::object(|written| {
        for (key, value) in result.iter() {
            if key == kind.member() {
                written.array(key, |list| items.by_ref().for_each(|item| list.raw(item)));
            } else {
                let other = others.iter().find(|(own, _)| *own == key).map(|(_, other)| other);
                written.raw(key, other.unwrap_or(value));
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::json::{Bounds, parse};

    fn raw(text: &str) -> Raw {
        parse(&text.to_owned().into(), &Bounds::UPSTREAM).unwrap()
    }

    #[test]
    fn the_items_are_replaced_and_the_rest_stays_in_its_order() {
        let result = raw(r#"{"nextCursor":"n","tools":[{"name":"a"},{"name":"b"}],"ttlMs":5,"x":[ 1 ]}"#);
        let members = result.object().unwrap();
        let kept = with_items(ListKind::Tools, &members, &items(ListKind::Tools, &result).unwrap()[1..], &[]);
        assert_eq!(kept, raw(r#"{"nextCursor":"n","tools":[{"name":"b"}],"ttlMs":5,"x":[ 1 ]}"#));
        let others = [("ttlMs", Raw::integer(0)), ("absent", Raw::integer(1))];
        let none = with_items(ListKind::Tools, &members, &[], &others);
        assert_eq!(none, raw(r#"{"nextCursor":"n","tools":[],"ttlMs":0,"x":[ 1 ]}"#));
    }

    #[test]
    fn a_list_is_known_by_its_member() {
        for list in [r#"{"tools":[]}"#, r#"{"a":1,"resourceTemplates":[{}]}"#, r#"{"skills":[1]}"#] {
            assert!(is_list(&raw(list)), "{list}");
        }
        for other in [r#"{"content":[]}"#, r#"{"tools":{}}"#, "{}", "[]", "1"] {
            assert!(!is_list(&raw(other)), "{other}");
        }
    }
}
