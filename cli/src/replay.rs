//! Replaying a recorded editing session of several people: each writes on a device of their own, and each transaction
//! only after those it was written upon have arrived there over the network.
//!
//! What was typed in one go becomes one change: transactions of one person that follow each other, that nobody else
//! answered to in between, and that saw nothing new. A device may hold more than a transaction was written upon (its
//! author's view lagged behind); so each names the version it is meant for.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::demo::{Device, Root, Story, Team, unexpected};
use crate::failure::Failure;
use crate::reply::Reply;
use crate::request::{Ask, Heads, Request, Splice};
use crate::screen::{Screen, Tagged, bold};
use crate::session::Client;
use crate::text::bytes;

/// How long one transaction may wait for those before it, and how long the end may take to reach everybody.
const PATIENCE: Duration = Duration::from_secs(60);

/// A recorded session.
#[derive(Deserialize)]
pub(crate) struct Trace {
    #[serde(rename = "endContent")]
    end_content: String,
    txns: Vec<Transaction>,
}

#[derive(Deserialize)]
struct Transaction {
    agent: usize,
    /// Transactions, by number, that this one came after.
    parents: Vec<usize>,
    /// Position in code points, deleted code points, inserted text: each after the one before.
    patches: Vec<Splice>,
}

/// Transactions that become one change.
#[derive(Debug, PartialEq, Eq)]
struct Burst {
    agent: usize,
    /// The bursts whose versions, merged, it was written upon. It comes after the whole of each.
    parents: Vec<usize>,
    splices: Vec<Splice>,
}

/// How a replay ended.
#[derive(Serialize)]
pub(crate) struct Replayed {
    /// Whether every device ended with the recorded text, and all with the same heads.
    pub(crate) equal: bool,
    transactions: usize,
    changes: usize,
    seconds: f64,
    transactions_per_second: f64,
    /// Bytes that the devices sent for it, all together.
    sent_bytes: u64,
    characters: usize,
    devices: Vec<Ended>,
}

#[derive(Serialize)]
struct Ended {
    device: String,
    text_equals: bool,
    heads: Heads,
}

/// `clave note replay`.
pub(crate) async fn command(
    trace: &Path,
    keep: bool,
    directory: Option<PathBuf>,
    screen: &Screen,
) -> Result<ExitCode, Failure> {
    let trace = Trace::read(trace)?;
    let root = Root::new(directory.as_deref(), keep)?;
    let mut story = Story::new(screen);
    let work = async {
        let mut team = Team::gather(&root, trace.agents().max(2), &mut story).await?;
        let replayed = replay(&trace, &mut team.devices, &mut story).await?;
        for device in &mut team.devices {
            device.stop().await?;
        }
        Ok(replayed)
    };
    let replayed = tokio::select! {
        replayed = work => replayed,
        _ = tokio::signal::ctrl_c() => Err(Failure::interrupted()),
    };
    let replayed = replayed.map_err(|failure| root.after(failure))?;
    if screen.json {
        screen.value(&Tagged { r#type: "replay", value: &replayed })?;
    } else {
        let verdict = if replayed.equal { "Every device ended as recorded." } else { "The devices DIFFER." };
        screen.say(&bold(verdict))?;
    }
    root.farewell(screen)?;
    Ok(if replayed.equal { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Trace {
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::file(path, &error);
        let mut bytes = std::fs::read(path).map_err(failed)?;
        if bytes.starts_with(&[0x1f, 0x8b]) {
            let mut plain = Vec::new();
            flate2::read::GzDecoder::new(bytes.as_slice()).read_to_end(&mut plain).map_err(failed)?;
            bytes = plain;
        }
        let trace: Self = serde_json::from_slice(&bytes).map_err(|error| {
            Failure::usage(format!("{} is not a trace of several people: {error}", path.display())).hint(
                "it needs endContent and txns, each with agent, parents and patches, as in josephg/editing-traces",
            )
        })?;
        match trace.txns.iter().enumerate().all(|(at, txn)| txn.parents.iter().all(|parent| *parent < at)) {
            true => Ok(trace),
            false => Err(Failure::usage(format!("{}: a transaction comes before its parents", path.display()))),
        }
    }

    /// How many people wrote.
    pub(crate) fn agents(&self) -> usize {
        self.txns.iter().map(|txn| txn.agent).collect::<BTreeSet<_>>().len()
    }

    /// Cuts the transactions into bursts, in an order in which each comes after its parents.
    fn bursts(&self) -> Vec<Burst> {
        let mut children = vec![0_usize; self.txns.len()];
        self.txns.iter().flat_map(|txn| &txn.parents).for_each(|parent| children[*parent] += 1);
        let numbers: BTreeMap<usize, usize> = {
            let agents: BTreeSet<usize> = self.txns.iter().map(|txn| txn.agent).collect();
            agents.into_iter().enumerate().map(|(number, agent)| (agent, number)).collect()
        };
        let mut bursts: Vec<Burst> = Vec::new();
        let mut burst_of = Vec::with_capacity(self.txns.len());
        for txn in &self.txns {
            let agent = numbers[&txn.agent];
            let continued = match txn.parents.as_slice() {
                // The only child of its only parent, by the same person.
                [parent] if children[*parent] == 1 && self.txns[*parent].agent == txn.agent => Some(burst_of[*parent]),
                _ => None,
            };
            let burst = continued.unwrap_or_else(|| {
                let parents: BTreeSet<usize> = txn.parents.iter().map(|parent| burst_of[*parent]).collect();
                bursts.push(Burst { agent, parents: parents.into_iter().collect(), splices: Vec::new() });
                bursts.len() - 1
            });
            bursts[burst].splices.extend(txn.patches.iter().cloned());
            burst_of.push(burst);
        }
        bursts
    }
}

/// Replays a trace on a new note, one device for each person in it.
pub(crate) async fn replay(trace: &Trace, devices: &mut [Device], story: &mut Story<'_>) -> Result<Replayed, Failure> {
    let bursts = trace.bursts();
    story.tell(&format!(
        "{} people replay a recorded session: {} transactions, {} changes",
        trace.agents(),
        trace.txns.len(),
        bursts.len()
    ))?;
    let before = sent_bytes(devices).await?;
    let ask = Ask::NoteNew { title: "Recorded session".to_owned(), markdown: String::new() };
    let Reply::Note(note) = devices[0].ask(ask).await? else { return Err(unexpected()) };
    let started = Instant::now();
    type_all(&bursts, &note.id, &note.heads, devices).await?;
    let ended = compare(trace, &note.id, devices).await?;
    let seconds = started.elapsed().as_secs_f64();
    let same_heads = ended.iter().all(|device| device.heads == ended[0].heads);
    let replayed = Replayed {
        equal: same_heads && ended.iter().all(|device| device.text_equals),
        transactions: trace.txns.len(),
        changes: bursts.len(),
        seconds,
        transactions_per_second: trace.txns.len() as f64 / seconds,
        sent_bytes: sent_bytes(devices).await? - before,
        characters: trace.end_content.chars().count(),
        devices: ended,
    };
    story.detail(&format!(
        "{:.1} s, {:.0} transactions a second, {} sent by all together",
        replayed.seconds,
        replayed.transactions_per_second,
        bytes(replayed.sent_bytes)
    ))?;
    for device in &replayed.devices {
        let verdict = if device.text_equals { "has exactly the recorded text" } else { "has ANOTHER text" };
        story.detail(&format!("{} {verdict} ({} characters)", device.device, replayed.characters))?;
    }
    Ok(replayed)
}

/// Lets each person type their bursts, in order.
async fn type_all(bursts: &[Burst], note: &str, start: &Heads, devices: &[Device]) -> Result<(), Failure> {
    // The version that each burst made, once it has.
    let (versions, known): (Vec<_>, Vec<_>) = bursts.iter().map(|_| watch::channel(None::<Heads>)).unzip();
    let mut versions: Vec<Option<watch::Sender<Option<Heads>>>> = versions.into_iter().map(Some).collect();
    let mut typing = JoinSet::new();
    for (agent, device) in devices.iter().enumerate() {
        let mine: Vec<Typed> = bursts
            .iter()
            .enumerate()
            .filter(|(_, burst)| burst.agent == agent)
            .map(|(number, burst)| Typed {
                parents: burst.parents.iter().map(|parent| known[*parent].clone()).collect(),
                splices: burst.splices.clone(),
                version: versions[number].take().expect("each burst has one author"),
            })
            .collect();
        let (client, note, start) = (device.connect().await?, note.to_owned(), start.clone());
        typing.spawn(type_mine(client, note, start, mine));
    }
    drop(known);
    while let Some(done) = typing.join_next().await {
        done.map_err(|error| Failure::failed(format!("a replay broke off: {error}")))??;
    }
    Ok(())
}

/// A burst with where its version is announced, and where those are that it waits for.
struct Typed {
    parents: Vec<watch::Receiver<Option<Heads>>>,
    splices: Vec<Splice>,
    version: watch::Sender<Option<Heads>>,
}

async fn type_mine(mut client: Client, note: String, start: Heads, bursts: Vec<Typed>) -> Result<(), Failure> {
    for burst in bursts {
        let mut at = BTreeSet::new();
        for mut parent in burst.parents {
            let version = parent.wait_for(Option::is_some).await;
            // Its author has failed, and says why.
            let Ok(version) = version else { return Ok(()) };
            at.extend(version.iter().flatten().cloned());
        }
        let at = if at.is_empty() { start.clone() } else { at.into_iter().collect() };
        let request = Request::new(Ask::NoteSplice { note: note.clone(), at, splices: burst.splices });
        let reply = tokio::time::timeout(PATIENCE, client.call(&request, |_| Ok(()))).await;
        let reply = reply.map_err(|_| Failure::unreachable("a transaction did not arrive at the next author"))??;
        let Reply::Heads { heads } = reply else { return Err(unexpected()) };
        burst.version.send_replace(Some(heads));
    }
    Ok(())
}

/// Waits until every device has what all have, and compares.
async fn compare(trace: &Trace, note: &str, devices: &mut [Device]) -> Result<Vec<Ended>, Failure> {
    let mut all = BTreeSet::new();
    for device in devices.iter_mut() {
        if let Some(heads) = device.heads().await?.remove(note) {
            all.extend(heads);
        }
    }
    let mut ended = Vec::new();
    for device in devices.iter_mut() {
        let contains = Some(BTreeMap::from([(note.to_owned(), all.iter().cloned().collect())]));
        device.ask(Ask::Wait(crate::request::Condition { contains, ..Default::default() })).await?;
        let Reply::Text { text, heads } = device.ask(Ask::NoteText { note: note.to_owned() }).await? else {
            return Err(unexpected());
        };
        let name = format!("{} ({})", device.person, device.name);
        ended.push(Ended { device: name, text_equals: text == trace.end_content, heads });
    }
    Ok(ended)
}

async fn sent_bytes(devices: &mut [Device]) -> Result<u64, Failure> {
    let mut sum = 0;
    for device in devices {
        sum += device.traffic().await?.0;
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bursts_end_where_somebody_answers() {
        let txn = |agent, parents: &[usize], text: &str| Transaction {
            agent,
            parents: parents.to_vec(),
            patches: vec![(0, 0, text.to_owned())],
        };
        let trace = Trace {
            end_content: String::new(),
            txns: vec![
                txn(7, &[], "a"),
                txn(7, &[0], "b"),
                // Somebody else saw "b"; what the first writes next is concurrent.
                txn(9, &[1], "x"),
                txn(7, &[1], "c"),
                txn(9, &[2], "y"),
                txn(7, &[3, 4], "d"),
                txn(7, &[5], "e"),
            ],
        };
        let texts = |burst: &Burst| burst.splices.iter().map(|splice| splice.2.clone()).collect::<String>();
        let bursts: Vec<_> = trace.bursts().iter().map(|b| (b.agent, b.parents.clone(), texts(b))).collect();
        assert_eq!(
            bursts,
            [
                (0, vec![], "ab".to_owned()),
                (1, vec![0], "xy".to_owned()),
                (0, vec![0], "c".to_owned()),
                (0, vec![1, 2], "de".to_owned()),
            ]
        );
        assert_eq!(trace.agents(), 2);
    }
}
