//! What goes wrong in a world.

use clave_engine::{Channel, IoId};

use super::{Happening, World};
use crate::{Network, Who};

impl World {
    /// Kills a device. Of the writes on their way, some first few may still have reached the disk.
    pub fn crash(&mut self, who: Who) {
        let writing = self.devices[who.0].writing.len() as u64;
        let survive = self.random.between(0..writing + 1);
        self.crash_keeping(who, survive as usize);
    }

    /// Kills a device; of the writes on their way, exactly the first `survive` reach the disk.
    pub fn crash_keeping(&mut self, who: Who, survive: usize) {
        if self.is_up(who) {
            self.note(format_args!("crash {} keeping {survive}", who.0), &[]);
            self.devices[who.0].lose_engine(survive);
            self.lose_links(who);
            self.lose_relay_links(who);
        }
    }

    /// Kills a device when so many more writes are durable, before it hears of the last.
    pub fn crash_at_write(&mut self, who: Who, writes: u64) {
        self.devices[who.0].crash_at_write = Some(writes);
    }

    /// Kills a device once so many writes of its life are durable, before it hears of the last; it starts again in a
    /// while.
    pub(crate) fn plan_crash(&mut self, who: Who, writes: u64) {
        self.crash_plan = Some((who, writes));
    }

    /// Starts a device that is down.
    pub fn restart(&mut self, who: Who) {
        if !self.is_up(who) && !self.is_lost(who) {
            self.open(who);
        }
    }

    /// Starts a device that is down, in a while.
    pub fn restart_in(&mut self, who: Who, ms: u64) {
        self.schedule(ms, Happening::Open(who));
    }

    /// The device's next write will fail; it goes back to what is on its disk.
    pub fn fail_next_write(&mut self, who: Who) {
        self.fail_next_writes(who, 1);
    }

    /// The device's disk is full: so many writes will fail.
    pub fn fail_next_writes(&mut self, who: Who, writes: u32) {
        self.devices[who.0].failing_writes = writes;
    }

    /// The device is gone for good: it never starts again.
    pub fn lose(&mut self, who: Who) {
        self.crash(who);
        self.lost.insert(who);
    }

    /// Whether a device is gone for good.
    #[must_use]
    pub fn is_lost(&self, who: Who) -> bool {
        self.lost.contains(&who)
    }

    /// Nobody reaches the device until the world is healed, nor does it reach a relay, whatever else happens to the network.
    pub fn take_away(&mut self, who: Who) {
        self.away.insert(who);
        self.cut_from_relays(who);
        for pair in self.connected_pairs() {
            if pair.0 == who || pair.1 == who {
                self.break_link(pair);
            }
        }
    }

    pub(super) fn write_failed(&mut self, who: Who, io: IoId) {
        self.note(format_args!("write failed {}", who.0), &[]);
        self.was_disturbed = true;
        self.input(who, |engine, _| engine.handle_written(io, false));
        // As the driver does: the process and its connections stay, the engine is opened anew.
        self.devices[who.0].lose_engine(0);
        let relays = self.relays_seen_by(who);
        self.open(who);
        self.tell_relays_up(who, relays);
        for peer in self.peers_seen_by(who) {
            self.tell_up(who, peer);
        }
    }

    /// From now on, a write takes so long, in milliseconds.
    pub fn slow_disk(&mut self, who: Who, least_ms: u64, most_ms: u64) {
        self.devices[who.0].disk_delay_ms = (least_ms, most_ms);
    }

    /// Cuts the network into islands: each device goes to the island of its number.
    pub fn partition(&mut self, islands: &[(Who, u8)]) {
        for (who, island) in islands {
            self.islands[who.0] = *island;
        }
        for (a, b) in self.connected_pairs() {
            if self.islands[a.0] != self.islands[b.0] {
                self.break_link((a, b));
            }
        }
        self.connect_all();
    }

    /// Takes a device off the network.
    pub fn isolate(&mut self, who: Who) {
        self.partition(&[(who, 100 + who.0 as u8)]);
    }

    /// Ends every fault: one network, sound disks, all devices and relays up. Relays that are bad stay so.
    pub fn heal(&mut self) {
        self.note(format_args!("heal"), &[]);
        let network = Network { duplicate_permille: 0, overtake_permille: 0, ..self.network };
        self.set_network(network);
        for device in &mut self.devices {
            device.disk_delay_ms = (0, 5);
            device.failing_writes = 0;
            device.crash_at_write = None;
        }
        self.islands.fill(0);
        self.away.clear();
        for who in self.everyone() {
            self.restart(who);
        }
        self.connect_all();
        self.heal_relays();
    }

    /// Something on the network goes wrong.
    pub(crate) fn network_fault(&mut self) {
        let Some(pair) = self.random.pick(&self.connected_pairs()) else { return };
        let victim = self.random.pick(&[pair.0, pair.1]).expect("one of two");
        match self.random.between(0..3) {
            0 => self.break_link(pair),
            1 => self.replace_link(pair, victim),
            _ => {
                let channel = self.random.pick(&[Channel::Sync, Channel::Join, Channel::Bulk]).expect("one of three");
                self.interrupt(victim, if victim == pair.0 { pair.1 } else { pair.0 }, channel);
            }
        }
    }
}
