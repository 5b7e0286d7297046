//! Which scopes a token gets: what was asked for, within what grants allow at the endpoint the token is for.
//!
//! Invariant: no scope comes out that no grant covers or that a denial covers. The result is an upper bound: the data
//! plane intersects it with the policy of the moment of each call.

use std::collections::BTreeSet;

use tollgate_proto::{Scope, ScopeError};

use super::{target::Target, toolsets::Toolsets};

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

/// What operators granted an agent and denied it, now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Granted<'a> {
    /// What grants allow.
    pub(super) allowed: &'a [Scope],
    /// What they deny.
    pub(super) denied: &'a [Scope],
    /// All toolsets that any of it, or a request, names.
    pub(super) toolsets: &'a Toolsets,
}

impl Granted<'_> {
    /// What of it holds at an endpoint.
    fn at(&self, target: &Target) -> Vec<Scope> {
        self.toolsets.without_denied(&self.toolsets.at(target, self.allowed), self.denied)
    }

    /// What a requested scope comes to. A whole server or a toolset that is granted in part is narrowed to that part
    /// (RFC 6749 section 3.3), so that a client may ask for what the endpoint's metadata names without knowing its
    /// grants.
    fn within(&self, held: &[Scope], requested: &Scope) -> Result<Vec<Scope>, ScopeRefusal> {
        let part = self.toolsets.without_denied(&self.toolsets.narrowed(requested, held), self.denied);
        if part.is_empty() { Err(ScopeRefusal::NotGranted(requested.clone())) } else { Ok(part) }
    }
}

/// The scopes of a token, in a stable order, without any that another one covers. `requested` absent means all.
pub(super) fn decide(
    granted: Granted<'_>,
    target: &Target,
    requested: Option<&[Scope]>,
) -> Result<Vec<Scope>, ScopeRefusal> {
    let held = granted.at(target);
    if held.is_empty() {
        return Err(ScopeRefusal::NothingGranted);
    }
    let Some(requested) = requested else {
        return Ok(granted.toolsets.without_covered(&held.into_iter().collect()));
    };
    let mut decided = BTreeSet::new();
    for scope in requested {
        decided.extend(granted.within(&held, scope)?);
    }
    Ok(granted.toolsets.without_covered(&decided))
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
pub(super) fn offer(granted: Granted<'_>, targets: &[Target], requested: Option<&[Scope]>) -> Offered {
    let held: Vec<Scope> = targets.iter().flat_map(|target| granted.at(target)).collect();
    let toolsets = granted.toolsets;
    let Some(requested) = requested else {
        return Offered { granted: toolsets.without_covered(&held.into_iter().collect()), withheld: Vec::new() };
    };
    let (mut offered, mut withheld) = (BTreeSet::new(), Vec::new());
    for scope in requested {
        match granted.within(&held, scope) {
            Ok(scopes) => offered.extend(scopes),
            Err(_) => withheld.push(scope.clone()),
        }
    }
    Offered { granted: toolsets.without_covered(&offered), withheld }
}

/// The scopes of a token that acts for a user: what was consented to, as far as it is granted now. `requested` must lie
/// within the consent (RFC 6749 section 6); absent means all of it.
pub(super) fn decide_within_consent(
    consented: &[Scope],
    granted: Granted<'_>,
    target: &Target,
    requested: Option<&[Scope]>,
) -> Result<Vec<Scope>, ScopeRefusal> {
    let mut requests = requested.into_iter().flatten();
    if let Some(beyond) = requests.find(|scope| !granted.toolsets.covered(scope, consented)) {
        return Err(ScopeRefusal::NotConsented(beyond.clone()));
    }
    let of_both = |scope: &Scope| granted.toolsets.narrowed(scope, granted.allowed);
    let allowed: Vec<Scope> = consented.iter().flat_map(of_both).collect();
    decide(Granted { allowed: &allowed, ..granted }, target, requested)
}

/// The `scope` parameter (RFC 6749 section 3.3: scope-tokens divided by spaces); nothing when it names none.
pub(super) fn parse(requested: Option<&str>) -> Result<Option<Vec<Scope>>, ScopeRefusal> {
    let tokens = requested.unwrap_or_default().split(' ').filter(|token| !token.is_empty());
    let scopes: BTreeSet<Scope> = tokens.map(str::parse).collect::<Result<_, _>>()?;
    if scopes.len() > REQUESTED_MAX {
        return Err(ScopeRefusal::TooMany);
    }
    Ok((!scopes.is_empty()).then(|| scopes.into_iter().collect()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::oauth::toolsets::tests::{holding, scopes};

    /// With two toolsets: `mix` of two servers, and `some` of one.
    fn toolsets() -> Toolsets {
        holding(&[("mix", &["a:x", "a:y", "b:x"]), ("some", &["a:x", "a:z"])])
    }

    fn decided_at(
        target: &Target,
        allowed: &[&str],
        denied: &[&str],
        requested: Option<&str>,
    ) -> Result<String, ScopeRefusal> {
        let (allowed, denied) = (scopes(allowed), scopes(denied));
        let granted = Granted { allowed: &allowed, denied: &denied, toolsets: &toolsets() };
        let decided = decide(granted, target, parse(requested)?.as_deref())?;
        Ok(decided.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
    }

    fn decided(allowed: &[&str], denied: &[&str], requested: Option<&str>) -> Result<String, ScopeRefusal> {
        decided_at(&Target::Federated, allowed, denied, requested)
    }

    fn mix() -> Target {
        Target::Toolset("mix".parse().expect("a name"))
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
        let allowed = ["demo:echo", "other:x"];
        assert_eq!(decided_at(&target, &allowed, &[], None).as_deref(), Ok("demo:echo"));
        assert!(decided_at(&target, &allowed, &[], Some("other:x")).is_err());
    }

    #[test]
    fn a_toolset_is_granted_by_name_or_tool_by_tool() {
        for allowed in [&["toolset/mix"][..], &["a:*", "b:x"], &["a:x", "a:y", "b:*"], &["toolset/some", "a:y", "b:x"]]
        {
            assert_eq!(decided(allowed, &[], Some("toolset/mix")).as_deref(), Ok("toolset/mix"), "{allowed:?}");
            assert_eq!(decided_at(&mix(), allowed, &[], None).as_deref(), Ok("toolset/mix"), "{allowed:?}");
        }
    }

    #[test]
    fn a_toolset_that_is_granted_in_part_is_narrowed_to_its_tools() {
        assert_eq!(decided(&["a:*"], &[], Some("toolset/mix")).as_deref(), Ok("a:x a:y"));
        assert_eq!(decided_at(&mix(), &["a:*", "c:*"], &[], None).as_deref(), Ok("a:x a:y"));
        assert_eq!(decided_at(&mix(), &["toolset/some"], &[], None).as_deref(), Ok("a:x"));
        assert_eq!(decided(&["toolset/mix"], &["b:*"], None).as_deref(), Ok("a:x a:y"));
        assert_eq!(decided(&["toolset/mix"], &["toolset/some"], None).as_deref(), Ok("a:y b:x"));
        let mix = || "toolset/mix".parse().expect("a scope");
        assert_eq!(decided(&["c:*"], &[], Some("toolset/mix")), Err(ScopeRefusal::NotGranted(mix())));
        assert_eq!(decided(&["toolset/mix"], &["toolset/mix"], None), Err(ScopeRefusal::NothingGranted));
    }

    #[test]
    fn a_granted_toolset_gives_its_tools_and_no_more() {
        assert_eq!(decided(&["toolset/mix"], &[], Some("a:x")).as_deref(), Ok("a:x"));
        assert_eq!(decided(&["toolset/mix"], &[], Some("a:*")).as_deref(), Ok("a:x a:y"));
        assert!(decided(&["toolset/mix"], &[], Some("a:z")).is_err());
        let server = Target::Server("b".parse().expect("a name"));
        assert_eq!(decided_at(&server, &["toolset/mix"], &[], None).as_deref(), Ok("b:x"));
        assert_eq!(decided_at(&mix(), &["a:*", "b:*"], &[], Some("a:*")).as_deref(), Ok("a:x a:y"));
        assert!(decided_at(&mix(), &["a:*", "b:*"], &[], Some("a:z")).is_err());
    }

    #[test]
    fn a_toolset_that_is_gone_gives_nothing() {
        assert_eq!(decided(&["toolset/gone"], &[], None), Err(ScopeRefusal::NothingGranted));
        assert_eq!(decided(&["toolset/gone", "a:x"], &[], None).as_deref(), Ok("a:x"));
    }

    #[test]
    fn consent_to_a_toolset_gives_what_of_it_is_granted_now() {
        let toolsets = toolsets();
        let decided = |consented: &[&str], allowed: &[&str], requested: Option<&str>| {
            let allowed = scopes(allowed);
            let granted = Granted { allowed: &allowed, denied: &[], toolsets: &toolsets };
            let requested = parse(requested)?;
            decide_within_consent(&scopes(consented), granted, &Target::Federated, requested.as_deref())
        };
        assert_eq!(decided(&["toolset/mix"], &["a:*", "b:*"], None), Ok(scopes(&["toolset/mix"])));
        assert_eq!(decided(&["toolset/mix"], &["a:*"], None), Ok(scopes(&["a:x", "a:y"])));
        assert_eq!(decided(&["a:x"], &["toolset/mix"], None), Ok(scopes(&["a:x"])));
        assert_eq!(decided(&["toolset/mix"], &["toolset/mix"], Some("b:x")), Ok(scopes(&["b:x"])));
        let beyond = "toolset/mix".parse().expect("a scope");
        assert_eq!(decided(&["a:x"], &["toolset/mix"], Some("toolset/mix")), Err(ScopeRefusal::NotConsented(beyond)));
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
            let granted = Granted { allowed: &allowed, denied: &denied, toolsets: &toolsets() };
            offer(granted, targets, requested.map(scopes).as_deref())
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
        let text = prop_oneof![
            4 => "[ab]:([xyz]|\\*|[xyz]\\*|@read|@prompt/[xy]\\*?|@resource/[xy]\\*?)",
            1 => "toolset/(mix|some|gone)",
        ];
        prop::collection::vec(text.prop_map(|text| text.parse().expect("a scope")), 0..5)
    }

    proptest! {
        #[test]
        fn nothing_comes_out_that_is_not_granted_or_is_denied(
            allowed in some_scopes(), denied in some_scopes(), requested in prop::option::of(some_scopes()),
            target in prop_oneof![Just(Target::Federated), Just(mix()), Just(Target::Server("a".parse().expect("a name")))],
        ) {
            let toolsets = toolsets();
            let granted = Granted { allowed: &allowed, denied: &denied, toolsets: &toolsets };
            if let Ok(decided) = decide(granted, &target, requested.as_deref().filter(|scopes| !scopes.is_empty())) {
                prop_assert!(!decided.is_empty());
                for scope in &decided {
                    prop_assert!(toolsets.covered(scope, &allowed));
                    prop_assert!(!toolsets.covered(scope, &denied));
                    prop_assert!(toolsets.concern(&target, scope));
                    for tool in scope.toolset().into_iter().flat_map(|name| toolsets.tools(name)) {
                        prop_assert!(!toolsets.covered(tool, &denied));
                    }
                }
            }
        }
    }
}
