//! What is read: the memory and the open descriptors of each process, its state on disk, each table, Redis.
//!
//! Invariant: every table of the database is read, whoever added it; which ones hold history is said here.

use std::{collections::BTreeMap, path::Path};

use tollgate_tests::{Bound, Deployment};

use crate::DATA_PLANES;

/// What happened, which nobody throws away: it grows with what is done, and is not judged.
const HISTORY: [&str; 3] = ["audit_events", "usage_records", "usage_records_default"];

/// Two segments of the usage spool.
const SEGMENTS_BYTES: f64 = 16_777_216.0;

/// What a reading counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Resident memory of a process, bytes.
    Memory,
    /// Open file descriptors.
    Descriptors,
    /// Rows of a table.
    Rows,
    /// A table with its indexes, bytes on disk.
    Disk,
    /// What a data plane keeps on disk, bytes.
    State,
    /// Keys of Redis.
    Keys,
    /// Rows of a table that holds history.
    History,
}

impl Kind {
    /// From where on growth fails the run.
    pub(crate) const fn bound(self) -> Option<Bound> {
        Some(match self {
            Self::Memory => Bound { share: 0.10, noise: 4_194_304.0 },
            Self::Descriptors => Bound { share: 0.10, noise: 8.0 },
            Self::Rows | Self::Keys => Bound { share: 0.20, noise: 50.0 },
            // A table keeps the room of what was removed, and takes some more before it finds it.
            Self::Disk => Bound { share: 0.25, noise: 524_288.0 },
            // One segment of the spool is written to, and one may wait to be delivered.
            Self::State => Bound { share: 0.25, noise: SEGMENTS_BYTES },
            Self::History => return None,
        })
    }
}

/// All readings so far.
#[derive(Debug, Default)]
pub(crate) struct Gauges(pub(crate) BTreeMap<(Kind, String), Vec<f64>>);

impl Gauges {
    /// Reads everything once more.
    pub(crate) async fn read(&mut self, tollgate: &Deployment) {
        for (name, id) in tollgate.processes() {
            self.note(Kind::Memory, name.clone(), resident(id));
            self.note(Kind::Descriptors, name, descriptors(id));
        }
        for index in 0..DATA_PLANES {
            self.note(Kind::State, format!("data plane {index}"), size(&tollgate.state_dir(index)));
        }
        for line in tollgate.sql(&tables(tollgate).await).await {
            let parts: Vec<&str> = line.split(' ').collect();
            let [table, rows, bytes] = parts[..] else { panic!("not what was asked for: {line}") };
            let kind = if HISTORY.contains(&table) { Kind::History } else { Kind::Rows };
            self.note(kind, table.to_owned(), number(rows));
            if kind == Kind::Rows {
                self.note(Kind::Disk, table.to_owned(), number(bytes));
            }
        }
        self.note(Kind::Keys, "Redis".to_owned(), number(&tollgate.redis(&["DBSIZE"]).concat()));
        let memory = tollgate
            .redis(&["INFO", "memory"])
            .into_iter()
            .find_map(|line| line.trim().strip_prefix("used_memory_dataset:").map(str::to_owned));
        self.note(Kind::Memory, "Redis, of data".to_owned(), number(&memory.expect("Redis says what it takes")));
    }

    fn note(&mut self, kind: Kind, name: String, reading: f64) {
        self.0.entry((kind, name)).or_default().push(reading);
    }
}

/// A statement that counts the rows and bytes of each table.
async fn tables(tollgate: &Deployment) -> String {
    let names = "SELECT relname::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace";
    let counts = tollgate.sql(names).await.into_iter().map(|table| {
        format!(
            "SELECT concat('{table} ', count(*), ' ', pg_total_relation_size('public.{table}')) FROM public.{table}"
        )
    });
    counts.collect::<Vec<_>>().join(" UNION ALL ")
}

fn resident(process: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a process has memory");
    number(line.trim().trim_end_matches(" kB")) * 1024.0
}

fn descriptors(process: u32) -> f64 {
    let open = std::fs::read_dir(format!("/proc/{process}/fd")).expect("the process runs").count();
    number(&open.to_string())
}

/// The files in a folder and below. One that goes meanwhile has no size.
fn size(folder: &Path) -> f64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => size(&entry.path()),
            Ok(metadata) => number(&metadata.len().to_string()),
            Err(_) => 0.0,
        })
        .sum()
}

fn number(text: &str) -> f64 {
    text.trim().parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}
