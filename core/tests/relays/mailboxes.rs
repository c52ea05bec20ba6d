//! The mailboxes of a relay that carries circuits too: the simulator's, behind real streams.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use clave::DeviceId;
use clave_sim::ModelRelay;
use clave_transport::{Caller, FrameReader, FrameWriter, PeerKey};
use tokio::sync::mpsc;

/// Frames that may wait for one device.
const FRAMES_MAX: usize = 1_024;

struct Mailboxes {
    model: ModelRelay<PeerKey>,
    queues: BTreeMap<PeerKey, mpsc::Sender<Vec<u8>>>,
}

/// Serves whoever calls.
pub(crate) async fn serve(key: PeerKey, mut callers: mpsc::Receiver<Caller>) {
    let model = ModelRelay::new(DeviceId::from_bytes(key.0), [1; 16]);
    let mailboxes = Arc::new(Mutex::new(Mailboxes { model, queues: BTreeMap::new() }));
    let mut challenges = 0;
    while let Some(caller) = callers.recv().await {
        let peer = caller.peer();
        challenges += 1;
        let (queue, frames) = mpsc::channel(FRAMES_MAX);
        {
            let mut mailboxes = mailboxes.lock().expect("nobody panics");
            mailboxes.model.connect(peer, [challenges; 32]);
            mailboxes.queues.insert(peer, queue.clone());
        }
        let (reader, writer) = caller.split();
        tokio::spawn(write(writer, frames));
        tokio::spawn(read(mailboxes.clone(), peer, queue, reader));
    }
}

async fn read(mailboxes: Arc<Mutex<Mailboxes>>, peer: PeerKey, own: mpsc::Sender<Vec<u8>>, mut reader: FrameReader) {
    while let Ok(Some(length)) = reader.next_length().await {
        let Ok(frame) = reader.frame(length).await else { break };
        let out: Vec<_> = {
            let mut mailboxes = mailboxes.lock().expect("nobody panics");
            let frames = mailboxes.model.take(peer, &frame);
            frames.into_iter().filter_map(|(to, frame)| Some((mailboxes.queues.get(&to)?.clone(), frame))).collect()
        };
        for (queue, frame) in out {
            let _ = queue.send(frame).await;
        }
    }
    {
        let mut mailboxes = mailboxes.lock().expect("nobody panics");
        // The device may have called again meanwhile.
        if mailboxes.queues.get(&peer).is_some_and(|queue| queue.same_channel(&own)) {
            mailboxes.queues.remove(&peer);
            mailboxes.model.disconnect(peer);
        }
    }
    reader.acknowledge_end().await;
}

async fn write(mut writer: FrameWriter, mut frames: mpsc::Receiver<Vec<u8>>) {
    while let Some(frame) = frames.recv().await {
        let length = u32::try_from(frame.len()).expect("a frame is short").to_be_bytes();
        if writer.write(&[&length[..], &frame].concat()).await.is_err() || writer.flush().await.is_err() {
            return;
        }
    }
    writer.finish().await;
}
