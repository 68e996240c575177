//! Builds the pretend node's datapath and puts the object where `include_bytes_aligned!` finds it.

fn main() {
    ebpf_build::build_script("pretend-datapath", &["tests/datapath"]);
}
