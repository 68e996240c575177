//! Interfaces of our network namespace.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::io;

/// One interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    pub ifindex: u32,
    pub name: String,
    /// `None`: it has no hardware address of six bytes.
    pub mac: Option<[u8; 6]>,
}

/// All interfaces, by number.
pub fn links() -> io::Result<Vec<Link>> {
    let mut list: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: `list` is a valid place for the head of the list.
    if unsafe { libc::getifaddrs(&raw mut list) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut found = BTreeMap::new();
    let mut next = list;
    // SAFETY: every `next` is null or an element of the list, which lives until freeifaddrs.
    while let Some(element) = unsafe { next.as_ref() } {
        if let Some(link) = link_of(element) {
            found.insert(link.ifindex, link);
        }
        next = element.ifa_next;
    }
    // SAFETY: `list` came from getifaddrs, nothing of it is used any more.
    unsafe { libc::freeifaddrs(list) };
    Ok(found.into_values().collect())
}

/// Each interface has one element with its hardware address.
fn link_of(element: &libc::ifaddrs) -> Option<Link> {
    // SAFETY: the address is null or a socket address of the family that it names.
    let family = unsafe { element.ifa_addr.as_ref() }?.sa_family;
    if i32::from(family) != libc::AF_PACKET {
        return None;
    }
    // SAFETY: addresses of AF_PACKET have this form.
    let address = unsafe { &*element.ifa_addr.cast::<libc::sockaddr_ll>() };
    // SAFETY: the name is a string that ends with a zero and lives as long as the list.
    let name = unsafe { CStr::from_ptr(element.ifa_name) };
    let mac = (address.sll_halen == 6).then(|| address.sll_addr.first_chunk().copied()).flatten();
    Some(Link {
        ifindex: u32::try_from(address.sll_ifindex).ok()?,
        name: name.to_string_lossy().into_owned(),
        mac: mac.filter(|mac| *mac != [0; 6]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_those_of_sysfs() {
        for link in links().unwrap() {
            let text = std::fs::read_to_string(format!("/sys/class/net/{}/ifindex", link.name)).unwrap();
            assert_eq!(text.trim(), link.ifindex.to_string(), "{}", link.name);
        }
        assert!(links().unwrap().iter().any(|link| link.name == "lo" && link.mac.is_none()));
    }
}
