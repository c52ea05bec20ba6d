//! When to dial again.

/// Waiting times that double from `base_ms` to `max_ms`, each with jitter, so that the devices of a team that lost
/// the same relay do not all return in the same second. Pure: randomness is the caller's.
///
/// ```
/// use clave_transport::Backoff;
///
/// let mut backoff = Backoff::new(1_000, 60_000);
/// assert_eq!(backoff.next_ms(0), 500); // the least jitter: half of the wait
/// assert_eq!(backoff.next_ms(u64::MAX), 2_000); // the most: all of it, and the wait has doubled
/// backoff.reset(); // it worked
/// assert!((500..=1_000).contains(&backoff.next_ms(0x9e37_79b9_7f4a_7c15)));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backoff {
    base_ms: u64,
    max_ms: u64,
    attempts: u32,
}

impl Backoff {
    /// Waits of `base_ms` at first and `max_ms` in the long run, in milliseconds.
    pub fn new(base_ms: u64, max_ms: u64) -> Self {
        Self { base_ms, max_ms: max_ms.max(base_ms), attempts: 0 }
    }

    /// How long to wait before the next attempt: between half of the current wait and all of it, as `random` (uniform
    /// over all of `u64`) decides.
    pub fn next_ms(&mut self, random: u64) -> u64 {
        let factor = 1u64.checked_shl(self.attempts).unwrap_or(u64::MAX);
        let wait_ms = self.base_ms.saturating_mul(factor).min(self.max_ms);
        self.attempts = self.attempts.saturating_add(1);
        let half_ms = wait_ms / 2;
        let span = u128::from(wait_ms - half_ms) + 1;
        let jitter_ms = (u128::from(random) * span) >> 64;
        half_ms + u64::try_from(jitter_ms).expect("a part of a u64")
    }

    /// Begins anew after a success.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_maximum_and_never_overflow() {
        let mut backoff = Backoff::new(100, 1_000);
        let waits: Vec<u64> = (0..6).map(|_| backoff.next_ms(u64::MAX)).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1_000, 1_000]);
        for _ in 0..200 {
            assert!((500..=1_000).contains(&backoff.next_ms(u64::MAX / 3)));
        }
        assert_eq!(Backoff::new(u64::MAX, 0).next_ms(u64::MAX), u64::MAX);
    }
}
