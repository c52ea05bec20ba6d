//! Relays: what people use them for goes by itself; they break, forget, and some betray.

use clave_mailbox::Reason;

use super::Run;
use crate::relay::Malice;

/// Of a thousand relays, how many are bad.
const BAD_PERMILLE: u64 = 350;
/// How long some relays keep what they were given, in seconds: less than a run takes.
const KEPT_SECONDS: std::ops::Range<u64> = 60..600;

impl Run {
    /// Has the space name relays from the start, each good or bad for ever.
    pub(super) fn bring_relays(&mut self) {
        for _ in 0..self.plan.relays {
            let number = self.world.add_relay();
            let malice = match self.world.random.permille(BAD_PERMILLE) {
                true => self.world.random.pick(&Malice::ALL),
                false => None,
            };
            let kept_seconds = match self.world.random.permille(300) {
                true => Some(self.world.random.between(KEPT_SECONDS)),
                false => None,
            };
            let relay = self.world.relay_mut(number);
            relay.malice = malice;
            relay.kept_seconds = kept_seconds.unwrap_or(relay.kept_seconds);
            self.world.note(format_args!("relay {number:?} is {malice:?}, keeps {kept_seconds:?}"), &[]);
            self.relays.push(number);
        }
        self.world.slow_relays(30);
        self.world.use_relays(self.people[0], self.life.space, &self.relays);
    }

    pub(super) fn something_breaks_at_relays(&mut self) {
        let Some(relay) = self.world.random.pick(&self.relays) else { return };
        let Some(who) = self.world.random.pick(&self.people) else { return };
        match self.world.random.between(0..200) {
            0..8 => self.world.stop_relay(relay),
            8..20 => self.world.start_relay(relay),
            20..22 => self.world.wipe_relay(relay),
            22..28 => {
                let reasons = [Reason::Full, Reason::Rate, Reason::TooLarge, Reason::Blocked, Reason::Internal];
                let reason = self.world.random.pick(&reasons);
                self.world.note(format_args!("relay {relay:?} refuses: {reason:?}"), &[]);
                self.world.relay_mut(relay).refuses_puts = reason;
            }
            28..36 => self.world.mend_relay(relay),
            36..50 => self.world.cut_from_relays(who),
            50..70 => self.world.let_to_relays(who),
            70..80 => self.world.break_some_relay_link(),
            80..82 => self.name_other_relays(),
            _ => {}
        }
    }

    /// Somebody has the space use some of the relays, or none.
    fn name_other_relays(&mut self) {
        self.circle = self.life.space;
        let Some(by) = self.manager() else { return };
        let mut some = self.relays.clone();
        some.retain(|_| self.world.random.permille(600));
        // Who was just removed, or is no owner, may not.
        let named = self.world.name_relays(by, self.circle, &some);
        self.world.note(format_args!("{} names the relays {some:?}: {named:?}", by.0), &[]);
    }
}
