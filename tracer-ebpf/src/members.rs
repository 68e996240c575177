//! Members of kernel structures, by offsets from the running kernel's BTF. Three ways lead to them: at `tp_btf` the verifier
//! knows the type behind a pointer and lets members be loaded from where they are ([`Typed`]); elsewhere an address is a mere
//! number to it, and the structure is copied by one bulk read ([`Copied`]) or a member at a time ([`Address`]).

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;

/// Kernel addresses lie in the upper half; `skb->dev` shares its place with socket bookkeeping.
const LOWEST_KERNEL_ADDRESS: u64 = 0xff00_0000_0000_0000;

/// Copies `size` bytes of kernel memory; false if they are not readable.
#[inline(always)]
pub fn read_kernel(to: *mut u8, size: u32, from: u64) -> bool {
    // SAFETY: `to` points to at least `size` bytes (checked by the verifier); the helper itself guards the source.
    unsafe { bpf_probe_read_kernel(to.cast(), size, from as *const _) == 0 }
}

/// Whether a pointer that was read can be one into the kernel.
#[inline(always)]
pub fn is_kernel_address(address: u64) -> bool {
    address >= LOWEST_KERNEL_ADDRESS
}

/// What a member can be.
pub trait Number: Copy + Default {}
impl Number for u8 {}
impl Number for u16 {}
impl Number for u32 {}
impl Number for u64 {}

/// A kernel structure.
pub trait Members: Copy {
    /// The member at `offset`; 0 if it cannot be read.
    fn get<T: Number>(self, offset: u32) -> T;
}

/// The structure itself. The verifier checks that each load takes a member; a load from a bad address gives 0.
#[derive(Clone, Copy)]
pub struct Typed(*const u8);

impl Typed {
    /// What an argument of a `tp_btf` program points to.
    #[inline(always)]
    pub fn argument(pointer: u64) -> Self {
        Self(pointer as *const u8)
    }

    /// The structure that the member at `offset` points to; `None` if that cannot be in the kernel.
    #[inline(always)]
    pub fn follow(self, offset: u32) -> Option<Self> {
        // SAFETY: as for any member.
        let pointer = unsafe { self.0.add(offset as usize).cast::<*const u8>().read() };
        // The verifier lets pointers be compared, no more: the sign has to do, as other bounds are tested by a shift.
        ((pointer as i64) < 0).then_some(Self(pointer))
    }

    /// What lies at `offset` in it.
    #[inline(always)]
    pub fn inner(self, offset: u32) -> Self {
        // SAFETY: not used before the verifier has checked a load.
        Self(unsafe { self.0.add(offset as usize) })
    }

    #[inline(always)]
    pub fn address(self) -> u64 {
        self.0 as u64
    }
}

impl Members for Typed {
    #[inline(always)]
    fn get<T: Number>(self, offset: u32) -> T {
        // SAFETY: the verifier refuses what is no member, and members are aligned.
        unsafe { self.0.add(offset as usize).cast::<T>().read() }
    }
}

/// A copy of the structure's first `SIZE` bytes, in a map value.
#[derive(Clone, Copy)]
pub struct Copied<const SIZE: usize>(pub *const u8);

impl<const SIZE: usize> Members for Copied<SIZE> {
    #[inline(always)]
    fn get<T: Number>(self, offset: u32) -> T {
        let offset = offset as usize;
        if offset > SIZE - size_of::<T>() {
            return T::default();
        }
        // SAFETY: in bounds as just checked; alignment does not matter to an unaligned read.
        unsafe { self.0.add(offset).cast::<T>().read_unaligned() }
    }
}

/// The structure at an address.
#[derive(Clone, Copy)]
pub struct Address(pub u64);

impl Members for Address {
    #[inline(always)]
    fn get<T: Number>(self, offset: u32) -> T {
        let mut value = T::default();
        let from = self.0.wrapping_add(u64::from(offset));
        let to = (&raw mut value).cast();
        if read_kernel(to, size_of::<T>() as u32, from) { value } else { T::default() }
    }
}
