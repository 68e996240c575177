//! Protocol buffers, written straight into a buffer: a message is a run of fields, and a nested one has its
//! length in front. Fields with the default value are left out, as proto3 wants it.

use crate::model::time::WallTime;

const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const BYTES: u32 = 2;

/// One message in the making.
pub struct Message<'a>(&'a mut Vec<u8>);

impl<'a> Message<'a> {
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        Self(out)
    }

    /// Any unsigned integer, enumeration or bool.
    pub fn number(&mut self, field: u32, value: impl Into<u64>) {
        let value = value.into();
        if value != 0 {
            self.key(field, VARINT);
            varint(self.0, value);
        }
    }

    pub fn double(&mut self, field: u32, value: f64) {
        if value != 0.0 {
            self.key(field, FIXED64);
            self.0.extend_from_slice(&value.to_le_bytes());
        }
    }

    pub fn string(&mut self, field: u32, text: &str) {
        if !text.is_empty() {
            self.always_string(field, text);
        }
    }

    /// A value of a repeated field: there even if empty.
    pub fn always_string(&mut self, field: u32, text: &str) {
        self.text(field, |out| out.extend_from_slice(text.as_bytes()));
    }

    /// A string that `write` appends; it has to be UTF-8.
    pub fn text(&mut self, field: u32, write: impl FnOnce(&mut Vec<u8>)) {
        self.key(field, BYTES);
        with_length(self.0, write);
    }

    /// A nested message, there even if empty.
    pub fn message(&mut self, field: u32, write: impl FnOnce(&mut Message<'_>)) {
        self.key(field, BYTES);
        with_length(self.0, |out| write(&mut Message(out)));
    }

    /// A `google.protobuf.Timestamp`.
    pub fn time(&mut self, field: u32, time: WallTime) {
        const SECOND: i64 = 1_000_000_000;
        self.message(field, |timestamp| {
            // Negative numbers are sent as their two's complement.
            timestamp.number(1, time.0.div_euclid(SECOND) as u64);
            timestamp.number(2, time.0.rem_euclid(SECOND) as u64);
        });
    }

    fn key(&mut self, field: u32, kind: u32) {
        varint(self.0, u64::from(field << 3 | kind));
    }
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Puts the length in front of what `write` appends. One byte is kept free for it, which mostly is enough.
fn with_length(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.push(0);
    write(out);
    let length = out.len() - start - 1;
    if length < 0x80 {
        out[start] = length as u8;
        return;
    }
    let mut encoded = [0; 10];
    let mut used = 0;
    let mut rest = length;
    while rest >= 0x80 {
        encoded[used] = rest as u8 | 0x80;
        rest >>= 7;
        used += 1;
    }
    encoded[used] = rest as u8;
    out.splice(start..=start, encoded[..=used].iter().copied());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes by the rules of the encoding, written by hand.
    #[test]
    fn fields_as_the_encoding_has_them() {
        let mut out = Vec::new();
        let mut message = Message::new(&mut out);
        message.number(1, 150u32);
        message.number(2, 0u32);
        message.string(2, "testing");
        message.string(4, "");
        message.message(3, |inner| inner.number(1, 150u32));
        message.number(1000, true);
        assert_eq!(out[..3], [0x08, 0x96, 0x01]);
        assert_eq!(out[3..12], *b"\x12\x07testing");
        assert_eq!(out[12..17], [0x1a, 0x03, 0x08, 0x96, 0x01]);
        assert_eq!(out[17..], [0xc0, 0x3e, 0x01]);
    }

    #[test]
    fn a_long_message_gets_a_long_length() {
        for (length, prefix) in
            [(127, &[0x0a, 0x7f][..]), (128, &[0x0a, 0x80, 0x01]), (300, &[0x0a, 0xac, 0x02])]
        {
            let mut out = Vec::new();
            Message::new(&mut out).string(1, &"x".repeat(length));
            assert_eq!(&out[..prefix.len()], prefix);
            assert_eq!(out.len(), prefix.len() + length);
        }
    }

    #[test]
    fn times_before_1970_keep_nanoseconds_positive() {
        let mut out = Vec::new();
        Message::new(&mut out).time(1, WallTime(-1));
        // -1 second in ten bytes, 999,999,999 nanoseconds.
        let mut expected = vec![0x0a, 17, 0x08];
        expected.extend([0xff; 9]);
        expected.extend([0x01, 0x10, 0xff, 0x93, 0xeb, 0xdc, 0x03]);
        assert_eq!(out, expected);
    }
}
