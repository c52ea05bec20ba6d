//! The columns of a bundle: what of each change does not follow from the others.
//!
//! An encoded change is: magic (4 bytes), checksum (4), type (1), length (LEB128), then its body: dependencies, actor,
//! place, first operation, time, message, other actors, what columns its operations have and how long each is, these
//! columns, and what a later version may add. A column here holds one of these for all changes. Every number is LEB128.
//!
//! A change that somebody encoded in another way than everybody does is put in whole.

use std::collections::BTreeMap;

use super::Bundled;
use crate::change::{self, ChangeHash};
use crate::{Actor, ChangeFault, DocumentKind, kind};

/// Bytes of magic, checksum and type.
const HEADER_BYTES: usize = 9;
/// What an encoded change starts with.
const MAGIC: [u8; 4] = [0x85, 0x6f, 0x4a, 0x83];
/// The type of a change that is not compressed.
const TYPE_CHANGE: u8 = 1;
/// In place of a number of dependencies: the change is put in whole.
const WHOLE: u64 = 0;

/// What both sides know of the changes before the next one.
struct Before {
    /// How many operations the genesis has.
    genesis: (ChangeHash, u64),
    /// The hash of each change, and where its operations end.
    done: Vec<(ChangeHash, u64)>,
    places: BTreeMap<ChangeHash, usize>,
    seqs: BTreeMap<Actor, u64>,
    time_s: i64,
}

/// What follows for the next change from what it builds on.
struct Expected {
    seq: u64,
    start: u64,
}

impl Before {
    fn new(kind: DocumentKind) -> Self {
        let genesis = (kind::genesis_hash(kind).0, kind::genesis_operations(kind));
        Self { genesis, done: Vec::new(), places: BTreeMap::new(), seqs: BTreeMap::new(), time_s: 0 }
    }

    /// How far back a dependency lies: 1 is the change before; one more than there are is the genesis.
    fn distance(&self, dep: &ChangeHash) -> Option<u64> {
        let place = if *dep == self.genesis.0 { 0 } else { self.places.get(dep)? + 1 };
        Some((self.done.len() + 1 - place) as u64)
    }

    /// What lies that far back.
    fn back(&self, distance: u64) -> Result<(ChangeHash, u64), ChangeFault> {
        let distance = usize::try_from(distance).map_err(|_| ChangeFault::Malformed)?;
        match (self.done.len() + 1).checked_sub(distance) {
            Some(0) => Ok(self.genesis),
            Some(place) if distance > 0 => Ok(self.done[place - 1]),
            _ => Err(ChangeFault::Malformed),
        }
    }

    fn expected(&self, actor: &Actor, ends: impl Iterator<Item = u64>) -> Expected {
        let seq = self.seqs.get(actor).map_or(1, |seq| seq + 1);
        Expected { seq, start: ends.max().unwrap_or(0) + 1 }
    }

    fn push(&mut self, change: &automerge::Change, actor: Actor) {
        let hash = change.hash().0;
        self.places.insert(hash, self.done.len());
        self.done.push((hash, change.max_op()));
        self.seqs.insert(actor, change.seq());
        self.time_s = change.timestamp();
    }
}

/// The columns in the making.
#[derive(Default)]
struct Columns {
    deps: Vec<u8>,
    actors: Vec<u8>,
    times: Vec<u8>,
    /// From the message to how long the columns of the operations are.
    layouts: Vec<u8>,
    /// How long what a later version added is, or a change that is put in whole.
    lengths: Vec<u8>,
    /// That itself.
    others: Vec<u8>,
    /// The columns of the operations, by what Automerge numbers them with.
    operations: BTreeMap<u64, Vec<u8>>,
}

/// The columns of changes that are in the order of a bundle, in one piece.
pub(super) fn write(kind: DocumentKind, changes: &[Bundled]) -> Result<Vec<u8>, ChangeFault> {
    let mut numbers: BTreeMap<Actor, usize> = changes.iter().map(|(info, _)| (info.actor, 0)).collect();
    numbers.values_mut().enumerate().for_each(|(place, number)| *number = place);
    let (mut columns, mut before) = (Columns::default(), Before::new(kind));
    for (info, bytes) in changes {
        let change = change::parse(bytes)?;
        put(&mut columns.actors, numbers[&info.actor] as u64);
        columns.add(info.actor, &change, &before)?;
        before.push(&change, info.actor);
    }
    let mut out = Vec::new();
    put(&mut out, changes.len() as u64);
    put(&mut out, numbers.len() as u64);
    numbers.keys().for_each(|actor| out.extend(actor.as_bytes()));
    let Columns { deps, actors, times, layouts, lengths, others, operations } = columns;
    for column in [deps, actors, times, layouts, lengths, others] {
        put(&mut out, column.len() as u64);
        out.extend(column);
    }
    for (number, column) in operations {
        put(&mut out, number);
        put(&mut out, column.len() as u64);
        out.extend(column);
    }
    Ok(out)
}

impl Columns {
    fn add(&mut self, actor: Actor, change: &automerge::Change, before: &Before) -> Result<(), ChangeFault> {
        let distances = change.deps().iter().map(|dep| before.distance(&dep.0));
        let distances: Vec<u64> = distances.collect::<Option<_>>().ok_or(ChangeFault::Dependency)?;
        let ends = distances.iter().map(|distance| before.back(*distance).map(|(_, end)| end));
        let ends: Vec<u64> = ends.collect::<Result<_, _>>()?;
        let expected = before.expected(&actor, ends.into_iter());
        let deps: Vec<ChangeHash> = change.deps().iter().map(|dep| dep.0).collect();
        let start = body_start(&deps, &actor, &expected, change.timestamp());
        let rest = body(change.raw_bytes()).and_then(|body| body.strip_prefix(start.as_slice()));
        let rest = rest.filter(|rest| encode(&start, rest) == with_no_checksum(change.raw_bytes()));
        let Some((layout, columns, other)) = rest.and_then(split) else {
            put(&mut self.deps, WHOLE);
            put(&mut self.lengths, change.raw_bytes().len() as u64);
            self.others.extend(change.raw_bytes());
            return Ok(());
        };
        put(&mut self.deps, distances.len() as u64);
        distances.iter().for_each(|distance| put(&mut self.deps, *distance));
        put(&mut self.times, zigzag(change.timestamp().wrapping_sub(before.time_s)));
        self.layouts.extend(layout);
        for (number, column) in columns {
            self.operations.entry(number).or_default().extend(column);
        }
        put(&mut self.lengths, other.len() as u64);
        self.others.extend(other);
        Ok(())
    }
}

/// How what follows the time of a change is laid out: the number and the length of each column.
fn layout(input: &mut &[u8]) -> Result<Vec<(u64, usize)>, ChangeFault> {
    let message = take_len(input)?;
    take_bytes(input, message)?;
    for _ in 0..take(input)? {
        let actor = take_len(input)?;
        take_bytes(input, actor)?;
    }
    let mut columns = Vec::new();
    for _ in 0..take(input)? {
        columns.push((take(input)?, take_len(input)?));
    }
    Ok(columns)
}

/// The layout, the columns and what is left.
type Split<'a> = (&'a [u8], Vec<(u64, &'a [u8])>, &'a [u8]);

fn split(rest: &[u8]) -> Option<Split<'_>> {
    let mut input = rest;
    let lengths = layout(&mut input).ok()?;
    let head = &rest[..rest.len() - input.len()];
    let columns = lengths.into_iter().map(|(number, len)| Some((number, take_bytes(&mut input, len).ok()?)));
    let columns = columns.collect::<Option<_>>()?;
    Some((head, columns, input))
}

/// Reads columns, change by change.
pub(super) struct Reader<'a> {
    left: usize,
    actors: Vec<Actor>,
    deps: &'a [u8],
    numbers: &'a [u8],
    times: &'a [u8],
    layouts: &'a [u8],
    lengths: &'a [u8],
    others: &'a [u8],
    operations: BTreeMap<u64, &'a [u8]>,
    before: Before,
}

impl<'a> Reader<'a> {
    pub(super) fn new(kind: DocumentKind, mut bytes: &'a [u8]) -> Result<Self, ChangeFault> {
        let left = take_len(&mut bytes)?;
        let count = take_len(&mut bytes)?;
        let actors = take_bytes(&mut bytes, count.saturating_mul(Actor::BYTES))?;
        let (actors, _) = actors.as_chunks::<{ Actor::BYTES }>();
        let actors: Vec<Actor> = actors.iter().map(|actor| Actor::from_bytes(*actor)).collect();
        let mut column = || {
            let len = take_len(&mut bytes)?;
            take_bytes(&mut bytes, len)
        };
        let (deps, numbers, times) = (column()?, column()?, column()?);
        let (layouts, lengths, others) = (column()?, column()?, column()?);
        let mut operations = BTreeMap::new();
        while !bytes.is_empty() {
            let number = take(&mut bytes)?;
            let len = take_len(&mut bytes)?;
            if operations.insert(number, take_bytes(&mut bytes, len)?).is_some() {
                return Err(ChangeFault::Malformed);
            }
        }
        let before = Before::new(kind);
        Ok(Self { left, actors, deps, numbers, times, layouts, lengths, others, operations, before })
    }

    /// How many changes are left, by what the bundle says.
    pub(super) fn len(&self) -> usize {
        self.left
    }

    pub(super) fn next(&mut self) -> Result<Option<Bundled>, ChangeFault> {
        let Some(left) = self.left.checked_sub(1) else {
            let columns = [self.deps, self.numbers, self.times, self.layouts, self.lengths, self.others];
            let is_read = columns.iter().chain(self.operations.values()).all(|column| column.is_empty());
            return if is_read { Ok(None) } else { Err(ChangeFault::Malformed) };
        };
        self.left = left;
        let actor = *self.actors.get(take_len(&mut self.numbers)?).ok_or(ChangeFault::Malformed)?;
        let other = take_len(&mut self.lengths)?;
        let other = take_bytes(&mut self.others, other)?;
        let count = take(&mut self.deps)?;
        let (change, bytes) = if count == WHOLE {
            (change::parse(other)?, other.to_vec())
        } else {
            change::complete(self.encoded(&actor, count, other)?)?
        };
        let info = change::info(&change);
        if info.actor != actor {
            return Err(ChangeFault::Actor);
        }
        self.before.push(&change, actor);
        Ok(Some((info, bytes)))
    }

    /// A change, but for its checksum.
    fn encoded(&mut self, actor: &Actor, count: u64, other: &[u8]) -> Result<Vec<u8>, ChangeFault> {
        if count > change::CHANGE_DEPENDENCIES_MAX as u64 {
            return Err(ChangeFault::TooLarge);
        }
        let deps = (0..count).map(|_| self.before.back(take(&mut self.deps)?));
        let deps: Vec<(ChangeHash, u64)> = deps.collect::<Result<_, _>>()?;
        let expected = self.before.expected(actor, deps.iter().map(|(_, end)| *end));
        let time_s = self.before.time_s.wrapping_add(unzigzag(take(&mut self.times)?));
        let deps: Vec<ChangeHash> = deps.into_iter().map(|(hash, _)| hash).collect();
        let whole = self.layouts;
        let lengths = layout(&mut self.layouts)?;
        let mut rest = whole[..whole.len() - self.layouts.len()].to_vec();
        for (number, len) in lengths {
            let column = self.operations.get_mut(&number).ok_or(ChangeFault::Malformed)?;
            rest.extend(take_bytes(column, len)?);
        }
        rest.extend(other);
        Ok(encode(&body_start(&deps, actor, &expected, time_s), &rest))
    }
}

/// The body of a change up to its time.
fn body_start(deps: &[ChangeHash], actor: &Actor, expected: &Expected, time_s: i64) -> Vec<u8> {
    let mut out = Vec::with_capacity(deps.len() * 32 + 64);
    put(&mut out, deps.len() as u64);
    deps.iter().for_each(|dep| out.extend(dep));
    put(&mut out, Actor::BYTES as u64);
    out.extend(actor.as_bytes());
    put(&mut out, expected.seq);
    put(&mut out, expected.start);
    put_signed(&mut out, time_s);
    out
}

/// A change, but for its checksum.
fn encode(start: &[u8], rest: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES + 5 + start.len() + rest.len());
    out.extend(MAGIC);
    out.extend([0; 4]);
    out.push(TYPE_CHANGE);
    put(&mut out, (start.len() + rest.len()) as u64);
    out.extend(start);
    out.extend(rest);
    out
}

fn with_no_checksum(raw: &[u8]) -> Vec<u8> {
    let mut bytes = raw.to_vec();
    bytes[change::CHECKSUM].fill(0);
    bytes
}

/// What follows the header of an encoded change.
fn body(raw: &[u8]) -> Option<&[u8]> {
    let mut rest = raw.get(HEADER_BYTES..)?;
    take(&mut rest).ok()?;
    Some(rest)
}

fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Signed LEB128.
fn put_signed(out: &mut Vec<u8>, mut number: i64) {
    loop {
        let byte = number as u8 & 0x7f;
        number >>= 7;
        if number == 0 && byte & 0x40 == 0 || number == -1 && byte & 0x40 != 0 {
            return out.push(byte);
        }
        out.push(byte | 0x80);
    }
}

fn take(input: &mut &[u8]) -> Result<u64, ChangeFault> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = input.split_first().ok_or(ChangeFault::Malformed)?;
        *input = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(ChangeFault::Malformed)
}

fn take_len(input: &mut &[u8]) -> Result<usize, ChangeFault> {
    usize::try_from(take(input)?).map_err(|_| ChangeFault::Malformed)
}

fn take_bytes<'a>(input: &mut &'a [u8], len: usize) -> Result<&'a [u8], ChangeFault> {
    let (bytes, rest) = input.split_at_checked(len).ok_or(ChangeFault::Malformed)?;
    *input = rest;
    Ok(bytes)
}

fn zigzag(number: i64) -> u64 {
    (number << 1 ^ number >> 63) as u64
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}
