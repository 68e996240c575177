//! Random (version 4) UUIDs for flows. They only have to differ, so a small generator seeded once by the kernel
//! will do.

use rustix::rand::{GetRandomFlags, getrandom};

use super::packet::hex;

/// xoshiro256++.
#[derive(Debug)]
pub(super) struct Uuids([u64; 4]);

impl Uuids {
    pub fn new() -> Self {
        let mut seed = [0; 32];
        let filled = getrandom(&mut seed, GetRandomFlags::NONBLOCK);
        if filled != Ok(seed.len()) {
            return Self::from_clock();
        }
        let (words, _) = seed.as_chunks::<8>();
        Self(std::array::from_fn(|i| u64::from_ne_bytes(words[i]) | 1))
    }

    /// Early in boot the kernel has no random numbers yet; time and process id make a seed that differs.
    fn from_clock() -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self([now.as_secs() | 1, u64::from(now.subsec_nanos()), u64::from(std::process::id()), 1])
    }

    fn next(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.0;
        let result = a.wrapping_add(*d).rotate_left(23).wrapping_add(*a);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }

    /// Appends a new UUID in its usual form.
    pub fn write(&mut self, out: &mut Vec<u8>) {
        let mut bytes = (u128::from(self.next()) << 64 | u128::from(self.next())).to_be_bytes();
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let mut text = [b'-'; 36];
        for (byte, at) in bytes.into_iter().zip(PLACES) {
            text[at..at + 2].copy_from_slice(&hex(byte));
        }
        out.extend_from_slice(&text);
    }
}

/// Where the digits of each byte go, between the dashes.
const PLACES: [usize; 16] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_thousand_uuids_are_well_formed_and_differ() {
        let mut uuids = Uuids::new();
        let mut seen = HashSet::new();
        for _ in 0..1000 {
            let mut out = Vec::new();
            uuids.write(&mut out);
            let text = String::from_utf8(out).unwrap();
            let lengths: Vec<usize> = text.split('-').map(str::len).collect();
            assert_eq!(lengths, [8, 4, 4, 4, 12], "{text}");
            assert_eq!(&text[14..15], "4", "version of {text}");
            assert!(matches!(&text[19..20], "8" | "9" | "a" | "b"), "variant of {text}");
            assert!(seen.insert(text));
        }
    }

    #[test]
    fn a_seed_from_the_clock_works_too() {
        let mut uuids = Uuids::from_clock();
        assert_ne!(uuids.next(), uuids.next());
    }
}
