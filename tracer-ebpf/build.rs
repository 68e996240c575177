//! Tells the eBPF linker that loads need not be aligned: packet fields and copied members are not, and each byte would be a
//! load of its own. Machines that we build for (x86-64, arm64) take such loads from maps. The stack is another matter, there
//! the verifier refuses them: what lies there must be aligned.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "bpf") {
        println!("cargo::rustc-link-arg-bins=--cpu-features=+allows-misaligned-mem-access");
    }
}
