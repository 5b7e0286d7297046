//! The figures, for people and for programs.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::json;

/// What came of it.
pub(crate) struct Report {
    pub(crate) watchers: usize,
    pub(crate) changes: usize,
    /// From the first change to the answer to the last one.
    pub(crate) elapsed: Duration,
    /// What the control plane was at work meanwhile.
    pub(crate) cpu: Duration,
    /// Of the control plane at the end, in bytes.
    pub(crate) memory: u64,
    /// Of each change at each data plane.
    pub(crate) times: Vec<Duration>,
}

/// A process of this machine (proc(5)).
pub(crate) struct Process(PathBuf);

impl Process {
    pub(crate) fn of(id: u32) -> Self {
        Self(Path::new("/proc").join(id.to_string()))
    }

    /// User and system time, in hundredths of a second: the clock tick of Linux as programs see it.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(self.0.join("stat")).expect("the control plane runs");
        // What stands before may hold blanks: it is the name of the program in parentheses.
        let (_, fields) = stat.rsplit_once(") ").expect("proc(5)");
        let ticks = fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number"));
        Duration::from_millis(ticks.sum::<u64>() * 10)
    }

    pub(crate) fn memory(&self) -> u64 {
        let status = fs::read_to_string(self.0.join("status")).expect("the control plane runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("proc(5)");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
    }
}

impl Report {
    /// A table on standard output, in Markdown.
    pub(crate) fn print(&self) {
        let [p50, p99, worst] = self.quantiles().map(|time| format!("{:.0} ms", time.as_secs_f64() * 1e3));
        println!("| data planes | changes per second | p50 | p99 | worst | control plane at work | its memory |");
        println!("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
        println!(
            "| {} | {:.1} | {p50} | {p99} | {worst} | {:.0} % of a core | {} MiB |",
            self.watchers,
            self.changes as f64 / self.elapsed.as_secs_f64(),
            self.cpu.as_secs_f64() / self.elapsed.as_secs_f64() * 100.0,
            self.memory >> 20,
        );
    }

    /// `target/bench/watchers.json`; times in seconds.
    pub(crate) fn write(&self) {
        let [p50, p99, worst] = self.quantiles().map(|time| time.as_secs_f64());
        let report = json!({
            "watchers": self.watchers,
            "changes": self.changes,
            "elapsed_s": self.elapsed.as_secs_f64(),
            "ack_s_p50": p50,
            "ack_s_p99": p99,
            "ack_s_worst": worst,
            "control_plane_cpu_s": self.cpu.as_secs_f64(),
            "control_plane_memory_bytes": self.memory,
        });
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench");
        fs::create_dir_all(&folder).expect("the target folder can be written");
        fs::write(folder.join("watchers.json"), format!("{report:#}\n")).expect("the target folder can be written");
    }

    fn quantiles(&self) -> [Duration; 3] {
        let mut times = self.times.clone();
        times.sort_unstable();
        let at = |percent: usize| times[(times.len() - 1) * percent / 100];
        [at(50), at(99), at(100)]
    }
}
