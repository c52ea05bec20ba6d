use std::collections::BTreeMap;
use std::sync::Arc;

use negentropy::{Id, Negentropy, NegentropyStorageVector};
use proptest::prelude::*;

use super::message::{RANGES_MAX, fingerprint};
use super::page::Total;
use super::tree::Cut;
use super::*;
use crate::Refusal;
use crate::desk::View;
use crate::fuzzing::Memory;

const NAME: TreeName = TreeName { circle: CircleId::from_bytes([7; 32]), kind: 0 };

/// A tree over a store in memory.
struct Rig {
    memory: Arc<Memory>,
    view: View,
    pages: Pages,
    tree: Tree,
}

impl Rig {
    fn new() -> Self {
        let memory = Arc::new(Memory::default());
        Self { view: View::new(memory.clone()), memory, pages: Pages::default(), tree: Tree::empty(NAME) }
    }

    fn of(places: impl IntoIterator<Item = Place>) -> Self {
        let mut rig = Self::new();
        let mut places: Vec<Place> = places.into_iter().collect();
        places.sort_unstable();
        places.dedup();
        rig.tree = Tree::build(NAME, &places, &mut Shelf::new(&mut rig.pages, &rig.view)).expect("memory can be read");
        rig.write();
        rig
    }

    fn with<T>(&mut self, act: impl FnOnce(&mut Tree, &mut Shelf<'_>) -> T) -> T {
        act(&mut self.tree, &mut Shelf::new(&mut self.pages, &self.view))
    }

    fn insert(&mut self, place: Place) -> bool {
        self.with(|tree, shelf| tree.insert(place, shelf).expect("memory can be read"))
    }

    fn remove(&mut self, place: &Place) -> bool {
        self.with(|tree, shelf| tree.remove(place, shelf).expect("memory can be read"))
    }

    /// As at the end of an input: how many records that took, and how many bytes.
    fn write(&mut self) -> (usize, usize) {
        let writes = self.pages.take_changed();
        let bytes = writes.iter().map(|(_, page)| page.as_ref().map_or(0, Vec::len)).sum();
        let records = writes.len();
        self.memory.write(&writes.into_iter().collect());
        (records, bytes)
    }

    /// As after a start.
    fn reopen(&mut self) {
        self.pages = Pages::default();
        let tree = self.with(|_, shelf| Tree::open(NAME, shelf)).expect("memory can be read");
        self.tree = tree.unwrap_or(Tree::empty(NAME));
    }

    fn all(&mut self) -> Vec<Place> {
        let mut places = Vec::new();
        self.with(|tree, shelf| {
            tree.walk_back(&Cut::END, shelf, &mut |place| {
                places.push(*place);
                true
            })
        })
        .expect("memory can be read");
        places.reverse();
        places
    }

    fn begin(&mut self) -> Vec<u8> {
        self.with(|tree, shelf| reconcile::begin(tree, shelf)).expect("memory can be read")
    }

    fn answer(&mut self, message: &[u8]) -> Result<Vec<u8>, Refusal> {
        self.with(|tree, shelf| reconcile::answer(tree, message, shelf)).map(|answer| answer.message).map_err(blame)
    }

    fn proceed(&mut self, message: &[u8]) -> Result<Difference, Refusal> {
        self.with(|tree, shelf| reconcile::proceed(tree, message, shelf)).map_err(blame)
    }
}

fn blame(failure: Failure) -> Refusal {
    match failure {
        Failure::Peer(refusal) => refusal,
        Failure::Own(error) => panic!("memory can be read: {error}"),
    }
}

fn place(n: u32) -> Place {
    place_in(n / 100, n)
}

fn place_in(hour: u32, n: u32) -> Place {
    Place { hour, id: EntryId::from_bytes(*blake3::hash(&n.to_be_bytes()).as_bytes()) }
}

/// One page of each kind.
pub(crate) fn golden_pages() -> [Vec<u8>; 2] {
    let places: Vec<Place> = (1..=2).map(|n| place_in(n, 0)).collect();
    let total = places.iter().map(|place| Total::of(&place.id)).sum();
    let child = page::Child { first: places[0], number: 7, total };
    let inner = page::Page { next: 8, body: page::Body::Inner(vec![child]) };
    let leaf = page::Page::new(page::Body::Leaf(places));
    [leaf, inner].map(|page| {
        assert!(page::Page::decode(&page.encode()).is_ok_and(|read| read == page), "it is not read back");
        page.encode()
    })
}

/// The crate that the messages are compatible with, over the same places.
fn oracle(places: &[Place]) -> NegentropyStorageVector {
    let mut storage = NegentropyStorageVector::with_capacity(places.len());
    for place in places {
        let id = Id::from_byte_array(*place.id.as_bytes());
        storage.insert(u64::from(place.hour), id).expect("it is not sealed yet");
    }
    storage.seal().expect("it is not sealed yet");
    storage
}

/// Reconciles, and gives what the left one found out, newest first, and how many messages each sent.
fn reconcile_all(left: &mut Rig, right: &mut Rig) -> (Vec<EntryId>, Vec<EntryId>, usize) {
    let (mut have, mut need, mut rounds) = (Vec::new(), Vec::new(), 0);
    let mut message = left.begin();
    loop {
        rounds += 1;
        let answer = right.answer(&message).expect("an honest message");
        let step = left.proceed(&answer).expect("an honest answer");
        assert!(message.len().max(answer.len()) <= RECONCILE_BYTES_MAX);
        have.extend(step.have);
        need.extend(step.need);
        match step.reply {
            Some(next) => message = next,
            None => return (have, need, rounds),
        }
        assert!(rounds < 1_000, "it does not come to an end");
    }
}

#[derive(Clone, Debug)]
enum Act {
    Insert(u32),
    Remove(u32),
    Write,
    Reopen,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        20 => (0..3_000_u32).prop_map(Act::Insert),
        8 => (0..3_000_u32).prop_map(Act::Remove),
        1 => Just(Act::Write),
        1 => Just(Act::Reopen),
    ];
    proptest::collection::vec(act, 0..1_500)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// The tree against a map, with totals of ranges, ranks and neighbours; and that nothing is left in the store.
    #[test]
    fn a_tree_is_what_a_map_is(acts in acts(), cuts in proptest::collection::vec((0..40_u64, any::<[u8; 32]>()), 8)) {
        let (mut rig, mut model) = (Rig::new(), BTreeMap::new());
        for act in acts {
            match act {
                Act::Insert(n) => prop_assert_eq!(rig.insert(place(n)), model.insert(place(n), ()).is_none()),
                Act::Remove(n) => prop_assert_eq!(rig.remove(&place(n)), model.remove(&place(n)).is_some()),
                Act::Write => _ = rig.write(),
                Act::Reopen => {
                    rig.write();
                    rig.reopen();
                }
            }
        }
        let places: Vec<Place> = model.keys().copied().collect();
        prop_assert_eq!(rig.all(), places.clone());
        prop_assert_eq!(rig.tree.total().count, places.len() as u64);
        for (hour, id) in cuts {
            let cut = Cut { hour, id };
            let before: Vec<Place> = places.iter().filter(|place| Cut::before(place) < cut).copied().collect();
            let total: Total = before.iter().map(|place| Total::of(&place.id)).sum();
            prop_assert_eq!(rig.with(|tree, shelf| tree.before(&cut, shelf)).unwrap(), total);
            if before.len() < places.len() {
                let at = rig.with(|tree, shelf| tree.at(before.len() as u64, shelf)).unwrap();
                prop_assert_eq!(at, (places[before.len()], total));
            }
        }
        for place in &places {
            prop_assert!(rig.remove(place));
        }
        rig.write();
        prop_assert_eq!(rig.memory.content().len(), usize::from(!rig.memory.content().is_empty()), "the root alone");
    }

    /// Each message is the crate's, byte for byte, whichever side is which.
    #[test]
    fn messages_are_the_crates(
        common in proptest::collection::btree_set(0..20_000_u32, 0..2_000),
        left in proptest::collection::btree_set(0..20_000_u32, 0..300),
        right in proptest::collection::btree_set(0..20_000_u32, 0..300),
        per_hour in 1..5_000_u32,
    ) {
        let places = |own: &std::collections::BTreeSet<u32>| -> Vec<Place> {
            common.union(own).map(|n| place_in(n / per_hour, *n)).collect()
        };
        let (left, right) = (places(&left), places(&right));
        let (ours, theirs) = (oracle(&left), oracle(&right));
        let (mut left, mut right) = (Rig::of(left), Rig::of(right));
        let mut beginner = Negentropy::borrowed(&ours, 0).unwrap();
        let mut message = beginner.initiate().unwrap();
        prop_assert_eq!(left.begin(), message.clone());
        loop {
            let answer = Negentropy::borrowed(&theirs, 0).unwrap().reconcile(&message).unwrap();
            prop_assert_eq!(right.answer(&message).unwrap(), answer.clone());
            let (mut have, mut need) = (Vec::new(), Vec::new());
            let reply = beginner.reconcile_with_ids(&answer, &mut have, &mut need).unwrap();
            let step = left.proceed(&answer).unwrap();
            let sorted = |mut ids: Vec<EntryId>| { ids.sort_unstable(); ids };
            let ids = |ids: Vec<Id>| sorted(ids.iter().map(|id| EntryId::from_bytes(id.to_bytes())).collect());
            prop_assert_eq!((sorted(step.have), sorted(step.need)), (ids(have), ids(need)));
            prop_assert_eq!(step.reply.clone(), reply.clone());
            match reply {
                Some(next) => message = next,
                None => break,
            }
        }
    }

    /// Whatever a peer says: an answer within bounds or a refusal.
    #[test]
    fn garbage_is_refused_or_answered_within_bounds(mut garbage in proptest::collection::vec(any::<u8>(), 0..2_000)) {
        let mut rig = Rig::of((0..500).map(place));
        for version in [None, Some(0x61)] {
            if let (Some(version), Some(first)) = (version, garbage.first_mut()) {
                *first = version;
            }
            prop_assert!(rig.answer(&garbage).map_or(0, |bytes| bytes.len()) <= RECONCILE_BYTES_MAX);
            prop_assert!(rig.proceed(&garbage).map_or(0, |step| step.have.len()) <= 500);
        }
    }
}

#[test]
fn what_is_no_message_is_refused() {
    let mut rig = Rig::of((0..10).map(place));
    for garbage in [
        &b""[..],
        b"senseless",
        b"\x61\x01",
        b"\x61\x00\x00",
        b"\x61\x00\x00\x03",
        b"\x61\x00\x21\x00",
        b"\x61\x00\x00\x01short",
        b"\x61\x00\x00\x02\x02just one id of two, which are here",
        b"\x61\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00",
        // A range that ends before it begins.
        b"\x61\x02\x01\x09\x00\x01\x01\x08\x00",
    ] {
        assert_eq!(rig.answer(garbage), Err(Refusal::Malformed), "{garbage:?}");
        assert_eq!(rig.proceed(garbage).unwrap_err(), Refusal::Malformed, "{garbage:?}");
    }
    // Another version is answered by ours.
    assert_eq!(rig.answer(b"\x62 whatever"), Ok(vec![0x61]));
    assert_eq!(rig.proceed(b"\x62 whatever").unwrap_err(), Refusal::Malformed);
}

#[test]
fn a_range_has_the_fingerprint_that_the_crate_gives_it() {
    use negentropy::NegentropyStorageBase as _;
    let places: Vec<Place> = (0..2_000).map(place).collect();
    let (mut rig, oracle) = (Rig::of(places.clone()), oracle(&places));
    let sorted = rig.all();
    for (from, to) in [(0, 0), (0, 2_000), (3, 4), (150, 1_951), (1_999, 2_000)] {
        let cut = |rank: usize| sorted.get(rank).map_or(Cut::END, Cut::before);
        let mut before = |rank| rig.with(|tree, shelf| tree.before(&cut(rank), shelf)).unwrap();
        let total = before(to).minus(before(from));
        assert_eq!(fingerprint(&total), oracle.fingerprint(from, to).unwrap().to_bytes(), "{from} to {to}");
    }
}

#[test]
fn what_is_missing_comes_newest_first_however_much_it_is() {
    let all: Vec<Place> = (0..100_000).map(place).collect();
    for (few, many) in [(0, 100_000), (1_000, 100_000)] {
        let news: Vec<EntryId> = {
            let mut rest = all[few..].to_vec();
            rest.sort_unstable();
            rest.iter().rev().map(|place| place.id).collect()
        };
        let lacks = || Rig::of(all[..few].iter().copied());
        let has = || Rig::of(all[..many].iter().copied());
        let (have, need, rounds) = reconcile_all(&mut lacks(), &mut has());
        assert!(have.is_empty() && need == news, "{} of {}, in {rounds} rounds", need.len(), news.len());
        let (have, need, rounds) = reconcile_all(&mut has(), &mut lacks());
        assert!(need.is_empty() && have == news, "{} of {}, in {rounds} rounds", have.len(), news.len());
    }
}

#[test]
fn differences_that_are_too_many_for_one_message_are_all_found() {
    let left: Vec<Place> = (0..60_000).filter(|n| n % 3 != 0).map(place).collect();
    let right: Vec<Place> = (0..60_000).filter(|n| n % 3 != 1).map(place).collect();
    let (have, need, _) = reconcile_all(&mut Rig::of(left), &mut Rig::of(right));
    let ids = |rest| (0..60_000).filter(|n| n % 3 == rest).map(|n| place(n).id).collect::<Vec<_>>();
    let unique = |ids: Vec<EntryId>| ids.into_iter().collect::<std::collections::BTreeSet<_>>();
    assert_eq!((unique(have), unique(need)), (unique(ids(1)), unique(ids(0))));
}

#[test]
fn ten_missing_of_many_take_three_rounds_and_few_bytes() {
    let all: Vec<Place> = (0..200_000).map(place).collect();
    let (mut left, mut right) = (Rig::of(all[..199_990].iter().copied()), Rig::of(all.iter().copied()));
    let (have, need, rounds) = reconcile_all(&mut left, &mut right);
    assert!(have.is_empty() && need.len() == 10 && rounds <= 3, "{} in {rounds}", need.len());
}

#[test]
fn a_message_of_thousands_of_ranges_is_answered_within_bounds() {
    let mut rig = Rig::of((0..200_000).map(place));
    // A range an hour, each with a fingerprint that is wrong; then each a list of nothing.
    for claim in [[&[1][..], &[0; 16]].concat(), vec![2, 0]] {
        let mut message = vec![0x61];
        for _ in 0..2_000 {
            message.extend([2, 0]);
            message.extend(&claim);
        }
        let answer = rig.answer(&message).expect("it is in order");
        assert!(answer.len() <= RECONCILE_BYTES_MAX, "{}", answer.len());
        let step = rig.proceed(&message).expect("it is in order");
        assert!(step.have.len() <= OFFERED_IDS_MAX && step.reply.is_some());
    }
    // More ranges than are looked at: what lies before the last ones is answered as one.
    let message = [vec![0x61], vec![2, 1, 7, 0], [1, 1, 8, 0].repeat(2 * RANGES_MAX)].concat();
    let answer = rig.answer(&message).expect("it is in order");
    assert!(answer.len() < 100, "{}", answer.len());
}

#[test]
fn a_batch_writes_each_page_once_and_one_entry_few() {
    let mut rig = Rig::of((0..100_000).map(place));
    rig.insert(place(100_001));
    let (records, bytes) = rig.write();
    assert!(records <= 4 && bytes <= 4 * 3_600, "{records} pages, {bytes} bytes");
    assert!((100_002..105_002).all(|n| rig.insert(place(n))));
    let (records, _) = rig.write();
    assert!(records <= 5_000 / 40, "{records} pages for 5,000 entries");
}

#[test]
fn memory_holds_few_pages_however_many_there_are() {
    let mut rig = Rig::of((0..300_000).map(place));
    rig.reopen();
    assert!(rig.pages.known_bytes() <= 8 * 1024, "{} after opening", rig.pages.known_bytes());
    assert_eq!(rig.all().len(), 300_000);
    let (bytes, stored) = (rig.pages.known_bytes(), rig.memory.content().len());
    assert!(bytes <= 2 * 1024 * 1024 && rig.pages.changed() == 0, "{bytes} bytes of {stored} pages");
}

#[test]
fn a_page_that_is_missing_or_senseless_is_said_to_be() {
    for (value, at_start) in [(None, false), (Some(vec![9; 50]), true)] {
        let mut rig = Rig::of((0..50_000).map(place));
        let keys: Vec<Key> = rig.memory.content().into_keys().collect();
        for key in keys {
            if key.suffix != 0_u64.to_be_bytes() || at_start {
                rig.memory.write(&[(key, value.clone())].into_iter().collect());
            }
        }
        rig.pages = Pages::default();
        let damaged = |error: EngineError| matches!(error, EngineError::IndexDamaged);
        assert!(damaged(rig.with(|tree, shelf| tree.contains(&place(3), shelf)).unwrap_err()));
        assert!(damaged(rig.with(|tree, shelf| tree.insert(place(60_000), shelf)).unwrap_err()));
        assert!(damaged(rig.with(|tree, shelf| tree.remove(&place(3), shelf)).unwrap_err()));
        assert!(damaged(rig.with(|tree, shelf| reconcile::begin(tree, shelf)).unwrap_err()));
        assert_eq!(rig.pages.changed(), 0, "nothing is half changed");
        assert_eq!(rig.with(|_, shelf| Tree::open(NAME, shelf)).is_err(), at_start);
    }
}
