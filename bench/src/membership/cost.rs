//! What a piece of work costs: time of all processors, time on the clock, bytes.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Time that the process used on all processors so far. openmls derives the secrets of a path on several at once.
fn cpu_now() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec.try_into().expect("a process has not run since 1970"), now.tv_nsec as u32)
}

/// What one side of an operation cost.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// On all processors, in the kernel too.
    pub cpu: Duration,
    /// The part of it that is writing durably.
    pub write_cpu: Duration,
    /// On the clock.
    pub wall: Duration,
    /// What one peer is sent for it.
    pub wire_bytes: usize,
    /// What is written for it, before the store adds its own.
    pub stored_bytes: usize,
}

impl Cost {
    /// Does `work` and adds what it took.
    pub fn add<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let (cpu, wall) = (cpu_now(), Instant::now());
        let result = std::hint::black_box(work());
        self.wall += wall.elapsed();
        self.cpu += cpu_now().saturating_sub(cpu);
        result
    }
}

/// Does `work` and says what it took.
pub fn cost_of<T>(work: impl FnOnce() -> T) -> (T, Cost) {
    let mut cost = Cost::default();
    let result = cost.add(work);
    (result, cost)
}
