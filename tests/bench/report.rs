//! The figures, for people and for programs.

use std::{fs, time::Duration};

use serde_json::json;
use tollgate_tests::repository_root;

use crate::{floor::Floors, measure::Measurement};

/// A table on standard output, in Markdown.
pub(crate) fn print(floors: &Floors, rows: &[Measurement]) {
    println!("| | per second | p50 | p99 | time on its core | of that floor | per second of its core |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: |");
    for row in rows {
        println!(
            "| {} | {:.0} | {} | {} | {} | {:.1} × | {:.0} |",
            row.name,
            row.per_second,
            shown(row.p50),
            shown(row.p99),
            shown(row.cpu),
            row.cpu.as_secs_f64() / floors.signature.as_secs_f64(),
            row.per_cpu_second(),
        );
    }
    println!();
    println!("floor: one ES256 signature {}", shown(floors.signature));
    println!(
        "one SQL round trip {}, one commit {} ({})",
        shown(floors.round_trip),
        shown(floors.commit),
        floors.durability
    );
}

/// `target/bench/authorization.json`; times in seconds.
pub(crate) fn write(floors: &Floors, rows: &[Measurement]) {
    let endpoints: Vec<_> = rows
        .iter()
        .map(|row| {
            json!({
                "name": row.name,
                "per_second": row.per_second,
                "latency_s_p50": row.p50.as_secs_f64(),
                "latency_s_p99": row.p99.as_secs_f64(),
                "control_plane_cpu_s": row.cpu.as_secs_f64(),
                "per_control_plane_cpu_s": row.per_cpu_second(),
            })
        })
        .collect();
    let report = json!({
        "endpoints": endpoints,
        "floors": {
            "es256_signature_s": floors.signature.as_secs_f64(),
            "sql_round_trip_s": floors.round_trip.as_secs_f64(),
            "commit_s": floors.commit.as_secs_f64(),
            "synchronous_commit": floors.durability,
        },
    });
    let folder = repository_root().join("target/bench");
    fs::create_dir_all(&folder).expect("the target folder can be written");
    let file = folder.join("authorization.json");
    fs::write(&file, format!("{report:#}\n")).expect("the target folder can be written");
    eprintln!("{}", file.display());
}

fn shown(time: Duration) -> String {
    if time < Duration::from_millis(1) {
        format!("{:.1} µs", time.as_secs_f64() * 1e6)
    } else {
        format!("{:.2} ms", time.as_secs_f64() * 1e3)
    }
}
