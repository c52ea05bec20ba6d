//! A compact, canonical binary form for what openmls stores.
//!
//! openmls hands its storage values that are `serde` types of its own. This codec writes them without field names:
//! integers as LEB128, sequences and strings with their length before them, structs and tuples as their fields, enum
//! variants by number. It is canonical: the same state gives the same bytes, so that a simulation can be replayed and
//! two checkpoints be compared. Two things are done for that: maps are sorted by their encoded keys, and wall-clock
//! times (openmls notes when it stored an epoch's message secrets, which only matters to applications that keep
//! past ones) are written as nothing and read as 1970.
//!
//! It is not self-describing: bytes are only good for the version of openmls whose types wrote them.

mod de;
mod ser;

use std::fmt;

pub(super) use de::{from_bytes, take};
pub(super) use ser::to_bytes;

/// The name under which `serde` knows `std::time::SystemTime`.
const WALL_CLOCK: &str = "SystemTime";

/// A value could not be written or read.
#[derive(Debug)]
pub(super) struct CodecError(String);

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CodecError {}

impl serde::ser::Error for CodecError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

impl serde::de::Error for CodecError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

impl CodecError {
    pub(super) fn unsupported(what: &str) -> Self {
        Self(format!("{what} has no encoding"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};
    use std::fmt::Debug;
    use std::time::{Duration, SystemTime};

    use serde::{Deserialize, Serialize, de::DeserializeOwned};

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Shape {
        Unit,
        Newtype(u64),
        Tuple(u8, bool),
        Struct { name: String, inner: Option<Box<Shape>> },
    }

    fn there_and_back<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T, bytes: &[u8]) {
        assert_eq!(to_bytes(&value).expect("encodes").as_slice(), bytes);
        assert_eq!(from_bytes::<T>(bytes).expect("decodes"), value);
    }

    #[test]
    fn every_shape_has_one_form() {
        there_and_back(Shape::Unit, &[0]);
        there_and_back(Shape::Newtype(300), &[1, 0xac, 0x02]);
        there_and_back(Shape::Tuple(7, true), &[2, 7, 1]);
        let nested = Shape::Struct { name: "é".into(), inner: Some(Box::new(Shape::Unit)) };
        there_and_back(nested, &[3, 2, 0xc3, 0xa9, 1, 0]);
        there_and_back(vec![1u8, 2, 255], &[3, 1, 2, 255]);
        there_and_back((u16::MAX, u32::MAX), &[0xff, 0xff, 3, 0xff, 0xff, 0xff, 0xff, 15]);
        there_and_back(BTreeMap::from([(1u8, "a".to_owned())]), &[1, 1, 1, b'a']);
        there_and_back(u64::MAX, &[255, 255, 255, 255, 255, 255, 255, 255, 255, 1]);
    }

    #[test]
    fn a_map_has_one_form_whatever_its_order() {
        let map: HashMap<u32, u8> = (0..200).map(|n| (n * 7919, 1)).collect();
        let again: HashMap<u32, u8> = (0..200).rev().map(|n| (n * 7919, 1)).collect();
        let bytes = to_bytes(&map).expect("encodes");
        assert_eq!(bytes, to_bytes(&again).expect("encodes"));
        assert_eq!(from_bytes::<HashMap<u32, u8>>(&bytes).expect("decodes"), map);
    }

    #[test]
    fn the_wall_clock_leaves_no_trace() {
        let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let bytes = to_bytes(&(1u8, Some(then), 2u8)).expect("encodes");
        assert_eq!(bytes.as_slice(), [1, 1, 2]);
        let read: (u8, Option<SystemTime>, u8) = from_bytes(&bytes).expect("decodes");
        assert_eq!(read, (1, Some(SystemTime::UNIX_EPOCH), 2));
    }

    #[test]
    fn what_is_not_an_encoding_is_refused() {
        assert!(from_bytes::<u8>(&[]).is_err(), "nothing");
        assert!(from_bytes::<u8>(&[1, 2]).is_err(), "a byte too many");
        assert!(from_bytes::<bool>(&[2]).is_err(), "no truth value");
        assert!(from_bytes::<u16>(&[0xff, 0xff, 4]).is_err(), "too large");
        assert!(from_bytes::<u64>(&[0x80, 0x00]).is_err(), "not the shortest form");
        assert!(from_bytes::<u64>(&[0xff; 11]).is_err(), "endless");
        assert!(from_bytes::<Vec<u64>>(&[0xff, 0xff, 0xff, 0xff, 15]).is_err(), "longer than the input");
        assert!(from_bytes::<Shape>(&[9]).is_err(), "no such variant");
        assert!(from_bytes::<String>(&[1, 0xff]).is_err(), "not UTF-8");
        assert!(to_bytes(&1.5f64).is_err(), "floats have no canonical form");
    }
}
