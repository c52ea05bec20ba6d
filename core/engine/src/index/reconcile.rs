//! The steps of range-based set reconciliation over a counted tree (A. Meyer, "Range-based set reconciliation", 2023).
//!
//! Compatible with the `negentropy` crate, byte for byte as long as nothing is too much for one message (the tests compare
//! them). Beyond that this begins at the end, where the newest entries are, and answers all that lies before as one range. The
//! crate adds up every id of a range anew for each fingerprint; here a range costs two ways down the tree.

use super::message::{Bound, Claim, Draft, Range, fingerprint, read};
use super::page::Total;
use super::pages::Shelf;
use super::tree::{Cut, Tree};
use super::{Answer, Difference, OFFERED_IDS_MAX, RECONCILE_BYTES_MAX};
use crate::{EngineError, EntryId, Refusal};

/// Into how many parts a range is cut whose fingerprints differ.
const PARTS: u64 = 16;
/// Ranges with fewer entries are listed.
const LISTED_MAX: u64 = 2 * PARTS;
/// With more entries named in one step than that, the other side lacks much.
const MUCH_NAMED: usize = 1_024;
/// What a message keeps free for the parts of one more range and for the one that stands for all the rest, in bytes.
const REST_BYTES: usize = 2_048;

/// Why a step did not work out.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The message is not in order.
    Peer(Refusal),
    /// The index could not be read.
    Own(EngineError),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Peer(refusal)
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        Self::Own(error)
    }
}

/// The first message of the side that begins.
pub(super) fn begin(tree: &Tree, shelf: &mut Shelf<'_>) -> Result<Vec<u8>, EngineError> {
    let mut step = Step::new(tree, None);
    step.cut_up((Bound::START, Total::default()), (Bound::END, tree.total()), shelf)?;
    Ok(step.draft.finish().0)
}

/// The answer of the other side.
pub(super) fn answer(tree: &Tree, message: &[u8], shelf: &mut Shelf<'_>) -> Result<Answer, Failure> {
    let mut step = Step::new(tree, None);
    if let Some(ranges) = read(message)? {
        step.take(ranges, shelf)?;
    }
    let much_since = step.much_since();
    let lacks = step.lacks;
    let (message, differs) = step.draft.finish();
    Ok(Answer { message, much_since, differs, lacks })
}

/// The reading of an answer, by the side that began.
pub(super) fn proceed(tree: &Tree, message: &[u8], shelf: &mut Shelf<'_>) -> Result<Difference, Failure> {
    let mut step = Step::new(tree, Some(Difference::default()));
    step.take(read(message)?.ok_or(Refusal::Malformed)?, shelf)?;
    let much_since = step.much_since();
    let mut difference = step.learned.unwrap_or_default();
    difference.much_since = much_since;
    let (reply, says_something) = step.draft.finish();
    difference.reply = says_something.then_some(reply);
    Ok(difference)
}

struct Step<'a> {
    tree: &'a Tree,
    draft: Draft,
    /// What the side that began finds out; none for the other.
    learned: Option<Difference>,
    /// Entries that were named to the other side as here.
    named: usize,
    /// Where the earliest range begins in which the two sides differ.
    differs_from: Cut,
    /// Whether the other side may lack something that is here. It does not if it has spoken of everything, and each range is the same
    /// on both sides or names all that is here.
    lacks: bool,
}

impl<'a> Step<'a> {
    fn new(tree: &'a Tree, learned: Option<Difference>) -> Self {
        Self { tree, draft: Draft::default(), learned, named: 0, differs_from: Cut::END, lacks: true }
    }

    /// From where on the other side lacks much, if it does.
    fn much_since(&self) -> Option<Cut> {
        let offered = self.learned.as_ref().map_or(0, |learned| learned.have.len());
        (self.named + offered > MUCH_NAMED).then_some(self.differs_from)
    }

    fn has_room(&self) -> bool {
        let offers = self.learned.as_ref().is_none_or(|learned| learned.have.len() < OFFERED_IDS_MAX);
        offers && self.draft.has_room(RECONCILE_BYTES_MAX - REST_BYTES)
    }

    /// Takes in what the other side says, from the end.
    fn take<'m>(
        &mut self,
        ranges: impl IntoIterator<Item = Range<'m>, IntoIter: DoubleEndedIterator>,
        shelf: &mut Shelf<'_>,
    ) -> Result<(), Failure> {
        let mut rest = Bound::START;
        // Where the range at hand ends and what lies before, as far as it is known from the one behind.
        let mut known: Option<(Bound, Total)> = None;
        let mut spoken_of = Some(Bound::END.cut);
        for range in ranges.into_iter().rev() {
            rest = range.to;
            spoken_of = spoken_of.filter(|from| range.claim != Claim::Skip && *from == range.to.cut);
            if !self.has_room() {
                break;
            }
            rest = range.from;
            if range.claim == Claim::Skip {
                self.draft.skip(range.to);
                continue;
            }
            let to = match known {
                Some((bound, total)) if bound == range.to => total,
                _ => self.tree.before(&range.to.cut, shelf)?,
            };
            let from = if range.from.cut == range.to.cut { to } else { self.tree.before(&range.from.cut, shelf)? };
            known = Some((range.from, from));
            if matches!(range.claim, Claim::Fingerprint(theirs) if theirs == fingerprint(&to.minus(from))) {
                self.draft.skip(range.to);
                spoken_of = spoken_of.map(|_| range.from.cut);
                continue;
            }
            self.differs_from = range.from.cut;
            match range.claim {
                Claim::Skip => {}
                Claim::Fingerprint(_) => rest = self.cut_up((range.from, from), (range.to, to), shelf)?,
                Claim::Ids(theirs) if self.learned.is_some() => rest = self.compare(&range, theirs, shelf)?,
                Claim::Ids(theirs) => {
                    let named;
                    (rest, named) = self.list(range.from, range.to, shelf)?;
                    let mut sorted = theirs.to_vec();
                    sorted.sort_unstable();
                    let has_all = named.iter().all(|id| sorted.binary_search(id.as_bytes()).is_ok());
                    spoken_of = spoken_of.filter(|_| has_all).map(|_| range.from.cut);
                }
            }
            if matches!(range.claim, Claim::Fingerprint(_)) {
                spoken_of = None;
            }
            if rest != range.from {
                break;
            }
        }
        self.lacks = spoken_of != Some(Bound::START.cut);
        if rest.cut > Bound::START.cut {
            self.lacks = true;
            let total = self.tree.before(&rest.cut, shelf)?;
            self.draft.fingerprint(rest, &total);
        }
        Ok(())
    }

    /// Says what is here in a range, in parts or by name; and gives how far back it came.
    fn cut_up(
        &mut self,
        from: (Bound, Total),
        to: (Bound, Total),
        shelf: &mut Shelf<'_>,
    ) -> Result<Bound, EngineError> {
        let entries = to.1.minus(from.1).count;
        if entries < LISTED_MAX {
            return Ok(self.list(from.0, to.0, shelf)?.0);
        }
        let (each, longer) = (entries / PARTS, entries % PARTS);
        let (mut end, mut end_total) = to;
        for part in (0..PARTS).rev() {
            let (start, start_total) = if part == 0 {
                from
            } else {
                let rank = from.1.count + part * each + part.min(longer);
                let (before, _) = self.tree.at(rank - 1, shelf)?;
                let (place, total) = self.tree.at(rank, shelf)?;
                (Bound::between(&before, &place), total)
            };
            self.draft.fingerprint(end, &end_total.minus(start_total));
            (end, end_total) = (start, start_total);
        }
        Ok(from.0)
    }

    /// Lists what is here in a range, and gives how far back it came, and what was listed.
    fn list(&mut self, from: Bound, to: Bound, shelf: &mut Shelf<'_>) -> Result<(Bound, Vec<EntryId>), EngineError> {
        let (mut ids, mut reached) = (Vec::new(), from);
        let room = (RECONCILE_BYTES_MAX - REST_BYTES).saturating_sub(self.draft.bytes()) / 32;
        let mut last = None;
        self.tree.walk_back(&to.cut, shelf, &mut |place| {
            let cut = Cut::before(place);
            if cut < from.cut {
                return false;
            }
            if ids.len() >= room {
                reached = last.unwrap_or(to);
                return false;
            }
            ids.push(place.id);
            last = Some(Bound::before(place));
            true
        })?;
        self.named += ids.len();
        self.draft.ids(to, ids.clone());
        Ok((reached, ids))
    }

    /// Finds out what either side lacks in a range that the other side listed, and gives how far back it came.
    fn compare(&mut self, range: &Range<'_>, theirs: &[[u8; 32]], shelf: &mut Shelf<'_>) -> Result<Bound, EngineError> {
        let Some(learned) = &mut self.learned else { return Ok(range.from) };
        let mut sorted: Vec<&[u8; 32]> = theirs.iter().collect();
        sorted.sort_unstable();
        let mut here = vec![false; sorted.len()];
        let (mut reached, mut last) = (range.from, None);
        self.tree.walk_back(&range.to.cut, shelf, &mut |place| {
            if Cut::before(place) < range.from.cut {
                return false;
            }
            if learned.have.len() >= OFFERED_IDS_MAX {
                reached = last.unwrap_or(range.to);
                return false;
            }
            match sorted.binary_search(&place.id.as_bytes()) {
                Ok(at) => here[at] = true,
                Err(_) => learned.have.push(place.id),
            }
            last = Some(Bound::before(place));
            true
        })?;
        // If not all of it was walked through, some of these are here all the same: nobody asks for what is here.
        let lacks = |id: &&[u8; 32]| sorted.binary_search(id).is_ok_and(|at| !std::mem::replace(&mut here[at], true));
        learned.need.extend(theirs.iter().rev().filter(lacks).map(|id| EntryId::from_bytes(*id)));
        self.draft.skip(range.to);
        Ok(reached)
    }
}
