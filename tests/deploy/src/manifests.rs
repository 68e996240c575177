//! What `tracer manifest` prints is what Kubernetes takes, and asks for no more rights than it must.

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, SecurityContext};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tracer::manifest::{Kind, Settings, default_args, render};

use crate::strict::strictly;

pub fn settings() -> Settings {
    Settings {
        name: "tracer".to_owned(),
        namespace: "kube-system".to_owned(),
        image: "registry.test/tracer:1".to_owned(),
        node: None,
        symbols: false,
        selinux: false,
        args: default_args(),
    }
}

fn pod(settings: Settings) -> Pod {
    strictly(&render(Kind::Pod, &Settings { node: Some("node-1".to_owned()), ..settings })).unwrap()
}

fn daemonset(settings: &Settings) -> DaemonSet {
    strictly(&render(Kind::Daemonset, settings)).unwrap()
}

fn check_security(context: &SecurityContext, capabilities: &[&str]) {
    let granted = context.capabilities.as_ref().unwrap();
    assert_eq!(granted.drop.as_deref(), Some(&["ALL".to_owned()][..]));
    assert_eq!(granted.add.as_deref().unwrap(), capabilities);
    assert_eq!((context.privileged, context.allow_privilege_escalation), (Some(false), Some(false)));
    assert_eq!((context.read_only_root_filesystem, context.run_as_user), (Some(true), Some(0)));
    assert_eq!(context.seccomp_profile.as_ref().unwrap().type_, "RuntimeDefault");
}

fn check_spec(spec: &PodSpec, capabilities: &[&str]) {
    assert_eq!((spec.automount_service_account_token, spec.host_network), (Some(false), Some(true)));
    assert!(!spec.host_pid.unwrap_or_default() && !spec.host_ipc.unwrap_or_default());
    let [container] = &spec.containers[..] else { panic!("{} containers", spec.containers.len()) };
    check_security(container.security_context.as_ref().unwrap(), capabilities);
    let resources = container.resources.as_ref().unwrap();
    assert!(resources.requests.as_ref().unwrap().contains_key("memory"));
    assert!(resources.limits.as_ref().unwrap().contains_key("memory"));
    let volumes = spec.volumes.as_deref().unwrap();
    for mount in container.volume_mounts.as_deref().unwrap() {
        let volume = volumes.iter().find(|volume| volume.name == mount.name).unwrap();
        // What is the host's is read-only.
        assert_eq!(mount.read_only.unwrap_or_default(), volume.host_path.is_some(), "{}", mount.name);
        assert!(volume.host_path.is_some() != volume.empty_dir.is_some(), "{}", mount.name);
        if let Some(path) = &volume.host_path {
            assert_eq!(path.path, mount.mount_path);
            assert_eq!(path.type_.as_deref(), Some("Directory"));
            assert_eq!(mount.mount_propagation.as_deref(), Some("HostToContainer"));
        }
    }
    assert_eq!(volumes.len(), container.volume_mounts.as_deref().unwrap().len());
}

#[test]
fn a_pod_is_on_its_node_with_bpf_and_perfmon_only() {
    let pod = pod(settings());
    let spec = pod.spec.unwrap();
    check_spec(&spec, &["BPF", "PERFMON"]);
    assert_eq!((spec.node_name.as_deref(), spec.restart_policy.as_deref()), (Some("node-1"), Some("Never")));
    assert_eq!(spec.containers[0].args.as_deref().unwrap(), ["drops", "-o", "json"]);
    assert_eq!(spec.containers[0].image.as_deref(), Some("registry.test/tracer:1"));
    assert_eq!(pod.metadata.namespace.as_deref(), Some("kube-system"));
}

#[test]
fn a_daemonset_selects_its_own_pods_on_every_node() {
    let set = daemonset(&settings()).spec.unwrap();
    let spec = set.template.spec.unwrap();
    check_spec(&spec, &["BPF", "PERFMON"]);
    assert_eq!(set.selector.match_labels, set.template.metadata.unwrap().labels);
    assert_eq!(spec.tolerations.unwrap()[0].operator.as_deref(), Some("Exists"));
    assert!(spec.node_name.is_none());
}

#[test]
fn symbols_and_selinux_are_added_where_asked_for() {
    let spec = pod(Settings { symbols: true, selinux: true, ..settings() }).spec.unwrap();
    check_spec(&spec, &["BPF", "PERFMON", "SYSLOG"]);
    let context = spec.containers[0].security_context.as_ref().unwrap();
    assert_eq!(context.se_linux_options.as_ref().unwrap().type_.as_deref(), Some("spc_t"));
}

#[test]
fn a_server_of_figures_is_probed_where_it_listens() {
    let args = |address: &str| ["serve", "--metrics", address].map(str::to_owned).to_vec();
    let container = |args| {
        let spec = daemonset(&Settings { args, ..settings() }).spec.unwrap().template.spec.unwrap();
        check_spec(&spec, &["BPF", "PERFMON"]);
        spec.containers.into_iter().next().unwrap()
    };
    let plain = container(default_args());
    assert!(plain.ports.is_none() && plain.liveness_probe.is_none() && plain.readiness_probe.is_none());
    for (address, host) in [("0.0.0.0:9977", None), ("127.0.0.1:9977", Some("127.0.0.1"))] {
        let container = container(args(address));
        let [port] = &container.ports.as_deref().unwrap() else { panic!("one port") };
        assert_eq!((port.name.as_deref(), port.container_port), (Some("metrics"), 9977));
        for (probe, path) in [(container.liveness_probe, "/healthz"), (container.readiness_probe, "/readyz")]
        {
            let get = probe.unwrap().http_get.unwrap();
            assert_eq!((get.path.as_deref(), get.host.as_deref()), (Some(path), host));
            assert_eq!(get.port, IntOrString::String("metrics".to_owned()));
        }
    }
}

/// `kubectl debug --custom` refuses a profile that sets name, image or command.
#[test]
fn a_debug_profile_is_a_part_of_a_container() {
    let container: Container = strictly(&render(Kind::DebugProfile, &settings())).unwrap();
    check_security(container.security_context.as_ref().unwrap(), &["BPF", "PERFMON"]);
    assert!(container.name.is_empty() && container.image.is_none() && container.command.is_none());
}

#[test]
fn what_the_user_gives_stays_a_value() {
    let odd = "x\n    hostPID: true # \"'\\ {{ .Values }}".to_owned();
    let spec = pod(Settings { image: odd.clone(), args: vec![odd.clone()], ..settings() }).spec.unwrap();
    assert_eq!(spec.containers[0].image.as_ref(), Some(&odd));
    assert_eq!(spec.containers[0].args.as_deref(), Some(&[odd][..]));
    check_spec(&spec, &["BPF", "PERFMON"]);
}
