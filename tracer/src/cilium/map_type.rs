//! Kinds of BPF maps and their flags, by name, and what can be asked of each kind.

use std::fmt;

/// BPF_MAP_TYPE_*.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapType(pub u32);

/// BPF_F_* of creation, by name.
const FLAGS: [(u32, &str); 12] = [
    (1 << 0, "no_prealloc"),
    (1 << 1, "no_common_lru"),
    (1 << 2, "numa_node"),
    (1 << 3, "rdonly"),
    (1 << 4, "wronly"),
    (1 << 5, "stack_build_id"),
    (1 << 6, "zero_seed"),
    (1 << 7, "rdonly_prog"),
    (1 << 8, "wronly_prog"),
    (1 << 9, "clone"),
    (1 << 10, "mmapable"),
    (1 << 12, "inner_map"),
];

/// By number, from 0.
const NAMES: [&str; 34] = [
    "unspec",
    "hash",
    "array",
    "prog_array",
    "perf_event_array",
    "percpu_hash",
    "percpu_array",
    "stack_trace",
    "cgroup_array",
    "lru_hash",
    "lru_percpu_hash",
    "lpm_trie",
    "array_of_maps",
    "hash_of_maps",
    "devmap",
    "sockmap",
    "cpumap",
    "xskmap",
    "sockhash",
    "cgroup_storage",
    "reuseport_sockarray",
    "percpu_cgroup_storage",
    "queue",
    "stack",
    "sk_storage",
    "devmap_hash",
    "struct_ops",
    "ringbuf",
    "inode_storage",
    "task_storage",
    "bloom_filter",
    "user_ringbuf",
    "cgrp_storage",
    "arena",
];

impl MapType {
    pub const HASH: Self = Self(1);
    pub const ARRAY: Self = Self(2);
    pub const PROG_ARRAY: Self = Self(3);
    pub const PERF_EVENT_ARRAY: Self = Self(4);
    pub const PERCPU_HASH: Self = Self(5);
    pub const PERCPU_ARRAY: Self = Self(6);
    pub const LRU_HASH: Self = Self(9);
    pub const LRU_PERCPU_HASH: Self = Self(10);
    pub const LPM_TRIE: Self = Self(11);
    pub const ARRAY_OF_MAPS: Self = Self(12);
    pub const HASH_OF_MAPS: Self = Self(13);

    /// As bpftool calls it; `None` for kinds newer than the list.
    pub fn name(self) -> Option<&'static str> {
        NAMES.get(self.0 as usize).copied()
    }

    /// Every slot of an array is there from the start: a number of entries says nothing.
    pub const fn is_array(self) -> bool {
        matches!(self, Self::ARRAY | Self::PERCPU_ARRAY)
    }

    /// Entries come and go, so that their number against the maximum says how full the map is.
    pub const fn is_counted(self) -> bool {
        matches!(
            self,
            Self::HASH
                | Self::PERCPU_HASH
                | Self::LRU_HASH
                | Self::LRU_PERCPU_HASH
                | Self::LPM_TRIE
                | Self::HASH_OF_MAPS
        )
    }

    /// Walked bucket by bucket where the kernel has batches.
    pub const fn is_hash(self) -> bool {
        matches!(
            self,
            Self::HASH | Self::PERCPU_HASH | Self::LRU_HASH | Self::LRU_PERCPU_HASH | Self::HASH_OF_MAPS
        )
    }

    pub const fn is_per_cpu(self) -> bool {
        matches!(self, Self::PERCPU_HASH | Self::PERCPU_ARRAY | Self::LRU_PERCPU_HASH)
    }

    /// Values that user space reads are ids of maps.
    pub const fn holds_maps(self) -> bool {
        matches!(self, Self::ARRAY_OF_MAPS | Self::HASH_OF_MAPS)
    }
}

impl fmt::Display for MapType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "type {}", self.0),
        }
    }
}

/// Names of the flags that are set. Bits without a name are left out.
pub fn flag_names(flags: u32) -> impl Iterator<Item = &'static str> {
    FLAGS.into_iter().filter(move |(bit, _)| flags & bit != 0).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_called_as_bpftool_calls_them() {
        for (kind, name) in [
            (MapType::HASH, "hash"),
            (MapType::LRU_HASH, "lru_hash"),
            (MapType::LRU_PERCPU_HASH, "lru_percpu_hash"),
            (MapType::LPM_TRIE, "lpm_trie"),
            (MapType::HASH_OF_MAPS, "hash_of_maps"),
            (MapType(99), "type 99"),
        ] {
            assert_eq!(kind.to_string(), name);
        }
    }

    #[test]
    fn flags_have_names() {
        assert_eq!(flag_names(0x81).collect::<Vec<_>>(), ["no_prealloc", "rdonly_prog"]);
        assert_eq!(flag_names(0).count(), 0);
    }
}
