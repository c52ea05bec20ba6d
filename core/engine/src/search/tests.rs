//! The index against what it is about: looking through all texts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use clave_crdt::{Actor, DocumentKind};
use proptest::prelude::*;

use super::columns::Column;
use super::query::phrases;
use super::rank::{Scorer, Stats};
use super::words::{terms, words};
use super::*;
use crate::desk::View;
use crate::fuzzing::Memory;
use crate::{EngineError, Keyspace};

const DAY_MS: u64 = 24 * 3_600_000;
const NOW_MS: u64 = 20_000 * DAY_MS;

/// A device's store with the indexes of its circles, and the same as plain lists.
struct Desk {
    memory: Arc<Memory>,
    view: View,
    documents: BTreeMap<(CircleId, DocumentId, DocumentKind), BTreeMap<Vec<u8>, Item>>,
}

fn circle(n: u8) -> CircleId {
    CircleId::from_bytes([n; 32])
}

fn place(n: u8) -> (DocumentId, DocumentKind) {
    (DocumentId::from_bytes([n; 16]), DocumentKind::ALL[usize::from(n) % DocumentKind::ALL.len()])
}

fn author(n: u8) -> Actor {
    Actor::new([n; 32], [n; 4], 0)
}

fn item(n: u16, by: u8, days: u64, text: &str) -> Item {
    let (author, time_ms) = (author(by), NOW_MS - days * DAY_MS - u64::from(n));
    let random = [&[0; 4], n.to_be_bytes().as_slice()].concat().try_into().expect("six bytes");
    let id = clave_crdt::MessageId::new(time_ms, random, author).as_bytes().to_vec();
    Item { id, author, time_ms, text: text.to_owned() }
}

impl Desk {
    fn new() -> Self {
        let memory = Arc::new(Memory::default());
        Self { view: View::new(memory.clone()), memory, documents: BTreeMap::new() }
    }

    fn write<T>(&mut self, circle: CircleId, write: impl FnOnce(&mut Index<'_>) -> T) -> T {
        let mut index = Index::open(circle, &self.view).expect("it reads");
        let result = write(&mut index);
        self.memory.write(&index.finish().expect("it reads").0.into_iter().collect());
        result
    }

    fn update(&mut self, circle: CircleId, place: (DocumentId, DocumentKind), changes: Vec<Change>) {
        let document = self.documents.entry((circle, place.0, place.1)).or_default();
        for change in &changes {
            match change {
                Change::Put(item) => drop(document.insert(item.id.clone(), item.clone())),
                Change::Remove(id) => drop(document.remove(id)),
            }
        }
        self.write(circle, |index| index.update(place, changes)).expect("it reads");
    }

    fn put(&mut self, circle: CircleId, place: (DocumentId, DocumentKind), items: impl IntoIterator<Item = Item>) {
        self.update(circle, place, items.into_iter().map(Change::Put).collect());
    }

    fn merge(&mut self, circle: CircleId) {
        while self.write(circle, |index| index.step()).expect("it reads") {}
    }

    fn search(&self, query: &SearchQuery) -> Result<SearchPage, EngineError> {
        run(query, NOW_MS, &self.view)
    }

    /// All pages.
    fn found(&self, query: &SearchQuery) -> Vec<SearchHit> {
        let (mut query, mut hits) = (query.clone(), Vec::new());
        loop {
            let page = self.search(&query).expect("it can be searched for");
            hits.extend(page.hits);
            query.after = page.next;
            if query.after.is_none() {
                return hits;
            }
        }
    }

    /// What should be found: score, circle, id, text; best first, equals in any order.
    fn scanned(&self, query: &SearchQuery) -> Vec<(f64, CircleId, Vec<u8>)> {
        let phrases = phrases(&query.text, query.typing).expect("it can be searched for");
        let of_circles = self.documents.iter().filter(|((circle, ..), _)| query.circles.contains(circle));
        let all = of_circles.flat_map(|(place, items)| items.values().map(move |item| (place, item)));
        let all: Vec<_> = all.filter(|(_, item)| !item.text.trim().is_empty()).collect();
        // Terms and scores are what the index is made of; which texts have the words is asked of the texts.
        let lookups: BTreeSet<_> = super::query::lookups(&phrases).into_iter().collect();
        let times = |text: &str| -> Vec<u8> {
            let terms = terms(&words(text));
            let sum = |lookup: &super::segment::Lookup| {
                terms.iter().filter(|(term, _)| lookup.is_met_by(term)).map(|(_, times)| times).sum::<u32>().min(255)
            };
            lookups.iter().map(|lookup| sum(lookup) as u8).collect()
        };
        let mut stats = Stats { now_ms: NOW_MS, found: vec![0; lookups.len()], ..Stats::default() };
        for (_, item) in &all {
            stats.items += 1;
            stats.words += words(&item.text).len() as u64;
            times(&item.text).iter().zip(&mut stats.found).for_each(|(times, found)| *found += u64::from(*times > 0));
        }
        let scorer = Scorer::new(&stats);
        let fits = |((_, document, kind), item): &(&(CircleId, DocumentId, DocumentKind), &Item)| {
            let words = words(&item.text);
            phrases.iter().all(|phrase| phrase.places(&words).next().is_some())
                && (query.documents.is_empty() || query.documents.contains(document))
                && (query.kinds.is_empty() || query.kinds.contains(kind))
                && query.devices.as_ref().is_none_or(|devices| devices.contains(&item.author.device_prefix()))
                && query.from_ms.is_none_or(|from_ms| item.time_ms >= from_ms)
                && query.until_ms.is_none_or(|until_ms| item.time_ms < until_ms)
        };
        let mut found: Vec<_> = all
            .into_iter()
            .filter(fits)
            .map(|((circle, ..), item)| {
                let words = words(&item.text).len() as u32;
                let column = Column { time_ms: item.time_ms, actor: 0, document: 0, words };
                (scorer.score(&times(&item.text), &column), *circle, item.id.clone())
            })
            .collect();
        found.sort_by(|a, b| b.0.total_cmp(&a.0));
        found
    }

    fn check(&self, query: &SearchQuery) {
        let (found, scanned) = (self.found(query), self.scanned(query));
        let scores: Vec<f64> = found.iter().map(|hit| hit.score).collect();
        let expected: Vec<f64> = scanned.iter().map(|(score, ..)| *score).collect();
        assert_eq!(scores, expected, "{query:?}");
        let mut ids: Vec<_> = found.iter().map(|hit| (hit.circle, hit.document, hit.id.clone())).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), found.len(), "nothing is found twice");
        let ids: BTreeSet<(CircleId, Vec<u8>)> = ids.into_iter().map(|(circle, _, id)| (circle, id)).collect();
        assert_eq!(ids, scanned.into_iter().map(|(_, circle, id)| (circle, id)).collect(), "{query:?}");
        for hit in &found {
            assert!(
                !hit.matches.is_empty() && hit.matches.iter().all(|range| hit.snippet.get(range.clone()).is_some())
            );
        }
    }
}

/// All records of an index but blocks of texts, which are as short as the library that deflates them can make them.
pub(crate) fn golden_records() -> Vec<u8> {
    let mut desk = Desk::new();
    let text = |n: u16| format!("message {n} {} 第{n}次会议", if n.is_multiple_of(3) { "again again" } else { "" });
    for n in 0..4 {
        let items = (n * 100..n * 100 + 100).map(|n| item(n, 1 + (n % 3) as u8, u64::from(n % 50), &text(n)));
        desk.put(circle(1), place((n % 2) as u8), items);
        desk.write(circle(1), |index| index.step()).expect("it reads");
    }
    let records =
        desk.memory.content().into_iter().filter(|(key, _)| key.keyspace == Keyspace::Search || key.suffix.is_empty());
    records.flat_map(|(key, value)| [key.scope, key.suffix, value].concat()).collect()
}

fn query(text: &str) -> SearchQuery {
    SearchQuery { circles: BTreeSet::from([circle(1), circle(2)]), ..SearchQuery::new(text, []) }
}

fn snippets(desk: &Desk, text: &str) -> Vec<String> {
    desk.found(&SearchQuery { typing: true, ..query(text) }).into_iter().map(|hit| hit.snippet).collect()
}

#[test]
fn words_are_found_in_many_scripts() {
    let mut desk = Desk::new();
    let texts = [
        "我们明天开v2发布会，请带上会议记录.md",
        "会后发布",
        "Crème brûlée à l'Équipe",
        "ПРИВЕТ всем",
        "회의록을 보냈습니다",
        "東京タワーへ行く",
        "مُحَمَّد هنا",
        "release v2 on 2026-11-22 👍🏽",
        "e-mail anna@example.com",
    ];
    desk.put(circle(1), place(0), texts.iter().zip(0..).map(|(text, n)| item(n, 1, 1, text)));
    for (text, expected) in [
        ("发布", vec![0, 1]),
        ("发布会", vec![0]),
        ("v2发布会", vec![0]),
        ("会", vec![0, 1]),
        ("布发", vec![]),
        ("会议记录.md", vec![0]),
        ("creme BRULEE", vec![2]),
        ("equipe", vec![2]),
        ("привет", vec![3]),
        ("прив", vec![3]),
        ("회의록", vec![4]),
        ("タワー", vec![5]),
        ("محمد", vec![6]),
        ("v2", vec![0, 7]),
        ("👍", vec![7]),
        ("2026-11-22", vec![7]),
        ("11-2026", vec![]),
        ("anna@exam", vec![8]),
        ("\"on 2026\"", vec![7]),
        ("\"v2 2026\"", vec![]),
        ("rel on", vec![]),
        ("on rel", vec![7]),
        ("rel ", vec![]),
    ] {
        let mut expected: Vec<&str> = expected.into_iter().map(|at: usize| texts[at]).collect();
        let mut found = snippets(&desk, text);
        expected.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn what_is_found_is_marked() {
    let mut desk = Desk::new();
    desk.put(circle(1), place(0), [item(1, 1, 1, "v2发布会: the RELEASE, the release notes")]);
    let marked = |text: &str| -> Vec<String> {
        let hit = &desk.found(&query(text))[0];
        hit.matches.iter().map(|range| hit.snippet[range.clone()].to_owned()).collect()
    };
    assert_eq!(marked("release 发布"), ["发布", "RELEASE", "release"]);
    assert_eq!(marked("\"the release\""), ["the RELEASE", "the release"]);
    assert_eq!(marked("布会 发布"), ["发布会"]);
}

#[test]
fn what_cannot_be_searched_for_says_so() {
    let desk = Desk::new();
    for (text, expected) in [
        ("", SearchError::NoWords),
        ("… !", SearchError::NoWords),
        (&"a".repeat(SEARCH_TEXT_BYTES_MAX + 1), SearchError::TooLong),
        (&"字".repeat(SEARCH_WORDS_MAX + 1), SearchError::TooLong),
    ] {
        let error = desk.search(&query(text)).expect_err("it cannot be searched for");
        assert!(matches!(error, EngineError::Search(error) if error == expected));
    }
    assert_eq!(SearchError::NoWords.to_string(), "there is nothing to search for; give a word, a number or an emoji");
    assert_eq!(SearchError::TooLong.to_string(), "that is too long to search for; give fewer words");
}

#[test]
fn pages_stay_as_they_were_while_more_comes() {
    let mut desk = Desk::new();
    let texts = |from: u16| (from..from + 700).map(|n| item(n, 1, u64::from(n) % 300, &format!("meeting {n} 会议")));
    desk.put(circle(1), place(0), texts(0));
    let first = SearchQuery { count: 30, ..query("meeting 会议") };
    let expected: Vec<Vec<u8>> = desk.found(&first).into_iter().map(|hit| hit.id).collect();
    assert_eq!(expected.len(), 700);
    let (mut next, mut ids, mut added) = (first, Vec::new(), 1_000);
    loop {
        let page = desk.search(&next).expect("it can be searched for");
        ids.extend(page.hits.into_iter().map(|hit| hit.id));
        next.after = page.next;
        if next.after.is_none() {
            break;
        }
        desk.put(circle(1), place(0), texts(added));
        desk.write(circle(1), |index| index.step()).expect("it reads");
        added += 700;
    }
    assert_eq!(ids, expected);
}

#[test]
fn nothing_stays_of_what_was_taken_out() {
    let mut desk = Desk::new();
    let texts = |n: u16| if n % 7 == 3 { format!("secretword{n} 秘密 stays") } else { format!("plain {n} 公开") };
    for n in 0..60u16 {
        desk.put(circle(1), place(0), (n * 20..n * 20 + 20).map(|n| item(n, 1, 1, &texts(n))));
        desk.write(circle(1), |index| index.step()).expect("it reads");
    }
    let ids = (0..1_200).filter(|n| n % 7 == 3).map(|n| Change::Remove(item(n, 1, 1, "").id));
    desk.update(circle(1), place(0), ids.collect());
    for text in ["secretword3", "秘密", "stays"] {
        assert_eq!(desk.found(&query(text)), [], "{text}");
    }
    assert_eq!(desk.found(&query("plain")).len(), 1_200 - 171);
    // Terms are stored as deltas, so also whole blocks are looked into.
    let segments = shelf::Shelf::new(circle(1), &desk.view).manifest().expect("it reads").segments;
    for segment in segments {
        let shelf = shelf::Shelf::new(circle(1), &desk.view);
        let directory = shelf.directory(segment.id).expect("it reads");
        assert!(!directory.iter().any(|term| term.starts_with(b"secret") || term.starts_with("秘".as_bytes())));
        for block in 0..directory.len() as u32 {
            let block = shelf.block(segment.id, block).expect("it reads").unwrap_or_default();
            for (term, _) in postings::entries(&block, segment.end - segment.first).expect("it is sound") {
                assert!(!term.starts_with(b"secret") && !term.starts_with("秘".as_bytes()));
            }
        }
    }
    desk.write(circle(1), |index| index.forget(place(0))).expect("it reads");
    desk.documents.clear();
    assert_eq!(desk.found(&query("plain")), []);
    let content = desk.memory.content();
    let texts = content.iter().filter(|(key, _)| key.keyspace == Keyspace::SearchTexts);
    assert!(texts.map(|(_, value)| value.len()).sum::<usize>() < 8, "the number of the next item");
    assert!(content.values().map(Vec::len).sum::<usize>() < 500, "the manifest and the tables: {content:?}");
    let all = clear(circle(1), &desk.view).expect("it reads");
    desk.memory.write(&all.into_iter().collect());
    assert!(desk.memory.content().is_empty());
}

#[test]
fn keys_have_no_terms() {
    let mut desk = Desk::new();
    desk.put(circle(1), place(0), (0..300).map(|n| item(n, 1, 1, "canary 金丝雀")));
    for key in desk.memory.content().into_keys() {
        let bytes = [key.scope, key.suffix].concat();
        for term in ["canary", "金"] {
            assert!(!bytes.windows(term.len()).any(|window| window == term.as_bytes()));
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Put { circle: u8, place: u8, items: Vec<(u16, u8, u64, String)> },
    Edit { at: usize, text: String },
    Remove { at: usize },
    Replace { at: usize, keep: u8 },
    Forget { at: usize },
    Merge { circle: u8 },
    Reopen,
}

fn text() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        8 => "[ab]{1,2}",
        4 => "[发布会议记录]{1,4}",
        1 => "v2[发布]{1,2}",
        1 => Just("Ünï".to_owned()),
        1 => Just("👍🏽".to_owned()),
        1 => "[a-z]{1,6}",
    ];
    prop::collection::vec(word, 0..8).prop_map(|words| words.join(" "))
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let items = prop::collection::vec((any::<u16>(), 1u8..4, 0u64..400, text()), 1..120);
    let step = prop_oneof![
        10 => (1u8..3, 0u8..6, items).prop_map(|(circle, place, items)| Step::Put { circle, place, items }),
        4 => (any::<usize>(), text()).prop_map(|(at, text)| Step::Edit { at, text }),
        4 => any::<usize>().prop_map(|at| Step::Remove { at }),
        1 => (any::<usize>(), 1u8..5).prop_map(|(at, keep)| Step::Replace { at, keep }),
        1 => any::<usize>().prop_map(|at| Step::Forget { at }),
        6 => (1u8..3).prop_map(|circle| Step::Merge { circle }),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..25)
}

fn queries() -> impl Strategy<Value = Vec<SearchQuery>> {
    let query =
        (text(), any::<bool>(), any::<bool>(), 0u8..8, prop::option::of(1u8..5), 0u8..6, (0u64..400, 0u64..400));
    let query = query.prop_map(|(text, typing, quoted, place_of, by, circles, (from, until))| {
        let text = if quoted { format!("\"{text}\"") } else { text };
        let (document, kind) = place(place_of);
        SearchQuery {
            typing,
            documents: if place_of == 1 { BTreeSet::from([document]) } else { BTreeSet::new() },
            kinds: if place_of == 2 { BTreeSet::from([kind]) } else { BTreeSet::new() },
            devices: by.map(|by| BTreeSet::from([author(by).device_prefix()])),
            from_ms: (from < 200).then_some(NOW_MS - from * DAY_MS),
            until_ms: (until < 100).then_some(NOW_MS - until * DAY_MS),
            count: 7,
            circles: if circles == 0 { BTreeSet::from([circle(1)]) } else { BTreeSet::from([circle(1), circle(2)]) },
            ..SearchQuery::new(text, [])
        }
    });
    let can = |query: &SearchQuery| phrases(&query.text, query.typing).is_ok();
    prop::collection::vec(query.prop_filter("there are words in it", can), 1..12)
}

fn take(desk: &mut Desk, step: Step) {
    let one = |desk: &Desk, at: usize| {
        let all = desk.documents.iter().flat_map(|(place, items)| items.values().map(|item| (*place, item.clone())));
        let all: Vec<_> = all.collect();
        (!all.is_empty()).then(|| all[at % all.len()].clone())
    };
    match step {
        Step::Put { circle: c, place: p, items } => {
            let items = items.iter().map(|(n, by, days, text)| item(*n, *by, *days, text));
            desk.put(circle(c), place(p), items);
        }
        Step::Edit { at, text } => {
            if let Some(((circle, document, kind), item)) = one(desk, at) {
                desk.put(circle, (document, kind), [Item { text, ..item }]);
            }
        }
        Step::Remove { at } => {
            if let Some(((circle, document, kind), item)) = one(desk, at) {
                desk.update(circle, (document, kind), vec![Change::Remove(item.id)]);
            }
        }
        Step::Replace { at, keep } => {
            if let Some((place, _)) = one(desk, at) {
                let items = desk.documents.get_mut(&place).expect("it has an item");
                let mut n = 0;
                items.retain(|_, _| {
                    n += 1;
                    n % usize::from(keep) == 0
                });
                let items = items.values().cloned().collect();
                desk.write(place.0, |index| index.replace((place.1, place.2), items)).expect("it reads");
            }
        }
        Step::Forget { at } => {
            if let Some((place, _)) = one(desk, at) {
                desk.documents.remove(&place);
                desk.write(place.0, |index| index.forget((place.1, place.2))).expect("it reads");
            }
        }
        Step::Merge { circle: c } => {
            desk.write(circle(c), |index| index.step()).expect("it reads");
        }
        Step::Reopen => desk.view = View::new(desk.memory.clone()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn the_index_finds_what_looking_through_all_finds(steps in steps(), queries in queries()) {
        let mut desk = Desk::new();
        for step in steps {
            take(&mut desk, step);
        }
        queries.iter().for_each(|query| desk.check(query));
        for n in [1, 2] {
            desk.merge(circle(n));
        }
        queries.iter().for_each(|query| desk.check(query));
    }
}
