//! What passed of one call, until its tokens are known.
//!
//! Invariant: nothing of an answer is copied or kept beyond its count; whatever is not counted in time is estimated, so
//! that a tally always comes to a figure.

use std::mem;

use tokio::sync::oneshot;
use tollgate_proto::usage::v1::{ReportedUsage, TokenMethod, UsageRecord};

use super::{Usage, counter::Part, counts::Counts, payload, reported};
use crate::{
    gateway::Gateway,
    mcp::{json::Raw, message::Params, method::Method},
    policy::UsageReports,
    telemetry::metrics::Estimate,
};

/// What passed of one call.
#[derive(Debug, Default)]
pub struct Tally {
    method: Option<Method>,
    reports: UsageReports,
    reported: Option<ReportedUsage>,
    /// What nobody was asked to count yet.
    passed: Vec<Part>,
    /// What is being counted.
    counting: Vec<(Vec<Part>, oneshot::Receiver<Counts>)>,
    counts: Counts,
}

impl Tally {
    /// The request; tells how many bytes of it are counted.
    pub fn asked(&mut self, method: Option<Method>, params: &Params) -> u64 {
        self.method = method;
        let input = method.and_then(|method| payload::input(method, params)).cloned();
        let bytes = input.as_ref().map_or(0, |input| input.as_bytes().len() as u64);
        self.passed.extend(input.map(Part::Input));
        bytes
    }

    /// What becomes of the usage that the server reports.
    pub fn reports(&mut self, reports: UsageReports) {
        self.reports = reports;
    }

    /// A result that the agent got.
    pub fn answered(&mut self, gateway: &Gateway, result: &Raw) {
        if !payload::is_counted(self.method) {
            return;
        }
        self.passed.push(Part::Output(self.method, result.clone()));
        if self.reports == UsageReports::Ignored {
            return;
        }
        match reported::read(result) {
            Ok(reported) => {
                if let Some(reported) = reported {
                    gateway.metrics.usage_reported(true);
                    self.reported = Some(ReportedUsage { billed: self.reports == UsageReports::Billed, ..reported });
                }
            }
            Err(reported::Malformed) => gateway.metrics.usage_reported(false),
        }
    }

    /// A result that the agent got on a stream that goes on: it is counted meanwhile.
    pub fn passed_by(&mut self, gateway: &Gateway, result: &Raw) {
        self.passed.push(Part::Output(None, result.clone()));
        self.count(gateway);
    }

    /// Has counted what passed so far; true when there is something to wait for.
    pub fn count(&mut self, gateway: &Gateway) -> bool {
        for (parts, mut counting) in mem::take(&mut self.counting) {
            match counting.try_recv() {
                Ok(counts) => self.counts.add(&counts),
                Err(oneshot::error::TryRecvError::Empty) => self.counting.push((parts, counting)),
                Err(oneshot::error::TryRecvError::Closed) => self.estimate(gateway, &parts, Estimate::Failed),
            }
        }
        let passed = mem::take(&mut self.passed);
        if !passed.is_empty() {
            match gateway.meter.counter.count(&passed) {
                Some(counting) => self.counting.push((passed, counting)),
                None => self.estimate(gateway, &passed, Estimate::QueueFull),
            }
        }
        !self.counting.is_empty()
    }

    /// Until everything is counted, or for as long as that may take. Nothing is lost when this is dropped half way.
    pub async fn counted(&mut self, gateway: &Gateway) {
        let all = async {
            while let Some((_, counting)) = self.counting.last_mut() {
                let counted = counting.await;
                let (parts, _) = self.counting.pop().expect("it was there a moment ago");
                match counted {
                    Ok(counts) => self.counts.add(&counts),
                    Err(_failed) => self.estimate(gateway, &parts, Estimate::Failed),
                }
            }
        };
        // What is not counted by then is estimated.
        let _late = tokio::time::timeout(gateway.meter.counter.counted_within(), all).await;
    }

    /// Writes onto the record what the call came to. What is still not counted is estimated now.
    pub fn write(mut self, gateway: &Gateway, record: &mut UsageRecord) -> Usage {
        self.count(gateway);
        for (parts, _) in mem::take(&mut self.counting) {
            self.estimate(gateway, &parts, Estimate::Late);
        }
        let (counter, counts) = (&gateway.meter.counter, &self.counts);
        let usage = gateway.meter.usage(record, counts);
        (record.input_tokens, record.output_tokens) = (usage.input, usage.output);
        (record.images, record.audio, record.media_bytes) =
            (counts.media.images, counts.media.audio, counts.media.bytes);
        let method = if counter.is_exact() && counts.is_exact() {
            counter.tokenizer().clone_into(&mut record.tokenizer);
            TokenMethod::Exact
        } else {
            TokenMethod::Estimated
        };
        record.set_token_method(method);
        gateway.meter.learn(record, counts);
        if let Some(reported) = self.reported {
            report(record, reported, usage);
        }
        gateway.metrics.tokens(record);
        usage
    }

    fn estimate(&mut self, gateway: &Gateway, parts: &[Part], why: Estimate) {
        if gateway.meter.counter.is_exact() {
            gateway.metrics.estimated(why);
        }
        self.counts.add(&gateway.meter.counter.sizes(parts));
    }
}

/// Keeps the report; where it is billed, its tokens become the record's, and ours stay beside them for whoever doubts it.
fn report(record: &mut UsageRecord, mut reported: ReportedUsage, counted: Usage) {
    if reported.billed && (reported.input_tokens.is_some() || reported.output_tokens.is_some()) {
        record.input_tokens = reported.input_tokens.unwrap_or(counted.input);
        record.output_tokens = reported.output_tokens.unwrap_or(counted.output);
        record.set_token_method(TokenMethod::ServerReported);
        (reported.counted_input_tokens, reported.counted_output_tokens) = (counted.input, counted.output);
    }
    record.reported = Some(reported);
}
