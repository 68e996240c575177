//! Where the running kernel keeps the fields that the eBPF programs read.

use tracer_common::config::{ABSENT, MAX_DEV_SPAN, MAX_SKB_SPAN, Offsets};

use super::btf::{Btf, BtfError};

#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    #[error(transparent)]
    Btf(#[from] BtfError),
    #[error("`sk_buff` members reach to byte {found}, expected at most {MAX_SKB_SPAN}")]
    SkbTooLong { found: u32 },
}

/// Names of the registers of the first five integer arguments in `pt_regs`.
#[cfg(target_arch = "x86_64")]
const ARGUMENT_REGISTERS: [&str; 5] = ["di", "si", "dx", "cx", "r8"];

/// Offsets of the argument registers in `pt_regs` (kprobes only).
#[cfg(target_arch = "x86_64")]
fn registers(btf: &Btf) -> [u32; 5] {
    ARGUMENT_REGISTERS.map(|name| btf.offset("pt_regs", name).unwrap_or(ABSENT))
}

/// On arm64 `pt_regs` starts with the 8-byte registers x0, x1, ….
#[cfg(not(target_arch = "x86_64"))]
fn registers(btf: &Btf) -> [u32; 5] {
    let first = btf.offset("pt_regs", "regs").unwrap_or(ABSENT);
    [0, 8, 16, 24, 32].map(|offset| first.saturating_add(offset))
}

/// Place and mask of the mark "a VLAN tag is offloaded": a bit before 6.1, then `vlan_all != 0`.
fn vlan_present(btf: &Btf) -> Result<(u32, u32), BtfError> {
    match btf.member("sk_buff", "vlan_present") {
        Ok(bit) => Ok((bit.byte(), 1 << (bit.bit_offset % 8))),
        Err(_) => btf.offset("sk_buff", "vlan_all").map(|offset| (offset, 0)),
    }
}

/// Offset of a network namespace's inode number; only a name is lost without it.
fn netns_inode(btf: &Btf) -> Result<u32, BtfError> {
    Ok(btf.offset("net", "ns")? + btf.offset("ns_common", "inum")?)
}

/// Works out every offset, and checks that one bulk read of each structure reaches its members.
pub fn offsets(btf: &Btf) -> Result<Offsets, LayoutError> {
    let skb = |member| btf.offset("sk_buff", member);
    let dev = |member| btf.offset("net_device", member);
    let (skb_vlan_present, vlan_present_mask) = vlan_present(btf)?;
    let mut offsets = Offsets {
        skb_len: skb("len")?,
        skb_data_len: skb("data_len")?,
        skb_head: skb("head")?,
        skb_data: skb("data")?,
        skb_end: skb("end")?,
        skb_mac_header: skb("mac_header")?,
        skb_network_header: skb("network_header")?,
        skb_protocol: skb("protocol")?,
        skb_dev: skb("dev")?,
        skb_iif: skb("skb_iif")?,
        skb_mark: skb("mark")?,
        skb_hash: skb("hash")?,
        skb_cb: skb("cb")?,
        skb_vlan_tci: skb("vlan_tci")?,
        skb_vlan_present,
        vlan_present_mask,
        dev_ifindex: dev("ifindex")?,
        dev_name: dev("name")?,
        dev_type: dev("type")?,
        dev_net: dev("nd_net")? + btf.offset("possible_net_t", "net").unwrap_or(0),
        net_inum: netns_inode(btf).unwrap_or(ABSENT),
        xdp_data: btf.offset("xdp_buff", "data")?,
        xdp_data_end: btf.offset("xdp_buff", "data_end")?,
        xdp_rxq: btf.offset("xdp_buff", "rxq")?,
        rxq_dev: btf.offset("xdp_rxq_info", "dev")?,
        map_id: btf.offset("bpf_map", "id")?,
        regs: registers(btf),
        ..Offsets::ABSENT
    };
    offsets.skb_span = skb_span(&offsets)?;
    (offsets.dev_base, offsets.dev_span) = device_window(&offsets);
    Ok(offsets)
}

fn skb_span(o: &Offsets) -> Result<u32, LayoutError> {
    let ends = [
        o.skb_len + 4,
        o.skb_data_len + 4,
        o.skb_head + 8,
        o.skb_data + 8,
        o.skb_end + 4,
        o.skb_mac_header + 2,
        o.skb_network_header + 2,
        o.skb_protocol + 2,
        o.skb_dev + 8,
        o.skb_iif + 4,
        o.skb_mark + 4,
        o.skb_hash + 4,
        o.skb_cb + 28,
        o.skb_vlan_tci + 2,
        o.skb_vlan_present + 4,
    ];
    let end = ends.into_iter().max().unwrap_or(0);
    if end as usize > MAX_SKB_SPAN { Err(LayoutError::SkbTooLong { found: end }) } else { Ok(end) }
}

/// First byte and length of the part of `net_device` that holds all members; length 0 if it is too long for
/// one read, as on kernels before 6.6.
fn device_window(o: &Offsets) -> (u32, u32) {
    let members = [(o.dev_ifindex, 4), (o.dev_name, 16), (o.dev_type, 2), (o.dev_net, 8)];
    let base = members.iter().map(|(offset, _)| *offset).min().unwrap_or(0);
    let end = members.iter().map(|(offset, size)| offset + size).max().unwrap_or(0);
    if (end - base) as usize > MAX_DEV_SPAN { (0, 0) } else { (base, end - base) }
}
