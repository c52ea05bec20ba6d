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
use crate::{Actor, ChangeFault, DocumentKind, kind};

/// The last operation of each change that is about to be applied.
type LastOperations = BTreeMap<ChangeHash, u64>;

impl Document {
    /// Applies every held change whose dependencies are here, in one call to Automerge. Whether there were any.
    pub(super) fn admit(&mut self, refused: &mut Vec<(ChangeHash, ChangeFault)>) -> bool {
        let (mut ready, mut waiting) = self.sort_held();
        let (before, tips) = (self.heads.clone(), self.tips.clone());
        let mut past = Past::new(&tips, self.held.values());
        let mut doomed = BTreeSet::new();
        let mut sound = Vec::new();
        let mut last_operations = LastOperations::new();
        while let Some(hash) = ready.pop_front() {
            let Some(change) = self.held.remove(&hash) else { continue };
            let verdict = if doomed.contains(&hash) {
                Err(ChangeFault::Dependency)
            } else {
                self.check(&change, &last_operations, past.as_mut())
            };
            let dependents = waiting.remove(&hash).unwrap_or_default();
            match verdict {
                Ok(author) => {
                    self.tips.insert(author, Tip::of(&change));
                    last_operations.insert(hash, change.max_op());
                    sound.push(change);
                    let is_ready = |change: &Change| !change.deps().iter().any(|dep| waiting.contains_key(&dep.0));
                    ready.extend(dependents.into_iter().filter(|hash| self.held.get(hash).is_some_and(is_ready)));
                }
                Err(fault) => {
                    refused.push((hash, fault));
                    doomed.extend(dependents.iter().copied());
                    ready.extend(dependents);
                }
            }
        }
        if sound.is_empty() {
            return false;
        }
        if !self.take(&sound) {
            self.tips = tips;
            self.take_apart(sound, refused);
        }
        self.heads != before
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
    fn check(
        &mut self,
        change: &Change,
        last_operations: &LastOperations,
        past: Option<&mut Past>,
    ) -> Result<Actor, ChangeFault> {
        if change.deps().is_empty() || builds_on_another_kind(self.kind, change) {
            return Err(ChangeFault::AnotherDocument);
        }
        let author = Actor::from_automerge(change.actor_id()).ok_or(ChangeFault::Actor)?;
        let (seq, previous) = self.tips.get(&author).map_or((0, None), |tip| (tip.seq, Some(tip.hash)));
        if change.seq() <= seq {
            return Err(ChangeFault::Equivocation);
        }
        let continues = previous.is_none_or(|hash| change.deps().contains(&automerge::ChangeHash(hash)));
        if change.seq() != seq + 1 || !continues {
            return Err(ChangeFault::Sequence);
        }
        let mut last = 0;
        for dep in change.deps() {
            let known = last_operations.get(&dep.0).copied();
            last =
                last.max(known.or_else(|| self.doc.get_change_meta_by_hash(dep).map(|meta| meta.max_op)).unwrap_or(0));
        }
        if change.start_op().get() != last + 1 {
            return Err(ChangeFault::Numbering);
        }
        if let Some(past) = past {
            past.check(&mut self.doc, author, change)?;
        }
        // Automerge decodes some changes that it cannot then unfold.
        contained(|| rules::check(self.kind, change)).unwrap_or(Err(ChangeFault::Operations))?;
        Ok(author)
    }
}

fn builds_on_another_kind(kind: DocumentKind, change: &Change) -> bool {
    DocumentKind::ALL.into_iter().any(|other| other != kind && change.deps().contains(&kind::genesis_hash(other)))
}
