//! WebSocket: between devices, to a relay, and through a proxy that ends TLS.

use std::sync::Arc;

use clave_transport::{Address, Channel, Config, Event, PeerKey, RelayLimits, Way};
use futures::AsyncReadExt;
use futures_rustls::{TlsAcceptor, rustls};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::compat::TokioAsyncReadCompatExt;

use crate::harness::{config, connect, in_time, relay_at, start};

pub(crate) fn socket() -> Address {
    "/ip4/127.0.0.1/tcp/0/ws".parse().unwrap()
}

#[tokio::test]
async fn two_devices_talk_over_a_websocket() {
    let alice = start(Config { listen: vec![], ..config(1) });
    let bob = start(Config { listen: vec![socket()], ..config(2) });
    let (alice, mut bob) = connect(alice, bob).await;
    let known = alice.transport.peer(&bob.key()).unwrap();
    assert!(known.connections[0].address.to_string().contains("/ws"), "{known:?}");
    // The longest frame crosses many of WebSocket's.
    for bytes in [0, 1, clave_transport::FRAME_BYTES_MAX] {
        alice.transport.send(bob.key(), Channel::Bulk, vec![7; bytes]).await.unwrap();
        assert!(bob.frame().await.2 == vec![7; bytes]);
    }
}

/// By a name, too: the hosts file answers, and the name server that was given need not.
#[tokio::test]
async fn a_name_leads_to_a_device() {
    let mut bob = start(Config { listen: vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap(), socket()], ..config(2) });
    let alice = start(Config { listen: vec![], name_servers: vec!["127.0.0.1".parse().unwrap()], ..config(1) });
    for _ in 0..2 {
        let named = bob.address().await.to_string().replace("/ip4/127.0.0.1", "/dns4/localhost");
        assert_eq!(in_time(alice.transport.connect(None, vec![named.parse().unwrap()])).await, Ok(bob.key()));
        in_time(alice.transport.disconnect(bob.key())).await;
    }
}

/// Ends TLS on a port of its own, and passes on what is inside.
pub(crate) async fn proxy(to: u16) -> (u16, Vec<u8>) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1", "bob.invalid"].map(str::to_owned)).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.key_pair.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(server));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // A client that does not trust the certificate ends here.
                let Ok(outside) = acceptor.accept(stream.compat()).await else { return };
                let inside = TcpStream::connect(("127.0.0.1", to)).await.unwrap().compat();
                let ((from, mut into), (back, mut out)) = (outside.split(), inside.split());
                let _ = futures::join!(futures::io::copy(from, &mut out), futures::io::copy(back, &mut into));
            });
        }
    });
    (port, made.cert.der().to_vec())
}

/// As on port 443: the relay speaks WebSocket, a proxy before it TLS. Who the relay is, Noise says inside.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_devices_meet_at_a_relay_behind_a_tls_proxy() {
    let relay = relay_at(100, socket(), RelayLimits::default()).await;
    let port = relay.address.to_string().split('/').nth(4).unwrap().parse().unwrap();
    let (port, root) = proxy(port).await;
    let outside: Address = format!("/ip4/127.0.0.1/tcp/{port}/wss").parse().unwrap();
    let outside = outside.with_peer(relay.server.key());
    let hidden = |seed, tls_roots| {
        start(Config { listen: vec![], relays: vec![outside.clone()], hole_punching: false, tls_roots, ..config(seed) })
    };
    let (alice, mut bob) = (hidden(1, vec![root.clone()]), hidden(2, vec![root.clone()]));
    alice.transport.permit(bob.key());
    bob.transport.permit(alice.key());
    let at_bob = bob
        .until(|event| match event {
            Event::Listening { address } => Some(address),
            _ => None,
        })
        .await;
    in_time(alice.transport.connect(Some(bob.key()), vec![at_bob])).await.unwrap();
    alice.transport.send(bob.key(), Channel::Sync, vec![1; 1_000_000]).await.unwrap();
    assert!(bob.frame().await.2 == vec![1; 1_000_000]);
    let way = bob.transport.peer(&alice.key()).unwrap().best().unwrap().way.clone();
    assert_eq!(way, Way::Relayed { relay: outside.clone() });

    // Neither a certificate that is not trusted nor another relay behind the proxy is taken.
    let mut wary = hidden(3, vec![]);
    wary.until(|event| matches!(event, Event::ListenFailed { .. }).then_some(())).await;
    let other = outside.with_peer(PeerKey([9; 32]));
    let mut fooled = start(Config { listen: vec![], relays: vec![other], tls_roots: vec![root], ..config(4) });
    fooled.until(|event| matches!(event, Event::ListenFailed { .. }).then_some(())).await;
}
