//! The thread that does jobs: into a transaction of the database that stays open, and into the journal, which is what makes them last.
//!
//! A group of jobs changes the open transaction, goes to the journal in one write, and is answered. Nobody sees the transaction before it is committed: when
//! somebody wants to read what is in it ([`Job::Publish`]), when it is large, and when the journal is. A commit does not go to the disk unless it is a
//! *checkpoint*, after which the journal begins anew.
//!
//! So what was answered is in the journal or in a checkpoint, and what readers see was answered. After any failure both are as they were after the last answer: the
//! transaction is given up, the database opened as of its last checkpoint, and the journal done again.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use redb::{Database, Durability, WriteTransaction};

use super::{
    Failure, Shared,
    changes::{Changes, Done},
    journal::Journal,
    tables::Counters,
};
use crate::store::{
    News, Quotas, StoreError,
    writer::{Job, Jobs, Reply, answer},
};

/// Bytes of the journal after which there is a checkpoint. It has one group more at most.
const JOURNAL_BYTES: u64 = 64 << 20;

/// Blobs that an open transaction stores and removes before it is committed.
const UNPUBLISHED_BLOBS_MAX: usize = 1 << 16;

/// Blobs that a sweep removes between two groups of puts.
const SWEEP_BLOBS_MAX: usize = 2_000;

/// How a transaction is to end now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Nothing,
    Publish,
    Checkpoint,
}

/// A sweep that is going on: by what time, and who waits for it.
struct Sweep {
    now_seconds: u64,
    replies: Vec<Reply<()>>,
}

/// What the thread has. Readers and the rest are in [`Shared`].
pub(super) struct Committer {
    shared: Arc<Shared>,
    news: Arc<dyn News>,
    journal: Journal,
    jobs: Jobs,
    /// Jobs that were not answered yet.
    group: Vec<Job>,
    sweep: Option<Sweep>,
    /// Who waits until what was answered can be read.
    publishing: Vec<Reply<()>>,
}

impl Committer {
    pub(super) fn new(shared: Arc<Shared>, news: Arc<dyn News>, journal: Journal, jobs: Jobs) -> Self {
        Self { shared, news, journal, jobs, group: Vec::new(), sweep: None, publishing: Vec::new() }
    }

    /// Until there are no jobs any more and everything is in the database.
    pub(super) fn run(mut self) {
        while self.take_group() {
            self.step();
        }
        if self.journal.bytes() > 0 {
            self.step();
        }
    }

    fn step(&mut self) {
        let done = self.reopened().and_then(|database| self.transaction(&database));
        if let Err(failure) = done {
            tracing::error!(?failure, "the store could not be written");
            self.give_up(StoreError::from(&failure));
        }
    }

    /// Waits for the next group. `false`: there are no jobs any more.
    fn take_group(&mut self) -> bool {
        let next = if self.sweep.is_some() { Some(self.jobs.waiting()) } else { self.jobs.next() };
        self.group = next.unwrap_or_default();
        self.sweep.is_some() || !self.group.is_empty()
    }

    /// Closes the database until it can be opened as it should be (at once, if nobody reads), and answers who waits.
    fn give_up(&mut self, error: StoreError) {
        let was_open = self.shared.set_database(None).is_some();
        if was_open && let Err(failure) = self.reopened() {
            tracing::error!(?failure, "the store stays closed until somebody needs it");
        }
        self.group.drain(..).for_each(|job| job.refuse(error));
        let sweeping = self.sweep.take().into_iter().flat_map(|sweep| sweep.replies);
        self.publishing.drain(..).chain(sweeping).for_each(|reply| answer(reply, Err(error)));
    }

    /// The database, opened again if need be.
    fn reopened(&mut self) -> Result<Arc<Database>, Failure> {
        if let Some(database) = self.shared.database() {
            return Ok(database);
        }
        // As long as somebody still reads, it is in use: then the next who comes tries again.
        let database = Arc::new(self.shared.place.database()?);
        let counters = recover(&database, &mut self.journal, *self.shared.quotas(), true)?;
        tracing::warn!("the store is open again");
        self.shared.count(&counters, &Done::default(), 0);
        self.shared.unpublished().clear();
        self.shared.set_database(Some(database.clone()));
        Ok(database)
    }

    /// Does groups until the transaction is to be committed.
    fn transaction(&mut self, database: &Database) -> Result<(), Failure> {
        let transaction = database.begin_write()?;
        let mut changes = Changes::begin(&transaction, *self.shared.quotas())?;
        let due = loop {
            let due = self.group(&mut changes)?;
            if due != Due::Nothing {
                break due;
            }
            if !self.take_group() {
                break Due::Checkpoint;
            }
        };
        changes.finish(self.journal.number())?;
        self.commit(transaction, due)
    }

    /// Does one group, and answers it once it is on the disk.
    fn group(&mut self, changes: &mut Changes<'_>) -> Result<Due, Failure> {
        self.part();
        changes.quotas = *self.shared.quotas();
        let full = self.shared.disk_full.load(Relaxed);
        let mut placed = Vec::with_capacity(self.group.len());
        for job in &self.group {
            if let Job::Put(batch, _) = job {
                placed.push(if full { Err(StoreError::Full) } else { changes.put(batch)? });
            }
        }
        let mut swept = false;
        if let Some(sweep) = &self.sweep {
            swept = !changes.expire(sweep.now_seconds, SWEEP_BLOBS_MAX)?;
            changes.trim_store()?;
        }
        let noted = !changes.log.is_empty();
        if noted {
            self.journal.append(changes.log.frame()).map_err(redb::StorageError::Io)?;
        }
        let done = changes.take_done();
        self.shared.count(&changes.counters, &done, noted.into());
        // Before anybody is answered: from then on it is to be seen.
        self.shared.unpublished().extend(&done.mailboxes);
        done.entries.iter().for_each(|(mailbox, entry)| self.news.stored(*mailbox, entry));
        for (job, placed) in self.group.drain(..).zip(placed) {
            if let Job::Put(_, reply) = job {
                answer(reply, placed);
            }
        }
        if swept && let Some(sweep) = self.sweep.take() {
            sweep.replies.into_iter().for_each(|reply| answer(reply, Ok(())));
        }
        Ok(self.due(changes.changed, swept))
    }

    /// Leaves puts in the group, and keeps in mind what else is wanted.
    fn part(&mut self) {
        for job in std::mem::take(&mut self.group) {
            match job {
                Job::Put(..) => self.group.push(job),
                Job::Publish(reply) => self.publishing.push(reply),
                Job::Sweep(now_seconds, reply) => {
                    let sweep = self.sweep.get_or_insert_with(|| Sweep { now_seconds, replies: Vec::new() });
                    sweep.now_seconds = sweep.now_seconds.max(now_seconds);
                    sweep.replies.push(reply);
                }
            }
        }
    }

    fn due(&self, changed: usize, swept: bool) -> Due {
        // After a sweep, so that there is little to do again after a kill of a relay that has been quiet.
        if self.journal.bytes() >= JOURNAL_BYTES || (swept && self.journal.bytes() > 0) {
            Due::Checkpoint
        } else if !self.publishing.is_empty() || changed >= UNPUBLISHED_BLOBS_MAX {
            Due::Publish
        } else {
            Due::Nothing
        }
    }

    fn commit(&mut self, mut transaction: WriteTransaction, due: Due) -> Result<(), Failure> {
        if due == Due::Checkpoint {
            // Costs a second sync, and saves the walk over the whole file that opening after a kill takes without it.
            transaction.set_quick_repair(true);
        } else {
            transaction.set_durability(Durability::None)?;
        }
        transaction.commit()?;
        if due == Due::Checkpoint {
            self.journal.restart(self.journal.number());
        }
        self.shared.unpublished().clear();
        self.publishing.drain(..).for_each(|reply| answer(reply, Ok(())));
        Ok(())
    }
}

/// Does again what the journal has and the database has not, and makes a checkpoint of it. After a failure in this process, what was not answered is left out,
/// though it may have come to the disk.
pub(super) fn recover(
    database: &Database,
    journal: &mut Journal,
    quotas: Quotas,
    failed: bool,
) -> Result<Counters, Failure> {
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    let mut changes = Changes::begin(&transaction, quotas)?;
    let before = changes.journaled;
    let answered = if failed { journal.number() } else { u64::MAX };
    let mut last = before;
    journal.replay(before, |number, records| -> Result<(), Failure> {
        if number <= answered {
            changes.redo(records)?;
            last = number;
        }
        Ok(())
    })?;
    if failed {
        if last < answered {
            return Err(Failure::Damaged);
        }
        // The number of the frame that was not answered is used up: should it be at its place, it is of no account.
        last = answered + 1;
    }
    let counters = changes.counters;
    if last == before {
        drop(changes);
        transaction.abort()?;
    } else {
        changes.finish(last)?;
        transaction.commit()?;
    }
    journal.restart(last);
    Ok(counters)
}
