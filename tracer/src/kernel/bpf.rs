//! The bpf(2) system call, as far as reading other programs' maps needs it: aya has neither read-only pins
//! nor batch look-ups. Nothing here can create, write, pin or attach.

use std::ffi::CString;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use tracer_common::id::MapId;

const MAP_LOOKUP_ELEM: u32 = 1;
const MAP_GET_NEXT_KEY: u32 = 4;
const OBJ_GET: u32 = 7;
const MAP_GET_NEXT_ID: u32 = 12;
const PROG_GET_NEXT_ID: u32 = 11;
const PROG_GET_FD_BY_ID: u32 = 13;
const MAP_GET_FD_BY_ID: u32 = 14;
const OBJ_GET_INFO_BY_FD: u32 = 15;
const MAP_LOOKUP_BATCH: u32 = 24;

/// Restricts the descriptor to reading: updates through it give EPERM.
const BPF_F_RDONLY: u32 = 1 << 3;
/// Linux's own ENOTSUPP, which libc does not name: "this map type cannot do that".
pub const ENOTSUPP: i32 = 524;

#[repr(C)]
#[derive(Default)]
struct ObjAttr {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

#[repr(C)]
#[derive(Default)]
struct ElemAttr {
    map_fd: u32,
    pad: u32,
    key: u64,
    /// Value, or the next key.
    value: u64,
    flags: u64,
}

#[repr(C)]
#[derive(Default)]
struct BatchAttr {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

#[repr(C)]
#[derive(Default)]
struct IdAttr {
    /// Start id, or the id to open.
    id: u32,
    next_id: u32,
    open_flags: u32,
}

#[repr(C)]
#[derive(Default)]
struct InfoAttr {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

/// First part of `struct bpf_map_info`; the kernel fills as much as is asked for.
#[repr(C)]
#[derive(Default)]
struct RawMapInfo {
    map_type: u32,
    id: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    name: [u8; 16],
}

/// Calls bpf(2). `attr` must be a `repr(C)` struct without implicit padding whose pointers are valid for
/// what `command` does with them; every caller is in this file or in `attached`.
pub(super) fn bpf<T>(command: u32, attr: &mut T) -> io::Result<i32> {
    // SAFETY: `attr` is a live, exclusively borrowed struct of the stated size; the pointers inside it were
    // made from slices that outlive this call, and are at least as long as `command` reads or writes.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as i32) }
}

fn bpf_fd<T>(command: u32, attr: &mut T) -> io::Result<OwnedFd> {
    let fd = bpf(command, attr)?;
    // SAFETY: the kernel just returned this descriptor to us; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn address<T: ?Sized>(slice: &T) -> u64 {
    std::ptr::from_ref(slice).cast::<u8>() as u64
}

pub(super) fn address_mut<T: ?Sized>(slice: &mut T) -> u64 {
    std::ptr::from_mut(slice).cast::<u8>() as u64
}

/// What the kernel knows of a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapInfo {
    pub id: MapId,
    /// BPF_MAP_TYPE_*.
    pub map_type: u32,
    /// Bytes.
    pub key_size: u32,
    /// Bytes; of one CPU's value for per-CPU maps.
    pub value_size: u32,
    pub max_entries: u32,
    /// BPF_F_* of creation.
    pub flags: u32,
    /// At most 15 characters.
    pub name: String,
}

/// A map of somebody else, open for reading.
#[derive(Debug)]
pub struct ReadOnlyMap {
    fd: OwnedFd,
}

/// What one step of a batch look-up gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchStep {
    /// Entries written to the buffers.
    pub count: u32,
    /// No entry follows.
    pub end: bool,
}

impl ReadOnlyMap {
    /// Opens the map pinned at `path`.
    pub fn open_pin(path: &Path) -> io::Result<Self> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        let mut attr = ObjAttr {
            pathname: address(path.as_bytes_with_nul()),
            file_flags: BPF_F_RDONLY,
            ..Default::default()
        };
        let fd = bpf_fd(OBJ_GET, &mut attr).map_err(|error| match error.raw_os_error() {
            // Links cannot be opened for reading only.
            Some(libc::EINVAL) => io::Error::other("not a map"),
            _ => error,
        })?;
        match pinned_kind(fd.as_fd()) {
            Some(kind) if kind != "bpf-map" => Err(io::Error::other(format!("not a map, but a {kind}"))),
            _ => Ok(Self { fd }),
        }
    }

    /// Opens a map by its id (needs CAP_SYS_ADMIN).
    pub fn open_id(id: MapId) -> io::Result<Self> {
        let mut attr = IdAttr { id: id.0, open_flags: BPF_F_RDONLY, ..Default::default() };
        Ok(Self { fd: bpf_fd(MAP_GET_FD_BY_ID, &mut attr)? })
    }

    pub fn info(&self) -> io::Result<MapInfo> {
        let mut info = RawMapInfo::default();
        let mut attr = InfoAttr {
            bpf_fd: self.raw_fd(),
            info_len: size_of::<RawMapInfo>() as u32,
            info: address_mut(&mut info),
        };
        bpf(OBJ_GET_INFO_BY_FD, &mut attr)?;
        Ok(MapInfo {
            id: MapId(info.id),
            map_type: info.map_type,
            key_size: info.key_size,
            value_size: info.value_size,
            max_entries: info.max_entries,
            flags: info.map_flags,
            name: text(&info.name),
        })
    }

    /// Copies the value of `key` into `value`; false if there is none. The caller sizes both as the map
    /// says (per-CPU values: 8-byte rounded size × possible CPUs).
    pub fn lookup(&self, key: &[u8], value: &mut [u8]) -> io::Result<bool> {
        let mut attr = ElemAttr {
            map_fd: self.raw_fd(),
            key: address(key),
            value: address_mut(value),
            ..Default::default()
        };
        found(bpf(MAP_LOOKUP_ELEM, &mut attr))
    }

    /// The key after `key` (`None`: the first one) goes into `next`; false at the end.
    pub fn next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> io::Result<bool> {
        let key = key.map_or(0, address);
        let mut attr =
            ElemAttr { map_fd: self.raw_fd(), key, value: address_mut(next), ..Default::default() };
        found(bpf(MAP_GET_NEXT_KEY, &mut attr))
    }

    /// One step of a batch look-up of at most `count` entries. `token` is the place to go on from (as the
    /// step before left it; at least 4 bytes and the key size long), `first` starts over.
    ///
    /// EINTR: an entry vanished again and again under the kernel's hands; repeat with the same token.
    /// ENOSPC: one hash bucket holds more than `count` entries; enlarge and repeat with the same token.
    /// [`ENOTSUPP`]: this map type has no batch look-up on this kernel.
    pub fn lookup_batch(
        &self,
        first: bool,
        token: &mut [u8],
        keys: &mut [u8],
        values: &mut [u8],
        count: u32,
    ) -> io::Result<BatchStep> {
        let token = address_mut(token);
        let mut attr = BatchAttr {
            in_batch: if first { 0 } else { token },
            out_batch: token,
            keys: address_mut(keys),
            values: address_mut(values),
            count,
            map_fd: self.raw_fd(),
            ..Default::default()
        };
        match bpf(MAP_LOOKUP_BATCH, &mut attr) {
            Ok(_) => Ok(BatchStep { count: attr.count, end: false }),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
                Ok(BatchStep { count: attr.count, end: true })
            }
            // What came before the entry that the kernel lost is there, and the token stands behind it.
            Err(error) if error.raw_os_error() == Some(libc::EINTR) && attr.count > 0 => {
                Ok(BatchStep { count: attr.count, end: false })
            }
            Err(error) => Err(error),
        }
    }

    /// Bytes of memory that the kernel charges for the map; `None` where it does not tell.
    pub fn memory_bytes(&self) -> Option<u64> {
        let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", self.raw_fd())).ok()?;
        text.lines().find_map(|line| line.strip_prefix("memlock:"))?.trim().parse().ok()
    }

    /// The descriptor, for aya's typed maps and for strace-minded readers.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    fn raw_fd(&self) -> u32 {
        self.fd.as_raw_fd() as u32
    }
}

/// What a descriptor stands for, `bpf-map` or `bpf-prog`; the kernel takes either for a map's when it is asked
/// for facts. `None`: /proc is not there to tell.
fn pinned_kind(fd: BorrowedFd<'_>) -> Option<String> {
    let target = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).ok()?;
    target.to_str()?.strip_prefix("anon_inode:").map(str::to_owned)
}

fn found(result: io::Result<i32>) -> io::Result<bool> {
    match result {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Ids of every loaded BPF program (needs CAP_SYS_ADMIN).
pub fn program_ids() -> impl Iterator<Item = io::Result<u32>> {
    ids(PROG_GET_NEXT_ID)
}

/// Ids of every BPF map (needs CAP_SYS_ADMIN).
pub fn map_ids() -> impl Iterator<Item = io::Result<u32>> {
    ids(MAP_GET_NEXT_ID)
}

fn ids(command: u32) -> impl Iterator<Item = io::Result<u32>> {
    let mut last = Some(0);
    std::iter::from_fn(move || {
        let mut attr = IdAttr { id: last?, ..Default::default() };
        match bpf(command, &mut attr) {
            Ok(_) => {
                last = Some(attr.next_id);
                Some(Ok(attr.next_id))
            }
            Err(error) => {
                last = None;
                (error.raw_os_error() != Some(libc::ENOENT)).then_some(Err(error))
            }
        }
    })
}

/// Opens a loaded program by its id (needs CAP_SYS_ADMIN).
pub fn open_program(id: u32) -> io::Result<OwnedFd> {
    bpf_fd(PROG_GET_FD_BY_ID, &mut IdAttr { id, ..Default::default() })
}

/// Bytes of `struct bpf_prog_info` up to and with `recursion_misses` (5.12), and that member's place.
const PROGRAM_INFO_LEN: usize = 216;
const RECURSION_MISSES_AT: usize = 208;

/// How often the kernel skipped a run of the program because it was running already on that CPU, or (kprobes)
/// because the CPU was in bpf(2). `None` before 5.12.
pub fn program_misses(program: BorrowedFd<'_>) -> io::Result<Option<u64>> {
    let mut info = [0u64; PROGRAM_INFO_LEN / 8];
    let mut attr = InfoAttr {
        bpf_fd: program.as_raw_fd() as u32,
        info_len: PROGRAM_INFO_LEN as u32,
        info: address_mut(&mut info),
    };
    bpf(OBJ_GET_INFO_BY_FD, &mut attr)?;
    let told = attr.info_len as usize >= RECURSION_MISSES_AT + 8;
    Ok(told.then(|| info[RECURSION_MISSES_AT / 8]))
}

/// First part of `struct bpf_prog_info`.
#[repr(C)]
#[derive(Default)]
struct RawProgramInfo {
    /// Type, id, tag, sizes and places of code, load time.
    unused: [u64; 6],
    created_by_uid: u32,
    nr_map_ids: u32,
    map_ids: u64,
    name: [u8; 16],
}

/// Maps of a program beyond which the rest is asked for in a second step.
const FEW_MAPS: usize = 64;

/// What the kernel knows of a loaded program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramInfo {
    /// At most 15 characters.
    pub name: String,
    /// The maps that it uses.
    pub maps: Vec<MapId>,
}

pub fn program_info(program: BorrowedFd<'_>) -> io::Result<ProgramInfo> {
    let mut ids = vec![0u32; FEW_MAPS];
    loop {
        let mut info = RawProgramInfo {
            nr_map_ids: ids.len() as u32,
            map_ids: address_mut(ids.as_mut_slice()),
            ..Default::default()
        };
        let mut attr = InfoAttr {
            bpf_fd: program.as_raw_fd() as u32,
            info_len: size_of::<RawProgramInfo>() as u32,
            info: address_mut(&mut info),
        };
        bpf(OBJ_GET_INFO_BY_FD, &mut attr)?;
        let used = info.nr_map_ids as usize;
        let is_all = used <= ids.len();
        ids.resize(used, 0);
        if is_all {
            return Ok(ProgramInfo { name: text(&info.name), maps: ids.into_iter().map(MapId).collect() });
        }
    }
}

/// Ids of the maps that a loaded program uses.
pub fn program_maps(program: BorrowedFd<'_>) -> io::Result<Vec<MapId>> {
    Ok(program_info(program)?.maps)
}

/// Text up to the first zero byte.
fn text(bytes: &[u8]) -> String {
    let length = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}
