//! Letting changes into a document: in causal order, each checked against what it builds on.
//!
//! Automerge trusts the changes it is given: it panics on some that are not sound, and takes others that would leave
//! nobody room to write. So every change is checked here first, and waits here, not in Automerge's own queue.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use automerge::Change;

use super::past::Past;
use super::{Document, Tip, rules};
use crate::change::ChangeHash;
use crate::contained::contained;
use crate::mutation::{ONE_HISTORY, off};
use crate::{Actor, ChangeFault, DocumentKind, kind};

/// The changes that are about to be applied, without content.
type Batch = BTreeMap<ChangeHash, (Actor, Tip)>;

impl Document {
    /// Applies every held change that can be, and decides between those that stand in each other's place. Whether the
    /// document is another one now.
    pub(super) fn admit(&mut self, refused: &mut Vec<(ChangeHash, ChangeFault)>) -> bool {
        let before = self.heads.clone();
        if self.admit_ready(refused) && !off(ONE_HISTORY) {
            self.settle_rivals(refused);
        } else {
            self.equivocations.clear();
        }
        self.choose_actor();
        self.heads != before
    }

    /// Applies every held change whose dependencies are here, in one call to Automerge. Whether there are some that cannot
    /// be, for the document holds another in their place: they stay held.
    pub(super) fn admit_ready(&mut self, refused: &mut Vec<(ChangeHash, ChangeFault)>) -> bool {
        let (mut ready, mut waiting) = self.sort_held();
        let tips = self.tips.clone();
        let mut rivals = Vec::new();
        let mut past = Past::new(&tips, self.held.values());
        let mut doomed = BTreeSet::new();
        let mut sound = Vec::new();
        let mut batch = Batch::new();
        while let Some(hash) = ready.pop_front() {
            let Some(change) = self.held.remove(&hash) else { continue };
            let verdict = if doomed.contains(&hash) {
                Err(ChangeFault::Dependency)
            } else {
                self.check(&change, &batch, past.as_mut())
            };
            match verdict {
                Ok(author) => {
                    let dependents = waiting.remove(&hash).unwrap_or_default();
                    self.tips.insert(author, Tip::of(&change));
                    batch.insert(hash, (author, Tip::of(&change)));
                    sound.push(change);
                    let is_ready = |change: &Change| !change.deps().iter().any(|dep| waiting.contains_key(&dep.0));
                    ready.extend(dependents.into_iter().filter(|hash| self.held.get(hash).is_some_and(is_ready)));
                }
                Err(ChangeFault::Equivocation) => rivals.push(change),
                Err(fault) => {
                    let dependents = waiting.remove(&hash).unwrap_or_default();
                    refused.push((hash, fault));
                    doomed.extend(dependents.iter().copied());
                    ready.extend(dependents);
                }
            }
        }
        if !sound.is_empty() && !self.take(&sound) {
            self.tips = tips;
            self.take_apart(sound, refused);
        }
        let has_rivals = !rivals.is_empty();
        self.held.extend(rivals.into_iter().map(|change| (change.hash().0, change)));
        has_rivals
    }

    /// Applies changes, or leaves everything as it was.
    ///
    /// Whether operations fit the document is only known once they are in it: Automerge panics on some that do not, and
    /// of others it forgets what does not fit, after which the document can be neither saved nor loaded. So a change
    /// is sound if the document can give it back unaltered. (To copy a document costs little: copies share their data.)
    fn take(&mut self, changes: &[Change]) -> bool {
        let before = self.doc.clone();
        let heads: Vec<_> = self.heads.iter().copied().map(automerge::ChangeHash).collect();
        let doc = &mut self.doc;
        // What a panic leaves behind is dropped.
        let given_back = contained(|| {
            doc.apply_changes_batch(changes.iter().cloned()).ok()?;
            Some(doc.get_changes(&heads).iter().map(Change::hash).collect::<BTreeSet<_>>())
        });
        let is_sound = given_back.flatten() == Some(changes.iter().map(Change::hash).collect());
        if is_sound {
            self.content_bytes += changes.iter().map(|change| change.raw_bytes().len()).sum::<usize>();
            self.refresh_heads();
        } else {
            self.doc = before;
        }
        is_sound
    }

    /// Applies changes some of which are not sound, and refuses those and what builds on them.
    fn take_apart(&mut self, changes: Vec<Change>, refused: &mut Vec<(ChangeHash, ChangeFault)>) {
        let mut bad = BTreeSet::new();
        let mut runs = vec![changes];
        while let Some(mut run) = runs.pop() {
            run.retain(|change| {
                let is_good = !change.deps().iter().any(|dep| bad.contains(dep));
                if !is_good {
                    refused.push((change.hash().0, ChangeFault::Dependency));
                    bad.insert(change.hash());
                }
                is_good
            });
            if run.is_empty() {
                continue;
            }
            if self.take(&run) {
                for change in run {
                    if let Some(author) = Actor::from_automerge(change.actor_id()) {
                        self.tips.insert(author, Tip::of(&change));
                    }
                }
            } else if run.len() == 1 {
                refused.push((run[0].hash().0, ChangeFault::Operations));
                bad.insert(run[0].hash());
            } else {
                let second = run.split_off(run.len() / 2);
                runs.extend([second, run]);
            }
        }
    }

    /// Sorts the held changes into those that can be applied now, and who waits for whom. Forgets those already here.
    fn sort_held(&mut self) -> (VecDeque<ChangeHash>, BTreeMap<ChangeHash, Vec<ChangeHash>>) {
        let mut held = std::mem::take(&mut self.held);
        held.retain(|hash, _| !self.knows(hash));
        let (mut ready, mut waiting) = (VecDeque::new(), BTreeMap::<_, Vec<_>>::new());
        for (hash, change) in &held {
            let unmet: Vec<_> = change.deps().iter().filter(|dep| !self.knows(&dep.0)).collect();
            if unmet.is_empty() || builds_on_another_kind(self.kind, change) {
                ready.push_back(*hash);
            }
            for dep in unmet {
                waiting.entry(dep.0).or_default().push(*hash);
            }
        }
        self.held = held;
        (ready, waiting)
    }

    /// Checks a change all of whose dependencies are here or about to be. Its author, if it is sound.
    fn check(&mut self, change: &Change, batch: &Batch, past: Option<&mut Past>) -> Result<Actor, ChangeFault> {
        if change.deps().is_empty() || builds_on_another_kind(self.kind, change) {
            return Err(ChangeFault::AnotherDocument);
        }
        let author = Actor::from_automerge(change.actor_id()).ok_or(ChangeFault::Actor)?;
        let (seq, previous) = self.tips.get(&author).map_or((0, None), |tip| (tip.seq, Some(tip.hash)));
        let is_rival = change.seq() <= seq;
        let continues = match previous {
            _ if is_rival => change.seq() == 1 || self.continues_another(author, change, batch),
            None => change.seq() == 1,
            Some(hash) => change.seq() == seq + 1 && change.deps().contains(&automerge::ChangeHash(hash)),
        };
        if !continues {
            return Err(ChangeFault::Sequence);
        }
        let mut last = 0;
        for dep in change.deps() {
            let known = batch.get(&dep.0).map(|(_, tip)| tip.last_operation);
            last =
                last.max(known.or_else(|| self.doc.get_change_meta_by_hash(dep).map(|meta| meta.max_op)).unwrap_or(0));
        }
        if change.start_op().get() != last + 1 {
            return Err(ChangeFault::Numbering);
        }
        if is_rival {
            // The rest is looked at when it is its turn to be in the document.
            return Err(ChangeFault::Equivocation);
        }
        if let Some(past) = past {
            past.check(&mut self.doc, author, change)?;
        }
        // Automerge decodes some changes that it cannot then unfold.
        contained(|| rules::check(self.kind, change)).unwrap_or(Err(ChangeFault::Operations))?;
        Ok(author)
    }
}

impl Document {
    /// Whether a change builds on its author's previous one, though that is not the last in the document.
    fn continues_another(&mut self, author: Actor, change: &Change, batch: &Batch) -> bool {
        change.deps().iter().any(|dep| {
            let here = self.doc.get_change_meta_by_hash(dep);
            let here = here.and_then(|meta| Some((Actor::from_automerge(&meta.actor)?, meta.seq)));
            let previous = here.or_else(|| batch.get(&dep.0).map(|(actor, tip)| (*actor, tip.seq)));
            previous.is_some_and(|(actor, seq)| actor == author && seq + 1 == change.seq())
        })
    }
}

fn builds_on_another_kind(kind: DocumentKind, change: &Change) -> bool {
    DocumentKind::ALL.into_iter().any(|other| other != kind && change.deps().contains(&kind::genesis_hash(other)))
}
