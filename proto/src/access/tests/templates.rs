//! Resources and the templates that make them, whatever is written how.

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;

/// Of templates: literal text, and expressions of two kinds.
const PIECES: [&str; 9] = ["a", "b", "/", "%61", "%c3%a4", "ä", "%", "{n}", "{+n}"];
/// What `n` may be.
const VALUES: [&str; 8] = ["", "a", "b", "a/b", "ä", "%", "%61", "{"];
/// Of patterns, as scopes write them.
const WRITTEN: [&str; 12] = ["*", "a", "b", "/", "%C3%A4", "%25", "%2561", "%25c3%25a4", "{", "}", "n", "%257B"];

/// A URI that the template makes, as RFC 6570 has it, or with its literals as they are.
fn expand(pieces: &[&str], value: &str, is_encoded: bool) -> String {
    let is_unreserved = |byte: &u8| byte.is_ascii_alphanumeric();
    let encode = |text: &str, stays: &dyn Fn(&u8) -> bool| -> String {
        let encoded = |byte: u8| if stays(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
        text.bytes().map(encoded).collect()
    };
    let piece = |piece: &&str| match *piece {
        "{n}" => encode(value, &is_unreserved),
        // What is encoded already stays as it is.
        "{+n}" if value == "%61" => value.to_owned(),
        "{+n}" => encode(value, &|byte| is_unreserved(byte) || *byte == b'/'),
        "%" | "ä" if is_encoded => encode(piece, &is_unreserved),
        literal => literal.to_owned(),
    };
    pieces.iter().map(piece).collect()
}

fn any_scope() -> impl Strategy<Value = String> {
    let parts = vec(select(&WRITTEN[..]), 1..5).prop_filter("two stars", |parts| !parts.concat().contains("**"));
    parts.prop_map(|parts| format!("a:@resource/{}", parts.concat()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_template_is_listed_where_a_resource_that_it_makes_may_be_read(
        pieces in vec(select(&PIECES[..]), 1..6),
        allowed in vec(any_scope(), 1..3),
        denied in vec(any_scope(), 0..2),
        carried in vec(any_scope(), 1..2),
    ) {
        let scene = Scene { token: scopes(&carried.iter().map(String::as_str).collect::<Vec<_>>()), ..Scene::new() };
        let scene = allowed.iter().fold(scene, |scene, it| scene.allow(&[it]));
        let scene = denied.iter().fold(scene, |scene, it| scene.deny(&[it]));
        let template = pieces.concat();
        let listed = scene.allows(&format!("a:@template/{template}"));
        for value in VALUES {
            let [uri, other] = [true, false].map(|is_encoded| expand(&pieces, value, is_encoded));
            let read = scene.allows(&format!("a:@resource/{uri}"));
            prop_assert!(listed || !read, "{} is hidden, which makes {}", template, uri);
            if !pieces.contains(&"%") {
                prop_assert_eq!(scene.allows(&format!("a:@resource/{other}")), read, "{} is {}", other, uri);
            }
        }
    }
}

#[test]
fn how_a_uri_is_encoded_neither_lets_in_nor_escapes_a_block() {
    let blocked = wire::CatalogItem { blocked: true, ..catalogued(wire::ItemKind::Resource, "x:/docs/ä", true) };
    let scene = Scene::new().with_catalog(wire::Approval::Unspecified, &[blocked]).allow(&["a:*"]);
    let scene = scene.deny(&["a:@resource/x:/secret/*"]);
    for uri in ["x:/docs/ä", "x:/docs/%C3%A4", "x:/%64ocs/%c3%a4"] {
        assert_eq!(scene.outcome(&format!("a:@resource/{uri}"), None), "blocked", "{uri}");
    }
    for uri in ["x:/secret/a", "x:/s%65cret/a"] {
        let denied = "denied by grant-1 a:@resource/x:/secret/*";
        assert_eq!(scene.outcome(&format!("a:@resource/{uri}"), None), denied, "{uri}");
    }
}

#[test]
fn of_two_resources_that_are_one_nothing_is_approved_that_differs() {
    let item = |uri: &str, digest: u8| wire::CatalogItem {
        approved_digest: vec![digest; 32],
        ..catalogued(wire::ItemKind::Resource, uri, true)
    };
    let of = |digests: [u8; 2]| {
        let items = [item("x:/a", digests[0]), item("x:/%61", digests[1])];
        Scene::new().with_catalog(wire::Approval::Pinned, &items).allow(&["a:*"]).outcome("a:@resource/x:/a", None)
    };
    assert_eq!(of([7, 7]), "allowed by grant-0 a:*");
    assert_eq!(of([7, 8]), "not approved");
}
