//! Two different changes in one place: which of them is in the document.
//!
//! An author who writes two changes under one sequence number (a device whose store was copied, or one that lies) has two
//! histories, and Automerge can hold one. All that anybody wrote is kept; which of the two is shown follows from the
//! set of changes alone, so that all devices show the same:
//!
//! 1. A change that builds on both is in nobody's document.
//! 2. Of the others, the one on which more *other devices* have built is shown, so that as little honest work as possible has to
//!    wait; of equals, the one with the lesser hash.
//! 3. Places are decided one after another, those nearest to the beginning of the document first.
//!
//! What builds on the other waits, by whomever it is: that is what is lost, until somebody writes it again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use automerge::Change;

use super::Document;
use crate::change::ChangeHash;
use crate::{Actor, ChangeFault, kind};

/// An author wrote several changes in one place. The changes prove it: each is signed in the entry that brought it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Equivocation {
    /// The author.
    pub actor: Actor,
    /// The place among its changes.
    pub seq: u64,
    /// The change that is in the document, unless what it builds on had to give way itself.
    pub shown: Option<ChangeHash>,
    /// The changes that wait, and with them all that builds on them; sorted.
    pub waiting: Vec<ChangeHash>,
}

/// A change without its content.
struct Node {
    actor: Actor,
    seq: u64,
    deps: Vec<ChangeHash>,
}

/// Which changes of a set go together.
struct Choice {
    /// Those, with all that they build on.
    chosen: BTreeSet<ChangeHash>,
    equivocations: Vec<Equivocation>,
}

impl Document {
    /// The authors who are known to have written several changes in one place, what waits for that reason, and what
    /// is shown instead.
    #[must_use]
    pub fn equivocations(&self) -> &[Equivocation] {
        &self.equivocations
    }

    /// After a change was found to stand in the place of another: decides, and builds the document anew if others are
    /// to be in it than are.
    pub(super) fn settle_rivals(&mut self, refused: &mut Vec<(ChangeHash, ChangeFault)>) {
        loop {
            let nodes = self.nodes();
            let choice = choose(&nodes);
            let is_settled = nodes.keys().all(|hash| self.held.contains_key(hash) != choice.chosen.contains(hash));
            self.equivocations = choice.equivocations;
            if is_settled {
                return;
            }
            // What turns out not to be sound is refused, and then it is as if it had never come: hence the loop.
            self.rebuild(|hash| choice.chosen.contains(hash), refused);
        }
    }

    /// Builds the document anew of those changes, its own and held ones, that `belongs` says; the rest is held.
    pub(super) fn rebuild(
        &mut self,
        belongs: impl Fn(&ChangeHash) -> bool,
        refused: &mut Vec<(ChangeHash, ChangeFault)>,
    ) {
        let mut changes = std::mem::take(&mut self.held);
        let shown = self.doc.get_changes(&[kind::genesis_hash(self.kind)]);
        changes.extend(shown.into_iter().map(|change| (change.hash().0, change)));
        let (chosen, waiting) = changes.into_iter().partition(|(hash, _)| belongs(hash));
        let mut fresh = Self::new(self.kind, self.actor);
        fresh.held = chosen;
        fresh.admit_ready(refused);
        fresh.held.extend::<BTreeMap<ChangeHash, Change>>(waiting);
        (self.doc, self.heads, self.tips, self.held) = (fresh.doc, fresh.heads, fresh.tips, fresh.held);
        self.earlier = None;
    }

    fn nodes(&mut self) -> BTreeMap<ChangeHash, Node> {
        let node = |actor: &automerge::ActorId, seq, deps: &[automerge::ChangeHash]| Node {
            actor: Actor::from_automerge(actor).unwrap_or(Actor::GENESIS),
            seq,
            deps: deps.iter().map(|dep| dep.0).collect(),
        };
        let mut nodes: BTreeMap<_, _> = self
            .doc
            .get_changes_meta(&[])
            .iter()
            .map(|meta| (meta.hash.0, node(&meta.actor, meta.seq, &meta.deps)))
            .collect();
        let held = self.held.iter().map(|(hash, change)| (*hash, node(change.actor_id(), change.seq(), change.deps())));
        nodes.extend(held);
        nodes
    }
}

/// Applies the rule at the head of this module.
fn choose(nodes: &BTreeMap<ChangeHash, Node>) -> Choice {
    let (children, depths) = sorted(nodes);
    let mut alive: BTreeSet<ChangeHash> = depths.keys().copied().collect();
    let mut places = BTreeMap::<(Actor, u64), Vec<ChangeHash>>::new();
    for hash in &alive {
        places.entry((nodes[hash].actor, nodes[hash].seq)).or_default().push(*hash);
    }
    let mut contested: Vec<_> = places.into_iter().filter(|(_, rivals)| rivals.len() > 1).collect();
    contested.sort_by_key(|(place, rivals)| (rivals.iter().map(|hash| depths[hash]).min(), *place));
    for (place, rivals) in &contested {
        let mut builds_on = Vec::new();
        let mut seen = BTreeSet::new();
        let mut contradictory = BTreeSet::new();
        for rival in rivals.iter().filter(|rival| alive.contains(*rival)) {
            let those = descendants(*rival, &children, &alive);
            contradictory.extend(those.intersection(&seen).copied());
            seen.extend(those.iter().copied());
            builds_on.push((*rival, those));
        }
        alive.retain(|hash| !contradictory.contains(hash));
        let voters = |those: &BTreeSet<ChangeHash>| {
            let sound = those.difference(&contradictory);
            let voters: BTreeSet<_> = sound.map(|hash| nodes[hash].actor.device_prefix()).collect();
            voters.into_iter().filter(|device| *device != place.0.device_prefix()).count()
        };
        builds_on.retain(|(rival, _)| !contradictory.contains(rival));
        // The least of (fewer voters, hash), the number of voters turned round.
        builds_on.sort_by_cached_key(|(rival, those)| (usize::MAX - voters(those), *rival));
        for (_, those) in builds_on.iter().skip(1) {
            alive.retain(|hash| !those.contains(hash));
        }
    }
    let equivocations = contested
        .into_iter()
        .map(|((actor, seq), rivals)| {
            let (shown, waiting) = rivals.into_iter().partition::<Vec<_>, _>(|hash| alive.contains(hash));
            Equivocation { actor, seq, shown: shown.first().copied(), waiting }
        })
        .collect();
    Choice { chosen: alive, equivocations }
}

type Children = BTreeMap<ChangeHash, Vec<ChangeHash>>;

/// Who builds on whom; and how far from the genesis each change is, if all that it builds on is there and it continues its
/// author's changes.
fn sorted(nodes: &BTreeMap<ChangeHash, Node>) -> (Children, BTreeMap<ChangeHash, u64>) {
    let mut children = Children::new();
    let mut unmet = BTreeMap::new();
    let mut ready = VecDeque::new();
    for (hash, node) in nodes {
        for dep in &node.deps {
            children.entry(*dep).or_default().push(*hash);
        }
        if node.deps.is_empty() {
            ready.push_back(*hash);
        }
        unmet.insert(*hash, node.deps.len());
    }
    let mut depths = BTreeMap::new();
    while let Some(hash) = ready.pop_front() {
        let node = &nodes[&hash];
        let continues = |dep: &ChangeHash| nodes[dep].actor == node.actor && nodes[dep].seq + 1 == node.seq;
        if node.seq > 1 && !node.deps.iter().any(continues) {
            continue;
        }
        let depth = node.deps.iter().filter_map(|dep| depths.get(dep)).max().map_or(0, |depth: &u64| depth + 1);
        depths.insert(hash, depth);
        for child in children.get(&hash).into_iter().flatten() {
            let unmet = unmet.get_mut(child).expect("every change has its number");
            *unmet -= 1;
            if *unmet == 0 {
                ready.push_back(*child);
            }
        }
    }
    (children, depths)
}

/// A change and all that builds on it.
fn descendants(start: ChangeHash, children: &Children, alive: &BTreeSet<ChangeHash>) -> BTreeSet<ChangeHash> {
    let mut found = BTreeSet::new();
    let mut next = vec![start];
    while let Some(hash) = next.pop() {
        if alive.contains(&hash) && found.insert(hash) {
            next.extend(children.get(&hash).into_iter().flatten());
        }
    }
    found
}
