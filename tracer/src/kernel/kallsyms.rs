//! Addresses of kernel code to symbols, from /proc/kallsyms.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::Path;
use std::sync::Arc;

const KALLSYMS: &str = "/proc/kallsyms";

/// The kernel's code symbols, sorted by address. Names lie in one string to keep 120,000 of them small.
#[derive(Debug, Default)]
pub struct Symbols {
    entries: Vec<(u64, u32)>,
    names: String,
}

/// Whether addresses may be seen: the first part of the table is enough to tell.
pub fn is_visible() -> io::Result<bool> {
    const FIRST: u64 = 64 * 1024;
    let mut text = Vec::new();
    File::open(KALLSYMS)?.take(FIRST).read_to_end(&mut text)?;
    let address = |line: &[u8]| line.iter().take_while(|b| b.is_ascii_hexdigit()).any(|b| *b != b'0');
    Ok(text.split(|b| *b == b'\n').any(address))
}

impl Symbols {
    /// Reads the table of the running kernel. Empty when addresses may not be seen (they read as 0 without
    /// CAP_SYSLOG under `kptr_restrict`).
    pub fn load() -> io::Result<Self> {
        Self::from_file(Path::new(KALLSYMS))
    }

    pub fn from_file(path: &Path) -> io::Result<Self> {
        let mut reader = BufReader::with_capacity(1 << 16, File::open(path)?);
        let mut symbols = Self::default();
        let mut line = Vec::with_capacity(256);
        while reader.read_until(b'\n', &mut line)? != 0 {
            symbols.add(&line);
            line.clear();
        }
        symbols.entries.sort_unstable_by_key(|entry| entry.0);
        symbols.entries.shrink_to_fit();
        Ok(symbols)
    }

    /// `ffffffff81000000 T _text`, with `\t[module]` behind symbols of modules.
    fn add(&mut self, line: &[u8]) {
        let mut parts = line.split(|b| b.is_ascii_whitespace()).filter(|p| !p.is_empty());
        let (Some(address), Some(kind), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
            return;
        };
        let address = std::str::from_utf8(address).ok().and_then(|a| u64::from_str_radix(a, 16).ok());
        let (Some(address @ 1..), b"t" | b"T" | b"w" | b"W", Ok(name)) =
            (address, kind, std::str::from_utf8(name))
        else {
            return;
        };
        self.entries.push((address, self.names.len() as u32));
        self.names.push_str(name);
        self.names.push('\n');
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// `symbol+0xoffset` of a code address. The table has no sizes: an address behind the last symbol of a
    /// region is taken for part of it.
    pub fn resolve(&self, address: u64) -> Option<Arc<str>> {
        let index = self.entries.partition_point(|entry| entry.0 <= address).checked_sub(1)?;
        let (start, name_at) = self.entries[index];
        let name = self.names[name_at as usize..].split('\n').next()?;
        let mut text = String::with_capacity(name.len() + 10);
        write!(text, "{name}+{:#x}", address - start).ok()?;
        Some(text.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Symbols {
        let mut symbols = Symbols::default();
        text.lines().for_each(|line| symbols.add(line.as_bytes()));
        symbols.entries.sort_unstable_by_key(|entry| entry.0);
        symbols
    }

    #[test]
    fn address_inside_a_function_gets_its_name_and_offset() {
        let symbols =
            table("ffffffff81000100 T second\nffffffff81000000 t first\nffffffff81000080 D data\nbroken\n");
        assert_eq!(symbols.resolve(0xffff_ffff_8100_0042).as_deref(), Some("first+0x42"));
        assert_eq!(symbols.resolve(0xffff_ffff_8100_0100).as_deref(), Some("second+0x0"));
        assert_eq!(symbols.resolve(0xffff_ffff_8000_0000), None);
    }

    #[test]
    fn hidden_addresses_leave_the_table_empty() {
        assert!(table("0000000000000000 T first\n0000000000000000 t second\n").is_empty());
    }
}
