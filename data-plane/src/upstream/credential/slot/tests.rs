use std::sync::atomic::{AtomicUsize, Ordering};

use secrecy::SecretString;
use tollgate_proto::ServerId;

use super::*;
use crate::policy::{Identity, Proof};

fn client(secret: &str) -> Arc<OauthClient> {
    Arc::new(OauthClient {
        server: ServerId::new(),
        identity: Identity {
            issuer: None,
            token_endpoint: None,
            client_id: "tollgate".to_owned(),
            scope: String::new(),
            resource: None,
            fallback_resource: "http://a/mcp".to_owned(),
        },
        proof: Proof::Basic(SecretString::from(secret.to_owned())),
        secret_digest: [u8::try_from(secret.len()).unwrap(); 32],
    })
}

/// Counts the tokens that are asked for, `token-1`, `token-2`, …, or answers with a fault.
#[derive(Default)]
struct Source {
    asked: AtomicUsize,
    broken: bool,
}

impl Source {
    fn get(&self, life: u64) -> impl Future<Output = Outcome> + Send + 'static {
        let number = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        let broken = self.broken;
        async move {
            tokio::task::yield_now().await;
            if broken {
                return Err(CredentialFault::Refused("invalid_client".to_owned()));
            }
            let life = Some(Duration::from_secs(life));
            Ok(Token::new(&format!("token-{number}"), life, Instant::now()).unwrap())
        }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

fn text(token: &Token) -> &str {
    token.header().to_str().unwrap()
}

/// Until no request for a token is under way.
async fn landed(slot: &Slot) {
    let flight = slot.lock().flight.clone();
    if let Some(flight) = flight {
        let _ = flight.await;
    }
}

#[tokio::test]
async fn fifty_first_calls_ask_for_one_token() {
    let (client, source) = (client("s"), Source::default());
    let slot = Arc::new(Slot::new(&client));
    let calls = (0..50).map(|_| slot.token(&client, Instant::now(), |_| source.get(60)));
    for outcome in futures_util::future::join_all(calls).await {
        assert_eq!(text(&outcome.unwrap()), "Bearer token-1");
    }
    assert_eq!(source.asked(), 1);
}

#[tokio::test]
async fn a_token_is_got_anew_ahead_of_its_end_and_used_until_then() {
    let (client, source, start) = (client("s"), Source::default(), Instant::now());
    let slot = Arc::new(Slot::new(&client));
    let at = async |second| {
        let token = slot.token(&client, start + Duration::from_secs(second), |_| source.get(100)).await.unwrap();
        text(&token).to_owned()
    };
    assert_eq!(at(0).await, "Bearer token-1");
    assert_eq!(at(70).await, "Bearer token-1");
    assert_eq!(source.asked(), 1);
    assert_eq!(at(85).await, "Bearer token-1", "nobody waits for the next one");
    landed(&slot).await;
    assert_eq!(source.asked(), 2);
    assert_eq!(at(1).await, "Bearer token-2");
    assert_eq!(at(200).await, "Bearer token-3", "an expired one is never used");
}

#[tokio::test]
async fn a_broken_authorization_server_is_left_alone_for_a_while() {
    let (client, source, start) = (client("s"), Source { broken: true, ..Source::default() }, Instant::now());
    let slot = Arc::new(Slot::new(&client));
    let ask = async |now| slot.token(&client, now, |_| source.get(100)).await;
    let refused = CredentialFault::Refused("invalid_client".to_owned());
    for _ in 0..5 {
        assert_eq!(ask(start).await.err(), Some(refused.clone()));
    }
    assert_eq!(source.asked(), 1);
    let mut waits = Vec::new();
    for _ in 0..7 {
        let (until, wait) = slot.lock().failed.as_ref().map(|failed| (failed.until, failed.wait)).unwrap();
        waits.push(wait.as_secs());
        assert!(ask(until).await.is_err());
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
}

#[tokio::test]
async fn a_new_secret_costs_no_call_its_token() {
    let (old, new, source, now) = (client("s"), client("s2"), Source::default(), Instant::now());
    let slot = Arc::new(Slot::new(&old));
    slot.token(&old, now, |_| source.get(100)).await.unwrap();
    assert!(slot.is_of(&new));
    let token = slot.token(&new, now, |_| source.get(100)).await.unwrap();
    assert_eq!(text(&token), "Bearer token-1", "the old token goes on while the new secret is tried");
    landed(&slot).await;
    assert_eq!(text(&slot.at_hand(now).unwrap()), "Bearer token-2");
}

#[tokio::test]
async fn a_rejected_token_is_replaced_once_and_not_again_and_again() {
    let (client, source, now) = (client("s"), Source::default(), Instant::now());
    let slot = Arc::new(Slot::new(&client));
    let token = async |now| slot.token(&client, now, |_| source.get(100)).await.unwrap();
    let first = token(now).await;
    assert!(slot.reject(&first, now));
    let second = token(now).await;
    assert_eq!(text(&second), "Bearer token-2");
    assert!(slot.reject(&first, now), "a call that came late tries the new one");
    assert_eq!(source.asked(), 2);
    assert!(!slot.reject(&second, now), "the server accepts none");
    assert_eq!(text(&token(now).await), "Bearer token-2");
    assert!(slot.reject(&second, now + RENEWED_AT_MOST_EVERY));
}

#[test]
fn a_token_does_not_print_and_stands_in_a_header() {
    let now = Instant::now();
    let token = Token::new("hunter2", None, now).unwrap();
    assert!(!format!("{token:?} {:?}", token.header()).contains("hunter2"));
    for text in ["", "a b", "a\r\nX: y", "ä"] {
        assert!(Token::new(text, None, now).is_none(), "{text:?}");
    }
}
