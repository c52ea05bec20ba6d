//! Members, access, policies, what was set aside, the audit.

use std::time::Duration;

use clave::{Access, Circle, Event, Node, Policy, Reading, Role};

use super::circle::{Place, departed, person};
use super::{next_event, pick};
use crate::failure::Failure;
use crate::reply::{self, Reply, hex};
use crate::wire::Out;

pub(super) async fn list(place: &Place) -> Result<Reply, Failure> {
    Ok(Reply::Members { members: members(&place.circle).await?, evidence: evidence(&place.circle).await? })
}

async fn evidence(circle: &Circle) -> Result<Vec<reply::Evidence>, Failure> {
    Ok(circle.evidence().await?.into_iter().map(reply::Evidence::from).collect())
}

/// Who is in, each with how they stand with this device.
pub(super) async fn members(circle: &Circle) -> Result<Vec<reply::Person>, Failure> {
    let mut members = Vec::new();
    for member in circle.members().await? {
        let verification = super::verify::word(&circle.verification(member.person).await?).to_owned();
        members.push(reply::Person { verification, ..member.into() });
    }
    Ok(members)
}

pub(super) async fn add(place: &Place, asked: &str, role: &str) -> Result<Reply, Failure> {
    let (who, _) = person(&place.space, asked).await?;
    place.circle.add(who, parse_role(role)?).await?;
    Ok(Reply::Done)
}

pub(super) async fn set_role(place: &Place, asked: &str, role: &str) -> Result<Reply, Failure> {
    let (who, _) = person(&place.circle, asked).await?;
    place.circle.set_role(who, parse_role(role)?).await?;
    Ok(Reply::Done)
}

pub(super) async fn grant(place: &Place, asked: &str, until_ms: u64) -> Result<Reply, Failure> {
    let (who, _) = person(&place.space, asked).await?;
    place.circle.grant(who, until_ms).await?;
    Ok(Reply::Done)
}

fn parse_role(role: &str) -> Result<Role, Failure> {
    let known = Role::ALL.into_iter().find(|known| known.to_string() == role);
    known.ok_or_else(|| Failure::usage(format!("“{role}” is no role")).hint("owner, admin, member, bot or guest"))
}

/// Removes somebody, says at once who reads what, then waits until the keys have changed.
pub(super) async fn remove(
    node: &Node,
    place: &Place,
    asked: &str,
    wait: Duration,
    out: &Out,
) -> Result<Reply, Failure> {
    let (who, name) = person(&place.circle, asked).await?;
    if who == node.profile().person {
        return Err(Failure::usage("that is you").hint("`clave circle leave CIRCLE` or `clave space leave` leave"));
    }
    let before = place.circle.access().await?;
    let mut affected = vec![place.circle.clone()];
    let mut circles = Vec::new();
    if place.circle.id() == place.space.id() {
        for info in place.space.circles().await? {
            let circle = place.space.circle(info.id).await?;
            let is_in = circle.members().await?.iter().any(|member| member.person == who);
            if is_in && !info.direct && info.scope == clave::Scope::Nested {
                affected.push(circle);
                circles.push(info.name);
            }
        }
    }
    let mut events = node.events();
    let began = tokio::time::Instant::now();
    place.circle.remove(who).await?;
    let no_wait = wait.is_zero();
    let keeps = before.people.iter().filter(|known| known.person == who);
    let keeps = keeps.flat_map(|known| known.devices.iter().map(|device| device.name.clone())).collect();
    let reads = devices(&place.circle.access().await?, |_| true);
    let from = place.name.clone();
    let removal = Reply::Removal(reply::Removal { name, from, circles, keeps, reads, no_wait });
    if no_wait {
        return Ok(removal);
    }
    out.item(removal).await?;
    let deadline = began + wait;
    let mut rotated_ms = None;
    loop {
        let rotation = rotation(node, &affected).await?;
        let passed_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        if rotation.rotated {
            rotated_ms.get_or_insert(passed_ms);
        }
        let moved = |event: &Event| {
            matches!(
                event,
                Event::EpochChanged { .. }
                    | Event::KeysConfirmed { .. }
                    | Event::MembershipChanged { .. }
                    | Event::Reconciled { .. }
                    | Event::Presence { .. }
            )
        };
        if !rotation.finished && tokio::time::timeout_at(deadline, next_event(&mut events, moved)).await.is_ok() {
            continue;
        }
        let (confirmed, unconfirmed) = (rotation.confirmed, rotation.unconfirmed);
        let rotated_ms = rotated_ms.filter(|_| rotation.rotated);
        return Ok(Reply::Rotation(reply::Rotation { rotated_ms, waited_ms: passed_ms, confirmed, unconfirmed }));
    }
}

pub(super) struct Rotation {
    pub(super) rotated: bool,
    /// And everybody who is connected has confirmed it.
    pub(super) finished: bool,
    pub(super) confirmed: Vec<String>,
    pub(super) unconfirmed: Vec<String>,
}

/// How far the keys of circles are, of which the first says who confirms.
pub(super) async fn rotation(node: &Node, circles: &[Circle]) -> Result<Rotation, Failure> {
    let mut rotated = true;
    for circle in circles {
        rotated &= circle.access().await?.rotated;
    }
    let access = circles[0].access().await?;
    let online: Vec<_> = node.status().await?.peers.into_iter().map(|peer| peer.device).collect();
    let awaited = |device: &clave::DeviceAccess| !device.confirmed && online.contains(&device.device);
    Ok(Rotation {
        rotated,
        finished: rotated && devices(&access, awaited).is_empty(),
        confirmed: devices(&access, |device| device.confirmed),
        unconfirmed: devices(&access, |device| !device.confirmed),
    })
}

/// The devices that are in and of which this holds, each with its person.
fn devices(access: &Access, holds: impl Fn(&clave::DeviceAccess) -> bool) -> Vec<String> {
    let is_in = |device: &clave::DeviceAccess| !matches!(device.reading, Reading::Stopping | Reading::Ended);
    let of = |person: &clave::PersonAccess| {
        let devices = person.devices.iter().filter(|device| is_in(device) && holds(device));
        devices.map(|device| format!("{} ({})", person.name, device.name)).collect::<Vec<_>>()
    };
    access.people.iter().flat_map(of).collect()
}

pub(super) async fn access(node: &Node, place: &Place) -> Result<Reply, Failure> {
    let access = place.circle.access().await?;
    let me = node.profile().person;
    Ok(Reply::Access(reply::Access {
        circle: place.circle.id().to_string(),
        name: place.name.clone(),
        epoch: access.epoch.to_string(),
        commits: access.depth,
        rotated: access.rotated,
        history: access.history.to_string(),
        removed: departed(&place.circle, &place.name).await?,
        people: access.people.into_iter().map(|person| reply::PersonAccess::new(person, me)).collect(),
    }))
}

pub(super) async fn set_aside(place: &Place) -> Result<Reply, Failure> {
    let documents = place.circle.set_aside_changes().await?;
    Ok(Reply::SetAside(reply::SetAside {
        name: place.name.clone(),
        acts: place.circle.set_aside().await?,
        documents: documents.into_iter().map(reply::SetAsideDocument::from).collect(),
    }))
}

/// Takes over what is set aside in a document that is named by its kind, title or id; or in all.
pub(super) async fn keep(place: &Place, asked: Option<&str>) -> Result<Reply, Failure> {
    let all = place.circle.set_aside_changes().await?;
    let chosen: Vec<_> = match asked {
        None => all,
        Some(asked) => {
            let kind = |document: &clave::SetAsideDocument| reply::SetAsideDocument::from(document.clone()).kind;
            let of_kind: Vec<_> = all.iter().filter(|document| kind(document) == asked).cloned().collect();
            if of_kind.is_empty() {
                let nothing = |_| {
                    Failure::not_found(format!("nothing is set aside in a document “{asked}”"))
                        .hint("`clave set-aside` says where something is")
                };
                vec![pick(all, asked, "document", |d| d.id.to_string(), |d| &d.title).map_err(nothing)?]
            } else {
                of_kind
            }
        }
    };
    let (mut changes, mut documents) = (0, 0);
    for document in chosen {
        changes += place.circle.keep(document.id, document.kind).await?;
        documents += 1;
    }
    Ok(Reply::Kept { changes, documents })
}

pub(super) async fn policies(place: &Place) -> Result<Reply, Failure> {
    Ok(Reply::Policies(reply::Policies { name: place.name.clone(), policies: place.circle.policies().await? }))
}

pub(super) async fn set_policy(place: &Place, key: &str, value: &str) -> Result<Reply, Failure> {
    match Policy::parse(key, value) {
        Ok(Some(_)) => {}
        Ok(None) => {
            return Err(Failure::usage(format!("there is no policy “{key}”"))
                .hint("there are members_may_invite, history and post_quantum_circles, and relay.1 to relay.4: `clave policy` shows them"));
        }
        Err(error) => return Err(Failure::usage(error)),
    }
    place.circle.set_policy(key, value).await?;
    policies(place).await
}

pub(super) async fn audit(place: &Place) -> Result<Reply, Failure> {
    let circle = place.circle.id();
    let records: Vec<_> = place.circle.audit().await?.into_iter().map(reply::Record::from).collect();
    let hash = records.last().map_or_else(|| hex(circle.as_bytes()), |last| last.hash.clone());
    let keys = place.circle.key_audit().await?.into();
    let evidence = evidence(&place.circle).await?;
    Ok(Reply::Audit(reply::Audit { circle: circle.to_string(), records, hash, keys, evidence }))
}
