//! Frames between two devices on loopback: order, size, back-pressure, independence of channels.

use crate::harness::{alice, config, connect, eventually, in_time, pair, start};
use clave_transport::{Channel, Config, Event, FRAME_BYTES_MAX, Limits, SendError};

/// A frame that says which one it is, of a length that varies.
fn numbered(channel: Channel, number: u32) -> Vec<u8> {
    let mut frame = number.to_be_bytes().to_vec();
    frame.resize(4 + (number as usize * 37 + channel as usize) % 700, channel as u8);
    frame
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_frames_keep_their_order_both_ways_on_all_channels_at_once() {
    const FRAMES: u32 = 10_000;
    let (alice, bob) = pair().await;
    let keys = [alice.key(), bob.key()];
    let (mut senders, mut receivers) = (Vec::new(), Vec::new());
    for (mut device, other) in [(alice, keys[1]), (bob, keys[0])] {
        for channel in Channel::ALL {
            let transport = device.transport.clone();
            senders.push(tokio::spawn(async move {
                for number in 0..FRAMES {
                    transport.send(other, channel, numbered(channel, number)).await.unwrap();
                }
            }));
        }
        receivers.push(tokio::spawn(async move {
            let mut expected = [0; Channel::COUNT];
            while expected != [FRAMES; Channel::COUNT] {
                let (peer, channel, bytes) = device.frame().await;
                let number = &mut expected[channel as usize];
                assert_eq!((peer, &bytes), (other, &numbered(channel, *number)));
                *number += 1;
            }
            device
        }));
    }
    for sender in senders {
        in_time(sender).await.unwrap();
    }
    let bob = in_time(receivers.pop().unwrap()).await.unwrap();
    let alice = in_time(receivers.pop().unwrap()).await.unwrap();
    let bytes: usize = Channel::ALL.iter().flat_map(|c| (0..FRAMES).map(|n| numbered(*c, n).len())).sum();
    for (device, other) in [(&alice, keys[1]), (&bob, keys[0])] {
        let info = device.transport.peer(&other).unwrap();
        assert_eq!(info.received_frames, Channel::COUNT as u64 * u64::from(FRAMES));
        assert_eq!(info.received_bytes, bytes as u64);
    }
}

#[tokio::test]
async fn the_biggest_frame_arrives_and_a_bigger_one_is_not_taken() {
    let (alice, mut bob) = pair().await;
    let frame: Vec<u8> = (0..FRAME_BYTES_MAX).map(|i| (i % 251) as u8).collect();
    alice.transport.send(bob.key(), Channel::Bulk, frame.clone()).await.unwrap();
    assert!(bob.frame().await == (alice.key(), Channel::Bulk, frame));
    let bytes = FRAME_BYTES_MAX + 1;
    let sent = alice.transport.send(bob.key(), Channel::Bulk, vec![0; bytes]).await;
    assert_eq!(sent, Err(SendError::TooLong { bytes }));
}

#[tokio::test]
async fn empty_frames_are_frames() {
    let (alice, mut bob) = pair().await;
    for frame in [vec![], vec![1], vec![]] {
        alice.transport.send(bob.key(), Channel::Sync, frame.clone()).await.unwrap();
        assert_eq!(bob.frame().await.2, frame);
    }
}

/// Bob takes nothing. Alice's queue fills and says so; what lies at Bob's is bounded; and another channel goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_read_holds_up_the_sender_and_no_other_channel() {
    let limits =
        Limits { inbound_bytes_max: FRAME_BYTES_MAX, outbound_bytes_max: FRAME_BYTES_MAX, ..Limits::default() };
    let with_limits = |seed| Config { limits: limits.clone(), ..config(seed) };
    let (alice, mut bob) = connect(start(with_limits(1)), start(with_limits(2))).await;
    const CHUNK: usize = 256 * 1024;
    let waiting = |channel: Channel| bob.transport.stats().inbound_waiting_bytes[channel as usize];
    let mut sent = 0u32;
    eventually(|| {
        let mut frame = sent.to_be_bytes().to_vec();
        frame.resize(CHUNK, 0);
        let tried = alice.transport.try_send(bob.key(), Channel::Bulk, frame);
        sent += u32::from(tried.is_ok());
        waiting(Channel::Bulk) + CHUNK > FRAME_BYTES_MAX && tried == Err(SendError::Full)
    })
    .await;
    assert!(waiting(Channel::Bulk) <= FRAME_BYTES_MAX);
    // Both rooms, and what Yamux and the kernel hold.
    let held = sent as usize * CHUNK;
    assert!(held <= 2 * FRAME_BYTES_MAX + 16 * 1024 * 1024, "{held} bytes are somewhere");

    in_time(alice.transport.send(bob.key(), Channel::Sync, b"live".to_vec())).await.unwrap();
    eventually(|| waiting(Channel::Sync) > 0).await;
    let mut next = 0u32;
    let mut live = false;
    while next < sent || !live {
        match bob.frame().await {
            (_, Channel::Bulk, bytes) => {
                assert_eq!(bytes[..4], next.to_be_bytes());
                next += 1;
            }
            (_, Channel::Sync, bytes) => {
                assert_eq!(bytes, b"live");
                // It has its room, and may get into the queue a moment later, while frames are taken already.
                assert!(next < sent, "it waited behind all {sent} frames");
                live = true;
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn nobody_is_not_a_peer() {
    let alice = alice();
    let nobody = clave_transport::PeerKey([9; 32]);
    assert_eq!(alice.transport.try_send(nobody, Channel::Join, vec![]), Err(SendError::NotConnected));
    assert_eq!(alice.transport.try_send(nobody, Channel::Sync, vec![]), Err(SendError::NotPermitted));
    assert_eq!(alice.transport.peer(&nobody), None);
}

#[tokio::test]
async fn what_is_queued_arrives_before_a_disconnect_and_before_a_shutdown() {
    let (mut alice, mut bob) = pair().await;
    for _ in 0..2 {
        for number in 0..200u32 {
            alice.transport.try_send(bob.key(), Channel::Sync, numbered(Channel::Sync, number)).unwrap();
        }
        in_time(alice.transport.disconnect(bob.key())).await;
        assert_eq!(alice.transport.peer(&bob.key()), None);
        for number in 0..200u32 {
            assert_eq!(bob.frame().await.2, numbered(Channel::Sync, number));
        }
        bob.disconnected(alice.key()).await;
        alice.disconnected(bob.key()).await;
        let address = bob.transport.addresses().listening[0].address.clone();
        in_time(alice.transport.connect(Some(bob.key()), vec![address])).await.unwrap();
        alice.connected(bob.key()).await;
        bob.connected(alice.key()).await;
    }
    alice.transport.try_send(bob.key(), Channel::Bulk, vec![7; 1_000_000]).unwrap();
    in_time(alice.transport.shutdown()).await;
    assert_eq!(bob.frame().await.2, vec![7; 1_000_000]);
    bob.disconnected(alice.key()).await;
    while let Some(event) = in_time(alice.events.next()).await {
        assert!(matches!(event, Event::Disconnected { .. } | Event::ListenEnded { .. }), "{event:?}");
    }
}
