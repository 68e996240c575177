//! Writes a cpio archive in the "newc" format, as the kernel unpacks it for an initramfs
//! (Documentation/driver-api/early-userspace/buffer-format.rst). Everything belongs to root; no times are kept.

/// An archive in memory.
pub struct Archive {
    bytes: Vec<u8>,
    next_inode: u32,
}

const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_000;
const CHARACTER_DEVICE: u32 = 0o020_000;

impl Archive {
    pub fn new() -> Self {
        Self { bytes: Vec::new(), next_inode: 1 }
    }

    pub fn directory(&mut self, path: &str) {
        self.entry(path, DIRECTORY | 0o755, (0, 0), &[]);
    }

    pub fn file(&mut self, path: &str, permissions: u32, content: &[u8]) {
        self.entry(path, REGULAR | permissions, (0, 0), content);
    }

    pub fn symlink(&mut self, path: &str, target: &str) {
        self.entry(path, SYMLINK | 0o777, (0, 0), target.as_bytes());
    }

    pub fn character_device(&mut self, path: &str, major: u32, minor: u32) {
        self.entry(path, CHARACTER_DEVICE | 0o600, (major, minor), &[]);
    }

    /// The finished archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }

    /// Header of fourteen numbers in hex, name, padding to 4, content, padding to 4. Names carry no leading slash.
    fn entry(&mut self, path: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        let name = path.trim_start_matches('/');
        let size = u32::try_from(content.len()).expect("a file of an initramfs is far below 4 GiB");
        let name_size = u32::try_from(name.len() + 1).expect("a path is short");
        let links = if mode & DIRECTORY == DIRECTORY { 2 } else { 1 };
        let numbers = [self.next_inode, mode, 0, 0, links, 0, size, 0, 0, device.0, device.1, name_size, 0];
        self.next_inode += 1;
        self.bytes.extend_from_slice(b"070701");
        for number in numbers {
            self.bytes.extend_from_slice(format!("{number:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_the_header_of_the_kernels_buffer_format() {
        let mut archive = Archive::new();
        archive.file("/a/b", 0o644, b"hello");
        // magic, inode, mode, uid, gid, links, time, size, device (2), device node (2), name size, check
        let header = "070701\
            00000001\
            000081a4\
            00000000\
            00000000\
            00000001\
            00000000\
            00000005\
            00000000\
            00000000\
            00000000\
            00000000\
            00000004\
            00000000";
        assert_eq!(&archive.bytes[..110], header.as_bytes());
        assert_eq!(&archive.bytes[110..], b"a/b\0\0\0hello\0\0\0");
    }

    #[test]
    fn the_end_is_a_trailer_entry() {
        let bytes = Archive::new().finish();
        assert_eq!(&bytes[110..], b"TRAILER!!!\0\0\0\0");
        assert_eq!(bytes.len() % 4, 0);
    }
}
