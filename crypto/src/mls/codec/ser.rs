//! Writing.

use serde::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};
use zeroize::Zeroizing;

use super::{CodecError, WALL_CLOCK};

/// Writes `value`. What comes out may be secret, so it is wiped when dropped.
pub(in crate::mls) fn to_bytes<T: Serialize + ?Sized>(value: &T) -> Result<Zeroizing<Vec<u8>>, CodecError> {
    let mut writer = Writer { out: Zeroizing::new(Vec::new()) };
    value.serialize(&mut writer)?;
    Ok(writer.out)
}

struct Writer {
    out: Zeroizing<Vec<u8>>,
}

impl Writer {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.out.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.out.push(value as u8);
    }
}

/// The parts of a struct, tuple or sequence, one after the other.
struct Parts<'a> {
    writer: &'a mut Writer,
    /// Set for a wall-clock time, whose parts are not written.
    omitted: bool,
}

impl Parts<'_> {
    fn part<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CodecError> {
        if self.omitted { Ok(()) } else { value.serialize(&mut *self.writer) }
    }
}

type Bytes = Zeroizing<Vec<u8>>;

/// The entries of a map, kept back until they can be sorted.
struct Entries<'a> {
    writer: &'a mut Writer,
    entries: Vec<(Bytes, Bytes)>,
    key: Option<Bytes>,
}

macro_rules! integers {
    ($($method:ident: $type:ty),*) => {
        $(fn $method(self, value: $type) -> Result<(), CodecError> {
            self.varint(u64::from(value));
            Ok(())
        })*
    };
}

macro_rules! unsupported {
    ($($method:ident: $type:ty),*) => {
        $(fn $method(self, _: $type) -> Result<(), CodecError> {
            Err(CodecError::unsupported(stringify!($type)))
        })*
    };
}

impl<'a> Serializer for &'a mut Writer {
    type Ok = ();
    type Error = CodecError;
    type SerializeSeq = Parts<'a>;
    type SerializeTuple = Parts<'a>;
    type SerializeTupleStruct = Parts<'a>;
    type SerializeTupleVariant = Parts<'a>;
    type SerializeMap = Entries<'a>;
    type SerializeStruct = Parts<'a>;
    type SerializeStructVariant = Parts<'a>;

    integers!(serialize_u16: u16, serialize_u32: u32, serialize_u64: u64);
    unsupported!(serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64);
    unsupported!(serialize_f32: f32, serialize_f64: f64, serialize_char: char);

    fn serialize_bool(self, value: bool) -> Result<(), CodecError> {
        self.out.push(u8::from(value));
        Ok(())
    }

    fn serialize_u8(self, value: u8) -> Result<(), CodecError> {
        self.out.push(value);
        Ok(())
    }

    fn serialize_str(self, value: &str) -> Result<(), CodecError> {
        self.serialize_bytes(value.as_bytes())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), CodecError> {
        self.varint(value.len() as u64);
        self.out.extend_from_slice(value);
        Ok(())
    }

    fn serialize_none(self) -> Result<(), CodecError> {
        self.serialize_bool(false)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), CodecError> {
        self.out.push(1);
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), CodecError> {
        Ok(())
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), CodecError> {
        Ok(())
    }

    fn serialize_unit_variant(self, _: &'static str, index: u32, _: &'static str) -> Result<(), CodecError> {
        self.serialize_u32(index)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), CodecError> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        value: &T,
    ) -> Result<(), CodecError> {
        self.varint(u64::from(index));
        value.serialize(self)
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<Parts<'a>, CodecError> {
        let length = length.ok_or_else(|| CodecError::unsupported("a sequence of unknown length"))?;
        self.varint(length as u64);
        Ok(Parts { writer: self, omitted: false })
    }

    fn serialize_tuple(self, _length: usize) -> Result<Parts<'a>, CodecError> {
        Ok(Parts { writer: self, omitted: false })
    }

    fn serialize_tuple_struct(self, _: &'static str, _length: usize) -> Result<Parts<'a>, CodecError> {
        Ok(Parts { writer: self, omitted: false })
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        _length: usize,
    ) -> Result<Parts<'a>, CodecError> {
        self.varint(u64::from(index));
        Ok(Parts { writer: self, omitted: false })
    }

    fn serialize_map(self, _length: Option<usize>) -> Result<Entries<'a>, CodecError> {
        Ok(Entries { writer: self, entries: Vec::new(), key: None })
    }

    fn serialize_struct(self, name: &'static str, _length: usize) -> Result<Parts<'a>, CodecError> {
        Ok(Parts { writer: self, omitted: name == WALL_CLOCK })
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        _length: usize,
    ) -> Result<Parts<'a>, CodecError> {
        self.varint(u64::from(index));
        Ok(Parts { writer: self, omitted: false })
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

macro_rules! unnamed_parts {
    ($($trait:ident :: $method:ident),*) => {
        $(impl $trait for Parts<'_> {
            type Ok = ();
            type Error = CodecError;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CodecError> {
                self.part(value)
            }

            fn end(self) -> Result<(), CodecError> {
                Ok(())
            }
        })*
    };
}

macro_rules! named_parts {
    ($($trait:ident),*) => {
        $(impl $trait for Parts<'_> {
            type Ok = ();
            type Error = CodecError;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, _: &'static str, value: &T) -> Result<(), CodecError> {
                self.part(value)
            }

            fn skip_field(&mut self, name: &'static str) -> Result<(), CodecError> {
                Err(CodecError::unsupported(name))
            }

            fn end(self) -> Result<(), CodecError> {
                Ok(())
            }
        })*
    };
}

unnamed_parts!(SerializeSeq::serialize_element, SerializeTuple::serialize_element);
unnamed_parts!(SerializeTupleStruct::serialize_field, SerializeTupleVariant::serialize_field);
named_parts!(SerializeStruct, SerializeStructVariant);

impl SerializeMap for Entries<'_> {
    type Ok = ();
    type Error = CodecError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), CodecError> {
        self.key = Some(to_bytes(key)?);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CodecError> {
        let key = self.key.take().ok_or_else(|| CodecError::unsupported("a map value without a key"))?;
        self.entries.push((key, to_bytes(value)?));
        Ok(())
    }

    fn end(mut self) -> Result<(), CodecError> {
        self.entries.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        self.writer.varint(self.entries.len() as u64);
        for (key, value) in &self.entries {
            self.writer.out.extend_from_slice(key);
            self.writer.out.extend_from_slice(value);
        }
        Ok(())
    }
}
