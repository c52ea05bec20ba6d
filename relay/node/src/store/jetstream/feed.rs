//! Follows the stream: every relay hears of every blob, in order, whoever stored it.
//!
//! An ephemeral consumer without acknowledgements. Whatever happens to it (its server is gone, a message is missing, it falls silent), another is made
//! that goes on after the newest position that was seen.

use std::{sync::Arc, time::Duration};

use async_nats::{
    HeaderMap, Message, StatusCode, Subscriber,
    header::NATS_LAST_CONSUMER,
    jetstream::{
        self,
        consumer::{AckPolicy, DeliverPolicy, ReplayPolicy, push},
    },
};
use futures::StreamExt;

use super::{Shared, cluster, record::Record};

/// How often the consumer says that it is there, when nothing else comes.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Who has said nothing for so long is gone.
const SILENCE_MAX: Duration = Duration::from_millis(2_500);

/// How long until the next try, at first and at most.
const RETRY: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(1);

/// How far to follow.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// To the end that is there now, without payloads.
    CaughtUp,
    /// For ever.
    Stopped,
}

/// Why a consumer is given up.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("{0}")]
    Nats(#[from] async_nats::Error),
    #[error("it is silent")]
    Silent,
    #[error("a message is missing")]
    Gap,
    #[error("a blob is not where it was")]
    Changed,
    #[error("the stream is another one than at the start: start the relay again")]
    OtherStream,
}

/// Follows the stream, whatever happens to it.
pub(super) async fn follow(shared: Arc<Shared>, until: Until) {
    let mut wait = RETRY;
    loop {
        let before = shared.index().seen();
        let Err(lost) = consume(&shared, until).await else { return };
        match lost {
            Lost::Changed => read_anew(&shared).await,
            Lost::OtherStream => tracing::error!(%lost, "the stream cannot be followed"),
            _ => tracing::warn!(%lost, "the stream is followed by another consumer"),
        }
        wait = if shared.index().seen() > before { RETRY } else { (wait * 2).min(RETRY_MAX) };
        tokio::time::sleep(wait).await;
    }
}

/// Forgets what was seen, and reads the stream from its beginning.
async fn read_anew(shared: &Shared) {
    let before = shared.index().forget_all();
    while consume(shared, Until::CaughtUp).await.is_err() {
        tokio::time::sleep(RETRY_MAX).await;
    }
    // What came in between was not announced, and what moved is where nobody expects it.
    for mailbox in shared.index().mailboxes_after(before) {
        shared.news.lagged(mailbox);
    }
}

async fn consume(shared: &Shared, until: Until) -> Result<(), Lost> {
    let info = shared.stream.get_info().await.map_err(|error| Lost::Nats(error.into()))?;
    if cluster::generation(info.config.description.as_deref()) != Some(shared.generation) {
        return Err(Lost::OtherStream);
    }
    shared.index().begins_at(info.state.first_sequence);
    let last = info.state.last_sequence;
    if until == Until::CaughtUp && shared.index().seen() >= last {
        return Ok(());
    }
    let mut messages = subscribe(shared, until).await?;
    let mut expected = 1;
    loop {
        let next = tokio::select! {
            next = tokio::time::timeout(SILENCE_MAX, messages.next()) => next,
            () = shared.changed.notified(), if until == Until::Stopped => return Err(Lost::Changed),
        };
        let message = next.map_err(|_| Lost::Silent)?.ok_or(Lost::Silent)?;
        if message.status == Some(StatusCode::IDLE_HEARTBEAT) {
            answer_heartbeat(shared, &message, expected).await?;
            // All there was has come, though the last of it may have been removed meanwhile.
            if until == Until::CaughtUp && message.reply.is_none() {
                return Ok(());
            }
            continue;
        }
        let message = jetstream::Message { message, context: shared.context.clone() };
        let info = message.info().map_err(Lost::Nats)?;
        if info.consumer_sequence != expected {
            return Err(Lost::Gap);
        }
        expected += 1;
        let (position, pending) = (info.stream_sequence, info.pending);
        take(shared, position, &message, until == Until::Stopped);
        if until == Until::CaughtUp && (pending == 0 || position >= last) {
            return Ok(());
        }
    }
}

async fn subscribe(shared: &Shared, until: Until) -> Result<Subscriber, Lost> {
    let client = shared.context.client();
    let inbox = client.new_inbox();
    let messages = client.subscribe(inbox.clone()).await.map_err(|error| Lost::Nats(error.into()))?;
    let config = push::Config {
        deliver_subject: inbox,
        deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: shared.index().seen() + 1 },
        ack_policy: AckPolicy::None,
        max_deliver: 1,
        replay_policy: ReplayPolicy::Instant,
        headers_only: until == Until::CaughtUp,
        flow_control: true,
        idle_heartbeat: HEARTBEAT,
        inactive_threshold: SILENCE_MAX * 2,
        num_replicas: 1,
        memory_storage: true,
        ..push::Config::default()
    };
    shared.stream.create_consumer(config).await.map_err(|error| Lost::Nats(error.into()))?;
    Ok(messages)
}

/// A heartbeat, or a question whether we have kept up.
async fn answer_heartbeat(shared: &Shared, message: &Message, expected: u64) -> Result<(), Lost> {
    if let Some(reply) = message.reply.clone() {
        let answered = shared.context.client().publish(reply, Default::default()).await;
        return answered.map_err(|error| Lost::Nats(error.into()));
    }
    let number = |headers: &HeaderMap| headers.get_last(NATS_LAST_CONSUMER)?.as_str().parse::<u64>().ok();
    match message.headers.as_ref().and_then(number) {
        Some(last) if last + 1 != expected => Err(Lost::Gap),
        _ => Ok(()),
    }
}

/// One message of the stream.
fn take(shared: &Shared, position: u64, message: &Message, announced: bool) {
    let headers = message.headers.as_ref();
    let record = headers.and_then(|headers| Record::read(headers, message.payload.len()));
    if record.is_none() {
        tracing::warn!(position, "a message in the stream is not one of ours");
    }
    shared.take(position, record, &message.payload, announced);
}
