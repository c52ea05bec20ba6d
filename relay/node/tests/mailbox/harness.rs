//! The real program, and devices that speak the protocol by hand.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use clave_mailbox::{
    Acknowledge, BlobId, Bytes, Delivery, Get, Hello, Kind, Open, Opened, Opening, Position, Put, Reason, Reply,
    Request, Welcome, reply, request,
};
use clave_transport::{Address, Channel, Config, Event, Events, PeerKey, Transport};
use ed25519_dalek::{Signer, SigningKey};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

/// A safety net only.
pub async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("this should have happened by now")
}

/// A relay in a directory of its own.
pub struct Relay {
    pub process: Child,
    pub lines: Lines<BufReader<ChildStdout>>,
    pub address: Address,
    pub data: PathBuf,
}

/// Runs a command of the program, and gives what it printed.
pub async fn command(args: &[&str]) -> (ExitStatus, String, String) {
    let done = in_time(Command::new(env!("CARGO_BIN_EXE_clave-relay")).args(args).output()).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (done.status, text(done.stdout), text(done.stderr))
}

impl Relay {
    /// With a configuration of which these lines are a part, `[mailboxes]` first.
    pub async fn start(folder: &Path, config: &str) -> Self {
        Self::start_on(folder, config, 0).await
    }

    pub async fn start_on(folder: &Path, config: &str, port: u16) -> Self {
        Self::start_logging(folder, config, port, "debug").await
    }

    pub async fn start_logging(folder: &Path, config: &str, port: u16, level: &str) -> Self {
        let (data, path) = (folder.join("data"), folder.join("relay.toml"));
        let head = format!("listen = [\"/ip4/127.0.0.1/tcp/{port}\"]\ndata = {data:?}\ndrain_seconds = 3\n");
        let tail = format!("[metrics]\nlisten = \"127.0.0.1:0\"\n[log]\nlevel = \"{level}\"\n");
        std::fs::write(&path, format!("{head}{config}\n{tail}")).unwrap();
        let log = std::fs::OpenOptions::new().create(true).append(true).open(folder.join("log")).unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_clave-relay"))
            .args(["run", "--config"])
            .arg(&path)
            // As `packaging/clave-relay.service` has it.
            .env("MALLOC_ARENA_MAX", "2")
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        loop {
            let line = in_time(lines.next_line()).await.unwrap().expect("it starts");
            if let Some(address) = line.strip_prefix("listening on ") {
                return Self { process, lines, address: address.parse().unwrap(), data };
            }
        }
    }

    /// A command to it: its name, what it is given, and where the relay is.
    pub async fn command(&self, name: &str, args: &[&str]) -> (ExitStatus, String, String) {
        let place = ["--data", self.data.to_str().unwrap()];
        command(&[&[name][..], args, &place].concat()).await
    }

    pub async fn signal(&self, name: &str) {
        let id = self.process.id().unwrap().to_string();
        assert!(Command::new("kill").args([name, &id]).status().await.unwrap().success());
    }

    pub async fn stop(mut self) {
        self.signal("-TERM").await;
        assert!(in_time(self.process.wait()).await.unwrap().success());
    }
}

/// Says what went wrong, where it can be read after the test's folder is gone.
impl Drop for Relay {
    #[allow(clippy::print_stderr, reason = "tests are read by people")]
    fn drop(&mut self) {
        // Waited for: its folder can be removed only once nobody writes there.
        let _ = self.process.start_kill();
        while matches!(self.process.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(1));
        }
        if std::thread::panicking() {
            let log = self.data.parent().map(|folder| std::fs::read_to_string(folder.join("log")));
            let log = log.and_then(Result::ok).unwrap_or_default();
            let lines: Vec<_> = log.lines().filter(|line| line.contains("WARN") || line.contains("ERROR")).collect();
            eprintln!("what {} warned of:", self.address);
            lines[lines.len().saturating_sub(40)..].iter().for_each(|line| eprintln!("  {line}"));
        }
    }
}

/// A mailbox's key.
pub fn mailbox(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

pub fn name(key: &SigningKey) -> Bytes {
    Bytes::copy_from_slice(key.verifying_key().as_bytes())
}

/// A device.
pub struct Device {
    pub transport: Transport,
    events: Events,
    pub relay: PeerKey,
    number: u64,
    pub welcome: Option<Welcome>,
    pub deliveries: VecDeque<Delivery>,
    pub draining: bool,
}

impl Device {
    /// Connects, and says nothing yet.
    pub async fn connect(seed: u8, address: &Address) -> Self {
        Self::connect_as([seed; 32], address).await
    }

    /// The same, as one of many.
    pub async fn connect_as(seed: [u8; 32], address: &Address) -> Self {
        let mut config = Config::new(seed);
        config.listen = Vec::new();
        config.hole_punching = false;
        let (transport, events) = Transport::start(config).unwrap();
        let relay = address.peer().unwrap();
        transport.permit(relay);
        in_time(transport.connect(Some(relay), vec![address.clone()])).await.unwrap();
        Self { transport, events, relay, number: 0, welcome: None, deliveries: VecDeque::new(), draining: false }
    }

    /// Connects and says hello.
    pub async fn greeted(seed: u8, address: &Address) -> Self {
        let mut device = Self::connect(seed, address).await;
        device.hello(b"").await.unwrap();
        device
    }

    pub async fn hello(&mut self, token: &[u8]) -> Result<(), Reason> {
        let hello = Hello { version: 1, token: Bytes::copy_from_slice(token) };
        match self.call(request::Body::Hello(hello)).await {
            reply::Body::Welcome(welcome) => {
                self.welcome = Some(welcome);
                Ok(())
            }
            reply::Body::Refused(refused) => Err(refused.reason()),
            other => panic!("{other:?}"),
        }
    }

    pub fn opening(&self, key: &SigningKey, after: u64, follow: bool) -> Opening {
        let challenge = self.welcome.as_ref().unwrap().challenge.as_ref().try_into().unwrap();
        let proof = clave_mailbox::proof(&self.relay.0, challenge, key.verifying_key().as_bytes());
        let signature = Bytes::copy_from_slice(&key.sign(&proof).to_bytes());
        Opening { mailbox: name(key), signature, after, follow }
    }

    pub async fn open(&mut self, key: &SigningKey, after: u64, follow: bool) -> Opened {
        let opening = self.opening(key, after, follow);
        match self.call(request::Body::Open(Open { mailboxes: vec![opening] })).await {
            reply::Body::Opened(opened) => opened,
            other => panic!("{other:?}"),
        }
    }

    pub async fn send(&mut self, body: request::Body) -> u64 {
        self.number += 1;
        let frame = clave_mailbox::encode(&Request { number: self.number, body: Some(body) });
        self.raw(frame).await;
        self.number
    }

    pub async fn raw(&self, frame: Vec<u8>) {
        in_time(self.transport.send(self.relay, Channel::Mailbox, frame)).await.unwrap();
    }

    pub async fn call(&mut self, body: request::Body) -> reply::Body {
        let number = self.send(body).await;
        let (answered, body) = self.reply().await.expect("the session goes on");
        assert_eq!(answered, number);
        body
    }

    /// The next reply to a request; `None` if the session ended.
    pub async fn reply(&mut self) -> Option<(u64, reply::Body)> {
        loop {
            match self.next().await? {
                Reply { number, body: Some(body) } if number > 0 => return Some((number, body)),
                reply => self.unasked(reply),
            }
        }
    }

    fn unasked(&mut self, reply: Reply) {
        match reply.body {
            Some(reply::Body::Delivery(delivery)) => self.deliveries.push_back(delivery),
            Some(reply::Body::Notice(notice)) => self.draining |= notice.draining,
            // What could not be read has no number.
            Some(reply::Body::Refused(refused)) => assert_eq!(refused.reason(), Reason::Malformed),
            other => panic!("{other:?}"),
        }
    }

    async fn next(&mut self) -> Option<Reply> {
        loop {
            match in_time(self.events.next()).await? {
                Event::Frame { channel: Channel::Mailbox, bytes, .. } => {
                    return Some(clave_mailbox::decode(&bytes).unwrap());
                }
                Event::Interrupted { .. } | Event::Disconnected { .. } => return None,
                _ => {}
            }
        }
    }

    /// Entries of one mailbox as they are delivered, until there are so many.
    pub async fn delivered(&mut self, count: usize) -> Vec<(u64, Bytes)> {
        let mut entries = Vec::new();
        while entries.len() < count {
            if let Some(delivery) = self.deliveries.pop_front() {
                entries.extend(delivery.entries.into_iter().map(|item| (item.position, item.bytes)));
            } else {
                let reply = self.next().await.expect("the session goes on");
                self.unasked(reply);
            }
        }
        entries
    }

    pub async fn put(&mut self, key: &SigningKey, kind: Kind, blobs: &[&[u8]]) -> Result<u32, (Reason, u64)> {
        match self.call(put(key, kind, blobs)).await {
            reply::Body::Stored(stored) => Ok(stored.new),
            reply::Body::Refused(refused) => Err((refused.reason(), refused.retry_after_ms)),
            other => panic!("{other:?}"),
        }
    }

    pub async fn acknowledge(&mut self, key: &SigningKey, position: u64) {
        let positions = vec![Position { mailbox: name(key), position }];
        self.send(request::Body::Acknowledge(Acknowledge { positions })).await;
    }

    pub async fn get(&mut self, key: &SigningKey, kind: Kind, ids: &[BlobId]) -> Vec<Option<Bytes>> {
        let ids: Vec<u8> = ids.iter().flat_map(|id| id.0).collect();
        let get = Get { mailboxes: name(key), kind: kind.into(), ids: ids.into(), only_whether: false };
        match self.call(request::Body::Get(get)).await {
            reply::Body::Blobs(blobs) => blobs.blobs.into_iter().map(|blob| blob.found.then_some(blob.bytes)).collect(),
            other => panic!("{other:?}"),
        }
    }

    pub async fn which(&mut self, key: &SigningKey, kind: Kind, ids: &[BlobId]) -> Vec<bool> {
        let ids: Vec<u8> = ids.iter().flat_map(|id| id.0).collect();
        let get = Get { mailboxes: name(key), kind: kind.into(), ids: ids.into(), only_whether: true };
        match self.call(request::Body::Get(get)).await {
            reply::Body::Blobs(blobs) => blobs.blobs.into_iter().map(|blob| blob.found).collect(),
            other => panic!("{other:?}"),
        }
    }

    /// Until the relay has ended the session, or the connection.
    pub async fn ended(&mut self) {
        while let Some(reply) = self.next().await {
            if reply.number == 0 {
                self.unasked(reply);
            }
        }
    }
}

pub fn put(key: &SigningKey, kind: Kind, blobs: &[&[u8]]) -> request::Body {
    let blobs = blobs.iter().map(|bytes| Bytes::copy_from_slice(bytes)).collect();
    request::Body::Put(Put { mailbox: name(key), kind: kind.into(), blobs })
}
