//! `tracer nat` and `tracer lb`: on the pretend node they count what bpftool counts, on a recorded real node
//! every row means what the vendor's tool listed.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::real_node::{VARIABLE, pin_maps, recording};
use crate::node::kernel::space::NodeSpace;
use crate::node::{Generation, Node};
use crate::programs;
use crate::runner::Outcome;

crate::tests![
    counts_equal_those_of_bpftool: 120,
    the_frontend_without_backends_is_an_error,
    translations_without_connection_are_found,
    ports_of_a_destination_are_counted,
    translations_as_listed,
    services_as_listed,
    spellings_of_the_vendor_print_its_columns,
    slots_as_listed,
    smaller_maps_as_listed,
];

const GLOBALS: &str = "/sys/fs/bpf/tc/globals";

/// Runs tracer on the pretend node; its exit code and its rows.
fn tracer(node: &Node, arguments: &[&str]) -> Result<(i32, Value)> {
    let mut command = Command::new(programs::path("tracer")?);
    outcome(node.run(command.args(arguments).args(["-o", "json"]))?)
}

fn outcome(output: Output) -> Result<(i32, Value)> {
    let code = output.status.code().context("tracer was killed")?;
    let json = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("no JSON ({code}): {}", String::from_utf8_lossy(&output.stderr)))?;
    Ok((code, json))
}

fn rows(json: &Value) -> Result<&Vec<Value>> {
    json.as_array().context("not a list")
}

/// Keys of a map as bpftool dumps them.
fn dumped_keys(node: &Node, map: &str) -> Result<Vec<Vec<u8>>> {
    let mut command = Command::new("bpftool");
    let output = node.run(command.args(["-j", "map", "dump", "pinned", &format!("{GLOBALS}/{map}")]))?;
    ensure!(output.status.success(), "bpftool: {}", String::from_utf8_lossy(&output.stderr));
    let dump: Value = serde_json::from_slice(&output.stdout).context("bpftool: no JSON")?;
    let byte = |text: &Value| u8::from_str_radix(text.as_str()?.trim_start_matches("0x"), 16).ok();
    let key = |entry: &Value| entry["key"].as_array()?.iter().map(byte).collect::<Option<Vec<u8>>>();
    dump.as_array().context("bpftool: not a list")?.iter().map(key).collect::<Option<_>>().context("no key")
}

fn counts_equal_those_of_bpftool() -> Result<Outcome> {
    if Command::new("bpftool").arg("version").output().is_err() {
        return Ok(Outcome::NotPossible("bpftool is needed to compare with".to_owned()));
    }
    for generation in Generation::ALL {
        let node = Node::builder().generation(generation).build()?;
        let keys = |maps: [&str; 2]| -> Result<Vec<Vec<u8>>> {
            Ok([dumped_keys(&node, maps[0])?, dumped_keys(&node, maps[1])?].concat())
        };
        let (code, nat) = tracer(&node, &["nat", "list"])?;
        assert_eq!(code, 0);
        let dumped = keys(["cilium_snat_v4_external", "cilium_snat_v6_external"])?;
        assert_eq!((rows(&nat)?.len(), dumped.is_empty()), (dumped.len(), false));
        let dumped = keys(["cilium_lb4_services_v2", "cilium_lb6_services_v2"])?;
        let slot = |key: &[u8]| if key.len() == 12 { (key[6], key[7]) } else { (key[18], key[19]) };
        let frontends = dumped.iter().filter(|key| slot(key) == (0, 0)).count();
        assert_eq!(rows(&tracer(&node, &["lb", "list"])?.1)?.len(), frontends);
        assert_eq!(rows(&tracer(&node, &["lb", "list", "--frontends"])?.1)?.len(), dumped.len());
        let dumped = keys(["cilium_lb4_backends_v3", "cilium_lb6_backends_v3"])?;
        assert_eq!(rows(&tracer(&node, &["lb", "list", "--backends"])?.1)?.len(), dumped.len());
        let dumped = keys(["cilium_lb4_reverse_nat", "cilium_lb6_reverse_nat"])?;
        assert_eq!(rows(&tracer(&node, &["lb", "list", "--revnat"])?.1)?.len(), dumped.len());
    }
    Ok(Outcome::Passed)
}

/// 10.96.0.30:80, service 3 of the cast.
fn the_frontend_without_backends_is_an_error() -> Result<Outcome> {
    let node = Node::builder().build()?;
    let (code, json) = tracer(&node, &["lb", "check"])?;
    let findings = rows(&json["findings"])?;
    let errors: Vec<&Value> = findings.iter().filter(|finding| finding["severity"] == "error").collect();
    assert_eq!((code, errors.len()), (7, 1), "{findings:?}");
    assert_eq!(
        (&errors[0]["frontend_ip"], &errors[0]["code"]),
        (&"10.96.0.30".into(), &"no_backends".into())
    );
    Ok(Outcome::Passed)
}

/// The cast's orphans: the pair of port 42000, whose connection is gone, and the IPv6 pair, which has none.
fn translations_without_connection_are_found() -> Result<Outcome> {
    let node = Node::builder().build()?;
    let (code, json) = tracer(&node, &["nat", "orphans", "--ip", "0.0.0.0/0"])?;
    let found = rows(&json)?;
    assert_eq!((code, found.len()), (0, 2), "{found:?}");
    for row in found {
        assert_eq!(row["problems"], serde_json::json!(["no_connection"]));
        assert!(row["source_port"] == 42000 || row["to_port"] == 42000, "{row}");
    }
    Ok(Outcome::Passed)
}

/// Two connections of the cast's client to port 443 leave through the node's address.
fn ports_of_a_destination_are_counted() -> Result<Outcome> {
    let node = Node::builder().generation(Generation::V1_17).build()?;
    let (code, json) = tracer(&node, &["nat", "ports", "--port", "443", "--ip", "0.0.0.0/0"])?;
    let found = rows(&json["destinations"])?;
    assert_eq!((code, found.len(), &found[0]["used"]), (0, 1, &2.into()), "{found:?}");
    assert_eq!((&json["search"]["first_port"], &json["search"]["tries"]), (&32768.into(), &32.into()));
    let (code, _) = tracer(&node, &["nat", "ports", "--max-failure", "50"])?;
    assert_eq!(code, 0);
    Ok(Outcome::Passed)
}

/// Runs `check` with the recorded node around; it is given the folder of listings and a way to run tracer.
fn on_recorded(
    check: impl FnOnce(&Path, &dyn Fn(&[&str]) -> Result<Output>) -> Result<()> + Send,
) -> Result<Outcome> {
    let Some(recording) = recording() else {
        return Ok(Outcome::NotPossible(format!("no recorded node: set {VARIABLE} to its folder")));
    };
    if Command::new("python3").arg("--version").output().is_err() {
        return Ok(Outcome::NotPossible("python3 is needed to re-create the recorded maps".to_owned()));
    }
    NodeSpace::create()?.run(|| {
        pin_maps(&recording)?;
        let program = programs::path("tracer")?;
        let run = |arguments: &[&str]| -> Result<Output> {
            let mut command = Command::new(&program);
            command.arg("--state-dir").arg(recording.join("state")).args(["--bpffs", "/sys/fs/bpf"]);
            let output = command.args(arguments).output().context("cannot run tracer")?;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            ensure!(output.status.success(), "{arguments:?}: {}: {said}", output.status);
            Ok(output)
        };
        check(&recording.join("tool"), &run)
    })?;
    Ok(Outcome::Passed)
}

fn listing(tool: &Path, name: &str) -> Result<String> {
    std::fs::read_to_string(tool.join(name)).with_context(|| format!("cannot read `{name}`"))
}

fn sorted(lines: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut lines: Vec<String> = lines.into_iter().collect();
    lines.sort();
    lines
}

/// All but the age, which depends on when one looks.
fn translations_as_listed() -> Result<Outcome> {
    let words = |text: &str| {
        let lines = text.lines().filter(|line| !line.is_empty());
        let is_age = |word: &&str| !word.starts_with("Created=") && *word != "ago";
        sorted(lines.map(|line| line.split(' ').filter(is_age).collect::<Vec<_>>().join(" ")))
    };
    on_recorded(|tool, run| {
        let listed = words(&listing(tool, "nat-list.txt")?);
        assert_eq!(listed.len(), 38);
        for spelling in [vec!["nat", "list", "-o", "cilium"], vec!["bpf", "nat", "list"]] {
            assert_eq!(words(&String::from_utf8(run(&spelling)?.stdout)?), listed, "{spelling:?}");
        }
        Ok(())
    })
}

/// Frontend and slot, and what it points at.
fn services_as_listed() -> Result<Outcome> {
    on_recorded(|tool, run| {
        let listed: BTreeMap<String, Vec<String>> = serde_json::from_str(&listing(tool, "lb-list.json")?)?;
        let listed: BTreeMap<String, String> =
            listed.into_iter().map(|(slot, targets)| (slot, targets.concat().trim().to_owned())).collect();
        let text = String::from_utf8(run(&["lb", "list", "-o", "cilium", "--no-headers"])?.stdout)?;
        let found: Option<BTreeMap<String, String>> = text
            .lines()
            .map(|line| {
                let (slot, target) = line.split_at(line.find(')')? + 1);
                Some((slot.to_owned(), target.trim().to_owned()))
            })
            .collect();
        assert_eq!(found.context("a line without slot")?, listed);
        Ok(())
    })
}

/// What the hidden spellings print is what the vendor's tool printed, word for word and heading for heading.
fn spellings_of_the_vendor_print_its_columns() -> Result<Outcome> {
    on_recorded(|tool, run| {
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        for (alias, listed) in [
            ("bpf lb list", "lb-list.txt"),
            ("bpf lb list --frontends", "lb-list-frontends.txt"),
            ("bpf lb list --backends", "lb-list-backends.txt"),
            ("bpf lb ls --source-ranges", "lb-list-source-ranges.txt"),
        ] {
            let found = String::from_utf8(run(&alias.split(' ').collect::<Vec<_>>())?.stdout)?;
            let listed = listing(tool, listed)?;
            let heading = |text: &str| words(text.lines().next().unwrap_or_default());
            assert_eq!(heading(&found), heading(&listed), "{alias}");
            assert_eq!(sorted(found.lines().map(words)), sorted(listed.lines().map(words)), "{alias}");
        }
        // The tool listed these as JSON only.
        let listed: BTreeMap<String, Vec<String>> =
            serde_json::from_str(&listing(tool, "lb-list-revnat.json")?)?;
        let listed = listed.iter().map(|(id, frontend)| format!("{id} {}", frontend.concat()));
        let found = String::from_utf8(run(&["bpf", "lb", "list", "--revnat"])?.stdout)?;
        assert_eq!(sorted(found.lines().skip(1).map(words)), sorted(listed));
        Ok(())
    })
}

/// `0.0.0.0:30080 (2)        2 0[0] (7) [0x0 0x0]`
fn slots_as_listed() -> Result<Outcome> {
    on_recorded(|tool, run| {
        let listed = listing(tool, "lb-list-frontends.txt")?;
        let listed =
            sorted(listed.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")));
        let (_, json) = outcome(run(&["lb", "list", "--frontends", "-o", "json"])?)?;
        let line = |row: &Value| {
            let ip = row["frontend_ip"].as_str().unwrap_or_default();
            let ip = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
            let bits = |name: &str| {
                let text = row[name].as_str().unwrap_or_default().trim_start_matches("0x");
                u8::from_str_radix(text, 16).unwrap_or_default()
            };
            format!(
                "{ip}:{} ({}) {} {}[{}] ({}) [{:#x} {:#x}]",
                row["frontend_port"],
                row["slot"],
                row["backend_id"],
                row["active_backends"],
                row["quarantined_backends"],
                row["service_id"],
                bits("flags"),
                bits("flags2")
            )
        };
        assert_eq!(sorted(rows(&json)?.iter().map(line)), listed);
        Ok(())
    })
}

fn smaller_maps_as_listed() -> Result<Outcome> {
    on_recorded(|tool, run| {
        let json = |view: &str| Ok::<_, anyhow::Error>(outcome(run(&["lb", "list", view, "-o", "json"])?)?.1);
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let backends = listing(tool, "lb-list-backends.txt")?;
        let listed =
            backends.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        let found = json("--backends")?;
        let line = |row: &Value| format!("{} ANY://{}", row["backend_id"], text(&row["ip"]));
        assert_eq!(sorted(rows(&found)?.iter().map(line)), sorted(listed));
        let listed: BTreeMap<String, Vec<String>> =
            serde_json::from_str(&listing(tool, "lb-list-revnat.json")?)?;
        let found = json("--revnat")?;
        assert_eq!(rows(&found)?.len(), listed.len());
        for row in rows(&found)? {
            let address = std::net::SocketAddr::new(
                text(&row["frontend_ip"]).parse()?,
                text(&row["frontend_port"]).parse()?,
            );
            assert_eq!(listed.get(&text(&row["service_id"])), Some(&vec![address.to_string()]));
        }
        let ranges = listing(tool, "lb-list-source-ranges.txt")?;
        let found = json("--source-ranges")?;
        let line = |row: &Value| format!("{} ({})", text(&row["prefix"]), row["service_id"]);
        assert_eq!(
            sorted(rows(&found)?.iter().map(line)),
            sorted(ranges.lines().skip(1).map(|l| l.trim().to_owned()))
        );
        Ok(())
    })
}
