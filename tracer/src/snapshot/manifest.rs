//! The index of a snapshot, and the facts about the node that are in no map and no file. Kept as JSON, so that
//! people can read it too.

use serde::{Deserialize, Serialize};

use crate::cilium::when::Moment;
use crate::kernel::bpf::MapInfo;
use crate::model::time::WallTime;
use tracer_common::id::MapId;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the tracer that wrote it.
    pub tracer_version: String,
    pub taken: Taken,
    pub node_name: String,
    /// Names, labels and DNS names are pseudonyms.
    pub redacted: bool,
    pub kernel: Kernel,
    pub cilium: Cilium,
    pub interfaces: Vec<Interface>,
    /// Pinned maps, by name.
    pub maps: Vec<Map>,
    /// Maps that the maps of maps hold, by id.
    pub inner_maps: Vec<Map>,
    pub files: Vec<File>,
    /// What the loaded programs used; absent if nobody could tell.
    pub programs: Option<Programs>,
}

/// When it was taken: the clocks before the first map was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// Nanoseconds since 1970.
    pub wall_ns: i64,
    pub monotonic_ns: u64,
    pub boot_ns: u64,
    /// How long the reading took.
    pub duration_ns: u64,
}

impl Taken {
    pub fn moment(&self) -> Moment {
        Moment { monotonic_ns: self.monotonic_ns, boot_ns: self.boot_ns, wall: WallTime(self.wall_ns) }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kernel {
    pub release: String,
    pub machine: String,
    /// "" if the kernel did not tell.
    pub boot_id: String,
    /// Nanoseconds since 1970.
    pub booted_wall_ns: i64,
    /// As many values has each entry of a per-CPU map.
    pub possible_cpus: u32,
    /// Reasons of the core by number, without their common prefix.
    pub drop_reasons: Vec<(u32, String)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cilium {
    /// As the agent wrote it.
    pub agent_version: Option<String>,
    /// The releases that the evidence allows, in words.
    pub releases: String,
    /// Where the maps were pinned and the state files stood.
    pub maps_directory: Option<String>,
    pub state_directory: Option<String>,
}

/// An interface of the network namespace that the snapshot was taken in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    pub ifindex: u32,
    pub name: String,
    /// Absent for interfaces without one.
    pub mac: Option<[u8; 6]>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Map {
    /// Name of the pin; "" for maps inside others.
    pub name: String,
    pub id: u32,
    #[serde(rename = "type")]
    pub map_type: u32,
    pub key_size: u32,
    /// Of one CPU's value.
    pub value_size: u32,
    /// Bytes of a value in the parts: with all CPUs' values.
    pub stored_value_size: u64,
    pub max_entries: u32,
    pub flags: u32,
    pub kernel_name: String,
    pub memory_bytes: Option<u64>,
    pub entries: u64,
    pub end: End,
    pub parts: Vec<Part>,
}

/// How the reading of a map ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    #[default]
    Complete,
    /// It changed too fast.
    GaveUp,
    /// Another map was pinned under the name by then.
    Replaced,
    /// An error of the kernel, after the entries that are here; or of opening it, and then nothing is known.
    Failed { error: i32 },
    /// The same for an error of opening it: nothing else is known.
    Unopened { error: i32 },
}

/// A frame with one member of the archive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Of the frame in the file.
    pub offset: u64,
    /// Bytes of the frame.
    pub stored: u32,
    /// Bytes of the member's contents.
    pub bytes: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Relative to the state directory.
    pub path: String,
    /// Seconds and nanoseconds since 1970.
    pub modified: (i64, i64),
    pub part: Part,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Programs {
    /// Ids of the maps that they used.
    pub used: Vec<u32>,
    /// Maps of Cilium among them that were not pinned, with the kernel's name.
    pub left_behind: Vec<(u32, String)>,
}

impl Map {
    pub fn new(name: &str, info: &MapInfo, stored_value_size: usize) -> Self {
        Self {
            name: name.to_owned(),
            id: info.id.0,
            map_type: info.map_type,
            key_size: info.key_size,
            value_size: info.value_size,
            stored_value_size: stored_value_size as u64,
            max_entries: info.max_entries,
            flags: info.flags,
            kernel_name: info.name.clone(),
            ..Self::default()
        }
    }

    pub fn info(&self) -> MapInfo {
        MapInfo {
            id: MapId(self.id),
            map_type: self.map_type,
            key_size: self.key_size,
            value_size: self.value_size,
            max_entries: self.max_entries,
            flags: self.flags,
            name: self.kernel_name.clone(),
        }
    }
}
