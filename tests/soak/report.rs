//! The table at the end of a run.

use std::time::Duration;

use tollgate_tests::Trend;

use crate::gauges::{Gauges, Kind};

/// Prints what each gauge did, and answers how many grew beyond their bound.
pub(crate) fn print(gauges: &Gauges, time: Duration) -> usize {
    println!("after {} s; growth is that of the second half, by its slope\n", time.as_secs());
    println!("| | | at the beginning | half way | at the end | growth | bound | |");
    println!("| --- | --- | ---: | ---: | ---: | ---: | ---: | --- |");
    let (mut grown, mut still) = (0, 0);
    for ((kind, name), readings) in &gauges.0 {
        if readings.iter().all(|reading| reading.to_bits() == readings[0].to_bits()) {
            still += 1;
            continue;
        }
        let trend = Trend::of(readings);
        let verdict = match kind.bound() {
            Some(bound) if trend.exceeds(bound) => {
                grown += 1;
                "**grows**"
            }
            Some(_) => "flat",
            None => "kept",
        };
        let [first, half, last] = [0, readings.len() / 2, readings.len() - 1].map(|at| shown(*kind, readings[at]));
        let bound = kind.bound().map_or_else(String::new, |bound| percent(bound.share));
        let growth = percent(trend.share());
        println!("| {} | {name} | {first} | {half} | {last} | {growth} | {bound} | {verdict} |", title(*kind));
    }
    println!("\n{still} others never changed; {grown} of {} grow beyond their bound", gauges.0.len());
    grown
}

const fn title(kind: Kind) -> &'static str {
    match kind {
        Kind::Memory => "memory",
        Kind::Descriptors => "descriptors",
        Kind::Rows => "rows",
        Kind::Disk => "disk",
        Kind::State => "state",
        Kind::Keys => "keys",
        Kind::History => "history",
    }
}

fn shown(kind: Kind, reading: f64) -> String {
    match kind {
        Kind::Memory => format!("{:.1} MiB", reading / 1_048_576.0),
        Kind::Disk | Kind::State => format!("{:.0} KiB", reading / 1_024.0),
        Kind::Descriptors | Kind::Rows | Kind::Keys | Kind::History => format!("{reading:.0}"),
    }
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}
