//! Where things lie in the working copy: sources, target directory, the programs that cargo makes.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

/// The directory with the workspace's `Cargo.toml`.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace").to_owned()
}

/// The cargo that runs us.
pub fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Which of cargo's profiles a program is built with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    Debug,
    Release,
}

impl Profile {
    pub fn from_debug_flag(debug: bool) -> Self {
        if debug { Self::Debug } else { Self::Release }
    }

    /// Name of cargo's output directory.
    pub fn directory(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Release => "release",
        }
    }
}

/// Where cargo puts things: with a target named in `.cargo/config.toml`, programs lie below the target's name.
pub struct Output {
    /// cargo's target directory.
    pub target: PathBuf,
    /// The directory with one directory per profile.
    programs: PathBuf,
}

impl Output {
    /// From where this very program lies, so that each way of naming a target directory is followed.
    pub fn locate() -> Result<Self> {
        let exe = env::current_exe().context("cannot tell where xtask itself lies")?;
        let programs = exe.ancestors().nth(2).context("xtask does not lie in a target directory")?.to_owned();
        let above = programs.parent().filter(|dir| dir.join("CACHEDIR.TAG").is_file());
        Ok(Self { target: above.unwrap_or(&programs).to_owned(), programs })
    }

    /// The file of a program, built or not.
    pub fn program(&self, profile: Profile, name: &str) -> PathBuf {
        self.programs.join(profile.directory()).join(name)
    }
}
