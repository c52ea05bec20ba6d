//! Searching in what is written in circles.

use super::*;
use crate::search;
use crate::{SearchPage, SearchQuery};

impl Engine {
    /// Command: reads one document of these circles that changed since it was last read, or merges what was read. How many such
    /// documents are left; at 0 everything that is here can be found. It comes to that by itself too, when it is quiet.
    ///
    /// A step takes some milliseconds, as long as it takes to load a document of that size. What is there is searched meanwhile.
    ///
    /// # Errors
    /// If this device is not in one of the circles, or the store cannot be read.
    pub fn index_next(&mut self, circles: &BTreeSet<CircleId>, now_ms: u64) -> Result<usize, EngineError> {
        self.begin(now_ms)?;
        let mut left = Ok(0);
        for id in circles {
            let (circle, desk) = self.circle_mut(*id)?;
            left = circle.follow_next(desk);
            if !matches!(left, Ok(0)) {
                break;
            }
        }
        self.finish();
        left
    }

    /// A page of what these words find in the indexes of circles, as far as those are: see [`index_next`](Self::index_next).
    /// Loads no document.
    ///
    /// # Errors
    /// If there is nothing to search for, this device is not in one of the circles, or the store cannot be read. If an index is
    /// damaged, it is made anew from the next [`index_next`](Self::index_next) on.
    pub fn search(&mut self, query: &SearchQuery, now_ms: u64) -> Result<SearchPage, EngineError> {
        if query.circles.iter().any(|circle| !self.circles.contains_key(circle)) {
            return Err(EngineError::NoSuchCircle);
        }
        let page = search::run(query, now_ms, &self.desk.store);
        if matches!(page, Err(EngineError::Store(crate::ReadError::Damaged))) {
            self.begin(now_ms)?;
            for id in &query.circles {
                let (circle, desk) = self.circle_mut(*id)?;
                circle.begin_index_anew(desk)?;
            }
            self.finish();
            return Err(EngineError::SearchIndexDamaged);
        }
        page
    }

    /// The devices that a person has or had in a circle, as a [`SearchQuery`] names them.
    ///
    /// # Errors
    /// If this device is not in the circle.
    pub fn devices_of(&self, circle: CircleId, person: PersonId) -> Result<BTreeSet<[u8; 16]>, EngineError> {
        let log = &self.circles.get(&circle).ok_or(EngineError::NoSuchCircle)?.log;
        let theirs = log.membership().stays.keys().filter(|device| log.person_of(**device) == Some(person));
        Ok(theirs.filter_map(|device| device.as_bytes().first_chunk().copied()).collect())
    }
}

#[cfg(test)]
mod tests {
    use clave_crdt::{DocumentKind, Draft, MessageId};
    use clave_crypto::Mls;

    use super::*;
    use crate::fuzzing::Memory;

    const NOW_MS: u64 = 1_790_000_000_000;

    /// A device whose store takes so many writes and then is gone.
    struct Rig {
        memory: Arc<Memory>,
        engine: Engine,
        writes_left: usize,
    }

    impl Rig {
        fn new(writes_left: usize) -> Self {
            let memory = Arc::new(Memory::default());
            let identity = Identity::generate("Zoë", "laptop", &mut Entropy::from_seed([1; 32])).expect("plain names");
            memory.write(&identity.to_batch());
            Self { engine: Self::open(&memory), memory, writes_left }
        }

        fn open(memory: &Arc<Memory>) -> Engine {
            let identity = Identity::load(&**memory).expect("it reads").expect("it is there");
            let entropy = Entropy::from_seed([2; 32]);
            Engine::open(identity, Box::new(Mls), memory.clone(), entropy, NOW_MS).expect("it opens")
        }

        fn settle(&mut self) {
            while let Some(output) = self.engine.poll_output() {
                if let Output::Write { io, batch } = output
                    && self.writes_left > 0
                {
                    self.writes_left -= 1;
                    self.memory.write(&batch);
                    self.engine.handle_written(io, true);
                }
            }
        }

        fn change(&mut self, circle: CircleId, number: u32, change: impl FnOnce(&mut clave_crdt::Timeline<'_>)) {
            let segment = self.engine.segment(circle, number, NOW_MS).expect("it is in");
            let changed = self.engine.edit(circle, segment, DocumentKind::Timeline, NOW_MS, |document, _| {
                change(&mut document.timeline()?);
                Ok(())
            });
            changed.expect("it may write");
            self.settle();
        }

        fn index(&mut self, circles: &BTreeSet<CircleId>) {
            while self.engine.index_next(circles, NOW_MS).expect("it reads") > 0 {
                self.settle();
                if self.writes_left == 0 {
                    return;
                }
            }
            self.settle();
        }

        /// Lets a second go by in which nobody does anything.
        fn quiet(&mut self) {
            let due_at_ms = NOW_MS + 1_000;
            while self.engine.poll_timeout().is_some_and(|at_ms| at_ms <= due_at_ms) {
                self.engine.handle_tick(due_at_ms);
                self.settle();
            }
        }

        fn found(&mut self, text: &str) -> BTreeSet<MessageId> {
            let query = SearchQuery { count: 100, ..SearchQuery::new(text, self.engine.circles()) };
            let hits = self.engine.search(&query, NOW_MS).expect("it reads").hits;
            hits.into_iter().map(|hit| MessageId::from_bytes(hit.id.try_into().expect("a message"))).collect()
        }

        /// What looking through all documents finds.
        fn scanned(&mut self, text: &str) -> BTreeSet<MessageId> {
            let mut found = BTreeSet::new();
            for circle in self.engine.circles().collect::<Vec<_>>() {
                for info in self.engine.documents(circle).expect("it is in") {
                    let document = self.engine.document(circle, info.id, info.kind).expect("it loads");
                    let Ok(timeline) = document.timeline() else { continue };
                    let messages = timeline.messages(..).into_iter().filter(|message| message.body.contains(text));
                    found.extend(messages.map(|message| message.id));
                }
            }
            found
        }
    }

    /// Messages in two segments, one edited and one withdrawn; indexed in between and in the end.
    fn story(rig: &mut Rig) {
        let Ok(circle) = rig.engine.create_space("Café", NOW_MS) else { return };
        rig.settle();
        let circles = BTreeSet::from([circle]);
        let mut ids = Vec::new();
        for n in 0..6u8 {
            rig.change(circle, u32::from(n % 2), |timeline| {
                let draft = Draft::text(format!("第{n}次会议 meeting"));
                ids.push(timeline.post(NOW_MS + u64::from(n), [n; 6], &draft).expect("there is room"));
            });
            if n == 3 {
                rig.index(&circles);
            }
        }
        rig.change(circle, 0, |timeline| {
            timeline.edit(&ids[2], NOW_MS, &Draft::text("postponed")).expect("it is one's own");
        });
        rig.change(circle, 1, |timeline| timeline.withdraw(&ids[1]).expect("it is one's own"));
        rig.index(&circles);
    }

    #[test]
    fn whatever_write_is_the_last_the_index_is_like_the_documents_after_the_next_step() {
        let mut whole = Rig::new(usize::MAX);
        story(&mut whole);
        let writes = usize::MAX - whole.writes_left;
        assert_eq!(
            (whole.found("会议").len(), whole.found("meeting").len(), whole.found("postponed").len()),
            (4, 4, 1)
        );
        assert!(writes > 12, "{writes}");
        for cut in 0..=writes {
            let mut rig = Rig::new(cut);
            story(&mut rig);
            rig.engine = Rig::open(&rig.memory);
            rig.writes_left = usize::MAX;
            rig.settle();
            let circles = rig.engine.circles().collect();
            rig.index(&circles);
            for text in ["会议", "meeting", "postponed"] {
                assert_eq!(rig.found(text), rig.scanned(text), "{text}, after {cut} writes");
            }
        }
    }

    #[test]
    fn what_is_withdrawn_leaves_the_index_when_it_is_quiet_without_a_query() {
        let mut rig = Rig::new(usize::MAX);
        let circle = rig.engine.create_space("Café", NOW_MS).expect("it founds");
        rig.settle();
        let mut id = None;
        rig.change(circle, 0, |timeline| {
            id = timeline.post(NOW_MS, [1; 6], &Draft::text("机密 xyzzy")).ok();
        });
        rig.quiet();
        assert_eq!(rig.found("xyzzy").len(), 1);
        let in_index = |rig: &Rig| {
            let of_index = |key: &Key| matches!(key.keyspace, Keyspace::Search | Keyspace::SearchTexts);
            let content = rig.memory.content().into_iter().filter(|(key, _)| of_index(key));
            content.filter(|(_, value)| value.windows(5).any(|bytes| bytes == b"xyzzy")).count()
        };
        assert_eq!(in_index(&rig), 1);
        rig.change(circle, 0, |timeline| timeline.withdraw(&id.expect("it was sent")).expect("it is one's own"));
        rig.quiet();
        assert_eq!((in_index(&rig), rig.found("xyzzy").len()), (0, 0));
    }

    #[test]
    fn an_index_that_is_lost_or_damaged_is_made_anew() {
        let mut rig = Rig::new(usize::MAX);
        story(&mut rig);
        let circle = rig.engine.circles().next().expect("there is one");
        let (circles, expected) = (BTreeSet::from([circle]), rig.found("meeting"));
        let of_index = |key: &Key| matches!(key.keyspace, Keyspace::Search | Keyspace::SearchTexts);
        for damaged in [None, Some(vec![0xff; 3])] {
            let mut batch = Batch::default();
            for key in rig.memory.content().into_keys().filter(of_index) {
                match &damaged {
                    Some(bytes) => batch.put(key, bytes.clone()),
                    None => batch.remove(key),
                }
            }
            rig.memory.write(&batch);
            rig.engine = Rig::open(&rig.memory);
            rig.settle();
            rig.index(&circles);
            if damaged.is_some() {
                let query = SearchQuery::new("meeting", [circle]);
                assert!(matches!(rig.engine.search(&query, NOW_MS), Err(EngineError::SearchIndexDamaged)));
                rig.index(&circles);
            }
            assert_eq!(rig.found("meeting"), expected);
        }
    }

    #[test]
    fn circles_that_are_not_known_are_not_searched() {
        let mut rig = Rig::new(usize::MAX);
        let query = SearchQuery::new("x", [CircleId::from_bytes([7; 32])]);
        assert!(matches!(rig.engine.search(&query, NOW_MS), Err(EngineError::NoSuchCircle)));
    }
}
