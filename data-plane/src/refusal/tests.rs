use std::collections::BTreeMap;

use http::{
    StatusCode,
    header::{RETRY_AFTER, WWW_AUTHENTICATE},
};
use proptest::prelude::*;

use super::*;
use crate::{
    mcp::{header::HeaderFault, version::Era},
    policy::Rate,
};

fn challenge() -> Box<Challenge> {
    let resource_metadata = "http://data/.well-known/x".to_owned();
    Box::new(Challenge { resource_metadata, scope: "demo:echo".parse().ok() })
}

fn era_errors() -> [EraError; 10] {
    let legacy = Era::Legacy;
    [
        EraError::Header(HeaderFault::Missing(crate::mcp::header::METHOD)),
        EraError::MissingMeta("x"),
        EraError::MissingExtension("x"),
        EraError::UnsupportedVersion { requested: "1999-01-01".into() },
        EraError::UnknownMethod { method: "x".into(), era: Era::Modern },
        EraError::UnknownMethod { method: "x".into(), era: legacy },
        EraError::MissingParam { member: "name", era: legacy },
        EraError::Batch,
        EraError::UnexpectedResponse,
        EraError::RequestWithoutId,
    ]
}

fn unauthenticated() -> impl Iterator<Item = Refusal> {
    let faults =
        [TokenFault::Missing, TokenFault::Invalid, TokenFault::Expired, TokenFault::Revoked, TokenFault::Audience];
    faults.into_iter().map(|fault| Refusal::Unauthenticated { fault, challenge: challenge() })
}

const MINUTE: Rate = Rate { count: 60, window_s: 60 };

fn reached(what: Exhausted) -> Refusal {
    Refusal::LimitReached {
        id: LimitId::new(),
        limit: "calm".to_owned(),
        on: Subject::Team,
        agent: "bot".to_owned(),
        what,
        remaining: 2,
        violated: vec!["calm".to_owned()],
        retry_after_s: 13,
    }
}

fn overspent() -> Refusal {
    Refusal::BudgetExhausted(Box::new(Overspent {
        budget: "month".to_owned(),
        on: Subject::Team,
        agent: "bot".to_owned(),
        currency: "EUR".parse().expect("a currency"),
        amount: 500.into(),
        spent: "499.98".parse().expect("an amount"),
        expected_cost: "0.05".parse().expect("an amount"),
        reset_at: Some(1_796_083_200),
    }))
}

/// One of each; the compiler asks for a line here when a variant is added, by the match in `facts`.
fn all() -> Vec<Refusal> {
    let server = || "demo".to_owned();
    let scope: Scope = "demo:echo".parse().unwrap();
    let mut all = vec![
        Refusal::Malformed { code: -32700, detail: "x".to_owned() },
        Refusal::TooLarge { bytes_max: 1 },
        Refusal::BodyTimeout,
        Refusal::MediaType,
        Refusal::NotAcceptable,
        Refusal::EventsNotAcceptable,
        Refusal::AuthorizationRepeated,
        Refusal::HttpMethod,
        Refusal::StreamNotOffered,
        Refusal::Origin,
        Refusal::Loop,
        Refusal::NotReady,
        Refusal::PolicyStale(Stale { age: None, is_expired: true }),
        Refusal::TenantUnknown,
        Refusal::ServerUnknown,
        Refusal::ToolsetUnknown,
        Refusal::ToolUnknown { tool: "x".to_owned() },
        Refusal::TaskUnknown,
        Refusal::PromptUnknown { prompt: "x".to_owned() },
        Refusal::ResourceUnknown { uri: "x".to_owned(), code: -32002 },
        Refusal::ResourceUnknown { uri: "x".to_owned(), code: -32602 },
        Refusal::CursorUnknown,
        Refusal::ScopeInsufficient { scope: scope.clone(), challenge: challenge() },
        Refusal::NotGranted { agent: "bot".to_owned(), scope: scope.clone(), challenge: challenge() },
        Refusal::NetworkNotAllowed { scope: scope.clone(), grant: "office".to_owned() },
        Refusal::ArgumentNotAllowed { scope: scope.clone(), grant: "docs".to_owned(), pointer: "/path".to_owned() },
        Refusal::HeldToExactTools { agent: "bot".to_owned(), scope: scope.clone(), grant: "team".to_owned() },
        Refusal::ToolBlocked { scope: scope.clone() },
        Refusal::ToolNotApproved { scope },
        reached(Exhausted::Requests(MINUTE)),
        reached(Exhausted::Tokens(MINUTE)),
        reached(Exhausted::Places(3)),
        overspent(),
        Refusal::SessionRequired,
        Refusal::SessionUnknown,
        Refusal::UpstreamUnavailable { server: server() },
        Refusal::UpstreamTimeout { server: server(), timeout_s: 30 },
        Refusal::UpstreamInvalid { server: server(), detail: "garbage".to_owned() },
        Refusal::StateUnknown,
        Refusal::InputDeclined { server: server() },
        Refusal::CallLost { server: server() },
        Refusal::Cancelled,
        Refusal::UpstreamCredential { server: server(), detail: "its authorization server did not answer" },
        Refusal::StoreUnavailable,
        Refusal::Overloaded,
        Refusal::TooManyStrangers,
        Refusal::IntrospectionUnavailable,
    ];
    all.extend(era_errors().map(Refusal::Era));
    all.extend(unauthenticated());
    all
}

/// The rows of `docs/reasons.md`: reason to (HTTP, code) as written.
fn documented() -> BTreeMap<&'static str, (&'static str, &'static str)> {
    let document = include_str!("../../../docs/reasons.md");
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.split(" | ").collect();
        (cells[0].trim_end_matches('`'), (cells[1], cells[2]))
    })
    .collect()
}

#[test]
fn every_reason_is_documented_with_its_status_and_code() {
    let documented = documented();
    for refusal in all() {
        let Facts { reason, status, code } = refusal.facts();
        let (statuses, codes) = documented.get(reason).unwrap_or_else(|| panic!("`{reason}` has no row"));
        assert!(statuses.contains(status.as_str()), "{reason}: {status} is not in `{statuses}`");
        assert!(codes.split(", ").any(|known| known == code.to_string()), "{reason}: {code} is not in `{codes}`");
    }
}

#[test]
fn no_row_documents_a_reason_that_does_not_exist() {
    let reasons: Vec<&str> = all().iter().map(|refusal| refusal.facts().reason).collect();
    for reason in documented().keys() {
        assert!(reasons.contains(reason), "`{reason}` is documented but never given");
    }
}

#[test]
fn a_challenge_is_one_header_that_every_client_can_parse() {
    let refusal = Refusal::NotGranted {
        agent: "bot".to_owned(),
        scope: Scope::tool(&"demo".parse().unwrap(), "a \"quoted\" ä"),
        challenge: Box::new(Challenge {
            resource_metadata: "http://data/.well-known/oauth-protected-resource/t/x/mcp".to_owned(),
            scope: Some(Scope::tool(&"demo".parse().unwrap(), "a \"quoted\" ä")),
        }),
    };
    let headers = refusal.headers();
    let value = headers[WWW_AUTHENTICATE].to_str().unwrap();
    assert!(value.starts_with(r#"Bearer error="insufficient_scope", error_description=""#), "{value}");
    assert!(value.contains(r#"scope="demo:a%20%22quoted%22%20%C3%A4""#), "{value}");
    assert_eq!(value.matches('"').count(), 8, "four quoted parameters: {value}");
}

/// The parameters of a challenge, read as RFC 9110 section 11.2 writes them.
fn parameters(challenge: &str) -> Option<Vec<(&str, &str)>> {
    let mut rest = challenge.strip_prefix("Bearer ")?;
    let mut found = Vec::new();
    loop {
        let (name, value) = rest.split_once("=\"")?;
        let (value, behind) = value.split_once('"')?;
        found.push((name, value));
        match behind.strip_prefix(", ") {
            Some(next) => rest = next,
            None => return behind.is_empty().then_some(found),
        }
    }
}

proptest! {
    #[test]
    fn whatever_a_tool_and_an_agent_are_called_their_challenge_can_be_parsed(tool in any::<String>(), agent in any::<String>()) {
        prop_assume!(!tool.is_empty());
        let scope = Scope::tool(&"demo".parse().unwrap(), &tool);
        let challenge = Box::new(Challenge { scope: Some(scope.clone()), ..*challenge() });
        let refusal = Refusal::NotGranted { agent, scope: scope.clone(), challenge };
        let headers = refusal.headers();
        let found = parameters(headers[WWW_AUTHENTICATE].to_str().unwrap()).expect("a challenge");
        let names: Vec<&str> = found.iter().map(|(name, _)| *name).collect();
        prop_assert_eq!(names, ["error", "error_description", "scope", "resource_metadata"]);
        prop_assert_eq!(found[2].1.parse(), Ok(scope));
        prop_assert!(!found[1].1.contains('\\'));
    }
}

#[test]
fn without_a_token_the_challenge_names_no_error() {
    let refusal = Refusal::Unauthenticated { fault: TokenFault::Missing, challenge: challenge() };
    let headers = refusal.headers();
    let value = headers[WWW_AUTHENTICATE].to_str().unwrap();
    assert_eq!(value, r#"Bearer scope="demo:echo", resource_metadata="http://data/.well-known/x""#);
}

#[test]
fn what_can_be_tried_again_says_when() {
    for refusal in all() {
        let waits = refusal.headers().contains_key(RETRY_AFTER);
        let status = refusal.facts().status;
        let temporary = status == StatusCode::SERVICE_UNAVAILABLE || status == StatusCode::TOO_MANY_REQUESTS;
        // Until when a budget is used up depends on people too.
        let is_budget = matches!(refusal, Refusal::BudgetExhausted(_));
        assert_eq!(waits, temporary && !is_budget, "{refusal}");
    }
}

#[test]
fn a_limit_says_what_is_left_of_how_much_and_when_to_come_again() {
    let refusal = reached(Exhausted::Tokens(MINUTE));
    let expected = "limit `calm` on the team is reached for agent `bot`: 2 left of 60 tokens in 60 s. Retry in 13 s";
    assert_eq!(refusal.to_string(), expected);
    let data = refusal.data();
    assert_eq!((&data["limit"], &data["remaining"], &data["retry_after_s"]), (&60.into(), &2.into(), &13.into()));
}

#[test]
fn a_budget_that_is_used_up_says_how_much_of_what_and_until_when() {
    let refusal = overspent();
    assert_eq!(
        refusal.to_string(),
        "budget `month` on the team is used up for agent `bot`: of 500 EUR 499.98 are spent, and this call may cost 0.05. \
         It begins anew at 2026-12-01T00:00:00Z: an administrator can raise it"
    );
    assert_eq!((refusal.facts().status, refusal.facts().reason), (StatusCode::TOO_MANY_REQUESTS, "budget_exhausted"));
    let data = refusal.data();
    assert_eq!((&data["spent"], &data["reset_at"]), (&"499.98".into(), &"2026-12-01T00:00:00Z".into()));
    assert_eq!((&data["retryable"], refusal.headers().get(RETRY_AFTER)), (&false.into(), None));
}
