//! Seeded mutations: the same seed and corpus give the same inputs in the same order.

/// The longest input that mutations grow to.
const INPUT_BYTES_MAX: usize = 256 * 1024;
/// How many mutations may be stacked on one input.
const STACK_MAX: usize = 6;
/// Bytes at the edges of lengths, counters, tags and varints.
const EDGES: [u8; 12] = [0x00, 0x01, 0x02, 0x08, 0x0a, 0x12, 0x20, 0x7f, 0x80, 0x81, 0xfe, 0xff];

/// Makes inputs out of a corpus.
pub struct Mutator {
    state: u64,
}

impl Mutator {
    /// A mutator whose inputs follow from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next input: one of `corpus`, changed in one to a few places. An empty corpus counts as one empty input.
    pub fn input(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut input = self.pick(corpus).cloned().unwrap_or_default();
        for _ in 0..=self.below(STACK_MAX) {
            self.change(&mut input, corpus);
        }
        input.truncate(INPUT_BYTES_MAX);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, corpus: &[Vec<u8>]) {
        let at = self.below(input.len().max(1)).min(input.len());
        let end = (at + 1 + self.below(32)).min(input.len());
        match self.below(9) {
            0 if at < input.len() => input[at] ^= 1 << self.below(8),
            1 if at < input.len() => input[at] = EDGES[self.below(EDGES.len())],
            2 if at < input.len() => input[at] = input[at].wrapping_add([1, 0xff][self.below(2)]),
            3 => input.truncate(at),
            4 => drop(input.drain(at..end)),
            5 => {
                let copy = input[at..end].to_vec();
                let to = self.below(input.len() + 1);
                input.splice(to..to, copy);
            }
            6 => {
                let length = 1 + self.below(16);
                let bytes: Vec<u8> = (0..length).map(|_| self.byte()).collect();
                input.splice(at..at, bytes);
            }
            7 => {
                // A length that lies: as four bytes big-endian, or as the longest varint.
                let lie: &[u8] =
                    [&[0xff; 4][..], &[0x7f, 0xff, 0xff, 0xff], &[0xff, 0xff, 0xff, 0xff, 0x0f]][self.below(3)];
                input.splice(at..(at + lie.len()).min(input.len()), lie.iter().copied());
            }
            _ => {
                let other = self.pick(corpus).cloned().unwrap_or_default();
                let from = self.below(other.len() + 1);
                input.splice(at.., other[from..].iter().copied());
            }
        }
    }

    fn pick<'a>(&mut self, corpus: &'a [Vec<u8>]) -> Option<&'a Vec<u8>> {
        corpus.get(self.below(corpus.len().max(1)))
    }

    fn byte(&mut self) -> u8 {
        if self.below(2) == 0 { EDGES[self.below(EDGES.len())] } else { self.next().to_le_bytes()[0] }
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("less than a usize")
    }

    /// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_inputs_again_and_another_seed_others() {
        let corpus = vec![b"hello".to_vec(), vec![0; 100]];
        let inputs = |seed| {
            let mut mutator = Mutator::new(seed);
            (0..1_000).map(|_| mutator.input(&corpus)).collect::<Vec<_>>()
        };
        assert_eq!(inputs(1), inputs(1));
        assert_ne!(inputs(1), inputs(2));
    }

    #[test]
    fn a_corpus_may_be_empty_or_hold_nothing() {
        for corpus in [vec![], vec![vec![]]] {
            let mut mutator = Mutator::new(1);
            assert!((0..1_000).any(|_| !mutator.input(&corpus).is_empty()));
        }
    }
}
