//! Finds where the node keeps its Cilium: the bpffs that holds the pinned maps and the agent's state
//! directory. They may be our own, or those of a node mounted somewhere (`kubectl debug node`). A place is
//! taken only after it was looked at; every refusal is remembered with its reason. Opens no map.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Where maps are pinned inside a bpffs.
const GLOBALS: &str = "tc/globals";
const MAP_PREFIX: &str = "cilium_";

/// Mount points of the bpffs on a node, best first: the usual one, and the agent's own if that is no bpffs.
const BPFFS: [&str; 2] = ["sys/fs/bpf", "run/cilium/bpffs"];
/// The agent's state directory. `/var/run` is usually a link to `/run`, which under a host root leads out
/// of it; so the real one comes first.
const STATE_DIRS: [&str; 2] = ["run/cilium/state", "var/run/cilium/state"];
/// Where the node's root is, besides our own: `kubectl debug node` mounts it at the first, the second is
/// that of the node's init when we share its PID namespace.
const HOST_ROOTS: [&str; 2] = ["/host", "/proc/1/root"];
/// Names the host root in the environment.
pub const HOST_ROOT_VARIABLE: &str = "HOST_ROOT";

/// What the user said about the places.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// `--bpffs`.
    pub bpffs: Option<PathBuf>,
    /// `--state-dir`.
    pub state_dir: Option<PathBuf>,
    /// `--host-root`: the only root to look under.
    pub host_root: Option<PathBuf>,
    /// [`HOST_ROOT_VARIABLE`] of the environment: one more root to look under, after our own.
    pub host_root_hint: Option<PathBuf>,
}

/// Where the node's Cilium is. Both may be absent: there is no Cilium here, or it cannot be seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeSource {
    /// Directory of the pinned maps (`…/tc/globals`).
    pub globals: Option<PathBuf>,
    pub state_dir: Option<PathBuf>,
    /// The node's root that they were found under; `/` for our own.
    pub root: PathBuf,
    /// Places that were looked at and not taken, in order.
    pub refused: Vec<Refusal>,
}

impl NodeSource {
    /// Why nothing was found, short enough for one line: the places that exist first, and how many more there
    /// were. Each of them is in the diagnostics.
    pub fn why_nothing(&self) -> String {
        const TOLD: usize = 2;
        let (there, absent): (Vec<_>, Vec<_>) = self.refused.iter().partition(|r| r.why != Why::Absent);
        let told: Vec<String> = there.iter().chain(&absent).take(TOLD).map(ToString::to_string).collect();
        match self.refused.len() - told.len() {
            0 => told.join("; "),
            more => format!("{}; and {more} more places, -D lists them", told.join("; ")),
        }
    }
}

/// A place that was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` {why}", path.display())]
pub struct Refusal {
    pub path: PathBuf,
    pub why: Why,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    Absent,
    /// The file system that is there instead.
    NotBpffs(FileSystem),
    NoCiliumMaps,
    NotADirectory,
    /// No agent keeps its state here: neither endpoints nor the agent's files.
    NoState,
    /// We may not look.
    Forbidden,
    Unreadable(String),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("does not exist"),
            Self::NotBpffs(found) => write!(f, "is not a bpffs ({found} found)"),
            Self::NoCiliumMaps => {
                write!(f, "is a bpffs without Cilium's maps (no `{GLOBALS}/{MAP_PREFIX}*`)")
            }
            Self::NotADirectory => f.write_str("is not a directory"),
            Self::NoState => f.write_str("holds no state of a Cilium agent"),
            Self::Forbidden => f.write_str("cannot be read: permission denied"),
            Self::Unreadable(error) => write!(f, "cannot be read: {error}"),
        }
    }
}

/// A kind of file system, by the magic number that statfs gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileSystem(pub u64);

impl FileSystem {
    pub const BPF: Self = Self(0xcafe_4a11);

    const NAMES: [(u64, &str); 9] = [
        (0x0102_1994, "tmpfs"),
        (0x6265_6572, "sysfs"),
        (0x794c_7630, "overlayfs"),
        (0xef53, "ext4"),
        (0x5846_5342, "xfs"),
        (0x9123_683e, "btrfs"),
        (0x9fa0, "proc"),
        (0x8584_58f6, "ramfs"),
        (0x6367_7270, "cgroup2"),
    ];
}

impl fmt::Display for FileSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::NAMES.iter().find(|(magic, _)| *magic == self.0) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "file system {:#x}", self.0),
        }
    }
}

/// The few questions that finding asks of the file system; tests answer them without mounts.
trait Look {
    fn file_system(&self, path: &Path) -> io::Result<FileSystem>;
    /// Names in a directory.
    fn names(&self, path: &Path) -> io::Result<Vec<String>>;
}

struct Real;

impl Look for Real {
    fn file_system(&self, path: &Path) -> io::Result<FileSystem> {
        // The field is signed or not, 32 or 64 bits, as the architecture likes; magics have 32.
        Ok(FileSystem(rustix::fs::statfs(path)?.f_type as u64 & 0xffff_ffff))
    }

    fn names(&self, path: &Path) -> io::Result<Vec<String>> {
        let name =
            |entry: io::Result<std::fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
        std::fs::read_dir(path)?.map(name).collect()
    }
}

/// Looks for the node's Cilium. An error only where the user named a place that cannot be it; finding
/// nothing is an answer.
pub fn find(wanted: &Wanted) -> Result<NodeSource, Refusal> {
    search(wanted, &Real)
}

fn search(wanted: &Wanted, look: &dyn Look) -> Result<NodeSource, Refusal> {
    let mut source = NodeSource::default();
    let roots = roots(wanted);
    let globals = find_globals(wanted, &roots, look, &mut source.refused)?;
    let state = find_state(wanted, &roots, look, &mut source.refused)?;
    let root = globals.as_ref().or(state.as_ref()).map_or(Path::new("/"), |(_, root)| root.as_path());
    source.root = root.to_owned();
    source.globals = globals.map(|(path, _)| path);
    source.state_dir = state.map(|(path, _)| path);
    for refusal in &source.refused {
        tracing::debug!("{refusal}");
    }
    tracing::debug!(globals = ?source.globals, state = ?source.state_dir, root = ?source.root, "node");
    Ok(source)
}

/// Our own root, then the candidates for the node's. A root that the user named is the only one.
fn roots(wanted: &Wanted) -> Vec<PathBuf> {
    match &wanted.host_root {
        Some(root) => vec![root.clone()],
        None => {
            let own = std::iter::once(PathBuf::from("/")).chain(wanted.host_root_hint.clone());
            own.chain(HOST_ROOTS.map(PathBuf::from)).collect()
        }
    }
}

type Found = Option<(PathBuf, PathBuf)>;

fn find_globals(
    wanted: &Wanted,
    roots: &[PathBuf],
    look: &dyn Look,
    refused: &mut Vec<Refusal>,
) -> Result<Found, Refusal> {
    if let Some(bpffs) = &wanted.bpffs {
        return named(bpffs, check_bpffs(bpffs, look), roots, refused, |why| *why == Why::NoCiliumMaps);
    }
    Ok(first(roots, &BPFFS, refused, |path| check_bpffs(path, look)))
}

fn find_state(
    wanted: &Wanted,
    roots: &[PathBuf],
    look: &dyn Look,
    refused: &mut Vec<Refusal>,
) -> Result<Found, Refusal> {
    if let Some(dir) = &wanted.state_dir {
        return named(dir, check_state(dir, look), roots, refused, |why| *why == Why::NoState);
    }
    Ok(first(roots, &STATE_DIRS, refused, |path| check_state(path, look)))
}

/// The outcome for a place that the user named: it may be empty, but it must be of the right kind.
fn named(
    path: &Path,
    checked: Result<PathBuf, Why>,
    roots: &[PathBuf],
    refused: &mut Vec<Refusal>,
    is_empty: impl Fn(&Why) -> bool,
) -> Result<Found, Refusal> {
    let refusal = |why| Refusal { path: path.to_owned(), why };
    match checked {
        Ok(found) => Ok(Some((found, roots[0].clone()))),
        Err(why) if is_empty(&why) => {
            refused.push(refusal(why));
            Ok(None)
        }
        Err(why) => Err(refusal(why)),
    }
}

/// The first place under the roots that passes the check.
fn first(
    roots: &[PathBuf],
    places: &[&str],
    refused: &mut Vec<Refusal>,
    check: impl Fn(&Path) -> Result<PathBuf, Why>,
) -> Found {
    for root in roots {
        for place in places {
            let path = root.join(place);
            match check(&path) {
                Ok(found) => return Some((found, root.clone())),
                Err(why) => refused.push(Refusal { path, why }),
            }
        }
    }
    None
}

/// The directory of Cilium's maps in a bpffs; `path` may be that directory itself.
fn check_bpffs(path: &Path, look: &dyn Look) -> Result<PathBuf, Why> {
    let found = look.file_system(path).map_err(why_not)?;
    if found != FileSystem::BPF {
        return Err(Why::NotBpffs(found));
    }
    let globals = if path.ends_with(GLOBALS) { path.to_owned() } else { path.join(GLOBALS) };
    match look.names(&globals) {
        Ok(names) if names.iter().any(|name| name.starts_with(MAP_PREFIX)) => Ok(globals),
        Ok(_) => Err(Why::NoCiliumMaps),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Why::NoCiliumMaps),
        Err(error) => Err(why_not(error)),
    }
}

/// An agent that runs or ran keeps its own settings or its endpoints' state there.
fn check_state(path: &Path, look: &dyn Look) -> Result<PathBuf, Why> {
    let names = look.names(path).map_err(why_not)?;
    let is_state = |name: &String| {
        matches!(name.as_str(), "agent-runtime-config.json" | "globals" | "local_allocator_state.json")
            || name.parse::<u16>().is_ok()
    };
    if names.iter().any(is_state) { Ok(path.to_owned()) } else { Err(Why::NoState) }
}

fn why_not(error: io::Error) -> Why {
    match error.kind() {
        io::ErrorKind::NotFound => Why::Absent,
        io::ErrorKind::NotADirectory => Why::NotADirectory,
        io::ErrorKind::PermissionDenied => Why::Forbidden,
        _ => Why::Unreadable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    const TMPFS: FileSystem = FileSystem(0x0102_1994);

    /// A file system of the imagination: mount points and directory listings.
    #[derive(Default)]
    struct Fake {
        mounts: HashMap<PathBuf, FileSystem>,
        listings: HashMap<PathBuf, Vec<String>>,
    }

    impl Fake {
        fn mount(mut self, path: &str, kind: FileSystem) -> Self {
            self.mounts.insert(path.into(), kind);
            self
        }

        fn dir(mut self, path: &str, names: &[&str]) -> Self {
            self.listings.insert(path.into(), names.iter().map(|name| (*name).to_owned()).collect());
            self
        }

        fn node(self, root: &str) -> Self {
            self.mount(&format!("{root}/sys/fs/bpf"), FileSystem::BPF)
                .dir(&format!("{root}/sys/fs/bpf/tc/globals"), &["cilium_lxc"])
                .dir(&format!("{root}/run/cilium/state"), &["1234", "globals"])
        }
    }

    impl Look for Fake {
        fn file_system(&self, path: &Path) -> io::Result<FileSystem> {
            self.mounts.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
        }

        fn names(&self, path: &Path) -> io::Result<Vec<String>> {
            self.listings.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
        }
    }

    fn found(source: &NodeSource) -> (Option<&str>, Option<&str>) {
        let text =
            |path: &'_ Option<PathBuf>| path.as_ref().map(|p| p.to_str().unwrap().to_owned().leak() as &str);
        (text(&source.globals), text(&source.state_dir))
    }

    #[test]
    fn our_own_places_come_before_those_under_a_host_root() {
        let fake = Fake::default().node("").node("/host");
        let source = search(&Wanted::default(), &fake).unwrap();
        assert_eq!(found(&source), (Some("/sys/fs/bpf/tc/globals"), Some("/run/cilium/state")));
        assert_eq!((source.root, source.refused), (PathBuf::from("/"), vec![]));
    }

    #[test]
    fn a_debug_container_finds_the_node_under_host_and_says_why_not_its_own() {
        let fake = Fake::default().node("/host").mount("/sys/fs/bpf", FileSystem::BPF);
        let source = search(&Wanted::default(), &fake).unwrap();
        assert_eq!(found(&source), (Some("/host/sys/fs/bpf/tc/globals"), Some("/host/run/cilium/state")));
        assert_eq!(source.root, PathBuf::from("/host"));
        assert_eq!(source.refused[0].why, Why::NoCiliumMaps);
        assert_eq!(source.refused[1].to_string(), "`/run/cilium/bpffs` does not exist");
    }

    #[test]
    fn the_agents_fallback_mount_and_the_root_of_init_are_tried() {
        let fake = Fake::default()
            .mount("/run/cilium/bpffs", FileSystem::BPF)
            .dir("/run/cilium/bpffs/tc/globals", &["cilium_events"])
            .dir("/proc/1/root/var/run/cilium/state", &["agent-runtime-config.json"]);
        let source = search(&Wanted::default(), &fake).unwrap();
        let expected = (Some("/run/cilium/bpffs/tc/globals"), Some("/proc/1/root/var/run/cilium/state"));
        assert_eq!(found(&source), expected);
    }

    #[test]
    fn no_cilium_is_an_answer_with_reasons() {
        let fake = Fake::default().mount("/sys/fs/bpf", TMPFS);
        let source = search(&Wanted::default(), &fake).unwrap();
        assert_eq!(found(&source), (None, None));
        assert_eq!(source.refused[0].to_string(), "`/sys/fs/bpf` is not a bpffs (tmpfs found)");
        assert_eq!(source.refused.len(), 2 * 3 + 2 * 3);
        let told = "`/sys/fs/bpf` is not a bpffs (tmpfs found); `/run/cilium/bpffs` does not exist; \
                    and 10 more places, -D lists them";
        assert_eq!(source.why_nothing(), told);
    }

    #[test]
    fn a_named_place_of_the_wrong_kind_is_an_error() {
        let fake = Fake::default().node("").mount("/mnt", TMPFS);
        let wanted = |bpffs: &str| Wanted { bpffs: Some(bpffs.into()), ..Wanted::default() };
        let refusal = search(&wanted("/mnt"), &fake).unwrap_err();
        assert_eq!(refusal.to_string(), "`/mnt` is not a bpffs (tmpfs found)");
        assert_eq!(search(&wanted("/none"), &fake).unwrap_err().to_string(), "`/none` does not exist");
        let wanted = Wanted { state_dir: Some("/none".into()), ..Wanted::default() };
        assert_eq!(search(&wanted, &fake).unwrap_err().to_string(), "`/none` does not exist");
    }

    #[test]
    fn a_named_bpffs_without_maps_means_no_cilium_and_no_other_place_is_searched() {
        let fake = Fake::default()
            .node("")
            .mount("/mnt/bpf", FileSystem::BPF)
            .dir("/mnt/bpf/tc/globals", &["other"]);
        let wanted = Wanted { bpffs: Some("/mnt/bpf".into()), ..Wanted::default() };
        let source = search(&wanted, &fake).unwrap();
        assert_eq!(source.globals, None);
        let told = "`/mnt/bpf` is a bpffs without Cilium's maps (no `tc/globals/cilium_*`)";
        assert!(source.why_nothing().starts_with(told), "{}", source.why_nothing());
        assert_eq!(source.refused.len(), 1);
    }

    #[test]
    fn the_directory_of_the_maps_may_be_named_itself() {
        let fake = Fake::default().node("").mount("/sys/fs/bpf/tc/globals", FileSystem::BPF);
        let wanted = Wanted { bpffs: Some("/sys/fs/bpf/tc/globals".into()), ..Wanted::default() };
        assert_eq!(search(&wanted, &fake).unwrap().globals, Some("/sys/fs/bpf/tc/globals".into()));
    }

    #[test]
    fn a_named_host_root_is_the_only_one() {
        let fake = Fake::default().node("").node("/mnt/node");
        let wanted = Wanted { host_root: Some("/mnt/node".into()), ..Wanted::default() };
        let source = search(&wanted, &fake).unwrap();
        let expected = (Some("/mnt/node/sys/fs/bpf/tc/globals"), Some("/mnt/node/run/cilium/state"));
        assert_eq!(found(&source), expected);
    }

    #[test]
    fn a_host_root_of_the_environment_comes_after_our_own() {
        let wanted = Wanted { host_root_hint: Some("/mnt/node".into()), ..Wanted::default() };
        let source = search(&wanted, &Fake::default().node("/mnt/node").node("/host")).unwrap();
        assert_eq!(source.root, PathBuf::from("/mnt/node"));
        let source = search(&wanted, &Fake::default().node("/mnt/node").node("")).unwrap();
        assert_eq!(source.root, PathBuf::from("/"));
    }

    #[test]
    fn a_directory_that_no_agent_wrote_is_no_state() {
        let fake = Fake::default().dir("/run/cilium/state", &["templates", "x123"]);
        let source = search(&Wanted::default(), &fake).unwrap();
        assert_eq!(source.state_dir, None);
        assert!(source.refused.iter().any(|r| r.why == Why::NoState));
    }

    #[test]
    fn the_real_file_system_answers_for_proc() {
        assert_eq!(Real.file_system(Path::new("/proc")).unwrap().to_string(), "proc");
        assert!(Real.file_system(Path::new("/no/such/place")).is_err());
    }
}
