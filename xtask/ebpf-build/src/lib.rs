//! Finds a rustc with library sources and a bpf-linker, and builds an eBPF crate with them. Standard library
//! only: build scripts use it.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The linker's release that `cargo xtask setup` installs.
pub const BPF_LINKER_VERSION: &str = "0.13.0";
/// Names a rustc to use for the eBPF side.
pub const RUSTC_ENV: &str = "TRACER_BPF_RUSTC";
/// Names a bpf-linker to use.
pub const LINKER_ENV: &str = "TRACER_BPF_LINKER";
/// A directory of ready objects (`<package>.o`): nothing is built then.
pub const OBJECTS_ENV: &str = "TRACER_BPF_OBJECTS";

/// What builds an eBPF object.
#[derive(Clone, Debug)]
pub struct Toolchain {
    pub rustc: PathBuf,
    pub sysroot: PathBuf,
    pub linker: PathBuf,
}

/// Directory of what `setup` installs for this user.
pub fn cache_dir() -> PathBuf {
    env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cache")))
        .unwrap_or_else(|| PathBuf::from("/var/cache"))
        .join("tracer")
}

/// Where `setup` puts the bpf-linker that it builds.
pub fn linker_root() -> PathBuf {
    cache_dir().join(format!("bpf-linker-{BPF_LINKER_VERSION}"))
}

fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The rustc's sysroot, if it comes with the sources of `core`.
fn sysroot_with_sources(rustc: &Path) -> Option<PathBuf> {
    let sysroot = PathBuf::from(output(Command::new(rustc).args(["--print", "sysroot"]))?);
    sysroot.join("lib/rustlib/src/rust/library/core/src/lib.rs").is_file().then_some(sysroot)
}

/// First rustc with library sources: `$TRACER_BPF_RUSTC`, rustup's nightly, `$RUSTC`, the distribution's.
pub fn find_rustc() -> Option<(PathBuf, PathBuf)> {
    let nightly = || output(Command::new("rustup").args(["which", "--toolchain", "nightly", "rustc"])).map(PathBuf::from);
    [
        env::var_os(RUSTC_ENV).map(PathBuf::from),
        nightly(),
        env::var_os("RUSTC").map(PathBuf::from),
        Some(PathBuf::from("/usr/bin/rustc")),
    ]
    .into_iter()
    .flatten()
    .find_map(|rustc| sysroot_with_sources(&rustc).map(|sysroot| (rustc, sysroot)))
}

/// First bpf-linker: `$TRACER_BPF_LINKER`, the one that `setup` built, the PATH.
pub fn find_linker() -> Option<PathBuf> {
    let on_path = || {
        env::var_os("PATH").and_then(|path| env::split_paths(&path).map(|dir| dir.join("bpf-linker")).find(|p| p.is_file()))
    };
    env::var_os(LINKER_ENV)
        .map(PathBuf::from)
        .or_else(|| Some(linker_root().join("bin/bpf-linker")).filter(|p| p.is_file()))
        .or_else(on_path)
}

/// The tools of this machine, or what is missing.
pub fn find_toolchain() -> Result<Toolchain, String> {
    let (rustc, sysroot) = find_rustc().ok_or("no rustc with library sources (rust-src)")?;
    let linker = find_linker().ok_or("no bpf-linker")?;
    Ok(Toolchain { rustc, sysroot, linker })
}

/// Variables of the outer cargo that must not reach the inner one; those for its home and the network stay.
fn is_outer_cargo_variable(name: &str) -> bool {
    let kept = name == "CARGO_HOME" || ["CARGO_REGISTR", "CARGO_NET_", "CARGO_HTTP_", "CARGO_SOURCE_"].iter().any(|p| name.starts_with(p));
    let removed = name.starts_with("CARGO") || name.starts_with("RUSTC") || name.starts_with("RUSTFLAGS") || name == "RUSTUP_TOOLCHAIN" || name == "RUSTDOCFLAGS";
    removed && !kept
}

/// Builds `package` of the workspace at `root` below `target_dir`; returns the object's path.
pub fn build(root: &Path, package: &str, target_dir: &Path, tools: &Toolchain) -> Result<PathBuf, String> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let cargo_home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")))
        .unwrap_or_default();
    let arch = env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_else(|_| env::consts::ARCH.to_owned());
    let remap = |from: &Path, to: &str| format!("--remap-path-prefix={}={to}", from.display());
    let flags = [
        format!("--cfg=bpf_target_arch=\"{arch}\""),
        "-Cdebuginfo=2".to_owned(),
        "-Clink-arg=--btf".to_owned(),
        remap(root, "/tracer"),
        remap(&cargo_home, "/cargo"),
        remap(&tools.sysroot, "/rust"),
    ];
    let mut command = Command::new(cargo);
    for (name, _) in env::vars_os() {
        if is_outer_cargo_variable(&name.to_string_lossy()) {
            command.env_remove(name);
        }
    }
    let status = command
        .current_dir(root)
        .args(["build", "--release", "--locked", "--package", package, "--bins"])
        .args(["-Zbuild-std=core", "--target", "bpfel-unknown-none", "--target-dir"])
        .arg(target_dir)
        .env("RUSTC", &tools.rustc)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", &tools.linker)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        .status()
        .map_err(|error| format!("cannot run cargo: {error}"))?;
    if !status.success() {
        return Err(format!("building `{package}` for bpfel-unknown-none failed ({status})"));
    }
    Ok(target_dir.join("bpfel-unknown-none/release").join(package))
}

/// Directory shared by all builds of eBPF objects of one workspace: `core` is compiled once.
pub fn shared_target_dir(out_dir: &Path) -> PathBuf {
    let above_profile = out_dir.ancestors().find(|dir| dir.file_name() == Some(OsStr::new("target")));
    above_profile.unwrap_or(out_dir).join("ebpf")
}

/// The whole build script of a crate that embeds the object of `package`: puts it at `$OUT_DIR/<package>.o`.
/// `inputs` are the directories (relative to the workspace) that the object is made of.
pub fn build_script(package: &str, inputs: &[&str]) {
    let variable = |name: &str| PathBuf::from(env::var_os(name).unwrap_or_else(|| panic!("{name} is set by cargo")));
    let manifest_dir = variable("CARGO_MANIFEST_DIR");
    let out_dir = variable("OUT_DIR");
    let root = manifest_dir.parent().expect("every crate lies in the workspace").to_owned();
    for name in [RUSTC_ENV, LINKER_ENV, OBJECTS_ENV] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    for input in inputs.iter().copied().chain(["Cargo.lock", "Cargo.toml"]) {
        println!("cargo::rerun-if-changed={}", root.join(input).display());
    }
    let object = match env::var_os(OBJECTS_ENV) {
        Some(dir) => Ok(Path::new(&dir).join(format!("{package}.o"))),
        None => find_toolchain().and_then(|tools| build(&root, package, &shared_target_dir(&out_dir), &tools)),
    };
    let copied = object.and_then(|object| {
        fs::copy(&object, out_dir.join(format!("{package}.o")))
            .map_err(|error| format!("cannot copy {}: {error}", object.display()))
    });
    if let Err(problem) = copied {
        for line in problem.lines() {
            println!("cargo::error={line}");
        }
        println!("cargo::error=run `cargo xtask setup` to install what the eBPF side needs");
    }
}

