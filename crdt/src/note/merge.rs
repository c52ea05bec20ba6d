//! Bringing a whole edited Markdown text into a note that others may have changed meanwhile.
//!
//! Four texts meet: the note as it was when the editor was opened (*opened*), the same as Markdown showed it (*shown*:
//! less than opened, where Markdown cannot say everything), what the editor was left with (*edited*), and the note as
//! it is *now*. The difference between shown and edited is what the person did. It is carried back to opened, which
//! leaves alone whatever was not shown, and from there to now by what Automerge says came and went.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use imara_diff::{Algorithm, Diff, InternedInput, Interner};

use super::model::{Head, Token, Tokens};

/// What to do to the note as it is now.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// In order of position; each holds for the text before any of them was done.
    pub(super) steps: Vec<Step>,
    /// What will stand at each position afterwards.
    pub(super) after: Vec<Element>,
}

#[derive(Debug)]
pub(super) enum Step {
    /// Insert a stretch of the edited text.
    Insert { at: usize, edited: Range<usize> },
    /// Delete a range.
    Delete(Range<usize>),
    /// Change what the block marker here says.
    Update { at: usize, head: Head },
}

/// Where an element of the text comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Element {
    /// Its place in the edited text, if it is there.
    pub(super) edited: Option<usize>,
    /// Its place in the shown text, if it was there.
    pub(super) shown: Option<usize>,
}

/// For each of `after`, its partner in `before`: equal tokens, or a block marker that says something else now. Partners
/// stand in the same order in both.
pub(super) fn align(before: &[Token], after: &[Token]) -> Vec<Option<usize>> {
    let head = before.iter().zip(after).take_while(|(a, b)| a == b).count();
    let rest = before.len().min(after.len()) - head;
    let tail = before.iter().rev().zip(after.iter().rev()).take(rest).take_while(|(a, b)| a == b).count();
    let mut partners: Vec<Option<usize>> = (0..head).map(Some).collect();
    partners.resize(after.len() - tail, None);
    partners.extend((before.len() - tail..before.len()).map(Some));

    let (old, new) = (&before[head..before.len() - tail], &after[head..after.len() - tail]);
    let (mut old_at, mut new_at) = (0, 0);
    for hunk in hunks(old, new) {
        for (a, b) in (old_at..hunk.0.start).zip(new_at..hunk.1.start) {
            partners[head + b] = Some(head + a);
        }
        let markers = |tokens: &[Token], range: Range<usize>| {
            range.filter(|at| matches!(tokens[*at], Token::Block(_))).collect::<Vec<_>>()
        };
        for (a, b) in markers(old, hunk.0.clone()).into_iter().zip(markers(new, hunk.1.clone())) {
            partners[head + b] = Some(head + a);
        }
        (old_at, new_at) = (hunk.0.end, hunk.1.end);
    }
    for (a, b) in (old_at..old.len()).zip(new_at..new.len()) {
        partners[head + b] = Some(head + a);
    }
    partners
}

type Hunk = (Range<usize>, Range<usize>);

/// The changed stretches. Those that only a letter or two keep apart are joined: what remains of a word that was
/// replaced would be scattered through the new one.
fn hunks(old: &[Token], new: &[Token]) -> Vec<Hunk> {
    const SCRAPS: usize = 2;
    let mut input = InternedInput { before: Vec::new(), after: Vec::new(), interner: Interner::new(0) };
    input.update_before(old.iter());
    input.update_after(new.iter());
    let mut joined: Vec<Hunk> = Vec::new();
    for hunk in Diff::compute(Algorithm::Myers, &input).hunks() {
        let range = |range: Range<u32>| range.start as usize..range.end as usize;
        let (before, after) = (range(hunk.before), range(hunk.after));
        if let Some((last_before, last_after)) = joined.last_mut() {
            let gap = last_before.end..before.start;
            let size = |a: &Range<usize>, b: &Range<usize>| a.len().max(b.len());
            let is_scrap = gap.len() <= SCRAPS
                && gap.len() < size(last_before, last_after).min(size(&before, &after))
                && old[gap].iter().all(|token| matches!(token, Token::Char(_)));
            if is_scrap {
                last_before.end = before.end;
                last_after.end = after.end;
                continue;
            }
        }
        joined.push((before, after));
    }
    joined
}

/// Plans the merge. `origins` says of each position of the text now where it was in the opened text, if it was there.
pub(super) fn plan(opened: &Tokens, shown: &Tokens, edited: &Tokens, origins: &[Option<usize>]) -> Plan {
    let opened_of_shown = align(&opened.tokens, &shown.tokens);
    let shown_of_edited = align(&shown.tokens, &edited.tokens);
    let edited_of_shown = inverse(&shown_of_edited, shown.len());
    let shown_of_opened = inverse(&opened_of_shown, opened.len());

    let mut places = vec![None; opened.len()];
    for (place, origin) in origins.iter().enumerate() {
        if let Some(origin) = origin {
            places[*origin] = Some(place);
        }
    }

    // What is new stands behind what it follows, or where that was.
    let mut insertions: Vec<(usize, Range<usize>)> = Vec::new();
    let mut followed = HashSet::new();
    let mut behind = Behind { places: &places, opened: 0, place: 0 };
    let mut last = None;
    for (at, shown_at) in shown_of_edited.iter().enumerate() {
        match shown_at.map(|shown_at| (shown_at, opened_of_shown[shown_at])) {
            Some((_, Some(opened_at))) => {
                behind.pass(opened_at + 1);
                last = Some(opened_at);
            }
            // Something that Markdown shows and the note does not have (a paragraph where there is an empty line): if
            // it is as it was shown, it stays away.
            Some((shown_at, None)) if shown.tokens[shown_at] == edited.tokens[at] => {
                let next = opened_of_shown[shown_at..].iter().flatten().next();
                behind.pass(next.map_or(opened.len(), |next| *next));
            }
            _ => {
                followed.insert(last);
                match insertions.last_mut() {
                    Some((place, range)) if *place == behind.place && range.end == at => range.end += 1,
                    _ => insertions.push((behind.place, at..at + 1)),
                }
            }
        }
    }

    let dropped = dropped(opened, &shown_of_opened, &edited_of_shown, &followed);
    let now: Vec<(Element, bool)> = origins
        .iter()
        .map(|origin| {
            let shown = origin.and_then(|at| shown_of_opened[at]);
            let edited = shown.and_then(|at| edited_of_shown[at]);
            (Element { edited, shown }, origin.is_some_and(|at| dropped[at]))
        })
        .collect();
    lay_out(&now, insertions, new_heads(&now, shown, edited))
}

fn inverse(partners: &[Option<usize>], len: usize) -> Vec<Option<usize>> {
    let mut inverse = vec![None; len];
    for (at, partner) in partners.iter().enumerate() {
        if let Some(partner) = partner {
            inverse[*partner] = Some(at);
        }
    }
    inverse
}

/// Follows the positions of the opened text to the places right behind them now.
struct Behind<'a> {
    places: &'a [Option<usize>],
    opened: usize,
    place: usize,
}

impl Behind<'_> {
    /// Goes on to before a position of the opened text.
    fn pass(&mut self, opened: usize) {
        while self.opened < opened {
            if let Some(place) = self.places[self.opened] {
                self.place = place + 1;
            }
            self.opened += 1;
        }
    }
}

/// Which positions of the opened text go: what was shown and is not in the edited text; and of what was not shown, what
/// stood amid that, and white space at edges of lines that were edited, which would come to light.
fn dropped(
    opened: &Tokens,
    shown_of_opened: &[Option<usize>],
    edited_of_shown: &[Option<usize>],
    followed: &HashSet<Option<usize>>,
) -> Vec<bool> {
    let len = opened.len();
    let shown = |at: usize| shown_of_opened[at].is_some();
    let (mut before, mut after) = (vec![None; len], vec![None; len]);
    for at in 1..len {
        before[at] = if shown(at - 1) { Some(at - 1) } else { before[at - 1] };
    }
    for at in (1..len).rev() {
        after[at - 1] = if shown(at) { Some(at) } else { after[at] };
    }
    let is_deleted = |at: usize| shown_of_opened[at].is_some_and(|shown_at| edited_of_shown[shown_at].is_none());
    let is_text = |at: Option<usize>| at.is_some_and(|at| !matches!(opened.tokens[at], Token::Block(_)));
    (0..len)
        .map(|at| {
            let (before, after) = (before[at], after[at]);
            let is_edge = match opened.tokens[at] {
                _ if shown(at) => return is_deleted(at),
                Token::Char(' ' | '\t') => true,
                Token::Char(_) => !is_text(before) || !is_text(after),
                _ => false,
            };
            let (gone_before, gone_after) = (before.map(is_deleted), after.map(is_deleted));
            if is_edge {
                gone_before == Some(true) || gone_after == Some(true) || followed.contains(&before)
            } else {
                (gone_before, gone_after) != (None, None) && gone_before != Some(false) && gone_after != Some(false)
            }
        })
        .collect()
}

/// The block markers that say something else in the edited text than was shown, by their places now.
fn new_heads(now: &[(Element, bool)], shown: &Tokens, edited: &Tokens) -> HashMap<usize, Head> {
    let mut heads = HashMap::new();
    for (place, (element, _)) in now.iter().enumerate() {
        if let Element { edited: Some(edited_at), shown: Some(shown_at) } = element
            && let (Token::Block(old), Token::Block(new)) = (&shown.tokens[*shown_at], &edited.tokens[*edited_at])
            && old != new
        {
            heads.insert(place, new.as_ref().clone());
        }
    }
    heads
}

fn lay_out(now: &[(Element, bool)], insertions: Vec<(usize, Range<usize>)>, mut heads: HashMap<usize, Head>) -> Plan {
    let mut plan = Plan::default();
    let mut insertions = insertions.into_iter().peekable();
    for place in 0..=now.len() {
        while let Some((at, edited)) = insertions.next_if(|(at, _)| *at <= place) {
            plan.after.extend(edited.clone().map(|at| Element { edited: Some(at), shown: None }));
            plan.steps.push(Step::Insert { at, edited });
        }
        let Some((element, dropped)) = now.get(place) else { break };
        if *dropped {
            match plan.steps.last_mut() {
                Some(Step::Delete(range)) if range.end == place => range.end += 1,
                _ => plan.steps.push(Step::Delete(place..place + 1)),
            }
            continue;
        }
        plan.after.push(*element);
        if let Some(head) = heads.remove(&place) {
            plan.steps.push(Step::Update { at: place, head });
        }
    }
    plan
}
