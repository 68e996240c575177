//! `tracer explain`: complete for the running kernel and for the published tables, asked by the program itself.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::programs;
use crate::runner::Outcome;

crate::tests![
    every_reason_of_the_running_kernel_is_explained,
    every_code_of_cilium_is_explained,
    reasons_are_found_by_what_people_type,
    unknown_words_are_refused_with_neighbours,
];

fn explain(arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new(programs::path("tracer")?);
    command.arg("explain").args(arguments).output().context("cannot run tracer")
}

fn entries(arguments: &[&str]) -> Result<Vec<Value>> {
    let output = explain(&[arguments, &["-o", "jsonl"]].concat())?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{arguments:?}: {}: {stderr}", output.status);
    let lines = String::from_utf8(output.stdout)?;
    lines.lines().map(|line| serde_json::from_str(line).context("no JSON")).collect()
}

/// What bpftool reads in the kernel's type information: number and name of each reason.
fn reasons_of_the_kernel() -> Result<Option<BTreeMap<u64, String>>> {
    let dumped =
        Command::new("bpftool").args(["-j", "btf", "dump", "file", "/sys/kernel/btf/vmlinux"]).output();
    let Ok(output) = dumped else { return Ok(None) };
    ensure!(output.status.success(), "bpftool: {}", String::from_utf8_lossy(&output.stderr));
    let dump: Value = serde_json::from_slice(&output.stdout).context("bpftool's JSON")?;
    let types = dump["types"].as_array().context("no types")?;
    let named = types.iter().find(|kind| kind["kind"] == "ENUM" && kind["name"] == "skb_drop_reason");
    let values = named.and_then(|kind| kind["values"].as_array());
    let reasons = values.into_iter().flatten().filter_map(|value| {
        let name = value["name"].as_str()?;
        let is_reason = !matches!(name, "SKB_DROP_REASON_MAX" | "SKB_DROP_REASON_SUBSYS_MASK");
        is_reason
            .then(|| Some((value["val"].as_u64()?, name.trim_start_matches("SKB_DROP_REASON_").to_owned())))?
    });
    Ok(Some(reasons.collect()))
}

/// Kernels newer than the texts have reasons without one: they must be there and say so.
fn every_reason_of_the_running_kernel_is_explained() -> Result<Outcome> {
    let Some(expected) = reasons_of_the_kernel()? else {
        return Ok(Outcome::NotPossible("bpftool is needed".to_owned()));
    };
    let listed = entries(&["--kernel"])?;
    let mut core = BTreeMap::new();
    for entry in listed.iter().filter(|entry| entry["number"].as_u64().is_some_and(|n| n < 0x1_0000)) {
        let name = entry["name"].as_str().context("no name")?;
        ensure!(
            core.insert(entry["number"].as_u64().unwrap_or(0), name.to_owned()).is_none(),
            "{name} twice"
        );
    }
    assert_eq!(core, expected);
    let is_known_kernel = super::support::kernel_version()? <= (6, 18);
    for entry in listed.iter().filter(|entry| !entry["number"].is_null()) {
        ensure!(has_all_parts(entry) || !is_known_kernel, "{entry}");
        ensure!(has_all_parts(entry) || entry["meaning"].as_str().is_some_and(|m| m.starts_with("No text")));
    }
    Ok(Outcome::Passed)
}

fn has_all_parts(entry: &Value) -> bool {
    let texts = |key: &str| entry[key].as_array().is_some_and(|list| !list.is_empty());
    let meaning = entry["meaning"].as_str().is_some_and(|meaning| !meaning.is_empty());
    entry["has_text"] == true && meaning && texts("causes") && texts("confirm") && texts("action")
}

/// The published tables: 130 to 207 are reasons of drops, 0 and 2 to 15 are counted besides.
fn every_code_of_cilium_is_explained() -> Result<Outcome> {
    let listed = entries(&["--cilium"])?;
    let codes = |group: &str| -> BTreeSet<u64> {
        let of_group = listed.iter().filter(|entry| entry["group"] == group && has_all_parts(entry));
        of_group.filter_map(|entry| entry["number"].as_u64()).collect()
    };
    assert_eq!(codes("cilium"), (130..=207).collect());
    assert_eq!(codes("cilium-count"), (0..=15).filter(|code| *code != 1).collect());
    Ok(Outcome::Passed)
}

fn reasons_are_found_by_what_people_type() -> Result<Outcome> {
    for (typed, number) in [
        (vec!["133"], 133),
        (vec!["DROP_POLICY"], 133),
        (vec!["policy_denied"], 133),
        (vec!["Policy denied"], 133),
        (vec!["Policy", "denied"], 133),
        (vec!["-133"], 133),
        (vec!["FIB lookup failed"], 169),
        (vec!["ENOMEM"], -12),
        (vec!["-12"], -12),
    ] {
        let found = entries(&[&["--cilium"], &typed[..]].concat())?;
        ensure!(found.len() == 1 && found[0]["number"] == number, "{typed:?}: {found:?}");
    }
    let page = explain(&["no_socket"])?;
    let text = String::from_utf8_lossy(&page.stdout);
    for part in ["NO_SOCKET", "Usual causes", "Confirm", "$ tracer drops", "What to do"] {
        ensure!(text.contains(part), "no `{part}` in: {text}");
    }
    Ok(Outcome::Passed)
}

fn unknown_words_are_refused_with_neighbours() -> Result<Outcome> {
    for (typed, told) in [
        ("POLCY_DENIED", "did you mean POLICY_DENIED"),
        ("208", "no reason `208`"),
        ("\u{1b}[2Jx", "no reason `^[[2Jx`"),
        ("", "no reason ``"),
    ] {
        let output = explain(&["--cilium", typed])?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(2) && output.stdout.is_empty(), "{typed}: {}", output.status);
        ensure!(stderr.lines().count() == 1 && stderr.contains(told), "{typed}: {stderr}");
    }
    Ok(Outcome::Passed)
}
