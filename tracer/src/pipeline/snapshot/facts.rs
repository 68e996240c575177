//! Facts about node and kernel that are in no map and no state file.

use crate::cilium::node::NodeView;
use crate::kernel::btf::Btf;
use crate::kernel::drop_reason::DropReasons;
use crate::kernel::{links, memory};
use crate::pipeline::drops::node_name;
use crate::snapshot::manifest::{Cilium, Interface, Kernel, Manifest, Taken};

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// A manifest with all that is known before the maps are read.
pub fn gather(view: &NodeView, taken: Taken) -> Manifest {
    let place = |path: &Option<std::path::PathBuf>| path.as_ref().map(|path| path.display().to_string());
    Manifest {
        tracer_version: env!("CARGO_PKG_VERSION").to_owned(),
        taken,
        node_name: node_name(),
        kernel: kernel(&taken),
        cilium: Cilium {
            agent_version: view.agent_version().map(str::to_owned),
            releases: view.releases().releases().to_string(),
            maps_directory: place(&view.source().globals),
            state_directory: place(&view.source().state_dir),
        },
        interfaces: interfaces(),
        ..Manifest::default()
    }
}

fn kernel(taken: &Taken) -> Kernel {
    let uname = rustix::system::uname();
    let boot_id = std::fs::read_to_string(BOOT_ID).unwrap_or_default();
    Kernel {
        release: uname.release().to_string_lossy().into_owned(),
        machine: uname.machine().to_string_lossy().into_owned(),
        boot_id: boot_id.trim().to_owned(),
        booted_wall_ns: taken.wall_ns.saturating_sub_unsigned(taken.boot_ns),
        possible_cpus: aya::util::nr_cpus().map_or(0, |cpus| cpus as u32),
        drop_reasons: drop_reasons(),
    }
}

/// None on kernels without type information, or without reasons.
fn drop_reasons() -> Vec<(u32, String)> {
    let reasons = Btf::vmlinux().and_then(|btf| DropReasons::read(&btf));
    memory::give_back();
    match reasons {
        Ok(reasons) => reasons.all().into_iter().map(|(number, name)| (number, name.to_string())).collect(),
        Err(error) => {
            tracing::debug!(%error, "no drop reasons for the snapshot");
            Vec::new()
        }
    }
}

fn interfaces() -> Vec<Interface> {
    let links = links::links().unwrap_or_else(|error| {
        tracing::warn!("cannot list the interfaces: {error}");
        Vec::new()
    });
    let interface = |link: links::Link| Interface { ifindex: link.ifindex, name: link.name, mac: link.mac };
    links.into_iter().map(interface).collect()
}
