//! Sessions and streams: how many begin, how they end, how many are open.

use std::sync::atomic::AtomicI64;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// How a session came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionEnd {
    /// The agent ended it.
    Deleted,
    /// Its time was up.
    Expired,
    /// An operator ended it.
    Operator,
    /// The server forgot it, or the instance that held it is gone.
    Lost,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndLabels {
    how: &'static str,
}

/// The series.
#[derive(Debug)]
pub(super) struct Sessions {
    pub(super) opened: Counter,
    ended: Family<EndLabels, Counter>,
    pub(super) streams: Gauge<i64, AtomicI64>,
}

impl Sessions {
    /// All at zero.
    pub(super) fn register(registry: &mut Registry) -> Self {
        let (opened, ended, streams) = (Counter::default(), Family::default(), Gauge::default());
        registry.register("tollgate_sessions_opened", "Legacy sessions that were opened here", opened.clone());
        registry.register("tollgate_sessions_ended", "Legacy sessions that ended here, by how", ended.clone());
        registry.register("tollgate_streams_open", "Answers that are streams, and still open", streams.clone());
        Self { opened, ended, streams }
    }

    /// So many ended like this.
    pub(super) fn ended(&self, how: SessionEnd, count: u64) {
        let how = match how {
            SessionEnd::Deleted => "deleted",
            SessionEnd::Expired => "expired",
            SessionEnd::Operator => "operator",
            SessionEnd::Lost => "lost",
        };
        self.ended.get_or_create(&EndLabels { how }).inc_by(count);
    }
}
