//! `nodes.json` (1.17 and newer): the nodes that the agent knows, for naming their addresses.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use serde::Deserialize;

use super::file::StateError;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Json {
    name: String,
    #[serde(default, rename = "IPAddresses")]
    addresses: Option<Vec<JsonAddress>>,
}

#[derive(Deserialize)]
struct JsonAddress {
    #[serde(rename = "IP")]
    ip: String,
}

/// Node names by address. Entries that are not of the known form are left out.
pub fn parse(bytes: &[u8]) -> Result<HashMap<IpAddr, Arc<str>>, StateError> {
    let nodes: Option<Vec<serde_json::Value>> = serde_json::from_slice(bytes).map_err(StateError::Json)?;
    let mut names = HashMap::new();
    for node in nodes.unwrap_or_default() {
        let Ok(Json { name, addresses }) = serde_json::from_value(node) else { continue };
        let name: Arc<str> = name.into();
        let ips = addresses.unwrap_or_default().into_iter().filter_map(|a| a.ip.parse().ok());
        names.extend(ips.map(|ip: IpAddr| (ip, name.clone())));
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_of_a_node_has_its_name() {
        let json = r#"[{"Name":"lab-node2","IPAddresses":[{"Type":"InternalIP","IP":"172.30.0.3"},
            {"Type":"CiliumInternalIP","IP":"fd00:16::1"},{"Type":"InternalIP","IP":"bad"}]},
            {"Name":"lone","IPAddresses":null},{"NoName":1}]"#;
        let names = parse(json.as_bytes()).unwrap();
        assert_eq!(names.len(), 2);
        assert_eq!(&*names[&"fd00:16::1".parse::<IpAddr>().unwrap()], "lab-node2");
        assert!(parse(b"null").unwrap().is_empty());
        assert!(parse(b"7").is_err());
    }
}
