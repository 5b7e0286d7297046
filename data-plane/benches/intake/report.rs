//! The figures, for people and for programs.

use std::{fs, path::Path, time::Duration};

use serde_json::json;

/// What came of it.
pub(crate) struct Report {
    pub(crate) data_planes: usize,
    /// That were acknowledged.
    pub(crate) records: usize,
    pub(crate) elapsed: Duration,
    /// Of all cores, by everything that runs.
    pub(crate) cpu: Share,
    /// Of each batch.
    pub(crate) times: Vec<Duration>,
}

/// What the machine's cores have done so far (proc(5)), in clock ticks.
pub(crate) struct Cpu {
    all: u64,
    idle: u64,
}

/// How much of the machine's time was used, from 0 to 1.
pub(crate) struct Share(f64);

impl Cpu {
    pub(crate) fn now() -> Self {
        let stat = fs::read_to_string("/proc/stat").expect("Linux");
        let line = stat.lines().next().expect("a line for all cores");
        let ticks: Vec<u64> = line.split_whitespace().skip(1).take(8).map(|it| it.parse().expect("a number")).collect();
        // Idle, and waiting for a disk.
        Self { all: ticks.iter().sum(), idle: ticks[3] + ticks[4] }
    }

    pub(crate) fn since(&self) -> Share {
        let now = Self::now();
        Share(1.0 - (now.idle - self.idle) as f64 / (now.all - self.all).max(1) as f64)
    }
}

impl Report {
    /// A table on standard output, in Markdown.
    pub(crate) fn print(&self) {
        let [p50, p99] = self.quantiles().map(|time| format!("{:.0} ms", time.as_secs_f64() * 1e3));
        let drained = |per_second: f64| format!("{:.0} s", per_second * 3_600.0 / self.per_second());
        println!(
            "| records | data planes | records per second | a batch: p50 | p99 | an hour of 100/s drains in | of 1,000/s | the machine's cores at work |"
        );
        println!("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
        println!(
            "| {} | {} | {:.0} | {p50} | {p99} | {} | {} | {:.0} % |",
            self.records,
            self.data_planes,
            self.per_second(),
            drained(100.0),
            drained(1_000.0),
            self.cpu.0 * 100.0,
        );
    }

    /// `target/bench/intake.json`; times in seconds.
    pub(crate) fn write(&self) {
        let [p50, p99] = self.quantiles().map(|time| time.as_secs_f64());
        let report = json!({
            "records": self.records,
            "data_planes": self.data_planes,
            "elapsed_s": self.elapsed.as_secs_f64(),
            "records_per_second": self.per_second(),
            "batch_s_p50": p50,
            "batch_s_p99": p99,
            "cpu_share": self.cpu.0,
        });
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench");
        fs::create_dir_all(&folder).expect("the target folder can be written");
        fs::write(folder.join("intake.json"), format!("{report:#}\n")).expect("the target folder can be written");
    }

    fn per_second(&self) -> f64 {
        self.records as f64 / self.elapsed.as_secs_f64()
    }

    fn quantiles(&self) -> [Duration; 2] {
        let mut times = self.times.clone();
        times.sort_unstable();
        let at = |percent: usize| times[(times.len() - 1) * percent / 100];
        [at(50), at(99)]
    }
}
