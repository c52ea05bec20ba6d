//! Streams of bits, least significant first: what blocks of the index are written in.

/// The widest number that is written in one piece, in bits.
const WIDTH_MAX: u32 = 56;

/// Writes numbers bit by bit.
#[derive(Default)]
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    pending: u64,
    pending_bits: u32,
}

impl BitWriter {
    /// How much was written so far, in bits.
    pub(super) fn len_bits(&self) -> usize {
        self.bytes.len() * 8 + self.pending_bits as usize
    }

    /// A number below 2^`width`; `width` is at most 56.
    pub(super) fn put(&mut self, value: u64, width: u32) {
        debug_assert!(width <= WIDTH_MAX && value >> width == 0);
        self.pending |= value << self.pending_bits;
        self.pending_bits += width;
        while self.pending_bits >= 8 {
            self.bytes.push(self.pending as u8);
            self.pending >>= 8;
            self.pending_bits -= 8;
        }
    }

    fn zeros(&mut self, mut count: u64) {
        while count > 0 {
            let some = count.min(u64::from(WIDTH_MAX) - 8);
            self.put(0, some as u32);
            count -= some;
        }
    }

    /// A number of at least 1, in twice as many bits as it has: Elias's gamma code (Elias 1975).
    pub(super) fn gamma(&mut self, value: u32) {
        debug_assert!(value > 0);
        let low_bits = value.ilog2();
        self.zeros(low_bits.into());
        self.put(1, 1);
        self.put(u64::from(value) & ((1 << low_bits) - 1), low_bits);
    }

    /// Any number, short where it is about 2^`k`: Rice's code (Rice and Plaunt 1971).
    pub(super) fn rice(&mut self, value: u64, k: u32) {
        self.zeros(value >> k);
        self.put(1, 1);
        self.put(value & ((1 << k) - 1), k);
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.put((*byte).into(), 8));
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        if self.pending_bits > 0 {
            self.bytes.push(self.pending as u8);
        }
        self.bytes
    }
}

/// What [`BitWriter::gamma`] takes for a number, in bits.
pub(super) fn gamma_bits(value: u32) -> usize {
    2 * value.ilog2() as usize + 1
}

/// What [`BitWriter::rice`] takes for a number, in bits.
pub(super) fn rice_bits(value: u64, k: u32) -> usize {
    (value >> k) as usize + 1 + k as usize
}

/// The parameter that suits numbers of that sum.
pub(super) fn rice_parameter(sum: u64, count: u64) -> u32 {
    let mean = sum / count.max(1);
    // The best 2^k is about the mean times the natural logarithm of 2.
    (mean.saturating_mul(69) / 100).max(1).ilog2().min(WIDTH_MAX - 1)
}

/// Reads what a [`BitWriter`] wrote. Behind the end there is nothing.
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> BitReader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// At least 57 of the bits that come, and zeros behind the end.
    fn peek(&self) -> u64 {
        let byte = self.at / 8;
        let eight = match self.bytes.get(byte..byte + 8) {
            Some(eight) => u64::from_le_bytes(eight.try_into().unwrap_or_default()),
            None => {
                let mut eight = [0; 8];
                let rest = self.bytes.get(byte..).unwrap_or_default();
                eight[..rest.len()].copy_from_slice(rest);
                u64::from_le_bytes(eight)
            }
        };
        eight >> (self.at % 8)
    }

    fn skip(&mut self, bits: u32) -> Option<()> {
        self.at += bits as usize;
        (self.at <= self.bytes.len() * 8).then_some(())
    }

    pub(super) fn take(&mut self, width: u32) -> Option<u64> {
        let value = self.peek() & ((1 << width) - 1);
        self.skip(width)?;
        Some(value)
    }

    fn count_zeros(&mut self) -> Option<u64> {
        let mut count = 0;
        loop {
            let zeros = self.peek().trailing_zeros();
            if zeros < WIDTH_MAX {
                self.skip(zeros + 1)?;
                return Some(count + u64::from(zeros));
            }
            self.skip(WIDTH_MAX)?;
            count += u64::from(WIDTH_MAX);
        }
    }

    pub(super) fn gamma(&mut self) -> Option<u32> {
        let low_bits = u32::try_from(self.count_zeros()?).ok().filter(|bits| *bits < 32)?;
        Some(1 << low_bits | self.take(low_bits)? as u32)
    }

    pub(super) fn rice(&mut self, k: u32) -> Option<u64> {
        let high = self.count_zeros()?;
        Some(high.checked_shl(k)? | self.take(k)?)
    }

    pub(super) fn bytes(&mut self, count: usize, into: &mut Vec<u8>) -> Option<()> {
        for _ in 0..count {
            into.push(self.take(8)? as u8);
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_written_is_read(numbers in prop::collection::vec((1u32.., 0u64..1 << 40, 0u32..40), 0..200)) {
            let mut writer = BitWriter::default();
            let mut bits = 0;
            for (gamma, value, k) in &numbers {
                let (value, k) = (value >> 30.min(40 - k), *k);
                writer.gamma(*gamma);
                writer.rice(value, k);
                writer.put(value & 0xff, 8);
                bits += gamma_bits(*gamma) + rice_bits(value, k) + 8;
                prop_assert_eq!(writer.len_bits(), bits);
            }
            let bytes = writer.finish();
            let mut reader = BitReader::new(&bytes);
            for (gamma, value, k) in &numbers {
                let (value, k) = (value >> 30.min(40 - k), *k);
                prop_assert_eq!(reader.gamma(), Some(*gamma));
                prop_assert_eq!(reader.rice(k), Some(value));
                prop_assert_eq!(reader.take(8), Some(value & 0xff));
            }
            prop_assert_eq!(reader.take(8), None);
        }

        #[test]
        fn garbage_ends(bytes in prop::collection::vec(any::<u8>(), 0..40), k in 0u32..50) {
            let mut reader = BitReader::new(&bytes);
            let mut read = 0;
            while reader.rice(k).is_some() && reader.gamma().is_some() {
                read += 1;
            }
            prop_assert!(read <= bytes.len() * 8);
        }
    }
}
