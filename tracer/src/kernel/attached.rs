//! Which programs hang on a device by tcx or netkit.

use std::io;
use std::mem::size_of_val;

use tracer_common::id::IfIndex;

use super::bpf::{address_mut, bpf};

const PROG_QUERY: u32 = 16;
/// Programs of one device and direction beyond which the rest is left out; Cilium has one.
const MANY: usize = 64;

/// Where on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    TcxIngress,
    TcxEgress,
    /// Asked of the device on the host's side, as is [`Self::NetkitPeer`].
    NetkitPrimary,
    NetkitPeer,
}

impl Point {
    /// BPF_* of `enum bpf_attach_type`.
    const fn number(self) -> u32 {
        match self {
            Self::TcxIngress => 46,
            Self::TcxEgress => 47,
            Self::NetkitPrimary => 54,
            Self::NetkitPeer => 55,
        }
    }
}

/// The `query` member of `union bpf_attr`, whole: the kernel writes to its end.
#[repr(C)]
#[derive(Default)]
struct QueryAttr {
    target_ifindex: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    program_ids: u64,
    count: u32,
    pad: u32,
    program_attach_flags: u64,
    link_ids: u64,
    link_attach_flags: u64,
    revision: u64,
}

/// Ids of the programs at `point` of a device of our network namespace, in order (needs CAP_NET_ADMIN).
/// None where the kernel or the device knows no such place.
pub fn programs_at(ifindex: IfIndex, point: Point) -> io::Result<Vec<u32>> {
    let mut ids = [0u32; MANY];
    let mut attr = QueryAttr {
        target_ifindex: ifindex.0,
        attach_type: point.number(),
        program_ids: address_mut(ids.as_mut_slice()),
        count: (size_of_val(&ids) / size_of::<u32>()) as u32,
        ..Default::default()
    };
    match bpf(PROG_QUERY, &mut attr) {
        Ok(_) => Ok(ids[..(attr.count as usize).min(MANY)].to_vec()),
        Err(error) => match error.raw_os_error() {
            Some(libc::ENOSPC) => Ok(ids.to_vec()),
            // Nothing attached yet; no such attach type; no netkit device.
            Some(libc::ENOENT | libc::EINVAL | libc::ENXIO | libc::EACCES) => Ok(Vec::new()),
            _ => Err(error),
        },
    }
}
