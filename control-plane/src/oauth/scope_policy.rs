//! Which scopes a token gets: what was asked for, within what grants allow at the endpoint the token is for.
//!
//! Invariant: no scope comes out that no grant covers or that a denial covers. The result is an upper bound: the data
//! plane intersects it with the policy of the moment of each call.

use std::collections::BTreeSet;

use tollgate_proto::{Scope, ScopeError};

use super::{sql::Standing, target::Target};

/// More than any honest request names; comparing each with every grant stays cheap.
const REQUESTED_MAX: usize = 500;

/// RFC 6749 section 5.2: `invalid_scope`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScopeRefusal {
    /// A text that is no scope.
    #[error(transparent)]
    Malformed(#[from] ScopeError),
    /// Too many.
    #[error("more than {REQUESTED_MAX} scopes: leave `scope` out to get all that is granted")]
    TooMany,
    /// A scope that the grants do not cover.
    #[error("`{0}` is not granted for this resource")]
    NotGranted(Scope),
    /// A scope that the user did not allow.
    #[error("`{0}` is not what was consented to")]
    NotConsented(Scope),
    /// There is nothing to put into a token.
    #[error("nothing is granted for this resource")]
    NothingGranted,
}

/// The scopes of a token, in a stable order, without any that another one covers. `requested` absent means all.
pub(super) fn decide(
    allowed: &[Scope],
    denied: &[Scope],
    target: &Target,
    requested: Option<&str>,
) -> Result<Vec<Scope>, ScopeRefusal> {
    let concerned = |scope: &&Scope| target.concerns(scope);
    let granted: BTreeSet<&Scope> = allowed.iter().filter(concerned).filter(|scope| !covered(scope, denied)).collect();
    if granted.is_empty() {
        return Err(ScopeRefusal::NothingGranted);
    }
    let Some(requested) = requested.map(parse).transpose()?.filter(|requested| !requested.is_empty()) else {
        return Ok(without_covered(&granted.into_iter().cloned().collect()));
    };
    let mut decided = BTreeSet::new();
    for scope in requested {
        decided.extend(within(&granted, denied, scope)?);
    }
    Ok(without_covered(&decided))
}

/// What a user can be asked to allow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Offered {
    /// What was requested and is granted.
    pub(super) granted: Vec<Scope>,
    /// What was requested and is not.
    pub(super) withheld: Vec<Scope>,
}

/// What of a request grants allow at any of `targets`; `requested` absent means all of it. Unlike [`decide`] it leaves
/// out what is not granted instead of refusing (RFC 6749 section 3.3 lets it): a user can be told the difference.
pub(super) fn offer(allowed: &[Scope], denied: &[Scope], targets: &[Target], requested: Option<&[Scope]>) -> Offered {
    let concerned = |scope: &&Scope| targets.iter().any(|target| target.concerns(scope));
    let granted: BTreeSet<&Scope> = allowed.iter().filter(concerned).filter(|scope| !covered(scope, denied)).collect();
    let Some(requested) = requested else {
        return Offered { granted: without_covered(&granted.into_iter().cloned().collect()), withheld: Vec::new() };
    };
    let (mut offered, mut withheld) = (BTreeSet::new(), Vec::new());
    for scope in requested {
        match within(&granted, denied, scope.clone()) {
            Ok(scopes) => offered.extend(scopes),
            Err(_) => withheld.push(scope.clone()),
        }
    }
    Offered { granted: without_covered(&offered), withheld }
}

/// The scopes of a token that acts for a user: what was consented to, as far as it is granted now. `requested` must lie
/// within the consent (RFC 6749 section 6); absent means all of it.
pub(super) fn decide_within_consent(
    consented: &[Scope],
    granted: &Standing,
    target: &Target,
    requested: Option<&str>,
) -> Result<Vec<Scope>, ScopeRefusal> {
    if let Some(beyond) =
        requested.map(parse).transpose()?.into_iter().flatten().find(|scope| !covered(scope, consented))
    {
        return Err(ScopeRefusal::NotConsented(beyond));
    }
    decide(&common(consented, &granted.allowed), &granted.denied, target, requested)
}

/// What both cover.
fn common(consented: &[Scope], allowed: &[Scope]) -> Vec<Scope> {
    let of_both = |one: &Scope, other: &Scope| {
        if one.covers(other) { Some(other.clone()) } else { other.covers(one).then(|| one.clone()) }
    };
    consented.iter().flat_map(|one| allowed.iter().filter_map(move |other| of_both(one, other))).collect()
}

/// What a requested scope comes to. A whole server that is granted in part is narrowed to that part (RFC 6749 section
/// 3.3), so that a client may ask for what the endpoint's metadata names without knowing its grants.
fn within(granted: &BTreeSet<&Scope>, denied: &[Scope], requested: Scope) -> Result<Vec<Scope>, ScopeRefusal> {
    if covered(&requested, denied) {
        return Err(ScopeRefusal::NotGranted(requested));
    }
    if covered(&requested, granted.iter().copied()) {
        return Ok(vec![requested]);
    }
    let part: Vec<Scope> = granted.iter().copied().filter(|scope| requested.covers(scope)).cloned().collect();
    if part.is_empty() { Err(ScopeRefusal::NotGranted(requested)) } else { Ok(part) }
}

/// RFC 6749 section 3.3: scope-tokens divided by spaces.
fn parse(requested: &str) -> Result<BTreeSet<Scope>, ScopeRefusal> {
    let scopes: BTreeSet<Scope> =
        requested.split(' ').filter(|token| !token.is_empty()).map(str::parse).collect::<Result<_, _>>()?;
    if scopes.len() > REQUESTED_MAX { Err(ScopeRefusal::TooMany) } else { Ok(scopes) }
}

fn covered<'a>(scope: &Scope, by: impl IntoIterator<Item = &'a Scope>) -> bool {
    by.into_iter().any(|other| other.covers(scope))
}

/// The scopes without those that another of them covers, in a stable order.
pub(super) fn without_covered(scopes: &BTreeSet<Scope>) -> Vec<Scope> {
    let redundant = |scope: &Scope| scopes.iter().any(|other| other != scope && other.covers(scope));
    scopes.iter().filter(|scope| !redundant(scope)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scopes(texts: &[&str]) -> Vec<Scope> {
        texts.iter().map(|text| text.parse().expect("a scope")).collect()
    }

    fn decided(allowed: &[&str], denied: &[&str], requested: Option<&str>) -> Result<String, ScopeRefusal> {
        let decided = decide(&scopes(allowed), &scopes(denied), &Target::Federated, requested)?;
        Ok(decided.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn no_scope_means_everything_granted_without_repetition() {
        assert_eq!(decided(&["demo:*", "demo:echo", "b:x"], &[], None).as_deref(), Ok("b:x demo:*"));
        assert_eq!(decided(&["demo:*"], &[], Some("  ")).as_deref(), Ok("demo:*"));
    }

    #[test]
    fn a_wildcard_can_be_narrowed_and_never_widened() {
        assert_eq!(decided(&["demo:*"], &[], Some("demo:echo")).as_deref(), Ok("demo:echo"));
        assert_eq!(decided(&["demo:echo", "b:x"], &[], Some("demo:*")).as_deref(), Ok("demo:echo"));
        let wildcard = "demo:*".parse().expect("a scope");
        assert_eq!(decided(&["b:x"], &[], Some("demo:*")), Err(ScopeRefusal::NotGranted(wildcard)));
    }

    #[test]
    fn a_denial_removes_what_it_covers() {
        assert_eq!(decided(&["demo:a", "demo:b"], &["demo:a"], None).as_deref(), Ok("demo:b"));
        assert_eq!(decided(&["demo:a", "demo:b"], &["demo:*"], None), Err(ScopeRefusal::NothingGranted));
        let denied = "demo:a".parse().expect("a scope");
        assert_eq!(decided(&["demo:*"], &["demo:a"], Some("demo:a")), Err(ScopeRefusal::NotGranted(denied)));
        // The rest of the wildcard stays; the data plane knows the denial.
        assert_eq!(decided(&["demo:*"], &["demo:a"], None).as_deref(), Ok("demo:*"));
    }

    #[test]
    fn only_what_concerns_the_server_counts_at_its_endpoint() {
        let target = Target::Server("demo".parse().expect("a name"));
        let allowed = scopes(&["demo:echo", "other:x"]);
        assert_eq!(decide(&allowed, &[], &target, None), Ok(scopes(&["demo:echo"])));
        assert!(decide(&allowed, &[], &target, Some("other:x")).is_err());
    }

    #[test]
    fn texts_that_are_no_scopes_are_named() {
        assert!(matches!(decided(&["demo:*"], &[], Some("openid")), Err(ScopeRefusal::Malformed(_))));
        let many = (0..=REQUESTED_MAX).map(|n| format!("demo:t{n}")).collect::<Vec<_>>().join(" ");
        assert_eq!(decided(&["demo:*"], &[], Some(&many)), Err(ScopeRefusal::TooMany));
    }

    #[test]
    fn what_is_not_granted_is_left_out_of_an_offer_and_named() {
        let (allowed, denied) = (scopes(&["demo:echo", "demo:add", "b:x"]), scopes(&["demo:add"]));
        let offered = |requested: Option<&[&str]>, targets: &[Target]| {
            offer(&allowed, &denied, targets, requested.map(scopes).as_deref())
        };
        let demo = Target::Server("demo".parse().expect("a name"));
        let federated = &[Target::Federated];
        let of = |granted: &[&str], withheld: &[&str]| Offered { granted: scopes(granted), withheld: scopes(withheld) };
        assert_eq!(offered(None, federated), of(&["b:x", "demo:echo"], &[]));
        assert_eq!(offered(None, std::slice::from_ref(&demo)), of(&["demo:echo"], &[]));
        assert_eq!(offered(Some(&["demo:*", "c:y"]), federated), of(&["demo:echo"], &["c:y"]));
        assert_eq!(offered(Some(&["demo:add"]), &[demo]), of(&[], &["demo:add"]));
    }

    fn some_scopes() -> impl Strategy<Value = Vec<Scope>> {
        prop::collection::vec("[ab]:([xyz]|\\*)".prop_map(|text| text.parse().expect("a scope")), 0..5)
    }

    proptest! {
        #[test]
        fn nothing_comes_out_that_is_not_granted_or_is_denied(
            allowed in some_scopes(), denied in some_scopes(), requested in prop::option::of(some_scopes()),
        ) {
            let text = requested.map(|scopes| scopes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
            if let Ok(decided) = decide(&allowed, &denied, &Target::Federated, text.as_deref()) {
                prop_assert!(!decided.is_empty());
                for scope in &decided {
                    prop_assert!(covered(scope, &allowed));
                    prop_assert!(!covered(scope, &denied));
                }
            }
        }
    }
}
