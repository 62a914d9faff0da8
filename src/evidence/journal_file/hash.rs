//! The two hashes of journal files: keyed with the file's ID (SipHash-2-4, since 246), and before that Bob Jenkins'
//! lookup3 (`jenkins_hash64()` of systemd, <http://burtleburtle.net/bob/c/lookup3.c>).

use siphasher::sip::SipHasher24;

/// The hash of a file with keyed hash tables.
pub(super) fn keyed(id: &[u8; 16], data: &[u8]) -> u64 {
    SipHasher24::new_with_key(id).hash(data)
}

/// The hash of older files: `hashlittle2()` with both seeds 0, its first result in the upper half.
pub(super) fn jenkins(data: &[u8]) -> u64 {
    let start = 0xdead_beef_u32.wrapping_add(u32::try_from(data.len()).unwrap_or(u32::MAX));
    let (mut a, mut b, mut c) = (start, start, start);
    let word = |bytes: &[u8], at: usize| {
        let mut word = [0; 4];
        for (to, from) in word.iter_mut().zip(bytes.iter().skip(at * 4)) {
            *to = *from;
        }
        u32::from_le_bytes(word)
    };
    let mut rest = data;
    while let Some((some, after)) = rest.split_at_checked(12).filter(|(_, after)| !after.is_empty()) {
        a = a.wrapping_add(word(some, 0));
        b = b.wrapping_add(word(some, 1));
        c = c.wrapping_add(word(some, 2));
        (a, b, c) = mix(a, b, c);
        rest = after;
    }
    if !rest.is_empty() {
        a = a.wrapping_add(word(rest, 0));
        b = b.wrapping_add(word(rest, 1));
        c = c.wrapping_add(word(rest, 2));
        (b, c) = finish(a, b, c);
    }
    (u64::from(c) << 32) | u64::from(b)
}

fn mix(mut a: u32, mut b: u32, mut c: u32) -> (u32, u32, u32) {
    for rotations in [[4, 6, 8], [16, 19, 4]] {
        a = a.wrapping_sub(c) ^ c.rotate_left(rotations[0]);
        c = c.wrapping_add(b);
        b = b.wrapping_sub(a) ^ a.rotate_left(rotations[1]);
        a = a.wrapping_add(c);
        c = c.wrapping_sub(b) ^ b.rotate_left(rotations[2]);
        b = b.wrapping_add(a);
    }
    (a, b, c)
}

fn finish(mut a: u32, mut b: u32, mut c: u32) -> (u32, u32) {
    c = (c ^ b).wrapping_sub(b.rotate_left(14));
    a = (a ^ c).wrapping_sub(c.rotate_left(11));
    b = (b ^ a).wrapping_sub(a.rotate_left(25));
    c = (c ^ b).wrapping_sub(b.rotate_left(16));
    a = (a ^ c).wrapping_sub(c.rotate_left(4));
    b = (b ^ a).wrapping_sub(a.rotate_left(14));
    c = (c ^ b).wrapping_sub(b.rotate_left(24));
    (b, c)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What lookup3's own test prints, and the first vectors of SipHash's reference.
    #[test]
    fn known_hashes() {
        assert_eq!(jenkins(b""), 0xdead_beef_dead_beef);
        assert_eq!(jenkins(b"Four score and seven years ago"), 0x1777_0551_ce72_26e6);
        let key: [u8; 16] = std::array::from_fn(|at| u8::try_from(at).unwrap());
        assert_eq!(keyed(&key, b""), 0x726f_db47_dd0e_0e31);
        assert_eq!(keyed(&key, &[0]), 0x74f8_39c5_93dc_67fd);
    }
}
