//! bpf(2) as an agent uses it: create maps with exact attributes, pin them, fill them; and test runs of
//! loaded programs. Independent of the tracer's reader.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const MAP_CREATE: u32 = 0;
const MAP_LOOKUP_ELEM: u32 = 1;
const MAP_UPDATE_ELEM: u32 = 2;
const MAP_DELETE_ELEM: u32 = 3;
const MAP_GET_NEXT_KEY: u32 = 4;
const PROG_LOAD: u32 = 5;
const OBJ_PIN: u32 = 6;
const PROG_TEST_RUN: u32 = 10;
const OBJ_GET_INFO_BY_FD: u32 = 15;
const LINK_CREATE: u32 = 28;

/// BPF_MAP_TYPE_*.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapType {
    Hash = 1,
    Array = 2,
    ProgArray = 3,
    PerfEventArray = 4,
    PercpuHash = 5,
    PercpuArray = 6,
    LruHash = 9,
    LruPercpuHash = 10,
    LpmTrie = 11,
    ArrayOfMaps = 12,
    HashOfMaps = 13,
}

impl MapType {
    pub fn is_per_cpu(self) -> bool {
        matches!(self, Self::PercpuHash | Self::PercpuArray | Self::LruPercpuHash)
    }
}

pub const BPF_F_NO_PREALLOC: u32 = 1;
pub const BPF_F_RDONLY_PROG: u32 = 0x80;

#[repr(C)]
#[derive(Default)]
struct CreateAttr {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    inner_map_fd: u32,
    numa_node: u32,
    map_name: [u8; 16],
}

#[repr(C)]
#[derive(Default)]
struct ElemAttr {
    map_fd: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
#[derive(Default)]
struct ObjAttr {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

#[repr(C)]
#[derive(Default)]
struct InfoAttr {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

/// Up to 5.10's last member; later kernels accept the shorter form.
#[repr(C)]
#[derive(Default)]
struct TestRunAttr {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
}

/// Calls bpf(2). `attr` must be a `repr(C)` struct without implicit padding (but for a tail that the
/// kernel's own struct has too) whose pointers fit `command`; every caller is in this file.
fn bpf<T>(command: u32, attr: &mut T) -> io::Result<i32> {
    // SAFETY: `attr` is a live, exclusively borrowed struct of the stated size; pointers inside it were made
    // from slices that outlive the call and are as long as the map's sizes say (checked by the callers).
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as i32) }
}

fn address<T: ?Sized>(value: &T) -> u64 {
    std::ptr::from_ref(value).cast::<u8>() as u64
}

fn address_mut<T: ?Sized>(value: &mut T) -> u64 {
    std::ptr::from_mut(value).cast::<u8>() as u64
}

/// What a map is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapSpec {
    /// File name of its pin; the kernel keeps the first 15 characters as name.
    pub pin: String,
    pub map_type: MapType,
    pub key: u32,
    pub value: u32,
    pub max_entries: u32,
    pub flags: u32,
}

/// A map of this node.
#[derive(Debug)]
pub struct Map {
    fd: OwnedFd,
    pub spec: MapSpec,
}

impl Map {
    /// `inner`: the pattern for the inner maps of a map of maps.
    pub fn create(spec: MapSpec, inner: Option<&Map>) -> io::Result<Self> {
        let mut attr = CreateAttr {
            map_type: spec.map_type as u32,
            key_size: spec.key,
            value_size: spec.value,
            max_entries: spec.max_entries,
            map_flags: spec.flags,
            inner_map_fd: inner.map_or(0, |map| map.fd.as_raw_fd() as u32),
            ..Default::default()
        };
        let name = &spec.pin.as_bytes()[..spec.pin.len().min(15)];
        attr.map_name[..name.len()].copy_from_slice(name);
        let fd = bpf(MAP_CREATE, &mut attr)?;
        // SAFETY: the kernel just returned this descriptor to us; nobody else owns it.
        Ok(Self { fd: unsafe { OwnedFd::from_raw_fd(fd) }, spec })
    }

    /// Another handle on the same map.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { fd: self.fd.try_clone()?, spec: self.spec.clone() })
    }

    pub fn pin(&self, directory: &Path) -> io::Result<()> {
        self.pin_as(&directory.join(&self.spec.pin))
    }

    /// Pins it under a name of its own.
    pub fn pin_as(&self, path: &Path) -> io::Result<()> {
        pin(self.as_fd(), path)
    }

    /// Bytes of a value as bpf(2) sees it: of all possible CPUs for per-CPU maps.
    pub fn value_len(&self) -> usize {
        let size = self.spec.value as usize;
        if self.spec.map_type.is_per_cpu() { size.next_multiple_of(8) * possible_cpus() } else { size }
    }

    pub fn update(&self, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.check(key, Some(value))?;
        let mut attr = self.element(key);
        attr.value = address(value);
        bpf(MAP_UPDATE_ELEM, &mut attr).map(drop)
    }

    pub fn delete(&self, key: &[u8]) -> io::Result<()> {
        self.check(key, None)?;
        bpf(MAP_DELETE_ELEM, &mut self.element(key)).map(drop)
    }

    pub fn lookup(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        self.check(key, None)?;
        let mut value = vec![0; self.value_len()];
        let mut attr = self.element(key);
        attr.value = address_mut(value.as_mut_slice());
        Ok(found(bpf(MAP_LOOKUP_ELEM, &mut attr))?.then_some(value))
    }

    /// All keys. At most twice `max_entries` steps, should somebody write meanwhile.
    pub fn keys(&self) -> io::Result<Vec<Vec<u8>>> {
        let mut keys: Vec<Vec<u8>> = Vec::new();
        for _ in 0..self.spec.max_entries as usize * 2 {
            let mut next = vec![0; self.spec.key as usize];
            let key = keys.last().map_or(0, |key| address(key.as_slice()));
            let mut attr = ElemAttr {
                map_fd: self.fd.as_raw_fd() as u32,
                key,
                value: address_mut(next.as_mut_slice()),
                ..Default::default()
            };
            if !found(bpf(MAP_GET_NEXT_KEY, &mut attr))? {
                break;
            }
            keys.push(next);
        }
        Ok(keys)
    }

    /// Removes every entry.
    pub fn clear(&self) -> io::Result<()> {
        self.keys()?.iter().try_for_each(|key| self.delete(key))
    }

    /// The kernel's id of the map.
    pub fn id(&self) -> io::Result<u32> {
        let mut info = [0u32; 2];
        let mut attr =
            InfoAttr { bpf_fd: self.fd.as_raw_fd() as u32, info_len: 8, info: address_mut(&mut info) };
        bpf(OBJ_GET_INFO_BY_FD, &mut attr)?;
        Ok(info[1])
    }

    pub fn raw_fd(&self) -> i32 {
        self.fd.as_raw_fd()
    }

    fn element(&self, key: &[u8]) -> ElemAttr {
        ElemAttr { map_fd: self.fd.as_raw_fd() as u32, key: address(key), ..Default::default() }
    }

    /// The kernel reads and writes as many bytes as the map was made with.
    fn check(&self, key: &[u8], value: Option<&[u8]>) -> io::Result<()> {
        let wrong = |what: &str, found: usize, expected: usize| {
            let pin = &self.spec.pin;
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("map `{pin}`: {what} of {found} bytes, expected {expected}"),
            )
        };
        if key.len() != self.spec.key as usize {
            return Err(wrong("key", key.len(), self.spec.key as usize));
        }
        match value {
            Some(value) if value.len() != self.value_len() => {
                Err(wrong("value", value.len(), self.value_len()))
            }
            _ => Ok(()),
        }
    }
}

impl AsFd for Map {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn found(result: io::Result<i32>) -> io::Result<bool> {
    match result {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// CPUs that may ever exist: per-CPU values have this many parts.
pub fn possible_cpus() -> usize {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/possible").unwrap_or_default();
    let last = text.trim().rsplit(['-', ',']).next().and_then(|last| last.parse::<usize>().ok());
    last.map_or(1, |last| last + 1)
}

#[repr(C)]
#[derive(Default)]
struct LoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
}

/// With the part for netkit.
#[repr(C)]
#[derive(Default)]
struct LinkAttr {
    prog_fd: u32,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
    relative_fd: u32,
    pad: u32,
    expected_revision: u64,
}

/// Loads a tc program that lets everything pass to the next one.
pub fn load_passing_classifier(name: &str) -> io::Result<OwnedFd> {
    const SCHED_CLS: u32 = 3;
    /// r0 = TC_ACT_UNSPEC; exit
    const INSTRUCTIONS: [u64; 2] = [0xffff_ffff_0000_00b7, 0x95];
    let mut attr = LoadAttr {
        prog_type: SCHED_CLS,
        insn_cnt: INSTRUCTIONS.len() as u32,
        insns: address(&INSTRUCTIONS),
        license: address(c"GPL".to_bytes_with_nul()),
        ..Default::default()
    };
    let kept = &name.as_bytes()[..name.len().min(15)];
    attr.prog_name[..kept.len()].copy_from_slice(kept);
    let fd = bpf(PROG_LOAD, &mut attr)?;
    // SAFETY: the kernel just returned this descriptor to us; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The same, pinned at `path`.
pub fn pin_passing_classifier(name: &str, path: &Path) -> io::Result<()> {
    pin(load_passing_classifier(name)?.as_fd(), path)
}

/// Attaches a program to the pod's side of the netkit device `ifindex`, until the result is dropped.
pub fn link_to_netkit_peer(program: BorrowedFd<'_>, ifindex: u32) -> io::Result<OwnedFd> {
    const NETKIT_PEER: u32 = 55;
    let mut attr = LinkAttr {
        prog_fd: program.as_raw_fd() as u32,
        target_ifindex: ifindex,
        attach_type: NETKIT_PEER,
        ..Default::default()
    };
    let fd = bpf(LINK_CREATE, &mut attr)?;
    // SAFETY: the kernel just returned this descriptor to us; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attr = ObjAttr {
        pathname: address(path.as_bytes_with_nul()),
        bpf_fd: object.as_raw_fd() as u32,
        ..Default::default()
    };
    bpf(OBJ_PIN, &mut attr).map(drop)
}

/// What a test run of a tc program left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TestRun {
    /// TC_ACT_*: 0 passed to the stack, 2 dropped, 7 redirected to a pod.
    pub action: u32,
    /// The five words of `cb`: the drop note, if the packet was dropped.
    pub note: [u32; 5],
}

impl TestRun {
    pub const PASSED: u32 = 0;
    pub const DROPPED: u32 = 2;
    pub const REDIRECTED: u32 = 7;

    /// Cilium's reason, if the packet was dropped.
    pub fn reason(&self) -> Option<u8> {
        (self.action == Self::DROPPED).then_some(self.note[2] as u8)
    }
}

/// Runs a loaded tc program once on `packet` (from the Ethernet header on).
pub fn test_run(program: BorrowedFd<'_>, packet: &[u8]) -> io::Result<TestRun> {
    /// Offset of `cb` in `struct __sk_buff`.
    const CB: usize = 48;
    let mut out = vec![0u8; packet.len() + 256];
    let mut context = [0u8; 512];
    let mut attr = TestRunAttr {
        prog_fd: program.as_raw_fd() as u32,
        data_size_in: packet.len() as u32,
        data_size_out: out.len() as u32,
        data_in: address(packet),
        data_out: address_mut(out.as_mut_slice()),
        repeat: 1,
        ctx_size_out: context.len() as u32,
        ctx_out: address_mut(context.as_mut_slice()),
        ..Default::default()
    };
    bpf(PROG_TEST_RUN, &mut attr)?;
    let word = |i: usize| u32::from_ne_bytes(std::array::from_fn(|byte| context[CB + 4 * i + byte]));
    Ok(TestRun { action: attr.retval, note: std::array::from_fn(word) })
}
