//! Field masks: which fields of a flow a client wants. Applied to the encoded flow, by the numbers that the
//! schema gives to the names.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use prost::Message as _;
use prost_types::{DescriptorProto, FileDescriptorSet};

use super::proto::SCHEMA;

/// Wanted fields by number; `None`: with all that is in them.
type Tree = BTreeMap<u32, Option<Node>>;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Node(Tree);

/// The wanted fields of a response: those of the flow that were named, and everything beside the flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask(Tree);

/// A path that leads to no field of a flow.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("field mask: a flow has no field `{0}`")]
pub struct UnknownField(String);

static SCHEMA_SET: LazyLock<FileDescriptorSet> =
    LazyLock::new(|| FileDescriptorSet::decode(SCHEMA).unwrap_or_default());

const FLOW: &str = ".flow.Flow";
/// Number of the flow in a response.
const FLOW_FIELD: u64 = 1;

impl Mask {
    /// `None`: no path, so all fields.
    pub fn new(paths: &[String]) -> Result<Option<Self>, UnknownField> {
        let mut tree = Tree::new();
        for path in paths {
            add(&mut tree, FLOW, path).ok_or_else(|| UnknownField(path.clone()))?;
        }
        Ok((!paths.is_empty()).then_some(Self(tree)))
    }

    /// A response with only the wanted fields of its flow.
    pub fn apply(&self, response: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(response.len());
        for field in fields(response) {
            match field.payload.filter(|_| field.number == FLOW_FIELD) {
                Some(flow) => nested(&mut out, field.key, &project(&self.0, flow)),
                None => out.extend_from_slice(field.whole),
            }
        }
        out
    }
}

/// Follows a path through the schema. `None`: it leads nowhere.
fn add(tree: &mut Tree, message: &str, path: &str) -> Option<()> {
    let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
    let descriptor = descriptor(message)?;
    let field = descriptor.field.iter().find(|field| field.name() == name)?;
    let number = u32::try_from(field.number()).ok()?;
    match rest {
        None => drop(tree.insert(number, None)),
        Some(rest) => {
            let inner = tree.entry(number).or_insert_with(|| Some(Node::default()));
            // A field that is wanted as a whole stays whole; the path has to be right all the same.
            let mut whole = Tree::new();
            let inner = inner.as_mut().map_or(&mut whole, |node| &mut node.0);
            add(inner, field.type_name(), rest)?;
        }
    }
    Some(())
}

fn descriptor(name: &str) -> Option<&'static DescriptorProto> {
    SCHEMA_SET.file.iter().find_map(|file| {
        let rest = name.strip_prefix('.')?.strip_prefix(file.package())?.strip_prefix('.')?;
        file.message_type.iter().find(|message| message.name() == rest)
    })
}

fn project(tree: &Tree, message: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for field in fields(message) {
        let wanted = u32::try_from(field.number).ok().and_then(|number| tree.get(&number));
        match (wanted, field.payload) {
            (Some(Some(inner)), Some(payload)) => nested(&mut out, field.key, &project(&inner.0, payload)),
            (Some(_), _) => out.extend_from_slice(field.whole),
            (None, _) => {}
        }
    }
    out
}

fn nested(out: &mut Vec<u8>, key: &[u8], payload: &[u8]) {
    out.extend_from_slice(key);
    prost::encoding::encode_varint(payload.len() as u64, out);
    out.extend_from_slice(payload);
}

/// A field of an encoded message.
struct Field<'a> {
    number: u64,
    key: &'a [u8],
    /// Of a text or a nested message.
    payload: Option<&'a [u8]>,
    /// Key, length and value.
    whole: &'a [u8],
}

/// The fields of a message that we encoded ourselves; ends where it makes no sense.
fn fields(message: &[u8]) -> impl Iterator<Item = Field<'_>> {
    let mut rest = message;
    std::iter::from_fn(move || {
        let start = rest;
        let key = varint(&mut rest)?;
        let key_bytes = &start[..start.len() - rest.len()];
        let payload = match key & 7 {
            0 => varint(&mut rest).map(|_| None)?,
            1 => take(&mut rest, 8).map(|_| None)?,
            5 => take(&mut rest, 4).map(|_| None)?,
            2 => {
                let length = usize::try_from(varint(&mut rest)?).ok()?;
                Some(take(&mut rest, length)?)
            }
            _ => return None,
        };
        let whole = &start[..start.len() - rest.len()];
        Some(Field { number: key >> 3, key: key_bytes, payload, whole })
    })
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    prost::encoding::decode_varint(rest).ok()
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(paths: &[&str]) -> Result<Option<Mask>, UnknownField> {
        Mask::new(&paths.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>())
    }

    /// Flow {verdict: 2, IP: {source: "a", destination: "b"}, node_name: "n"} beside node_name "n", by hand.
    const RESPONSE: &[u8] = b"\x0a\x0d\x10\x02\x2a\x06\x0a\x01a\x12\x01b\x5a\x01n\xc2\x3e\x01n";

    #[test]
    fn only_what_was_asked_for_is_left_of_the_flow() {
        let apply = |paths: &[&str]| mask(paths).unwrap().unwrap().apply(RESPONSE);
        assert_eq!(apply(&["verdict"]), b"\x0a\x02\x10\x02\xc2\x3e\x01n");
        assert_eq!(
            apply(&["IP.destination", "node_name"]),
            b"\x0a\x08\x2a\x03\x12\x01b\x5a\x01n\xc2\x3e\x01n"
        );
        assert_eq!(apply(&["IP.source", "IP"]), b"\x0a\x08\x2a\x06\x0a\x01a\x12\x01b\xc2\x3e\x01n");
        assert_eq!(apply(&["IP", "IP.source"]), b"\x0a\x08\x2a\x06\x0a\x01a\x12\x01b\xc2\x3e\x01n");
        assert_eq!(apply(&["l4.TCP.flags.SYN"]), b"\x0a\x00\xc2\x3e\x01n");
    }

    #[test]
    fn no_path_is_no_mask_and_a_wrong_one_is_an_error() {
        assert_eq!(mask(&[]), Ok(None));
        for wrong in ["", "verdicts", "IP.sauce", "verdict.x", "IP."] {
            assert_eq!(mask(&["IP", wrong]), Err(UnknownField(wrong.to_owned())), "{wrong}");
        }
    }

    #[test]
    fn broken_bytes_end_it() {
        let all = mask(&["verdict", "IP.source"]).unwrap().unwrap();
        for length in 0..RESPONSE.len() {
            let _ = all.apply(&RESPONSE[..length]);
        }
    }
}
