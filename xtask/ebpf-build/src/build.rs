//! One eBPF object from one crate, by an inner cargo that sees nothing of the outer one. The object does not depend
//! on where the sources, the registry or the compiler lie.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::toolchain::{Toolchain, home_dir};

const TARGET: &str = "bpfel-unknown-none";

/// Builds `package` of the workspace at `root` below `target_dir`; returns the object's path.
pub fn build(root: &Path, package: &str, target_dir: &Path, tools: &Toolchain) -> Result<PathBuf, String> {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in env::vars_os() {
        if is_outer_cargo_variable(&name.to_string_lossy()) {
            command.env_remove(name);
        }
    }
    let status = command
        .current_dir(root)
        .args(["build", "--release", "--locked", "--package", package, "--bins"])
        // What makes the host program small is not for eBPF: the loader needs the symbols, the verifier inlined code.
        .args(["--config", "profile.release.strip='debuginfo'"])
        .args(["--config", "profile.release.opt-level=3"])
        .args(["-Zbuild-std=core", "--target", TARGET, "--target-dir"])
        .arg(target_dir)
        .env("RUSTC", &tools.rustc)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", &tools.linker)
        .env("CARGO_ENCODED_RUSTFLAGS", flags(root, tools).join("\x1f"))
        .status()
        .map_err(|error| format!("cannot run cargo: {error}"))?;
    if !status.success() {
        return Err(format!("building `{package}` for {TARGET} failed ({status})"));
    }
    Ok(target_dir.join(TARGET).join("release").join(package))
}

fn flags(root: &Path, tools: &Toolchain) -> [String; 7] {
    let cargo_home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let cargo_home = cargo_home.or_else(|| home_dir().map(|home| home.join(".cargo"))).unwrap_or_default();
    let arch = env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_else(|_| env::consts::ARCH.to_owned());
    let remap = |from: &Path, to: &str| format!("--remap-path-prefix={}={to}", from.display());
    [
        format!("--cfg=bpf_target_arch=\"{arch}\""),
        "-Cdebuginfo=2".to_owned(),
        // Known to all kernels from 5.1 on; the default computes with 64 bits and cuts each result by two shifts.
        "-Ctarget-cpu=v3".to_owned(),
        "-Clink-arg=--btf".to_owned(),
        remap(root, "/tracer"),
        remap(&cargo_home, "/cargo"),
        remap(&tools.sysroot, "/rust"),
    ]
}

/// Variables of the outer cargo that must not reach the inner one; those for its home and the network stay. Those
/// that cargo sets for build scripts go too: dependencies' own scripts watch some of them, so that a build from a build
/// script and one from a terminal would undo each other.
fn is_outer_cargo_variable(name: &str) -> bool {
    const OF_BUILD_SCRIPTS: &[&str] =
        &["HOST", "TARGET", "OUT_DIR", "OPT_LEVEL", "PROFILE", "DEBUG", "NUM_JOBS"];
    const KEPT: &[&str] = &["CARGO_REGISTR", "CARGO_NET_", "CARGO_HTTP_", "CARGO_SOURCE_"];
    const REMOVED: &[&str] = &["CARGO", "RUSTC", "RUSTFLAGS", "RUSTDOCFLAGS", "RUSTUP_TOOLCHAIN"];
    let starts_with = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    OF_BUILD_SCRIPTS.contains(&name) || starts_with(REMOVED) && name != "CARGO_HOME" && !starts_with(KEPT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inner_cargo_keeps_home_and_network_settings_only() {
        for kept in [
            "CARGO_HOME",
            "CARGO_NET_OFFLINE",
            "CARGO_HTTP_PROXY",
            "CARGO_REGISTRIES_X_INDEX",
            "PATH",
            "HOME",
        ] {
            assert!(!is_outer_cargo_variable(kept), "{kept}");
        }
        for removed in [
            "CARGO",
            "CARGO_PKG_NAME",
            "CARGO_ENCODED_RUSTFLAGS",
            "RUSTC_WRAPPER",
            "RUSTUP_TOOLCHAIN",
            "HOST",
        ] {
            assert!(is_outer_cargo_variable(removed), "{removed}");
        }
    }
}
