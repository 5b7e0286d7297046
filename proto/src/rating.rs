//! Rating: what a call costs, from its fact and the price books of its tenant. Pure: nothing here reads or writes.
//!
//! - `selector.rs` is which calls a price is for, `factors.rs` how much of it is charged by how the call ended,
//!   `rates.rs` what it amounts to.
//! - `wire.rs` reads price books and usage records as they travel between the planes.
//! - [`Books::rate`] finds the book, its price and the cost.
//!
//! Invariant: a call is rated by its own time and by nothing else that changes, so that the same fact and the same books
//! always give the same cost, to the last digit; and no fact, however wrong, makes it panic or wrap.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use crate::{Currency, PriceBookVersionId};
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

mod factors;
mod rates;
mod selector;
#[cfg(test)]
mod tests;
mod wire;

pub use factors::{Ending, FACTOR, Factors};
pub use rates::{MARKUP, PRICE, Range, Rates};
pub use selector::{Selector, SelectorError};
pub use wire::BookError;

/// What is charged for: the use of something that a server offers. All else is the protocol's own traffic.
pub const CHARGED_METHODS: [&str; 4] = ["tools/call", "prompts/get", "resources/read", "completion/complete"];

/// A call that would cost more is a defect of who counted, or of who wrote the price: it is not charged, but stays visible as
/// unpriced. No sum over what is stored at once leaves a [`Decimal`] for it.
const COST_MAX: Decimal = Decimal::from_parts(1_000_000_000, 0, 0, false, 0);

/// What a price needs to know of a call.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// When it arrived.
    pub at: DateTime<Utc>,
    /// The team that is charged; empty: none.
    pub team: &'a str,
    /// The server's name.
    pub server: &'a str,
    /// The tool as its server names it; empty when it was no tool call.
    pub tool: &'a str,
    /// The JSON-RPC method.
    pub method: &'a str,
    /// Whether a server saw it.
    pub forwarded: bool,
    /// How it ended.
    pub ending: Ending,
    /// What passed through.
    pub quantities: Quantities,
    /// What its server claims that it cost, where the server is trusted to say.
    pub reported: Option<(Decimal, Currency)>,
}

/// How much passed through in a call. A negative one is a defect and is not rated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quantities {
    /// Tokens of what was sent.
    pub input_tokens: i64,
    /// Tokens of what came back.
    pub output_tokens: i64,
    /// Microseconds from the first byte sent to the server to the last byte of its answer.
    pub upstream_us: i64,
    /// Bytes of what was sent and of what came back.
    pub bytes: i64,
}

/// What a call costs; by default nothing, and by no book.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rating {
    /// Not rounded; zero for what is not charged or has no price.
    pub cost: Decimal,
    /// That of the book which was in force for the team; `None` when there was none.
    pub currency: Option<Currency>,
    /// Whether it would be charged, and there is no price that it can be charged by.
    pub unpriced: bool,
    /// What decided.
    pub decided_by: Option<Decision>,
}

/// The price that decided a cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// The version of the book.
    pub version: PriceBookVersionId,
    /// Which of its prices, counted from 0 in the order of the book.
    pub price: usize,
}

/// All versions of a tenant's books that were ever in force, or will be.
#[derive(Debug, Clone, Default)]
pub struct Books(Vec<Book>);

/// One version of a price book.
#[derive(Debug, Clone)]
pub struct Book {
    /// Its id.
    pub version: PriceBookVersionId,
    /// The first moment at which it is in force.
    pub from: DateTime<Utc>,
    /// The first moment at which it no longer is, where that is known.
    pub until: Option<DateTime<Utc>>,
    /// What it says.
    pub terms: Terms,
}

/// What a price book says.
#[derive(Debug, Clone)]
pub struct Terms {
    /// Of all its prices.
    pub currency: Currency,
    /// The teams that it is for; `None`: for all that have none of their own.
    pub teams: Option<BTreeSet<String>>,
    /// How much is charged by how a call ended.
    pub factors: Factors,
    /// The prices.
    pub prices: Prices,
}

/// The prices of a book, found by what they are for.
#[derive(Debug, Clone, Default)]
pub struct Prices {
    /// By server, the most specific first and else in the order of the book, each with its place there.
    by_server: BTreeMap<String, Vec<(usize, Selector, Rates)>>,
    /// For calls of servers that have no price.
    others: Option<(usize, Rates)>,
}

impl Books {
    /// These versions. Of those for one team, or for everyone, no two begin at the same moment.
    #[must_use]
    pub const fn new(versions: Vec<Book>) -> Self {
        Self(versions)
    }

    /// What a call costs.
    #[must_use]
    pub fn rate(&self, call: &Call<'_>) -> Rating {
        let book = self.in_force(call);
        let factor = book.map_or(Factors::standard(call.ending), |book| book.terms.factors.of(call.ending));
        let free = Rating {
            cost: Decimal::ZERO,
            currency: book.map(|book| book.terms.currency),
            unpriced: false,
            decided_by: None,
        };
        if !call.is_charged() || factor.is_zero() {
            return free;
        }
        let unpriced = Rating { unpriced: true, ..free };
        let Some(book) = book else { return unpriced };
        let Some((price, rates)) = book.terms.prices.of(call) else { return unpriced };
        let decided_by = Some(Decision { version: book.version, price });
        match rates.cost(call, book.terms.currency, factor).filter(|cost| *cost <= COST_MAX) {
            Some(cost) => Rating { cost, decided_by, ..free },
            None => Rating { decided_by, ..unpriced },
        }
    }

    /// The newest book that was in force for the call's team; else the newest for everyone.
    fn in_force(&self, call: &Call<'_>) -> Option<&Book> {
        let newest = |for_team: bool| {
            let books = self.0.iter().filter(|book| book.is_in_force(call.at) && book.is_for(call.team, for_team));
            books.max_by_key(|book| book.from)
        };
        newest(true).or_else(|| newest(false))
    }
}

impl Book {
    fn is_in_force(&self, at: DateTime<Utc>) -> bool {
        self.from <= at && self.until.is_none_or(|until| at < until)
    }

    /// Whether it names the team, or, where it should not, is for everyone.
    fn is_for(&self, team: &str, by_name: bool) -> bool {
        match &self.terms.teams {
            Some(teams) => by_name && teams.contains(team),
            None => !by_name,
        }
    }
}

impl Prices {
    /// These prices, in the order of the book. No two are for the same.
    #[must_use]
    pub fn new(prices: impl IntoIterator<Item = (Selector, Rates)>) -> Self {
        let mut all = Self::default();
        for (index, (selector, rates)) in prices.into_iter().enumerate() {
            match selector.server().map(str::to_owned) {
                Some(server) => all.by_server.entry(server).or_default().push((index, selector, rates)),
                None => all.others = Some((index, rates)),
            }
        }
        for prices in all.by_server.values_mut() {
            prices.sort_by_key(|(_, selector, _)| Reverse(selector.specificity()));
        }
        all
    }

    /// The most specific price of a call, with its place in the book.
    fn of(&self, call: &Call<'_>) -> Option<(usize, &Rates)> {
        let of_server = self.by_server.get(call.server).into_iter().flatten();
        let mut fitting = of_server.filter(|(_, selector, _)| selector.selects(call.tool));
        let found = fitting.next().map(|(index, _, rates)| (*index, rates));
        found.or_else(|| self.others.as_ref().map(|(index, rates)| (*index, rates)))
    }
}

impl Call<'_> {
    /// Whether calls like it have a price at all.
    fn is_charged(&self) -> bool {
        self.forwarded && CHARGED_METHODS.contains(&self.method)
    }
}
