//! What libp2p alone does: one stream over TCP, Noise and Yamux, from memory to nowhere.

use std::time::{Duration, Instant};

use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, StreamProtocol, Swarm, SwarmBuilder, noise, tcp, yamux};
use libp2p_stream as stream;

const PROTOCOL: StreamProtocol = StreamProtocol::new("/clave-bench/raw");
/// What one write or read moves at most, in bytes.
const BUFFER_BYTES: usize = 256 * 1024;

fn swarm() -> Swarm<stream::Behaviour> {
    SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)
        .expect("Noise takes any key")
        .with_behaviour(|_| stream::Behaviour::new())
        .expect("no behaviour can fail")
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(60)))
        .build()
}

/// Listens, tells where, and writes so many bytes to whoever opens a stream, until it is killed.
pub async fn serve(bytes: u64, tell: impl FnOnce(String)) {
    let mut swarm = swarm();
    let mut incoming = swarm.behaviour().new_control().accept(PROTOCOL).expect("accepted once");
    swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse().expect("a constant")).expect("loopback is there");
    let mut tell = Some(tell);
    tokio::spawn(async move {
        while let Some((_, mut stream)) = incoming.next().await {
            let buffer = vec![7; BUFFER_BYTES];
            let mut left = bytes;
            while left > 0 {
                let now = left.min(BUFFER_BYTES as u64);
                stream.write_all(&buffer[..now as usize]).await.expect("the other side reads");
                left -= now;
            }
            stream.close().await.expect("the other side reads");
        }
    });
    loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await
            && let Some(tell) = tell.take()
        {
            tell(address.with_p2p(*swarm.local_peer_id()).expect("it names nobody yet").to_string());
        }
    }
}

/// How long it takes to read everything from who serves there.
pub async fn fetch(address: &str, bytes: u64) -> Duration {
    let mut swarm = swarm();
    let address: Multiaddr = address.parse().expect("what serve() told");
    let Some(libp2p::multiaddr::Protocol::P2p(peer)) = address.iter().last() else { panic!("it names its peer") };
    let mut control = swarm.behaviour().new_control();
    swarm.dial(address).expect("loopback");
    loop {
        if let SwarmEvent::ConnectionEstablished { .. } = swarm.select_next_some().await {
            break;
        }
    }
    tokio::spawn(async move {
        loop {
            swarm.select_next_some().await;
        }
    });
    let mut stream = control.open_stream(peer, PROTOCOL).await.expect("it speaks it");
    let started = Instant::now();
    let (mut buffer, mut read) = (vec![0; BUFFER_BYTES], 0);
    while read < bytes {
        let now = stream.read(&mut buffer).await.expect("it writes");
        assert_ne!(now, 0, "cut short");
        read += now as u64;
    }
    started.elapsed()
}
