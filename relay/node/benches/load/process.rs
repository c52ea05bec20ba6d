//! What a process takes, as Linux says it in `/proc`.

use std::path::Path;

/// Ticks of a second in `/proc/<pid>/stat`: the same on every Linux that there is (`USER_HZ`).
const TICKS: f64 = 100.0;

const MIB: f64 = 1_048_576.0;

/// A process that was started here and not ended.
const TOLD: &str = "Linux tells of a process that runs";

/// One look at a process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// Since it began, in all its threads, user and system.
    pub cpu_seconds: f64,
    pub resident_mib: f64,
    pub resident_peak_mib: f64,
    pub threads: f64,
    pub files: f64,
    pub disk_mib: f64,
}

impl Sample {
    /// Of a process that runs, and the directory that it writes to.
    pub fn of(process: u32, data: &Path) -> Self {
        let proc = |name: &str| format!("/proc/{process}/{name}");
        let stat = std::fs::read_to_string(proc("stat")).expect(TOLD);
        // The second field is a name in parentheses, which may hold anything.
        let fields: Vec<_> = stat.rsplit_once(')').expect(TOLD).1.split_whitespace().collect();
        let ticks = |at: usize| fields[at].parse::<f64>().expect(TOLD);
        let status = std::fs::read_to_string(proc("status")).expect(TOLD);
        let of_status = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect(TOLD);
            line.split_whitespace().next().expect(TOLD).parse::<f64>().expect(TOLD)
        };
        Self {
            cpu_seconds: (ticks(11) + ticks(12)) / TICKS,
            resident_mib: of_status("VmRSS:") / 1024.0,
            resident_peak_mib: of_status("VmHWM:") / 1024.0,
            threads: of_status("Threads:"),
            files: std::fs::read_dir(proc("fd")).expect(TOLD).count() as f64,
            disk_mib: size(data) / MIB,
        }
    }
}

/// What a directory takes on the disk, in bytes: blocks, not lengths.
fn size(folder: &Path) -> f64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(entries) = std::fs::read_dir(folder) else { return 0.0 };
    let of = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(known) if known.is_dir() => size(&entry.path()),
        Ok(known) => known.blocks() as f64 * 512.0,
        // Gone since.
        Err(_) => 0.0,
    };
    entries.flatten().map(of).sum()
}

/// The machine, and how busy it is with other things.
pub fn machine() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1)).unwrap_or("unknown");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!("{model}, {cores} cores, load {}", load.split(' ').next().unwrap_or(""))
}
