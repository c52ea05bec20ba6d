//! A counted B+ tree over places: each page knows how many entries are below it and the sum of their ids, so that the total of
//! any range, and the entry at any rank, cost one way down.
//!
//! Pages that are full are split on the way down, and go when they are empty (J. Johnson and D. Shasha, "B-trees with
//! inserts and deletes: why free-at-empty is better than merge-at-half", 1993). Equal inputs in equal order make equal pages.

use super::page::{Body, Child, INNER_CHILDREN_MAX, LEAF_PLACES_MAX, Page, Place, Total};
use super::pages::{ROOT, Shelf, TreeName};
use crate::EngineError;

/// A point between places: everything that is less lies before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cut {
    pub(super) hour: u64,
    pub(super) id: [u8; 32],
}

impl Cut {
    pub(super) const START: Self = Self { hour: 0, id: [0; 32] };
    pub(super) const END: Self = Self { hour: u64::MAX, id: [0; 32] };

    pub(super) fn before(place: &Place) -> Self {
        Self { hour: place.hour.into(), id: *place.id.as_bytes() }
    }

    fn is_behind(&self, place: &Place) -> bool {
        (u64::from(place.hour), place.id.as_bytes()) < (self.hour, &self.id)
    }
}

/// A tree in the store. It holds nothing but what its root says.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    name: TreeName,
    total: Total,
}

impl Tree {
    /// The tree of that name; none if it was never written.
    pub(super) fn open(name: TreeName, shelf: &mut Shelf<'_>) -> Result<Option<Self>, EngineError> {
        Ok(shelf.find(name, ROOT)?.map(|root| Self { name, total: root.total() }))
    }

    /// A tree that nothing is in yet.
    pub(super) fn empty(name: TreeName) -> Self {
        Self { name, total: Total::default() }
    }

    pub(super) fn total(&self) -> Total {
        self.total
    }

    pub(super) fn contains(&self, place: &Place, shelf: &mut Shelf<'_>) -> Result<bool, EngineError> {
        if self.total.count == 0 {
            return Ok(false);
        }
        let mut number = ROOT;
        while let Some((_, _, below)) = self.step(number, place, shelf)? {
            number = below;
        }
        match &shelf.page(self.name, number)?.body {
            Body::Leaf(places) => Ok(places.binary_search(place).is_ok()),
            Body::Inner(_) => Err(EngineError::IndexDamaged),
        }
    }

    /// Whether it was news.
    pub(super) fn insert(&mut self, place: Place, shelf: &mut Shelf<'_>) -> Result<bool, EngineError> {
        // Reads every page on the way, so that nothing is half changed if one is missing.
        if self.contains(&place, shelf)? {
            return Ok(false);
        }
        if shelf.find(self.name, ROOT)?.is_none() {
            shelf.put(self.name, ROOT, Page::empty());
        }
        if shelf.page(self.name, ROOT)?.is_full() {
            self.grow(shelf)?;
        }
        let (mut number, mut last, one) = (ROOT, true, Total::of(&place.id));
        while let Some((at, is_last, below)) = self.step(number, &place, shelf)? {
            if shelf.page(self.name, below)?.is_full() {
                self.split(number, at, last && is_last, shelf)?;
            }
            // A split may have put the place behind the child that it was in.
            let Some((at, is_last, below)) = self.step(number, &place, shelf)? else { break };
            if let Body::Inner(children) = &mut shelf.edit(self.name, number)?.body {
                let child = &mut children[at];
                child.first = child.first.min(place);
                child.total = child.total.plus(one);
            }
            (number, last) = (below, last && is_last);
        }
        if let Body::Leaf(places) = &mut shelf.edit(self.name, number)?.body {
            let at = places.partition_point(|other| *other < place);
            places.insert(at, place);
        }
        self.total = self.total.plus(one);
        Ok(true)
    }

    /// From an inner page on towards a place: which child, whether it is the last, and its number.
    fn step(
        &self,
        number: u64,
        place: &Place,
        shelf: &mut Shelf<'_>,
    ) -> Result<Option<(usize, bool, u64)>, EngineError> {
        match &shelf.page(self.name, number)?.body {
            Body::Leaf(_) => Ok(None),
            Body::Inner(children) => {
                let at = way_to(children, place);
                let child = children.get(at).ok_or(EngineError::IndexDamaged)?;
                Ok(Some((at, at + 1 == children.len(), child.number)))
            }
        }
    }

    /// Puts what the root holds one level deeper.
    fn grow(&mut self, shelf: &mut Shelf<'_>) -> Result<(), EngineError> {
        let root = shelf.edit(self.name, ROOT)?;
        let number = root.next;
        let first = root.first().ok_or(EngineError::IndexDamaged)?;
        let child = Child { first, number, total: root.total() };
        let body = std::mem::replace(&mut root.body, Body::Inner(vec![child]));
        root.next += 1;
        shelf.put(self.name, number, Page::new(body));
        Ok(())
    }

    /// Makes two of a full child of a page that has room.
    fn split(&mut self, parent: u64, at: usize, last: bool, shelf: &mut Shelf<'_>) -> Result<(), EngineError> {
        let root = shelf.edit(self.name, ROOT)?;
        let new = root.next;
        root.next += 1;
        let mut lower = match &shelf.page(self.name, parent)?.body {
            Body::Inner(children) => children[at],
            Body::Leaf(_) => return Err(EngineError::IndexDamaged),
        };
        let page = shelf.edit(self.name, lower.number)?;
        let upper = page.split_off(last);
        let first = upper.first().ok_or(EngineError::IndexDamaged)?;
        lower.total = page.total();
        let child = Child { first, number: new, total: upper.total() };
        shelf.put(self.name, new, upper);
        if let Body::Inner(children) = &mut shelf.edit(self.name, parent)?.body {
            children[at] = lower;
            children.insert(at + 1, child);
        }
        Ok(())
    }

    /// Whether it was there.
    pub(super) fn remove(&mut self, place: &Place, shelf: &mut Shelf<'_>) -> Result<bool, EngineError> {
        if !self.contains(place, shelf)? {
            return Ok(false);
        }
        let (mut number, mut way, one) = (ROOT, Vec::new(), Total::of(&place.id));
        loop {
            match &mut shelf.edit(self.name, number)?.body {
                Body::Leaf(places) => {
                    places.retain(|other| other != place);
                    break;
                }
                Body::Inner(children) => {
                    let at = way_to(children, place);
                    children[at].total = children[at].total.minus(one);
                    way.push((number, at));
                    number = children[at].number;
                }
            }
        }
        self.total = self.total.minus(one);
        while let Some((parent, at)) = way.pop() {
            if !shelf.page(self.name, number)?.is_empty() {
                break;
            }
            shelf.remove(self.name, number);
            if let Body::Inner(children) = &mut shelf.edit(self.name, parent)?.body {
                children.remove(at);
            }
            number = parent;
        }
        self.shrink(shelf)?;
        Ok(true)
    }

    /// Takes away the levels that lead to one page only.
    fn shrink(&mut self, shelf: &mut Shelf<'_>) -> Result<(), EngineError> {
        loop {
            let only = match &shelf.page(self.name, ROOT)?.body {
                Body::Inner(children) if children.len() < 2 => children.first().map(|child| child.number),
                _ => return Ok(()),
            };
            let mut body = Body::Leaf(Vec::new());
            if let Some(number) = only {
                body = shelf.page(self.name, number)?.body.clone();
                shelf.remove(self.name, number);
            }
            shelf.edit(self.name, ROOT)?.body = body;
        }
    }

    /// What lies before a point.
    pub(super) fn before(&self, cut: &Cut, shelf: &mut Shelf<'_>) -> Result<Total, EngineError> {
        if self.total.count == 0 || *cut == Cut::END {
            return Ok(self.total);
        }
        let (mut number, mut total) = (ROOT, Total::default());
        loop {
            match &shelf.page(self.name, number)?.body {
                Body::Leaf(places) => {
                    let end = places.partition_point(|place| cut.is_behind(place));
                    return Ok(places[..end].iter().map(|place| Total::of(&place.id)).fold(total, Total::plus));
                }
                Body::Inner(children) => {
                    let end = children.partition_point(|child| cut.is_behind(&child.first));
                    let Some((reached, whole)) = children[..end].split_last() else { return Ok(total) };
                    total = whole.iter().map(|child| child.total).fold(total, Total::plus);
                    number = reached.number;
                }
            }
        }
    }

    /// The entry at a rank from 0, and what lies before it.
    pub(super) fn at(&self, rank: u64, shelf: &mut Shelf<'_>) -> Result<(Place, Total), EngineError> {
        let (mut number, mut total) = (ROOT, Total::default());
        loop {
            let page = shelf.page(self.name, number)?;
            match &page.body {
                Body::Leaf(places) => {
                    let at = usize::try_from(rank - total.count).map_err(|_| EngineError::IndexDamaged)?;
                    let place = *places.get(at).ok_or(EngineError::IndexDamaged)?;
                    let before = places[..at].iter().map(|place| Total::of(&place.id)).fold(total, Total::plus);
                    return Ok((place, before));
                }
                Body::Inner(children) => {
                    let mut below = None;
                    for child in children {
                        if total.count + child.total.count > rank {
                            below = Some(child.number);
                            break;
                        }
                        total = total.plus(child.total);
                    }
                    number = below.ok_or(EngineError::IndexDamaged)?;
                }
            }
        }
    }

    /// Shows what lies before a point, from there backwards, until `visit` has enough and returns `false`.
    pub(super) fn walk_back(
        &self,
        from: &Cut,
        shelf: &mut Shelf<'_>,
        visit: &mut dyn FnMut(&Place) -> bool,
    ) -> Result<(), EngineError> {
        if self.total.count > 0 {
            self.walk_page_back(ROOT, from, shelf, visit)?;
        }
        Ok(())
    }

    fn walk_page_back(
        &self,
        number: u64,
        from: &Cut,
        shelf: &mut Shelf<'_>,
        visit: &mut dyn FnMut(&Place) -> bool,
    ) -> Result<bool, EngineError> {
        match &shelf.page(self.name, number)?.body {
            Body::Leaf(places) => {
                let end = places.partition_point(|place| from.is_behind(place));
                Ok(places[..end].iter().rev().all(visit))
            }
            Body::Inner(children) => {
                let end = children.partition_point(|child| from.is_behind(&child.first));
                for child in children[..end].iter().rev() {
                    if !self.walk_page_back(child.number, from, shelf, visit)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
        }
    }

    /// Writes a tree anew that holds those, in place of whatever is there. They are in order, and none is there twice.
    pub(super) fn build(name: TreeName, places: &[Place], shelf: &mut Shelf<'_>) -> Result<Self, EngineError> {
        shelf.pages.forget_tree(name);
        for suffix in shelf.store.suffixes(crate::Keyspace::Index, &name.scope())? {
            if let Ok(number) = suffix.try_into().map(u64::from_be_bytes) {
                shelf.remove(name, number);
            }
        }
        let mut next = 1;
        let mut bodies: Vec<Body> = evenly(places, LEAF_PLACES_MAX).map(|part| Body::Leaf(part.to_vec())).collect();
        while bodies.len() > 1 {
            let mut children = Vec::with_capacity(bodies.len());
            for body in bodies {
                let page = Page::new(body);
                let first = page.first().ok_or(EngineError::IndexDamaged)?;
                children.push(Child { first, number: next, total: page.total() });
                shelf.put(name, next, page);
                next += 1;
            }
            bodies = evenly(&children, INNER_CHILDREN_MAX).map(|part| Body::Inner(part.to_vec())).collect();
        }
        let root = Page { next, body: bodies.pop().unwrap_or(Body::Leaf(Vec::new())) };
        let total = root.total();
        shelf.put(name, ROOT, root);
        Ok(Self { name, total })
    }
}

/// The child that a place is in, or would be.
fn way_to(children: &[Child], place: &Place) -> usize {
    children.partition_point(|child| child.first <= *place).saturating_sub(1)
}

/// Parts of about seven eighths of `most`: what comes next finds room.
fn evenly<T>(all: &[T], most: usize) -> impl Iterator<Item = &[T]> {
    let parts = all.len().div_ceil(most - most / 8).max(1);
    all.chunks(all.len().div_ceil(parts).max(1))
}
