//! Cilium's programs on the devices of endpoints and of the node.

use tracer_common::id::IfIndex;

use super::{Check, Finding, Group, Status, joined};

const ENDPOINTS: Check =
    Check::new("programs.endpoints", Group::Programs, "Every endpoint's device has its program");
const HOST: Check = Check::new("programs.host", Group::Programs, "The node's devices have their programs");

/// A device and the names of the programs on it: of tc filters, or of the program, `#ID` where only that is
/// known. The error is why they cannot be asked for.
#[derive(Clone, Debug)]
pub struct Device {
    pub ifindex: IfIndex,
    pub name: String,
    /// Packets that come into the node there: tc and tcx ingress, netkit peer.
    pub ingress: Result<Vec<String>, String>,
    pub egress: Result<Vec<String>, String>,
    /// Ids of those programs, as far as they can be told.
    pub programs: Vec<u32>,
}

/// The devices of the node, or why they cannot be seen.
pub type Devices = Result<Vec<Device>, String>;

/// An endpoint of this node that has a device.
#[derive(Clone, Debug)]
pub struct Owner {
    pub ifindex: IfIndex,
    /// In words.
    pub name: String,
}

/// Characters that the kernel keeps of a program's name.
const KERNEL_NAME: usize = 15;
const FROM_CONTAINER: &str = "cil_from_container";

/// Whether one of `found` is the program `wanted`, as far as names tell.
fn has(found: &[String], wanted: &str) -> bool {
    found
        .iter()
        .any(|name| name.starts_with('#') || name.starts_with(&wanted[..wanted.len().min(KERNEL_NAME)]))
}

pub fn endpoints(devices: &Devices, owners: &[Owner]) -> Finding {
    let devices = match devices {
        Ok(devices) => devices,
        Err(why) => return not_seen(ENDPOINTS, why),
    };
    let mut missing = Missing::default();
    for owner in owners.iter().filter(|owner| !devices.iter().any(|device| device.ifindex == owner.ifindex)) {
        missing.fails.push(format!("{}: device {} is gone", owner.name, owner.ifindex));
    }
    for device in devices {
        let owner = owners.iter().find(|owner| owner.ifindex == device.ifindex);
        let place = match owner {
            Some(owner) => format!("{} ({})", device.name, owner.name),
            None if device.name.starts_with("lxc") => format!("{} (no endpoint)", device.name),
            None => continue,
        };
        missing.look(&place, &device.ingress, FROM_CONTAINER, "ingress", owner.is_some());
    }
    let fix = "what the pod sends there passes by Cilium, unpoliced or lost: `cilium-dbg endpoint regenerate ID`, or \
               delete the pod, or restart the agent";
    missing.finding(ENDPOINTS, fix)
}

/// `netdevs`: devices of the node that Cilium once loaded programs for.
pub fn host(devices: &Devices, netdevs: &[IfIndex]) -> Finding {
    let devices = match devices {
        Ok(devices) => devices,
        Err(why) => return not_seen(HOST, why),
    };
    let mut missing = Missing::default();
    if !devices.iter().any(|device| device.name == "cilium_host") {
        missing.fails.push("device cilium_host is gone".to_owned());
    }
    for device in devices {
        let is_netdev = netdevs.contains(&device.ifindex);
        for (program, direction, must) in expected(&device.name, is_netdev) {
            let found = if *direction == "ingress" { &device.ingress } else { &device.egress };
            missing.look(&device.name, found, program, direction, *must);
        }
    }
    missing.finding(HOST, "restart the agent on this node: it attaches its programs again")
}

/// Program, direction, and whether the node is broken without.
type Expected = (&'static str, &'static str, bool);

fn expected(device: &str, is_netdev: bool) -> &'static [Expected] {
    match device {
        "cilium_host" => &[("cil_to_host", "ingress", true), ("cil_from_host", "egress", true)],
        "cilium_net" => &[("cil_to_host", "ingress", false)],
        "cilium_vxlan" | "cilium_geneve" => {
            &[("cil_from_overlay", "ingress", true), ("cil_to_overlay", "egress", true)]
        }
        _ if is_netdev => &[("cil_from_netdev", "ingress", true)],
        _ => &[],
    }
}

fn not_seen(check: Check, why: &str) -> Finding {
    check.unknown(why, "run in the node's network namespace (hostNetwork: true), or with hostPID and as root")
}

#[derive(Default)]
struct Missing {
    seen: usize,
    fails: Vec<String>,
    warnings: Vec<String>,
    unknown: Vec<String>,
}

impl Missing {
    fn look(
        &mut self,
        place: &str,
        found: &Result<Vec<String>, String>,
        program: &str,
        direction: &str,
        must: bool,
    ) {
        let list = match found {
            Ok(names) if has(names, program) => {
                self.seen += 1;
                return;
            }
            Ok(_) if must => &mut self.fails,
            Ok(_) => &mut self.warnings,
            Err(why) => return self.unknown.push(format!("{place}: {why}")),
        };
        list.push(format!("{place}: no {program} at {direction}"));
    }

    fn finding(self, check: Check, fix: &str) -> Finding {
        let all: Vec<String> = self.fails.iter().chain(&self.warnings).cloned().collect();
        if !self.fails.is_empty() {
            return check.fail(joined(&all), fix);
        }
        if !self.unknown.is_empty() {
            let right = "run as root, or with CAP_NET_ADMIN and CAP_SYS_ADMIN";
            return check.unknown(joined(&self.unknown), right);
        }
        let status = if self.warnings.is_empty() { Status::Ok } else { Status::Warn };
        match status {
            Status::Ok => check.ok(format!("{} programs in place", self.seen)),
            _ => check.warn(joined(&all), fix),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(ifindex: u32, name: &str, ingress: &[&str], egress: &[&str]) -> Device {
        let texts = |names: &[&str]| Ok(names.iter().map(|name| (*name).to_owned()).collect());
        Device {
            ifindex: IfIndex(ifindex),
            name: name.to_owned(),
            ingress: texts(ingress),
            egress: texts(egress),
            programs: Vec::new(),
        }
    }

    fn owner(ifindex: u32) -> Owner {
        Owner { ifindex: IfIndex(ifindex), name: format!("default/pod{ifindex}") }
    }

    #[test]
    fn names_of_filters_of_programs_and_bare_ids_are_recognized() {
        for name in ["cil_from_container-lxc1", "cil_from_contai", "#77"] {
            let devices = Ok(vec![device(7, "lxc1", &[name], &[])]);
            assert_eq!(endpoints(&devices, &[owner(7)]).status, Status::Ok, "{name}");
        }
    }

    #[test]
    fn a_missing_program_and_a_missing_device_fail() {
        let devices = Ok(vec![device(7, "lxc1", &["other"], &["cil_from_container"])]);
        let finding = endpoints(&devices, &[owner(7), owner(8)]);
        assert_eq!(finding.status, Status::Fail);
        assert_eq!(
            finding.evidence,
            "default/pod8: device 8 is gone, lxc1 (default/pod7): no cil_from_container at ingress"
        );
    }

    #[test]
    fn a_device_of_nobody_is_a_warning() {
        let devices = Ok(vec![device(7, "lxc1", &[], &[]), device(2, "eth0", &[], &[])]);
        assert_eq!(endpoints(&devices, &[]).status, Status::Warn);
    }

    /// The devices of a recorded node with vxlan.
    #[test]
    fn the_nodes_own_devices() {
        let mut devices = vec![
            device(4, "eth0", &["cil_from_netdev-eth0"], &["cil_to_netdev-eth0"]),
            device(5, "cilium_net", &["cil_to_host-cilium_net"], &[]),
            device(6, "cilium_host", &["cil_to_host-cilium_host"], &["cil_from_host-cilium_host"]),
            device(7, "cilium_vxlan", &["cil_from_overlay-cilium_vxlan"], &["cil_to_overlay-cilium_vxlan"]),
            device(8, "docker0", &[], &[]),
        ];
        let netdevs = [IfIndex(4)];
        assert_eq!(host(&Ok(devices.clone()), &netdevs).evidence, "6 programs in place");
        devices[1].ingress = Ok(Vec::new());
        assert_eq!(host(&Ok(devices.clone()), &netdevs).status, Status::Warn);
        devices[0].ingress = Ok(Vec::new());
        let finding = host(&Ok(devices.clone()), &netdevs);
        assert!(finding.evidence.contains("eth0: no cil_from_netdev at ingress"), "{}", finding.evidence);
        assert_eq!(finding.status, Status::Fail);
        devices.remove(2);
        assert!(host(&Ok(devices), &[]).evidence.contains("cilium_host is gone"));
    }

    #[test]
    fn what_cannot_be_asked_is_not_known() {
        let mut lxc = device(7, "lxc1", &[], &[]);
        lxc.ingress = Err("Operation not permitted".to_owned());
        assert_eq!(endpoints(&Ok(vec![lxc]), &[owner(7)]).status, Status::Unknown);
        assert_eq!(endpoints(&Err("elsewhere".to_owned()), &[]).status, Status::Unknown);
    }
}
