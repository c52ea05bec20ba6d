//! Meeting notes that two people write at the same time, in Markdown, each in an editor of their own: what both wrote is
//! there, on both devices.

#![allow(clippy::print_stdout, reason = "a program for people")]

use clave_examples::{Friends, Outcome, until};

#[tokio::main]
async fn main() -> Outcome {
    let friends = Friends::meet("Team").await?;
    let hers = friends.hers.create_note("周会 Weekly").await?;
    hers.append_markdown("# Agenda\n\n- Budget\n- Release\n").await?;

    // Bob sees the note arrive.
    let arrived = async || match friends.his.note(hers.id()).await {
        Ok(note) => Ok(note.text().await?.contains("Release").then_some(note)),
        Err(error) if error.is_retryable() => Ok(None),
        Err(error) => Err(error),
    };
    let his = until(&friends.bob, arrived).await?;

    // Both open it as it is now, and save at the same time. A save says which version was opened: only what was changed
    // since is changed, so nobody overwrites anybody.
    let (opened_by_her, opened_by_him) = (hers.snapshot().await?, his.snapshot().await?);
    let her_text = opened_by_her.markdown.replace("Budget", "Budget: **approved**");
    let his_text = format!("{}- 下次: Friday\n", opened_by_him.markdown);
    let (her_save, his_save) = tokio::join!(
        hers.edit_markdown(&opened_by_her.heads, her_text),
        his.edit_markdown(&opened_by_him.heads, his_text),
    );
    her_save?;
    his_save?;

    let both = async |note: &clave::Note| {
        let snapshot = note.snapshot().await?;
        Ok((snapshot.markdown.contains("approved") && snapshot.markdown.contains("Friday")).then_some(snapshot))
    };
    let at_alices = until(&friends.alice, async || both(&hers).await).await?;
    let at_bobs = until(&friends.bob, async || both(&his).await).await?;
    println!("{}", at_alices.markdown);
    assert_eq!(at_alices, at_bobs, "the same title, text and version");
    assert_eq!(at_alices.title, "周会 Weekly");
    assert_eq!(at_alices.markdown, "# Agenda\n\n- Budget: **approved**\n- Release\n- 下次: Friday\n");
    friends.part().await;
    Ok(())
}
