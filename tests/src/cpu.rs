//! How long a process was at work.

use std::{fs, time::Duration};

use nix::unistd::{SysconfVar, sysconf};

/// User and system time of a process so far (proc(5), `/proc/pid/stat`), to a hundredth of a second.
///
/// # Panics
/// When there is no such process.
#[must_use]
pub fn cpu_of(process: u32) -> Duration {
    let ticks_per_second = sysconf(SysconfVar::CLK_TCK).ok().flatten().expect("Linux has a clock tick");
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("the process runs");
    // What stands before may hold blanks: it is the name of the program in parentheses.
    let (_, fields) = stat.rsplit_once(") ").expect("a line of proc(5)");
    let ticks = fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number"));
    Duration::from_millis(ticks.sum::<u64>() * 1000 / ticks_per_second.unsigned_abs())
}
