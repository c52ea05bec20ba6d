//! Each request, and its answer.

use std::time::{Duration, Instant};

use clave_mailbox::{
    Blob, BlobId, Blobs, Bytes, Close, Get, Hello, Kind, Open, Opened, Opening, Put, Reason, State, Stored, VERSION,
    Wake, Welcome, Woken, ids, reply, request::Body,
};
use ed25519_dalek::{Signature, VerifyingKey};

use super::{About, Done, Ended, Output, Pending, Session, Slot, Task, refused};
use crate::{
    store::{Batch, MailboxId, StoreError},
    wake::{PushKeys, Subscription, SubscriptionId, are_keys},
};

/// When it may help to ask again after the store refused.
const FULL_RETRY: Duration = Duration::from_secs(60);

/// When a cluster that could not be reached may be there again.
const UNAVAILABLE_RETRY: Duration = Duration::from_secs(5);

/// What a request is counted as: what it makes the relay do, in units of a small one.
pub(super) fn weight(body: &Body) -> u64 {
    const LOOKUPS: u64 = 128;
    match body {
        // A signature each.
        Body::Open(open) => 1 + open.mailboxes.len() as u64 / 4,
        Body::Get(get) => 1 + (get.ids.len() / 32) as u64 * (get.mailboxes.len() / 32) as u64 / LOOKUPS,
        Body::Put(put) => 1 + put.blobs.len() as u64 / LOOKUPS,
        // Walks over all ids of the mailbox.
        Body::Reconcile(_) => 8,
        // May be a durable write of its own.
        Body::Wake(_) => 8,
        _ => 1,
    }
}

impl Session {
    pub(super) fn request(&mut self, number: u64, body: Body, now: Instant, now_seconds: u64) {
        if let Body::Hello(hello) = body {
            return self.hello(number, &hello);
        }
        if !self.greeted {
            return self.refuse_and_end(number, Reason::Malformed, Ended::Malformed);
        }
        match body {
            Body::Hello(_) => {}
            Body::Open(open) => self.open(number, &open),
            Body::Close(close) => self.close(number, &close),
            Body::Put(put) => self.put(number, put, now, now_seconds),
            Body::Get(get) => self.get(number, &get),
            Body::Reconcile(reconcile) => match self.opened(&reconcile.mailbox) {
                Some(mailbox) => {
                    let task = Task::Reconcile { mailbox, message: reconcile.message };
                    self.queue(number, task, About::Reconcile(mailbox));
                }
                None => self.refuse(number, Reason::NotOpen),
            },
            Body::Acknowledge(acknowledge) => {
                for position in &acknowledge.positions {
                    if let Some(mailbox) = MailboxId::from_bytes(&position.mailbox) {
                        self.deliveries.acknowledged(mailbox, position.position, now);
                    }
                }
            }
            Body::Wake(wake) => match self.wake(&wake, now, now_seconds) {
                Ok(task) => self.queue(number, task, About::Wake),
                Err((reason, wait)) => self.answered(number, refused(reason, wait)),
            },
        }
    }

    fn hello(&mut self, number: u64, hello: &Hello) {
        if self.greeted {
            return self.refuse_and_end(number, Reason::Malformed, Ended::Malformed);
        }
        if hello.version < VERSION {
            return self.refuse_and_end(number, Reason::Version, Ended::Version);
        }
        if !self.terms.access.admits(&self.peer, &hello.token) {
            return self.refuse_and_end(number, Reason::Access, Ended::Refused);
        }
        self.greeted = true;
        let welcome = Welcome {
            version: VERSION,
            challenge: Bytes::copy_from_slice(&self.challenge),
            generation: Bytes::copy_from_slice(&self.terms.generation),
            kept_seconds: self.terms.kept_seconds,
            blob_bytes_max: self.terms.blob_bytes_max,
            mailboxes_max: self.terms.mailboxes_max,
            wake_key: self.terms.wakes.as_ref().map_or_else(Bytes::new, |wakes| wakes.key().to_vec().into()),
        };
        self.answered(number, reply::Body::Welcome(welcome));
    }

    fn open(&mut self, number: u64, open: &Open) {
        let mut wanted = Vec::with_capacity(open.mailboxes.len());
        for opening in &open.mailboxes {
            match self.proven(opening) {
                Ok(mailbox) => wanted.push((mailbox, opening.follow.then_some(opening.after))),
                Err(reason) => return self.refuse(number, reason),
            }
        }
        let all: std::collections::BTreeSet<_> =
            wanted.iter().map(|(mailbox, _)| *mailbox).chain(self.open.iter().copied()).collect();
        if all.len() > self.terms.mailboxes_max as usize {
            return self.refuse(number, Reason::Mailboxes);
        }
        self.open = all;
        let task = Task::States(wanted.iter().map(|(mailbox, _)| *mailbox).collect());
        self.queue(number, task, About::Open(wanted));
    }

    /// The mailbox, if its key signed that it may be opened here and now.
    fn proven(&self, opening: &Opening) -> Result<MailboxId, Reason> {
        let mailbox = MailboxId::from_bytes(&opening.mailbox).ok_or(Reason::Malformed)?;
        if self.terms.blocks.has_mailbox(&mailbox) {
            return Err(Reason::Blocked);
        }
        let key = VerifyingKey::from_bytes(&mailbox.0).map_err(|_| Reason::Proof)?;
        let signature = Signature::from_slice(&opening.signature).map_err(|_| Reason::Proof)?;
        let proof = clave_mailbox::proof(&self.terms.relay, &self.challenge, &mailbox.0);
        // Strict: keys of small order, with which anybody can sign, are refused.
        key.verify_strict(&proof, &signature).map_err(|_| Reason::Proof)?;
        Ok(mailbox)
    }

    fn close(&mut self, number: u64, close: &Close) {
        for mailbox in ids(&close.mailboxes).map(MailboxId) {
            self.open.remove(&mailbox);
            if self.deliveries.unfollow(mailbox) {
                self.outputs.push_back(Output::Unfollow(mailbox));
            }
        }
        self.answered(number, reply::Body::Opened(Opened::default()));
    }

    fn put(&mut self, number: u64, put: Put, now: Instant, now_seconds: u64) {
        let Some(mailbox) = self.opened(&put.mailbox) else { return self.refuse(number, Reason::NotOpen) };
        let Ok(kind) = Kind::try_from(put.kind) else { return self.refuse(number, Reason::Unsupported) };
        if self.draining {
            return self.refuse(number, Reason::Draining);
        }
        if self.terms.blocks.has_mailbox(&mailbox) {
            return self.refuse(number, Reason::Blocked);
        }
        if put.blobs.iter().any(|blob| blob.len() as u64 > self.terms.blob_bytes_max) {
            return self.refuse(number, Reason::TooLarge);
        }
        if put.blobs.is_empty() {
            return self.answered(number, reply::Body::Stored(Stored { new: 0 }));
        }
        let bytes = put.blobs.iter().map(|blob| crate::store::cost(blob.len())).sum();
        if let Err(wait) = self.ticket.take_bytes(bytes, now) {
            return self.answered(number, refused(Reason::Rate, wait));
        }
        let bytes = put.blobs.iter().map(Bytes::len).sum();
        self.put_bytes += bytes;
        let blobs: Vec<_> = put.blobs.into_iter().map(|blob| (BlobId::of(kind, &blob), blob)).collect();
        let mut entry_ids = Vec::new();
        if kind == Kind::Entry {
            entry_ids.extend(blobs.iter().map(|(id, _)| *id));
            for id in &entry_ids {
                *self.putting.entry((mailbox, *id)).or_default() += 1;
            }
        }
        let task = self.next_task();
        let about = About::Put { mailbox, ids: entry_ids, bytes };
        self.slots.push_back(Slot { number, state: Pending::Running(task, about) });
        self.outputs.push_back(Output::Task(task, Task::Put(Batch { mailbox, kind, blobs, now_seconds })));
    }

    fn get(&mut self, number: u64, get: &Get) {
        let mailboxes: Vec<_> = ids(&get.mailboxes).map(MailboxId).collect();
        if mailboxes.iter().any(|mailbox| !self.open.contains(mailbox)) {
            return self.refuse(number, Reason::NotOpen);
        }
        let Ok(kind) = Kind::try_from(get.kind) else { return self.refuse(number, Reason::Unsupported) };
        let ids: Vec<_> = ids(&get.ids).map(BlobId).collect();
        if ids.is_empty() {
            return self.answered(number, reply::Body::Blobs(Blobs::default()));
        }
        let task = match get.only_whether {
            true => Task::Which { mailboxes, kind, ids },
            false => Task::Get { mailboxes, kind, ids },
        };
        self.queue(number, task, About::Get);
    }

    /// What is to be done, or why not and when to ask again.
    fn wake(&mut self, wake: &Wake, now: Instant, now_seconds: u64) -> Result<Task, (Reason, Duration)> {
        let refuse = |reason| (reason, Duration::ZERO);
        let Some(wakes) = self.terms.wakes.clone() else { return Err(refuse(Reason::Unsupported)) };
        let id = SubscriptionId(wake.id.as_ref().try_into().map_err(|_| refuse(Reason::Malformed))?);
        if wake.endpoint.is_empty() {
            return Ok(Task::Wake { id, wanted: None, now_seconds });
        }
        let mailboxes: std::collections::BTreeSet<_> = ids(&wake.mailboxes).map(MailboxId).collect();
        if mailboxes.len() > wakes.mailboxes_max() {
            return Err(refuse(Reason::Mailboxes));
        }
        if !mailboxes.is_subset(&self.open) {
            return Err(refuse(Reason::NotOpen));
        }
        let keys = match (wake.p256dh.as_ref().try_into(), wake.auth.as_ref().try_into()) {
            (Ok(p256dh), Ok(auth)) => Some(PushKeys { p256dh, auth }),
            _ => None,
        };
        if !wakes.allows(&wake.endpoint) || keys.as_ref().is_some_and(|keys| !are_keys(keys)) {
            return Err(refuse(Reason::Endpoint));
        }
        // A push to a place that was not pushed to before: this is what others could be flooded with.
        if !wakes.has(id, &wake.endpoint)
            && let Err(wait) = self.ticket.take_subscription(now)
        {
            return Err((Reason::Rate, wait));
        }
        let wanted = Subscription { endpoint: wake.endpoint.clone(), keys, mailboxes: mailboxes.into_iter().collect() };
        Ok(Task::Wake { id, wanted: Some(wanted), now_seconds })
    }

    fn opened(&self, mailbox: &[u8]) -> Option<MailboxId> {
        MailboxId::from_bytes(mailbox).filter(|mailbox| self.open.contains(mailbox))
    }

    fn queue(&mut self, number: u64, task: Task, about: About) {
        self.slots.push_back(Slot { number, state: Pending::Queued(task, about) });
    }

    /// The answer to a request whose task is done.
    pub(super) fn answer(&mut self, number: u64, about: About, done: Done) -> reply::Body {
        match (about, done) {
            (About::Put { mailbox, ids, bytes }, Done::Put(placed)) => {
                self.put_bytes -= bytes;
                for id in ids {
                    self.is_put(mailbox, id);
                }
                match placed {
                    Ok(placed) => {
                        self.tally.put += placed.new.len() as u64;
                        placed.new.iter().for_each(|(_, position)| self.deliveries.put(mailbox, *position));
                        let new = u32::try_from(placed.new.len()).unwrap_or(u32::MAX);
                        reply::Body::Stored(Stored { new })
                    }
                    Err(error) => of_store(error),
                }
            }
            (About::Open(wanted), Done::States(Ok(states))) => {
                let state = |((mailbox, _), state): (&(MailboxId, _), &crate::store::MailboxState)| State {
                    mailbox: Bytes::copy_from_slice(&mailbox.0),
                    last: state.last,
                    entries: state.entries,
                };
                let mailboxes = wanted.iter().zip(&states).map(state).collect();
                // They may have been closed meanwhile.
                for (mailbox, follow) in wanted.into_iter().filter(|(mailbox, _)| self.open.contains(mailbox)) {
                    match follow {
                        Some(after) => {
                            self.deliveries.follow(mailbox, after);
                            self.outputs.push_back(Output::Follow(mailbox));
                        }
                        None if self.deliveries.unfollow(mailbox) => {
                            self.outputs.push_back(Output::Unfollow(mailbox));
                        }
                        None => {}
                    }
                }
                reply::Body::Opened(Opened { mailboxes })
            }
            (About::Get, Done::Get(Ok(found))) => {
                let blob = |bytes: Option<Bytes>| Blob { found: bytes.is_some(), bytes: bytes.unwrap_or_default() };
                reply::Body::Blobs(Blobs { blobs: found.into_iter().map(blob).collect() })
            }
            (About::Get, Done::Which(Ok(found))) => {
                let blob = |found| Blob { found, bytes: Bytes::new() };
                reply::Body::Blobs(Blobs { blobs: found.into_iter().map(blob).collect() })
            }
            (About::Reconcile(mailbox), Done::Reconcile(Ok(Some(message)))) => {
                let mailbox = Bytes::copy_from_slice(&mailbox.0);
                reply::Body::Reconcile(clave_mailbox::Reconcile { mailbox, message: message.into() })
            }
            (About::Wake, Done::Wake(Ok(health))) => reply::Body::Woken(Woken {
                accepted_seconds: health.accepted_seconds,
                refused_seconds: health.refused_seconds,
                status: health.status,
                gone: health.gone,
            }),
            (About::Reconcile(_), Done::Reconcile(Ok(None))) => {
                self.end(Ended::Malformed);
                refused(Reason::Malformed, Duration::ZERO)
            }
            (
                _,
                Done::States(Err(error))
                | Done::Get(Err(error))
                | Done::Which(Err(error))
                | Done::Reconcile(Err(error))
                | Done::Wake(Err(error)),
            ) => of_store(error),
            (about, done) => {
                tracing::error!(number, ?about, ?done, "a task was answered as another");
                refused(Reason::Internal, Duration::ZERO)
            }
        }
    }

    fn is_put(&mut self, mailbox: MailboxId, id: BlobId) {
        if let Some(requests) = self.putting.get_mut(&(mailbox, id)) {
            *requests -= 1;
            if *requests == 0 {
                self.putting.remove(&(mailbox, id));
            }
        }
    }
}

fn of_store(error: StoreError) -> reply::Body {
    match error {
        StoreError::NoNewMailboxes => refused(Reason::NoNewMailboxes, FULL_RETRY),
        StoreError::Full => refused(Reason::Full, FULL_RETRY),
        StoreError::Failed | StoreError::Elsewhere => refused(Reason::Internal, FULL_RETRY),
        StoreError::Unavailable => refused(Reason::Internal, UNAVAILABLE_RETRY),
        StoreError::Stopped => refused(Reason::Draining, Duration::ZERO),
    }
}
