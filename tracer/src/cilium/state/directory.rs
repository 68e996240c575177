//! The state directory as a whole, kept current: files are read again only when they have changed. Which
//! directory speaks for an endpoint follows the agent's own rules for its half-finished ones.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tracer_common::id::{EndpointId, Identity};

use super::config::{self, AgentConfig};
use super::endpoint::{self, EndpointState};
use super::file::{Problem, Stamp, StateError, StateFiles};
use super::node_config::{self, NodeConfig};
use super::{identities, nodes};
use crate::cilium::release::AgentVersion;
use crate::model::endpoint::Labels;

/// How often the directory's own time of change is looked at.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// How often every file's time of change is looked at, whatever that of the directory says.
const SCAN_INTERVAL: Duration = Duration::from_secs(5);
/// Problems remembered as told; after so many nobody reads them.
const MAX_TOLD: usize = 1000;

/// The agent's state, as far as it could be read.
#[derive(Debug)]
pub struct StateDir {
    files: Arc<dyn StateFiles>,
    endpoints: BTreeMap<EndpointId, Loaded>,
    local_identities: Cached<HashMap<Identity, Arc<Labels>>>,
    nodes: Cached<HashMap<IpAddr, Arc<str>>>,
    config: Cached<AgentConfig>,
    compiled: Cached<NodeConfig>,
    /// The two before, put together.
    settings: AgentConfig,
    checked: Option<Instant>,
    scanned: Option<Instant>,
    stamp: Option<Stamp>,
    problems: Vec<Problem>,
    told: HashSet<String>,
}

/// An endpoint's directory that was read.
#[derive(Debug)]
struct Loaded {
    /// The file that was read, and which file it was.
    source: (PathBuf, Stamp),
    state: Option<Arc<EndpointState>>,
    version: Option<AgentVersion>,
}

/// One file and what it said.
#[derive(Debug)]
struct Cached<T> {
    name: &'static str,
    stamp: Option<Stamp>,
    value: T,
}

impl<T: Default> Cached<T> {
    fn new(name: &'static str) -> Self {
        Self { name, stamp: None, value: T::default() }
    }

    /// Reads the file if it has changed; true if the value may be another one. A file that is gone, as it
    /// is for a moment while it is replaced, leaves the value.
    fn refresh(
        &mut self,
        files: &dyn StateFiles,
        parse: impl Fn(&[u8]) -> Result<T, StateError>,
        problems: &mut Vec<Problem>,
    ) -> bool {
        match self.reread(files, parse) {
            Ok(changed) => changed,
            Err(error) => {
                problems.push(Problem { path: files.place(Path::new(self.name)), error });
                false
            }
        }
    }

    fn reread(
        &mut self,
        files: &dyn StateFiles,
        parse: impl Fn(&[u8]) -> Result<T, StateError>,
    ) -> Result<bool, StateError> {
        let path = Path::new(self.name);
        let stamp = files.stamp(path)?;
        if stamp.is_none() || stamp == self.stamp {
            return Ok(false);
        }
        self.stamp = stamp;
        self.value = parse(&files.read(path)?)?;
        Ok(true)
    }
}

impl StateDir {
    pub fn new(files: Arc<dyn StateFiles>) -> Self {
        Self {
            files,
            endpoints: BTreeMap::new(),
            local_identities: Cached::new("local_allocator_state.json"),
            nodes: Cached::new("nodes.json"),
            config: Cached::new("agent-runtime-config.json"),
            compiled: Cached::new(node_config::FILE),
            settings: AgentConfig::default(),
            checked: None,
            scanned: None,
            stamp: None,
            problems: Vec::new(),
            told: HashSet::new(),
        }
    }

    /// Reads what has changed; true if anything may be different. Cheap when called often.
    pub fn refresh(&mut self, now: Instant) -> bool {
        let since = |at: Option<Instant>| at.map(|at| now.saturating_duration_since(at));
        if since(self.checked).is_some_and(|age| age < CHECK_INTERVAL) {
            return false;
        }
        self.checked = Some(now);
        let stamp = self.files.stamp(Path::new("")).ok().flatten();
        if stamp == self.stamp && since(self.scanned).is_some_and(|age| age < SCAN_INTERVAL) {
            return false;
        }
        (self.stamp, self.scanned) = (stamp, Some(now));
        self.scan()
    }

    fn scan(&mut self) -> bool {
        let mut problems = Vec::new();
        let mut changed = self.local_identities.refresh(&*self.files, identities::parse, &mut problems);
        changed |= self.nodes.refresh(&*self.files, nodes::parse, &mut problems);
        changed |= self.config.refresh(&*self.files, config::parse, &mut problems);
        changed |= self.compiled.refresh(&*self.files, node_config::parse, &mut problems);
        self.settings = self.config.value.clone().with_compiled(&self.compiled.value);
        changed |= self.scan_endpoints(&mut problems);
        self.tell(problems);
        changed
    }

    fn scan_endpoints(&mut self, problems: &mut Vec<Problem>) -> bool {
        let directories = match list(&*self.files) {
            Ok(directories) => directories,
            Err(error) => {
                problems
                    .push(Problem { path: self.files.place(Path::new("")), error: StateError::Read(error) });
                return false;
            }
        };
        let before = self.endpoints.len();
        self.endpoints.retain(|id, _| directories.contains_key(id));
        let mut changed = self.endpoints.len() != before;
        for (id, name) in directories {
            changed |= self.load(id, Path::new(&name), problems);
        }
        changed
    }

    /// Reads an endpoint's directory unless it is the one that was read before.
    fn load(&mut self, id: EndpointId, directory: &Path, problems: &mut Vec<Problem>) -> bool {
        let source = match newest_form(&*self.files, directory) {
            Ok(Some(source)) => source,
            Ok(None) => return false,
            Err(problem) => {
                problems.push(problem);
                return false;
            }
        };
        if self.endpoints.get(&id).is_some_and(|loaded| loaded.source == source) {
            return false;
        }
        let header = directory.join(HEADER);
        let state = read_state(&*self.files, &source.0, id)
            .map_err(|error| problems.push(Problem { path: self.files.place(&source.0), error }));
        // The header is a courtesy where there is JSON, so whatever is wrong with it is told only if it was
        // the source, and then it was told already.
        let version =
            self.files.read(&header).ok().and_then(|bytes| endpoint::agent_version(&bytes).ok()).flatten();
        let state = state.ok().map(Arc::new);
        self.endpoints.insert(id, Loaded { source, state, version });
        true
    }

    /// Keeps problems that were not told before.
    fn tell(&mut self, problems: Vec<Problem>) {
        for problem in problems {
            if self.told.len() < MAX_TOLD && self.told.insert(problem.line()) {
                self.problems.push(problem);
            }
        }
    }

    /// Problems since the last call, each told once.
    pub fn take_problems(&mut self) -> Vec<Problem> {
        std::mem::take(&mut self.problems)
    }

    pub fn endpoints(&self) -> impl Iterator<Item = &Arc<EndpointState>> {
        self.endpoints.values().filter_map(|loaded| loaded.state.as_ref())
    }

    pub fn endpoint(&self, id: EndpointId) -> Option<&Arc<EndpointState>> {
        self.endpoints.get(&id)?.state.as_ref()
    }

    pub fn local_identities(&self) -> &HashMap<Identity, Arc<Labels>> {
        &self.local_identities.value
    }

    pub fn node_name(&self, ip: IpAddr) -> Option<&Arc<str>> {
        self.nodes.value.get(&ip)
    }

    pub fn config(&self) -> &AgentConfig {
        &self.settings
    }

    /// The version of the agent that wrote last.
    pub fn agent_version(&self) -> Option<&AgentVersion> {
        let newest = self.endpoints.values().filter(|loaded| loaded.version.is_some());
        newest.max_by_key(|loaded| loaded.source.1.modified())?.version.as_ref()
    }
}

const JSON: &str = "ep_config.json";
const HEADER: &str = "ep_config.h";

/// The file that speaks for an endpoint: JSON where there is any.
fn newest_form(files: &dyn StateFiles, directory: &Path) -> Result<Option<(PathBuf, Stamp)>, Problem> {
    for name in [JSON, HEADER] {
        let path = directory.join(name);
        match files.stamp(&path) {
            Ok(Some(stamp)) => return Ok(Some((path, stamp))),
            Ok(None) => {}
            Err(error) => return Err(Problem { path: files.place(&path), error }),
        }
    }
    Ok(None)
}

fn read_state(files: &dyn StateFiles, path: &Path, id: EndpointId) -> Result<EndpointState, StateError> {
    let bytes = files.read(path)?;
    if path.ends_with(JSON) { endpoint::from_json(&bytes, id) } else { endpoint::from_header(&bytes, id) }
}

/// How finished a directory is, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    Active,
    /// Being made.
    Next,
    /// Set aside while the next one takes its place.
    Stale,
    /// The last attempt that failed.
    Failed,
}

/// An endpoint's directory by its name; `None` for everything else.
fn form_of(name: &str) -> Option<(EndpointId, Form)> {
    let digits = name.find('_').map_or(name, |end| &name[..end]);
    let form = match &name[digits.len()..] {
        "" => Form::Active,
        "_next" => Form::Next,
        "_stale" => Form::Stale,
        "_next_fail" => Form::Failed,
        _ => return None,
    };
    let plain = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
    Some((EndpointId(plain.then(|| digits.parse().ok())??), form))
}

/// Whether a name is that of an endpoint's directory, finished or not.
pub fn is_endpoint(name: &str) -> bool {
    form_of(name).is_some()
}

/// A directory of an endpoint.
#[derive(Clone, Debug)]
pub struct EndpointDir {
    pub name: String,
    pub endpoint: EndpointId,
    pub form: Form,
    /// When it was last changed; `None` if it went away meanwhile.
    pub changed: Option<SystemTime>,
}

/// Every directory of an endpoint, by name.
pub fn endpoint_dirs(path: &Path) -> io::Result<Vec<EndpointDir>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let Some((endpoint, form)) = form_of(&name) else { continue };
        let changed = entry.metadata().and_then(|meta| meta.modified()).ok();
        found.push(EndpointDir { name, endpoint, form, changed });
    }
    found.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

/// The directory that speaks for each endpoint.
fn list(files: &dyn StateFiles) -> io::Result<BTreeMap<EndpointId, String>> {
    let mut best: BTreeMap<EndpointId, (Form, String)> = BTreeMap::new();
    for name in files.names()? {
        let Some((id, form)) = form_of(&name) else { continue };
        if best.get(&id).is_none_or(|(known, _)| form < *known) {
            best.insert(id, (form, name));
        }
    }
    Ok(best.into_iter().map(|(id, (_, name))| (id, name)).collect())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::cilium::state::file::LiveFiles;

    fn open(dir: &Path) -> StateDir {
        StateDir::new(Arc::new(LiveFiles(dir.to_owned())))
    }

    fn write(dir: &Path, name: &str, text: &str) {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn pod(id: u16, name: &str) -> String {
        format!(r#"{{"ID":{id},"K8sPodName":"{name}"}}"#)
    }

    fn pods(state: &StateDir) -> Vec<(u16, &str)> {
        state.endpoints().map(|e| (e.id.0, e.pod.as_str())).collect()
    }

    #[test]
    fn names_of_endpoint_directories() {
        for (name, expected) in [
            ("1234", Some((1234, Form::Active))),
            ("1234_next", Some((1234, Form::Next))),
            ("1234_next_fail", Some((1234, Form::Failed))),
            ("1234_stale", Some((1234, Form::Stale))),
            ("01234", None),
            ("70000", None),
            ("", None),
            ("_next", None),
            ("1234_other", None),
            ("globals", None),
            ("+5", None),
        ] {
            assert_eq!(form_of(name), expected.map(|(id, form)| (EndpointId(id), form)), "{name}");
        }
    }

    #[test]
    fn an_active_directory_speaks_before_all_others() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "7/ep_config.json", &pod(7, "active"));
        write(dir.path(), "7_next/ep_config.json", &pod(7, "next"));
        write(dir.path(), "7_next_fail/ep_config.json", &pod(7, "failed"));
        write(dir.path(), "8_stale/ep_config.json", &pod(8, "stale"));
        write(dir.path(), "8_next_fail/ep_config.json", &pod(8, "failed"));
        let mut state = open(dir.path());
        assert!(state.refresh(Instant::now()));
        assert_eq!(pods(&state), [(7, "active"), (8, "stale")]);
    }

    #[test]
    fn broken_files_are_told_once_and_harm_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "1/ep_config.json", &pod(1, "good"));
        write(dir.path(), "2/ep_config.json", "{");
        write(dir.path(), "3/ep_config.h", " * CILIUM_BASE64_YQ==:%%");
        write(dir.path(), "4/ep_config.json", &pod(5, "other"));
        fs::create_dir(dir.path().join("6")).unwrap();
        std::os::unix::fs::symlink("ep_config.json", dir.path().join("6/ep_config.json")).unwrap();
        write(dir.path(), "9", "a file where a directory should be");
        write(dir.path(), "nodes.json", "{}");
        let mut state = open(dir.path());
        let start = Instant::now();
        state.refresh(start);
        assert_eq!(pods(&state), [(1, "good")]);
        let files: Vec<String> = state
            .take_problems()
            .iter()
            .map(|p| p.path.strip_prefix(dir.path()).unwrap().display().to_string())
            .collect();
        assert_eq!(
            files,
            ["nodes.json", "2/ep_config.json", "3/ep_config.h", "4/ep_config.json", "6/ep_config.json"]
        );
        state.refresh(start + SCAN_INTERVAL);
        assert!(state.take_problems().is_empty());
    }

    #[test]
    fn changes_are_seen_and_nothing_is_read_twice() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "1/ep_config.json", &pod(1, "one"));
        let mut state = open(dir.path());
        let start = Instant::now();
        assert!(state.refresh(start));
        assert!(!state.refresh(start + SCAN_INTERVAL));
        write(dir.path(), "2/ep_config.json", &pod(2, "two"));
        assert!(
            !state.refresh(start + SCAN_INTERVAL + Duration::from_millis(500)),
            "too early to look again"
        );
        assert!(state.refresh(start + 2 * SCAN_INTERVAL));
        assert_eq!(pods(&state), [(1, "one"), (2, "two")]);
        fs::remove_dir_all(dir.path().join("1")).unwrap();
        assert!(state.refresh(start + 3 * SCAN_INTERVAL));
        assert_eq!(pods(&state), [(2, "two")]);
    }

    #[test]
    fn a_directory_that_is_gone_is_a_problem_and_keeps_what_was_known() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "1/ep_config.json", &pod(1, "one"));
        let mut state = open(dir.path());
        let start = Instant::now();
        state.refresh(start);
        drop(dir);
        assert!(!state.refresh(start + SCAN_INTERVAL));
        assert_eq!(pods(&state), [(1, "one")]);
        assert_eq!(state.take_problems().len(), 1);
    }
}
