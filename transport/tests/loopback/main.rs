//! Real devices on one machine, over loopback.

mod frames;
mod harness;
mod peers;
mod relayed;
