//! What is told of items when they are ranked and filtered: when, by whom, where, how long; and how they are called.

use super::bits::{BitReader, BitWriter, rice_parameter};

/// How many item numbers a block of columns is for: so many names fill two pages of 4 KiB.
pub(super) const BLOCK_NUMBERS: u32 = 1_280;

const TIME_BITS: u32 = 48;
/// Milliseconds, random bytes and author, as `MessageId` has them.
const MESSAGE_ID: (usize, usize) = (6, 12);

/// What is told of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Column {
    /// When it was made, in Unix milliseconds below 2^48.
    pub(super) time_ms: u64,
    /// The place of its author among the actors.
    pub(super) actor: u32,
    /// The place of its document among the documents.
    pub(super) document: u32,
    /// How many words it has.
    pub(super) words: u32,
}

/// The last time that is written as it is.
pub(super) fn clamp_ms(time_ms: u64) -> u64 {
    time_ms.min((1 << TIME_BITS) - 1)
}

/// A block of columns, by how far each item is from the first number of the block.
pub(super) type Columns = Vec<(u32, Column)>;

/// Writes a block: see `docs/storage-format.md`.
pub(super) fn encode(columns: &[(u32, Column)]) -> Vec<u8> {
    let mut bits = BitWriter::default();
    bits.gamma(columns.len() as u32 + 1);
    let mut next = 0;
    for (offset, _) in columns {
        bits.rice(u64::from(offset - next), 0);
        next = offset + 1;
    }
    series(&mut bits, columns.iter().scan(0, |before, (_, column)| Some(zigzag(before, column.time_ms))));
    series(&mut bits, columns.iter().map(|(_, column)| column.actor.into()));
    // Neighbours mostly are in one document: told for the first of them only.
    let mut before = None;
    for (_, Column { document, .. }) in columns {
        let same = before == Some(*document);
        bits.put(same.into(), 1);
        if !same {
            bits.gamma(document + 1);
        }
        before = Some(*document);
    }
    series(&mut bits, columns.iter().map(|(_, column)| column.words.into()));
    bits.finish()
}

/// Reads a block; none if it is damaged.
pub(super) fn decode(bytes: &[u8]) -> Option<Columns> {
    let mut bits = BitReader::new(bytes);
    let count = bits.gamma()? as usize - 1;
    let (mut columns, mut next) = (Columns::new(), 0);
    for _ in 0..count {
        let offset = next + u32::try_from(bits.rice(0)?).ok()?;
        columns.push((offset, Column { time_ms: 0, actor: 0, document: 0, words: 0 }));
        next = offset + 1;
    }
    let (k, mut before) = (bits.take(6)? as u32, 0);
    for (_, column) in &mut columns {
        column.time_ms = unzigzag(&mut before, bits.rice(k)?);
    }
    let k = bits.take(6)? as u32;
    for (_, column) in &mut columns {
        column.actor = u32::try_from(bits.rice(k)?).ok()?;
    }
    let mut before = 0;
    for (_, column) in &mut columns {
        if bits.take(1)? == 0 {
            before = bits.gamma()? - 1;
        }
        column.document = before;
    }
    let k = bits.take(6)? as u32;
    for (_, column) in &mut columns {
        column.words = u32::try_from(bits.rice(k)?).ok()?;
    }
    Some(columns)
}

fn series(bits: &mut BitWriter, numbers: impl Iterator<Item = u64> + Clone) {
    let (sum, count) = numbers.clone().fold((0, 0), |(sum, count), number| (sum + number, count + 1));
    let k = rice_parameter(sum, count);
    bits.put(k.into(), 6);
    numbers.for_each(|number| bits.rice(number, k));
}

fn zigzag(before: &mut i64, time_ms: u64) -> u64 {
    let step = time_ms as i64 - *before;
    *before = time_ms as i64;
    ((step << 1) ^ (step >> 63)) as u64
}

fn unzigzag(before: &mut i64, step: u64) -> u64 {
    *before = before.wrapping_add((step >> 1) as i64 ^ -((step & 1) as i64));
    clamp_ms(*before as u64)
}

/// Writes the ids of the items that a block of columns is about, in the same order. What an id has in common with the
/// item's time and actor is left out, as message ids have both.
pub(super) fn encode_names<'a>(names: impl Iterator<Item = (&'a [u8], u64, &'a [u8])>) -> Vec<u8> {
    let mut bits = BitWriter::default();
    for (id, time_ms, actor) in names {
        let short = short_of(id, time_ms, actor);
        bits.put(short.is_some().into(), 1);
        if short.is_none() {
            bits.gamma(id.len() as u32 + 1);
        }
        bits.bytes(short.unwrap_or(id));
    }
    bits.finish()
}

/// Reads the ids of items with these times and actors; none if they are damaged.
pub(super) fn decode_names<'a>(bytes: &[u8], items: impl Iterator<Item = (u64, &'a [u8])>) -> Option<Vec<Vec<u8>>> {
    let mut bits = BitReader::new(bytes);
    let read = |(time_ms, actor): (u64, &[u8])| {
        let mut id = Vec::new();
        if bits.take(1)? == 1 {
            id.extend_from_slice(&time_ms.to_be_bytes()[2..]);
            bits.bytes(MESSAGE_ID.1 - MESSAGE_ID.0, &mut id)?;
            id.extend_from_slice(actor);
        } else {
            let count = bits.gamma()? as usize - 1;
            bits.bytes(count, &mut id)?;
        }
        Some(id)
    };
    items.map(read).collect()
}

fn short_of<'a>(id: &'a [u8], time_ms: u64, actor: &[u8]) -> Option<&'a [u8]> {
    let (time, rest) = id.split_at_checked(MESSAGE_ID.0)?;
    let (random, author) = rest.split_at_checked(MESSAGE_ID.1 - MESSAGE_ID.0)?;
    (time == &time_ms.to_be_bytes()[2..] && author == actor).then_some(random)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn columns_are_read_as_they_were_written(
            items in prop::collection::btree_map(
                0u32..BLOCK_NUMBERS,
                (0u64..1 << 48, 0u32..300, 0u32..5, 0u32..1_000_000),
                0..200,
            ),
        ) {
            let columns: Columns = items
                .into_iter()
                .map(|(at, (time_ms, actor, document, words))| (at, Column { time_ms, actor, document, words }))
                .collect();
            prop_assert_eq!(decode(&encode(&columns)), Some(columns));
        }

        #[test]
        fn names_are_read_as_they_were_written(
            names in prop::collection::vec((0u64..1 << 48, any::<bool>(), prop::collection::vec(any::<u8>(), 0..40)), 0..50),
        ) {
            let actor = [7; 24];
            let id = |(time_ms, like_message, other): &(u64, bool, Vec<u8>)| {
                if !*like_message {
                    return other.clone();
                }
                [&time_ms.to_be_bytes()[2..], &[9; 6], actor.as_slice()].concat()
            };
            let ids: Vec<Vec<u8>> = names.iter().map(id).collect();
            let written = encode_names(ids.iter().zip(&names).map(|(id, name)| (id.as_slice(), name.0, actor.as_slice())));
            let read = decode_names(&written, names.iter().map(|name| (name.0, actor.as_slice())));
            prop_assert_eq!(read, Some(ids));
        }

        #[test]
        fn garbage_does_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
            let _ = decode_names(&bytes, [(1, [2].as_slice()); 3].into_iter());
        }
    }
}
