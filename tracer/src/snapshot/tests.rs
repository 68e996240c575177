//! A snapshot written, read, and read with every kind of damage.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use tracer_common::id::MapId;

use super::manifest::{End, File, Manifest, Map};
use super::{Snapshot, Writer};
use crate::cilium::maps::MapRead;
use crate::cilium::node::Origin;
use crate::cilium::table::Walk;

/// (length, first byte) → value, as an LPM map with two bytes of data keeps it.
fn lpm(rows: &[(u32, [u8; 2], u8)]) -> Vec<u8> {
    rows.iter().flat_map(|(bits, data, value)| [&bits.to_ne_bytes()[..], data, &[*value]].concat()).collect()
}

fn map(name: &str, id: u32, map_type: u32, sizes: (u32, u32)) -> Map {
    Map {
        name: name.into(),
        id,
        map_type,
        key_size: sizes.0,
        value_size: sizes.1,
        stored_value_size: sizes.1.into(),
        max_entries: 64,
        ..Map::default()
    }
}

/// A hash map in two parts, a trie, a map that could not be opened, one that ended in an error, a file.
fn write(path: &Path) {
    let mut writer = Writer::create(path, 1_700_000_000).unwrap();
    let mut manifest = Manifest { node_name: "n".into(), ..Manifest::default() };
    manifest.taken.monotonic_ns = 7;
    let parts = [&[1, 0, 10, 11, 2, 0, 20, 21][..], &[3, 0, 30, 31]];
    let parts = parts.map(|part| writer.member("maps/cilium_hash/0", part).unwrap()).into();
    manifest.maps.push(Map { entries: 3, parts, ..map("cilium_hash", 1, 1, (2, 2)) });
    let rows = lpm(&[(0, [9, 9], 1), (8, [10, 77], 2), (16, [10, 1], 3)]);
    let parts = vec![writer.member("maps/cilium_trie/0", &rows).unwrap()];
    manifest.maps.push(Map { entries: 3, parts, ..map("cilium_trie", 2, 11, (6, 1)) });
    manifest.maps.push(Map { end: End::Unopened { error: libc::EACCES }, ..map("cilium_no", 3, 1, (0, 0)) });
    let parts = vec![writer.member("inner/4/0", &[1, 0, 5]).unwrap()];
    let failed = End::Failed { error: libc::EIO };
    manifest.inner_maps.push(Map { entries: 1, parts, end: failed, ..map("", 4, 1, (2, 1)) });
    let part = writer.member("state/7/ep_config.json", br#"{"ID":7}"#).unwrap();
    manifest.files.push(File { path: "7/ep_config.json".into(), modified: (5, 6), part });
    writer.finish(&manifest).unwrap();
}

fn fixture() -> (tempfile::TempDir, Vec<u8>) {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("a"));
    let bytes = std::fs::read(dir.path().join("a")).unwrap();
    (dir, bytes)
}

fn open(path: &Path) -> Origin {
    Arc::new(Snapshot::open(path).unwrap()).origin()
}

fn rows(map: &dyn MapRead) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut rows = Vec::new();
    let walk = map.for_each(&mut |key, value| {
        rows.push((key.to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    });
    assert_eq!(walk.unwrap(), Walk::Complete);
    rows
}

#[test]
fn entries_come_out_as_they_went_in() {
    let (dir, _) = fixture();
    let maps = open(&dir.path().join("a")).maps.unwrap();
    assert_eq!(maps.names().unwrap(), ["cilium_hash", "cilium_no", "cilium_trie"]);
    let hash = maps.open("cilium_hash").unwrap();
    let expected = [([1, 0], [10, 11]), ([2, 0], [20, 21]), ([3, 0], [30, 31])];
    assert_eq!(rows(&*hash), expected.map(|(key, value)| (key.to_vec(), value.to_vec())));
    assert_eq!(hash.count().unwrap(), (3, Walk::Complete));
    let mut value = [0; 2];
    assert!(hash.lookup(&[2, 0], &mut value).unwrap());
    assert_eq!(value, [20, 21]);
    assert!(!hash.lookup(&[2, 1], &mut value).unwrap());
    assert!(hash.lookup(&[2], &mut value).is_err());
    assert_eq!(maps.open("cilium_other").unwrap_err().kind(), std::io::ErrorKind::NotFound);
    assert_eq!(maps.open("cilium_no").unwrap_err().raw_os_error(), Some(libc::EACCES));
    assert_eq!(maps.current_id("cilium_trie").unwrap(), Some(MapId(2)));
}

/// As the kernel looks a trie up: the longest prefix that covers the key wins, and none longer than it.
#[test]
fn a_trie_answers_with_the_longest_prefix() {
    let (dir, _) = fixture();
    let trie = open(&dir.path().join("a")).maps.unwrap().open("cilium_trie").unwrap();
    for (bits, data, expected) in [
        (16, [10, 1], 3),
        (16, [10, 2], 2),
        (16, [11, 1], 1),
        (9, [10, 1], 2),
        (8, [10, 0], 2),
        (7, [10, 0], 1),
    ] {
        let mut value = [0];
        assert!(trie.lookup(&lpm(&[(bits, data, 0)])[..6], &mut value).unwrap());
        assert_eq!(value, [expected], "{data:?}/{bits}");
    }
}

#[test]
fn a_map_that_could_not_be_read_to_its_end_says_so_after_its_rows() {
    let (dir, _) = fixture();
    let inner = open(&dir.path().join("a")).maps.unwrap().open_inner(MapId(4)).unwrap();
    let mut seen = 0;
    let walk = inner.for_each(&mut |_, _| {
        seen += 1;
        ControlFlow::Continue(())
    });
    assert_eq!((seen, walk.unwrap_err().raw_os_error()), (1, Some(libc::EIO)));
    assert!(inner.lookup(&[9, 9], &mut [0]).is_err(), "it may have been behind the end");
}

/// Everything that can be asked; the rows and files, if nothing complains.
fn read_all(path: &Path) -> Option<Vec<u8>> {
    let snapshot = Arc::new(Snapshot::open(path).ok()?);
    let mut seen = serde_json::to_vec(&snapshot.manifest).unwrap();
    let origin = snapshot.origin();
    let (maps, files) = (origin.maps?, origin.files?);
    for name in ["cilium_hash", "cilium_trie"] {
        let map = maps.open(name).ok()?;
        map.for_each(&mut |key, value| {
            seen.extend_from_slice(key);
            seen.extend_from_slice(value);
            ControlFlow::Continue(())
        })
        .ok()?;
        map.lookup(&vec![0; map.info().key_size as usize], &mut vec![0; map.value_bytes()]).ok()?;
    }
    let inner = maps.open_inner(MapId(4)).ok()?;
    let walk = inner.for_each(&mut |key, _| {
        seen.extend_from_slice(key);
        ControlFlow::Continue(())
    });
    if walk.is_ok() {
        return None;
    }
    for name in files.names().ok()? {
        seen.extend(files.read(&Path::new(&name).join("ep_config.json")).ok()?);
    }
    Some(seen)
}

/// The same file with checksums that fit what is in it.
fn agreeing(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.len() - super::footer::BYTES;
    let whole = crc32fast::hash(&bytes[..end]).to_le_bytes();
    bytes[end + 36..end + 40].copy_from_slice(&whole);
    let footer = crc32fast::hash(&bytes[end..end + 40]).to_le_bytes();
    bytes[end + 40..].copy_from_slice(&footer);
    bytes
}

/// Each byte of the file turned over, and the file's own checksum made to agree as an enemy would: either a clear
/// error, or exactly what was written.
#[test]
fn no_flipped_byte_is_a_wrong_answer_or_a_panic() {
    let (dir, bytes) = fixture();
    let path = dir.path().join("b");
    let whole = read_all(&dir.path().join("a")).unwrap();
    let (mut refused, mut same) = (0, 0);
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= if at % 3 == 0 { 0xff } else { 1 << (at % 8) };
        std::fs::write(&path, &damaged).unwrap();
        assert!(Snapshot::open(&path).is_err(), "byte {at}");
        std::fs::write(&path, agreeing(damaged)).unwrap();
        match read_all(&path) {
            None => refused += 1,
            Some(seen) if seen == whole => same += 1,
            Some(seen) if seen.len() < whole.len() => refused += 1,
            Some(_) => panic!("byte {at}: other rows"),
        }
    }
    assert!(refused > 50 * same, "{refused} refused, {same} read as ever");
}

#[test]
fn a_file_that_was_cut_short_is_refused() {
    let (dir, bytes) = fixture();
    let path = dir.path().join("b");
    for length in 0..bytes.len() {
        std::fs::write(&path, &bytes[..length]).unwrap();
        let error = Snapshot::open(&path).unwrap_err().to_string();
        assert!(error.contains("is no snapshot of tracer, or it was cut short"), "{error}");
    }
}

/// What is wrong with it in words, and how it gets wrong.
type Lie<'a> = (&'a str, &'a dyn Fn(&mut Manifest));

/// An index that asks for more than there is, or for the same bytes again and again.
#[test]
fn an_index_that_lies_is_refused() {
    let (dir, _) = fixture();
    let lie = |change: &dyn Fn(&mut Manifest)| {
        let mut manifest = Snapshot::open(&dir.path().join("a")).unwrap().manifest;
        change(&mut manifest);
        let path = dir.path().join("c");
        let mut writer = Writer::create(&path, 0).unwrap();
        for part in 0..8 {
            writer.member(&format!("{part}"), &[0; 2000]).unwrap();
        }
        writer.finish(&manifest).unwrap();
        Snapshot::open(&path).map(|_| ()).map_err(|error| error.to_string())
    };
    assert!(lie(&|manifest| manifest.maps.clear()).is_ok());
    let lies: [Lie; 8] = [
        ("beyond the end", &|m| m.maps[0].parts[0].offset = u64::MAX),
        ("a part of", &|m| m.maps[0].parts[0].bytes = u32::MAX),
        ("a part of", &|m| m.files[0].part.bytes = u32::MAX),
        ("overlap", &|m| m.files[0].part = m.maps[0].parts[0]),
        ("another number of entries", &|m| m.maps[0].entries = 1 << 60),
        ("within an entry", &|m| m.maps[0].key_size = 1),
        ("entries of", &|m| m.maps[0].stored_value_size = u64::MAX),
        ("values shorter", &|m| m.maps[0].value_size = u32::MAX),
    ];
    for (expected, change) in lies {
        let error = lie(change).unwrap_err();
        assert!(error.contains("is damaged") && error.contains(expected), "{expected}: {error}");
    }
}

#[test]
fn nothing_stands_under_the_name_before_it_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    std::fs::write(&path, "before").unwrap();
    let mut writer = Writer::create(&path, 0).unwrap();
    writer.member("x", b"y").unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"before");
    drop(writer);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "the unfinished file is gone");
    write(&path);
    assert!(Snapshot::open(&path).is_ok());
}
