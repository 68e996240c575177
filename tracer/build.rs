//! Builds the eBPF programs and puts the object where `include_bytes_aligned!` finds it.

fn main() {
    ebpf_build::build_script("tracer-ebpf", &["tracer-ebpf", "tracer-common"]);
}
