//! A block of a segment: a header of [`BYTES`] and that many compressed bytes. All numbers are little-endian.

use std::io;

/// Magic, bytes that follow, bytes of frames in them, CRC-32 of the header before it and of what follows.
pub const BYTES: usize = 16;
const MAGIC: u32 = u32::from_le_bytes(*b"TRBK");

/// Lengths and checksum of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub stored: u32,
    pub frames: u32,
    checksum: u32,
}

/// Puts the header of `block` into its first bytes, which were left for it.
pub fn seal(block: &mut [u8], frames: usize) -> io::Result<()> {
    let number = |value: usize| u32::try_from(value).map_err(io::Error::other);
    let stored = number(block.len() - BYTES)?;
    block[..4].copy_from_slice(&MAGIC.to_le_bytes());
    block[4..8].copy_from_slice(&stored.to_le_bytes());
    block[8..12].copy_from_slice(&number(frames)?.to_le_bytes());
    let checksum = checksum(&block[..12], &block[BYTES..]);
    block[12..BYTES].copy_from_slice(&checksum.to_le_bytes());
    Ok(())
}

fn checksum(header: &[u8], stored: &[u8]) -> u32 {
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(header);
    checksum.update(stored);
    checksum.finalize()
}

impl Header {
    /// `None`: no block begins here.
    pub fn decode(bytes: &[u8; BYTES]) -> Option<Self> {
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        (word(0) == MAGIC).then(|| Self { stored: word(4), frames: word(8), checksum: word(12) })
    }

    pub fn fits(&self, bytes: &[u8; BYTES], stored: &[u8]) -> bool {
        checksum(&bytes[..12], stored) == self.checksum
    }
}
