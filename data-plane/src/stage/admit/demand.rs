//! What a call asks of the limits that it has to pass.
//!
//! Invariant: looking costs requests alone: no place among the calls that run, and no tokens but those of a task's result
//! that is handed out.

use tollgate_proto::CallId;

use crate::{
    counters,
    policy::{Limit, Rate},
    store::{Charge, Class, Demand, Meter, Place, RingKey},
};

/// Of these limits. `tokens`: as many as it is expected to come to; `None`: it uses none.
pub fn of(limits: &[&Limit], class: Class, call: CallId, tokens: Option<u64>) -> Demand {
    let executes = class == Class::Executing;
    let charges = limits.iter().flat_map(|limit| {
        let requests = limit.requests.map(|rate| charge(limit, Meter::Requests(class), rate, 1));
        let tokens = limit.tokens.zip(tokens).map(|(rate, tokens)| {
            // Whatever is expected may be used once: more than the whole limit would never pass.
            let cost = u32::try_from(tokens).unwrap_or(u32::MAX).min(rate.count);
            charge(limit, Meter::Tokens, rate, cost)
        });
        requests.into_iter().chain(tokens)
    });
    let places = limits.iter().filter_map(|limit| Some(Place { limit: limit.id, places: limit.concurrency?, call }));
    Demand { charges: charges.collect(), places: places.filter(|_| executes).collect(), spends: Vec::new() }
}

fn charge(limit: &Limit, meter: Meter, rate: Rate, cost: u32) -> Charge {
    let window_s = counters::window_s(limit, rate);
    Charge { key: RingKey { limit: limit.id, meter }, limit: rate.count, window_s, cost }
}

#[cfg(test)]
mod tests {
    use tollgate_proto::LimitId;

    use super::*;
    use crate::policy::{OnStoreOutage, Subject};

    fn limit() -> Limit {
        Limit {
            id: LimitId::new(),
            name: "l".to_owned(),
            on: Subject::Agent,
            requests: Some(Rate { count: 60, window_s: 60 }),
            tokens: Some(Rate { count: 1_000, window_s: 30 }),
            concurrency: Some(2),
            on_store_outage: OnStoreOutage::Local,
            is_leased: false,
        }
    }

    #[test]
    fn a_call_takes_from_whatever_a_limit_has_and_never_more_tokens_than_all() {
        let (limit, call) = (limit(), CallId::new());
        for (expected, cost) in [(0, 0), (999, 999), (1_001, 1_000), (u64::MAX, 1_000)] {
            let demand = of(&[&limit], Class::Executing, call, Some(expected));
            let costs: Vec<_> = demand.charges.iter().map(|it| (it.key.meter, it.window_s, it.cost)).collect();
            assert_eq!(costs, [(Meter::Requests(Class::Executing), 60, 1), (Meter::Tokens, 30, cost)]);
            assert_eq!(demand.places, [Place { limit: limit.id, places: 2, call }]);
        }
    }

    #[test]
    fn looking_takes_a_request_and_nothing_else() {
        let limit = limit();
        let demand = of(&[&limit], Class::Discovery, CallId::new(), None);
        let meters: Vec<_> = demand.charges.iter().map(|it| it.key.meter).collect();
        assert_eq!((meters, demand.places), (vec![Meter::Requests(Class::Discovery)], Vec::new()));
        let only_places = Limit { requests: None, tokens: None, ..limit };
        assert!(of(&[&only_places], Class::Discovery, CallId::new(), None).is_empty());
    }
}
