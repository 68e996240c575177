//! The build script of a crate that embeds an eBPF object.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{env, fs};

use crate::build::build;
use crate::toolchain::{LINKER_ENV, RUSTC_ENV, find_toolchain};

/// A directory of ready objects (`<package>.o`): nothing is built then.
pub const OBJECTS_ENV: &str = "TRACER_BPF_OBJECTS";

/// The whole build script of a crate that embeds the object of `package`: puts it at `$OUT_DIR/<package>.o`.
/// `inputs` are the directories (relative to the workspace) that the object is made of.
pub fn build_script(package: &str, inputs: &[&str]) {
    let manifest_dir = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    let root = manifest_dir.parent().expect("every crate lies in the workspace");
    for name in [RUSTC_ENV, LINKER_ENV, OBJECTS_ENV] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    for input in inputs.iter().copied().chain(["Cargo.lock", "Cargo.toml"]) {
        println!("cargo::rerun-if-changed={}", root.join(input).display());
    }
    if let Err(problem) = provide(root, package) {
        for line in problem.lines() {
            println!("cargo::error={line}");
        }
    }
}

fn provide(root: &Path, package: &str) -> Result<(), String> {
    let out_dir = PathBuf::from(variable("OUT_DIR"));
    let object = match env::var_os(OBJECTS_ENV) {
        Some(dir) => Path::new(&dir).join(format!("{package}.o")),
        None => {
            let hint = "`cargo xtask setup` installs what the eBPF side needs";
            let tools = find_toolchain().map_err(|missing| format!("{missing}\n{hint}"))?;
            build(root, package, &shared_target_dir(&out_dir, &variable("TARGET")), &tools)?
        }
    };
    let copied = fs::copy(&object, out_dir.join(format!("{package}.o")));
    copied.map(drop).map_err(|error| format!("cannot copy {}: {error}", object.display()))
}

fn variable(name: &str) -> OsString {
    env::var_os(name).unwrap_or_else(|| panic!("cargo sets {name} for build scripts"))
}

/// Directory shared by all profiles of one workspace, so that `core` is compiled once: `ebpf` in cargo's target
/// directory. OUT_DIR is `<target>[/<triple>]/<profile>/build/<package>/out`.
fn shared_target_dir(out_dir: &Path, triple: &OsString) -> PathBuf {
    let above_profile = out_dir.ancestors().nth(4).unwrap_or(out_dir);
    let has_triple = above_profile.file_name().is_some_and(|name| name == triple.as_os_str());
    let target = if has_triple { above_profile.parent().unwrap_or(out_dir) } else { above_profile };
    target.join("ebpf")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_profiles_share_one_directory_wherever_the_target_directory_is() {
        let shared = |dir: &str| shared_target_dir(Path::new(dir), &"x86_64-unknown-linux-gnu".into());
        let expected = Path::new("/w/out/ebpf");
        assert_eq!(shared("/w/out/x86_64-unknown-linux-gnu/debug/build/tracer-1/out"), expected);
        assert_eq!(shared("/w/out/release/build/tracer-2/out"), expected);
    }
}
