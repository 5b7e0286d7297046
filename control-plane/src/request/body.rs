//! Bodies of requests: whole, of a bounded size, and in time.
//!
//! Invariant: nobody keeps a handler waiting with a body: every one breaks off at its deadline, whoever reads it.

use std::{error::Error, sync::Arc};

use axum::{
    body::{Body, HttpBody as _},
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::time::{Instant, timeout_at};

use crate::app::App;

/// Why there is no whole body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyFault {
    /// Over the bound.
    #[error("the body is too long")]
    TooLarge,
    /// Past its deadline.
    #[error("the body did not arrive in time")]
    TooSlow,
    /// It broke off.
    #[error("the body could not be read")]
    Broken,
}

/// Reads a body to its end.
///
/// # Errors
/// When it is longer than `bytes_max`, does not arrive in time, or breaks off.
pub async fn read(body: Body, bytes_max: usize) -> Result<Bytes, BodyFault> {
    match Limited::new(body, bytes_max).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(BodyFault::TooLarge),
        Err(error) if is_too_slow(error.as_ref()) => Err(BodyFault::TooSlow),
        Err(_) => Err(BodyFault::Broken),
    }
}

/// Middleware that sets every body its deadline.
pub async fn hurry(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let deadline = Instant::now() + app.body_timeout;
    next.run(request.map(|body| until(deadline, body))).await
}

/// The body, which breaks off with [`BodyFault::TooSlow`] at the deadline.
fn until(deadline: Instant, body: Body) -> Body {
    let chunks = stream::unfold(body.into_data_stream(), move |mut chunks| async move {
        let chunk = match timeout_at(deadline, chunks.next()).await {
            Ok(chunk) => chunk?.map_err(Box::<dyn Error + Send + Sync>::from),
            Err(_elapsed) => Err(BodyFault::TooSlow.into()),
        };
        Some((chunk, chunks))
    });
    Body::from_stream(chunks)
}

fn is_too_slow(error: &(dyn Error + 'static)) -> bool {
    let causes = std::iter::successors(Some(error), |error| (**error).source());
    causes.filter_map(|error| error.downcast_ref::<BodyFault>()).any(|fault| *fault == BodyFault::TooSlow)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn endless() -> Body {
        Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>())
    }

    #[tokio::test]
    async fn a_body_is_read_whole_within_its_bound() {
        assert_eq!(read(Body::from("body"), 4).await, Ok(Bytes::from("body")));
        assert_eq!(read(Body::from("body"), 3).await, Err(BodyFault::TooLarge));
    }

    #[tokio::test]
    async fn a_body_that_does_not_arrive_is_given_up() {
        let begun = stream::iter([Ok::<_, std::io::Error>(Bytes::from("bo"))]).chain(stream::pending());
        for body in [endless(), Body::from_stream(begun)] {
            let body = until(Instant::now() + Duration::from_millis(5), body);
            assert_eq!(read(body, 100).await, Err(BodyFault::TooSlow));
        }
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_none() {
        let broken = stream::iter([Err::<Bytes, _>(std::io::Error::other("gone"))]);
        let body = until(Instant::now() + Duration::from_secs(60), Body::from_stream(broken));
        assert_eq!(read(body, 100).await, Err(BodyFault::Broken));
    }
}
