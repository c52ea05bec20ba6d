//! A file that two people share: one adds it, the other gets it, checked; a new version replaces it; a copy of it in
//! another folder costs nothing.

#![allow(clippy::print_stdout, reason = "a program for people")]

use std::fs;

use clave::NodeId;
use clave_examples::{Friends, Outcome, until};

#[tokio::main]
async fn main() -> Outcome {
    let friends = Friends::meet("Project").await?;
    let (source, copy) = (friends.directory.path().join("plan.bin"), friends.directory.path().join("bobs-plan.bin"));
    let mut random = 1_u64;
    let mut content: Vec<u8> = std::iter::repeat_with(|| {
        // Xorshift: content that has no pattern, as a compressed file has none.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random as u8
    })
    .take(4_000_000)
    .collect();
    fs::write(&source, &content)?;

    let folder = friends.hers.drive().create_folder(NodeId::ROOT, "图纸").await?;
    let file = friends.hers.drive().add(&source, folder, "plan.bin", |_| {}).await?;
    println!("Alice added 图纸/plan.bin, {} bytes", content.len());

    // It is there for Bob as soon as he knows of it; its content comes when he wants it.
    let found = async || Ok(friends.his.drive().tree().await?.resolve("/图纸/plan.bin").ok());
    assert_eq!(until(&friends.bob, found).await?, file);
    let mut calls = 0;
    let version = friends.his.drive().get(file, &copy, |_| calls += 1).await?;
    assert!(calls > 0, "progress is told");
    assert_eq!(fs::read(&copy)?, content);
    println!("Bob has it, BLAKE3 {}", version.blake3.iter().map(|byte| format!("{byte:02x}")).collect::<String>());

    // A few bytes in the middle change: only the pieces around them travel.
    let before_bytes = friends.bob.status().await?.received_bytes;
    content.splice(2_000_000..2_000_000, *b"a few bytes more");
    fs::write(&source, &content)?;
    assert_eq!(friends.hers.drive().add(&source, folder, "plan.bin", |_| {}).await?, file, "a version, not a file");
    let newer = async || Ok((friends.his.drive().file(file).await? != version).then_some(()));
    until(&friends.bob, newer).await?;
    friends.his.drive().get(file, &copy, |_| {}).await?;
    assert_eq!(fs::read(&copy)?, content);
    let travelled_bytes = friends.bob.status().await?.received_bytes - before_bytes;
    println!("the new version took {travelled_bytes} bytes on the wire");
    assert!(travelled_bytes < content.len() as u64 / 2, "most of it was there");
    friends.part().await;
    Ok(())
}
