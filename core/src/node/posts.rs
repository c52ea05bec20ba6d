//! Messages that wait to be posted: all that wait together become one change of the chat, so one entry with one signature,
//! as a typist's keystrokes do.

use clave_engine::crdt::{Draft, MessageId};
use clave_engine::{Engine, EngineError, SpaceId};
use tokio::sync::oneshot;

use super::driver::{Durable, now_ms};
use crate::{Error, StoreError, presence, timeline};

/// A message to be posted.
pub(super) struct Post {
    pub(super) circle: SpaceId,
    pub(super) draft: Draft,
    pub(super) posted: oneshot::Sender<Result<MessageId, Error>>,
    pub(super) durable: Durable,
}

/// Posts messages, those in a row that are for one circle together. Gives who waits for them to be durable.
pub(super) fn run(posts: Vec<Post>, engine: Result<&mut Engine, StoreError>) -> Vec<Durable> {
    let engine = match engine {
        Ok(engine) => engine,
        Err(error) => {
            for post in posts {
                let _ = post.posted.send(Err(error.clone().into()));
                let _ = post.durable.send(Err(error.clone()));
            }
            return Vec::new();
        }
    };
    let mut results = Vec::with_capacity(posts.len());
    for run in posts.chunk_by(|one, next| one.circle == next.circle) {
        let drafts: Vec<&Draft> = run.iter().map(|post| &post.draft).collect();
        results.extend(post(engine, run[0].circle, &drafts));
    }
    let answered = posts.into_iter().zip(results).map(|(post, result)| {
        let _ = post.posted.send(result.map_err(Error::from));
        post.durable
    });
    answered.collect()
}

/// What became of each.
fn post(engine: &mut Engine, circle: SpaceId, drafts: &[&Draft]) -> Vec<Result<MessageId, EngineError>> {
    let mut results = Vec::with_capacity(drafts.len());
    while results.len() < drafts.len() {
        let rest = &drafts[results.len()..];
        match timeline::post(engine, circle, rest, now_ms()) {
            Ok(posted) => results.extend(posted.into_iter().map(Ok)),
            Err(error) if rest.len() == 1 => results.push(Err(error)),
            // One of them cannot be posted, or all of them are too much for one entry: none was posted.
            Err(_) => {
                let alone = |draft: &&Draft| Ok(timeline::post(engine, circle, &[*draft], now_ms())?[0]);
                results.extend(rest.iter().map(alone));
            }
        }
    }
    presence::stop_typing(engine, circle, now_ms());
    results
}

#[cfg(test)]
mod tests {
    use clave_engine::crdt::{MESSAGE_BYTES_MAX, SEGMENT_MESSAGES_MAX};

    use super::*;
    use crate::{Node, NodeConfig, Space};

    /// Posts together; gives how many entries that made, and what became of each.
    async fn posted(node: &Node, space: &Space, said: &[String]) -> (usize, Vec<Result<MessageId, EngineError>>) {
        let (id, drafts) = (space.id(), said.iter().map(Draft::text).collect::<Vec<_>>());
        let run = move |engine: &mut Engine, _| {
            let before = engine.status(id)?.entries;
            let results = post(engine, id, &drafts.iter().collect::<Vec<_>>());
            Ok((engine.status(id)?.entries - before, results))
        };
        node.command(run).await.unwrap()
    }

    async fn history(space: &Space, count: usize) -> Vec<String> {
        let messages = space.timeline().history(count, None).await.unwrap();
        messages.into_iter().map(|message| message.body).collect()
    }

    #[tokio::test]
    async fn messages_that_wait_together_travel_in_one_entry_and_keep_their_order() {
        let directory = tempfile::tempdir().unwrap();
        let node = Node::create(NodeConfig::new(directory.path().join("小明")), "王小明", "手机").await.unwrap();
        let space = node.create_space("四月").await.unwrap();
        let said = |from: usize, count: usize| (from..from + count).map(|n| format!("你好 {n}")).collect::<Vec<_>>();
        let (entries, results) = posted(&node, &space, &said(0, 10)).await;
        assert_eq!(entries, 1);
        let ids: Vec<MessageId> = results.into_iter().map(Result::unwrap).collect();
        assert!(ids.is_sorted_by(|one, next| one < next));
        assert_eq!(history(&space, 20).await, said(0, 10));

        // Into a second segment where the first one is full.
        posted(&node, &space, &said(10, SEGMENT_MESSAGES_MAX - 15)).await;
        let (entries, results) = posted(&node, &space, &said(SEGMENT_MESSAGES_MAX - 5, 10)).await;
        assert!(entries == 2 && results.iter().all(Result::is_ok), "{entries} entries");
        assert_eq!(history(&space, 20).await, said(SEGMENT_MESSAGES_MAX - 15, 20));
        node.shutdown().await;
    }

    #[tokio::test]
    async fn a_message_that_cannot_be_posted_stops_none_that_wait_with_it() {
        let directory = tempfile::tempdir().unwrap();
        let node = Node::create(NodeConfig::new(directory.path().join("小明")), "王小明", "手机").await.unwrap();
        let space = node.create_space("四月").await.unwrap();
        let said = ["早".to_owned(), "长".repeat(MESSAGE_BYTES_MAX), "晚".to_owned()];
        let (_, results) = posted(&node, &space, &said).await;
        assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
        assert_eq!(history(&space, 10).await, ["早", "晚"]);
        node.shutdown().await;
    }
}
