//! Calls that end while nobody, or nobody in time, counts their tokens.

use std::{net::Ipv4Addr, path::PathBuf};

use bytes::Bytes;
use http::StatusCode;

use crate::{
    call::{Call, Ending},
    gateway::{Gateway, testing::gateway_in},
    mcp::{
        json::{Bounds, parse},
        message::{Incoming, Response, read},
    },
    metering::{Meter, TokenCount},
    telemetry::metrics::Gauges,
};

use super::*;

/// A call of ours, in a directory that goes with it.
struct Bench {
    gateway: Arc<Gateway>,
    dir: PathBuf,
}

impl Bench {
    fn new(meter: Meter) -> Self {
        let dir = std::env::temp_dir().join(format!("tollgate-closing-{}", uuid::Uuid::now_v7()));
        Self { gateway: gateway_in(&dir, meter), dir }
    }

    /// A call that was forwarded, and answered with 700 bytes of text.
    fn answered(&self) -> Call {
        let mut call = Call::open(Arc::clone(&self.gateway), Ipv4Addr::LOCALHOST.into());
        let asked = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","arguments":{}}}"#;
        let Ok(Incoming::Single(message)) = read(&Bytes::from(asked), &Bounds::AGENT) else { panic!("a message") };
        call.read(&message);
        call.intend(self.gateway.spool.intent(&call.record()).expect("there is room"));
        let result = format!(r#"{{"content":[{{"type":"text","text":"{}"}}]}}"#, "x".repeat(700));
        let result = parse(&Bytes::from(result), &Bounds::UPSTREAM).expect("valid");
        call.answered(&Response { id: None, outcome: Ok(result) });
        call
    }

    fn recorded(&self) -> u64 {
        self.gateway.spool.depth()
    }

    fn assert_metric(&self, line: &str) {
        let metrics = self.gateway.metrics.render(&Gauges::default());
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.dir);
    }
}

const ENDING: Ending = Ending { outcome: Outcome::Ok, status: StatusCode::OK, rpc_error_code: 0, output_bytes: 760 };
/// By 3.5 bytes a token.
const ESTIMATED: &str = r#"tollgate_tokens_total{direction="output",method="estimated"} 200"#;

async fn all_closed(bench: &Bench) {
    bench.gateway.calls.close();
    bench.gateway.calls.wait().await;
}

#[tokio::test]
async fn a_call_that_nobody_counts_is_recorded_at_once() {
    let bench = Bench::new(Meter::new(TokenCount::Estimate));
    bench.answered().close(ENDING);
    assert_eq!(bench.recorded(), 1);
    bench.assert_metric(ESTIMATED);
    bench.assert_metric(r#"tollgate_token_estimates_total{reason="queue_full"} 0"#);
}

#[tokio::test]
async fn a_count_that_does_not_come_in_time_is_replaced_by_the_estimate() {
    let bench = Bench::new(Meter::that_never_counts());
    bench.answered().close(ENDING);
    all_closed(&bench).await;
    assert_eq!(bench.recorded(), 1);
    bench.assert_metric(ESTIMATED);
    bench.assert_metric(r#"tollgate_token_estimates_total{reason="late"} 1"#);
}

#[tokio::test]
async fn a_call_that_is_dropped_is_recorded_with_what_passed_of_it() {
    let bench = Bench::new(Meter::that_never_counts());
    drop(bench.answered());
    all_closed(&bench).await;
    assert_eq!(bench.recorded(), 1);
    bench.assert_metric(ESTIMATED);
}

#[test]
fn a_call_that_waits_for_its_count_when_everything_ends_is_recorded_once() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let bench = runtime.block_on(async {
        let bench = Bench::new(Meter::that_counts_for_ever());
        bench.answered().close(ENDING);
        bench
    });
    assert_eq!(bench.recorded(), 0, "it waits");
    drop(runtime);
    assert_eq!(bench.recorded(), 1);
    bench.assert_metric(ESTIMATED);
}

#[test]
fn a_call_that_is_dropped_when_everything_has_ended_is_recorded() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (bench, call) = runtime.block_on(async {
        let bench = Bench::new(Meter::that_counts_for_ever());
        let call = bench.answered();
        (bench, call)
    });
    drop(runtime);
    drop(call);
    assert_eq!(bench.recorded(), 1);
    bench.assert_metric(ESTIMATED);
}

#[tokio::test]
async fn what_no_server_has_seen_has_no_tokens() {
    let bench = Bench::new(Meter::that_never_counts());
    let mut call = bench.answered();
    call.refused(&crate::refusal::Refusal::Overloaded);
    call.close(Ending { outcome: Outcome::Refused, ..ENDING });
    assert_eq!(bench.recorded(), 1);
    let metrics = bench.gateway.metrics.render(&Gauges::default());
    assert!(!metrics.contains("tollgate_tokens_total{"), "{metrics}");
}

#[tokio::test]
async fn a_call_that_is_turned_away_is_recorded_before_its_answer_goes() {
    let bench = Bench::new(Meter::that_never_counts());
    let call = Call::open(Arc::clone(&bench.gateway), Ipv4Addr::LOCALHOST.into());
    let answer = crate::stage::settle::refused(call, &crate::refusal::Refusal::Overloaded);
    // Nothing else has run in between.
    assert_eq!((answer.status(), bench.recorded()), (StatusCode::SERVICE_UNAVAILABLE, 1));
}
