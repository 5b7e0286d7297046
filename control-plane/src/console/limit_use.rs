//! How much of limits is used, as the pages show it: bars, with what they mean in words.
//!
//! Invariant: a bar says nothing that its words do not say too, and where nobody said how much is used there is none.

use super::{filters::grouped, page::sentence};
use crate::{
    answers::Unanswered,
    duration,
    limits::{Limit, LimitUse, Refusals, standing::Standing},
};

/// From so many hundredths of a limit on its bar warns.
const WARNS_AT: i64 = 80;

/// What a page knows of the limits that it shows.
#[derive(Debug)]
pub(super) struct Uses {
    standing: Standing,
}

/// How full a limit is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bar {
    pub(super) value: u64,
    pub(super) max: i64,
    /// Above it the bar warns.
    pub(super) low: i64,
    /// Above it nothing passes any more.
    pub(super) high: i64,
    pub(super) words: String,
}

impl Uses {
    pub(super) fn of(standing: Standing) -> Self {
        Self { standing }
    }

    /// Whether anything is known.
    pub(super) fn is_known(&self) -> bool {
        self.standing.silence.is_none()
    }

    /// What may be missing, and why.
    pub(super) fn missing(&self) -> Vec<String> {
        let unanswered = |one: &Unanswered| format!("{}: {}.", one.data_plane, one.detail);
        let silence = self.standing.silence.iter().map(|why| sentence(why));
        silence.chain(self.standing.unanswered.iter().map(unanswered)).collect()
    }

    /// Whether some limit is counted in several stores.
    pub(super) fn are_apart(&self) -> bool {
        self.standing.uses.iter().any(|of_one| of_one.stores > 1)
    }

    /// The bars of a limit: none where nobody said how much is used.
    pub(super) fn bars(&self, limit: &Limit) -> Vec<Bar> {
        self.of_limit(limit).map(bars).unwrap_or_default()
    }

    /// Calls that it refused, in words; nothing where it refused none.
    pub(super) fn refused(&self, limit: &Limit) -> Vec<String> {
        let Some(LimitUse { refused, .. }) = self.of_limit(limit) else { return Vec::new() };
        let Refusals { this_hour, hour_before, .. } = *refused;
        let hours = [(this_hour, "this hour"), (hour_before, "the hour before")];
        let refusing = hours.into_iter().filter(|(calls, _)| *calls > 0);
        refusing.map(|(calls, when)| format!("{} {when}", grouped(calls))).collect()
    }

    fn of_limit(&self, limit: &Limit) -> Option<&LimitUse> {
        self.standing.uses.iter().find(|of_one| of_one.id == limit.id)
    }
}

impl Bar {
    fn new(value: Option<u64>, max: i64, what: &str) -> Option<Self> {
        let value = value?;
        let used = i64::try_from(value).map_or_else(|_| value.to_string(), grouped);
        let (low, high) = ((max * WARNS_AT / 100).min(max - 1), max - 1);
        Some(Self { value, max, low, high, words: format!("{used} of {} {what}", grouped(max)) })
    }
}

fn bars(of_one: &LimitUse) -> Vec<Bar> {
    let within = |what: &str, window_s: u64| format!("{what} in the last {}", duration::words(window_s));
    let requests = of_one.requests.map(|it| {
        // Who looks around now and then has no use for a bar of it.
        let lists = it.lists.filter(|lists| *lists > 0);
        let calls = Bar::new(it.used, it.count, &within("calls", it.window_s));
        [calls, Bar::new(lists, it.count, &within("lists", it.window_s))]
    });
    let tokens = of_one.tokens.and_then(|it| Bar::new(it.used, it.count, &within("tokens", it.window_s)));
    let running = of_one.concurrency.and_then(|it| Bar::new(it.used, it.count, "calls running"));
    requests.into_iter().flatten().chain([tokens, running]).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_warns_before_it_is_full_and_says_how_full_it_is() {
        for (max, low, high) in [(600, 480, 599), (10, 8, 9), (2, 1, 1), (1, 0, 0)] {
            let bar = Bar::new(Some(1), max, "calls running").expect("a bar");
            assert_eq!((bar.max, bar.low, bar.high), (max, low, high));
        }
        let debt = Bar::new(Some(120_000), 100_000, "tokens in the last minute").expect("a bar");
        assert_eq!(debt.words, "120\u{2009}000 of 100\u{2009}000 tokens in the last minute");
        assert_eq!(Bar::new(None, 10, "calls running"), None);
    }
}
