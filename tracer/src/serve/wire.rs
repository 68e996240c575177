//! Messages that are not turned into values: responses that are encoded already, and filters of which no field
//! may get lost, not even one that this release does not know.

use bytes::{Buf, BufMut, Bytes};
use prost::encoding::{
    DecodeContext, WireType, decode_varint, encode_key, encode_varint, encoded_len_varint, key_len,
    skip_field,
};
use prost::{DecodeError, Message};

/// An encoded `GetFlowsResponse`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response(pub Bytes);

impl Message for Response {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        buf.put_slice(&self.0);
    }

    /// Responses are sent, never received.
    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        skip_field(wire_type, tag, buf, ctx)
    }

    fn encoded_len(&self) -> usize {
        self.0.len()
    }

    fn clear(&mut self) {
        self.0.clear();
    }
}

/// All fields of a message as they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(pub Vec<(u32, Value)>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Number(u64),
    /// A text, a nested message, or packed numbers.
    Bytes(Bytes),
    /// Of a kind that no field here has.
    Other,
}

impl Message for Fields {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        for (tag, value) in &self.0 {
            match value {
                Value::Number(number) => {
                    encode_key(*tag, WireType::Varint, buf);
                    encode_varint(*number, buf);
                }
                Value::Bytes(bytes) => {
                    encode_key(*tag, WireType::LengthDelimited, buf);
                    encode_varint(bytes.len() as u64, buf);
                    buf.put_slice(bytes);
                }
                Value::Other => {}
            }
        }
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        let value = match wire_type {
            WireType::Varint => Value::Number(decode_varint(buf)?),
            WireType::LengthDelimited => {
                let mut bytes = Bytes::new();
                prost::encoding::bytes::merge(wire_type, &mut bytes, buf, ctx)?;
                Value::Bytes(bytes)
            }
            _ => {
                skip_field(wire_type, tag, buf, ctx)?;
                Value::Other
            }
        };
        self.0.push((tag, value));
        Ok(())
    }

    fn encoded_len(&self) -> usize {
        let length = |(tag, value): &(u32, Value)| match value {
            Value::Number(number) => key_len(*tag) + encoded_len_varint(*number),
            Value::Bytes(bytes) => key_len(*tag) + encoded_len_varint(bytes.len() as u64) + bytes.len(),
            Value::Other => 0,
        };
        self.0.iter().map(length).sum()
    }

    fn clear(&mut self) {
        self.0.clear();
    }
}
