//! Searching in what is written in circles.

use super::*;
use crate::search;
use crate::{SearchPage, SearchQuery};

impl Engine {
    /// Command: brings the search index of these circles a step further: reads one document that changed since it was last
    /// read, or merges. How much is left to do; at 0 everything that is here can be found.
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
            left = circle.index_next(desk);
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
    /// If there is nothing to search for, this device is not in one of the circles, or the store cannot be read.
    pub fn search(&self, query: &SearchQuery, now_ms: u64) -> Result<SearchPage, EngineError> {
        if query.circles.iter().any(|circle| !self.circles.contains_key(circle)) {
            return Err(EngineError::NoSuchCircle);
        }
        search::run(query, now_ms, &self.desk.store)
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
