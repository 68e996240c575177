//! YAML as values of the Kubernetes API, where a field that the API does not have is an error.

use serde::de::DeserializeOwned;

pub fn strictly<T: DeserializeOwned>(yaml: &str) -> Result<T, String> {
    let mut unknown = Vec::new();
    let reader = serde_yaml_ng::Deserializer::from_str(yaml);
    let value = serde_ignored::deserialize(reader, |path| unknown.push(path.to_string()));
    let value = value.map_err(|error| format!("{error}: {yaml}"))?;
    if unknown.is_empty() { Ok(value) } else { Err(format!("unknown fields: {}", unknown.join(", "))) }
}

#[test]
fn a_misspelt_field_and_a_wrong_type_are_errors() {
    use k8s_openapi::api::core::v1::Pod;
    let good = "kind: Pod\napiVersion: v1\nspec:\n  hostNetwork: true\n  containers: [{name: a}]\n";
    assert!(strictly::<Pod>(good).is_ok());
    let error = strictly::<Pod>(&good.replace("hostNetwork", "hostNetwrk")).unwrap_err();
    assert!(error.starts_with("unknown fields: spec.") && error.ends_with(".hostNetwrk"), "{error}");
    assert!(strictly::<Pod>(&good.replace("true", "7")).is_err());
    assert!(strictly::<Pod>(&good.replace("v1", "v2")).is_err());
}
