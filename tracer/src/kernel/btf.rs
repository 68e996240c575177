//! Reader of the kernel's type information (BTF): member offsets, enumerators, parameter counts. aya's own
//! BTF types are closed to this. Knows kinds 1 to 19; a kind it does not know ends the reading with an error,
//! because its length is unknown.

use std::path::{Path, PathBuf};

const MAGIC: u16 = 0xeb9f;
const HEADER_LEN: usize = 24;

const KIND_INT: u32 = 1;
const KIND_PTR: u32 = 2;
const KIND_ARRAY: u32 = 3;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_ENUM: u32 = 6;
const KIND_FWD: u32 = 7;
const KIND_TYPEDEF: u32 = 8;
const KIND_VOLATILE: u32 = 9;
const KIND_CONST: u32 = 10;
const KIND_RESTRICT: u32 = 11;
const KIND_FUNC: u32 = 12;
const KIND_FUNC_PROTO: u32 = 13;
const KIND_VAR: u32 = 14;
const KIND_DATASEC: u32 = 15;
const KIND_FLOAT: u32 = 16;
const KIND_DECL_TAG: u32 = 17;
const KIND_TYPE_TAG: u32 = 18;
const KIND_ENUM64: u32 = 19;

/// Anonymous structures inside structures are searched to this depth.
const MAX_NESTING: u32 = 16;

#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    #[error("cannot read `{}`", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("not BTF: magic {found:#06x}, expected {MAGIC:#06x}")]
    Magic { found: u16 },
    #[error("BTF is cut short at byte {at}")]
    Truncated { at: usize },
    #[error("BTF kind {kind} of type {id} is unknown, expected 1 to 19")]
    UnknownKind { kind: u32, id: u32 },
    #[error("no `{name}` in BTF")]
    NoType { name: &'static str },
    #[error("`{name}` has no member `{member}`")]
    NoMember { name: &'static str, member: &'static str },
}

/// A parsed BTF blob; `types[i]` is where type `first_id + i` starts.
pub struct Btf {
    data: Vec<u8>,
    types: Vec<u32>,
    first_id: u32,
    strings: std::ops::Range<usize>,
    /// Strings below this offset belong to the base that this BTF splits from.
    first_string: u32,
}

/// A structure's member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// From the start of the structure, in bits.
    pub bit_offset: u32,
    /// Width of a bit-field, 0 for ordinary members.
    pub bit_size: u32,
}

impl Member {
    /// Offset in whole bytes.
    pub const fn byte(self) -> u32 {
        self.bit_offset / 8
    }
}

/// Sizes that a split BTF goes on from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Base {
    pub types: u32,
    pub strings: u32,
}

#[derive(Clone, Copy)]
struct Head {
    at: usize,
    name: u32,
    kind: u32,
    kind_flag: bool,
    vlen: usize,
    /// Size or type, by kind.
    size_or_type: u32,
}

impl Btf {
    /// The running kernel's own types.
    pub fn vmlinux() -> Result<Self, BtfError> {
        Self::from_file(Path::new("/sys/kernel/btf/vmlinux"), None)
    }

    /// Reads a file of /sys/kernel/btf; modules' files need the base they split from.
    pub fn from_file(path: &Path, base: Option<Base>) -> Result<Self, BtfError> {
        let data = std::fs::read(path).map_err(|source| BtfError::Read { path: path.to_owned(), source })?;
        Self::parse(data, base)
    }

    pub fn parse(data: Vec<u8>, base: Option<Base>) -> Result<Self, BtfError> {
        let magic = u16::from_le_bytes(bytes(&data, 0)?);
        if magic != MAGIC {
            return Err(BtfError::Magic { found: magic });
        }
        let word = |at| bytes(&data, at).map(u32::from_le_bytes);
        let (header, type_off, type_len) = (word(4)? as usize, word(8)? as usize, word(12)? as usize);
        let (string_off, string_len) = (word(16)? as usize, word(20)? as usize);
        let section = |off: usize, len: usize| {
            let start = header.checked_add(off)?;
            let end = start.checked_add(len)?;
            (header >= HEADER_LEN && end <= data.len()).then_some(start..end)
        };
        let cut = BtfError::Truncated { at: data.len() };
        let (Some(types), Some(strings)) = (section(type_off, type_len), section(string_off, string_len))
        else {
            return Err(cut);
        };
        let first_id = base.map_or(1, |b| b.types + 1);
        let mut btf =
            Self { data, types: Vec::new(), first_id, strings, first_string: base.map_or(0, |b| b.strings) };
        btf.index(types)?;
        Ok(btf)
    }

    /// What a module's BTF that splits from this one goes on from.
    pub fn as_base(&self) -> Base {
        Base {
            types: self.first_id - 1 + self.types.len() as u32,
            strings: self.first_string + self.strings.len() as u32,
        }
    }

    fn index(&mut self, range: std::ops::Range<usize>) -> Result<(), BtfError> {
        self.types.reserve(range.len() / 32);
        let mut at = range.start;
        while at < range.end {
            let head = self.head_at(at)?;
            let id = self.first_id + self.types.len() as u32;
            self.types.push(at as u32);
            at += 12 + tail_len(&head, id)?;
        }
        if at == range.end { Ok(()) } else { Err(BtfError::Truncated { at }) }
    }

    fn word(&self, at: usize) -> Result<u32, BtfError> {
        bytes(&self.data, at).map(u32::from_le_bytes)
    }

    fn head_at(&self, at: usize) -> Result<Head, BtfError> {
        let info = self.word(at + 4)?;
        Ok(Head {
            at,
            name: self.word(at)?,
            kind: (info >> 24) & 0x1f,
            kind_flag: info >> 31 != 0,
            vlen: (info & 0xffff) as usize,
            size_or_type: self.word(at + 8)?,
        })
    }

    fn head(&self, id: u32) -> Option<Head> {
        let index = id.checked_sub(self.first_id)? as usize;
        self.head_at(*self.types.get(index)? as usize).ok()
    }

    fn heads(&self) -> impl Iterator<Item = Head> {
        self.types.iter().filter_map(|at| self.head_at(*at as usize).ok())
    }

    /// The name at a string offset; "" for a string of the base or a broken offset.
    fn name(&self, offset: u32) -> &str {
        let local = offset.checked_sub(self.first_string).map(|o| o as usize);
        let rest = local.and_then(|o| self.data[self.strings.clone()].get(o..)).unwrap_or_default();
        let end = rest.iter().position(|b| *b == 0).unwrap_or(0);
        std::str::from_utf8(&rest[..end]).unwrap_or_default()
    }

    /// Whether the name at a string offset is this one: cheaper than reading each name to compare it.
    fn is_named(&self, offset: u32, name: &str) -> bool {
        let local = offset.checked_sub(self.first_string).map(|o| o as usize);
        let rest = local.and_then(|o| self.data[self.strings.clone()].get(o..)).unwrap_or_default();
        rest.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.first() == Some(&0))
    }

    /// First type of one of `kinds` with this name, and its number.
    fn find_numbered(&self, name: &'static str, kinds: &[u32]) -> Result<(u32, Head), BtfError> {
        (self.first_id..)
            .zip(self.heads())
            .find(|(_, head)| kinds.contains(&head.kind) && self.is_named(head.name, name))
            .ok_or(BtfError::NoType { name })
    }

    fn find(&self, name: &'static str, kinds: &[u32]) -> Result<Head, BtfError> {
        self.find_numbered(name, kinds).map(|(_, head)| head)
    }

    /// Number of the typedef with this name.
    pub fn typedef_id(&self, name: &'static str) -> Result<u32, BtfError> {
        self.find_numbered(name, &[KIND_TYPEDEF]).map(|(id, _)| id)
    }

    /// Number of the function with this name.
    pub fn function_id(&self, name: &'static str) -> Result<u32, BtfError> {
        self.find_numbered(name, &[KIND_FUNC]).map(|(id, _)| id)
    }

    /// A member of a structure, also inside its anonymous structures and unions.
    pub fn member(&self, name: &'static str, member: &'static str) -> Result<Member, BtfError> {
        let head = self.find(name, &[KIND_STRUCT])?;
        self.member_in(&head, member, MAX_NESTING).ok_or(BtfError::NoMember { name, member })
    }

    /// Byte offset of `member`, or of `inner` inside it.
    pub fn offset(&self, name: &'static str, member: &'static str) -> Result<u32, BtfError> {
        self.member(name, member).map(Member::byte)
    }

    fn members(&self, head: &Head) -> impl Iterator<Item = (u32, u32, Member)> {
        let (at, kind_flag) = (head.at + 12, head.kind_flag);
        (0..head.vlen).map_while(move |index| {
            let at = at + index * 12;
            let (name, id, raw) = (self.word(at).ok()?, self.word(at + 4).ok()?, self.word(at + 8).ok()?);
            let member = if kind_flag {
                Member { bit_offset: raw & 0x00ff_ffff, bit_size: raw >> 24 }
            } else {
                Member { bit_offset: raw, bit_size: 0 }
            };
            Some((name, id, member))
        })
    }

    fn member_in(&self, head: &Head, wanted: &str, depth: u32) -> Option<Member> {
        self.members(head).find_map(|(name, id, member)| {
            if name != 0 {
                return self.is_named(name, wanted).then_some(member);
            }
            let inner = self.resolve(id).filter(|h| matches!(h.kind, KIND_STRUCT | KIND_UNION))?;
            let found = self.member_in(&inner, wanted, depth.checked_sub(1)?)?;
            Some(Member { bit_offset: member.bit_offset + found.bit_offset, ..found })
        })
    }

    /// Skips typedefs and qualifiers.
    fn resolve(&self, id: u32) -> Option<Head> {
        let mut head = self.head(id)?;
        for _ in 0..MAX_NESTING {
            match head.kind {
                KIND_TYPEDEF | KIND_VOLATILE | KIND_CONST | KIND_RESTRICT | KIND_TYPE_TAG => {
                    head = self.head(head.size_or_type)?
                }
                _ => return Some(head),
            }
        }
        None
    }

    /// Enumerators (name, value) of the enum with this name.
    pub fn enumerators(&self, name: &'static str) -> Result<Vec<(String, u32)>, BtfError> {
        let head = self.find(name, &[KIND_ENUM])?;
        Ok(self.enumerators_of(&head).map(|(name, value)| (name.to_owned(), value)).collect())
    }

    fn enumerators_of(&self, head: &Head) -> impl Iterator<Item = (&str, u32)> {
        let at = head.at + 12;
        (0..head.vlen).map_while(move |index| {
            let at = at + index * 8;
            Some((self.name(self.word(at).ok()?), self.word(at + 4).ok()?))
        })
    }

    /// Enumerators of the enum that has one whose name starts with `__` and whose value is `marker`, and no
    /// values of another subsystem (upper 16 bits): how the kernel's subsystems declare their own drop
    /// reasons. Flags, which may have the same bit and such a name, have several upper halves.
    pub fn enumerators_with_marker(&self, marker: u32) -> Option<Vec<(String, u32)>> {
        let is_marker = |(name, value): &(&str, u32)| *value == marker && name.starts_with("__");
        let fits = |(_, value): &(&str, u32)| value >> 16 == 0 || value >> 16 == marker >> 16;
        let enums = self.heads().filter(|head| head.kind == KIND_ENUM);
        enums
            .map(|head| self.enumerators_of(&head).collect::<Vec<_>>())
            .find(|list| list.iter().any(is_marker) && list.iter().all(fits))
            .map(|list| list.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// Number of parameters of the function that a typedef points to.
    pub fn parameters_of_typedef(&self, name: &'static str) -> Result<usize, BtfError> {
        let head = self.find(name, &[KIND_TYPEDEF])?;
        let target = self
            .resolve(head.size_or_type)
            .filter(|h| h.kind == KIND_PTR)
            .and_then(|h| self.resolve(h.size_or_type));
        target.filter(|h| h.kind == KIND_FUNC_PROTO).map(|h| h.vlen).ok_or(BtfError::NoType { name })
    }

    /// Whether the kernel has a function of this name.
    pub fn has_function(&self, name: &'static str) -> bool {
        self.function_id(name).is_ok()
    }
}

fn bytes<const N: usize>(data: &[u8], at: usize) -> Result<[u8; N], BtfError> {
    data.get(at..).and_then(|rest| rest.first_chunk()).copied().ok_or(BtfError::Truncated { at })
}

/// Bytes behind the 12 common ones.
fn tail_len(head: &Head, id: u32) -> Result<usize, BtfError> {
    Ok(match head.kind {
        KIND_INT | KIND_VAR | KIND_DECL_TAG => 4,
        KIND_PTR | KIND_FWD | KIND_TYPEDEF | KIND_VOLATILE | KIND_CONST | KIND_RESTRICT | KIND_FUNC
        | KIND_FLOAT | KIND_TYPE_TAG => 0,
        KIND_ARRAY => 12,
        KIND_STRUCT | KIND_UNION | KIND_DATASEC | KIND_ENUM64 => head.vlen * 12,
        KIND_ENUM | KIND_FUNC_PROTO => head.vlen * 8,
        kind => return Err(BtfError::UnknownKind { kind, id }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A blob in the layout of the kernel's Documentation/bpf/btf.rst.
    fn blob(types: &[u32], strings: &[u8]) -> Vec<u8> {
        let mut data = Vec::new();
        data.extend(MAGIC.to_le_bytes());
        data.extend([1, 0]);
        let type_len = types.len() as u32 * 4;
        for word in [HEADER_LEN as u32, 0, type_len, type_len, strings.len() as u32] {
            data.extend(word.to_le_bytes());
        }
        types.iter().for_each(|word| data.extend(word.to_le_bytes()));
        data.extend(strings);
        data
    }

    const fn info(kind: u32, vlen: u32) -> u32 {
        kind << 24 | vlen
    }

    /// struct outer { int a; struct { int b; }; } and enum e { ZERO, SEVEN = 7 }.
    fn sample() -> Vec<u8> {
        let strings = b"\0int\0outer\0a\0b\0e\0ZERO\0SEVEN\0";
        let types = [
            1,
            info(KIND_INT, 0),
            4,
            32, // 1: int
            0,
            info(KIND_STRUCT, 1),
            4,
            13,
            1,
            0, // 2: struct { int b; }
            5,
            info(KIND_STRUCT, 2),
            8,
            11,
            1,
            0,
            0,
            2,
            32, // 3: struct outer
            15,
            info(KIND_ENUM, 2),
            4,
            17,
            0,
            22,
            7, // 4: enum e
        ];
        blob(&types, strings)
    }

    #[test]
    fn member_of_an_anonymous_structure_is_found_with_its_whole_offset() {
        let btf = Btf::parse(sample(), None).unwrap();
        assert_eq!(btf.offset("outer", "a").unwrap(), 0);
        assert_eq!(btf.offset("outer", "b").unwrap(), 4);
        assert!(matches!(btf.offset("outer", "c"), Err(BtfError::NoMember { .. })));
        assert!(matches!(btf.offset("inner", "c"), Err(BtfError::NoType { .. })));
    }

    #[test]
    fn enumerators_keep_their_values() {
        let btf = Btf::parse(sample(), None).unwrap();
        assert_eq!(btf.enumerators("e").unwrap(), [("ZERO".to_owned(), 0), ("SEVEN".to_owned(), 7)]);
    }

    /// The enum of Open vSwitch, and flags of work queues that have the same bit.
    #[test]
    fn a_subsystem_is_told_from_flags_with_its_bit() {
        let strings = b"\0__FLAG\0__OTHER\0__OVS\0OVS_A\0";
        let (flag, other, ovs, a) = (1, 8, 16, 22);
        let flags = [0, info(KIND_ENUM, 2), 4, flag, 0x2_0000, other, 0x4_0000];
        let reasons = [0, info(KIND_ENUM, 2), 4, ovs, 0x2_0000, a, 0x2_0001];
        let both: Vec<u32> = flags.into_iter().chain(reasons).collect();
        let btf = Btf::parse(blob(&both, strings), None).unwrap();
        let expected = [("__OVS".to_owned(), 0x2_0000), ("OVS_A".to_owned(), 0x2_0001)];
        assert_eq!(btf.enumerators_with_marker(0x2_0000).unwrap(), expected);
        let btf = Btf::parse(blob(&flags, strings), None).unwrap();
        assert_eq!(btf.enumerators_with_marker(0x2_0000), None);
    }

    #[test]
    fn functions_and_typedefs_have_their_numbers() {
        let types = [1, info(KIND_INT, 0), 4, 32, 5, info(KIND_TYPEDEF, 0), 1, 5, info(KIND_FUNC, 0), 0];
        let btf = Btf::parse(blob(&types, b"\0int\0name\0names\0"), None).unwrap();
        assert_eq!((btf.typedef_id("name").unwrap(), btf.function_id("name").unwrap()), (2, 3));
        assert!(btf.typedef_id("nam").is_err() && btf.typedef_id("names").is_err());
    }

    #[test]
    fn every_truncation_is_an_error_and_no_panic() {
        let whole = sample();
        for length in 0..whole.len() {
            assert!(Btf::parse(whole[..length].to_vec(), None).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn unknown_kind_is_named() {
        let error = Btf::parse(blob(&[0, info(20, 0), 0], b"\0"), None).err().unwrap();
        assert_eq!(error.to_string(), "BTF kind 20 of type 1 is unknown, expected 1 to 19");
    }
}
