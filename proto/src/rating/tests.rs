use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use rust_decimal::Decimal;

use super::*;

fn amount(text: &str) -> Decimal {
    text.parse().expect("an amount")
}

fn eur() -> Currency {
    "EUR".parse().expect("a currency")
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("a moment")
}

/// A successful call of `demo:echo` by `platform`.
fn call() -> Call<'static> {
    Call {
        at: at("2026-11-20T12:00:00Z"),
        team: "platform",
        server: "demo",
        tool: "echo",
        method: "tools/call",
        forwarded: true,
        ending: Ending::Ok,
        quantities: Quantities { input_tokens: 1_500, output_tokens: 250, upstream_us: 1_250_000, bytes: 1 << 19 },
        reported: None,
    }
}

fn per_call(text: &str) -> Rates {
    Rates { per_call: Some(amount(text)), ..Rates::default() }
}

fn terms(prices: &[(&str, Rates)]) -> Terms {
    let prices = prices.iter().map(|(selector, rates)| (selector.parse().expect("a selector"), rates.clone()));
    Terms { currency: eur(), teams: None, factors: Factors::default(), prices: Prices::new(prices) }
}

fn book(from: &str, until: Option<&str>, terms: Terms) -> Book {
    Book { version: PriceBookVersionId::new(), from: at(from), until: until.map(at), terms }
}

/// Of one book that is always in force.
fn of(prices: &[(&str, Rates)]) -> Books {
    Books::new(vec![book("2026-01-01T00:00:00Z", None, terms(prices))])
}

fn cost(books: &Books, call: &Call<'_>) -> String {
    let rating = books.rate(call);
    assert!(!rating.unpriced, "{rating:?}");
    rating.cost.to_string()
}

#[test]
fn a_cost_is_the_sum_of_what_is_paid_for() {
    let full = Rates {
        per_call: Some(amount("0.01")),
        per_1k_input_tokens: Some(amount("0.002")),
        per_1k_output_tokens: Some(amount("0.008")),
        per_second: Some(amount("0.1")),
        per_mib: Some(amount("0.05")),
        server_reported: None,
    };
    // 0.01 + 1.5 × 0.002 + 0.25 × 0.008 + 1.25 × 0.1 + 0.5 × 0.05
    assert_eq!(cost(&of(&[("*", full)]), &call()), "0.165");
    let fine = Rates { per_1k_input_tokens: Some(amount("0.0000000001")), ..Rates::default() };
    let one = Call { quantities: Quantities { input_tokens: 1, ..Quantities::default() }, ..call() };
    assert_eq!(cost(&of(&[("*", fine)]), &one), "0.0000000000001");
    let mib = Rates { per_mib: Some(amount("1")), ..Rates::default() };
    let one = Call { quantities: Quantities { bytes: 1, ..Quantities::default() }, ..call() };
    assert_eq!(cost(&of(&[("*", mib)]), &one), "0.0000009536743", "1/1048576 at 13 decimals");
    assert_eq!(cost(&of(&[("*", per_call("0"))]), &call()), "0");
}

#[test]
fn the_most_specific_price_counts_wherever_it_stands_in_the_book() {
    let prices = [
        ("*", per_call("1")),
        ("demo:e*", per_call("4")),
        ("demo:*", per_call("2")),
        ("demo:ec*", per_call("5")),
        ("demo:echo", per_call("6")),
        ("demo:*o", per_call("3")),
    ];
    let books = of(&prices);
    for (server, tool, expected) in [
        ("demo", "echo", "6"),
        ("demo", "ecto", "5"),
        ("demo", "eko", "4"),
        ("demo", "taco", "3"),
        ("demo", "edit", "4"),
        ("demo", "add", "2"),
        ("demo", "", "2"),
        ("other", "echo", "1"),
        ("not a name", "echo", "1"),
    ] {
        assert_eq!(cost(&books, &Call { server, tool, ..call() }), expected, "{server}:{tool}");
    }
    let decided = books.rate(&call()).decided_by.expect("a price decides");
    assert_eq!(decided.price, 4, "its place in the book");
}

#[test]
fn the_book_is_that_of_the_time_of_the_call() {
    let books = Books::new(vec![
        book("2026-11-01T00:00:00Z", Some("2026-12-01T00:00:00Z"), terms(&[("*", per_call("1"))])),
        book("2026-12-01T00:00:00Z", None, terms(&[("*", per_call("2"))])),
        book("2026-12-24T00:00:00Z", Some("2026-12-27T00:00:00Z"), terms(&[("*", per_call("3"))])),
    ]);
    for (moment, expected) in [
        ("2026-11-01T00:00:00Z", "1"),
        ("2026-11-30T23:59:59.999999Z", "1"),
        ("2026-12-01T00:00:00Z", "2"),
        ("2026-12-26T23:59:59Z", "3"),
        ("2026-12-27T00:00:00Z", "2"),
    ] {
        assert_eq!(cost(&books, &Call { at: at(moment), ..call() }), expected, "{moment}");
    }
    let before = books.rate(&Call { at: at("2026-10-31T23:59:59Z"), ..call() });
    assert_eq!((before.unpriced, before.currency, before.cost), (true, None, Decimal::ZERO));
}

#[test]
fn a_teams_own_book_stands_for_itself() {
    let own = |teams: &[&str], terms: Terms| {
        let teams = Some(teams.iter().map(|team| (*team).to_owned()).collect());
        book("2026-01-01T00:00:00Z", None, Terms { teams, ..terms })
    };
    let books = Books::new(vec![
        book("2026-06-01T00:00:00Z", None, terms(&[("*", per_call("9"))])),
        own(&["platform", "data"], terms(&[("demo:echo", per_call("1"))])),
    ]);
    assert_eq!(cost(&books, &call()), "1", "though the other one is newer");
    assert_eq!(cost(&books, &Call { team: "sales", ..call() }), "9");
    assert_eq!(cost(&books, &Call { team: "", ..call() }), "9");
    assert!(books.rate(&Call { tool: "add", ..call() }).unpriced, "what it leaves out has no price");
}

#[test]
fn how_a_call_ended_decides_how_much_is_charged() {
    let standard = of(&[("*", per_call("2"))]);
    for (ending, expected) in [
        (Ending::Ok, "2"),
        (Ending::ToolError, "2"),
        (Ending::Abandoned, "2"),
        (Ending::CutOff, "2"),
        (Ending::Unknown, "2"),
        (Ending::RpcError, "0"),
        (Ending::Timeout, "0"),
        (Ending::UpstreamError, "0"),
        (Ending::InputRequired, "0"),
        (Ending::Refused, "0"),
    ] {
        assert_eq!(cost(&standard, &Call { ending, ..call() }), expected, "{ending:?}");
    }
    let given = [(Ending::ToolError, amount("0.25")), (Ending::Timeout, amount("1.5"))];
    let mut terms = terms(&[("*", per_call("2"))]);
    terms.factors = Factors::new(given.into_iter().collect());
    let books = Books::new(vec![book("2026-01-01T00:00:00Z", None, terms)]);
    assert_eq!(cost(&books, &Call { ending: Ending::ToolError, ..call() }), "0.5");
    assert_eq!(cost(&books, &Call { ending: Ending::Timeout, ..call() }), "3");
    assert_eq!(cost(&books, &call()), "2");
}

#[test]
fn what_no_server_saw_and_the_protocols_own_traffic_are_free_and_not_unpriced() {
    for books in [of(&[("*", per_call("2"))]), Books::default()] {
        for free in [
            Call { forwarded: false, ..call() },
            Call { method: "tools/list", tool: "", ..call() },
            Call { method: "initialize", server: "", tool: "", ..call() },
            Call { ending: Ending::Timeout, ..call() },
        ] {
            let rating = books.rate(&free);
            assert_eq!((rating.cost, rating.unpriced, rating.decided_by), (Decimal::ZERO, false, None), "{free:?}");
        }
    }
    for method in ["tools/call", "prompts/get", "resources/read", "completion/complete"] {
        assert_eq!(cost(&of(&[("*", per_call("2"))]), &Call { method, ..call() }), "2");
    }
}

#[test]
fn a_cost_that_a_server_reports_is_passed_on_where_it_can_be() {
    let rates = Rates { server_reported: Some(amount("1.125")), ..per_call("0.5") };
    let books = of(&[("*", rates)]);
    let with = |reported| Call { reported, ..call() };
    assert_eq!(cost(&books, &with(Some((amount("2.0000000008"), eur())))), "2.7500000009");
    let dollars = "USD".parse().expect("a currency");
    for unusable in [
        None,
        Some((amount("2"), dollars)),
        Some((amount("-2"), eur())),
        Some((amount("0.00000000001"), eur())),
        Some((amount("1000000000.1"), eur())),
        Some((Decimal::MAX, eur())),
    ] {
        let rating = books.rate(&with(unusable));
        assert_eq!((rating.unpriced, rating.cost), (true, Decimal::ZERO), "{unusable:?}");
        assert!(rating.decided_by.is_some(), "the price is known that could not be applied");
    }
    assert_eq!(cost(&of(&[("*", per_call("0.5"))]), &with(Some((amount("2"), eur())))), "0.5", "nobody asked for it");
}

/// The largest of everything that is taken for possible.
fn largest() -> (Rates, Call<'static>, Decimal) {
    let price = Some(amount("999999.9999999999"));
    let rates = Rates {
        per_call: price,
        per_1k_input_tokens: price,
        per_1k_output_tokens: price,
        per_second: price,
        per_mib: price,
        server_reported: Some(amount("999.999")),
    };
    let quantities = Quantities {
        input_tokens: 1_000_000_000,
        output_tokens: 1_000_000_000,
        upstream_us: 1_000_000_000_000,
        bytes: 1 << 40,
    };
    let reported = Some((amount("1000000000"), eur()));
    (rates, Call { quantities, reported, ..call() }, amount("9.99"))
}

#[test]
fn the_largest_cost_is_exact() {
    let (rates, call, factor) = largest();
    // 9.99 × (999999.9999999999 × (1 + 10⁶ + 10⁶ + 10⁶ + 2²⁰) + 999.999 × 10⁹)
    let cost = rates.cost(&call, eur(), factor).expect("it fits");
    assert_eq!(cost.to_string(), "50435274239999.995955471577");
}

#[test]
fn what_nobody_can_have_used_is_not_charged_and_stays_visible() {
    let (rates, call, _) = largest();
    let books = of(&[("*", rates)]);
    let used = call.quantities;
    let small = Quantities { input_tokens: 1, output_tokens: 1, upstream_us: 1, bytes: 1 };
    let dear = |factor: &str| {
        let mut terms = terms(&[("*", per_call("500000000"))]);
        terms.factors = Factors::new([(Ending::Ok, amount(factor))].into());
        Books::new(vec![book("2026-01-01T00:00:00Z", None, terms)]).rate(&Call { quantities: small, ..call })
    };
    assert_eq!(dear("2").cost, amount("1000000000"));
    assert_eq!((dear("2.01").unpriced, dear("2.01").cost), (true, Decimal::ZERO), "more than is believed");
    for quantities in [
        Quantities { input_tokens: 1_000_000_001, ..used },
        Quantities { output_tokens: i64::MAX, ..used },
        Quantities { upstream_us: i64::MAX, ..used },
        Quantities { bytes: i64::MAX, ..used },
        Quantities { bytes: -1, ..used },
        Quantities { input_tokens: i64::MIN, ..used },
    ] {
        let rating = books.rate(&Call { quantities, ..call });
        assert_eq!((rating.unpriced, rating.cost), (true, Decimal::ZERO), "{quantities:?}");
    }
    let by_call = of(&[("*", per_call("1"))]);
    let wrong = Quantities { bytes: i64::MAX, ..used };
    assert_eq!(cost(&by_call, &Call { quantities: wrong, ..call }), "1", "a price that does not need it is charged");
}

#[test]
fn what_selects_nothing_that_has_a_price_is_refused() {
    for text in
        ["", "demo", "demo:", "**", "*:echo", "toolset/x", "demo:@read", "demo:@prompt/x", "Demo:echo", "demo:a**"]
    {
        assert!(text.parse::<Selector>().is_err(), "{text}");
    }
    for text in ["*", "demo:*", "demo:echo", "demo:get_*", "demo:*_all", "demo:a%2Ab"] {
        assert_eq!(text.parse::<Selector>().expect(text).to_string(), text);
    }
}

prop_compose! {
    fn a_price()(mantissa in prop_oneof![0i64..1_000, 0..=9_999_999_999_999_999i64], given in any::<bool>()) -> Option<Decimal> {
        given.then(|| Decimal::new(mantissa, 10))
    }
}

prop_compose! {
    fn some_rates()(
        per_call in a_price(),
        per_1k_input_tokens in a_price(),
        per_1k_output_tokens in a_price(),
        per_second in a_price(),
        per_mib in a_price(),
    ) -> Rates {
        Rates { per_call, per_1k_input_tokens, per_1k_output_tokens, per_second, per_mib, server_reported: None }
    }
}

prop_compose! {
    fn some_use()(
        input_tokens in 0..=1_000_000_000i64,
        output_tokens in 0..=1_000_000_000i64,
        upstream_us in 0..=1_000_000_000_000i64,
        bytes in 0..=(1i64 << 40),
    ) -> Quantities {
        Quantities { input_tokens, output_tokens, upstream_us, bytes }
    }
}

fn any_use() -> impl Strategy<Value = Quantities> {
    (any::<i64>(), any::<i64>(), any::<i64>(), any::<i64>()).prop_map(
        |(input_tokens, output_tokens, upstream_us, bytes)| Quantities {
            input_tokens,
            output_tokens,
            upstream_us,
            bytes,
        },
    )
}

/// What the rates come to, however much that is.
fn exactly(rates: &Rates, call: &Call<'_>) -> Decimal {
    rates.cost(call, eur(), Decimal::ONE).expect("it fits")
}

/// The cost of each single thing that `rates` price.
fn parts(rates: &Rates, call: &Call<'_>) -> [Decimal; 5] {
    let none = Rates::default();
    let single = [
        Rates { per_call: rates.per_call, ..none.clone() },
        Rates { per_1k_input_tokens: rates.per_1k_input_tokens, ..none.clone() },
        Rates { per_1k_output_tokens: rates.per_1k_output_tokens, ..none.clone() },
        Rates { per_second: rates.per_second, ..none.clone() },
        Rates { per_mib: rates.per_mib, ..none },
    ];
    single.map(|rates| exactly(&rates, call))
}

proptest! {
    #[test]
    fn the_parts_add_up_to_the_whole(rates in some_rates(), quantities in some_use()) {
        let call = Call { quantities, ..call() };
        prop_assert_eq!(exactly(&rates, &call), parts(&rates, &call).into_iter().sum::<Decimal>());
    }

    #[test]
    fn what_has_finite_decimals_is_exact(rates in some_rates(), quantities in some_use()) {
        let (rates, call) = (Rates { per_mib: None, per_second: None, ..rates }, Call { quantities, ..call() });
        let tokens = |price: Option<Decimal>, count: i64| price.unwrap_or_default() * Decimal::new(count, 3);
        let exact = rates.per_call.unwrap_or_default()
            + tokens(rates.per_1k_input_tokens, quantities.input_tokens)
            + tokens(rates.per_1k_output_tokens, quantities.output_tokens);
        prop_assert_eq!(exactly(&rates, &call), exact);
    }

    #[test]
    fn what_is_rounded_is_off_by_half_a_unit_at_most(price in 0..=9_999_999_999i64, bytes in 0..=(1i64 << 30)) {
        let rates = Rates { per_mib: Some(Decimal::new(price, 10)), ..Rates::default() };
        let quantities = Quantities { bytes, ..Quantities::default() };
        let mut charged = exactly(&rates, &Call { quantities, ..call() });
        // In units of 10⁻¹³, times 2²⁰.
        let exact = i128::from(price) * i128::from(bytes) * 1_000;
        charged.rescale(13);
        prop_assert!((charged.mantissa() * (1 << 20) - exact).abs() <= 1 << 19);
    }

    #[test]
    fn calls_cost_the_same_in_any_order(rates in some_rates(), mut uses in prop::collection::vec(some_use(), 2..12)) {
        let sum = |uses: &[Quantities]| {
            uses.iter().map(|quantities| exactly(&rates, &Call { quantities: *quantities, ..call() })).sum::<Decimal>()
        };
        let forwards = sum(&uses);
        uses.reverse();
        prop_assert_eq!(forwards, sum(&uses));
    }

    #[test]
    fn no_fact_makes_rating_panic_or_charge_less_than_nothing(
        rates in some_rates(),
        quantities in any_use(),
        markup in 0..=999_999i64,
        claim in any::<(u32, u32, u32, bool, u32)>(),
        seconds in -3_000_000_000i64..3_000_000_000,
    ) {
        let reported = Decimal::from_parts(claim.0, claim.1, claim.2, claim.3, claim.4 % 29);
        let rates = Rates { server_reported: Some(Decimal::new(markup, 3)), ..rates };
        let at = call().at + TimeDelta::seconds(seconds);
        let rating = of(&[("*", rates)]).rate(&Call { at, quantities, reported: Some((reported, eur())), ..call() });
        prop_assert!(rating.cost >= Decimal::ZERO);
        prop_assert!(!rating.unpriced || rating.cost.is_zero());
    }
}
