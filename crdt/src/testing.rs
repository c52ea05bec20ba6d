//! A network of a few devices that deliver late and out of order, for property tests.

use proptest::prelude::*;

use crate::{Actor, Document, DocumentKind};

/// Devices with one document each, and what is on its way to each.
pub(crate) struct Net {
    pub(crate) documents: Vec<Document>,
    inboxes: Vec<Vec<Vec<u8>>>,
    time_ms: u64,
}

/// What happens next. The numbers are reduced to what there is.
#[derive(Clone, Debug)]
pub(crate) enum Step<Edit> {
    /// A device edits.
    Edit(u8, Edit),
    /// A device takes in part of what is on its way to it, in an order that the seed says.
    Deliver(u8, u64),
}

/// Histories of up to this many steps.
pub(crate) fn steps<Edit: Clone + std::fmt::Debug>(
    edit: impl Strategy<Value = Edit> + Clone,
    count: usize,
) -> impl Strategy<Value = Vec<Step<Edit>>> {
    let step = prop_oneof![
        3 => (any::<u8>(), edit).prop_map(|(at, edit)| Step::Edit(at, edit)),
        1 => (any::<u8>(), any::<u64>()).prop_map(|(at, seed)| Step::Deliver(at, seed)),
    ];
    proptest::collection::vec(step, 1..count)
}

impl Net {
    pub(crate) fn new(kind: DocumentKind, devices: u8) -> Self {
        let documents: Vec<_> = (1..=devices).map(|n| Document::new(kind, Actor::new([n; 32], [0; 4], 0))).collect();
        let inboxes = vec![Vec::new(); documents.len()];
        Self { documents, inboxes, time_ms: 1_790_000_000_000 }
    }

    /// Runs a history to its end, then delivers everything: all devices must agree.
    pub(crate) fn run<Edit>(&mut self, steps: Vec<Step<Edit>>, mut edit: impl FnMut(&mut Document, u64, Edit)) {
        for step in steps {
            match step {
                Step::Edit(at, what) => {
                    let at = usize::from(at) % self.documents.len();
                    self.time_ms += 7;
                    edit(&mut self.documents[at], self.time_ms, what);
                    self.send(at);
                }
                Step::Deliver(at, seed) => {
                    let at = usize::from(at) % self.documents.len();
                    let inbox = &mut self.inboxes[at];
                    shuffle(inbox, seed);
                    let kept = inbox.len() / 3;
                    let taken = inbox.split_off(kept);
                    let applied = self.documents[at].apply(&taken).expect("honest changes apply");
                    assert_eq!(applied.refused, vec![]);
                }
            }
        }
        for at in 0..self.documents.len() {
            shuffle(&mut self.inboxes[at], 99);
            let applied =
                self.documents[at].apply(&std::mem::take(&mut self.inboxes[at])).expect("honest changes apply");
            assert_eq!((applied.missing, applied.refused), (0, vec![]));
            assert_eq!(self.documents[at].heads(), self.documents[0].heads());
        }
    }

    /// Commits what a device edited and puts it on its way to the others.
    pub(crate) fn send(&mut self, from: usize) {
        let Some(change) = self.documents[from].commit(self.time_ms) else { return };
        for (at, inbox) in self.inboxes.iter_mut().enumerate() {
            if at != from {
                inbox.push(change.clone());
            }
        }
    }
}

pub(crate) fn shuffle<T>(items: &mut [T], seed: u64) {
    let mut random = seed;
    for end in (1..items.len()).rev() {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        items.swap(end, usize::try_from(random >> 33).expect("31 bits fit") % (end + 1));
    }
}
