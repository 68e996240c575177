//! Just enough JSON writing, straight into a byte buffer: no tree, no allocation.

use std::net::IpAddr;

use super::escape;
use super::listing::value;

/// The members of one JSON object in the making. Methods named after a type leave out zero and empty values,
/// as the proto3 JSON mapping does; `always_` ones do not.
pub struct Object<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Object<'a> {
    /// Appends a whole object to `out`.
    #[inline]
    pub fn write(out: &'a mut Vec<u8>, members: impl FnOnce(&mut Object<'_>)) {
        out.push(b'{');
        members(&mut Object { out });
        out.push(b'}');
    }

    /// Members alone, for [`Object::members`].
    pub fn write_members(out: &'a mut Vec<u8>, members: impl FnOnce(&mut Object<'_>)) {
        // What is separated is not what stands before the first member.
        let start = out.len();
        out.push(b'{');
        members(&mut Object { out });
        out.remove(start);
    }

    /// Appends `"key":`, with a comma unless it is the first member; the value is the caller's to append.
    #[inline]
    pub fn key(&mut self, key: &str) -> &mut Vec<u8> {
        separate(self.out, b'{');
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    /// Appends members that `write` renders, separated from those before; none is fine.
    #[inline]
    pub fn members(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let at = self.out.len();
        separate(self.out, b'{');
        let start = self.out.len();
        write(self.out);
        if self.out.len() == start {
            self.out.truncate(at);
        }
    }

    #[inline]
    pub fn object(&mut self, key: &str, members: impl FnOnce(&mut Object<'_>)) {
        Object::write(self.key(key), members);
    }

    #[inline]
    pub fn string(&mut self, key: &str, value: &str) {
        if !value.is_empty() {
            self.always_string(key, value);
        }
    }

    #[inline]
    pub fn always_string(&mut self, key: &str, value: &str) {
        quoted(self.key(key), |out| escape::json(out, value));
    }

    /// Up to 32 bits.
    #[inline]
    pub fn number(&mut self, key: &str, value: u32) {
        if value != 0 {
            self.always_number(key, value);
        }
    }

    #[inline]
    pub fn always_number(&mut self, key: &str, value: impl itoa::Integer) {
        decimal(self.key(key), value);
    }

    /// 64-bit numbers are strings in proto3 JSON.
    #[inline]
    pub fn number64(&mut self, key: &str, value: u64) {
        if value != 0 {
            self.always_number64(key, value);
        }
    }

    #[inline]
    pub fn always_number64(&mut self, key: &str, value: impl itoa::Integer) {
        quoted(self.key(key), |out| decimal(out, value));
    }

    /// `"0x…"`, for addresses.
    pub fn hex(&mut self, key: &str, value: u64) {
        if value != 0 {
            quoted(self.key(key), |out| hexadecimal(out, value));
        }
    }

    pub fn always_address(&mut self, key: &str, ip: IpAddr) {
        quoted(self.key(key), |out| value::address(out, ip));
    }

    /// Bytes as they lie in memory, as a string of hexadecimal digits.
    pub fn bytes(&mut self, key: &str, bytes: &[u8]) {
        quoted(self.key(key), |out| value::hex_bytes(out, bytes));
    }

    /// A string that needs no escaping, written by `value`.
    pub fn plain(&mut self, key: &str, value: impl FnOnce(&mut Vec<u8>)) {
        quoted(self.key(key), value);
    }

    pub fn null(&mut self, key: &str) {
        self.key(key).extend_from_slice(b"null");
    }

    #[inline]
    pub fn flag(&mut self, key: &str, value: bool) {
        if value {
            self.always_flag(key, value);
        }
    }

    #[inline]
    pub fn always_flag(&mut self, key: &str, value: bool) {
        self.key(key).extend_from_slice(if value { b"true" } else { b"false" });
    }

    /// A string that is known to need no escaping.
    #[inline]
    pub fn word(&mut self, key: &str, value: &'static str) {
        quoted(self.key(key), |out| out.extend_from_slice(value.as_bytes()));
    }

    #[inline]
    pub fn strings<'s>(&mut self, key: &str, values: impl IntoIterator<Item = &'s str>) {
        let mut values = values.into_iter().peekable();
        if values.peek().is_some() {
            self.always_strings(key, values);
        }
    }

    pub fn always_strings<'s>(&mut self, key: &str, values: impl IntoIterator<Item = &'s str>) {
        let out = self.key(key);
        out.push(b'[');
        for value in values {
            separate(out, b'[');
            quoted(out, |out| escape::json(out, value));
        }
        out.push(b']');
    }

    /// An array of objects.
    pub fn objects<T>(
        &mut self,
        key: &str,
        items: impl IntoIterator<Item = T>,
        members: impl Fn(&mut Object<'_>, T),
    ) {
        let out = self.key(key);
        out.push(b'[');
        for item in items {
            separate(out, b'[');
            Object::write(out, |object| members(object, item));
        }
        out.push(b']');
    }
}

/// A comma, unless nothing stands behind `opening` yet.
#[inline]
fn separate(out: &mut Vec<u8>, opening: u8) {
    if out.last() != Some(&opening) {
        out.push(b',');
    }
}

#[inline]
pub(super) fn quoted(out: &mut Vec<u8>, value: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'"');
    value(out);
    out.push(b'"');
}

/// `0x` and the digits that it takes.
pub(super) fn hexadecimal(out: &mut Vec<u8>, value: u64) {
    let digits = (64 - value.leading_zeros()).div_ceil(4).max(1);
    out.extend_from_slice(b"0x");
    out.extend((0..digits).rev().map(|at| HEX_DIGITS[(value >> (4 * at) & 15) as usize]));
}

pub(super) const HEX_DIGITS: &[u8; 16] = b"0123456789abcdef";

#[inline]
pub(super) fn decimal(out: &mut Vec<u8>, value: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_separated_and_empty_values_left_out() {
        let mut out = Vec::new();
        Object::write(&mut out, |o| {
            o.string("a", "");
            o.number("b", 0);
            o.always_number("c", 0u32);
            o.number64("d", u64::MAX);
            o.object("e", |_| {});
            o.strings("f", []);
            o.always_strings("g", ["{", "["]);
            o.objects("h", [1u32, 2], |o, n| o.number("n", n));
            o.hex("i", 0xff00_0000_0000_000f);
            o.flag("j", false);
            o.always_flag("k", false);
        });
        let expected = r#"{"c":0,"d":"18446744073709551615","e":{},"g":["{","["],"h":[{"n":1},{"n":2}],"i":"0xff0000000000000f","k":false}"#;
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
