//! A disk that refuses, under a whole node: at every write once, in each way.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clave_engine::crypto::{RecoveryPhrase, VaultKey};
use clave_engine::membership::Scope;

use super::*;
use crate::{FailingStore, Fault, MemoryStore, NodeId, Store, StoreError};

const STEPS: usize = 8;
/// Far more than a device takes for all of it.
const SAFETY: Duration = Duration::from_secs(30);

/// A device whose disk fails when told to.
struct Device {
    disk: Arc<dyn Store>,
    failing: Arc<FailingStore>,
    store: Arc<SealedStore>,
}

impl Device {
    fn new() -> Self {
        let disk: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let device = Self::over(disk);
        let mut entropy = seed_entropy().unwrap();
        let phrase = RecoveryPhrase::generate(&mut entropy);
        let identity = Identity::of_phrase(&phrase, "王小明", "手机", &mut entropy).unwrap();
        device.store.write(vec![identity.to_batch()]).unwrap();
        device
    }

    fn over(disk: Arc<dyn Store>) -> Self {
        let failing = Arc::new(FailingStore::new(disk.clone()));
        let vault = VaultKey::from_bytes(zeroize::Zeroizing::new([7; 32]));
        let store = Arc::new(SealedStore::new(failing.clone(), vault, seed_entropy().unwrap()));
        Self { disk, failing, store }
    }

    async fn open(&self) -> Node {
        let identity = Identity::load(&*self.store).unwrap().unwrap();
        Node::start(NodeConfig::new("unused"), identity, self.store.clone()).await.unwrap()
    }
}

async fn newest_space(node: &Node) -> Result<Space, Error> {
    node.spaces().await?.pop().ok_or(Error::NotFound("space"))
}

/// Something that a person does.
async fn step(node: &Node, step: usize, file: &Path) -> Result<(), Error> {
    match step {
        0 => drop(node.create_space("Café 四月").await?),
        1 => drop(newest_space(node).await?.timeline().send("你好").await?),
        2 => {
            let note = newest_space(node).await?.create_note("会议记录.md").await?;
            note.append_markdown("- 预算 **2027**\n").await?;
        }
        3 => drop(newest_space(node).await?.calendar().import_ics(ICS).await?),
        4 => {
            for space in node.spaces().await? {
                space.drive().add(file, NodeId::ROOT, "计划.bin", |_| {}).await?;
            }
        }
        5 => drop(newest_space(node).await?.create_circle("Budget", &[], Scope::Nested).await?),
        6 => drop(newest_space(node).await?.invite(Duration::from_secs(60)).await?),
        _ => {
            let space = newest_space(node).await?;
            let circle = space.circles().await?.pop().ok_or(Error::NotFound("circle"))?;
            space.circle(circle.id).await?.timeline().send("再见").await?;
        }
    }
    Ok(())
}

const ICS: &str = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//t//t//EN\r\nBEGIN:VEVENT\r\nUID:a@b\r\n\
                   DTSTAMP:20261122T100000Z\r\nDTSTART:20261123T140000Z\r\nSUMMARY:会议\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";

/// That the effects of the steps before `done` are here.
async fn check(node: &Node, done: usize, file: &Path, context: &str) {
    if done == 0 {
        return;
    }
    let space = newest_space(node).await.expect(context);
    assert_eq!(space.name().await.unwrap(), "Café 四月", "{context}");
    if done > 1 {
        assert!(space.timeline().history(10, None).await.unwrap().iter().any(|said| said.body == "你好"), "{context}");
    }
    if done > 2 {
        let notes = space.notes().await.unwrap();
        let mut texts = Vec::new();
        for note in notes.iter().filter(|note| note.title == "会议记录.md") {
            texts.push(space.note(note.id).await.unwrap().snapshot().await.unwrap().markdown);
        }
        assert!(texts.iter().any(|text| text.contains("预算 **2027**")), "{context}: {texts:?}");
    }
    if done > 3 {
        assert_eq!(space.calendar().events().await.unwrap().len(), 1, "{context}");
    }
    if done > 4 {
        let node = space.drive().tree().await.unwrap().resolve("/计划.bin").expect(context);
        let copy = file.with_extension("copy");
        space.drive().get(node, &copy, |_| {}).await.expect(context);
        assert_eq!(std::fs::read(&copy).unwrap(), std::fs::read(file).unwrap(), "{context}");
    }
    if done > 5 {
        let circles = space.circles().await.unwrap();
        assert!(circles.iter().any(|circle| circle.name == "Budget"), "{context}");
        if done > 7 {
            let mut said = Vec::new();
            for circle in circles {
                said.extend(space.circle(circle.id).await.unwrap().timeline().history(10, None).await.unwrap());
            }
            assert!(said.iter().any(|said| said.body == "再见"), "{context}");
        }
    }
}

/// Fails the write after `applies` others while a person works. Whether it came to that.
async fn fail_at(applies: u32, fault: Fault, file: &Path) -> bool {
    let device = Device::new();
    let node = device.open().await;
    device.failing.fail_after(applies, fault);
    let mut failed = false;
    for next in 0..STEPS {
        let context = format!("{fault:?} after {applies} writes, step {next}");
        if let Err(error) = step(&node, next, file).await {
            failed = true;
            assert!(error.is_retryable(), "{context}: {error}");
            if fault == Fault::OutOfSpace {
                assert!(error.to_string().contains("free some space"), "{context}: {error}");
            }
            check(&node, next, file, &context).await;
            // It is as full as before: the same again, and nothing is lost.
            // (Where only the flush failed it may be there already, and nothing is left to write.)
            match step(&node, next, file).await {
                Ok(()) => assert_eq!(fault, Fault::Flush, "{context}"),
                Err(again) => assert!(again.is_retryable(), "{context}: {again}"),
            }
            device.failing.mend();
            step(&node, next, file).await.unwrap_or_else(|error| panic!("{context}: {error}"));
        }
        check(&node, next + 1, file, &context).await;
    }
    node.shutdown().await;
    drop(node);
    let again = Device::over(device.disk.clone()).open().await;
    check(&again, STEPS, file, &format!("{fault:?} after {applies} writes, opened again")).await;
    again.shutdown().await;
    failed
}

#[tokio::test]
async fn a_disk_that_refuses_any_write_loses_nothing_and_is_of_use_again() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, vec![7; 300_000]).unwrap();
    for fault in [Fault::OutOfSpace, Fault::Write, Fault::Flush] {
        let mut applies = 0;
        while tokio::time::timeout(SAFETY, fail_at(applies, fault, &file))
            .await
            .unwrap_or_else(|_| panic!("{fault:?} after {applies} writes: nothing more happens"))
        {
            applies += 1;
        }
        assert!(applies > 10, "{fault:?}: {applies} writes in all");
    }
}

#[tokio::test]
async fn while_the_store_cannot_be_read_back_every_command_says_why() {
    let device = Device::new();
    let node = device.open().await;
    node.create_space("Team").await.unwrap();
    device.failing.fail_after(0, Fault::Closed);
    let space = newest_space(&node).await.unwrap();
    let error = space.timeline().send("lost").await.unwrap_err();
    assert!(matches!(error, Error::Store(StoreError::OutOfSpace)), "{error}");
    for _ in 0..3 {
        let error = space.timeline().history(10, None).await.unwrap_err();
        assert!(matches!(error, Error::Store(StoreError::OutOfSpace)), "{error}");
    }
    device.failing.mend();
    assert!(space.timeline().history(10, None).await.unwrap().is_empty());
    space.timeline().send("kept").await.unwrap();
    node.shutdown().await;
}
