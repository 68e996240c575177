//! The committed code is what the .proto files make.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use proto_build::{SERVER, Schema, TESTS};

fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    let read =
        |entry: fs::DirEntry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap());
    entries.map(read).filter(|(name, _)| name != "mod.rs").collect()
}

fn check(schema: &Schema) {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let fresh = tempfile::tempdir().unwrap();
    schema.write(&workspace, fresh.path()).unwrap();
    let (committed, fresh) = (files(&workspace.join(schema.out)), files(fresh.path()));
    let differing: Vec<_> = fresh.keys().filter(|name| committed.get(*name) != fresh.get(*name)).collect();
    assert!(differing.is_empty(), "{}: {differing:?} out of date: cargo run -p proto-build", schema.out);
    assert_eq!(committed.len(), fresh.len(), "{}: files that nothing makes", schema.out);
}

#[test]
fn the_servers_code_is_up_to_date() {
    check(&SERVER);
}

#[test]
fn the_test_clients_code_is_up_to_date() {
    check(&TESTS);
}
