use super::*;

const LEASE: Duration = Duration::from_secs(10);

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Heard last so long ago.
fn heard(ago: Duration) -> Freshness {
    let now = Instant::now();
    Lease::given(LEASE, now).at(now + ago)
}

const fn wants(allow_destructive: bool, max_stale_s: Option<u64>) -> Staleness {
    let max_stale = match max_stale_s {
        Some(max_stale_s) => Some(Duration::from_secs(max_stale_s)),
        None => None,
    };
    Staleness { allow_destructive, max_stale }
}

/// Whether what may destroy is permitted, and everything else.
fn permitted(wanted: Staleness, freshness: Freshness) -> [bool; 2] {
    [true, false].map(|may_destroy| wanted.permits(freshness, may_destroy).is_ok())
}

#[test]
fn within_the_lease_everything_is_permitted_whatever_the_tenant_wants() {
    for wanted in [wants(false, None), wants(false, Some(0)), wants(true, Some(3_600)), Staleness::default()] {
        for age in [Duration::ZERO, LEASE - Duration::from_millis(1)] {
            assert_eq!(permitted(wanted, heard(age)), [true; 2]);
        }
    }
}

#[test]
fn after_the_lease_what_may_destroy_waits_unless_the_tenant_allows_it() {
    assert_eq!(permitted(wants(false, None), heard(LEASE)), [false, true]);
    assert_eq!(permitted(wants(false, Some(60)), heard(seconds(59))), [false, true]);
    assert_eq!(permitted(wants(true, Some(60)), heard(LEASE)), [true; 2]);
    let silent = Staleness::read(None);
    assert_eq!(permitted(silent, heard(seconds(1_000_000))), [false, true]);
    let said = wire::Staleness { allow_destructive: true, max_stale_s: Some(60) };
    assert_eq!(Staleness::read(Some(said)), wants(true, Some(60)));
}

#[test]
fn nothing_is_permitted_once_the_policy_is_older_than_the_tenant_allows() {
    for wanted in [wants(false, Some(60)), wants(true, Some(60))] {
        assert_eq!(permitted(wanted, heard(seconds(60))), [false; 2]);
    }
    // Zero, or less than the lease: with its end, and not before.
    assert_eq!(permitted(wants(true, Some(0)), heard(LEASE)), [false; 2]);
    assert_eq!(permitted(wants(true, Some(5)), heard(seconds(6))), [true; 2]);
    assert_eq!(permitted(wants(true, None), heard(seconds(1_000_000))), [true; 2]);
}

#[test]
fn a_policy_from_disk_is_stale_from_the_start_and_as_old_as_it_was() {
    let now = Instant::now();
    let (young, old, unknown) = (Some(seconds(30)), Some(seconds(61)), None);
    let wanted = wants(false, Some(60));
    let currency = |age, later| wanted.currency(Lease::none(age, now).at(now + later));
    assert_eq!(currency(young, Duration::ZERO), Currency::Stale);
    assert_eq!(currency(young, seconds(30)), Currency::Expired);
    assert_eq!(currency(old, Duration::ZERO), Currency::Expired);
    assert_eq!(currency(unknown, Duration::ZERO), Currency::Expired);
    assert_eq!(wants(false, None).currency(Lease::none(unknown, now).at(now)), Currency::Stale);
}

#[test]
fn the_first_heartbeat_is_waited_for_a_moment() {
    let now = Instant::now();
    assert_eq!(Lease::none(None, now).heard_until(), Some(now + HEARD_WITHIN));
    assert_eq!(Lease::given(seconds(10), now).heard_until(), None);
}

#[test]
fn the_next_change_is_the_end_of_the_lease_and_then_that_of_each_tenant() {
    let tenants = [wants(false, Some(60)), wants(false, Some(40)), wants(false, None)];
    let next = |age| heard(age).changes_in(tenants.iter());
    assert_eq!(next(seconds(4)), Some(seconds(6)));
    assert_eq!(next(seconds(10)), Some(seconds(30)));
    assert_eq!(next(seconds(40)), Some(seconds(20)));
    assert_eq!(next(seconds(60)), None);
}

#[test]
fn a_refusal_says_how_old_the_policy_is_and_what_it_is_about() {
    let refused = wants(false, Some(60)).permits(heard(seconds(34)), true).unwrap_err();
    assert!(refused.to_string().contains("for 34 s: no tool that may destroy"), "{refused}");
    let refused = wants(false, Some(60)).permits(heard(seconds(61)), false).unwrap_err();
    assert!(refused.to_string().contains("nothing is served"), "{refused}");
}
