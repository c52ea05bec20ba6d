//! A device of which there are thousands: whatever goes wrong ends its session, and is no panic.

use std::time::Duration;

use clave_mailbox::{
    Acknowledge, Bytes, Hello, Kind, Open, Opening, Position, Put, Reply, Request, Welcome, reply, request,
};
use clave_transport::{Address, Channel, Config, Event, Events, PeerKey, Transport};
use ed25519_dalek::{Signer, SigningKey};

/// How long one waits for what takes milliseconds when all is well.
const PATIENCE: Duration = Duration::from_secs(30);

/// The session is over: the relay ended it, or did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost;

pub struct Client {
    pub transport: Transport,
    events: Events,
    relay: PeerKey,
    number: u64,
    challenge: [u8; 32],
}

impl Client {
    /// Connects, and says nothing yet.
    pub async fn connect(seed: [u8; 32], address: &Address) -> Result<Self, Lost> {
        let mut config = Config::new(seed);
        config.listen = Vec::new();
        config.hole_punching = false;
        let (transport, events) = Transport::start(config).map_err(|_| Lost)?;
        let relay = address.peer().ok_or(Lost)?;
        transport.permit(relay);
        patiently(transport.connect(Some(relay), vec![address.clone()])).await?.map_err(|_| Lost)?;
        Ok(Self { transport, events, relay, number: 0, challenge: [0; 32] })
    }

    /// Connects and says hello.
    pub async fn greeted(seed: [u8; 32], address: &Address) -> Result<Self, Lost> {
        let mut client = Self::connect(seed, address).await?;
        client.send(request::Body::Hello(Hello { version: 1, token: Bytes::new() })).await?;
        match client.hear_soon().await?.body {
            Some(reply::Body::Welcome(Welcome { challenge, .. })) => {
                client.challenge = challenge.as_ref().try_into().map_err(|_| Lost)?;
                Ok(client)
            }
            _ => Err(Lost),
        }
    }

    /// Sends a request; gives its number.
    pub async fn send(&mut self, body: request::Body) -> Result<u64, Lost> {
        self.number += 1;
        self.raw(clave_mailbox::encode(&Request { number: self.number, body: Some(body) })).await?;
        Ok(self.number)
    }

    pub async fn raw(&self, frame: Vec<u8>) -> Result<(), Lost> {
        patiently(self.transport.send(self.relay, Channel::Mailbox, frame)).await?.map_err(|_| Lost)
    }

    /// What the relay says next. Cancel-safe.
    pub async fn hear(&mut self) -> Result<Reply, Lost> {
        loop {
            match self.events.next().await.ok_or(Lost)? {
                Event::Frame { channel: Channel::Mailbox, bytes, .. } => {
                    return clave_mailbox::decode(&bytes).map_err(|_| Lost);
                }
                Event::Interrupted { .. } | Event::Disconnected { .. } => return Err(Lost),
                _ => {}
            }
        }
    }

    /// The same, of a relay that owes an answer.
    pub async fn hear_soon(&mut self) -> Result<Reply, Lost> {
        patiently(self.hear()).await?
    }

    /// A mailbox with the proof of the right to it.
    pub fn opening(&self, key: &SigningKey, after: u64, follow: bool) -> Opening {
        let proof = clave_mailbox::proof(&self.relay.0, &self.challenge, key.verifying_key().as_bytes());
        let signature = Bytes::copy_from_slice(&key.sign(&proof).to_bytes());
        Opening { mailbox: name(key), signature, after, follow }
    }

    pub async fn open(&mut self, mailboxes: Vec<Opening>) -> Result<u64, Lost> {
        self.send(request::Body::Open(Open { mailboxes })).await
    }

    pub async fn put(&mut self, key: &SigningKey, kind: Kind, blob: Vec<u8>) -> Result<u64, Lost> {
        self.send(request::Body::Put(Put { mailbox: name(key), kind: kind.into(), blobs: vec![blob.into()] })).await
    }

    pub async fn acknowledge(&mut self, mailbox: Bytes, position: u64) -> Result<(), Lost> {
        let positions = vec![Position { mailbox, position }];
        self.send(request::Body::Acknowledge(Acknowledge { positions })).await.map(|_| ())
    }

    /// Lets what was sent arrive, then goes.
    pub async fn leave(self) {
        self.transport.shutdown().await;
    }
}

pub fn name(key: &SigningKey) -> Bytes {
    Bytes::copy_from_slice(key.verifying_key().as_bytes())
}

async fn patiently<T>(future: impl Future<Output = T>) -> Result<T, Lost> {
    tokio::time::timeout(PATIENCE, future).await.map_err(|_| Lost)
}
