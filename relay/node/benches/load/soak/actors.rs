//! Who comes to the relay, and how they behave.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use clave_mailbox::{BlobId, Close, Delivery, Get, Kind, Opened, Reconcile, Reply, Wake, reply, request};
use clave_transport::{Config, Transport};
use ed25519_dalek::SigningKey;
use tokio::{io::AsyncWriteExt, net::TcpStream, time::sleep};

use super::Stage;
use crate::{
    client::{Client, Lost, name},
    random::Random,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Habit {
    Member,
    Idle,
    Silent,
    BreaksOff,
    Floods,
    NeverAcknowledges,
    Babbles,
    Stranger,
    Reserves,
    Sleeps,
}

impl Habit {
    pub const ALL: [Self; 10] = [
        Self::Member,
        Self::Idle,
        Self::Silent,
        Self::BreaksOff,
        Self::Floods,
        Self::NeverAcknowledges,
        Self::Babbles,
        Self::Stranger,
        Self::Reserves,
        Self::Sleeps,
    ];

    /// How many of them there are at a time.
    pub fn actors(self) -> usize {
        match self {
            Self::Member => 60,
            Self::Idle => 80,
            Self::Silent | Self::BreaksOff | Self::Stranger | Self::Reserves => 20,
            Self::Floods => 4,
            Self::NeverAcknowledges | Self::Babbles | Self::Sleeps => 10,
        }
    }

    pub fn words(self) -> &'static str {
        match self {
            Self::Member => "put, follow, acknowledge, fetch, compare, and leave",
            Self::Idle => "follow, and say nothing",
            Self::Silent => "connect, and do not say hello",
            Self::BreaksOff => "go in the middle of a put of 1 MiB",
            Self::Floods => "put as fast as they can, and read no answer",
            Self::NeverAcknowledges => "follow, and acknowledge nothing",
            Self::Babbles => "send what is no request, or none that is due",
            Self::Stranger => "speak no libp2p on a bare connection",
            Self::Reserves => "take a place to be reached at",
            Self::Sleeps => "ask to be woken at an address where nobody answers",
        }
    }
}

/// Comes, goes and comes again.
pub async fn live(stage: Arc<Stage>, habit: Habit, mut random: Random) {
    let seed = random.seed();
    while Instant::now() < stage.ends {
        // Half come back as who they were, the others are somebody new.
        let seed = if random.chance(0.5) { seed } else { random.seed() };
        stage.visits[habit as usize].fetch_add(1, Relaxed);
        let visit = visit(&stage, habit, seed, &mut random).await;
        if habit == Habit::Member && visit.is_err() {
            stage.members_lost.fetch_add(1, Relaxed);
        }
        pause(&stage, random.between(0.1, 3.0)).await;
    }
}

/// Never beyond the end.
async fn pause(stage: &Stage, seconds: f64) {
    let rest = stage.ends.saturating_duration_since(Instant::now());
    sleep(Duration::from_secs_f64(seconds).min(rest)).await;
}

async fn visit(stage: &Stage, habit: Habit, seed: [u8; 32], random: &mut Random) -> Result<(), Lost> {
    match habit {
        Habit::Member => member(stage, seed, random).await,
        Habit::Idle => idle(stage, seed, random).await,
        Habit::Silent => {
            let client = Client::connect(seed, &stage.address).await?;
            pause(stage, random.between(1.0, 40.0)).await;
            drop(client);
            Ok(())
        }
        Habit::BreaksOff => {
            let (mut client, key) = alone(stage, seed).await?;
            for _ in 0..random.below(4) {
                client.put(&key, Kind::Chunk, random.bytes(1 << 20)).await?;
            }
            drop(client);
            Ok(())
        }
        Habit::Floods => {
            let (mut client, key) = alone(stage, seed).await?;
            let until = (Instant::now() + Duration::from_secs(10)).min(stage.ends);
            while Instant::now() < until {
                client.put(&key, Kind::Entry, random.bytes(64 << 10)).await?;
            }
            Ok(())
        }
        Habit::NeverAcknowledges => {
            let mut client = Client::greeted(seed, &stage.address).await?;
            let mailbox = client.opening(&stage.mailboxes[random.below(stage.mailboxes.len())], 0, true);
            client.open(vec![mailbox]).await?;
            // Half do not even read.
            if random.chance(0.5) {
                pause(stage, 80.0).await;
            } else {
                while Instant::now() < stage.ends && client.hear().await.is_ok() {}
            }
            Ok(())
        }
        Habit::Babbles => babble(stage, seed, random).await,
        Habit::Stranger => {
            let mut socket = TcpStream::connect(socket(stage)).await.map_err(|_| Lost)?;
            let length = random.below(300);
            let _ = socket.write_all(&random.bytes(length)).await;
            pause(stage, random.between(0.0, 20.0)).await;
            Ok(())
        }
        Habit::Reserves => {
            let mut config = Config::new(seed);
            config.listen = Vec::new();
            config.relays = vec![stage.address.clone()];
            let transport = Transport::start(config).map_err(|_| Lost)?;
            pause(stage, random.between(1.0, 20.0)).await;
            drop(transport);
            Ok(())
        }
        Habit::Sleeps => sleeper(stage, seed, random).await,
    }
}

/// `127.0.0.1:port`.
fn socket(stage: &Stage) -> String {
    let address = stage.address.to_string();
    let mut parts = address.split('/').skip(2).step_by(2);
    format!("{}:{}", parts.next().unwrap(), parts.next().unwrap())
}

/// With a mailbox of its own.
async fn alone(stage: &Stage, seed: [u8; 32]) -> Result<(Client, SigningKey), Lost> {
    let mut client = Client::greeted(seed, &stage.address).await?;
    let key = SigningKey::from_bytes(&seed);
    let mailbox = client.opening(&key, 0, false);
    client.open(vec![mailbox]).await?;
    client.hear_soon().await?;
    Ok((client, key))
}

async fn idle(stage: &Stage, seed: [u8; 32], random: &mut Random) -> Result<(), Lost> {
    let mut client = Client::greeted(seed, &stage.address).await?;
    let own: Vec<_> = (0..20_u8).map(|number| [&seed[..31], &[number]].concat().try_into().unwrap()).collect();
    let own = own.iter().map(|seed| client.opening(&SigningKey::from_bytes(seed), 0, true)).collect();
    client.open(own).await?;
    client.hear_soon().await?;
    pause(stage, random.between(5.0, 60.0)).await;
    if random.chance(0.5) {
        client.leave().await;
    }
    Ok(())
}

async fn sleeper(stage: &Stage, seed: [u8; 32], random: &mut Random) -> Result<(), Lost> {
    let mut client = Client::greeted(seed, &stage.address).await?;
    let key = &stage.mailboxes[random.below(stage.mailboxes.len())];
    let mailbox = client.opening(key, 0, false);
    client.open(vec![mailbox]).await?;
    client.hear_soon().await?;
    // So many devices, not more each time.
    let id = vec![random.below(100) as u8; 16];
    let endpoint = "https://127.0.0.1:9/push".to_owned();
    let wake = Wake { id: id.into(), endpoint, mailboxes: name(key), ..Wake::default() };
    client.send(request::Body::Wake(wake)).await?;
    client.hear_soon().await?;
    client.leave().await;
    Ok(())
}

async fn babble(stage: &Stage, seed: [u8; 32], random: &mut Random) -> Result<(), Lost> {
    let (mut client, key) = alone(stage, seed).await?;
    match random.below(5) {
        0 => {
            let length = 1 + random.below(5_000);
            client.raw(random.bytes(length)).await?;
        }
        1 => {
            let mut forged = client.opening(&SigningKey::from_bytes(&random.seed()), 0, true);
            forged.signature = random.bytes(64).into();
            client.open(vec![forged; 50]).await?;
        }
        2 => drop(client.put(&SigningKey::from_bytes(&random.seed()), Kind::Entry, random.bytes(1_000)).await?),
        3 => {
            let reconcile = Reconcile { mailbox: name(&key), message: random.bytes(100).into() };
            client.send(request::Body::Reconcile(reconcile)).await?;
        }
        _ => drop(client.send(request::Body::Hello(clave_mailbox::Hello::default())).await?),
    }
    client.hear_soon().await.map(|_| ())
}

/// What a member asked and is not answered yet.
enum Asked {
    Put(Instant, Option<BlobId>),
    Other,
}

/// A member's session.
struct Session<'a> {
    stage: &'a Stage,
    client: Client,
    mailboxes: Vec<&'a SigningKey>,
    asked: VecDeque<Asked>,
    /// Up to where it has read each.
    positions: Vec<u64>,
    /// Chunks that are stored.
    chunks: Vec<BlobId>,
}

async fn member(stage: &Stage, seed: [u8; 32], random: &mut Random) -> Result<(), Lost> {
    let client = Client::greeted(seed, &stage.address).await?;
    let first = random.below(stage.mailboxes.len());
    let mailboxes = stage.mailboxes.iter().cycle().skip(first).take(4).collect();
    let mut session =
        Session { stage, client, mailboxes, asked: VecDeque::new(), positions: Vec::new(), chunks: Vec::new() };
    session.follow(random.chance(0.2)).await?;
    let until = (Instant::now() + Duration::from_secs_f64(random.between(3.0, 40.0))).min(stage.ends);
    while Instant::now() < until {
        let next = (Instant::now() + Duration::from_secs_f64(random.between(0.1, 1.5))).min(until);
        while let Ok(reply) = tokio::time::timeout_at(next.into(), session.client.hear()).await {
            session.take(reply?).await?;
        }
        session.act(random).await?;
    }
    while !session.asked.is_empty() {
        let reply = session.client.hear_soon().await?;
        session.take(reply).await?;
    }
    if random.chance(0.7) {
        session.client.leave().await;
    }
    Ok(())
}

impl Session<'_> {
    /// From the beginning, or only what comes.
    async fn follow(&mut self, all: bool) -> Result<(), Lost> {
        let looking = self.mailboxes.iter().map(|key| self.client.opening(key, 0, false)).collect();
        self.client.open(looking).await?;
        let Some(reply::Body::Opened(Opened { mailboxes })) = self.client.hear_soon().await?.body else {
            return Err(Lost);
        };
        self.positions = mailboxes.into_iter().map(|known| if all { 0 } else { known.last }).collect();
        let places = self.mailboxes.iter().zip(&self.positions);
        let following = places.map(|(key, after)| self.client.opening(key, *after, true)).collect();
        self.client.open(following).await?;
        self.asked.push_back(Asked::Other);
        Ok(())
    }

    async fn act(&mut self, random: &mut Random) -> Result<(), Lost> {
        let at = random.below(self.mailboxes.len());
        let key = self.mailboxes[at];
        match random.below(10) {
            0 => {
                let length = 50_000 + random.below(400_000);
                let chunk = random.bytes(length);
                let id = BlobId::of(Kind::Chunk, &chunk);
                self.asked.push_back(Asked::Put(Instant::now(), Some(id)));
                self.client.put(key, Kind::Chunk, chunk).await?;
            }
            1 => {
                let ids: Vec<u8> = self.chunks.iter().flat_map(|id| id.0).collect();
                let mailboxes = self.mailboxes.iter().flat_map(|key| name(key)).collect::<Vec<u8>>().into();
                let get = Get { mailboxes, kind: Kind::Chunk.into(), ids: ids.into(), only_whether: false };
                self.asked.push_back(Asked::Other);
                self.client.send(request::Body::Get(get)).await?;
            }
            2 => {
                let mut side = crate::day::comparison(std::iter::empty());
                let message = side.initiate().expect("a new side").into();
                self.asked.push_back(Asked::Other);
                self.client.send(request::Body::Reconcile(Reconcile { mailbox: name(key), message })).await?;
            }
            3 => {
                self.asked.extend([Asked::Other, Asked::Other]);
                self.client.send(request::Body::Close(Close { mailboxes: name(key) })).await?;
                let again = self.client.opening(key, self.positions[at], true);
                self.client.open(vec![again]).await?;
            }
            _ => {
                let length = random.length(700.0, 0.8, 20_000.0) + 40;
                self.asked.push_back(Asked::Put(Instant::now(), None));
                self.client.put(key, Kind::Entry, random.bytes(length)).await?;
            }
        }
        Ok(())
    }

    async fn take(&mut self, reply: Reply) -> Result<(), Lost> {
        match reply.body {
            Some(reply::Body::Delivery(Delivery { mailbox, entries })) => {
                self.stage.delivered.fetch_add(entries.len() as u64, Relaxed);
                let Some(last) = entries.last() else { return Ok(()) };
                let at = self.mailboxes.iter().position(|key| key.verifying_key().as_bytes()[..] == mailbox[..]);
                self.positions[at.ok_or(Lost)?] = last.position;
                self.client.acknowledge(mailbox, last.position).await
            }
            Some(_) if reply.number > 0 => {
                if let Some(Asked::Put(at, chunk)) = self.asked.pop_front() {
                    self.stage.put_ms.lock().unwrap().push(at.elapsed().as_secs_f64() * 1000.0);
                    self.chunks.extend(chunk);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
