//! Debian's kernels for the test VMs: the newest package of a series, fetched with an apt configuration of our own
//! below the cache directory (the machine's apt is neither changed nor asked) and unpacked, never installed.

use std::cmp::Ordering;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::{process, say};

/// Debian's key for all of its archives.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Archive and suite: each has the newest kernel of at least one series.
const SUITES: &[(&str, &str)] = &[
    ("debian-security", "bullseye-security"),
    ("debian-security", "bookworm-security"),
    ("debian", "bookworm-backports"),
    ("debian", "trixie-backports"),
];
const MIRROR: &str = "http://deb.debian.org";
/// How long package lists are believed.
const LISTS_AGE: Duration = Duration::from_secs(24 * 3600);
/// The word for "whatever is newest".
pub const NEWEST: &str = "newest";

/// An unpacked kernel.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// As `uname -r` says it.
    pub release: String,
    pub image: PathBuf,
    /// Directory with the module files.
    pub modules: PathBuf,
}

/// The kernel of a series ("6.1"), or [`NEWEST`]: from the cache, or fetched. With `update`, a newer package
/// replaces what is cached.
pub fn get(series: &str, update: bool) -> Result<Kernel> {
    check_series(series)?;
    let home = cache_dir().join(series);
    if home.is_dir() && !update {
        return find_in(&home);
    }
    match fetch(series, &home) {
        Ok(()) => {}
        Err(error) if home.is_dir() => {
            say::step(format!("vm: keeping the cached kernel {series}: {error:#}"))
        }
        Err(error) => return Err(error.context(format!("no Debian kernel {series}"))),
    }
    find_in(&home)
}

fn cache_dir() -> PathBuf {
    ebpf_build::cache_dir().join("kernels")
}

/// A series becomes a directory's name.
fn check_series(series: &str) -> Result<()> {
    let version = series.starts_with(|c: char| c.is_ascii_digit())
        && series.chars().all(|c| c.is_ascii_alphanumeric() || ".+-~".contains(c));
    ensure!(version || series == NEWEST, "`{series}` is no kernel version; say for example 6.1, or {NEWEST}");
    Ok(())
}

/// What an unpacked kernel package offers: the image lies in /boot, or beside the modules (Debian 7.x).
fn find_in(home: &Path) -> Result<Kernel> {
    let hint = || format!("the cached kernel in {} is damaged; remove that directory", home.display());
    let above = ["lib/modules", "usr/lib/modules"].map(|dir| home.join(dir));
    let modules = above.iter().find_map(|dir| only_entry(dir)).with_context(hint)?;
    let release = process::file_name(&modules);
    let places = [home.join(format!("boot/vmlinuz-{release}")), modules.join("vmlinuz")];
    let image = places.into_iter().find(|file| file.is_file()).with_context(hint)?;
    Ok(Kernel { release, image, modules })
}

fn only_entry(dir: &Path) -> Option<PathBuf> {
    fs::read_dir(dir).ok()?.next()?.ok().map(|entry| entry.path())
}

fn fetch(series: &str, home: &Path) -> Result<()> {
    let apt = Apt::prepare(&cache_dir())?;
    apt.update()?;
    let packages = apt.packages()?;
    let image = newest_image(&packages, series)
        .with_context(|| format!("none of {} has one (any more)", suite_names()))?;
    let names = with_parts(image, &packages);
    let unpacked = cache_dir().join(format!(".unpack-{series}-{}", std::process::id()));
    say::step(format!("vm: fetching kernel {series}: {} {}", image.name, image.version));
    let result = apt.download(&names, &unpacked).and_then(|()| replace(&unpacked, home));
    let _ = fs::remove_dir_all(&unpacked);
    result
}

fn replace(new: &Path, old: &Path) -> Result<()> {
    let _ = fs::remove_dir_all(old);
    fs::rename(new, old).with_context(|| format!("cannot put the kernel into {}", old.display()))
}

fn suite_names() -> String {
    SUITES.iter().map(|(_, suite)| *suite).collect::<Vec<_>>().join(", ")
}

/// One package of the lists.
#[derive(Debug, PartialEq, Eq)]
struct Package {
    name: String,
    version: String,
    depends: Vec<String>,
}

/// The packages of an apt list's text that have to do with cloud kernels.
fn parse_packages(text: &str) -> Vec<Package> {
    text.split("\n\n").filter_map(parse_package).filter(|p| p.name.contains("-cloud-amd64")).collect()
}

fn parse_package(stanza: &str) -> Option<Package> {
    let field = |name: &str| {
        stanza.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).map(str::to_owned)
    };
    let first_word = |dependency: &str| dependency.split_whitespace().next().map(str::to_owned);
    let depends = field("Depends").unwrap_or_default();
    Some(Package {
        name: field("Package")?,
        version: field("Version")?,
        depends: depends.split(',').filter_map(first_word).collect(),
    })
}

/// Images carry a version in their name, and none with a kernel inside needs another image.
fn newest_image<'a>(packages: &'a [Package], series: &str) -> Option<&'a Package> {
    let is_image = |p: &&Package| {
        p.name.strip_prefix("linux-image-").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
            && p.name.ends_with("-cloud-amd64")
            && !p.depends.iter().any(|d| d.starts_with("linux-image-"))
    };
    let of_series = |p: &&Package| series == NEWEST || is_of_series(&p.version, series);
    packages.iter().filter(is_image).filter(of_series).max_by(|a, b| compare_versions(&a.version, &b.version))
}

/// `6.1` takes `6.1.192-2`, not `6.12.3-1`; a whole version takes itself.
fn is_of_series(version: &str, series: &str) -> bool {
    version.strip_prefix(series).is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// The image and the packages into which Debian splits newer kernels (same suffix: binary, modules).
fn with_parts<'a>(image: &'a Package, packages: &'a [Package]) -> Vec<&'a str> {
    let suffix = image.name.trim_start_matches("linux-image-");
    let part = |name: &&String| {
        ["linux-binary-", "linux-modules-"].iter().any(|kind| name.strip_prefix(kind) == Some(suffix))
            && packages.iter().any(|p| p.name == **name)
    };
    std::iter::once(&image.name).chain(image.depends.iter().filter(part)).map(String::as_str).collect()
}

/// Numbers count as numbers, `~` sorts before the end, all else as characters: dpkg's rule as far as kernels need it.
fn compare_versions(a: &str, b: &str) -> Ordering {
    version_words(a).cmp(&version_words(b))
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Word {
    Tilde,
    End,
    Text(char),
    Number(u64),
}

fn version_words(version: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut rest = version;
    while let Some(first) = rest.chars().next() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let taken = digits.max(first.len_utf8());
        words.push(match rest[..digits].parse() {
            Ok(number) => Word::Number(number),
            Err(_) if first == '~' => Word::Tilde,
            Err(_) => Word::Text(first),
        });
        rest = &rest[taken..];
    }
    words.push(Word::End);
    words
}

/// apt with lists, state and archives of its own.
struct Apt {
    home: PathBuf,
}

impl Apt {
    fn prepare(cache: &Path) -> Result<Self> {
        ensure!(Path::new(KEYRING).is_file(), "{KEYRING} is missing (package debian-archive-keyring)");
        let home = cache.join("apt");
        for dir in ["state/lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(home.join(dir))
                .with_context(|| format!("cannot make {}", home.join(dir).display()))?;
        }
        let source = |(archive, suite): &(&str, &str)| {
            format!("deb [arch=amd64 signed-by={KEYRING}] {MIRROR}/{archive} {suite} main\n")
        };
        let write = |name: &str, text: &str| {
            fs::write(home.join(name), text)
                .with_context(|| format!("cannot write {}", home.join(name).display()))
        };
        write("sources.list", &SUITES.iter().map(source).collect::<String>())?;
        write("status", "")?;
        Ok(Self { home })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let mut option = |name: &str, value: &str| {
            command.arg("-o").arg(format!("{name}={value}"));
        };
        let below = |name: &str| self.home.join(name).display().to_string();
        option("Dir::Etc::SourceList", &below("sources.list"));
        option("Dir::Etc::SourceParts", "/dev/null");
        option("Dir::Etc::Preferences", "/dev/null");
        option("Dir::Etc::PreferencesParts", "/dev/null");
        option("Dir::State", &below("state"));
        option("Dir::State::status", &below("status"));
        option("Dir::Cache", &below("cache"));
        option("APT::Architecture", "amd64");
        option("APT::Architectures", "amd64");
        option("APT::Sandbox::User", "");
        option("Acquire::Languages", "none");
        option("Acquire::Retries", "3");
        option("Acquire::IndexTargets::deb::DEP-11::DefaultEnabled", "false");
        command.env("LC_ALL", "C");
        command
    }

    /// A suite that is gone costs only the kernels that it alone has: they are missed later, by name.
    fn update(&self) -> Result<()> {
        let stamp = self.home.join("updated");
        let age = fs::metadata(&stamp).and_then(|m| m.modified()).ok().and_then(|time| time.elapsed().ok());
        if age.is_some_and(|age| age < LISTS_AGE) {
            return Ok(());
        }
        say::step(format!("vm: reading the package lists of {}", suite_names()));
        match process::output(self.command("apt-get").arg("update")) {
            Ok(_) => fs::write(&stamp, "").with_context(|| format!("cannot write {}", stamp.display())),
            Err(error) => {
                say::step(format!("vm: some package lists cannot be had: {error:#}"));
                Ok(())
            }
        }
    }

    fn packages(&self) -> Result<Vec<Package>> {
        Ok(parse_packages(&process::output(self.command("apt-cache").arg("dumpavail"))?))
    }

    fn download(&self, names: &[&str], into: &Path) -> Result<()> {
        let archives = into.join("archives");
        fs::create_dir_all(&archives).with_context(|| format!("cannot make {}", archives.display()))?;
        process::output(self.command("apt-get").current_dir(&archives).arg("download").args(names))?;
        let entries =
            fs::read_dir(&archives).with_context(|| format!("cannot list {}", archives.display()))?;
        let mut count = 0;
        for entry in entries {
            process::output(Command::new("dpkg").arg("-x").arg(entry?.path()).arg(into))?;
            count += 1;
        }
        if count != names.len() {
            bail!("apt fetched {count} packages, expected {} ({})", names.len(), names.join(", "));
        }
        fs::remove_dir_all(&archives).with_context(|| format!("cannot remove {}", archives.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, version: &str, depends: &[&str]) -> Package {
        Package {
            name: name.into(),
            version: version.into(),
            depends: depends.iter().map(|d| (*d).into()).collect(),
        }
    }

    #[test]
    fn a_stanza_gives_name_version_and_dependencies() {
        let text = "Package: linux-image-6.1.0-56-cloud-amd64\nVersion: 6.1.192-2\n\
                    Depends: kmod, linux-base (>= 4.3~), initramfs-tools (>= 0.120) | linux-initramfs-tool\n\n\
                    Package: vim\nVersion: 2:9.0\n";
        let expected = package(
            "linux-image-6.1.0-56-cloud-amd64",
            "6.1.192-2",
            &["kmod", "linux-base", "initramfs-tools"],
        );
        assert_eq!(parse_packages(text), [expected]);
    }

    #[test]
    fn versions_sort_as_dpkg_sorts_them() {
        let sorted = [
            "6.1.99-1",
            "6.1.180-1~deb11u1",
            "6.1.180-1",
            "6.1.192-2",
            "6.12.3-1",
            "7.3.4-1~bpo13+1",
            "7.3.4-1",
        ];
        for pair in sorted.windows(2) {
            assert_eq!(compare_versions(pair[0], pair[1]), Ordering::Less, "{pair:?}");
        }
    }

    #[test]
    fn a_series_is_not_the_prefix_of_another() {
        assert!(is_of_series("6.1.192-2", "6.1"));
        assert!(!is_of_series("6.12.117-1", "6.1"));
        assert!(is_of_series("6.1.192-2", "6.1.192-2"));
    }

    #[test]
    fn the_newest_image_of_a_series_is_taken_and_empty_packages_are_not() {
        let packages = [
            package("linux-image-6.1.0-9-cloud-amd64", "6.1.27-1", &["kmod"]),
            package("linux-image-6.1.0-56-cloud-amd64", "6.1.192-2", &["kmod"]),
            package("linux-image-6.1.0-57-cloud-amd64-unsigned", "6.1.193-1", &["kmod"]),
            package("linux-image-6.1-cloud-amd64", "6.1.194-1", &["linux-image-6.1.0-56-cloud-amd64"]),
        ];
        assert_eq!(newest_image(&packages, "6.1").map(|p| p.version.as_str()), Some("6.1.192-2"));
        assert_eq!(newest_image(&packages, "6.6"), None);
    }

    #[test]
    fn a_split_kernel_brings_its_parts() {
        let image = package(
            "linux-image-7.3.4-cloud-amd64",
            "7.3.4-1",
            &[
                "dracut",
                "linux-base-7.3.4-cloud-amd64",
                "linux-binary-7.3.4-cloud-amd64",
                "linux-modules-7.3.4-cloud-amd64",
            ],
        );
        let parts = [
            package("linux-binary-7.3.4-cloud-amd64", "7.3.4-1", &[]),
            package("linux-modules-7.3.4-cloud-amd64", "7.3.4-1", &[]),
        ];
        let names = [
            "linux-image-7.3.4-cloud-amd64",
            "linux-binary-7.3.4-cloud-amd64",
            "linux-modules-7.3.4-cloud-amd64",
        ];
        assert_eq!(with_parts(&image, &parts), names);
    }

    #[test]
    fn a_series_cannot_name_another_directory() {
        assert!(check_series("../6.1").is_err());
        assert!(check_series("").is_err());
        assert!(check_series("6.12.43+deb12").is_ok());
    }
}
