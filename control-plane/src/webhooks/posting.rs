//! One attempt to tell a receiver of an alert: the signed request, and what its answer means.
//!
//! Invariant: what is signed is what is sent, and nothing but a status of 2xx counts as taken.

use std::{error::Error, time::Duration};

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use http::{HeaderMap, Method, Request, StatusCode, header};
use serde::Serialize;
use serde_json::Value;
use tollgate_proto::{AlertId, Egress, TenantId, WebhookId};

use super::secret::SigningSecret;
use crate::{
    app::App,
    fetch::FetchError,
    seal::{MasterKey, SealError},
};

/// From the look-up of the name to the answer's status.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long is waited after an attempt that failed, as Standard Webhooks recommend: after three days it is given up.
const PAUSES_S: [u64; 9] = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];
/// A receiver that wants to be left alone for longer is asked again all the same.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(86_400);

/// Why nothing more is sent to a receiver that is gone.
pub(super) const GONE: &str = "the receiver answered 410 Gone";

/// An attempt that was claimed.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) tenant: TenantId,
    pub(super) webhook: WebhookId,
    pub(super) url: String,
    pub(super) egress: Egress,
    /// Sealed: the one in force first.
    pub(super) secrets: Vec<Vec<u8>>,
    pub(super) alert: AlertId,
    pub(super) kind: String,
    pub(super) at: DateTime<Utc>,
    pub(super) data: Value,
    /// From 1.
    pub(super) number: i32,
    /// Until when nobody else delivers to the webhook.
    pub(super) held_until: DateTime<Utc>,
}

/// How it went.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The receiver has taken it.
    Delivered { status: StatusCode },
    /// The receiver says that nothing is there any more.
    Gone,
    /// Anything else.
    Failed(Failure),
}

/// Why it is not delivered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) status: Option<StatusCode>,
    pub(super) why: String,
    /// When to try again; `None`: never.
    pub(super) again_in: Option<Duration>,
}

impl Failure {
    /// Of the attempt that found that out.
    pub(super) fn of_gone() -> Self {
        Self { status: Some(StatusCode::GONE), why: GONE.to_owned(), again_in: None }
    }
}

/// The body, as Standard Webhooks lay it out.
#[derive(Serialize)]
struct Payload<'a> {
    r#type: &'a str,
    timestamp: String,
    data: &'a Value,
}

/// Why there is no request.
#[derive(Debug, thiserror::Error)]
enum Unsent {
    #[error("its signing secret cannot be opened: give the webhook another one")]
    Secret(#[from] SealError),
    #[error("the body cannot be written")]
    Body(#[from] serde_json::Error),
    #[error("the URL cannot be requested")]
    Request(#[from] http::Error),
}

/// Makes the attempt.
pub(super) async fn post(app: &App, attempt: &Attempt) -> Outcome {
    let request = match request(&app.master_key, attempt, Utc::now().timestamp()) {
        Ok(request) => request,
        Err(unsent) => {
            tracing::error!(webhook = %attempt.webhook, error = &unsent as &dyn Error, "an alert cannot be sent");
            return Outcome::Failed(failure(attempt.number, None, unsent.to_string(), None));
        }
    };
    match app.fetcher.deliver(&attempt.egress, request, PATIENCE).await {
        Ok(answer) => judge(attempt.number, answer.status(), answer.headers(), Utc::now()),
        Err(FetchError::Scheme) => {
            let why = "`http` goes only to networks that the tenant's `egress_allow` names: use `https`";
            Outcome::Failed(failure(attempt.number, None, why.to_owned(), None))
        }
        Err(error) => Outcome::Failed(failure(attempt.number, None, error.to_string(), None)),
    }
}

fn request(key: &MasterKey, attempt: &Attempt, timestamp: i64) -> Result<Request<Bytes>, Unsent> {
    let raised_at = attempt.at.to_rfc3339_opts(SecondsFormat::Millis, true);
    let body = serde_json::to_vec(&Payload { r#type: &attempt.kind, timestamp: raised_at, data: &attempt.data })?;
    let id = attempt.alert.to_string();
    let sign = |sealed: &Vec<u8>| {
        let secret = SigningSecret::open(key, attempt.tenant, attempt.webhook, sealed)?;
        Ok(secret.sign(&id, timestamp, &body))
    };
    let signatures = attempt.secrets.iter().map(sign).collect::<Result<Vec<_>, SealError>>()?;
    let request = Request::builder()
        .method(Method::POST)
        .uri(&attempt.url)
        .header(header::CONTENT_TYPE, "application/json")
        .header("webhook-id", &id)
        .header("webhook-timestamp", timestamp)
        .header("webhook-signature", signatures.join(" "));
    Ok(request.body(body.into())?)
}

/// What the receiver's answer means.
fn judge(number: i32, status: StatusCode, headers: &HeaderMap, now: DateTime<Utc>) -> Outcome {
    if status.is_success() {
        return Outcome::Delivered { status };
    }
    if status == StatusCode::GONE {
        return Outcome::Gone;
    }
    let why = match status.canonical_reason() {
        Some(reason) => format!("the receiver answered {} {reason}", status.as_u16()),
        None => format!("the receiver answered {}", status.as_u16()),
    };
    Outcome::Failed(failure(number, Some(status), why, retry_after(headers, now)))
}

/// Of the attempt with this number.
fn failure(number: i32, status: Option<StatusCode>, why: String, wanted: Option<Duration>) -> Failure {
    let pause = usize::try_from(number).ok().and_then(|number| PAUSES_S.get(number.saturating_sub(1)));
    let again_in = pause.map(|pause_s| Duration::from_secs(*pause_s).max(wanted.unwrap_or_default()));
    Failure { status, why, again_in }
}

/// How long the receiver wants to be left alone (RFC 9110 section 10.2.3): seconds, or until a date.
fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    let until = || DateTime::parse_from_rfc2822(text).ok().and_then(|at| (at.to_utc() - now).to_std().ok());
    let wanted = text.parse().ok().map(Duration::from_secs).or_else(until)?;
    Some(wanted.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(number: i32, status: u16, wanted: Option<&str>) -> Outcome {
        let headers = wanted.map(|text| (header::RETRY_AFTER, text.parse().expect("a value")));
        let now = "2026-11-23T12:00:00Z".parse().expect("a moment");
        judge(number, StatusCode::from_u16(status).expect("a status"), &headers.into_iter().collect(), now)
    }

    fn again_in_s(outcome: &Outcome) -> Option<u64> {
        match outcome {
            Outcome::Failed(failure) => failure.again_in.map(|pause| pause.as_secs()),
            Outcome::Delivered { .. } | Outcome::Gone => panic!("{outcome:?} is no failure"),
        }
    }

    #[test]
    fn attempts_come_as_the_specification_recommends_and_end() {
        let pauses: Vec<_> = (1..=11).map(|number| again_in_s(&judged(number, 500, None))).collect();
        let expected = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400].map(Some);
        assert_eq!(pauses, [&expected[..], &[None, None]].concat());
    }

    #[test]
    fn success_alone_is_taken_for_success_and_only_410_ends_it() {
        for status in [200, 202, 204] {
            assert!(matches!(judged(1, status, None), Outcome::Delivered { .. }), "{status}");
        }
        for status in [301, 307, 400, 401, 404, 500, 599] {
            assert_eq!(again_in_s(&judged(1, status, None)), Some(5), "{status}");
        }
        assert_eq!(judged(1, 410, None), Outcome::Gone);
    }

    #[test]
    fn a_receiver_that_is_busy_says_when_to_come_back() {
        for (status, wanted, expected) in [
            (429, Some("60"), 60),
            (503, Some("60"), 60),
            (429, Some("1"), 5),
            (429, Some("Mon, 23 Nov 2026 12:02:00 GMT"), 120),
            (429, Some("Mon, 23 Nov 2026 11:00:00 GMT"), 5),
            (429, Some("999999999"), 86_400),
            (429, Some("soon"), 5),
            (429, None, 5),
        ] {
            assert_eq!(again_in_s(&judged(1, status, wanted)), Some(expected), "{status} {wanted:?}");
        }
        assert_eq!(again_in_s(&judged(10, 429, Some("60"))), None, "it does not make the last attempt last for ever");
    }
}
