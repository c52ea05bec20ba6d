//! Things break.

use super::Run;
use crate::Who;

impl Run {
    pub(super) fn something_breaks(&mut self) {
        let Some(who) = self.world.random.pick(&self.people.clone()) else { return };
        match self.world.random.between(0..200) {
            0..20 => self.world.network_fault(),
            20..32 => {
                self.world.crash(who);
                let ms = self.world.random.between(1..30_000);
                self.world.restart_in(who, ms);
            }
            32..40 => {
                let writes = self.world.random.between(0..10);
                self.world.crash_at_write(who, writes);
                let ms = self.world.random.between(1..60_000);
                self.world.restart_in(who, ms);
            }
            40..46 => self.world.fail_next_write(who),
            46..48 => {
                let writes = self.world.random.between(2..8) as u32;
                self.world.fail_next_writes(who, writes);
            }
            48..56 => self.world.slow_disk(who, 0, 3_000),
            56..72 => self.partition(),
            72..84 => {
                let islands: Vec<(Who, u8)> = self.people.iter().map(|who| (*who, 0)).collect();
                if !self.cut {
                    self.world.partition(&islands);
                }
            }
            84..90 if !self.cut => self.world.isolate(who),
            90..92 => self.world.take_away(who),
            92..94 => self.lose(who),
            _ => {}
        }
    }

    fn partition(&mut self) {
        let count = 2 + self.world.random.between(0..3) / 2;
        let islands: Vec<(Who, u8)> =
            self.people.clone().into_iter().map(|who| (who, self.world.random.between(0..count) as u8)).collect();
        if !self.cut {
            self.world.partition(&islands);
        }
    }

    /// One island never sees what the others do from now on, until the end.
    pub(super) fn cut_for_good(&mut self) {
        self.partition();
        self.cut = true;
    }

    /// A device is gone for good. Somebody is left, and a fifth at most is lost.
    fn lose(&mut self, who: Who) {
        let lost = self.people.iter().filter(|who| self.world.is_lost(**who)).count();
        if lost < self.people.len() / 5 && (!self.world.is_rogue(who)) {
            self.world.lose(who);
        }
    }
}
