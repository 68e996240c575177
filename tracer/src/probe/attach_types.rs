//! Type information for aya that tells no more than the numbers of the types which our programs attach to. aya takes 20 ms
//! to read all 127,000 types of a kernel, and the numbers are all that it needs them for.

use aya::{Btf as AyaBtf, BtfError, Endianness};

use crate::kernel::btf::Btf;

const MAGIC: u16 = 0xeb9f;
const VERSION: u8 = 1;
const HEADER_LEN: u32 = 24;
/// Words of a type without a tail: name, kind, size or type.
const WORDS: usize = 3;
const KIND_FWD: u32 = 7;
const KIND_TYPEDEF: u32 = 8;
const KIND_FUNC: u32 = 12;

/// The typedef of the arguments of the tracepoint `kfree_skb`.
const TRACEPOINT: &str = "btf_trace_kfree_skb";

/// `functions` and the tracepoint, as far as the kernel has them, under their own numbers. The types between are
/// forward declarations without a name.
pub fn attach_types(btf: &Btf, functions: &[&'static str]) -> Result<AyaBtf, BtfError> {
    let functions = functions.iter().filter_map(|name| Some((*name, KIND_FUNC, btf.function_id(name).ok()?)));
    let tracepoint = btf.typedef_id(TRACEPOINT).ok().map(|id| (TRACEPOINT, KIND_TYPEDEF, id));
    AyaBtf::parse(&blob(functions.chain(tracepoint)), Endianness::default())
}

/// In the layout of the kernel's Documentation/bpf/btf.rst.
fn blob(named: impl Iterator<Item = (&'static str, u32, u32)>) -> Vec<u8> {
    let mut types: Vec<[u32; WORDS]> = Vec::new();
    let mut strings = vec![0];
    for (name, kind, id) in named {
        let filler = [0, KIND_FWD << 24, 0];
        types.resize(types.len().max(id as usize), filler);
        // The first type has the number 1.
        types[id as usize - 1] = [strings.len() as u32, kind << 24, 0];
        strings.extend_from_slice(name.as_bytes());
        strings.push(0);
    }
    let (type_len, string_len) = ((types.len() * WORDS * 4) as u32, strings.len() as u32);
    let mut blob = Vec::with_capacity((HEADER_LEN + type_len + string_len) as usize);
    blob.extend(MAGIC.to_ne_bytes());
    blob.extend([VERSION, 0]);
    let header = [HEADER_LEN, 0, type_len, type_len, string_len];
    header.iter().chain(types.as_flattened()).for_each(|word| blob.extend(word.to_ne_bytes()));
    blob.extend(strings);
    blob
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_types_keep_their_numbers() {
        let named = [("g", KIND_FUNC, 5), ("t", KIND_TYPEDEF, 2), ("f", KIND_FUNC, 3)];
        let btf = Btf::parse(blob(named.into_iter()), None).unwrap();
        assert_eq!(btf.typedef_id("t").unwrap(), 2);
        assert_eq!((btf.function_id("f").unwrap(), btf.function_id("g").unwrap()), (3, 5));
        assert!(btf.function_id("t").is_err());
        assert_eq!(btf.as_base().types, 5);
    }
}
