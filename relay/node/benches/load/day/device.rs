//! A device through its day.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use clave_mailbox::{BlobId, Bytes, Delivery, Get, Kind, OPEN_MAX, Opened, Reconcile, Reply, reply, request};
use ed25519_dalek::SigningKey;
use negentropy::{Negentropy, NegentropyStorageVector};

use super::{
    Day, WHOLE, comparison, derived,
    model::{Act, PAST_EPOCHS, Session},
};
use crate::{
    client::{Client, Lost, name},
    random::Random,
};

/// The length of an entry beyond its head, in bytes: median, spread of the logarithm, most. And of a commit, for each doubling of those who are in.
const ENTRY_BYTES: (f64, f64, f64) = (500.0, 0.7, 60_000.0);
const COMMIT_BYTES: usize = 400;

const CHUNK_BYTES: usize = 256 << 10;

/// Chunks of one device that wait for their answer.
const CHUNKS_IN_FLIGHT: usize = 2;

/// How many devices fetch a file from the relay.
const FETCHERS: f64 = 2.0;

/// After a session that was lost.
const RETRY: Duration = Duration::from_secs(1);

/// What stands before an entry's bytes.
#[derive(Clone, Copy)]
struct Head {
    kind: u8,
    number: u64,
    /// Nanoseconds since the day began.
    sent: u64,
    circle: usize,
    epoch: u32,
}

const ENTRY: u8 = 0;
const COMMIT: u8 = 1;
const FILE: u8 = 2;

impl Head {
    const BYTES: usize = 25;

    fn encode(&self, rest: &[u8]) -> Vec<u8> {
        let circle = u32::try_from(self.circle).expect("there are fewer circles");
        let numbers = [self.number.to_be_bytes(), self.sent.to_be_bytes()].concat();
        [&[self.kind][..], &numbers, &circle.to_be_bytes(), &self.epoch.to_be_bytes(), rest].concat()
    }

    fn split(bytes: &[u8]) -> (Self, &[u8]) {
        let (head, rest) = bytes.split_at(Self::BYTES);
        let long = |at: usize| u64::from_be_bytes(head[at..at + 8].try_into().expect("eight bytes"));
        let short = |at: usize| u32::from_be_bytes(head[at..at + 4].try_into().expect("four bytes"));
        (Self { kind: head[0], number: long(1), sent: long(9), circle: short(17) as usize, epoch: short(21) }, rest)
    }
}

/// A mailbox: of which circle and epoch.
type Place = (usize, u32);

pub struct Device {
    number: usize,
    person: usize,
    seed: [u8; 32],
    random: Random,
    /// The newest epoch of each circle that it knows of.
    known: BTreeMap<usize, u32>,
    /// The epochs that it has begun to end, until its commit is stored: it is put again, as nobody else can.
    committing: BTreeMap<usize, u32>,
    /// Up to where it has read.
    positions: HashMap<Place, u64>,
    /// The numbers of entries that it has.
    pub seen: BTreeSet<u64>,
}

impl Device {
    pub fn new(number: usize, day: &Day) -> Self {
        let (person, _) = day.organisation.devices[number];
        let known = day.organisation.circles_of[person].iter().map(|circle| (*circle, PAST_EPOCHS)).collect();
        let mut random = Random::new(number as u64);
        let (seed, committing) = (random.seed(), BTreeMap::new());
        Self { number, person, seed, random, known, committing, positions: HashMap::new(), seen: BTreeSet::new() }
    }

    pub fn circles<'a>(&self, day: &'a Day) -> &'a [usize] {
        &day.organisation.circles_of[self.person]
    }

    /// Is online for a time; comes again if the session is lost.
    pub async fn live(&mut self, day: &Arc<Day>, mut session: Session) {
        let until = day.at(session.until);
        tokio::time::sleep_until(day.at(session.from).into()).await;
        while Instant::now() < until || !session.acts.is_empty() {
            day.counted.sessions.fetch_add(1, Relaxed);
            day.counted.online.fetch_add(1, Relaxed);
            let done = self.session(day, &mut session).await;
            day.counted.online.fetch_sub(1, Relaxed);
            match done {
                Ok(()) => return,
                Err(Lost) => day.counted.lost.fetch_add(1, Relaxed),
            };
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn session(&mut self, day: &Day, session: &mut Session) -> Result<(), Lost> {
        let mut talk = self.begin(day, session.compares).await?;
        let done = talk.live(session).await;
        // What was not acknowledged is put again in the next.
        for asked in std::mem::take(&mut talk.asked) {
            if let Asked::Put { act, .. } = asked {
                session.acts.push_front((0.0, act));
            }
        }
        done?;
        talk.client.leave().await;
        Ok(())
    }

    /// Is online until it has read everything.
    pub async fn catch_up(&mut self, day: &Day) -> Result<(), Lost> {
        let mut talk = self.begin(day, false).await?;
        while !talk.has_read_all() {
            let reply = talk.client.hear_soon().await?;
            talk.take(reply).await?;
        }
        talk.client.leave().await;
        Ok(())
    }

    /// Opens the mailboxes of all its circles: of the epochs that it knows, and its own.
    async fn begin<'a>(&'a mut self, day: &'a Day, compares: bool) -> Result<Talk<'a>, Lost> {
        let client = Client::greeted(self.seed, &day.address).await?;
        let known: Vec<_> = self.known.iter().map(|(circle, epoch)| (*circle, *epoch)).collect();
        let mut talk = Talk {
            device: self,
            day,
            client,
            places: HashMap::new(),
            opened: HashMap::new(),
            asked: VecDeque::new(),
            outgoing: VecDeque::new(),
            chunks_in_flight: 0,
        };
        let own = known.iter().map(|(circle, _)| derived(b"device", *circle, talk.device.number));
        let mut openings: Vec<_> = own.map(|key| talk.client.opening(&key, 0, true)).collect();
        let mut places = Vec::new();
        for (circle, epoch) in &known {
            places.extend((epoch - PAST_EPOCHS..=*epoch).map(|epoch| (*circle, epoch)));
        }
        openings.extend(places.iter().map(|place| talk.opening(*place)));
        day.counted.openings.fetch_add(openings.len() as u64, Relaxed);
        let first = places.len().min(OPEN_MAX - known.len());
        let rest = openings.split_off(known.len() + first);
        talk.asked.push_back(Asked::Open(places[..first].to_vec(), known.len()));
        talk.client.open(openings).await?;
        if !rest.is_empty() {
            talk.asked.push_back(Asked::Open(places[first..].to_vec(), 0));
            talk.client.open(rest).await?;
        }
        if compares {
            for place in known {
                talk.compare(place).await?;
            }
        }
        Ok(talk)
    }
}

/// A request that is not answered yet.
enum Asked {
    /// The places, after so many mailboxes that are not among them.
    Open(Vec<Place>, usize),
    Put {
        act: Act,
        at: Instant,
        place: Place,
        number: u64,
        id: BlobId,
    },
    Chunk,
    Get(Bytes, Vec<BlobId>),
    Compare(Place, Box<Negentropy<'static, NegentropyStorageVector>>),
}

/// What is to be sent when there is room.
enum Outgoing {
    Chunk(Arc<SigningKey>, Vec<u8>),
    /// Names the chunks before it.
    File(Act, Vec<BlobId>),
}

/// A session.
struct Talk<'a> {
    device: &'a mut Device,
    day: &'a Day,
    client: Client,
    places: HashMap<Bytes, Place>,
    /// Since when a mailbox is followed, in nanoseconds of the day, and up to where it was filled then.
    opened: HashMap<Place, (u64, u64)>,
    asked: VecDeque<Asked>,
    outgoing: VecDeque<Outgoing>,
    chunks_in_flight: usize,
}

impl Talk<'_> {
    async fn live(&mut self, session: &mut Session) -> Result<(), Lost> {
        let until = self.day.at(session.until);
        loop {
            let now = Instant::now();
            while let Some((hour, act)) = session.acts.front().copied() {
                if self.day.at(hour) > now {
                    break;
                }
                session.acts.pop_front();
                self.act(act).await?;
            }
            let next = session.acts.front().map_or(until, |(hour, _)| self.day.at(*hour)).min(until);
            if now >= until && self.asked.is_empty() && self.outgoing.is_empty() {
                return Ok(());
            }
            let reply = if now >= until {
                self.client.hear_soon().await?
            } else {
                match tokio::time::timeout_at(next.into(), self.client.hear()).await {
                    Ok(reply) => reply?,
                    Err(_) => continue,
                }
            };
            self.take(reply).await?;
        }
    }

    fn has_read_all(&self) -> bool {
        let has_read =
            |(place, (_, last)): (&Place, &(u64, u64))| self.device.positions.get(place).copied().unwrap_or(0) >= *last;
        self.asked.is_empty() && self.opened.iter().all(has_read)
    }

    fn opening(&mut self, place: Place) -> clave_mailbox::Opening {
        let key = self.day.key(place.0, place.1);
        self.places.insert(name(&key), place);
        self.client.opening(&key, self.device.positions.get(&place).copied().unwrap_or(0), true)
    }

    async fn act(&mut self, act: Act) -> Result<(), Lost> {
        match act {
            Act::Entry { .. } => {
                let (median, sigma, most) = ENTRY_BYTES;
                let length = self.device.random.length(median, sigma, most);
                let rest = self.device.random.bytes(length);
                self.put(act, ENTRY, &rest).await
            }
            Act::File { circle, bytes } => {
                let key = self.day.key(circle, self.device.known[&circle]);
                let mut ids = Vec::new();
                for at in (0..bytes).step_by(CHUNK_BYTES) {
                    let chunk = self.device.random.bytes(CHUNK_BYTES.min(bytes - at));
                    ids.push(BlobId::of(Kind::Chunk, &chunk));
                    self.outgoing.push_back(Outgoing::Chunk(key.clone(), chunk));
                }
                self.outgoing.push_back(Outgoing::File(act, ids));
                self.pump().await
            }
            Act::Epoch { circle } => {
                let known = self.device.known[&circle];
                if self.device.committing.get(&circle) != Some(&known) {
                    let mut said = self.day.said(circle);
                    // Somebody else was first, and this device does not know it yet.
                    if said.epoch != known {
                        return Ok(());
                    }
                    said.epoch += 1;
                    self.device.committing.insert(circle, known);
                }
                let members = self.day.organisation.circles[circle].len();
                let length = COMMIT_BYTES * (members.ilog2() as usize + 2);
                let rest = self.device.random.bytes(length);
                self.put(act, COMMIT, &rest).await
            }
        }
    }

    /// Follows a circle into an epoch.
    async fn enter(&mut self, circle: usize, epoch: u32) -> Result<(), Lost> {
        if self.device.known[&circle] >= epoch {
            return Ok(());
        }
        self.device.known.insert(circle, epoch);
        let opening = self.opening((circle, epoch));
        self.day.counted.openings.fetch_add(1, Relaxed);
        self.asked.push_back(Asked::Open(vec![(circle, epoch)], 0));
        self.client.open(vec![opening]).await.map(|_| ())
    }

    async fn put(&mut self, act: Act, kind: u8, rest: &[u8]) -> Result<(), Lost> {
        let circle = act.circle();
        let epoch = self.device.known[&circle];
        let number = self.day.entries.fetch_add(1, Relaxed);
        let blob = Head { kind, number, sent: self.day.now(), circle, epoch }.encode(rest);
        let id = BlobId::of(Kind::Entry, &blob);
        self.device.seen.insert(number);
        self.day.counted.put_bytes.fetch_add(blob.len() as u64, Relaxed);
        self.asked.push_back(Asked::Put { act, at: Instant::now(), place: (circle, epoch), number, id });
        let key = self.day.key(circle, epoch);
        self.client.put(&key, Kind::Entry, blob).await.map(|_| ())
    }

    /// Sends what there is room for.
    async fn pump(&mut self) -> Result<(), Lost> {
        while self.chunks_in_flight < CHUNKS_IN_FLIGHT {
            match self.outgoing.pop_front() {
                None => break,
                Some(Outgoing::Chunk(key, chunk)) => {
                    self.chunks_in_flight += 1;
                    self.day.counted.put_bytes.fetch_add(chunk.len() as u64, Relaxed);
                    self.asked.push_back(Asked::Chunk);
                    self.client.put(&key, Kind::Chunk, chunk).await?;
                }
                Some(Outgoing::File(act, ids)) => {
                    let rest: Vec<u8> = ids.iter().flat_map(|id| id.0).collect();
                    self.put(act, FILE, &rest).await?;
                }
            }
        }
        Ok(())
    }

    async fn compare(&mut self, place: Place) -> Result<(), Lost> {
        let ids = self.day.said(place.0).ids.get(&place.1).cloned().unwrap_or_default();
        let mut side = comparison(ids.into_iter());
        let message = side.initiate().expect("a new side");
        self.day.counted.comparisons.fetch_add(1, Relaxed);
        self.step(place, Box::new(side), message).await
    }

    async fn step(
        &mut self,
        place: Place,
        side: Box<Negentropy<'static, NegentropyStorageVector>>,
        message: Vec<u8>,
    ) -> Result<(), Lost> {
        let mailbox = name(&self.day.key(place.0, place.1));
        self.asked.push_back(Asked::Compare(place, side));
        let step = Reconcile { mailbox, message: message.into() };
        self.client.send(request::Body::Reconcile(step)).await.map(|_| ())
    }

    async fn take(&mut self, reply: Reply) -> Result<(), Lost> {
        match reply {
            Reply { body: Some(reply::Body::Delivery(delivery)), .. } => self.delivered(delivery).await,
            Reply { number: 1.., body: Some(body) } => self.answered(body).await,
            // It stops, or says what is not known.
            _ => Ok(()),
        }
    }

    async fn delivered(&mut self, delivery: Delivery) -> Result<(), Lost> {
        let now = self.day.now();
        let (Some(place), Some(last)) = (self.places.get(&delivery.mailbox).copied(), delivery.entries.last()) else {
            return Ok(());
        };
        self.day.counted.deliveries.fetch_add(delivery.entries.len() as u64, Relaxed);
        self.device.positions.insert(place, last.position);
        self.client.acknowledge(delivery.mailbox.clone(), last.position).await?;
        for item in &delivery.entries {
            let (head, rest) = Head::split(&item.bytes);
            self.device.seen.insert(head.number);
            if self.opened.get(&place).is_some_and(|(since, _)| *since < head.sent) {
                self.day.delivery_ms.lock().expect(WHOLE).push((now - head.sent) as f32 / 1e6);
            }
            if head.kind == COMMIT {
                self.enter(head.circle, head.epoch + 1).await?;
            }
            let others = self.day.organisation.circles[head.circle].len() as f64;
            if head.kind == FILE && self.device.random.chance(FETCHERS / others) {
                let ids = clave_mailbox::ids(rest).map(BlobId).collect();
                self.fetch(delivery.mailbox.clone(), ids).await?;
            }
        }
        Ok(())
    }

    async fn fetch(&mut self, mailbox: Bytes, ids: Vec<BlobId>) -> Result<(), Lost> {
        let named: Vec<u8> = ids.iter().flat_map(|id| id.0).collect();
        let get = Get { mailboxes: mailbox.clone(), kind: Kind::Chunk.into(), ids: named.into(), only_whether: false };
        self.asked.push_back(Asked::Get(mailbox, ids));
        self.client.send(request::Body::Get(get)).await.map(|_| ())
    }

    async fn answered(&mut self, body: reply::Body) -> Result<(), Lost> {
        let asked = self.asked.pop_front().ok_or(Lost)?;
        match (asked, body) {
            (Asked::Open(places, before), reply::Body::Opened(Opened { mailboxes })) => {
                let now = self.day.now();
                let states = mailboxes.iter().skip(before);
                self.opened.extend(places.into_iter().zip(states).map(|(place, state)| (place, (now, state.last))));
                Ok(())
            }
            (Asked::Put { act, at, place, number, id }, reply::Body::Stored(_)) => {
                self.day.counted.puts.fetch_add(1, Relaxed);
                self.day.put_ms.lock().expect(WHOLE).push(at.elapsed().as_secs_f32() * 1000.0);
                {
                    let mut said = self.day.said(place.0);
                    said.numbers.push(number);
                    said.ids.entry(place.1).or_default().push(id.0);
                }
                match act {
                    // Not before others can follow.
                    Act::Epoch { circle } => {
                        self.device.committing.remove(&circle);
                        self.day.counted.epochs.fetch_add(1, Relaxed);
                        self.enter(circle, place.1 + 1).await
                    }
                    _ => Ok(()),
                }
            }
            (Asked::Chunk, answer) => {
                self.chunks_in_flight -= 1;
                match answer {
                    reply::Body::Stored(_) => self.day.counted.puts.fetch_add(1, Relaxed),
                    _ => self.day.counted.refused.fetch_add(1, Relaxed),
                };
                self.pump().await
            }
            (Asked::Get(mailbox, mut ids), reply::Body::Blobs(blobs)) => {
                let found = blobs.blobs.iter().filter(|blob| blob.found).count();
                self.day.counted.chunks_fetched.fetch_add(found as u64, Relaxed);
                ids.drain(..blobs.blobs.len().min(ids.len()));
                if ids.is_empty() || blobs.blobs.is_empty() { Ok(()) } else { self.fetch(mailbox, ids).await }
            }
            (Asked::Compare(place, mut side), reply::Body::Reconcile(step)) => {
                // The relay has nothing to add.
                if step.message.is_empty() {
                    return Ok(());
                }
                let next = side.reconcile_with_ids(&step.message, &mut Vec::new(), &mut Vec::new());
                match next.map_err(|_| Lost)? {
                    Some(message) => self.step(place, side, message).await,
                    None => Ok(()),
                }
            }
            (_, other) => {
                println!("a device was answered {other:?}");
                self.day.counted.refused.fetch_add(1, Relaxed);
                Ok(())
            }
        }
    }
}
