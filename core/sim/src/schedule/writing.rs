//! People write.

use clave_engine::crdt::EventPatch;

use super::Run;
use crate::Who;

impl Run {
    pub(super) fn write_papers(&mut self) {
        let Some(who) = self.somebody() else { return };
        match self.world.random.between(0..10) {
            0..3 => self.splice(who),
            3 => self.open = Some((who, self.circle, self.world.open_note(who, self.circle))),
            4 => self.save(),
            _ => self.plan_something(who),
        }
    }

    pub(super) fn post(&mut self) {
        let Some(who) = self.somebody() else { return };
        let text = self.world.fresh_text(who);
        // Somebody who was just removed may not write any more.
        let _ = self.world.try_post(who, self.circle, &text);
        // Drawn from what was said, so that the schedules are as they were.
        if text.bytes().fold(0_u8, u8::wrapping_add).is_multiple_of(4) {
            let circle = self.circle;
            let _ = self.world.input(who, |engine, now| engine.mark_read(circle, None, now));
        }
    }

    fn splice(&mut self, who: Who) {
        let len = self.world.note_len(who, self.circle) as u64;
        let position = self.world.random.between(0..len + 1);
        let delete = self.world.random.between(0..(len - position).min(5) + 1);
        let insert = ["", "and ", "*", "\n", "日本 "][self.world.random.between(0..5) as usize];
        // Whoever was just removed may not write any more. The same below.
        let _ = self.world.splice(who, self.circle, position as usize, delete as usize, insert);
    }

    /// Saves a note that was opened a while ago; others, and the same person, may have written to it meanwhile.
    fn save(&mut self) {
        let Some((who, circle, open)) = self.open.take().filter(|(who, ..)| self.world.is_up(*who)) else { return };
        let line = self.world.fresh_text(who);
        let markdown = match self.world.random.between(0..3) {
            0 => format!("# {line}\n\n{}", open.markdown),
            1 => format!("{}\n\n- [ ] {line}\n", open.markdown),
            _ => open.markdown.replace("and", "or"),
        };
        let _ = self.world.save_note(who, circle, &open, &markdown);
    }

    fn plan_something(&mut self, who: Who) {
        // Few, so that people meet at the same events.
        let uid = format!("event-{}@example.org", self.world.random.between(0..4));
        let text = Some(self.world.fresh_text(who));
        let _ = match self.world.random.between(0..10) {
            0..3 => self.world.add_event(who, self.circle, &uid, "a meeting"),
            3..5 => {
                let patch = EventPatch { summary: text, ..EventPatch::default() };
                self.world.update_event(who, self.circle, &uid, &patch)
            }
            5..7 => {
                let patch = EventPatch { location: text, ..EventPatch::default() };
                self.world.update_event(who, self.circle, &uid, &patch)
            }
            7..9 => {
                let events: String = (1..4).map(|n| {
                    let uid = format!("UID:event-{n}@example.org\r\nDTSTAMP:20270101T000000Z");
                    format!("BEGIN:VEVENT\r\n{uid}\r\nDTSTART:2027040{n}T090000Z\r\nSUMMARY:imported {n}\r\nEND:VEVENT\r\n")
                }).collect();
                let text = format!("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//sim//EN\r\n{events}END:VCALENDAR\r\n");
                self.world.import_events(who, self.circle, &text)
            }
            _ => self.world.remove_event(who, self.circle, &uid),
        };
    }

    pub(super) fn add_file(&mut self) {
        let Some(who) = self.somebody() else { return };
        let name = self.world.fresh_text(who).replace(' ', "-");
        let content = name.repeat(1 + self.world.random.between(0..3_000) as usize);
        if let Ok(file) = self.world.add_file(who, self.circle, &name, content.as_bytes()) {
            if self.world.has_relays() {
                let (circle, contents) = (self.circle, [file.clone()]);
                let _ = self.world.input(who, |engine, now| engine.relay_files(circle, &contents, now));
            }
            self.files.push((self.circle, file));
        }
    }

    pub(super) fn fetch(&mut self) {
        let Some(who) = self.somebody() else { return };
        let Some(place) = self.files.len().checked_sub(1) else { return };
        let (circle, file) = self.files[self.world.random.between(0..place as u64 + 1) as usize].clone();
        if circle == self.circle {
            let _ = self.world.fetch(who, circle, &file);
        }
    }
}
