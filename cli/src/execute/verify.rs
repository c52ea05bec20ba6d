//! Verifying people.

use clave::{DeviceId, Event, Node, PersonId, Verification, VerificationFailure, VerificationStep};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::circle::{Place, person};
use crate::failure::{Code, Failure};
use crate::reply::{self, Reply};
use crate::wire::Out;

/// The word for where somebody stands.
pub(super) fn word(verification: &Verification) -> &'static str {
    match verification {
        Verification::Own => "own",
        Verification::Verified { .. } => "verified",
        Verification::Changed { .. } => "changed",
        _ => "unverified",
    }
}

/// Asks somebody to compare, or agrees if they asked, and says what to compare.
pub(super) async fn compare(node: &Node, place: &Place, asked: &str, out: &Out) -> Result<Reply, Failure> {
    let (who, name) = other(node, place, asked).await?;
    let mut events = node.events();
    let (mut begun, mut waited) = (false, false);
    loop {
        let member = place.circle.members().await?.into_iter().find(|member| member.person == who);
        let devices = member.map(|member| member.devices).unwrap_or_default();
        let open = node.verifications().await?.into_iter().find(|(open, _)| devices.iter().any(|d| d.device == *open));
        match open {
            Some((device, VerificationStep::Requested)) => {
                node.accept_verification(device).await?;
                continue;
            }
            Some((device, VerificationStep::Compare(sas) | VerificationStep::Confirmed(sas))) => {
                let (emoji, digits) = reply::pictures(&sas);
                let device = device.to_string();
                return Ok(Reply::Compare(reply::Compare { name, device, emoji, digits }));
            }
            Some(_) => {}
            None if begun => return Err(failed(VerificationFailure::Lost)),
            None => match devices.iter().find(|device| device.online) {
                Some(device) => {
                    place.circle.begin_verification(device.device).await?;
                    begun = true;
                    let me = &node.profile().person_name;
                    out.warn(format!("{name} is asked, on {}. They type: clave verify \"{me}\"", device.name)).await?;
                }
                None if !waited => {
                    waited = true;
                    out.warn(format!("{name} is not connected: waiting for them…")).await?;
                }
                None => {}
            },
        }
        let theirs: Vec<DeviceId> = devices.into_iter().map(|device| device.device).collect();
        next(&mut events, &theirs, None).await?;
    }
}

/// Says that both see the same, and waits until the other side says so too.
pub(super) async fn confirm(node: &Node, place: &Place, device: &str) -> Result<Reply, Failure> {
    let device: DeviceId = device.parse().map_err(|_| Failure::usage("this is not a device"))?;
    let members = place.circle.members().await?;
    let member = members.into_iter().find(|member| member.devices.iter().any(|known| known.device == device));
    let member = member.ok_or_else(|| Failure::not_found("this device is not here any more"))?;
    let mut events = node.events();
    node.confirm_verification(device).await?;
    while !next(&mut events, &[device], Some(member.person)).await? {}
    Ok(Reply::Verified { name: member.name, verification: "verified".to_owned() })
}

/// What differs is no comparison that holds.
pub(super) async fn cancel(node: &Node, device: &str) -> Result<Reply, Failure> {
    let device: DeviceId = device.parse().map_err(|_| Failure::usage("this is not a device"))?;
    node.cancel_verification(device).await?;
    Ok(Reply::Done)
}

pub(super) async fn number(node: &Node, place: &Place, asked: &str) -> Result<Reply, Failure> {
    let (who, name) = other(node, place, asked).await?;
    let verification = word(&place.circle.verification(who).await?).to_owned();
    Ok(Reply::SafetyNumber { name, number: node.safety_number(who).await?, verification })
}

pub(super) async fn mark(node: &Node, place: &Place, asked: &str, verified: bool) -> Result<Reply, Failure> {
    let (who, name) = other(node, place, asked).await?;
    place.circle.mark_verified(who, verified).await?;
    Ok(Reply::Verified { name, verification: word(&place.circle.verification(who).await?).to_owned() })
}

async fn other(node: &Node, place: &Place, asked: &str) -> Result<(PersonId, String), Failure> {
    let (who, name) = person(&place.circle, asked).await?;
    if who == node.profile().person {
        return Err(Failure::usage("that is you: verifying is for other people"));
    }
    Ok((who, name))
}

/// Waits for something to happen with one of these devices, and says whether it is that the person is verified.
async fn next(events: &mut Receiver<Event>, devices: &[DeviceId], person: Option<PersonId>) -> Result<bool, Failure> {
    loop {
        match events.recv().await {
            Ok(Event::VerificationFailed { device, why }) if devices.contains(&device) => return Err(failed(why)),
            Ok(Event::PersonVerified { person: verified, .. }) if Some(verified) == person => return Ok(true),
            Ok(Event::VerificationChanged { device, .. } | Event::Presence { device, .. })
                if devices.contains(&device) =>
            {
                return Ok(false);
            }
            Ok(_) => {}
            Err(RecvError::Lagged(_)) => return Ok(false),
            Err(RecvError::Closed) => return Err(clave::Error::Stopped.into()),
        }
    }
}

fn failed(why: VerificationFailure) -> Failure {
    match why {
        VerificationFailure::GivenUp => Failure::new(
            Code::Refused,
            "the other side gave up, or saw something else: then somebody may sit between the two of you",
        )
        .reason("given_up")
        .hint("ask them by another way what they saw, and compare safety numbers: clave verify --number PERSON"),
        VerificationFailure::Altered => Failure::new(
            Code::Refused,
            "what arrived does not fit what came before: somebody meddles, or the other side runs another version",
        )
        .reason("altered")
        .hint("compare safety numbers instead: clave verify --number PERSON"),
        _ => Failure::unreachable("it took too long, or the connection was lost")
            .hint("begin again when both are online"),
    }
}
