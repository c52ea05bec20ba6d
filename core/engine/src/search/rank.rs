//! In which order results come.
//!
//! ```text
//! score = Σ over the terms looked up: idf · times · (K1 + 1) / (times + K1 · (1 − B + B · words / mean words))
//!         · (1 + 2^(−age / 30 days))
//! idf   = ln(1 + (items − found + ½) / (found + ½))
//! ```
//!
//! The first line is BM25 (Robertson and Zaragoza 2009, section 3.4). The length of a text counts less than there, because a short
//! message is not better than a long one. The second line makes what is new worth up to twice as much. The age is by the
//! clock of the first page and the clocks of authors; from the future, it is 0. Of equals the one that came last is first.

use crate::CircleId;

use super::columns::Column;

const K1: f64 = 1.2;
const B: f64 = 0.3;
const HALF_LIFE_MS: f64 = 30.0 * 24.0 * 3_600_000.0;

/// What a query's scores depend on beside the items; the same on all of its pages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stats {
    /// When the first page was asked for.
    pub(super) now_ms: u64,
    /// The circles, in order, and the number of the first item that came later.
    pub(super) circles: Vec<(CircleId, u32)>,
    pub(super) items: u64,
    pub(super) words: u64,
    /// In how many items each lookup found something.
    pub(super) found: Vec<u64>,
}

/// The place of an item among all: what is greater comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    /// Not negative, so that it is in the order of its bits.
    score_bits: u64,
    /// The place of its circle.
    pub(super) circle: u32,
    pub(super) number: u32,
}

impl Rank {
    pub(super) fn new(score: f64, circle: u32, number: u32) -> Self {
        Self { score_bits: score.max(0.0).to_bits(), circle, number }
    }

    pub(super) fn score(&self) -> f64 {
        f64::from_bits(self.score_bits)
    }
}

/// Scores items by how often they have each of the terms.
pub(super) struct Scorer {
    idf: Vec<f64>,
    mean_words: f64,
    now_ms: u64,
}

impl Scorer {
    pub(super) fn new(stats: &Stats) -> Self {
        let idf = |found: &u64| (1.0 + ((stats.items.max(*found) - found) as f64 + 0.5) / (*found as f64 + 0.5)).ln();
        Self {
            idf: stats.found.iter().map(idf).collect(),
            mean_words: (stats.words as f64 / stats.items.max(1) as f64).max(1.0),
            now_ms: stats.now_ms,
        }
    }

    pub(super) fn score(&self, times: &[u8], column: &Column) -> f64 {
        self.fit(times, column.words) * self.freshness(column.time_ms)
    }

    /// What no item with these terms that is no newer can have more of.
    pub(super) fn bound(&self, times: &[u8], newest_ms: u64) -> f64 {
        self.fit(times, 0) * self.freshness(newest_ms)
    }

    fn fit(&self, times: &[u8], words: u32) -> f64 {
        let long = K1 * (1.0 - B + B * f64::from(words) / self.mean_words);
        let part = |(idf, times): (&f64, &u8)| {
            let times = f64::from(*times);
            idf * times * (K1 + 1.0) / (times + long)
        };
        self.idf.iter().zip(times).map(part).sum()
    }

    fn freshness(&self, time_ms: u64) -> f64 {
        let age_ms = self.now_ms.saturating_sub(time_ms) as f64;
        1.0 + (-age_ms / HALF_LIFE_MS).exp2()
    }
}
