//! Compares the prefix table with a linear scan.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sip_authz::acl::{Prefix, PrefixError, PrefixTable};

/// Parses `bytes` as prefixes of 18 bytes each: family, length, address. For the first and last address
/// of each prefix and their neighbours, the table must return the same as a scan of the list.
pub fn fuzz_prefix_table(bytes: &[u8]) {
    let (entries, _) = bytes.as_chunks::<18>();
    let prefixes: Vec<Prefix> = entries.iter().map(|entry| fuzz_prefix(*entry)).collect();
    let Ok(table) = PrefixTable::build(prefixes.iter().copied()) else { return };
    assert_eq!(table.len(), prefixes.len());
    for prefix in &prefixes {
        for addr in addresses_around(*prefix) {
            let matching = prefixes.iter().enumerate().filter(|(_, prefix)| prefix.contains(addr));
            // the first of the longest
            let longest = matching.max_by_key(|(i, prefix)| (prefix.len(), usize::MAX - i));
            assert_eq!(table.longest(addr), longest.map(|(i, _)| i), "{addr} in {prefixes:?}");
            assert_eq!(table.contains(addr), longest.is_some(), "{addr} in {prefixes:?}");
        }
    }
}

fn fuzz_prefix([family, len, addr @ ..]: [u8; 18]) -> Prefix {
    let [a, b, c, d, ..] = addr;
    let (addr, max) = match family % 3 {
        0 => (IpAddr::V4(Ipv4Addr::new(a, b, c, d)), 32),
        1 => (IpAddr::V6(Ipv4Addr::new(a, b, c, d).to_ipv6_mapped()), 32),
        _ => (IpAddr::V6(Ipv6Addr::from(addr)), 128),
    };
    let len = if max == 32 || addr.to_canonical().is_ipv4() { len % 33 } else { len % 129 };
    match Prefix::new(addr.to_canonical(), len) {
        Ok(prefix) | Err(PrefixError::HostBits { prefix, .. }) => prefix,
        Err(_) => addr.into(),
    }
}

/// The first and last address of `prefix` and their neighbours; for IPv4 also the mapped IPv6
/// addresses.
fn addresses_around(prefix: Prefix) -> Vec<IpAddr> {
    let len = u32::from(prefix.len());
    match prefix.addr() {
        IpAddr::V4(first) => {
            let first = first.to_bits();
            let last = first | u32::MAX.unbounded_shr(len);
            let all = [first.wrapping_sub(1), first, last, last.wrapping_add(1)];
            let plain = all.map(Ipv4Addr::from_bits);
            plain.iter().flat_map(|v4| [(*v4).into(), v4.to_ipv6_mapped().into()]).collect()
        }
        IpAddr::V6(first) => {
            let first = first.to_bits();
            let last = first | u128::MAX.unbounded_shr(len);
            let all = [first.wrapping_sub(1), first, last, last.wrapping_add(1)];
            all.iter().map(|bits| Ipv6Addr::from_bits(*bits).into()).collect()
        }
    }
}
