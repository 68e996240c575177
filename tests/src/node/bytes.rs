//! Fixed-size byte structs written field by field at stated offsets, so that an encoder reads like the
//! table it was made from. Host order is the machine's, network order is big endian.

/// A zeroed struct of `N` bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Struct<const N: usize>([u8; N]);

impl<const N: usize> Struct<N> {
    pub fn zeroed() -> Self {
        Self([0; N])
    }

    pub fn bytes(mut self, offset: usize, value: &[u8]) -> Self {
        self.0[offset..offset + value.len()].copy_from_slice(value);
        self
    }

    pub fn byte(self, offset: usize, value: u8) -> Self {
        self.bytes(offset, &[value])
    }

    pub fn host16(self, offset: usize, value: u16) -> Self {
        self.bytes(offset, &value.to_ne_bytes())
    }

    pub fn host32(self, offset: usize, value: u32) -> Self {
        self.bytes(offset, &value.to_ne_bytes())
    }

    pub fn host64(self, offset: usize, value: u64) -> Self {
        self.bytes(offset, &value.to_ne_bytes())
    }

    pub fn net16(self, offset: usize, value: u16) -> Self {
        self.bytes(offset, &value.to_be_bytes())
    }

    pub fn to_vec(self) -> Vec<u8> {
        self.0.to_vec()
    }
}
