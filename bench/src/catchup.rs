//! A new device catches up on a circle: Clave, sealed, every author's signature checked, durable in redb; beside `samod`
//! syncing the same documents in clear, in memory. Both over TCP on the loopback interface, each side on threads of its own.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::num::NonZero;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use clave_crdt::{Actor, Document, DocumentKind, Draft};
use clave_crypto::{ContentKey, DeviceId, Entropy, Mls};
use clave_engine::fuzzing::rogue;
use clave_engine::membership::{Insertion, Log};
use clave_engine::{Bundling, Channel, CircleId, DocumentId, benching};
use serde_json::{Value, json};

use crate::Scale;
use crate::harness::{Group, Run, Spread, human};
use crate::membership::{Device, Person, START_MS, Team, Tree};

mod peer;

const SOUND: &str = "the circle is made by the rules";
const WIRE: &str = "the loopback interface works";
/// Entries per frame while the circle is made.
const FRAME_ENTRIES: usize = 1_000;
const HOUR_MS: u64 = 3_600_000;
/// When the segments have long been settled.
const LATER_MS: u64 = START_MS + 9 * HOUR_MS;

/// A circle in which much was said.
struct Chat {
    people: Vec<Person>,
    team: Team,
    segments: u32,
    messages: u32,
    /// Each segment as one Automerge document.
    documents: Vec<Vec<u8>>,
    /// Each message as an entry, in order.
    entries: Vec<Vec<u8>>,
}

/// Something like what people say: words of several lengths, some of them Chinese.
fn text(random: &mut Entropy) -> String {
    const WORDS: [&str; 20] = [
        "meeting", "tomorrow", "你好", "会议", "the", "a", "deploy", "release", "again", "please", "review", "thanks",
        "lunch", "when", "where", "ok", "and", "notes", "draft", "plan",
    ];
    let bytes: [u8; 16] = random.bytes();
    let count = 3 + usize::from(bytes[0] % 12);
    let words = bytes[1..].iter().cycle().take(count).map(|byte| WORDS[usize::from(*byte) % WORDS.len()]);
    words.collect::<Vec<_>>().join(" ")
}

/// A segment as one Automerge document, and its messages as entries.
type Segment = (Vec<u8>, Vec<Vec<u8>>);

/// What everybody says in an hour, each on a device that has what was said before.
fn segment(
    number: u32,
    segments: u32,
    messages: u32,
    circle: CircleId,
    key: &ContentKey,
    authors: &[Person],
    actors: &[Actor],
) -> Segment {
    let mut entropy = Entropy::from_seed([5 + number as u8; 32]);
    let id = DocumentId::well_known(circle, DocumentKind::Timeline, number);
    let mut at_ms = START_MS - u64::from(segments - number) * HOUR_MS;
    // Each author's own copy, and how many of the changes it has.
    let mut copies: Vec<(Document, usize)> =
        actors.iter().map(|actor| (Document::new(DocumentKind::Timeline, *actor), 0)).collect();
    let (mut changes, mut entries) = (Vec::<Vec<u8>>::new(), Vec::new());
    for _ in 0..messages {
        let who = usize::from(u16::from_be_bytes(entropy.bytes())) % authors.len();
        at_ms += u64::from(u16::from_be_bytes(entropy.bytes())) * HOUR_MS / u64::from(messages) / 40_000;
        let (own, seen) = &mut copies[who];
        own.apply(&changes[*seen..]).expect(SOUND);
        let draft = Draft::text(text(&mut entropy));
        own.timeline().expect(SOUND).post(at_ms, entropy.bytes(), &draft).expect(SOUND);
        let change = own.commit(at_ms).expect("something was posted");
        entries.push(benching::seal_change(key, circle, &authors[who].device, id, change.clone(), at_ms, &mut entropy));
        changes.push(change);
        *seen = changes.len();
    }
    let (mut document, seen) = copies.swap_remove(0);
    document.apply(&changes[seen..]).expect(SOUND);
    (document.save().expect(SOUND), entries)
}

impl Chat {
    fn new(authors: usize, segments: u32, per_segment: u32) -> Self {
        let mut entropy = Entropy::from_seed([5; 32]);
        let team = Team::new(authors + 2, Tree::Cold, &mut entropy);
        let people: Vec<Person> = (0..authors + 2).map(Person::new).collect();
        let devices = &team.logs[0].membership().devices;
        let actor = |person: &Person| {
            let id = person.device.id();
            Actor::new(*id.as_bytes(), *devices[&id].since.as_bytes().first_chunk().expect("an id is longer"), 1)
        };
        let actors: Vec<Actor> = people[2..].iter().map(actor).collect();
        let key = benching::content_key(&team.ours[0], team.circle()).expect(SOUND);
        // One segment knows nothing of the others: as many at a time as there are processors.
        let workers = thread::available_parallelism().map_or(1, NonZero::get) as u32;
        let (circle, them, actors, key) = (team.circle(), &people[2..], &actors, &key);
        let mut made: Vec<(u32, Segment)> = thread::scope(|scope| {
            let work = |worker| {
                move || {
                    let numbers = (worker..segments).step_by(workers as usize);
                    let make = |number| (number, segment(number, segments, per_segment, circle, key, them, actors));
                    numbers.map(make).collect::<Vec<_>>()
                }
            };
            let workers: Vec<_> = (0..workers).map(|worker| scope.spawn(work(worker))).collect();
            workers.into_iter().flat_map(|worker| worker.join().expect(SOUND)).collect()
        });
        made.sort_by_key(|(number, _)| *number);
        let (documents, entries): (_, Vec<_>) = made.into_iter().map(|(_, segment)| segment).unzip();
        let entries = entries.concat();
        Self { people, team, segments, messages: segments * per_segment, documents, entries }
    }

    fn circle(&self) -> CircleId {
        self.team.circle()
    }

    /// Puts a device into the circle.
    fn let_in(&self, device: &mut Device, number: usize, now_ms: u64) {
        let mut log = Log::new(self.circle());
        for operation in self.team.logs[0].operations() {
            assert!(matches!(log.insert_verified(operation.clone()), Insertion::Inserted(_)));
        }
        let seat = Mls.seat(&self.team.ours[0], self.people[number].device.id()).expect(SOUND);
        device.enter(log, seat, now_ms);
    }

    /// The founder, who has all of it.
    fn server(&self, data: &Path) -> Device {
        let mut server = Device::new(&self.people[0], data, START_MS);
        self.let_in(&mut server, 0, START_MS);
        let never = Bundling { changes_min: u64::MAX, ..Bundling::default() };
        let source = self.people[2].device.id();
        server.handle(START_MS, |engine| {
            engine.set_bundling(never);
            engine.handle_connected(source, START_MS);
        });
        for entries in self.entries.chunks(FRAME_ENTRIES) {
            let frame = rogue::entries_frame(self.circle(), entries.to_vec());
            server.handle(START_MS, |engine| engine.handle_frame(source, Channel::Sync, frame, START_MS));
        }
        server.handle(START_MS, |engine| engine.handle_disconnected(source, START_MS));
        assert!(entries_of(&server, self.circle()) >= self.entries.len(), "{:?}", server.engine.refusals());
        server
    }

    /// Has the server bundle what is settled. How long that took.
    fn bundle(&self, server: &mut Device) -> Duration {
        let started = Instant::now();
        server.handle(LATER_MS, |engine| engine.set_bundling(Bundling::default()));
        let mut now_ms = LATER_MS;
        while server.engine.poll_timeout().is_some_and(|at_ms| at_ms <= now_ms) {
            server.handle(now_ms, |engine| engine.handle_tick(now_ms));
            now_ms += 1;
        }
        started.elapsed()
    }

    fn newcomer(&self, data: &Path) -> Device {
        let mut device = Device::new(&self.people[1], data, LATER_MS);
        self.let_in(&mut device, 1, LATER_MS);
        device
    }
}

fn entries_of(device: &Device, circle: CircleId) -> usize {
    device.engine.status(circle).expect("it is in").entries
}

fn send(stream: &mut TcpStream, frames: Vec<(DeviceId, Channel, Vec<u8>)>) -> u64 {
    let mut bytes = 0;
    for (_, channel, frame) in frames {
        let length = u32::try_from(frame.len()).expect("frames are bounded").to_be_bytes();
        stream.write_all(&length).and_then(|()| stream.write_all(&[channel as u8])).expect(WIRE);
        stream.write_all(&frame).expect(WIRE);
        bytes += frame.len() as u64 + 5;
    }
    bytes
}

fn receive(stream: &mut TcpStream) -> Option<(Channel, Vec<u8>)> {
    let mut head = [0; 5];
    stream.read_exact(&mut head).ok()?;
    let channel = [Channel::Sync, Channel::Join, Channel::Bulk][usize::from(head[4])];
    let mut frame = vec![0; u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize];
    stream.read_exact(&mut frame).ok()?;
    Some((channel, frame))
}

/// Answers one peer until it hangs up. The bytes that were sent.
fn serve(server: &mut Device, mut stream: TcpStream, peer: DeviceId) -> u64 {
    let mut bytes = send(&mut stream, server.handle(LATER_MS, |engine| engine.handle_connected(peer, LATER_MS)));
    while let Some((channel, frame)) = receive(&mut stream) {
        let frames = server.handle(LATER_MS, |engine| engine.handle_frame(peer, channel, frame, LATER_MS));
        bytes += send(&mut stream, frames);
    }
    server.handle(LATER_MS, |engine| engine.handle_disconnected(peer, LATER_MS));
    bytes
}

/// What one catching-up came to.
struct Caught {
    took: Duration,
    /// Both ways.
    bytes: u64,
    device: Device,
}

/// Has a new device catch up and show the newest 50 messages.
fn catch_up(chat: &Chat, server: &mut Device, data: &Path) -> Caught {
    let (listener, circle) = (TcpListener::bind("127.0.0.1:0").expect(WIRE), chat.circle());
    let address = listener.local_addr().expect(WIRE);
    let (mut device, wanted) = (chat.newcomer(data), entries_of(server, circle));
    let (host, id) = (server.id, device.id);
    thread::scope(|scope| {
        let serving = scope.spawn(move || serve(server, listener.accept().expect(WIRE).0, id));
        let started = Instant::now();
        let mut stream = TcpStream::connect(address).expect(WIRE);
        stream.set_nodelay(true).expect(WIRE);
        let mut bytes = send(&mut stream, device.handle(LATER_MS, |engine| engine.handle_connected(host, LATER_MS)));
        while entries_of(&device, circle) < wanted {
            let (channel, frame) = receive(&mut stream).expect(WIRE);
            let frames = device.handle(LATER_MS, |engine| engine.handle_frame(host, channel, frame, LATER_MS));
            bytes += send(&mut stream, frames);
        }
        let newest = DocumentId::well_known(circle, DocumentKind::Timeline, chat.segments - 1);
        let shown = device.engine.document(circle, newest, DocumentKind::Timeline).expect(SOUND);
        assert_eq!(shown.timeline().expect(SOUND).newest(50).len(), 50);
        device.handle(LATER_MS, |_| ());
        let took = started.elapsed();
        stream.shutdown(Shutdown::Both).expect(WIRE);
        bytes += serving.join().expect("the server answers");
        assert_eq!(device.engine.status(circle).expect("it is in").held, 0);
        Caught { took, bytes, device }
    })
}

/// How long it takes to open every segment, and how many messages there are.
fn open_all(chat: &Chat, device: &mut Device) -> (Duration, usize) {
    let (started, mut messages) = (Instant::now(), 0);
    for number in 0..chat.segments {
        let id = DocumentId::well_known(chat.circle(), DocumentKind::Timeline, number);
        let document = device.engine.document(chat.circle(), id, DocumentKind::Timeline).expect(SOUND);
        messages += document.timeline().expect(SOUND).len();
        device.handle(LATER_MS, |_| ());
    }
    (started.elapsed(), messages)
}

pub fn groups(scale: Scale, data: &Path) -> Vec<Value> {
    let (authors, segments, per_segment) = (scale.of(50, 5) as usize, scale.of(50, 4), scale.of(2_000, 200));
    let started = Instant::now();
    let chat = Chat::new(authors, segments, per_segment);
    println!("  (made in {})", human(started.elapsed().as_secs_f64()));
    let mut server = chat.server(data);
    println!("  (taken in after {})", human(started.elapsed().as_secs_f64()));
    let disk_before = server.disk_bytes();
    let loose = catch_up(&chat, &mut server, data);
    let bundling = chat.bundle(&mut server);
    let disk_after = server.disk_bytes();
    server.compact();
    let disk = [disk_before, disk_after, server.disk_bytes()];

    let samod = peer::Samod::new(&chat.documents);
    let (mut theirs, mut ours) = (0, 0);
    let mut opened = None;
    let run_samod: Run<'_> = Box::new(|times| {
        (0..times)
            .map(|_| samod.catch_up())
            .map(|(took, bytes)| {
                theirs = bytes;
                took
            })
            .sum()
    });
    let run_ours: Run<'_> = Box::new(|times| {
        (0..times)
            .map(|_| {
                let mut caught = catch_up(&chat, &mut server, data);
                ours = caught.bytes;
                opened.get_or_insert_with(|| open_all(&chat, &mut caught.device));
                caught.took
            })
            .sum()
    });
    let name = format!("a new device catches up on {} messages of {authors} authors", chat.messages);
    let mut value = Group::new(name, chat.messages, "message")
        .with("samod, in clear, in memory", run_samod)
        .with("Clave, sealed, checked, durable", run_ours)
        .measure(scale.rounds.min(5));
    let (open, messages) = opened.expect("it ran");
    assert_eq!(messages, chat.messages as usize);
    let ratio = ours as f64 / theirs as f64;
    println!("  bytes on the wire: samod {theirs}, Clave {ours}, ×{ratio:.2}");
    println!("  Clave without bundles: {}, {} bytes", human(loose.took.as_secs_f64()), loose.bytes);
    println!(
        "  to make the bundles: {}; to open every segment once more: {}",
        human(bundling.as_secs_f64()),
        human(open.as_secs_f64())
    );
    println!("  the server's store: {} bytes before, {} bundled, {} compacted", disk[0], disk[1], disk[2]);
    let seconds = Spread::of(vec![loose.took.as_secs_f64()]).median;
    value["bytes"] = json!({ "samod": theirs, "clave": ours, "ratio": ratio, "clave_without_bundles": loose.bytes });
    value["without_bundles_seconds"] = json!(seconds);
    value["open_all_seconds"] = json!(open.as_secs_f64());
    value["disk_bytes"] = json!({ "before": disk[0], "bundled": disk[1], "compacted": disk[2] });
    vec![value]
}
