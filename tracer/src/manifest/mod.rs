//! Kubernetes objects that run tracer with the least rights, as YAML with the reason for each right beside it.
//! `deploy/helm` is the same as a chart; a test holds them together.

mod metrics;

/// What every kind of pod has, before its values are filled in. Lines begin at the margin.
const POD: &str = include_str!("pod.yaml");
const CONTAINER: &str = include_str!("container.yaml");

/// Which object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Pod,
    Daemonset,
    /// A partial container for `kubectl debug --custom`.
    DebugProfile,
}

impl Kind {
    pub const NAMES: [&'static str; 3] = ["pod", "daemonset", "debug-profile"];

    pub fn by_name(name: &str) -> Option<Self> {
        Some(match name {
            "pod" => Self::Pod,
            "daemonset" => Self::Daemonset,
            "debug-profile" => Self::DebugProfile,
            _ => return None,
        })
    }
}

/// What the user may choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub name: String,
    pub namespace: String,
    pub image: String,
    /// The node of a [`Kind::Pod`].
    pub node: Option<String>,
    /// Add CAP_SYSLOG.
    pub symbols: bool,
    /// Add the SELinux type `spc_t`.
    pub selinux: bool,
    /// Arguments of tracer.
    pub args: Vec<String>,
}

pub fn default_args() -> Vec<String> {
    ["drops", "-o", "json"].map(str::to_owned).to_vec()
}

pub fn render(kind: Kind, settings: &Settings) -> String {
    match kind {
        Kind::Pod => pod(settings),
        Kind::Daemonset => daemonset(settings),
        Kind::DebugProfile => security(settings),
    }
}

fn pod(settings: &Settings) -> String {
    let node = settings.node.as_deref().unwrap_or_default();
    format!(
        "# kubectl apply -f -, then kubectl logs -f -n {namespace} {name}\n\
         apiVersion: v1\nkind: Pod\n{metadata}\
         spec:\n\
         \x20 # Set by hand: neither the scheduler nor a cordon keeps the pod from the suspect node.\n\
         \x20 nodeName: {node}\n\
         \x20 restartPolicy: Never\n{spec}",
        namespace = settings.namespace,
        name = settings.name,
        metadata = metadata(settings, ""),
        node = quoted(node),
        spec = indented(&pod_spec(settings), 2),
    )
}

fn daemonset(settings: &Settings) -> String {
    format!(
        "apiVersion: apps/v1\nkind: DaemonSet\n{metadata}\
         spec:\n\
         \x20 selector:\n\
         \x20   matchLabels: {{app.kubernetes.io/name: tracer, app.kubernetes.io/instance: {name}}}\n\
         \x20 template:\n\
         \x20   metadata:\n\
         \x20     labels: {{app.kubernetes.io/name: tracer, app.kubernetes.io/instance: {name}}}\n\
         \x20   spec:\n{spec}",
        metadata = metadata(settings, ""),
        name = quoted(&settings.name),
        spec = indented(&pod_spec(settings), 6),
    )
}

fn metadata(settings: &Settings, indent: &str) -> String {
    let name = quoted(&settings.name);
    format!(
        "{indent}metadata:\n\
         {indent}  name: {name}\n\
         {indent}  namespace: {}\n\
         {indent}  labels: {{app.kubernetes.io/name: tracer, app.kubernetes.io/instance: {name}}}\n",
        quoted(&settings.namespace)
    )
}

fn pod_spec(settings: &Settings) -> String {
    let args: Vec<String> = settings.args.iter().map(|arg| quoted(arg)).collect();
    let probes = metrics::address(&settings.args).map(metrics::render).unwrap_or_default();
    let filled = CONTAINER.lines().map(|line| match line {
        "  image: IMAGE" => format!("  image: {}\n", quoted(&settings.image)),
        "  args: ARGS" => format!("  args: [{}]\n{}", args.join(", "), indented(&probes, 2)),
        line => format!("{line}\n"),
    });
    let container: String = filled.chain([indented(&security(settings), 2)]).collect();
    POD.replace("CONTAINER\n", &container)
}

/// The security context, which a debug profile consists of.
fn security(settings: &Settings) -> String {
    let mut text = String::from(include_str!("security.yaml"));
    if settings.symbols {
        text.push_str("    # Kernel symbols instead of bare addresses.\n    - SYSLOG\n");
    }
    text.push_str("  seccompProfile:\n    type: RuntimeDefault\n");
    if settings.selinux {
        text.push_str("  # Container types may not use bpf(2).\n  seLinuxOptions:\n    type: spc_t\n");
    }
    text
}

/// A JSON string, which is one of YAML too.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn indented(text: &str, columns: usize) -> String {
    text.lines().map(|line| format!("{:columns$}{line}\n", "")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings {
            name: "tracer".to_owned(),
            namespace: "kube-system".to_owned(),
            image: "registry.test/IMAGE:\"ARGS".to_owned(),
            node: Some("node: 1".to_owned()),
            symbols: false,
            selinux: false,
            args: vec!["drops".to_owned(), "--pod\n- x".to_owned(), "IMAGE".to_owned()],
        }
    }

    #[test]
    fn what_the_user_gives_is_quoted_and_nothing_is_left_to_fill_in() {
        let text = render(Kind::Pod, &settings());
        assert!(text.contains(r#"    image: "registry.test/IMAGE:\"ARGS""#), "{text}");
        assert!(text.contains(r#"    args: ["drops", "--pod\n- x", "IMAGE"]"#), "{text}");
        assert!(text.contains(r#"  nodeName: "node: 1""#) && !text.contains("CONTAINER"), "{text}");
    }

    #[test]
    fn rights_are_added_only_where_asked_for() {
        let plain = render(Kind::DebugProfile, &settings());
        assert!(!plain.contains("SYSLOG") && !plain.contains("spc_t") && !plain.contains("- SYS_ADMIN"));
        let all = render(Kind::DebugProfile, &Settings { symbols: true, selinux: true, ..settings() });
        assert!(all.contains("    - SYSLOG\n") && all.contains("    type: spc_t\n"));
    }
}
