//! The calendar.

use clave::{Attendee, EventDraft, EventPatch, EventTime, Space};

use super::pick;
use crate::failure::Failure;
use crate::reply::{self, Reply};
use crate::request::NewEvent;

pub(super) async fn add(space: &Space, event: &NewEvent) -> Result<Reply, Failure> {
    let time = |text: &String| text.parse::<EventTime>().map_err(Failure::from);
    let invite = |address: &String| Attendee { address: address.clone(), ..Attendee::default() };
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|_| Failure::failed("the system gives no random numbers"))?;
    let uid = reply::hex(random);
    let patch = EventPatch {
        summary: Some(event.summary.clone()),
        description: event.description.clone(),
        location: event.location.clone(),
        end: event.end.as_ref().map(time).transpose()?,
        rrule: event.rrule.clone(),
        invite: event.attendees.iter().map(invite).collect(),
        ..EventPatch::default()
    };
    space.calendar().add(EventDraft { uid: uid.clone(), start: time(&event.start)?, patch }).await?;
    Ok(Reply::Added { uid })
}

pub(super) async fn agenda(space: &Space, from_ms: i64, to_ms: i64, zone: &str) -> Result<Reply, Failure> {
    let agenda = space.calendar().agenda(from_ms, to_ms, zone).await?;
    Ok(Reply::Agenda(reply::Agenda {
        zone: zone.to_owned(),
        from_ms,
        to_ms,
        occurrences: agenda.occurrences.into_iter().map(reply::Occurrence::from).collect(),
        truncated: agenda.truncated,
    }))
}

pub(super) async fn import(space: &Space, ics: &str) -> Result<Reply, Failure> {
    Ok(Reply::Imported(space.calendar().import_ics(ics).await?.into()))
}

pub(super) async fn export(space: &Space) -> Result<Reply, Failure> {
    Ok(Reply::Calendar { ics: space.calendar().export_ics().await? })
}

pub(super) async fn remove(space: &Space, asked: &str) -> Result<Reply, Failure> {
    let calendar = space.calendar();
    let mut events = calendar.events().await?;
    events.retain(|event| event.recurrence_id.is_none());
    let event = pick(events, asked, "event", |event| event.uid.clone(), |event| &event.summary)?;
    calendar.remove(&event.uid).await?;
    Ok(Reply::Done)
}
