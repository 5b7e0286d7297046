//! For tests: data planes whose store says how much of limits is used.

use tollgate_proto::{
    DataPlaneId,
    policy::v1::{LimitUse, LimitUses, Reply, question::What},
};

use crate::{policy::testing::Answering, testing::Bench};

/// A data plane with this store, in which of every limit `calls` calls and a list are counted, 42 tokens and one that runs.
pub(crate) fn counting(bench: &Bench, store: &str, calls: u64) -> Answering {
    let (tenant, store) = (bench.acme.to_string(), store.to_owned());
    Answering::connect(&bench.app, DataPlaneId::new(), move |question| {
        let Some(What::InspectLimits(asked)) = question.what else { return Reply::default() };
        assert_eq!(question.tenant_id, tenant);
        let of_one =
            |limit_id| LimitUse { limit_id, calls: Some(calls), lists: Some(1), tokens: Some(42), running: Some(1) };
        let uses = asked.ids.into_iter().map(of_one).collect();
        Reply { limit_uses: Some(LimitUses { store: store.clone(), uses }), ..Reply::default() }
    })
}
