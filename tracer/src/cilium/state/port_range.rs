//! The ports that the datapath translates sources to, as the agent wrote them down when it compiled the
//! datapath or started.

use std::path::Path;

use serde_json::Value;

use super::file::{StateError, StateFiles};
use super::node_config;

/// First and last port, and the file that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NatPorts {
    pub first: u16,
    pub last: u16,
    pub file: &'static str,
}

const AGENT_CONFIG: &str = "agent-runtime-config.json";

/// `Ok(None)`: neither file tells.
pub fn read(files: &dyn StateFiles) -> Result<Option<NatPorts>, StateError> {
    if let Some(text) = read_file(files, node_config::FILE)?
        && let Some((first, last)) = of_node_config(&text)
    {
        return Ok(Some(NatPorts { first, last, file: "node_config.h" }));
    }
    let text = read_file(files, AGENT_CONFIG)?;
    let first = text.as_deref().and_then(of_agent_config);
    Ok(first.map(|first| NatPorts { first, last: u16::MAX, file: AGENT_CONFIG }))
}

fn read_file(files: &dyn StateFiles, path: &str) -> Result<Option<String>, StateError> {
    let path = Path::new(path);
    if files.stamp(path)?.is_none() {
        return Ok(None);
    }
    Ok(Some(String::from_utf8_lossy(&files.read(path)?).into_owned()))
}

fn of_node_config(text: &str) -> Option<(u16, u16)> {
    let port = |name| node_config::define(text, name)?.parse::<u16>().ok();
    let (first, last) = (port("NODEPORT_PORT_MIN_NAT")?, port("NODEPORT_PORT_MAX_NAT")?);
    (first <= last).then_some((first, last))
}

/// The port after the last one of node ports.
fn of_agent_config(text: &str) -> Option<u16> {
    let json: Value = serde_json::from_str(text).ok()?;
    let last = json.get("NodePortMax")?.as_u64().filter(|port| *port != 0)?;
    u16::try_from(last).ok()?.checked_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cilium::state::file::LiveFiles;

    #[test]
    fn the_compiled_range_wins_over_the_configured_one() {
        let dir = tempfile::tempdir().unwrap();
        let read = |path: &Path| read(&LiveFiles(path.to_owned()));
        assert_eq!(read(dir.path()).unwrap(), None);
        std::fs::write(dir.path().join(AGENT_CONFIG), r#"{"NodePortMin":30000,"NodePortMax":31999}"#)
            .unwrap();
        let configured = read(dir.path()).unwrap().unwrap();
        assert_eq!((configured.first, configured.last), (32000, 65535));
        std::fs::create_dir(dir.path().join("globals")).unwrap();
        let text = "#define NODEPORT_PORT_MIN 30000\n#define NODEPORT_PORT_MIN_NAT 40000\n#define NODEPORT_PORT_MAX_NAT 50000\n";
        std::fs::write(dir.path().join(node_config::FILE), text).unwrap();
        let compiled = read(dir.path()).unwrap().unwrap();
        assert_eq!((compiled.first, compiled.last, compiled.file), (40000, 50000, "node_config.h"));
    }

    #[test]
    fn an_impossible_range_tells_nothing() {
        let define = |first, last| {
            of_node_config(&format!(
                "#define NODEPORT_PORT_MIN_NAT {first}\n#define NODEPORT_PORT_MAX_NAT {last}\n"
            ))
        };
        assert_eq!(define("32768", "65535"), Some((32768, 65535)));
        assert_eq!(define("65535", "32768"), None);
        assert_eq!(define("70000", "70001"), None);
        assert_eq!(of_agent_config(r#"{"NodePortMax":0}"#), None);
        assert_eq!(of_agent_config(r#"{"NodePortMax":65535}"#), None);
    }
}
