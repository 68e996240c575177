//! Which rustc and which bpf-linker of this machine build eBPF objects: the first pair where the compiler comes with
//! the sources of `core` and the linker reads its bitcode (its LLVM must not be older than the compiler's).

use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::UNIX_EPOCH;
use std::{env, fmt, fs};

/// The linker's release that `cargo xtask setup` installs.
pub const BPF_LINKER_VERSION: &str = "0.13.0";
/// Names the rustc to use for the eBPF side; no other is tried then.
pub const RUSTC_ENV: &str = "TRACER_BPF_RUSTC";
/// Names the bpf-linker to use; no other is tried then.
pub const LINKER_ENV: &str = "TRACER_BPF_LINKER";

/// What builds an eBPF object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toolchain {
    pub rustc: PathBuf,
    pub sysroot: PathBuf,
    pub linker: PathBuf,
}

/// Why there is no toolchain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    Rustc,
    Linker,
    /// Both are there, but no linker reads what a compiler writes.
    Match {
        rustcs: Vec<PathBuf>,
        linkers: Vec<PathBuf>,
    },
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names =
            |files: &[PathBuf]| files.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", ");
        match self {
            Self::Rustc => write!(f, "no rustc with library sources (rust-src){}", named_by(RUSTC_ENV)),
            Self::Linker => write!(f, "no bpf-linker that runs{}", named_by(LINKER_ENV)),
            Self::Match { rustcs, linkers } => {
                write!(
                    f,
                    "bpf-linker ({}) cannot read what rustc writes ({}): older LLVM",
                    names(linkers),
                    names(rustcs)
                )
            }
        }
    }
}

/// Only the named one was tried.
fn named_by(variable: &str) -> String {
    let named = env::var_os(variable).map(|path| format!(": {variable} names `{}`", path.display()));
    named.unwrap_or_default()
}

/// Directory of what `setup` installs for this user.
pub fn cache_dir() -> PathBuf {
    env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| home_dir().map(|home| home.join(".cache")))
        .unwrap_or_else(|| PathBuf::from("/var/cache"))
        .join("tracer")
}

/// Where `setup` puts the bpf-linker that it builds.
pub fn linker_root() -> PathBuf {
    cache_dir().join(format!("bpf-linker-{BPF_LINKER_VERSION}"))
}

pub(crate) fn home_dir() -> Option<PathBuf> {
    env::var_os("HOME").map(PathBuf::from)
}

/// Each rustc with library sources, and its sysroot: `$TRACER_BPF_RUSTC` alone, or rustup's nightlies, the compiler of
/// the cargo that runs us, `$RUSTC`, the distribution's.
pub fn find_rustcs() -> Vec<(PathBuf, PathBuf)> {
    let candidates = match env::var_os(RUSTC_ENV) {
        Some(named) => vec![PathBuf::from(named)],
        None => {
            let beside_cargo = env::var_os("CARGO").map(|cargo| Path::new(&cargo).with_file_name("rustc"));
            let named = env::var_os("RUSTC").map(PathBuf::from);
            let distribution = PathBuf::from("/usr/bin/rustc");
            nightlies().into_iter().chain(beside_cargo).chain(named).chain([distribution]).collect()
        }
    };
    let mut found: Vec<(PathBuf, PathBuf)> = Vec::new();
    for rustc in candidates {
        if !found.iter().any(|(known, _)| *known == rustc) {
            found.extend(sysroot_with_sources(&rustc).map(|sysroot| (rustc, sysroot)));
        }
    }
    found
}

/// Looked up in rustup's directory: asking rustup itself takes longer than all the rest. Undated ones first, then the
/// latest.
fn nightlies() -> Vec<PathBuf> {
    let rustup =
        env::var_os("RUSTUP_HOME").map(PathBuf::from).or_else(|| home_dir().map(|home| home.join(".rustup")));
    let entries = rustup.and_then(|dir| fs::read_dir(dir.join("toolchains")).ok());
    let mut names: Vec<PathBuf> = entries.into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    names.retain(|dir| dir.file_name().is_some_and(|name| name.to_string_lossy().starts_with("nightly-")));
    names.sort();
    names.iter().rev().map(|dir| dir.join("bin/rustc")).collect()
}

/// The rustc's sysroot, if it comes with the sources of `core`. A rustc lies in its sysroot, unless it is a wrapper.
fn sysroot_with_sources(rustc: &Path) -> Option<PathBuf> {
    let has_sources =
        |sysroot: &PathBuf| sysroot.join("lib/rustlib/src/rust/library/core/src/lib.rs").is_file();
    let around =
        rustc.is_file().then(|| rustc.parent()?.parent().map(Path::to_owned)).flatten().filter(has_sources);
    let is_wrapper =
        || env::var_os(RUSTC_ENV).is_some() || env::var_os("RUSTC").is_some_and(|named| named == rustc);
    around.or_else(|| {
        let said =
            is_wrapper().then(|| output(Command::new(rustc).args(["--print", "sysroot"]))).flatten()?;
        Some(PathBuf::from(said)).filter(has_sources)
    })
}

/// Each bpf-linker that runs: `$TRACER_BPF_LINKER` alone, or the one that `setup` built and those of the PATH.
pub fn find_linkers() -> Vec<PathBuf> {
    let candidates = match env::var_os(LINKER_ENV) {
        Some(named) => vec![PathBuf::from(named)],
        None => {
            let path = env::var_os("PATH").unwrap_or_default();
            let on_path = env::split_paths(&path).map(|dir| dir.join("bpf-linker"));
            [linker_root().join("bin/bpf-linker")]
                .into_iter()
                .chain(on_path)
                .filter(|file| file.is_file())
                .collect()
        }
    };
    candidates.into_iter().filter(|linker| output(Command::new(linker).arg("--version")).is_some()).collect()
}

/// The tools of this machine, or what is missing.
pub fn find_toolchain() -> Result<Toolchain, Missing> {
    let rustcs = find_rustcs();
    if rustcs.is_empty() {
        return Err(Missing::Rustc);
    }
    let linkers = find_linkers();
    if linkers.is_empty() {
        return Err(Missing::Linker);
    }
    for (rustc, sysroot) in &rustcs {
        if let Some(linker) = linkers.iter().find(|linker| fit_together(rustc, linker)) {
            return Ok(Toolchain { rustc: rustc.clone(), sysroot: sysroot.clone(), linker: linker.clone() });
        }
    }
    Err(Missing::Match { rustcs: rustcs.into_iter().map(|(rustc, _)| rustc).collect(), linkers })
}

/// Whether the linker reads the compiler's bitcode. Tried once per pair; a success is remembered in the cache directory.
fn fit_together(rustc: &Path, linker: &Path) -> bool {
    let memory = cache_dir().join("toolchains");
    let pair =
        format!("{}\t{}\t{}\t{}", rustc.display(), age_mark(rustc), linker.display(), age_mark(linker));
    let known = fs::read_to_string(&memory).unwrap_or_default();
    if known.lines().any(|line| line == pair) {
        return true;
    }
    let fits = try_pair(rustc, linker).unwrap_or(false);
    if fits {
        // Without a cache directory the pair is tried again next time.
        let _ = fs::create_dir_all(cache_dir()).and_then(|()| fs::write(&memory, format!("{known}{pair}\n")));
    }
    fits
}

/// Changes when the program is replaced.
fn age_mark(program: &Path) -> u128 {
    let modified = fs::metadata(program).and_then(|m| m.modified()).ok();
    modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).map_or(0, |since| since.as_nanos())
}

/// Compiles one function to bitcode and has the linker make an object of it.
fn try_pair(rustc: &Path, linker: &Path) -> io::Result<bool> {
    const SOURCE: &[u8] =
        b"#![no_std] #[unsafe(no_mangle)] pub extern \"C\" fn add(a: u32) -> u32 { a.wrapping_add(1) }";
    let dir = env::temp_dir().join(format!("tracer-toolchain-{}", std::process::id()));
    fs::create_dir_all(&dir)?;
    let (bitcode, object) = (dir.join("add.bc"), dir.join("add.o"));
    let fits = compile(rustc, SOURCE, &bitcode)
        .and_then(|compiled| Ok(compiled && link(linker, &bitcode, &object)?));
    let _ = fs::remove_dir_all(&dir);
    fits
}

fn compile(rustc: &Path, source: &[u8], bitcode: &Path) -> io::Result<bool> {
    let mut command = Command::new(rustc);
    command.args(["-", "--crate-name", "add", "--crate-type", "lib", "--edition", "2024", "-O"]);
    command.arg("--emit").arg(joined("llvm-bc=", bitcode)).env_remove("RUSTUP_TOOLCHAIN");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(source)?;
    }
    Ok(child.wait()?.success())
}

fn link(linker: &Path, bitcode: &Path, object: &Path) -> io::Result<bool> {
    let mut command = Command::new(linker);
    command.args(["--target", "bpfel", "--emit", "obj"]).arg(bitcode).arg("-o").arg(object);
    Ok(command.stdout(Stdio::null()).stderr(Stdio::null()).status()?.success())
}

fn joined(prefix: &str, path: &Path) -> std::ffi::OsString {
    let mut text = OsStr::new(prefix).to_owned();
    text.push(path);
    text
}

fn output(command: &mut Command) -> Option<String> {
    let output = command.stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
