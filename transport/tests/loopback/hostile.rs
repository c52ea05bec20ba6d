//! A peer that speaks libp2p well and our protocols badly: a bare swarm, none of our code.

use clave_transport::{Address, Channel, FRAME_BYTES_MAX, PeerKey, Refusals};
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, SwarmBuilder, identity::Keypair, noise, swarm::SwarmEvent, tcp, yamux,
};

use crate::harness::{Device, bob, eventually, in_time};

struct Mallory {
    control: libp2p_stream::Control,
    bob: PeerId,
}

impl Mallory {
    /// Connects to Bob. The swarm runs in a task that ends with the test.
    async fn start(keys: Keypair, bob: PeerId, address: &Address) -> Result<Self, String> {
        let mut swarm = SwarmBuilder::with_existing_identity(keys)
            .with_tokio()
            .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
            .unwrap()
            .with_behaviour(|_| libp2p_stream::Behaviour::new())
            .unwrap()
            .with_swarm_config(|config| config.with_idle_connection_timeout(std::time::Duration::from_secs(60)))
            .build();
        let control = swarm.behaviour().new_control();
        swarm.dial(address.to_string().parse::<Multiaddr>().unwrap()).unwrap();
        loop {
            match in_time(swarm.select_next_some()).await {
                SwarmEvent::ConnectionEstablished { .. } => break,
                SwarmEvent::OutgoingConnectionError { error, .. } => return Err(error.to_string()),
                _ => {}
            }
        }
        tokio::spawn(async move {
            loop {
                swarm.next().await;
            }
        });
        Ok(Self { control, bob })
    }

    async fn open(&mut self, channel: Channel) -> libp2p::Stream {
        let protocol = StreamProtocol::new(channel.protocol());
        in_time(self.control.open_stream(self.bob, protocol)).await.unwrap()
    }

    /// Writes to a new stream, and returns what it is answered until the stream ends.
    async fn write(&mut self, channel: Channel, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.open(channel).await;
        // It may be cut while we write.
        let _ = stream.write_all(bytes).await;
        let _ = stream.flush().await;
        let mut answer = Vec::new();
        let _ = in_time(stream.read_to_end(&mut answer)).await;
        answer
    }
}

fn keys(seed: u8) -> (Keypair, PeerKey) {
    let pair = Keypair::ed25519_from_bytes([seed; 32]).unwrap();
    let key = PeerKey(pair.public().try_into_ed25519().unwrap().to_bytes());
    (pair, key)
}

/// Bob, who permits Mallory: the worst case.
async fn infiltrated() -> (Device, Mallory, PeerKey) {
    let mut bob = bob();
    let (pair, key) = keys(66);
    bob.transport.permit(key);
    let address = bob.address().await;
    let id = address.to_string().rsplit('/').next().unwrap().parse().unwrap();
    let mallory = Mallory::start(pair, id, &address).await.unwrap();
    bob.connected(key).await;
    (bob, mallory, key)
}

fn refused(bob: &Device) -> Refusals {
    bob.transport.stats().refusals
}

#[tokio::test]
async fn garbage_lengths_end_the_stream_are_counted_and_cost_nothing() {
    let (mut bob, mut mallory, key) = infiltrated().await;
    let too_long = u32::try_from(FRAME_BYTES_MAX + 1).unwrap().to_be_bytes();
    assert_eq!(mallory.write(Channel::Sync, &too_long).await, []);
    assert_eq!(mallory.write(Channel::Join, &[0xff; 4096]).await, []);
    assert_eq!(mallory.write(Channel::Bulk, b"GET / HTTP/1.1\r\n\r\n").await, []);
    assert_eq!((refused(&bob).oversize, bob.transport.stats().inbound_waiting_bytes), (3, [0; Channel::COUNT]));
    // A frame before the garbage counts, and a new stream is as good as the first.
    let mut wire = vec![0, 0, 0, 2, 7, 8];
    wire.extend(too_long);
    mallory.write(Channel::Sync, &wire).await;
    assert_eq!(bob.frame().await, (key, Channel::Sync, vec![7, 8]));
    let mut stream = mallory.open(Channel::Sync).await;
    stream.write_all(&[0, 0, 0, 1, 9]).await.unwrap();
    stream.flush().await.unwrap();
    assert_eq!(bob.frame().await, (key, Channel::Sync, vec![9]));
    assert_eq!(refused(&bob).oversize, 4);
}

#[tokio::test]
async fn an_end_inside_a_frame_is_counted_and_no_frame() {
    let (mut bob, mut mallory, key) = infiltrated().await;
    let mut stream = mallory.open(Channel::Sync).await;
    stream.write_all(&[0, 0, 1, 0, 1, 2, 3]).await.unwrap();
    stream.close().await.unwrap();
    eventually(|| refused(&bob).broken == 1).await;
    // A clean end is answered with the receipt.
    let mut stream = mallory.open(Channel::Sync).await;
    stream.write_all(&[0, 0, 0, 1, 5]).await.unwrap();
    stream.close().await.unwrap();
    let mut answer = Vec::new();
    in_time(stream.read_to_end(&mut answer)).await.unwrap();
    assert_eq!(answer, [0x06]);
    assert_eq!(bob.frame().await, (key, Channel::Sync, vec![5]));
}

/// A claimed length reserves nothing: the frame of another stream goes through while it is pending.
#[tokio::test]
async fn half_a_frame_holds_up_nobody_else() {
    let (mut bob, mut mallory, key) = infiltrated().await;
    let mut half = mallory.open(Channel::Bulk).await;
    let claimed = u32::try_from(FRAME_BYTES_MAX).unwrap().to_be_bytes();
    half.write_all(&claimed).await.unwrap();
    half.write_all(&[1; 1000]).await.unwrap();
    half.flush().await.unwrap();
    let mut other = mallory.open(Channel::Sync).await;
    other.write_all(&[0, 0, 0, 1, 3]).await.unwrap();
    other.flush().await.unwrap();
    assert_eq!(bob.frame().await, (key, Channel::Sync, vec![3]));
    assert_eq!(bob.transport.stats().inbound_waiting_bytes, [0; Channel::COUNT]);
}

/// Only the newest stream of a channel is read, so many of them cost no more than one.
#[tokio::test]
async fn many_streams_at_once_are_no_more_than_one() {
    let (mut bob, mut mallory, key) = infiltrated().await;
    let mut streams = Vec::new();
    for number in 0..40u8 {
        let mut stream = mallory.open(Channel::Sync).await;
        stream.write_all(&[0, 0, 0, 1, number]).await.unwrap();
        stream.flush().await.unwrap();
        streams.push(stream);
    }
    let mut last = None;
    while last != Some(39) {
        let (peer, channel, bytes) = bob.frame().await;
        assert_eq!((peer, channel), (key, Channel::Sync));
        assert!(last < Some(bytes[0]), "a frame came twice or late");
        last = Some(bytes[0]);
    }
    let mut answer = Vec::new();
    let _ = in_time(streams[0].read_to_end(&mut answer)).await;
    assert_eq!(answer, []);
}
