//! What of a document is shown, when some of its authors are no longer in standing.
//!
//! Automerge cannot forget a change that others built on. So what an author wrote who is not in standing is *set aside*,
//! unless it is named as kept or a change of an author in standing builds on it, which vouches for it:
//!
//! - *roots* are the changes of authors in standing and those that are kept;
//! - *accepted* are the roots and all that they build on; the document shows these and no others.
//!
//! So the view follows from the set of changes and from who is in standing, never from the order of arrival, and nothing
//! that an author in standing wrote is ever lost by somebody else's removal.

use std::collections::{BTreeMap, BTreeSet};

use automerge::Change;
use automerge::transaction::CommitOptions;

use super::{Document, Tip, time_s};
use crate::change::{self, ChangeHash};
use crate::mutation::{VOUCHING, off};
use crate::{Actor, ChangeInfo, CrdtError, kind};

impl Document {
    /// Shows what is accepted and sets the rest aside. Whether the document is another one now.
    ///
    /// It costs next to nothing while every author is in standing; a look at every change if one is not; and the building
    /// of the document anew if what is shown changes. What is applied later enters the document as usual, and what it
    /// builds on with it: so review it again if a later change is by an author not in standing, or if standings changed.
    ///
    /// # Errors
    ///
    /// [`CrdtError::Uncommitted`] while there are local edits.
    pub fn review(
        &mut self,
        in_standing: impl Fn(&Actor) -> bool,
        kept: impl Fn(&ChangeHash) -> bool,
    ) -> Result<bool, CrdtError> {
        if self.is_edited() {
            return Err(CrdtError::Uncommitted);
        }
        let authors: BTreeSet<Actor> = self.authors();
        let out: BTreeSet<Actor> = authors.into_iter().filter(|actor| !in_standing(actor)).collect();
        if out.is_empty() && self.set_aside.is_empty() {
            return Ok(false);
        }
        let before = self.heads.clone();
        self.held.append(&mut self.set_aside);
        let accepted = self.accepted(&out, kept);
        self.set_aside = self.held.extract_if(.., |hash, _| !accepted.contains(hash)).collect();
        let genesis = kind::genesis_hash(self.kind).0;
        let shown = self.doc.get_changes_meta(&[]);
        let is_shown_too_much = shown.iter().any(|meta| meta.hash.0 != genesis && !accepted.contains(&meta.hash.0));
        let mut refused = Vec::new();
        if is_shown_too_much {
            self.rebuild(|hash| accepted.contains(hash), &mut refused);
            let rest = self.held.extract_if(.., |hash, _| !accepted.contains(hash));
            self.set_aside.extend(rest);
        }
        self.equivocations.clear();
        self.admit(&mut refused);
        Ok(self.heads != before)
    }

    /// The changes that are set aside, in order of author and place.
    #[must_use]
    pub fn set_aside(&self) -> Vec<ChangeInfo> {
        let mut infos: Vec<_> = self.set_aside.values().map(change::info).collect();
        infos.sort_by_key(|info| (info.actor, info.seq, info.hash));
        infos
    }

    /// How many changes are set aside.
    #[must_use]
    pub fn set_aside_len(&self) -> usize {
        self.set_aside.len()
    }

    /// Takes over what is set aside: makes an empty change that builds on it, whose author thereby vouches for it. Its
    /// bytes are for others to [`apply`](Self::apply). `None` if nothing is set aside, or nothing of it can be shown.
    ///
    /// # Errors
    ///
    /// [`CrdtError::Uncommitted`] while there are local edits.
    pub fn vouch(&mut self, now_ms: u64) -> Result<Option<Vec<u8>>, CrdtError> {
        if self.is_edited() {
            return Err(CrdtError::Uncommitted);
        }
        let before = self.heads.clone();
        let taken: BTreeSet<ChangeHash> = self.set_aside.keys().copied().collect();
        self.held.append(&mut self.set_aside);
        self.admit(&mut Vec::new());
        // What has to wait for another reason was not taken over.
        self.set_aside = self.held.extract_if(.., |hash, _| taken.contains(hash)).collect();
        if self.heads == before {
            return Ok(None);
        }
        let hash = self.doc.empty_change(CommitOptions::default().with_time(time_s(now_ms)));
        let change = self.doc.get_change_by_hash(&hash).ok_or(CrdtError::Internal("an empty change is not there"))?;
        self.tips.insert(self.actor, Tip::of(&change));
        self.refresh_heads();
        Ok(Some(change.raw_bytes().to_vec()))
    }

    /// Everybody who wrote any of it, shown or not.
    fn authors(&self) -> BTreeSet<Actor> {
        let waiting = self.held.values().chain(self.set_aside.values());
        let waiting = waiting.filter_map(|change| Actor::from_automerge(change.actor_id()));
        self.tips.keys().copied().chain(waiting).filter(|actor| *actor != Actor::GENESIS).collect()
    }

    /// The roots and all that they build on.
    fn accepted(&mut self, out: &BTreeSet<Actor>, kept: impl Fn(&ChangeHash) -> bool) -> BTreeSet<ChangeHash> {
        let mut deps = BTreeMap::new();
        let mut next = Vec::new();
        let mut note = |hash: ChangeHash, actor: Option<Actor>, on: &[automerge::ChangeHash]| {
            if actor.is_some_and(|actor| !out.contains(&actor)) || kept(&hash) {
                next.push(hash);
            }
            deps.insert(hash, on.iter().map(|dep| dep.0).collect::<Vec<_>>());
        };
        for meta in self.doc.get_changes_meta(&[]) {
            note(meta.hash.0, Actor::from_automerge(&meta.actor), &meta.deps);
        }
        for (hash, change) in &self.held {
            note(*hash, Actor::from_automerge(change.actor_id()), change.deps());
        }
        let mut accepted = BTreeSet::new();
        while let Some(hash) = next.pop() {
            if deps.contains_key(&hash) && accepted.insert(hash) {
                next.extend(deps[&hash].iter().filter(|_| !off(VOUCHING)));
            }
        }
        accepted
    }

    /// What was set aside and is built on by what arrived: vouched for.
    pub(super) fn take_back(&mut self) {
        if self.set_aside.is_empty() || off(VOUCHING) {
            return;
        }
        let mut next: Vec<ChangeHash> = self.held.values().flat_map(dependencies).collect();
        while let Some(hash) = next.pop() {
            if let Some(change) = self.set_aside.remove(&hash) {
                next.extend(dependencies(&change));
                self.held.insert(hash, change);
            }
        }
    }
}

fn dependencies(change: &Change) -> impl Iterator<Item = ChangeHash> {
    change.deps().iter().map(|dep| dep.0)
}
