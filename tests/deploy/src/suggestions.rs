//! The policies that `tracer why --suggest` writes, as values of Cilium's custom resources. The documents are the ones
//! to which the unit tests of `why::suggest` hold the program's output.

use std::fs;
use std::path::Path;

use kcr_cilium_io::v2::ciliumclusterwidenetworkpolicies::CiliumClusterwideNetworkPolicy;
use kcr_cilium_io::v2::ciliumnetworkpolicies::CiliumNetworkPolicy;

use crate::strict::strictly;

const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tracer/src/why/suggest");

fn documents() -> Vec<(String, String)> {
    let files = fs::read_dir(DIRECTORY).unwrap().map(|entry| entry.unwrap().path());
    let yaml = files.filter(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    let read = |path: &Path| (path.display().to_string(), fs::read_to_string(path).unwrap());
    yaml.map(|path| read(&path)).collect()
}

/// The derived types leave the first two lines of a document to their reader.
fn policy(document: &str) -> Result<(), String> {
    let body = document.strip_prefix("apiVersion: cilium.io/v2\nkind: ").ok_or("not of cilium.io/v2")?;
    let (kind, body) = body.split_once('\n').ok_or("nothing but a kind")?;
    match kind {
        "CiliumNetworkPolicy" => strictly::<CiliumNetworkPolicy>(body).map(drop),
        "CiliumClusterwideNetworkPolicy" => strictly::<CiliumClusterwideNetworkPolicy>(body).map(drop),
        other => Err(format!("{other} is no policy")),
    }
}

#[test]
fn every_suggested_policy_is_one() {
    let documents = documents();
    assert!(documents.len() >= 9, "{documents:?}");
    for (file, document) in documents {
        policy(&document).unwrap_or_else(|error| panic!("{file}: {error}"));
    }
}

#[test]
fn a_misspelt_field_or_value_is_found() {
    let (_, good) = documents().into_iter().find(|(file, _)| file.ends_with("icmp6.yaml")).unwrap();
    assert_eq!(policy(&good), Ok(()));
    for (right, wrong) in
        [("fromEndpoints", "fromEndpoint"), ("icmps", "icmp"), ("IPv6", "IPv5"), ("spec:", "specs:")]
    {
        assert!(policy(&good.replace(right, wrong)).is_err(), "{wrong}");
    }
}
