//! The calendar.

use clave::{Attendee, Circle, EventDraft, EventPatch, EventTime};

use super::pick;
use crate::failure::Failure;
use crate::reply::{self, Reply};
use crate::request::NewEvent;

pub(super) async fn add(circle: &Circle, event: &NewEvent) -> Result<Reply, Failure> {
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
    circle.calendar().add(EventDraft { uid: uid.clone(), start: time(&event.start)?, patch }).await?;
    Ok(Reply::Added { uid })
}

pub(super) async fn agenda(circle: &Circle, from_ms: i64, to_ms: i64, zone: &str) -> Result<Reply, Failure> {
    let agenda = circle.calendar().agenda(from_ms, to_ms, zone).await?;
    Ok(Reply::Agenda(reply::Agenda {
        zone: zone.to_owned(),
        from_ms,
        to_ms,
        occurrences: agenda.occurrences.into_iter().map(reply::Occurrence::from).collect(),
        truncated: agenda.truncated,
    }))
}

pub(super) async fn import(circle: &Circle, ics: &str) -> Result<Reply, Failure> {
    Ok(Reply::Imported(circle.calendar().import_ics(ics).await?.into()))
}

pub(super) async fn export(circle: &Circle) -> Result<Reply, Failure> {
    Ok(Reply::Calendar { ics: circle.calendar().export_ics().await? })
}

pub(super) async fn remove(circle: &Circle, asked: &str) -> Result<Reply, Failure> {
    let calendar = circle.calendar();
    let mut events = calendar.events().await?;
    events.retain(|event| event.recurrence_id.is_none());
    let event = pick(events, asked, "event", |event| event.uid.clone(), |event| &event.summary)?;
    calendar.remove(&event.uid).await?;
    Ok(Reply::Done)
}
