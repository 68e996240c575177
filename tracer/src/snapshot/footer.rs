//! The last bytes of a snapshot: a zstd frame that unpackers skip, all little-endian.

/// `ZSTD_MAGIC_SKIPPABLE_START` + 10.
const SKIPPABLE: u32 = 0x184d_2a5a;
const MAGIC: [u8; 8] = *b"tracersn";
/// Frame magic, frame length, and the seven members.
pub const BYTES: usize = 4 + 4 + 8 + 4 + 8 + 4 + 4 + 4 + 4;

/// Where the manifest's frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footer {
    pub format: u32,
    pub offset: u64,
    /// Bytes of the frame in the file.
    pub stored: u32,
    /// Bytes of `manifest.json`.
    pub bytes: u32,
    /// CRC-32 of everything before the footer.
    pub checksum: u32,
}

impl Footer {
    pub fn encode(&self) -> [u8; BYTES] {
        let mut out = Vec::with_capacity(BYTES);
        out.extend(SKIPPABLE.to_le_bytes());
        out.extend((BYTES as u32 - 8).to_le_bytes());
        out.extend(MAGIC);
        out.extend(self.format.to_le_bytes());
        out.extend(self.offset.to_le_bytes());
        out.extend(self.stored.to_le_bytes());
        out.extend(self.bytes.to_le_bytes());
        out.extend(self.checksum.to_le_bytes());
        out.extend(crc32fast::hash(&out).to_le_bytes());
        let mut bytes = [0; BYTES];
        bytes.copy_from_slice(&out);
        bytes
    }

    /// `None`: these are other bytes.
    pub fn decode(bytes: &[u8; BYTES]) -> Option<Self> {
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let footer = Self {
            format: word(16),
            offset: u64::from(word(20)) | u64::from(word(24)) << 32,
            stored: word(28),
            bytes: word(32),
            checksum: word(36),
        };
        let has_magic = word(0) == SKIPPABLE && word(4) == BYTES as u32 - 8 && bytes[8..16] == MAGIC;
        (has_magic && word(40) == crc32fast::hash(&bytes[..40])).then_some(footer)
    }
}
