//! Looks that are taken at mailboxes of which is known whose they are: whether somebody could tell who does not know it.
//!
//! A look has a threshold that what is random passes but once in a hundred thousand times or less; and as seeds are fixed, a run says the same each time.

use std::collections::{BTreeMap, HashMap};

/// What joins names of epochs that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// They differ in fewer or more bits than names that have nothing to do with each other.
    Near,
    /// What they differ by is not spread evenly.
    Uneven,
    /// Two pairs differ by the same.
    SameStep,
    /// They share bytes in the same place.
    SameBytes,
}

/// Standard deviations beyond which something is found: once in 150,000 times by chance.
const SIGMAS: f64 = 4.5;

/// Of the test of Kolmogorov and Smirnov for two samples: the coefficient of the level 10⁻⁵.
const KS_COEFFICIENT: f64 = 2.47;

/// A run of bytes that is no chance: two names have one in the same place once in 10⁸ times.
const RUN_BYTES: usize = 4;

/// In stored bytes, where there are far more places.
const WINDOW_BYTES: usize = 8;

/// Version and hour, which all envelopes of an hour have alike.
const CLEAR_BYTES: usize = 10;

type Name = [u8; 32];

fn bits_apart(one: &Name, other: &Name) -> f64 {
    one.iter().zip(other).map(|(one, other)| f64::from((one ^ other).count_ones())).sum()
}

/// Looks at the names of mailboxes, by circle in the order of epochs.
pub(super) fn names_say(circles: &[Vec<Name>]) -> Vec<Finding> {
    let next: Vec<(&Name, &Name)> =
        circles.iter().flat_map(|names| names.windows(2)).map(|pair| (&pair[0], &pair[1])).collect();
    // Each with the names of the next circle in the same place: as many as there are, and none of one circle.
    let unrelated: Vec<(&Name, &Name)> = (0..circles.len())
        .flat_map(|circle| circles[circle].iter().zip(&circles[(circle + 1) % circles.len()]))
        .collect();
    let found = [
        (Finding::Near, are_near(&next, &unrelated)),
        (Finding::Uneven, is_uneven(&next)),
        (Finding::SameStep, have_same_step(circles)),
        (Finding::SameBytes, next.iter().any(|(one, other)| share_a_run(one, other))),
    ];
    found.into_iter().filter(|(_, is_so)| *is_so).map(|(finding, _)| finding).collect()
}

/// By the mean of the bits apart (128 with a deviation of 8 where nothing joins them), and by how the distances are spread.
fn are_near(next: &[(&Name, &Name)], unrelated: &[(&Name, &Name)]) -> bool {
    let distances = |pairs: &[(&Name, &Name)]| {
        let mut distances: Vec<f64> = pairs.iter().map(|(one, other)| bits_apart(one, other)).collect();
        distances.sort_by(f64::total_cmp);
        distances
    };
    let (next, unrelated) = (distances(next), distances(unrelated));
    let count = next.len() as f64;
    let mean = next.iter().sum::<f64>() / count;
    let sigmas = (mean - 128.0).abs() / (8.0 / count.sqrt());
    // The greatest distance between the two distributions (Kolmogorov, Smirnov).
    let below =
        |sorted: &[f64], bound: f64| sorted.partition_point(|value| *value <= bound) as f64 / sorted.len() as f64;
    let apart = (0..=256)
        .map(|bits| (below(&next, f64::from(bits)) - below(&unrelated, f64::from(bits))).abs())
        .fold(0.0, f64::max);
    let (one, other) = (next.len() as f64, unrelated.len() as f64);
    sigmas > SIGMAS || apart > KS_COEFFICIENT * ((one + other) / (one * other)).sqrt()
}

/// Chi-square over the bytes of what they differ by: 255 degrees of freedom.
fn is_uneven(next: &[(&Name, &Name)]) -> bool {
    let mut counts = [0.0_f64; 256];
    for (one, other) in next {
        one.iter().zip(other.iter()).for_each(|(one, other)| counts[usize::from(one ^ other)] += 1.0);
    }
    let expected = counts.iter().sum::<f64>() / 256.0;
    let chi_square: f64 = counts.iter().map(|count| (count - expected).powi(2) / expected).sum();
    (chi_square - 255.0) / 510.0_f64.sqrt() > SIGMAS
}

/// Of all pairs of names: whether two differ by the same, by exclusive or or by subtraction of each byte, in eight bytes.
fn have_same_step(circles: &[Vec<Name>]) -> bool {
    let names: Vec<&Name> = circles.iter().flatten().collect();
    let mut steps: Vec<[u8; 8]> = Vec::new();
    for (at, one) in names.iter().enumerate() {
        for other in &names[at + 1..] {
            steps.push(std::array::from_fn(|at| one[at] ^ other[at]));
            steps.push(std::array::from_fn(|at| other[at].wrapping_sub(one[at])));
        }
    }
    // The same two names give the same twice only if no byte borrows, which eight random ones do not do.
    steps.sort_unstable();
    steps.windows(2).any(|pair| pair[0] == pair[1])
}

fn share_a_run(one: &Name, other: &Name) -> bool {
    one.windows(RUN_BYTES).zip(other.windows(RUN_BYTES)).any(|(one, other)| one == other)
}

/// Looks at all that is stored, as circle, mailbox and bytes: how many runs of bytes are in several mailboxes of one circle, and of no other.
pub(super) fn windows_say(entries: &[(usize, Name, Vec<u8>)]) -> usize {
    let numbers: BTreeMap<&Name, u32> =
        (0..).zip(entries.iter().map(|(_, mailbox, _)| mailbox)).map(|(number, name)| (name, number)).collect();
    // By window: one circle and mailbox that has it, whether further mailboxes of it do, and whether other circles do.
    let mut seen: HashMap<&[u8], (usize, u32, bool, bool)> = HashMap::new();
    for (circle, mailbox, bytes) in entries {
        let mailbox = numbers[mailbox];
        for window in bytes.get(CLEAR_BYTES..).unwrap_or_default().windows(WINDOW_BYTES) {
            let known = seen.entry(window).or_insert((*circle, mailbox, false, false));
            known.2 |= known.0 == *circle && known.1 != mailbox;
            known.3 |= known.0 != *circle;
        }
    }
    seen.values().filter(|(_, _, in_several, elsewhere)| *in_several && !elsewhere).count()
}
